"""Ranges of numbers: annotations for options, in the vocabulary of annotated-types, which pydantic reads too.

An option is annotated once, in its signature: `steps: SamplingSteps = 8`. options.py checks values against the
annotation and says it in words. Every range has both ends, so that no request is of endless work.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Interval, MultipleOf

MAX_SEED = 2**63 - 1
MANY = 10**9  # an upper end where only the machine sets one

# ---- shares and probabilities
Share = Annotated[float, Interval(ge=0, le=1)]
PositiveShare = Annotated[float, Interval(gt=0, le=1)]
ShareBelowOne = Annotated[float, Interval(ge=0, lt=1)]

# ---- any numbers
PositiveFloat = Annotated[float, Interval(gt=0, le=MANY)]
NonNegativeFloat = Annotated[float, Interval(ge=0, le=MANY)]
PositiveInt = Annotated[int, Interval(ge=1, le=MANY)]
NonNegativeInt = Annotated[int, Interval(ge=0, le=MANY)]
Seed = Annotated[int, Interval(ge=0, le=MAX_SEED)]

# ---- networks
Width = Annotated[int, MultipleOf(2), Interval(ge=2, le=8192)]  # rotary positions rotate pairs of floats
Depth = Annotated[int, Interval(ge=1, le=256)]
MaxGrid = Annotated[int, Interval(ge=1, le=64)]  # tokens along a side of an image
Dimensions = Annotated[int, Interval(ge=1, le=8192)]  # of a latent vector or an embedding
CodebookSize = Annotated[int, Interval(ge=2, le=2**20)]
NumComponents = Annotated[int, Interval(ge=1, le=10_000)]  # of a mixture
MinLeaf = Annotated[int, Interval(ge=1, le=1_000_000)]  # rows of a leaf of a tree
MinStd = Annotated[float, Interval(gt=0, le=1)]
NumCodebooks = Annotated[int, Interval(ge=1, le=64)]
HashTableSize = Annotated[int, Interval(ge=0, le=2**24)]  # rows of a table of hashed n-grams; 0: none
Heads = Annotated[int, Interval(ge=1, le=1024)]
MLPWidth = Annotated[int, Interval(ge=1, le=65_536)]
RopeTheta = Annotated[float, Interval(gt=1, le=MANY)]
Epsilon = Annotated[float, Interval(gt=0, le=1)]

# ---- training
EMASigma = Annotated[float, Interval(ge=0.001, lt=0.28)]  # beyond, no power of EDM2 has this width
Minutes = Annotated[float, Interval(gt=0, le=1e6)]
LearningRate = Annotated[float, Interval(gt=0, le=10)]
BatchSize = Annotated[int, Interval(ge=1, le=65_536)]
LogitMean = Annotated[float, Interval(ge=-10, le=10)]  # of logit t, the noise level
LogitStd = Annotated[float, Interval(ge=0, le=10)]

# ---- sampling and scoring
SamplingSteps = Annotated[int, Interval(ge=1, le=10_000)]
GuidanceScale = Annotated[float, Interval(ge=0, le=100)]
Temperature = Annotated[float, Interval(ge=0, le=100)]
Shift = Annotated[float, Interval(gt=0, le=100)]
LogitPenalty = Annotated[float, Interval(ge=-100, le=100)]
NoiseLevel = Annotated[float, Interval(gt=0, lt=1)]
NumSamples = Annotated[int, Interval(ge=1, le=1_000_000)]
Draws = Annotated[int, Interval(ge=1, le=10_000)]  # samples that are averaged, or of which one is chosen
Strength = PositiveShare
InterpolationSteps = Annotated[int, Interval(ge=2, le=10_000)]  # both ends included

# ---- data and evaluation
ImageSize = Annotated[int, Interval(ge=1, le=4096)]  # pixels of a side
PixelIndex = Annotated[int, Interval(ge=0, le=1_000_000)]
Padding = Annotated[int, Interval(ge=0, le=4096)]  # pixels
VocabularySize = Annotated[int, Interval(ge=257, le=2**20)]  # ids: the end, every byte, and merges
TextLength = Annotated[int, Interval(ge=1, le=1_000_000)]  # tokens, or characters of a row
WindowLength = Annotated[int, Interval(ge=2, le=1_000_000)]  # tokens of a document that are seen at once
Copies = Annotated[int, Interval(ge=1, le=1000)]  # of one thing: of a crystal, or runs of a family
RowsToCompare = Annotated[int, Interval(ge=2, le=MANY)]

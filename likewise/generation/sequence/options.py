"""Options of the autoregressive family, grouped by what they configure; its `__init__` describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from likewise.core.options import validate_fields
from likewise.core.ranges import (
    CodebookSize,
    Epsilon,
    HashTableSize,
    Heads,
    MaxGrid,
    MinStd,
    MLPWidth,
    NumComponents,
    RopeTheta,
    Share,
    ShareBelowOne,
)
from likewise.nets.compat.base import EPS
from likewise.nets.compat.llama import ROPE_THETA


@dataclass(frozen=True)
class MixtureOptions:
    """The density of a token of floats."""

    components: NumComponents = 16
    min_std: MinStd = 0.01

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True)
class CodeOptions:
    """How images are coded."""

    codec: Literal["fsq", "vq", "rvq"] = "fsq"
    max_grid: MaxGrid = 4
    codebook_size: CodebookSize = 1000
    freeze_codes_at: Share = 0.4

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True)
class TextOptions:
    """Of a single target that is a text."""

    hashed_ngrams: HashTableSize = 0
    fim: Share = 0.0
    dropout: ShareBelowOne | None = None

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True)
class CompatOptions:
    """A backbone that transformers has too (nets/compat)."""

    compat: Literal["none", "llama", "gpt2"] = "none"
    heads: Heads | None = None
    mlp_width: MLPWidth | None = None
    rope_theta: RopeTheta = ROPE_THETA
    norm_eps: Epsilon = EPS
    tie_embeddings: bool | None = None

    def __post_init__(self) -> None:
        validate_fields(self)

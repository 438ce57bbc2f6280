"""Spec: what a network needs to know of a column. It imports no torch.

Every column is tokens on a grid: an image is a vector of C floats at each of (height, width) pixels, a text
one id of K at each of (token,) positions, a label one id at (1,), a number one float at (1,). Networks choose
stems and heads by the names of the axes, so a modality that names its axes needs no change in any network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

IMAGE = ("height", "width")  # axes of images
SAMPLED = {"height", "width", "frame", "time", "frequency"}  # axes along which values can be resampled


@dataclass(frozen=True)
class Cells:
    """Of a column of one float a token: the intervals of tokens that stand for one value each.

    edges   (S + 1,) increasing, of segments; tokens beyond them belong to the outermost ones
    atoms   (S,), whether a segment is the interval of a single value
    widths  (S,), the length of the interval of each value in the segment; 0 where values are continuous
    """

    edges: tuple[float, ...]
    atoms: tuple[bool, ...]
    widths: tuple[float, ...]


@dataclass(frozen=True)
class Cycles:
    """Of a column of one float a token that stands for a time: which time that is, and what repeats.

    edges    (K,) increasing, of tokens
    times    (K,) the time at each; between them it is linear
    periods  of a day, a week, a year, in the unit of times
    """

    edges: tuple[float, ...]
    times: tuple[float, ...]
    periods: tuple[float, ...]


@dataclass(frozen=True)
class Spec:
    """The shape of one column: tokens on `grid`, each `width` floats, or each one id of `classes`.

    grid      number of tokens along each axis
    classes   K, or 0 for floats
    padded    a shorter value leaves trailing tokens unused: their id is 0. Of floats the last one of a used token
              is 1 and all of an unused token are 0; such columns are sources only, as nothing could tell where
              a sample ends.
    windowed  a value is a window of a longer sequence: it may begin anywhere, positions are relative, and a
              sample may be longer than the grid
    axes      a name for each axis of the grid, or () where they have none: "height", "width" of images, "frame"
              of clips, "time" and "frequency" of sound and series, "token" of text, "codebook" of codes
    cells     of a number in rank space: which tokens stand for the same value
    cycles    of a date in rank space: its time, whose phases a network sees

    >>> Spec((24, 24), axes=IMAGE).tokens, Spec((1,), classes=10).categorical
    (576, True)
    """

    grid: tuple[int, ...]
    width: int = 1
    classes: int = 0
    padded: bool = False
    windowed: bool = False
    axes: tuple[str, ...] = ()
    cells: Cells | None = None
    cycles: Cycles | None = None

    def __post_init__(self) -> None:
        if not self.grid or min(*self.grid, self.width) < 1 or self.classes < 0:
            raise ValueError(f"not a shape: {self}")
        if self.categorical and self.width != 1:
            raise ValueError(f"a categorical token is one id, so width must be 1: {self}")
        if self.axes and len(self.axes) != len(self.grid):
            raise ValueError(f"name every axis of the grid or none: {self}")

    @property
    def tokens(self) -> int:
        """T, the number of tokens."""
        return math.prod(self.grid)

    @property
    def categorical(self) -> bool:
        """Whether a token is an id (int64, shape (B, T)) and not floats (float32, shape (B, T, C))."""
        return self.classes > 0

    @property
    def sampled(self) -> bool:
        """Whether it is a signal of floats sampled along its axes, which can be resampled: an image, a clip ..."""
        return bool(self.axes) and not self.categorical and SAMPLED.issuperset(self.axes)

    @property
    def is_signal(self) -> bool:
        """Whether it is a signal along its axes, as floats or as codes: an image, a clip, the codes of one."""
        axes = set(self.axes) - {"codebook"}
        return bool(axes) and axes <= SAMPLED

    def with_floats(self, width: int) -> Spec:
        """The same grid and axes with `width` floats a token."""
        return Spec(self.grid, width, axes=self.axes)

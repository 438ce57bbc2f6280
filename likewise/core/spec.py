"""Spec: what a network needs to know of a column. Layer 0, no torch.

Every column is tokens on a grid: an image is a vector of C floats at each of (H, W) pixels, a text is one
id of K at each of (T,) places, a label is one id at (1,), a number is one float at (1,).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Spec:
    """The shape of one column: tokens on `grid`, each `width` floats, or each one id of `classes`.

    `padded` says that a shorter value leaves tokens unused, in a row: id 0 fills the places after the end. Of
    floats the last one of a token is then 1, and all of a token after the end are 0; such columns are sources
    only, as nothing could say where a drawn one ends.

    `running` says that a value is a window of a longer one: it begins anywhere, its places tell nothing but
    how far apart they are, and a drawn one may go on for longer than the grid.

    >>> Spec((24, 24), width=1).tokens, Spec((1,), classes=10).categorical
    (576, True)
    """

    grid: tuple[int, ...]
    width: int = 1
    classes: int | None = None
    padded: bool = False
    windowed: bool = False

    def __post_init__(self) -> None:
        if not self.grid or min(*self.grid, self.width, 1 if self.classes is None else self.classes) < 1:
            raise ValueError(f"not a shape: {self}")
        if self.classes is not None and self.width != 1:
            raise ValueError(f"a categorical token is one id, so width must be 1: {self}")

    @property
    def tokens(self) -> int:
        """T, the number of tokens."""
        return math.prod(self.grid)

    @property
    def categorical(self) -> bool:
        """Whether a token is an id (int64, shape (B, T)) and not floats (float32, shape (B, T, C))."""
        return self.classes is not None

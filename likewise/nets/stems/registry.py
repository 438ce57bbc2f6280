"""Stems: between the finest grid of a column, where its values and masks live, and the trunk's coarse one.

Legend: B batch, T tokens of the column, C floats a token, n tokens of the trunk, D width,
        (h, w) places of a picture.
"""

from __future__ import annotations

from likewise.nets.stems.base import COARSE, Stem
from likewise.nets.stems.conv import ConvStem
from likewise.nets.stems.patch import PatchStem


def make_stem(
    kind: str,
    grid: tuple[int, ...],
    c_in: int | None,
    c_out: int | None,
    width: int,
    *,
    skips: bool = True,
    coarse: int = COARSE,
) -> Stem:
    """The stem of a target column; without `c_in` it has the way out only, without `c_out` the way in.

    `conv` is a U-Net's shell where the grid is a picture; `patch` is linear everywhere. The trunk sees a
    picture on a grid of at most `coarse` x `coarse`.
    """
    if kind == "conv" and len(grid) == 2 and max(grid) > coarse:
        return ConvStem(grid, c_in, c_out, width, skips=skips, coarse=coarse)
    return PatchStem(grid, c_in, c_out, width, coarse=coarse)

"""The stem of a column, by the option `stem` and the axes of its Spec."""

from __future__ import annotations

from likewise.core.spec import IMAGE, Spec
from likewise.nets.stems.base import MAX_GRID, Stem
from likewise.nets.stems.conv import ConvStem
from likewise.nets.stems.patch import PatchStem

CONV_STEMS: dict[tuple[str, ...], type[ConvStem]] = {IMAGE: ConvStem}  # axes -> convolutional stem


def make_stem(
    kind: str,
    spec: Spec,
    c_in: int | None,
    c_out: int | None,
    width: int,
    *,
    skips: bool = True,
    max_grid: int = MAX_GRID,
) -> Stem:
    """The stem of a column on the grid of `spec`, with `c_in` floats a token in and `c_out` out.

    Without `c_in` it only decodes, without `c_out` it only encodes. `conv` is a U-Net's outer levels where there
    is a stem for these axes and the grid is larger than `max_grid` along one; `patch` is linear everywhere.
    """
    conv = CONV_STEMS.get(spec.axes) if kind == "conv" and max(spec.grid) > max_grid else None
    if conv is not None:
        return conv(spec, c_in, c_out, width, skips=skips, max_grid=max_grid)
    return PatchStem(spec, c_in, c_out, width, max_grid=max_grid)

"""Which stem a column gets: by the option `stem` and by the axes of its Spec."""

from __future__ import annotations

from likewise.core.spec import IMAGE, Spec
from likewise.nets.stems.base import COARSE, Stem
from likewise.nets.stems.conv import ConvStem
from likewise.nets.stems.patch import PatchStem

CONV_STEMS: dict[tuple[str, ...], type[ConvStem]] = {
    IMAGE: ConvStem
}  # axes -> the stem of convolutions there


def make_stem(
    kind: str,
    spec: Spec,
    c_in: int | None,
    c_out: int | None,
    width: int,
    *,
    skips: bool = True,
    coarse: int = COARSE,
) -> Stem:
    """The stem of a column on the grid of `spec`, with `c_in` floats a token in and `c_out` out.

    Without `c_in` it only decodes, without `c_out` it only encodes. `conv` is a U-Net's shell where there is
    one for these axes and the grid is larger than `coarse` along an axis; `patch` is linear everywhere.
    """
    conv = CONV_STEMS.get(spec.axes) if kind == "conv" and max(spec.grid) > coarse else None
    if conv is not None:
        return conv(spec, c_in, c_out, width, skips=skips, coarse=coarse)
    return PatchStem(spec, c_in, c_out, width, coarse=coarse)

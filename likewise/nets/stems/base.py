"""The base class of stems, and how many tokens a column may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.column_weights import Axis, Part, Resize

MAX_GRID = 8  # tokens along a side of an image, at most, by default
Channels = tuple[Sequence[Part], Sequence[Part]]  # of a stem, in and out
MAX_TOKENS = 256  # tokens of any other column, at most


class Stem(nn.Module):
    """Between the grid of a column, T tokens of C floats, and a coarser one of n tokens of width D.

    grid  of the n tokens

    Both directions may depend on the condition e of the column, (B, D).
    """

    grid: tuple[int, ...]

    def encode(self, x: Tensor, e: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x (B, T, C_in) -> tokens (B, n, D), and the skips of a U-Net."""
        raise NotImplementedError

    def decode(self, tokens: Tensor, skips: list[Tensor], e: Tensor) -> Tensor:
        """Tokens (B, n, D) and skips -> (B, T, C_out)."""
        raise NotImplementedError

    def weight_axes(self, inputs: Sequence[Part], outputs: Sequence[Part]) -> Mapping[str, Axis]:
        """The axes of C_in and of C_out, by the names of the weights that have them."""
        return {}


def value_channels(spec: Spec, resize: Resize) -> Part:
    """The channels of a column's own floats: of a picture `resize`, else of one number of floats only."""
    return Part(0, spec.width, resize if spec.sampled else "fixed")

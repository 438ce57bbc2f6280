"""The base class of stems, and how many tokens a column may take."""

from __future__ import annotations

from torch import Tensor, nn

MAX_GRID = 8  # tokens along a side of an image, at most, by default
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

"""TODO core.score."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Score:
    """log p, one number a row, and what kind of number it is.

    nats  (B,) natural logarithms
    kind  "exact" up to the solver's error, "bound" (the truth is not below it),
          or "estimate" (unbiased, but noisy)
    dims  how many numbers a row has, for bits/dim; of documents how many bytes each has, (B,)
    """

    nats: Tensor
    kind: str
    dims: int | Tensor

    @property
    def bits_per_dim(self) -> Tensor:
        """-log2 p / dims, (B,): lower is better."""
        return -self.nats / (self.dims * math.log(2))

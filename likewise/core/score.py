"""Score: log-probabilities of rows, and whether they are exact, a bound or an estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Score:
    """log p of each row, and how it was computed.

    nats  (B,) natural logarithms
    kind  "exact" up to the error of a solver, "bound" (log p is at least this), or "estimate" (unbiased, noisy)
    dims  numbers per row, for bits/dim; for documents the bytes of each, (B,)
    """

    nats: Tensor
    kind: str
    dims: int | Tensor

    @property
    def bits_per_dim(self) -> Tensor:
        """-log2 p / dims, (B,); lower is better."""
        return -self.nats / (self.dims * math.log(2))

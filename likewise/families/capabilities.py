"""What some families can do beside learning: a family has a capability if it has the methods of its protocol.

`isinstance(family, CanScore)`, or `issubclass` of its class, tells whether it has one. Keyword-only parameters
beyond those below are options of the family.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.known import KnownParts
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.spec import Spec


@runtime_checkable
class CanSample(Protocol):
    """A family that can be sampled."""

    def sample(self, c: Context, *, known: KnownParts | None, rng: Rng, **options: Any) -> Batch:
        """One sample for each row of `c`, as many as `rng` has; options are sampling options and controls."""


@runtime_checkable
class CanScore(Protocol):
    """A family with a density."""

    def log_prob(self, x: Batch, c: Context, *, rng: Rng, **options: Any) -> Score:
        """log p(x | c) of each row."""


@runtime_checkable
class CanScoreTokens(Protocol):
    """A family with a probability of each token."""

    def token_log_prob(self, x: Batch, c: Context) -> Batch:
        """log p of each token given those before it, column -> (B, T) nats, 0 after the end."""

    def id_log_probs(self, x: Batch, c: Context) -> Batch:
        """log p of every id in each place given the tokens before it, column of ids -> (B, n, K) nats, n <= T."""


@runtime_checkable
class CanEncode(Protocol):
    """A family whose codes can be a view of a target."""

    def code_spec(self, name: str) -> Spec:
        """The shape of the codes of a target. Raises ValueError for one that has no codes of its own."""

    def to_codes(self, name: str, x: Tensor) -> Tensor:
        """Encoded values of a target -> codes, (B, T, C) float32 or (B, T) int64."""


@runtime_checkable
class CanDecode(Protocol):
    """A family whose codes can be decoded."""

    def from_codes(self, name: str, codes: Tensor) -> Tensor:
        """The inverse of `to_codes`."""


@runtime_checkable
class CanEmbed(Protocol):
    """A family that embeds columns."""

    def embed(self, name: str, x: Tensor) -> Tensor:
        """Encoded values of a column -> unit vectors, (B, floats) float32."""

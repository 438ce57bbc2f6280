"""Options of the autoregressive family, grouped by what they configure; its `__init__` describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from likewise.nets.compat.base import EPS
from likewise.nets.compat.llama import ROPE_THETA


@dataclass(frozen=True)
class MixtureOptions:
    """The density of a token of floats."""

    components: int = 16
    min_std: float = 0.01


@dataclass(frozen=True)
class CodeOptions:
    """How images are coded."""

    codec: Literal["fsq", "vq", "rvq"] = "fsq"
    max_grid: int = 4
    codebook_size: int = 1000
    freeze_codes_at: float = 0.4


@dataclass(frozen=True)
class TextOptions:
    """Of a single target that is a text."""

    hashed_ngrams: int = 0
    fim: float = 0.0
    dropout: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.fim <= 1:
            raise ValueError(f"fim={self.fim:g} is a share of the training rows, from 0 to 1")
        if not 0 <= (self.dropout or 0) < 1:
            raise ValueError(f"dropout={self.dropout:g} is a share of the tokens, from 0 to below 1")


@dataclass(frozen=True)
class CompatOptions:
    """A backbone that transformers has too (nets/compat)."""

    compat: Literal["none", "llama", "gpt2"] = "none"
    heads: int | None = None
    mlp_width: int | None = None
    rope_theta: float = ROPE_THETA
    norm_eps: float = EPS
    tie_embeddings: bool | None = None

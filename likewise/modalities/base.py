"""Modality: what a column's values are, and how they become tokens and back. Knows no family and no network.

A modality is a frozen dataclass whose fields are exactly what `fit` learned from the training rows, all of
them JSON values: that is what a checkpoint stores, so a model decodes its own samples with no data set at
hand.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from likewise.core.spec import Spec

Row = dict[str, Any]  # column -> a value a person can look at


class Modality(ABC):
    """One kind of column. Subclasses are frozen dataclasses and are final."""

    kind: ClassVar[str]  # the name in schemas and messages: "image", "text", "label", "number"
    media_type: ClassVar[str]  # of the bytes that `dump` writes
    suffix: ClassVar[str]  # of a file with those bytes, with the dot

    lossless: ClassVar[bool] = True  # whether tokens tell the value, so that a density of them is one of it
    log_scale: ClassVar[float] = 0.0  # log |d float / d value|: turns a density of tokens into one of values
    bin_width: ClassVar[float] = 0.0  # width, in tokens' units, of what `decode` rounds to one value, or 0

    @classmethod
    @abstractmethod
    def fit(cls, values: Sequence[Any], **options: Any) -> Self:
        """Learn size, vocabulary or scale from TRAINING values; a subclass's keywords are its options."""

    def grow_to_fit(self, values: Sequence[Any]) -> Self:
        """The same with room for these values, from which nothing else is learned."""
        return self

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """The tokens that `encode` makes."""

    @abstractmethod
    def check(self, value: Any) -> str | None:
        """Why `encode` would refuse or damage this value, or None if it is good."""

    @abstractmethod
    def encode(self, value: Any) -> Tensor:
        """A value a person can look at -> (T, C) float32, or (T,) int64 where the spec is categorical."""

    @abstractmethod
    def decode(self, tokens: Tensor) -> Any:
        """The inverse of `encode`, for any tokens of that shape, not only those that `encode` made."""

    def encode_all(self, values: Sequence[Any]) -> Tensor:
        """`encode` of at least one value, (N, T, C) or (N, T); at once where a network does it."""
        return torch.stack([self.encode(value) for value in values])

    def decode_all(self, tokens: Tensor) -> list[Any]:
        """`decode` of (N, T, C) or (N, T)."""
        return [self.decode(value) for value in tokens]

    def token_mask(self, mask: Tensor) -> Tensor:
        """A mask of bool over a value's grid -> which tokens hold, (T,). Raises ValueError for its size."""
        if mask.numel() != self.spec.tokens:
            raise ValueError(
                f"the mask has {mask.numel()} places, the column {self.spec.tokens} ({self.spec.grid})"
            )
        return mask.flatten()

    def restore_known(self, drawn: Any, value: Any, mask: Tensor) -> Any:
        """What was drawn, with the value where the mask holds: as it is where tokens tell all of a value."""
        return drawn

    @abstractmethod
    def load(self, data: bytes) -> Any:
        """The bytes of a file, or of a request, -> a value. Raises ValueError that says what is wrong."""

    @abstractmethod
    def dump(self, value: Any) -> bytes:
        """A value -> the bytes of a file of `media_type`."""

    def parse(self, text: str) -> Any:
        """A value written on a command line: the text itself, or the path of a file where values are no text.

        Raises ValueError that says what is wrong, OSError for a file that cannot be read.
        """
        return self.load(text.encode() if self.media_type.startswith("text/") else Path(text).read_bytes())

    def to_json(self) -> dict[str, Any]:
        """What `fit` learned, as JSON values with the kind."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @classmethod
    def options(cls) -> dict[str, inspect.Parameter]:
        """The keywords of `fit`: the signature is the schema."""
        return {n: p for n, p in inspect.signature(cls.fit).parameters.items() if p.kind is p.KEYWORD_ONLY}

"""Modality: what a column's values are, and how they become tokens and back. Knows no family and no network.

Whatever else the package needs to know of a kind of column is an attribute or a method here, with a default:
how it is recognised and stored in a table, checked, described, shown as a picture, written to a file.

A modality is a frozen dataclass whose fields are exactly what `fit` learned from the training rows, all of
them JSON values: that is what a checkpoint stores, so a model decodes its own samples with no data set at
hand.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import PIL.Image
import torch
from torch import Tensor

from likewise.core.spec import Spec
from likewise.modalities.columns import CellCheck, ColumnSummary

Row = dict[str, Any]  # column -> a value a person can look at


class Modality(ABC):
    """One kind of column. Subclasses are frozen dataclasses and are final."""

    kind: str  # the name in schemas and messages: "image", "text", "label", "number"
    media_type: str  # of the bytes that `dump` writes
    suffix: str  # of a file with those bytes, with the dot

    lossless: bool = True  # whether tokens determine the value, so that their density is its density
    log_scale: float = 0.0  # log |d float / d value|: turns a density of tokens into one of values
    bin_width: float = 0.0  # width, in tokens' units, of what `decode` rounds to one value, or 0

    # ---- in a table
    dtypes: frozenset[str] = frozenset()  # stored types (ColumnSummary.dtype) that it can read
    value_type: type | None = None  # of values in memory that `to_cell` stores in another form
    file_suffixes: tuple[str, ...] = ()  # endings of files that each hold one value, with the dot
    numeric: bool = False  # whether numbers that are written in a text file are read as numbers
    as_string: bool = False  # whether values are stored as strings, whatever they were read as
    passages: bool = False  # whether a long value is stored as a row for each of its passages
    lazy: bool = False  # whether values are large, so that they are read one by one
    accepts_all: bool = False  # whether any readable value fits, whatever `fit` has learned
    groupable: bool = True  # whether rows can be held out in groups of equal values
    role: Literal["value", "class", "prompt"] = "value"
    # "class": one of a fixed set, each of which stays in training; "prompt": words that describe a row, whose
    # combinations are held out and which a bare word on a command line stands for

    # ---- elsewhere
    visual: bool = False  # whether a value is shown by its `thumbnail`, not in words
    default_family: str = "flow"  # of models whose targets all say the same
    target_rank: int = 20  # in a formula that is suggested for a table, lower ranks stand first

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

    # ---- stored values

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        """How well the kind suits a column: 0 not at all; the highest of all kinds is taken, the first of equals.

        By convention 1 is "can be read so", 2 "looks so", 3 "is named or typed so", 4 overrides these.
        """
        return 0

    @classmethod
    def to_cell(cls, value: Any) -> Any:
        """A value in memory -> what a table stores; only called for a `value_type`."""
        return value

    @classmethod
    def from_cell(cls, cell: Any) -> Any:
        """What a table stores -> a value. Raises ValueError that says what is wrong."""
        return cell

    @classmethod
    def peek_cell(cls, cell: Any) -> Any:
        """The same, where large contents may be read later, when they are used."""
        return cls.from_cell(cell)

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        """Whether a stored value can be used, whatever `fit` will learn."""
        content = repr(cell).encode(errors="surrogatepass")
        if cell is None:
            return CellCheck(content, "missing")
        return CellCheck(content, "empty" if isinstance(cell, str) and not cell.strip() else None)

    @classmethod
    def column_warnings(cls, name: str, traits: Counter[str], rows: int) -> list[str]:
        """What is worth a look in a column whose values have these traits, see CellCheck."""
        return []

    # ---- tokens

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
    def dump(self, value: Any, about: Mapping[str, Any] | None = None) -> bytes:
        """A value -> the bytes of a file of `media_type`, with `about` in it where the format has room."""

    def parse(self, text: str) -> Any:
        """A value written on a command line: the text itself, or the path of a file where values are no text.

        Raises ValueError that says what is wrong, OSError for a file that cannot be read.
        """
        return self.load(text.encode() if self.media_type.startswith("text/") else Path(text).read_bytes())

    # ---- for people

    def describe(self) -> str:
        """What was learned, in a few words: "24 x 24 pixels, grey"."""
        spec = self.spec
        if spec.categorical:
            return f"at most {spec.tokens} tokens of a vocabulary of {spec.classes:,}"
        return f"{' x '.join(map(str, spec.grid))} tokens of {spec.width} floats"

    def summarize(self, value: Any, longest: int = 60) -> str:
        """A value in one short line."""
        line = " ".join((f"{value:g}" if isinstance(value, float) else str(value)).split())
        return line if len(line) <= longest else line[: longest - 3] + "..."

    def thumbnail(self, value: Any) -> PIL.Image.Image:
        """A picture of a value, of a kind that is `visual`."""
        raise NotImplementedError(f"a value of the kind {self.kind} has no thumbnail")

    def to_json(self) -> dict[str, Any]:
        """What `fit` learned, as JSON values with the kind."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @classmethod
    def options(cls) -> dict[str, inspect.Parameter]:
        """The keywords of `fit`: the signature is the schema."""
        return {n: p for n, p in inspect.signature(cls.fit).parameters.items() if p.kind is p.KEYWORD_ONLY}

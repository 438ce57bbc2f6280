"""Modality: the values of a column, and their conversion to tokens and back. Knows no family and no network.

Everything else that the package needs to know about a kind of column is an attribute or a method here, with a
default: how it is recognised and stored in a table, checked, described, shown as a picture, written to a file.

A modality is a frozen dataclass. Its fields are what `fit` learned from the training rows, all of them JSON
values: a checkpoint stores them, so a model decodes its samples without the data set.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import PIL.Image
import torch
from torch import Tensor

from likewise.core.rng import Rng
from likewise.core.signatures import keyword_parameters
from likewise.core.spec import Spec
from likewise.modalities.columns import CellCheck, ColumnSummary, ColumnValues
from likewise.modalities.conditions import Condition

Row = dict[str, Any]  # column -> a value as people see it: a picture, a string, a number
Role = Literal["value", "class", "prompt"]


class Modality(ABC):
    """One kind of column. Subclasses are frozen dataclasses and are final."""

    kind: str  # the name in schemas and messages: "image", "text", "label", "number"
    media_type: str  # MIME type of the bytes that `dump` returns
    suffix: str  # of files of that type, with the dot

    lossless: bool = True  # whether tokens determine the value, so that their density is its density

    # ---- in a table
    dtypes: frozenset[str] = frozenset()  # stored types (ColumnSummary.dtype) that it can read
    value_type: type | None = None  # type of values in memory that `to_cell` converts for storage
    file_suffixes: tuple[str, ...] = ()  # of files that hold one value each, with the dot
    numeric: bool = False  # whether numbers in a text file are parsed
    as_string: bool = False  # whether values are stored as strings, whatever type they are read as
    passages: bool = False  # whether a long value is stored as one row per passage
    lazy: bool = False  # whether values are large and read one by one
    settled: frozenset[str] = frozenset()  # options of `fit` that weights depend on, so that `refit` has none
    null_words: bool = False  # whether NA, null and other such words are missing values in cells of text
    may_misfit: bool = False  # whether `check` may refuse what `check_cell` accepts, also after `grow_to_fit`
    accepts_all: bool = False  # whether any readable value can be encoded, whatever `fit` has learned
    models_missing: bool = (
        False  # whether `fit` learns from None that values may be missing, see `has_missing`
    )
    groupable: bool = True  # whether rows can be held out in groups of equal values
    role: Role = "value"
    # "class": one of a fixed set, each of which stays in training; "prompt": words that describe a row: new
    # combinations of them are held out, and free text on a command line is such a value

    # ---- elsewhere
    visual: bool = False  # whether values are displayed by their `thumbnail`, not as text
    default_family: str = "flow"  # of a model, where all of its targets agree
    target_rank: int = 20  # in a suggested formula, columns of a lower rank come first

    @classmethod
    @abstractmethod
    def fit(cls, values: Sequence[Any], *args: Any, **options: Any) -> Self:
        """Learn size, vocabulary or scale from TRAINING values. Keyword-only parameters are its options."""

    @property
    def has_missing(self) -> bool:
        """Whether "missing" is a value of the column, None, which is encoded, learned and sampled like others."""
        return False

    def check_missing(self) -> str | None:
        """Why a missing value cannot be encoded, or None: `check` of None."""
        return None if self.has_missing else "a value is missing, which is so in no training row"

    def without_missing(self) -> Self:
        """The same without that value."""
        return self

    def why_id(self, name: str) -> str:
        """Why the values of a column of this name tell rows apart, and nothing of them, "" if they do not."""
        return ""

    def with_style(self, style: str) -> Self:
        """The same, whose cells of a text file are written in a style that the reader has found there."""
        return self

    def linear(self) -> Self:
        """The same on a scale that keeps distances, without a missing value, where there is such a scale."""
        return self.without_missing()

    def grow_to_fit(self, values: Sequence[Any]) -> Self:
        """The same with room for these values; nothing else is learned from them."""
        return self

    def refit(self, values: Sequence[Any], *args: Any, **options: Any) -> Self:
        """What `fit` learns from TRAINING values of another table, except for what the weights of a model depend on.

        That stays as it is here, or is extended: a model of this column begins to learn the other one with its
        weights. Raises ValueError for an option that would change it.
        """
        return type(self).fit(values, **options)

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """The shape and type of the tokens that `encode` returns."""

    def log_scale(self, tokens: Tensor) -> Tensor:
        """log |d float / d value| of each float: converts a density of tokens into a density of values."""
        return torch.zeros(()).expand(tokens.shape)

    def dequantize(self, tokens: Tensor, rng: Rng) -> Tensor:
        """Tokens (N, T, C) of N values -> uniformly random ones among those that `decode` rounds to these values.

        Unchanged where `decode` does not round.
        """
        return tokens

    def tokens_within(self, condition: Condition) -> Tensor:
        """The tokens of the values that satisfy a condition: of ids (K,) bool, of a float its ends, (2,) float32.

        Raises ValueError if no known value does, and for a kind of column that has no such conditions.
        """
        raise ValueError(f"a column of the kind {self.kind} has no ranges or sets of values to sample from")

    @abstractmethod
    def check(self, value: Any) -> str | None:
        """Why `encode` would refuse or damage this value, or None."""

    @abstractmethod
    def encode(self, value: Any) -> Tensor:
        """A value -> (T, C) float32, or (T,) int64 where the spec is categorical."""

    @abstractmethod
    def decode(self, tokens: Tensor) -> Any:
        """The inverse of `encode`, for any tokens of that shape, samples of a model too."""

    # ---- stored values

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        """How well the kind suits a column, 0 for not at all. The highest of all kinds wins, the first of equals.

        By convention: 1 can be read as this kind, 2 looks like it, 3 has its name or type, 4 overrides these.
        """
        return 0

    @classmethod
    def reason(cls, column: ColumnSummary) -> str:
        """Why a column is taken for this kind, in a few words: "6 different values"; "" where its type says so."""
        return ""

    @classmethod
    def to_cell(cls, value: Any) -> Any:
        """A value in memory -> its stored form; called for values of `value_type` only."""
        return value

    @classmethod
    def from_cell(cls, cell: Any) -> Any:
        """The stored form -> a value. Raises ValueError with the reason."""
        return cell

    @classmethod
    def peek_cell(cls, cell: Any) -> Any:
        """The same; large contents may be read later, when they are used."""
        return cls.from_cell(cell)

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        """Whether a stored value can be used, before `fit` has learned anything."""
        content = repr(cell).encode(errors="surrogatepass")
        if cell is None:
            return CellCheck(content, "missing")
        return CellCheck(content, "empty" if isinstance(cell, str) and not cell.strip() else None)

    def findings(self, column: ColumnValues) -> list[str]:
        """What a user should know of a column that this modality was fitted on, a line each: what is odd, and
        what of its values is not kept. They are part of the table's report."""
        return []

    @classmethod
    def group_near_copies(cls, signatures: Sequence[bytes]) -> Sequence[Hashable]:
        """A key for the signature of each value, see CellCheck; values that are nearly the same have the same key."""
        return signatures

    # ---- tokens

    def encode_all(self, values: Sequence[Any]) -> Tensor:
        """`encode` of at least one value, (N, T, C) or (N, T); one batch where a network encodes."""
        return torch.stack([self.encode(value) for value in values])

    def decode_all(self, tokens: Tensor) -> list[Any]:
        """`decode` of (N, T, C) or (N, T)."""
        return [self.decode(value) for value in tokens]

    def class_names(self) -> list[str]:
        """The values of a column of one categorical token, in the order of their ids; none for floats."""
        return [str(self.decode(torch.tensor([k]))) for k in range(self.spec.classes)]

    def truncate(self, value: Any, tokens: int | None = None) -> Any:
        """The beginning of a value for which there is room, of `tokens` if they are given; itself if it fits."""
        return value

    def num_tokens(self, value: Any) -> int:
        """The number of tokens of a value, whether or not there is room for them."""
        return self.spec.tokens

    def encode_unpadded(self, values: Sequence[Any]) -> list[list[int]]:
        """The ids of each value at its full length, without an end; of a windowed column."""
        raise NotImplementedError(f"a column of the kind {self.kind} is not learned in windows")

    def token_mask(self, mask: Tensor) -> Tensor:
        """A mask of bool over a value's grid -> the mask of its tokens, (T,). Raises ValueError for its size."""
        if mask.numel() != self.spec.tokens:
            raise ValueError(
                f"the mask has {mask.numel()} places, the column {self.spec.tokens} ({self.spec.grid})"
            )
        return mask.flatten()

    def restore_known(self, sample: Any, value: Any, mask: Tensor) -> Any:
        """A sample with the value put back where the mask is True; unchanged where tokens are lossless."""
        return sample

    def restore_residual(self, samples: list[Any], value: Any, noise: float) -> list[Any]:
        """Variations of a value with what its tokens cannot represent, as far as noise of that deviation leaves it.

        Unchanged where tokens are lossless; `noise` is relative to the value.
        """
        return samples

    @abstractmethod
    def load(self, data: bytes) -> Any:
        """The bytes of a file or a request -> a value. Raises ValueError with the reason."""

    @abstractmethod
    def dump(self, value: Any, metadata: Mapping[str, Any] | None = None) -> bytes:
        """A value -> the bytes of a file of `media_type`, with `metadata` where the format stores any."""

    def parse(self, text: str) -> Any:
        """An argument of a command line -> a value: the text itself, or the path of a file if values are no text.

        Raises ValueError with the reason, OSError for a file that cannot be read.
        """
        return self.load(text.encode() if self.media_type.startswith("text/") else Path(text).read_bytes())

    def format_cell(self, value: Any) -> str:
        """A value as the cells of the column's text file have it, such as "$1,234.50"; "" for a missing one."""
        return "" if value is None else str(value)

    def native(self, value: Any) -> Any:
        """A value as files with types, such as .parquet, store it: a date as datetime.date; others as they are."""
        return value

    # ---- display

    def describe(self) -> str:
        """What `fit` learned, in a few words: "24 x 24 pixels, grey"."""
        spec = self.spec
        if spec.categorical:
            return f"at most {spec.tokens} tokens of a vocabulary of {spec.classes:,}"
        return f"{' x '.join(map(str, spec.grid))} tokens of {spec.width} floats"

    def summarize(self, value: Any, longest: int = 60) -> str:
        """A value in one line of at most `longest` characters."""
        line = " ".join((f"{value:g}" if isinstance(value, float) else str(value)).split())
        return line if len(line) <= longest else line[: longest - 3] + "..."

    def thumbnail(self, value: Any) -> PIL.Image.Image:
        """A picture of a value; of kinds that are `visual`."""
        raise NotImplementedError(f"a value of the kind {self.kind} has no thumbnail")

    def to_json(self) -> dict[str, Any]:
        """The fields and the kind, as JSON values."""
        if not dataclasses.is_dataclass(self):
            raise TypeError(f"{type(self).__name__} is not a dataclass; decorate it, or write a to_json")
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @classmethod
    def options(cls) -> dict[str, inspect.Parameter]:
        """The keyword-only parameters of `fit`: the signature is the schema."""
        return keyword_parameters(cls.fit)

"""RowProcessor: rows of values <-> the tensors that a family learns, on its device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.errors import did_you_mean, warn
from likewise.core.formula import Formula
from likewise.core.known import KnownParts, blank_values
from likewise.core.rng import Rng
from likewise.modalities.base import Modality, Row
from likewise.modalities.latent import base_of


@dataclass(frozen=True)
class RowProcessor:
    """Encodes and decodes the columns of a formula.

    formula  tells targets from sources
    columns  modality of each column
    device   of the tensors
    """

    formula: Formula
    columns: Mapping[str, Modality]
    device: torch.device

    @property
    def target_columns(self) -> dict[str, Modality]:
        """The columns of the targets."""
        return {name: self.columns[name] for name in self.formula.target_names}

    def target(self, name: str) -> Modality:
        """The column of that name. Raises ValueError unless it is a target."""
        if name not in self.formula.target_names:
            raise ValueError(did_you_mean("target", name, self.formula.target_names))
        return self.columns[name]

    def validate_sources(self, sources: Row) -> Row:
        """The sources as they are read, see `truncate_sources`.

        Raises ValueError for a name that is no source, and for a value that cannot be encoded.
        """
        return self._validate(sources, "source", self.formula.source_names)

    def validate_values(self, values: Row) -> Row:
        """Values of sources as they are read, and of targets, which are known; the same errors."""
        return self._validate(values, "column", [*self.formula.source_names, *self.formula.target_names])

    def _validate(self, values: Row, what: str, names: Sequence[str]) -> Row:
        for name in values:
            if name not in names:
                raise ValueError(did_you_mean(what, name, names))
        [values] = self.truncate_sources([values])
        for name, value in values.items():
            self.check(name, value)
        return values

    def truncate_sources(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with texts among the sources cut to the room that there is, which a RequestWarning says.

        A model has room for its longest training text.
        """
        rows = list(rows)
        for name in self.formula.source_names:
            column = self.columns[name]
            texts = dict.fromkeys(row[name] for row in rows if isinstance(row.get(name), str))
            cut = {text: short for text in texts if (short := column.truncate(text)) != text}
            if cut:
                warn(_truncation(name, column, cut))
                rows = [
                    {**row, name: cut.get(row[name], row[name])} if isinstance(row.get(name), str) else row
                    for row in rows
                ]
        return rows

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError for a value that the column cannot encode."""
        if reason := self.columns[name].check(value):
            raise ValueError(f"{name}: {reason}")

    def check_all(self, name: str, values: Sequence[Any]) -> None:
        """The same for several values."""
        for value in values:
            self.check(name, value)

    # ---- values -> tensors

    def encode(self, name: str, values: Sequence[Any]) -> Tensor:
        """Values of a column -> (B, T, C) or (B, T). Raises ValueError for one that it cannot encode."""
        self.check_all(name, values)
        return self.columns[name].encode_all(values).to(self.device)

    def context(self, rows: Sequence[Row]) -> Context:
        """The encoded sources of rows; one that is missing or None is absent."""
        names = self.formula.source_names
        values: Batch = {}
        for name in names:
            values[name] = blank_values(self.columns[name].spec, len(rows), self.device)
            present = [i for i, row in enumerate(rows) if row.get(name) is not None]
            if present:
                values[name][present] = self.encode(name, [rows[i][name] for i in present])
        flags = torch.tensor(
            [[row.get(name) is not None for name in names] for row in rows], dtype=torch.bool
        )
        return Context(values, flags.view(len(rows), len(names))).to(self.device)

    def dequantize(self, rows: Sequence[Row], rng: Rng) -> Batch:
        """The encoded targets of rows, with uniform noise where `decode` rounds."""
        return {
            name: column.dequantize(self.encode(name, [row[name] for row in rows]), rng)
            for name, column in self.target_columns.items()
        }

    def known(self, known: Mapping[str, Any], rows: Sequence[Row]) -> KnownParts | None:
        """What is known of the targets: in all rows, and the values that rows have; None where nothing is.

        known  target -> its value, or (value, mask)

        Raises ValueError for a target that is known in both ways.
        """
        values, masks = {}, {}
        for name, part in known.items():
            value, mask = self._value_and_mask(name, part)
            tokens = self.encode(name, [value])
            masks[name] = self.mask(name, mask).expand(len(rows), -1)
            values[name] = tokens.expand(len(rows), *tokens.shape[1:])
        for name, column in self.target_columns.items():
            given = [i for i, row in enumerate(rows) if row.get(name) is not None]
            if given and name in known:
                raise ValueError(f"{name} is given twice, as known and in the rows; give it once")
            if given:
                values[name] = blank_values(column.spec, len(rows), self.device)
                values[name][given] = self.encode(name, [rows[i][name] for i in given])
                masks[name] = torch.zeros(len(rows), column.spec.tokens, dtype=torch.bool, device=self.device)
                masks[name][given] = True
        return KnownParts(values, masks) if values else None

    def mask(self, name: str, mask: Any) -> Tensor:
        """A mask over the grid of a target, or one bool for all of it -> (T,) bool.

        Raises ValueError for a mask of another size.
        """
        column, mask = self.target(name), torch.as_tensor(mask).bool()
        try:
            return column.token_mask(mask if mask.ndim else mask.expand(column.spec.tokens)).to(self.device)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _value_and_mask(self, name: str, part: Any) -> tuple[Any, Tensor]:
        """A value of a target, or (value, mask), -> both; without a mask all of the value is known."""
        everything = torch.ones(self.target(name).spec.tokens, dtype=torch.bool)
        value, mask = part if isinstance(part, tuple) else (part, everything)
        return value, torch.as_tensor(mask).bool()

    # ---- tensors -> values

    def decode_rows(self, rows: Sequence[Row], samples: Batch, known: Mapping[str, Any]) -> list[Row]:
        """The rows with the samples of their targets, in which parts that are known have their values."""
        values = {
            name: column.decode_all(samples[name].cpu()) for name, column in self.target_columns.items()
        }
        for name, part in known.items():
            value, mask = self._value_and_mask(name, part)
            values[name] = [self.columns[name].restore_known(v, value, mask) for v in values[name]]
        for name in values.keys() - known.keys():
            column, whole = self.columns[name], self._value_and_mask(name, None)[1]
            values[name] = [
                v if row.get(name) is None else column.restore_known(v, row[name], whole)
                for v, row in zip(values[name], rows, strict=True)
            ]
        return [{**row, **{name: values[name][i] for name in values}} for i, row in enumerate(rows)]


def _truncation(name: str, column: Modality, cut: Mapping[str, str]) -> str:
    """The message for texts of a column that were cut: text -> what is read of it."""
    base = base_of(column)
    text = max(cut, key=base.num_tokens)
    tokens, room = base.num_tokens(text), column.spec.tokens
    texts = "the text has" if len(cut) == 1 else f"{len(cut)} texts are too long; the longest has"
    advice = f"; train with --length {tokens} for all of it" if "length" in column.options() else ""
    return (
        f"{name}: {texts} {tokens:,} tokens and there is room for {room:,}, so only its beginning is read: "
        f"{base.summarize(cut[text])!r}{advice}"
    )

"""RowProcessor: rows of values <-> the tensors that a family learns, on its device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula
from likewise.core.known import KnownParts, blank_values
from likewise.core.rng import Rng
from likewise.modalities.base import Modality, Row


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
        """The same sources. Raises ValueError for a name that is no source, and for a value that does not fit."""
        for name, value in sources.items():
            if name not in self.formula.source_names:
                raise ValueError(did_you_mean("source", name, self.formula.source_names))
            self.check(name, value)
        return sources

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError for a value that the column cannot encode."""
        if reason := self.columns[name].check(value):
            raise ValueError(f"{name}: {reason}")

    # ---- values -> tensors

    def encode(self, name: str, values: Sequence[Any]) -> Tensor:
        """Values of a column -> (B, T, C) or (B, T). Raises ValueError for one that it cannot encode."""
        for value in values:
            self.check(name, value)
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

    def known(self, known: Mapping[str, Any], rows: int) -> KnownParts | None:
        """Target -> its value, or (value, mask), repeated for `rows` rows; None where nothing is known."""
        values, masks = {}, {}
        for name, part in known.items():
            value, mask = self._value_and_mask(name, part)
            tokens = self.encode(name, [value])
            masks[name] = self.mask(name, mask).expand(rows, -1)
            values[name] = tokens.expand(rows, *tokens.shape[1:])
        return KnownParts(values, masks) if values else None

    def mask(self, name: str, mask: Any) -> Tensor:
        """A mask over the grid of a target -> (T,) bool. Raises ValueError for a mask of another size."""
        column = self.target(name)
        try:
            return column.token_mask(torch.as_tensor(mask).bool()).to(self.device)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _value_and_mask(self, name: str, part: Any) -> tuple[Any, Tensor]:
        """A value of a target, or (value, mask), -> both; without a mask all of the value is known."""
        everything = torch.ones(self.target(name).spec.tokens, dtype=torch.bool)
        value, mask = part if isinstance(part, tuple) else (part, everything)
        return value, torch.as_tensor(mask).bool()

    # ---- tensors -> values

    def decode_rows(self, rows: Sequence[Row], samples: Batch, known: Mapping[str, Any]) -> list[Row]:
        """The rows with the samples of their targets, in which the `known` parts have their values."""
        values = {
            name: column.decode_all(samples[name].cpu()) for name, column in self.target_columns.items()
        }
        for name, part in known.items():
            value, mask = self._value_and_mask(name, part)
            values[name] = [self.columns[name].restore_known(v, value, mask) for v in values[name]]
        return [{**row, **{name: values[name][i] for name in values}} for i, row in enumerate(rows)]

"""Tokens: rows of values <-> the tensors that a family learns, on its device."""

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
    """The columns of a formula, each by its name.

    formula  says which are targets and which are sources
    columns  how each is written
    device   of the tokens
    """

    formula: Formula
    columns: Mapping[str, Modality]
    device: torch.device

    def target(self, name: str) -> Modality:
        """The column of that name. Raises ValueError unless it is a target."""
        if name not in self.formula.target_names:
            raise ValueError(did_you_mean("target", name, self.formula.target_names))
        return self.columns[name]

    def validate_sources(self, sources: Row) -> Row:
        """Sources, as they are. Raises ValueError for what is none, or a value that it cannot take."""
        for name, value in sources.items():
            if name not in self.formula.source_names:
                raise ValueError(did_you_mean("source", name, self.formula.source_names))
            self.check(name, value)
        return sources

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError for a value that the column cannot take."""
        if reason := self.columns[name].check(value):
            raise ValueError(f"{name}: {reason}")

    # ---- values -> tokens

    def encode(self, name: str, values: Sequence[Any]) -> Tensor:
        """Values of a column -> (B, T, C) or (B, T). Raises ValueError for one that it cannot take."""
        for value in values:
            self.check(name, value)
        return self.columns[name].encode_all(values).to(self.device)

    def context(self, rows: Sequence[Row]) -> Context:
        """The sources of rows: one that a row lacks, or that is None, is not given."""
        values: Batch = {}
        for name in self.formula.source_names:
            values[name] = blank_values(self.columns[name].spec, len(rows), self.device)
            given = [i for i, row in enumerate(rows) if row.get(name) is not None]
            if given:
                values[name][given] = self.encode(name, [rows[i][name] for i in given])
        present = [[row.get(name) is not None for name in self.formula.source_names] for row in rows]
        flags = torch.tensor(present, dtype=torch.bool).view(len(rows), len(self.formula.source_names))
        return Context(values, flags).to(self.device)

    def dequantize(self, rows: Sequence[Row], rng: Rng) -> Batch:
        """The targets of rows, with uniform noise as wide as what `decode` rounds to one value."""
        return {
            name: self._noisy(name, self.encode(name, [row[name] for row in rows]), rng)
            for name in self.formula.target_names
        }

    def _noisy(self, name: str, x: Tensor, rng: Rng) -> Tensor:
        cell = self.columns[name].bin_width
        return x + cell * (rng.uniform(*x.shape[1:]) - 0.5) if cell else x

    def known(self, known: Mapping[str, Any], rows: int) -> KnownParts | None:
        """Target -> its value, or (value, mask), the same in so many rows; None where nothing is known."""
        values, masks = {}, {}
        for name, given in known.items():
            value, mask = self._held(name, given)
            tokens = self.encode(name, [value])
            masks[name] = self.mask(name, mask).expand(rows, -1)
            values[name] = tokens.expand(rows, *tokens.shape[1:])
        return KnownParts(values, masks) if values else None

    def mask(self, name: str, mask: Any) -> Tensor:
        """A mask over the grid of a target -> (T,) bool. Raises ValueError for one of another size."""
        column = self.target(name)
        try:
            return column.token_mask(torch.as_tensor(mask).bool()).to(self.device)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _held(self, name: str, given: Any) -> tuple[Any, Tensor]:
        """A value of a target, or (value, mask), -> both; without a mask all of it holds."""
        whole = torch.ones(self.target(name).spec.tokens, dtype=torch.bool)
        value, mask = given if isinstance(given, tuple) else (given, whole)
        return value, torch.as_tensor(mask).bool()

    # ---- tokens -> values

    def decode_rows(self, rows: Sequence[Row], drawn: Batch, known: Mapping[str, Any]) -> list[Row]:
        """The rows with the targets that were drawn for them, of which `known` holds."""
        values = {
            name: self.columns[name].decode_all(drawn[name].cpu()) for name in self.formula.target_names
        }
        for name, given in known.items():
            value, mask = self._held(name, given)
            values[name] = [self.columns[name].restore_known(one, value, mask) for one in values[name]]
        return [{**row, **{name: values[name][i] for name in values}} for i, row in enumerate(rows)]

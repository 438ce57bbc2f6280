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
from likewise.core.option_names import option_text
from likewise.core.rng import Rng
from likewise.data.structure import RowRules
from likewise.modalities.base import Modality, Row
from likewise.modalities.latent import base_of


@dataclass(frozen=True)
class RowProcessor:
    """Encodes and decodes the columns of a formula.

    formula  tells targets from sources
    columns  modality of each column
    device   of the tensors
    rules    by which the columns of rows are computed that are not learned
    """

    formula: Formula
    columns: Mapping[str, Modality]
    device: torch.device
    rules: RowRules

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
        computed = self.rules.structure.computed
        return self._validate(
            values, "column", [*self.formula.source_names, *self.formula.target_names, *computed]
        )

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
            values[name] = self._encode_present(name, rows)[0]
        flags = torch.tensor(
            [[row.get(name) is not None for name in names] for row in rows], dtype=torch.bool
        )
        return Context(values, flags.view(len(rows), len(names))).to(self.device)

    def dequantize(self, rows: Sequence[Row], rng: Rng) -> Batch:
        """The encoded targets of rows, blank where they lack one, with uniform noise where `decode` rounds."""
        return {
            name: column.dequantize(
                self.encode(name, [row.get(name) for row in rows])
                if column.has_missing
                else self._encode_present(name, rows)[0],
                rng,
            )
            for name, column in self.target_columns.items()
        }

    def lacks(self, name: str, row: Row) -> bool:
        """Whether a row has no value of a column, not even a missing one."""
        return row.get(name) is None and not self.columns[name].has_missing

    def _encode_present(self, name: str, rows: Sequence[Row]) -> tuple[Tensor, list[int]]:
        """A column of rows, (B, T, C) or (B, T), blank where it is missing or None, and the rows that have it."""
        present = [i for i, row in enumerate(rows) if row.get(name) is not None]
        if len(present) == len(rows):
            return self.encode(name, [row[name] for row in rows]), present
        tokens = blank_values(self.columns[name].spec, len(rows), self.device)
        if present:
            tokens[present] = self.encode(name, [rows[i][name] for i in present])
        return tokens, present

    def known(self, known: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> KnownParts | None:
        """What is known of the targets: of each row, and the values that rows have; None where nothing is.

        known  of each row, target -> its value, or (value, mask)

        Raises ValueError for a target that is known in both ways, and for a name that is no target.
        """
        values, masks = {}, {}
        for name in dict.fromkeys(name for parts in known for name in parts):
            self.target(name)
        for name, column in self.target_columns.items():
            tokens, given = self._encode_present(name, rows)
            if any(name in known[i] for i in given):
                raise ValueError(f"{name} is given twice, as known and in the rows; give it once")
            alike: dict[int, list[int]] = {}  # rows that share a value are encoded once
            for i, parts in enumerate(known):
                if name in parts:
                    alike.setdefault(id(parts[name]), []).append(i)
            if not given and not alike:
                continue
            values[name] = tokens
            masks[name] = torch.zeros(len(rows), column.spec.tokens, dtype=torch.bool, device=self.device)
            masks[name][given] = True
            for places in alike.values():
                value, mask = self._value_and_mask(name, known[places[0]][name])
                values[name][places] = self.encode(name, [value])
                masks[name][places] = self.mask(name, mask)
        return KnownParts(values, masks) if values else None

    def is_whole(self, known: Mapping[str, Any], row: Row) -> bool:
        """Whether every target of a row is known, all of it."""
        return all(
            row.get(n) is not None or (n in known and bool(self._value_and_mask(n, known[n])[1].all()))
            for n in self.formula.target_names
        )

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

    def decode_rows(
        self, rows: Sequence[Row], samples: Batch, known: Sequence[Mapping[str, Any]]
    ) -> list[Row]:
        """The rows with the samples of their targets, in which parts that are known have their values."""
        values = {}
        for name in (n for n in self.formula.target_names if n in samples):
            column = self.columns[name]
            values[name] = column.decode_all(samples[name].cpu())
            for i, (row, parts) in enumerate(zip(rows, known, strict=True)):
                part = parts[name] if name in parts else row.get(name)
                if part is not None:
                    values[name][i] = column.restore_known(values[name][i], *self._value_and_mask(name, part))
        decoded = [{**row, **{name: values[name][i] for name in values}} for i, row in enumerate(rows)]
        return self.rules.complete(decoded, rows) if self.rules.structure else decoded


def _truncation(name: str, column: Modality, cut: Mapping[str, str]) -> str:
    """The message for texts of a column that were cut: text -> what is read of it."""
    base = base_of(column)
    text = max(cut, key=base.num_tokens)
    tokens, room = base.num_tokens(text), column.spec.tokens
    texts = "the text has" if len(cut) == 1 else f"{len(cut)} texts are too long; the longest has"
    advice = (
        f"; train with {option_text('length', tokens)} for all of it" if "length" in column.options() else ""
    )
    return (
        f"{name}: {texts} {tokens:,} tokens and there is room for {room:,}, so only its beginning is read: "
        f"{base.summarize(cut[text])!r}{advice}"
    )

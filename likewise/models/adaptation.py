"""Adaptation: how a model begins with the weights of another one, whose columns or options differ."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from likewise.core.errors import warn
from likewise.core.formula import Formula
from likewise.core.option_names import option_text
from likewise.data.matching import Matching, Reference
from likewise.data.structure import RowRules, Structure
from likewise.data.table import Table
from likewise.families.base import Family
from likewise.modalities.base import Modality
from likewise.models.checkpoint import RunError
from likewise.models.column_encoder import ColumnEncoder
from likewise.nets.column_weights import Transfer, transfer_weights

CHECKED_ROWS = 2000  # of a table, in which rules of a trained model are checked


@dataclass(frozen=True)
class Adaptation:
    """What an adapted model shares with the trained one.

    matching  the columns
    transfer  the weights
    changes   column -> what its modality is now, and what it was
    resized   column -> what it is by itself, and what it is read as, where these differ
    """

    matching: Matching
    transfer: Transfer
    changes: Mapping[str, tuple[str, str]]
    resized: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def lines(self, run: str) -> list[str]:
        """What to tell of it: first the weights, then the columns; `run` is the name of the trained model."""
        columns = [f"{n} stands for {c}" for n, c in self.matching.columns.items() if n != c]
        columns += [f"{name} is left out, as the data lack it" for name in self.matching.left_out]
        columns += [f"{n}: {alone}, read as {now} as by {run}" for n, (alone, now) in self.resized.items()]
        columns += [f"{n}: {now} ({run}: {before})" for n, (now, before) in self.changes.items()]
        return [f"begins with {run}: {self.transfer}", *columns]


def match_table(
    model: ColumnEncoder, table: Table | None, formula: str | Formula | None, names: Mapping[str, str]
) -> tuple[Matching, Mapping[str, Modality]]:
    """Which columns of a table stand for those of a model, and the modalities that a new model has; see Model.adapt."""
    wanted = Formula.parse(formula) if isinstance(formula, str) else formula
    if table is None:
        if wanted or names:
            raise ValueError("another formula, and names of columns, are for another table: give the table")
        return Matching.identity(model.formula), model.columns
    wanted = table.expand(wanted) if wanted else None
    matching = Reference(model.formula, model.columns, names, wanted).match(table.stored_kinds)
    learned = {name: model.columns[theirs] for name, theirs in matching.views.items()}
    return matching, table.refit(learned, matching.formula).columns


def inherited_structure(structure: Structure, table: Table | None, matching: Matching) -> Structure:
    """The rules of a trained model for another table: as that has them, or as they are where no row violates them.

    A RequestWarning names those that do not hold.
    """
    same = {name for name, theirs in matching.views.items() if name == theirs}
    rules = [rule for rule in structure.rules if {*rule.columns} <= same]
    if table is None or not rules:
        return Structure(tuple(rules))
    own = {str(rule): rule for rule in table.structure.rules}
    kept, rows = [], [table.train[i] for i in range(min(len(table.train), CHECKED_ROWS))]
    for rule in rules:
        alone = RowRules(Structure((rule,)), table.columns)
        if str(rule) not in own and any(alone.violations(rows)):
            warn(f"{rule} does not hold in these rows, so it is no rule of the new model")
        else:
            kept.append(own.get(str(rule), rule))
    return Structure(tuple(kept))


def resized(
    table: Table | None, columns: Mapping[str, Modality], matching: Matching
) -> dict[str, tuple[str, str]]:
    """The descriptions of signals, such as pictures, that are resampled to the grid of the trained model."""
    if table is None:
        return {}
    stored = table.stored_kinds
    own = {n: table.fitted(n) for n in matching.views if n in stored and columns[n].spec.sampled}
    return {n: (c.describe(), columns[n].describe()) for n, c in own.items() if c.spec != columns[n].spec}


def transfer_family(new: Family, old: Family, matching: Matching) -> Transfer:
    """Copy the weights of a trained family that fit into a new one of the same kind.

    Raises RunError where hardly any fit, or where they are of no use beside others.
    """
    names = [*new.targets, *new.sources]
    transfer = transfer_weights(new, old, {name: matching.views.get(name) for name in names})
    if not (new.separable or transfer.complete):
        raise RunError(
            "the weights of this family depend on all columns, and are fitted anew where any differs "
            f"({transfer}); begin without the trained model"
        )
    if not transfer.taken or not transfer.shared:
        raise RunError(
            f"hardly any weight of the trained model fits (size mismatch: {transfer}); take the options that it has, "
            "such as its width, or begin without it"
        )
    return transfer


def changes(
    new: Mapping[str, Modality], old: Mapping[str, Modality], matching: Matching
) -> dict[str, tuple[str, str]]:
    """The descriptions of the columns that differ from those that they stand for."""
    pairs = {name: (new[name].describe(), old[theirs].describe()) for name, theirs in matching.views.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@contextmanager
def explain_inherited(
    inherited: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
) -> Iterator[None]:
    """Add to a ValueError about an option that it is one of the trained model, and what to give in its place."""
    try:
        yield
    except ValueError as error:
        words = str(error).replace("=", " ").split()
        for name, value in inherited.items():
            default = parameters[name].default
            if name in words and value != default:
                word = option_text(name, default)
                raise ValueError(
                    f"{error} (the trained model has {name}={value}: give {name}={default}, or {word})"
                ) from error
        raise

"""Views: a column of a table fitted with other options, or as a trained model or a frozen encoder sees it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from likewise.core.errors import did_you_mean
from likewise.core.formula import FormulaError, View
from likewise.data.arrow import TableError
from likewise.data.encoders import ENCODERS, load_encoder
from likewise.data.validation import BadRow
from likewise.modalities import KINDS
from likewise.modalities.base import Modality


class Viewer(Protocol):
    """A trained model, or whatever else a column can be seen through."""

    def view(self, column: str, values: Sequence[Any]) -> Modality:
        """The column as it is seen, fitted on training values. Raises ValueError if it cannot be."""


def fit_view(
    view: View, kind: str, runs: Mapping[str, Viewer], train: Sequence[Any], test: Sequence[Any]
) -> Modality:
    """A column of that kind as one of `runs`, or a frozen encoder, sees it, with room for `test`.

    Raises FormulaError for a view that cannot be, ValueError for what its model cannot see.
    """
    name = view.through
    if view.options:
        raise FormulaError(
            f"{view}: what is seen through a model has no options; leave [{view.options[0][0]}=...] out"
        )
    if name not in runs and name not in ENCODERS:
        raise FormulaError(did_you_mean("model to see through", name, [*runs, *ENCODERS]))
    viewer = runs[name] if name in runs else load_encoder(name)
    found = viewer.view(view.column, train)
    if found.kind not in (kind, "vector"):
        raise FormulaError(
            f"{view}: {name} sees a {found.kind}, and {view.column} is a {kind}; write "
            f"{view.column!r} as it is, or --kind {view.column}={found.kind}"
        )
    return found.grow_to_fit(test)


def view_options(view: View, kind: str) -> dict[str, Any]:
    """The options that are written in a view of a column of that kind. Raises FormulaError.

    >>> options(View.parse("image[size=32]"), "image")
    {'size': 32}
    """
    known = KINDS[kind].options()
    for name, _ in view.options:
        if name not in known:
            raise FormulaError(f"{view}: {did_you_mean(f'option of the kind {kind}', name, known)}")
    return {name: _literal(value) for name, value in view.options}


def check_compatible(name: str, kind: str, values: Iterable[Any], column: Modality) -> None:
    """Raise TableError unless every value of a column of that kind can be written as a model's `column`."""
    if kind != column.kind:
        raise TableError(
            f"{name} is of the kind {kind} here, and {column.kind} in the model; "
            f"open the data with --kind {name}={column.kind}"
        )
    if not column.accepts_all:
        for row, value in enumerate(values):
            if reason := column.check(value):
                raise TableError(f"{BadRow(row, name, reason)}; the model learned from other values")


def _literal(text: str) -> Any:
    """ "32" -> 32, "cubic" -> "cubic" """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text

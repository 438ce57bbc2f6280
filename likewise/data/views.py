"""Views: a column fitted with other options, or seen through a trained model or a frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from likewise.core.errors import did_you_mean
from likewise.core.formula import FormulaError, View, quote_name
from likewise.core.option_names import option_text
from likewise.core.options import parse_option
from likewise.data.arrow import TableError
from likewise.data.encoders import ENCODERS, load_encoder
from likewise.modalities import KINDS
from likewise.modalities.base import Modality
from likewise.modalities.latent import is_embedding


@runtime_checkable
class Viewer(Protocol):
    """A trained model, or anything else that a column can be seen through."""

    def view(self, column: str, values: Sequence[Any]) -> Modality:
        """The column's modality in this view, fitted on training values. Raises ValueError without one."""


def fit_view(
    view: View, kind: str, runs: Mapping[str, Viewer], train: Sequence[Any], test: Sequence[Any]
) -> Modality:
    """A column of that kind seen through one of `runs` or a frozen encoder, with room for `test`.

    Raises FormulaError for an invalid view, ValueError for a column that its model cannot see.
    """
    name = view.through or ""
    if view.options:
        raise FormulaError(
            f"{view}: a column seen through a model has no options; leave [{view.options[0][0]}=...] out"
        )
    if name not in runs and name not in ENCODERS:
        raise FormulaError(did_you_mean("model to see through", name, [*runs, *ENCODERS]))
    viewer = runs[name] if name in runs else load_encoder(name)
    modality = viewer.view(view.column, train)
    if modality.kind != kind and not is_embedding(modality):
        raise FormulaError(
            f"{view}: {name} sees a {modality.kind}, and {view.column} is a {kind}; write "
            f"{quote_name(view.column)!r} as it is, or "
            f"{option_text('kind', quote_name(view.column), modality.kind)}"
        )
    return modality.grow_to_fit(test)


def view_options(view: View, kind: str) -> dict[str, Any]:
    """The options in a view of a column of that kind. Raises FormulaError for one that it does not have, or out of its range.

    >>> view_options(View.parse("image[size=32]"), "image")
    {'size': 32}
    """
    known = KINDS[kind].options()
    for name, _ in view.options:
        if name not in known:
            raise FormulaError(f"{view}: {did_you_mean(f'option of the kind {kind}', name, known)}")
    try:
        return {name: parse_option(name, value, known[name].annotation) for name, value in view.options}
    except ValueError as error:
        raise FormulaError(f"{view}: {error}") from None


def require_kind(name: str, kind: str, column: Modality) -> None:
    """Raise TableError unless a model's `column` is of the kind of the table's."""
    if kind != column.kind:
        raise TableError(
            f"{name} is of the kind {kind} here, and {column.kind} in the model; "
            f"open the data with {option_text('kind', quote_name(name), column.kind)}"
        )

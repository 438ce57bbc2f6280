"""Matching: which columns of a table stand for which columns of a trained model that is to learn the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, FormulaError, View, quote_name, unknown_column
from likewise.core.option_names import option_text
from likewise.modalities import KINDS
from likewise.modalities.base import Modality
from likewise.modalities.latent import base_of


@dataclass(frozen=True)
class Matching:
    """The formula of a new model, and what it shares with a trained one.

    formula   of the new model
    columns   column of the table -> column of the trained model
    views     name of a view of the formula -> name of a view of the trained model
    left_out  sources of the trained model that the table has no column for
    """

    formula: Formula
    columns: Mapping[str, str]
    views: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    @classmethod
    def identity(cls, formula: Formula) -> Matching:
        """Every column stands for itself."""
        return cls(formula, {v.column: v.column for v in formula.views}, {n: n for n in formula.columns})


@dataclass(frozen=True)
class RunColumns:
    """The stored columns of a run, by name, for the table that it was trained on: they are not fitted again.

    Their kinds are those that the arguments of the table give, as when the run was trained.
    """

    columns: Mapping[str, Modality]


@dataclass(frozen=True)
class Reference:
    """A trained model, whose columns those of a table are to stand for.

    formula  of the model
    columns  its columns, by the names of their views
    names    column of the table -> column of the model, where names and kinds do not tell
    wanted   the formula of the new model; by default that of the trained one, of the columns that match

    Columns match by name, else by kind, if one alone of that kind is left on either side: among the targets, or
    among the sources. Classes match by name only, as they are what they are called.

    >>> from likewise.modalities import Label, Number
    >>> columns = {"price": Number.fit([1.0, 2.0]), "kind": Label.fit(["a", "b"])}
    >>> reference = Reference(Formula.parse("price | kind"), columns)
    >>> matching = reference.match({"kind": "label", "cost": "number"})
    >>> str(matching.formula), matching.columns
    ('cost | kind', {'kind': 'kind', 'cost': 'price'})
    """

    formula: Formula
    columns: Mapping[str, Modality]
    names: Mapping[str, str] = field(default_factory=dict)
    wanted: Formula | None = None

    def __post_init__(self) -> None:
        known = self._model_kinds
        for name, column in self.names.items():
            if column not in known:
                raise FormulaError(did_you_mean("column of the model", column, known))
            if list(self.names.values()).count(column) > 1:
                raise FormulaError(
                    f"two columns cannot both stand for {column!r} of the model; map one of them"
                )
            if self.wanted and name not in (columns := _stored(self.wanted.views)):
                raise FormulaError(did_you_mean("column of the formula", name, columns))

    @property
    def _model_kinds(self) -> dict[str, str]:
        """The kind of each column of the model."""
        return {view.column: base_of(self.columns[view.name]).kind for view in self.formula.views}

    def kinds_by_name(self) -> dict[str, str]:
        """The kinds that columns of a table have because of their names: those of the model."""
        known, mapped = self._model_kinds, set(self.names.values())
        names = known if self.wanted is None else [n for n in _stored(self.wanted.views) if n in known]
        kinds = {name: known[name] for name in names if name not in mapped}
        return {n: k for n, k in (kinds | {n: known[c] for n, c in self.names.items()}).items() if k in KINDS}

    def match(self, kinds: Mapping[str, str]) -> Matching:
        """The matching for a table with columns of these kinds.

        Raises FormulaError for unknown columns, for kinds that differ, where several columns of one kind are left
        on one side, where a target has no column, and where no column matches.
        """
        for name in self.names:
            if name not in kinds:
                raise FormulaError(did_you_mean("column", name, kinds))
        for name in _stored(self.wanted.views) if self.wanted else ():
            if name not in kinds:
                raise self._unknown(name, kinds)
        columns = self._match_names(kinds)
        columns |= self._match_kinds(kinds, columns)
        return self._matching(columns) if self.wanted is None else self._matching_of(self.wanted, columns)

    def _unknown(self, name: str, kinds: Mapping[str, str]) -> FormulaError:
        error = unknown_column(name, kinds)
        advice = f"; without a formula the data are matched with P({self.formula}), and a source they lack is left out"
        return FormulaError(f"{error}{advice}") if name in self._model_kinds else error

    def _match_names(self, kinds: Mapping[str, str]) -> dict[str, str]:
        """Column of the table -> column of the model, by `names` and by equal names."""
        known = self._model_kinds
        for name, column in self.names.items():
            if kinds[name] != known[column]:
                raise FormulaError(
                    f"{name!r} is of the kind {kinds[name]}, and {column!r} of the model of the kind "
                    f"{known[column]}; read it as one: "
                    f"{option_text('kind', quote_name(name), known[column])}"
                )
        taken = {*self.names, *self.names.values()}
        candidates = kinds if self.wanted is None else _stored(self.wanted.views)
        same = {n: n for n in candidates if n not in taken and kinds[n] == known.get(n)}
        return {**self.names, **same}

    def _match_kinds(self, kinds: Mapping[str, str], matched: Mapping[str, str]) -> dict[str, str]:
        """The same of the others, by kind."""
        theirs, ours = self.formula, self.wanted
        roles: list[tuple[Sequence[str], Sequence[str]]] = [(_stored(theirs.views), list(kinds))]
        if ours is not None:
            targets = (_stored(theirs.targets), _stored(ours.targets))
            roles = [targets, (_stored(theirs.sources), _stored(ours.sources))]
        known, found = self._model_kinds, {}
        for columns, names in roles:
            columns = [c for c in columns if c not in matched.values() and _by_kind(known[c])]
            names = [n for n in names if n not in matched]
            for kind in dict.fromkeys(known[c] for c in columns):
                old, new = [c for c in columns if known[c] == kind], [n for n in names if kinds[n] == kind]
                if len(old) == len(new) == 1:
                    found[new[0]] = old[0]
                elif old and new:
                    raise self._ambiguous(new, old)
        return found

    def _ambiguous(self, new: Sequence[str], old: Sequence[str]) -> FormulaError:
        said = f"{' and '.join(map(quote_name, new))} could stand for {' and '.join(map(quote_name, old))}"
        return FormulaError(
            f"{said} of P({self.formula}); say which does: "
            f"{option_text('map', quote_name(new[0]), quote_name(old[0]))}"
        )

    def _matching(self, columns: Mapping[str, str]) -> Matching:
        """The formula of the model over the columns of the table."""
        names = {column: name for name, column in columns.items()}
        if missing := [c for c in _stored(self.formula.targets) if c not in names]:
            kind = self._model_kinds[missing[0]]
            raise FormulaError(
                f"the data have no column of the kind {kind} for {missing[0]!r}, a target of P({self.formula}); name "
                f"one with {option_text('map', 'NAME', quote_name(missing[0]))}, or write a formula"
            )

        def rename(views: Iterable[View]) -> tuple[View, ...]:
            return tuple(replace(view, column=names[view.column]) for view in views if view.column in names)

        formula = Formula(rename(self.formula.targets), rename(self.formula.sources))
        left_out = tuple(c for c in _stored(self.formula.sources) if c not in names)
        return replace(self._matching_of(formula, columns), left_out=left_out)

    def _alike(self, view: View, other: View) -> bool:
        """Whether two views of a column differ in options only that may change."""
        settled = self.columns[view.name].settled
        kept, others = ([option for option in v.options if option[0] in settled] for v in (view, other))
        return (view.column, view.through, kept) == (other.column, other.through, others)

    def _matching_of(self, formula: Formula, columns: Mapping[str, str]) -> Matching:
        """The views of a formula that are views of the model, or of the same column in the same place."""
        columns = {n: c for n, c in columns.items() if n in _stored(formula.views)}
        if not columns:
            raise FormulaError(
                f"no column of {str(formula)!r} stands for one of P({self.formula}); say which one does with "
                f"{option_text('map', 'NAME', 'COLUMN')}, or begin without a run"
            )
        views: dict[str, str] = {}
        sides = ((formula.targets, self.formula.targets), (formula.sources, self.formula.sources))
        for ours, theirs in sides:
            for view in ours:
                same = replace(view, column=columns.get(view.column, ""))
                alike = [v for v in theirs if self._alike(v, same)]
                exact = [v.name for v in self.formula.views if v == same]
                if found := exact or [v.name for v in alike if len(alike) == 1]:
                    views[view.name] = found[0]
        return Matching(
            formula, columns, {n: v for n, v in views.items() if list(views.values()).count(v) == 1}
        )


def _stored(views: Iterable[View]) -> list[str]:
    """The columns of views, each once."""
    return list(dict.fromkeys(view.column for view in views))


def _by_kind(kind: str) -> bool:
    """Whether a column of this kind may stand for another one for the kind alone."""
    return kind in KINDS and KINDS[kind].role != "class"

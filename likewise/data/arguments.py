"""TableArguments: how a table was made, as run folders store it to open the table again."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from likewise.core.errors import did_you_mean
from likewise.core.options import validate_value
from likewise.core.signatures import keyword_parameters
from likewise.data.arrow import TableError
from likewise.data.datasets import DATASETS
from likewise.data.matching import Reference
from likewise.data.readers import DEFAULT_FORMAT, FileFormat
from likewise.data.split import Holdout
from likewise.modalities import KINDS
from likewise.modalities.base import Modality


@dataclass(frozen=True)
class RequiredColumns:
    """What is needed of a table.

    columns   those that are needed; others are left out if they have values that cannot be used
    complete  those of them without which a row is a bad row; other values may be missing
    """

    columns: Sequence[str] | None = None
    complete: Sequence[str] = ()


@dataclass(frozen=True)
class TableArguments:
    """The arguments of `Table.open`; `source` is None for rows in memory.

    fixed      modalities of columns that are not fitted to this table
    learned    modalities of columns of a trained model, which columns here extend; see Modality.refit
    reference  that model, until `matched` tells which columns these are

    >>> TableArguments("digits", {"size": 8}, holdout=Holdout(by="label")).to_json()["by"]
    'label'
    """

    source: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    skip_bad: bool = False
    holdout: Holdout = field(default_factory=Holdout)
    fmt: FileFormat = DEFAULT_FORMAT
    required: RequiredColumns = field(default_factory=RequiredColumns)
    fixed: Mapping[str, Modality] = field(default_factory=dict)
    learned: Mapping[str, Modality] = field(default_factory=dict)
    reference: Reference | None = None

    @property
    def dataset_options(self) -> dict[str, Any]:
        """The options of the data set that `source` names."""
        return {name: value for name, value in self.options.items() if name in self._dataset_parameters}

    @property
    def _dataset_parameters(self) -> Mapping[str, inspect.Parameter]:
        return keyword_parameters(DATASETS[self.source]) if self.source in DATASETS else {}

    def resolved(self, kinds: Mapping[str, str]) -> Self:
        """The same with an absolute path and what depends on the source, and with `kinds` for columns that have none here."""
        name, path = self.source or "", Path(self.source or "").expanduser()
        source = str(path.resolve()) if name not in DATASETS and path.exists() else name
        holdout = self.holdout
        if holdout.near_copies is None:  # the split of a built-in data set stays as it is
            holdout = replace(holdout, near_copies=name not in DATASETS)
        return replace(self, source=source, kinds={**kinds, **self.kinds}, holdout=holdout)

    def matched(self, kinds: Mapping[str, str]) -> Self:
        """The same for a table of these kinds, with its columns that stand for those of the reference."""
        if self.reference is None:
            return self
        matching, theirs = self.reference.match(kinds), self.reference.columns
        views = [view for view in matching.formula.views if view.name in matching.views]
        learned = {v.column: theirs[matching.views[v.name]] for v in views if v.name == v.column}
        required = RequiredColumns([view.column for view in matching.formula.views])
        return replace(self, required=required, learned=learned, reference=None)

    def validate(self, kinds: Mapping[str, str]) -> None:
        """Raise TableError for options and columns that a table of these kinds does not have, ValueError for
        values out of the range of an option."""
        readers = [self._dataset_parameters, *(KINDS[kind].options() for kind in kinds.values())]
        known = {name for parameters in readers for name in parameters}
        for name, value in self.options.items():
            if name not in known:
                raise TableError(did_you_mean("option of this table", name, sorted(known)))
            for parameters in readers:
                if name in parameters:
                    validate_value(name, value, parameters[name].annotation)
        self.holdout.validate(kinds)

    def requires(self, column: str) -> bool:
        """Whether a column is needed, so that its bad values are errors."""
        return self.required.columns is None or self.names(column)

    def names(self, column: str) -> bool:
        """Whether a column is needed by name."""
        needed = (*(self.required.columns or ()), *self.required.complete)
        return column in (*needed, self.holdout.by, self.holdout.pairs)

    def completes(self, column: str) -> bool:
        """Whether a row without a value in this column is a bad row."""
        return column in (*self.required.complete, self.holdout.by, self.holdout.pairs)

    def to_json(self) -> dict[str, Any]:
        """The keyword arguments of `Table.open`, as JSON values."""
        return {
            "source": self.source,
            "options": dict(self.options),
            "kinds": dict(self.kinds),
            "skip_bad": self.skip_bad,
            **dataclasses.asdict(self.holdout),
            **dataclasses.asdict(self.fmt),
            "columns": None if self.required.columns is None else list(self.required.columns),
            "complete": list(self.required.complete),
        }

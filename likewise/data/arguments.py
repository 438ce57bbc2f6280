"""TableArguments: how a table was made, as run folders store it to open the table again."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from likewise.core.errors import did_you_mean
from likewise.data.arrow import TableError
from likewise.data.datasets import DATASETS
from likewise.data.readers import DEFAULT_FORMAT, FileFormat
from likewise.data.split import Holdout
from likewise.modalities import KINDS


@dataclass(frozen=True)
class TableArguments:
    """The arguments of `Table.open`; `source` is None for rows in memory.

    >>> TableArguments("digits", {"size": 8}, holdout=Holdout(by="label")).to_json()["by"]
    'label'
    """

    source: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    skip_bad: bool = False
    holdout: Holdout = field(default_factory=Holdout)
    fmt: FileFormat = DEFAULT_FORMAT
    columns: Sequence[str] | None = None

    @property
    def dataset_options(self) -> dict[str, Any]:
        """The options of the data set that `source` names."""
        return {name: value for name, value in self.options.items() if name in self._dataset_parameters}

    @property
    def _dataset_parameters(self) -> Collection[str]:
        return inspect.signature(DATASETS[self.source]).parameters if self.source in DATASETS else ()

    def resolved(self, kinds: Mapping[str, str]) -> Self:
        """The same with an absolute path, and with `kinds` for columns that have none here."""
        name, path = self.source or "", Path(self.source or "").expanduser()
        source = str(path.resolve()) if name not in DATASETS and path.exists() else name
        return replace(self, source=source, kinds={**kinds, **self.kinds})

    def validate(self, kinds: Mapping[str, str]) -> None:
        """Raise TableError for options and columns that a table of these kinds does not have."""
        column_options = (name for kind in kinds.values() for name in KINDS[kind].options())
        known = {*self._dataset_parameters, *column_options}
        for name in self.options:
            if name not in known:
                raise TableError(did_you_mean("option of this table", name, sorted(known)))
        self.holdout.validate(kinds)

    def requires(self, column: str) -> bool:
        """Whether a column is needed, so that its bad values are errors."""
        if self.columns is None:
            return True
        return column in (*self.columns, self.holdout.by, self.holdout.pairs)

    def to_json(self) -> dict[str, Any]:
        """The keyword arguments of `Table.open`, as JSON values."""
        return {
            "source": self.source,
            "options": dict(self.options),
            "kinds": dict(self.kinds),
            "skip_bad": self.skip_bad,
            "holdout": self.holdout.share,
            "by": self.holdout.by,
            "pairs": self.holdout.pairs,
            **dataclasses.asdict(self.fmt),
            "columns": None if self.columns is None else list(self.columns),
        }

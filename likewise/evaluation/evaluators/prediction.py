"""PredictionMetrics: TSTR of each target, beside trees that are trained on real rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from likewise.core.errors import did_you_mean
from likewise.evaluation.evaluators.rows import RowMetrics
from likewise.evaluation.metrics.tstr import Skill, mean_skill, prediction_skill
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row

MIN_ROWS = 50  # training and held-out rows with a value of the target: of fewer the interval says nothing
MAX_TARGETS = 20  # that are predicted unless they are named, evenly spaced among all
NOTE = (
    "boosted trees that predict the column from all others, trained on samples and tested on held-out rows: R² of "
    "the ranks of numbers, AUC of classes; real rows: trained on as many training rows"
)


class PredictionMetrics:
    """TSTR of targets, each from all other columns."""

    def __init__(self, rows: RowMetrics, predict: Sequence[str]) -> None:
        """`predict`: the targets; if none is named, those that trees can predict where they are trained on real rows.

        Raises ValueError for one that is no target of `rows`, or that has too few values.
        """
        self.rows, self.named = rows, list(predict)
        self.notes: list[str] = []
        for name in self.named:
            if name not in rows.targets:
                raise ValueError(did_you_mean("number or class among the targets", name, rows.targets))
            if reason := self._reason(name):
                raise ValueError(f"TSTR of {name} cannot be measured: {reason}")
        self.predicted = self.named or self._suitable()

    @property
    def real(self) -> np.ndarray:
        return self.rows.real

    def features(self, samples: Sequence[Row]) -> np.ndarray:
        return self.rows.features(samples)

    def results(self, samples: Sequence[Row]) -> list[MetricResult]:
        x = self.features(samples[:: self.rows.reference.draws])
        skills = {name: self._skill(x, name) for name in self.predicted}
        if not skills:
            return []
        shortfall = {name: self._real[name].value - skill.value for name, skill in skills.items()}
        means = (mean_skill([s[name].above_zero for name in skills]) for s in (skills, self._real))
        value, real = (mean.estimate for mean in means)
        several = f"mean of {len(skills)} columns; " if len(skills) > 1 else ""
        summary = MetricResult(
            f"{self.rows.name}: TSTR",
            value,
            real,
            better="higher",
            heading="TSTR",
            note=several + NOTE,
            worst=max(shortfall, key=lambda name: shortfall[name]),
        )
        each = [
            MetricResult(
                f"{name}: TSTR",
                skill.estimate,
                self._real[name].estimate,
                better="higher",
                column=name,
                note=NOTE,
            )
            for name, skill in skills.items()
        ]
        return [summary, *each]

    def _suitable(self) -> list[str]:
        """The targets that trees predict better than by chance; the others are noted."""
        reasons = {name: reason for name in self.rows.targets if (reason := self._reason(name))}
        suitable = [name for name in self._tried if self._predictable(name)]
        if len(self._tried) < len(self.rows.targets) - len(reasons):
            self.notes.append(f"TSTR: {MAX_TARGETS} of {len(self.rows.targets)} targets are predicted")
        if others := [name for name in self._tried if name not in suitable]:
            self.notes.append(
                f"TSTR: trees cannot predict {_join_names(others)}, even if they are trained on real rows"
            )
        if reasons:
            self.notes.append(
                f"TSTR is not measured of {_join_names(list(reasons))}: {next(iter(reasons.values()))}"
            )
        return suitable

    def _predictable(self, name: str) -> bool:
        low = self._real[name].estimate.low
        return low is not None and low > (0.5 if self.rows.cells.columns[name].is_class else 0.0)

    def _reason(self, name: str) -> str:
        """Why TSTR of a target would say nothing, or ""."""
        k = self._index(name)
        for what, cells in (("training", self.rows.train), ("held-out", self.rows.test)):
            values = cells[:, k][~np.isnan(cells[:, k])]
            if len(values) < MIN_ROWS:
                return f"it needs at least {MIN_ROWS} {what} rows with a value, and there are {len(values):,}"
            if len(np.unique(values)) < 2:
                return f"all {what} rows have one value"
        return ""

    @cached_property
    def _real(self) -> dict[str, Skill]:
        """Of trees that are trained on training rows, of the targets that may be predicted."""
        return {name: self._skill(self.rows.train_subset, name) for name in self.named or self._tried}

    @cached_property
    def _tried(self) -> list[str]:
        """The targets that have values enough, MAX_TARGETS at most."""
        possible = [name for name in self.rows.targets if not self._reason(name)]
        chosen = np.unique(np.linspace(0, len(possible) - 1, min(len(possible), MAX_TARGETS)).astype(int))
        return [possible[k] for k in chosen]

    def _skill(self, x: np.ndarray, name: str) -> Skill:
        cells, k, test = self.rows.cells, self._index(name), self.rows.test
        others, column = np.arange(len(cells.names)) != k, cells.columns[name]
        target = (lambda values: values) if column.is_class else column.ranks
        return prediction_skill(
            cells.features(x)[:, others],
            target(x[:, k]),
            cells.features(test)[:, others],
            target(test[:, k]),
            is_class=column.is_class,
            categorical=cells.classes[others],
        )

    def _index(self, name: str) -> int:
        return self.rows.cells.names.index(name)


def _join_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} others" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more

"""TextMetrics: texts of a domain by its DomainCheck, beside held-out rows and a trigram model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from likewise.core.errors import did_you_mean
from likewise.core.options import validated
from likewise.core.ranges import Seed
from likewise.data.table import Table
from likewise.evaluation.domains.base import COLUMN, DomainCheck, Row, RowMetric, ToolError
from likewise.evaluation.domains.code import Functions
from likewise.evaluation.domains.crystals import Crystals
from likewise.evaluation.domains.molecules import Molecules
from likewise.evaluation.domains.plays import Plays
from likewise.evaluation.domains.proteins import Proteins
from likewise.evaluation.domains.sql import Statements, Translations
from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share
from likewise.evaluation.metrics.trigram import Trigram
from likewise.evaluation.reference import ReferenceSet, rng_of
from likewise.evaluation.report import MetricResult

DOMAIN_CHECKS: dict[str, type[DomainCheck]] = {  # data set -> the check of its texts
    "shakespeare": Plays,
    "python": Functions,
    "sql": Statements,
    "dialects": Translations,
    "proteins": Proteins,
    "molecules": Molecules,
    "crystals": Crystals,
}
MAX_TRIGRAM_LENGTH = 4000  # characters of a text of the baseline


class TextMetrics:
    """The metrics of one column of texts, prepared once for any number of models."""

    def __init__(self, domain: str, table: Table, column: str = COLUMN, *, seed: int = 0) -> None:
        """Raises ValueError for an unknown domain or column, ToolError if a tool is not installed."""
        if domain not in DOMAIN_CHECKS:
            raise ValueError(did_you_mean("domain", domain, DOMAIN_CHECKS))
        columns = checkable_columns(domain, table)
        if column not in columns:
            raise ValueError(did_you_mean(f"checkable column of {domain}", column, columns))
        self.table, self.column, self.seed = table, column, seed
        self.check = DOMAIN_CHECKS[domain].for_column(table, column)

    def results(self, samples: Sequence[Row]) -> list[MetricResult]:
        """Row metrics of samples; the same of held-out rows and, as the baseline, of a trigram model.

        The trigram model knows no other column; its texts replace those of the samples. Raises ValueError if
        there is no row.
        """
        if not samples:
            raise ValueError("there is no text to check; sample at least one")
        rng = rng_of("texts", self.column, self.seed)
        length = max(1, *(len(row[self.column]) for row in samples), self._train_length)
        texts = self._trigram.sample(len(samples), seed=self.seed, max_length=min(length, MAX_TRIGRAM_LENGTH))
        baseline = [{**row, self.column: text} for row, text in zip(samples, texts, strict=True)]
        metrics = (
            self.check.row_metrics(rows) for rows in (samples, self._real_rows(samples, rng), baseline)
        )
        results = []
        for metric, *others in zip(*metrics, strict=True):
            value, real, blind = (_estimate(m, rng) for m in (metric, *others))
            results.append(
                MetricResult(
                    f"{self.column}: {metric.name}",
                    value,
                    real,
                    blind,
                    better=metric.better,
                    note=metric.note,
                    heading=metric.name * metric.name.startswith("valid"),
                )
            )
        return results

    def _real_rows(self, samples: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """As many held-out rows as samples, or as there are, with the same columns."""
        indices = rng.permutation(len(self.table.test))[: len(samples)]
        columns = {name: self.table.test.column(name) for name in samples[0]}
        rows: list[Row] = [{name: values[i] for name, values in columns.items()} for i in indices]
        return self.check.comparable(rows, samples, rng)

    @cached_property
    def _trigram(self) -> Trigram:
        return Trigram(self.check.train)

    @cached_property
    def _train_length(self) -> int:
        return min(1000, max(map(len, self.check.train)))


@validated
def check_texts(
    domain: str, samples: Sequence[Row] | Sequence[str], table: Table, column: str = COLUMN, *, seed: Seed = 0
) -> list[MetricResult]:
    """Metrics of texts, or of rows with a text and other columns, for the table of a data set.

    `domain` is the name of the data set. Raises ValueError for an unknown domain or column or no text,
    ToolError if a tool is not installed.
    """
    rows = [{column: row} if isinstance(row, str) else row for row in samples]
    return TextMetrics(domain, table, column, seed=seed).results(rows)


def checkable_columns(domain: str, table: Table) -> list[str]:
    """The columns of the table of a data set that its check can measure."""
    return DOMAIN_CHECKS[domain].columns(table)


def text_metrics(reference: ReferenceSet) -> tuple[list[TextMetrics], list[str]]:
    """The metrics of the targets of a formula, if the table is of such a data set, and notes if there are none."""
    table = reference.table
    domain = table.source
    if domain is None or domain not in DOMAIN_CHECKS:
        return [], []
    columns = [name for name in checkable_columns(domain, table) if name in reference.targets]
    try:
        return [TextMetrics(domain, table, name, seed=reference.seed) for name in columns], []
    except ToolError as error:
        return [], [str(error)]


def _estimate(metric: RowMetric, rng: np.random.Generator) -> Estimate:
    values = metric.values
    return share(values) if values.dtype == bool else bootstrap(np.mean, values, rng=rng)

"""Texts of the demos, judged by what is no model: shares of real rows and of a trigram stand beside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from likewise.core.errors import did_you_mean
from likewise.data.table import Table
from likewise.evaluation.domains.base import DomainCheck, Row, RowMetric, ToolError
from likewise.evaluation.domains.code import Functions
from likewise.evaluation.domains.crystals import Crystals
from likewise.evaluation.domains.molecules import Molecules
from likewise.evaluation.domains.plays import Plays
from likewise.evaluation.domains.proteins import Proteins
from likewise.evaluation.domains.sql import Statements
from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share
from likewise.evaluation.metrics.trigram import Trigram
from likewise.evaluation.reference import ReferenceSet, rng_of
from likewise.evaluation.report import MetricResult
from likewise.modalities.text import Text

CHECKS: dict[str, type[DomainCheck]] = {
    "shakespeare": Plays,
    "python": Functions,
    "sql": Statements,
    "dialects": Statements,
    "proteins": Proteins,
    "molecules": Molecules,
    "crystals": Crystals,
}
COLUMN = "text"  # that is judged, but of dialects, whose columns are two dialects


class TextMetrics:
    """What is said of one column of a table of a demo, prepared once for any number of models."""

    def __init__(self, domain: str, table: Table, column: str = COLUMN, *, seed: int = 0) -> None:
        """Raises ValueError for an unknown domain or column, ToolError for a tool that is not installed."""
        if domain not in CHECKS:
            raise ValueError(did_you_mean("domain", domain, CHECKS))
        columns = check_metrics(domain, table)
        if column not in columns:
            raise ValueError(did_you_mean(f"judged column of {domain}", column, columns))
        self.table, self.column, self.seed = table, column, seed
        train = table.train.column(column)
        if domain == "dialects":
            other = next((name for name in columns if name != column), None)
            self.check: DomainCheck = Statements(column, train, column, other)
        else:
            self.check = CHECKS[domain](column, train)

    def results(self, drawn: Sequence[Row]) -> list[MetricResult]:
        """Lines on drawn rows: the same marks of real rows held out and of the trigram.

        The trigram knows none of the other columns; it stands in the drawn rows in the place of the text.
        Raises ValueError if there is no row.
        """
        if not drawn:
            raise ValueError("there is no text to judge; draw at least one")
        rng = rng_of("texts", self.column, self.seed)
        longest = max(1, *(len(row[self.column]) for row in drawn), self._longest)
        letters = self._trigram.draw(len(drawn), seed=self.seed, longest=min(longest, 4000))
        blind = [{**row, self.column: text} for row, text in zip(drawn, letters, strict=True)]
        found = [self.check.row_metrics(rows) for rows in (drawn, self._real(drawn, rng), blind)]
        return [
            MetricResult(
                f"{self.column}: {mark.name}",
                *(_estimate(m, rng) for m in (mark, real, other)),
                better=mark.better,
                note=mark.note,
                heading=mark.name * mark.name.startswith("valid"),
            )
            for mark, real, other in zip(*found, strict=True)
        ]

    def _real(self, drawn: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """Rows held out, as many as were drawn or as there are, with the columns that drawn rows have."""
        rows = rng.permutation(len(self.table.test))[: len(drawn)]
        known = {name: self.table.test.column(name) for name in drawn[0]}
        held = [{name: values[i] for name, values in known.items()} for i in rows]
        return self.check.real(held, drawn, rng)

    @cached_property
    def _trigram(self) -> Trigram:
        return Trigram(self.check.train)

    @cached_property
    def _longest(self) -> int:
        return min(1000, max(map(len, self.check.train)))


def domain_check(
    domain: str, drawn: Sequence[Row] | Sequence[str], table: Table, column: str = COLUMN, *, seed: int = 0
) -> list[MetricResult]:
    """Lines on texts, or rows with a text and what it was drawn for or with, of a demo's table.

    `domain` is the name of the demo. Of `dialects` the column is a dialect, and a row has both. Raises
    ValueError for a domain or column that is not known or no text, ToolError for a tool not installed.
    """
    rows = [{column: row} if isinstance(row, str) else row for row in drawn]
    return TextMetrics(domain, table, column, seed=seed).results(rows)


def check_metrics(domain: str, table: Table) -> list[str]:
    """The columns of a table of a demo that can be judged."""
    texts = [n for n, column in table.columns.items() if isinstance(column, Text) and n != "concept"]
    return texts if domain == "dialects" else [name for name in texts if name == COLUMN]


def text_metrics(ground: ReferenceSet) -> tuple[list[TextMetrics], list[str]]:
    """The judges of the targets of a formula, if the table is of such a demo; or why there is none."""
    domain = ground.table.source
    if domain not in CHECKS:
        return [], []
    columns = [name for name in check_metrics(domain, ground.table) if name in ground.targets]
    try:
        return [TextMetrics(domain, ground.table, name, seed=ground.seed) for name in columns], []
    except ToolError as error:
        return [], [str(error)]


def _estimate(mark: RowMetric, rng: np.random.Generator) -> Estimate:
    return share(mark.values) if mark.values.dtype == bool else bootstrap(np.mean, mark.values, rng=rng)

"""compare_classifiers: P(Y | X) learned directly against Bayes' rule over learned P(X | Y).

All methods are trained for the same time on the same rows, few and many, and measured on held-out rows: as
they are, corrupted, and with half of each source missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from likewise.core.formula import Formula
from likewise.data.table import Table
from likewise.evaluation.comparison.classifier_benchmark import (
    BASELINE,
    ClassifierBenchmark,
    UnsupportedError,
    rng_of,
)
from likewise.evaluation.comparison.classifier_plan import ClassifierPlan, available_methods
from likewise.evaluation.comparison.classifier_results import ClassifierComparison, ClassifierResult
from likewise.evaluation.comparison.figures.classifiers import classifier_figure
from likewise.evaluation.comparison.html_report import classifier_page
from likewise.evaluation.comparison.save import check_report_folder, save_report

OnMessage = Callable[[str], None]


def compare_classifiers(
    formula: str | Formula,
    table: Table,
    plan: ClassifierPlan,
    folder: str | Path,
    *,
    on_message: OnMessage = lambda message: None,
) -> ClassifierComparison:
    """Compare classifiers of the formula "label | sources" and write the report to `folder`.

    What is in `folder` already is not computed again; `on_message` is called with each method and size.
    Raises ValueError for a formula that is not that of a classifier or too few rows, RunError where `folder`
    holds another comparison.
    """
    formula = table.expand(formula)
    formula.check(table.kinds)
    label, sources = _classifier_columns(formula, table)
    folder = Path(folder)
    check_report_folder(folder)
    benchmark = ClassifierBenchmark(label, sources, table, plan, folder)
    results: list[ClassifierResult] = []
    notes = benchmark.notes()
    for subset in _subsets(table, label, plan.sizes, plan.seed):
        for method in [*(available_methods() if plan.methods is None else plan.methods), BASELINE]:
            on_message(f"{method}, {len(subset.train):,} rows")
            try:
                results += benchmark.results(method, subset)
            except UnsupportedError as reason:
                notes += [] if str(reason) in notes else [str(reason)]
    if not results:
        raise ValueError("there is nothing to compare: " + "; ".join(notes))
    comparison = ClassifierComparison(
        formula=f"{label} | {', '.join(sources)}",
        data=table.source,
        n=len(benchmark.truth),
        calibration=len(benchmark.calibration_rows),
        minutes=float(plan.minutes),
        seed=plan.seed,
        majority=float(np.bincount(benchmark.truth).max() / len(benchmark.truth)),
        results=tuple(results),
        notes=tuple(notes),
    )
    figure = classifier_figure(comparison)
    save_report(folder, classifier_page(comparison, figure), figure, comparison.to_json())
    return comparison


def _classifier_columns(formula: Formula, table: Table) -> tuple[str, list[str]]:
    """The column of classes and the sources. Raises ValueError if the formula is not that of a classifier."""
    targets, sources = formula.target_names, formula.source_names
    if len(targets) != 1 or not sources or table.columns[targets[0]].role != "class":
        raise ValueError(
            f"P({formula}) is not a classifier: write 'label | sources', with one column of classes on the left"
        )
    return targets[0], sources


def _subsets(table: Table, label: str, sizes: Sequence[int], seed: int) -> Iterator[Table]:
    """For each size the first rows of every class in one random order; sizes that add no row are left out."""
    order = rng_of("rows", seed).permutation(len(table.train)).tolist()
    labels, previous = [str(v) for v in table.train.column(label)], 0
    for size in sorted(set(sizes)):
        counts: dict[str, int] = {}
        rows = []
        for i in order:
            counts[labels[i]] = counts.get(labels[i], 0) + 1
            if counts[labels[i]] <= size:
                rows.append(i)
        if len(rows) > previous:
            previous = len(rows)
            yield table.subset_train(rows)

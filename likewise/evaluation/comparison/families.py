"""compare: families side by side, on one formula and table, with the same minutes of training."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from likewise.core.formula import Formula
from likewise.core.options import validated
from likewise.core.ranges import Minutes, NonNegativeInt, RowsToCompare, Seed
from likewise.data.table import Table
from likewise.evaluation.comparison.figures.families import comparison_figure
from likewise.evaluation.comparison.html_report import comparison_page
from likewise.evaluation.comparison.results import EXAMPLES, Comparison, Entry
from likewise.evaluation.comparison.save import check_report_folder, save_report
from likewise.evaluation.evaluator import Evaluator
from likewise.evaluation.reference import class_ids
from likewise.evaluation.report import Report
from likewise.families.registry import sampling_families, sampling_family_class
from likewise.modalities.base import Row
from likewise.models import checkpoint
from likewise.models.checkpoint import RunError
from likewise.models.io import load_unfinished
from likewise.models.model import Model
from likewise.training.memory import check_memory
from likewise.training.metrics import Step
from likewise.training.plan import Plan
from likewise.training.trainer import train

OnStep = Callable[[str, Step], None]


@validated
def compare(
    formula: str | Formula,
    table: Table,
    families: Sequence[str] | None = None,
    *,
    minutes: Minutes,
    folder: str | Path,
    n: RowsToCompare = 500,
    seeds: Sequence[Seed] = (0,),
    likelihood_rows: NonNegativeInt = 100,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    on_step: OnStep = lambda run, step: None,
) -> Comparison:
    """Train families, one after the other, and measure them; runs and reports are written to `folder`.

    families  default all that sample; minutes: of training, the same for each
    n         samples and held-out rows, at most
    seeds     of the runs of each family: of several the mean and range are shown; the first is that of the metrics
    likelihood_rows  rows, at most, whose likelihood is computed
    options   by family; on_step: is called with the name of the run and each step

    A finished run is loaded and an interrupted one continued. A family that cannot learn the formula is
    listed with the reason. Raises ValueError for an unknown family, and RunError if the folder holds other
    runs.
    """
    formula = table.expand(formula)
    formula.check(table.kinds)
    for family in families or ():
        sampling_family_class(family)
    if not seeds:
        raise ValueError("compare needs at least 1 seed; give one, such as seeds=[0]")
    folder = Path(folder)
    check_report_folder(folder)
    evaluator = Evaluator(formula, table, n=n, seed=seeds[0])
    examples = _example_rows(evaluator)
    prompts = [{c: row[c] for c in evaluator.reference.sources} for row in examples]
    entries = []
    for family in families or sampling_families():
        plans = {
            folder / (family if len(seeds) == 1 else f"{family}-seed{i}"): Plan(minutes=minutes, seed=seed)
            for i, seed in enumerate(seeds)
        }
        family_options = (options or {}).get(family, {})
        try:
            entries.append(
                _measure_family(evaluator, family, family_options, plans, prompts, likelihood_rows, on_step)
            )
        except RunError:
            raise
        except (ValueError, FloatingPointError) as error:
            entries.append(Entry(family, str(error)))
    comparison = Comparison(
        formula=str(formula),
        data=table.source,
        minutes=minutes,
        n=len(evaluator.reference.test_indices),
        seed=seeds[0],
        entries=tuple(entries),
        examples=tuple(examples),
        test_rows=tuple(evaluator.test_rows(formula.columns)),
        table=table,
    )
    page, figure = comparison_page(comparison), comparison_figure(comparison)
    save_report(folder, page, figure, comparison.to_json())
    return comparison


def _measure_family(
    evaluator: Evaluator,
    family: str,
    options: Mapping[str, Any],
    plans: Mapping[Path, Plan],
    prompts: Sequence[Row],
    likelihood_rows: int,
    on_step: OnStep,
) -> Entry:
    """Train and measure the runs of one family, by folder; samples and examples are those of the first."""
    reports: list[Report] = []
    steps: list[int] = []
    entry = Entry(family)
    for run, plan in plans.items():
        model = train_or_load(evaluator.formula, evaluator.table, family, options, plan, run, on_step)
        samples, seconds = evaluator.sample(model)
        steps.append(checkpoint.load_state(run)["step"])
        if not reports:
            entry = Entry(
                family,
                parameters=sum(p.numel() for p in model.parameters()),
                samples=tuple(samples),
                examples=tuple(model.sample(prompts, seed=evaluator.seed)),
            )
        reports.append(evaluator.report(model, samples, seconds, likelihood_rows=likelihood_rows))
    return dataclasses.replace(entry, reports=tuple(reports), steps=tuple(steps))


def train_or_load(
    formula: Formula,
    table: Table,
    family: str,
    options: Mapping[str, Any],
    plan: Plan,
    folder: Path,
    on_step: OnStep,
) -> Model:
    """The model of `folder` if its training is finished, else trained, or continued, until it is."""
    assert plan.minutes is not None
    resume = checkpoint.has_checkpoint(folder)
    if resume:
        state = checkpoint.load_state(folder)
        saved, expected = (
            _run_identity(state),
            {
                "formula": str(formula),
                "family": family,
                "minutes": plan.minutes,
                "seed": plan.seed,
                "fingerprint": table.fingerprint,
                **options,
            },
        )
        for name, value in expected.items():
            if saved.get(name) != value:
                raise RunError(
                    f"{folder} holds a run with {name} {saved.get(name)}, not {value}; choose another "
                    "--out to start anew"
                )
        model = load_unfinished(folder)
        if state["elapsed"] >= 60 * plan.minutes:
            return model
    else:
        model = Model(formula, table.columns, family, seed=plan.seed, **options)
    check_memory(model, plan)
    with closing(train(model, table, plan, folder, resume=resume)) as steps:
        for step in steps:
            on_step(folder.name, step)
    return Model.load(folder)


def _run_identity(state: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, from its state."""
    return {
        "formula": state["formula"],
        "family": state["family"],
        "minutes": state["plan"]["minutes"],
        "seed": state["plan"]["seed"],
        "fingerprint": state["data"]["fingerprint"],
        **state["options"],
    }


def _example_rows(evaluator: Evaluator) -> list[Row]:
    """Test rows whose sources condition the examples: classes in turn if the first source is one."""
    rows, sources = evaluator.test_rows(evaluator.formula.columns), evaluator.reference.sources
    column = evaluator.table.columns[sources[0]] if sources else None
    if column is None or column.role != "class":
        return [rows[i * len(rows) // EXAMPLES] for i in range(EXAMPLES)] if len(rows) > EXAMPLES else rows
    count: Counter[int] = Counter()
    places = []
    for i, label in enumerate(class_ids(column, [row[sources[0]] for row in rows]).tolist()):
        places.append((count[label], label, i))
        count[label] += 1
    return [rows[i] for _, _, i in sorted(places)[:EXAMPLES]]

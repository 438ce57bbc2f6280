"""compare: families side by side: one formula, one table, the same minutes, the same questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.core.formula import Formula
from likewise.data.table import Table
from likewise.evaluation.comparison.results import SHOWN, Comparison, Entry
from likewise.evaluation.comparison.save import save_report
from likewise.evaluation.evaluator import Evaluator
from likewise.families.registry import sampling_families, sampling_family_class
from likewise.modalities.base import Row
from likewise.models import checkpoint
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.memory import check_memory
from likewise.training.metrics import Step
from likewise.training.plan import Plan
from likewise.training.trainer import train

OnStep = Callable[[str, Step], None]


def compare(
    formula: str | Formula,
    table: Table,
    families: Sequence[str] | None = None,
    *,
    minutes: float,
    folder: str | Path,
    n: int = 500,
    seed: int = 0,
    seeds: int = 1,
    likelihood_rows: int = 100,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    watch: OnStep = lambda run, step: None,
) -> Comparison:
    """Train families, one after the other, and measure them; runs and reports go to `folder`.

    families  all that draw, unless some are named; minutes: of training, each the same
    n         samples and rows held out, at most; seed: of training, samples and judges
    seeds     runs of each family, seed, seed + 1, ...: then mean and range are shown
    likelihood_rows  rows, at most, whose likelihood is computed
    options   of some families, by family; watch: sees every step of every run

    A run that is finished is loaded and one that was stopped goes on. A family that cannot learn the formula
    gets a row that says why. Raises ValueError for an unknown family, and RunError for a folder whose runs
    were others.
    """
    formula = Formula.parse(formula) if isinstance(formula, str) else formula
    formula.check(table.kinds)
    for family in families or ():
        sampling_family_class(family)
    if minutes <= 0 or seeds < 1:
        raise ValueError(f"compare needs minutes above 0 and at least 1 seed, not {minutes} and {seeds}")
    exam = Evaluator(formula, table, n=n, seed=seed)
    shown = _shown(exam)
    asked = [{c: row[c] for c in exam.reference.sources} for row in shown]
    entries = []
    for family in families or sampling_families():
        reports, steps, parameters, drawn, samples = [], [], 0, [], []
        try:
            for i in range(seeds):
                name = family if seeds == 1 else f"{family}-seed{i}"
                own = (options or {}).get(family, {})
                plan = Plan(minutes=minutes, seed=seed + i)
                model = trained(formula, table, family, own, plan, Path(folder) / name, watch)
                rows, seconds = exam.draw(model)
                steps.append(checkpoint.load_state(Path(folder) / name)["step"])
                reports.append(exam.report(model, rows, seconds, likelihood_rows=likelihood_rows))
                if not i:
                    parameters, drawn = sum(p.numel() for p in model.parameters()), rows
                    samples = model.sample(asked, seed=seed)
        except RunError:
            raise
        except (ValueError, FloatingPointError) as error:
            entries.append(Entry(family, str(error)))
            continue
        entries.append(
            Entry(family, "", tuple(reports), tuple(steps), parameters, tuple(drawn), tuple(samples))
        )
    held = exam.rows_of(exam.formula.columns, range(len(exam.reference.rows)))
    found = Comparison(
        str(formula),
        table.source,
        minutes,
        len(exam.reference.rows),
        seed,
        tuple(entries),
        tuple(shown),
        tuple(held),
        table,
    )
    save_report(found, Path(folder))
    return found


def trained(
    formula: Formula,
    table: Table,
    family: str,
    options: Mapping[str, Any],
    plan: Plan,
    folder: Path,
    watch: OnStep,
) -> Model:
    """A model after `plan`: loaded if it has had that, else trained, from where it was left."""
    resume = (folder / checkpoint.MODEL).exists()
    if resume:
        state = checkpoint.load_state(folder)
        was, now = (
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
        for name, value in now.items():
            if was.get(name) != value:
                raise RunError(
                    f"{folder} holds a run with {name} {was.get(name)}, not {value}; give another "
                    "--out to begin again"
                )
        model = Model.load(folder)
        if state["elapsed"] >= 60 * plan.minutes:
            return model
    else:
        model = Model(formula, table.columns, family, seed=plan.seed, **options)
    check_memory(model, plan)
    for step in train(model, table, plan, folder, resume=resume):
        watch(folder.name, step)
    return Model.load(folder)


def _run_identity(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a run folder says of how it was begun."""
    return {
        "formula": state["formula"],
        "family": state["family"],
        "minutes": state["plan"]["minutes"],
        "seed": state["plan"]["seed"],
        "fingerprint": state["data"]["fingerprint"],
        **state["options"],
    }


def _shown(exam: Evaluator) -> list[Row]:
    """Rows held out whose sources are drawn for to be looked at: labels in turn if they are the source."""
    rows = exam.rows_of(exam.formula.columns, range(len(exam.reference.rows)))
    if not exam.reference.sources or exam.table.columns[exam.reference.sources[0]].role != "class":
        return [rows[i * len(rows) // SHOWN] for i in range(SHOWN)] if len(rows) > SHOWN else rows
    source, times = exam.reference.sources[0], Counter()
    order = {name: i for i, name in enumerate(exam.table.columns[source].classes)}
    places = []
    for i, row in enumerate(rows):
        name = str(row[source])
        places.append((times[name], order[name], i))
        times[name] += 1
    return [rows[i] for _, _, i in sorted(places)[:SHOWN]]

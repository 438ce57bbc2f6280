"""compare: families side by side: one formula, one table, the same minutes, the same questions."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from likewise import checkpoint, memory
from likewise.checkpoint import RunError
from likewise.evaluation.estimate import Estimate, short
from likewise.evaluation.exam import NONE, Exam
from likewise.evaluation.report import Better, Line, Report
from likewise.families import drawers, drawing
from likewise.formula import Formula
from likewise.modalities import Row
from likewise.model import Model
from likewise.table import Table
from likewise.training import Plan, Step, train

SHOWN = 16  # draws of each family that are shown
LIKELIHOOD, SECONDS = "bits/dim", "s per 1,000"
ARROWS = {"lower": "↓", "higher": "↑", "as real": "≈", "": ""}

Watch = Callable[[str, Step], None]


@dataclass(frozen=True)
class Column:
    """One metric in the table: its floor is what real rows score in the place of samples.

    better  "" where neither is
    """

    head: str
    better: Better | str = ""
    floor: Estimate | None = None
    note: str = ""

    @property
    def title(self) -> str:
        """The heading with an arrow for better."""
        return f"{self.head} {ARROWS[self.better]}".rstrip()

    @property
    def real(self) -> Cell:
        """The floor as a cell."""
        return Cell(short(self.floor.value) if self.floor else "", self.floor)


@dataclass(frozen=True)
class Cell:
    """What a family has in a column: `mark` is "best", "near" (its interval overlaps the best's) or ""."""

    text: str
    value: Estimate | None = None
    mark: str = ""

    @property
    def interval(self) -> str:
        return interval(self.value)


@dataclass(frozen=True)
class Entry:
    """One family: a report for each seed, or the `reason` why there is none.

    `drawn` are the samples that were judged and `samples` those that are shown, both of the first seed.
    """

    family: str
    reason: str = ""
    reports: tuple[Report, ...] = ()
    steps: tuple[int, ...] = ()
    parameters: int = 0
    drawn: tuple[Row, ...] = ()
    samples: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What `compare` found: `str` of it is the table, `save` writes it as a page, a picture and JSON.

    `real` are rows held out, with the sources that the shown samples were drawn for; `held` are all that the
    samples were judged against.
    """

    formula: str
    data: str | None
    minutes: float
    n: int
    seed: int
    entries: tuple[Entry, ...]
    real: tuple[Row, ...]
    held: tuple[Row, ...]
    table: Table = dataclasses.field(repr=False)

    @property
    def targets(self) -> list[str]:
        return Formula.parse(self.formula).learned

    @property
    def sources(self) -> list[str]:
        return Formula.parse(self.formula).given

    @property
    def title(self) -> str:
        return f"P({self.formula}){f', {Path(self.data).name}' if self.data else ''}"

    @property
    def about(self) -> str:
        """How it was done, in a line."""
        seeds = max((len(e.reports) for e in self.entries), default=1)
        several = f", mean and range of {seeds} seeds" if seeds > 1 else ""
        return (
            f"{self.minutes:g} minutes of training each, {self.n} samples against {self.n} rows "
            f"held out, seed {self.seed}{several}"
        )

    @property
    def columns(self) -> list[Column]:
        """Likelihood first, then what the judges measured, in their order, then what it costs."""
        lines = [line for e in self.entries for r in e.reports for line in r.lines if line.head]
        heads = list(dict.fromkeys([LIKELIHOOD, *(line.head for line in lines)]))
        found = []
        for head in heads:
            line = next((line for line in lines if line.head == head), None)
            if head == LIKELIHOOD:
                found.append(
                    Column(
                        head,
                        "lower",
                        note="-log2 P of rows held out, over the numbers in "
                        "their targets: exact, a bound that the truth is not above, or a noisy "
                        "estimate",
                    )
                )
            elif line is not None:
                note = line.note or f"{line.name.partition(': ')[2]}, of samples against rows held out"
                found.append(Column(head, line.better, line.real, note))
        return [
            *found,
            Column(SECONDS, "lower", note="seconds to draw 1,000 samples"),
            Column("parameters"),
            Column("steps", note="of training, within the minutes"),
        ]

    def cells(self) -> list[list[Cell]]:
        """A row for each entry, a cell for each column; entries without a report have none."""
        columns = self.columns
        rows = [[_cell(e, c.head) for c in columns] if e.reports else [] for e in self.entries]
        full = [i for i, row in enumerate(rows) if row]
        for k, column in enumerate(columns):
            for i, mark in zip(full, marks([rows[i][k].value for i in full], column), strict=True):
                rows[i][k] = dataclasses.replace(rows[i][k], mark=mark)
        return rows

    def notes(self) -> list[str]:
        """What every reader should know, and what the reports remark."""
        said = [(e, note) for e in self.entries for report in e.reports for note in report.notes]
        own = [f"{e.family}: {note}" for e, note in said if note.startswith(NONE)]
        common = [note for _, note in said if not note.startswith(NONE)]
        failed = [f"{e.family}: {e.reason}" for e in self.entries if e.reason]
        return list(dict.fromkeys([*failed, *own, *common]))

    def __str__(self) -> str:
        columns, floors = self.columns, [c.floor for c in self.columns]
        heads = [["", *(c.title.rsplit(" ", 1)[0] if c.better else c.head for c in columns)]]
        heads.append(["", *(f"{c.better or ''}" for c in columns)])
        rows = [*heads, ["real rows", *(short(f.value) if f else "" for f in floors)]]
        sign = {"best": "*", "near": "~", "": " "}
        for entry, cells in zip(self.entries, self.cells(), strict=True):
            rows.append(
                [entry.family, *(c.text + sign[c.mark] for c in cells)]
                if cells
                else [entry.family, "—", *[""] * (len(columns) - 1)]
            )
        widths = [max(len(row[k]) for row in rows) for k in range(len(columns) + 1)]
        table = [
            "  ".join(
                [row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))]
            ).rstrip()
            for row in rows
        ]
        marks = "* best; ~ its 95 % interval overlaps the best's"
        return "\n".join([self.title, self.about, "", *table, "", marks, *self.notes()])

    def to_json(self) -> dict[str, Any]:
        """JSON values: the table, and the whole report of every run."""
        columns = self.columns
        entries = []
        for entry, cells in zip(self.entries, self.cells(), strict=True):
            table = {
                c.head: {
                    "text": cell.text,
                    "mark": cell.mark,
                    "value": cell.value and dataclasses.asdict(cell.value),
                }
                for c, cell in zip(columns, cells, strict=bool(cells))
            }
            entries.append(
                {
                    "family": entry.family,
                    "reason": entry.reason,
                    "parameters": entry.parameters,
                    "steps": entry.steps,
                    "table": table,
                    "reports": [r.to_json() for r in entry.reports],
                }
            )
        return {
            "formula": self.formula,
            "data": self.data,
            "minutes": self.minutes,
            "n": self.n,
            "seed": self.seed,
            "columns": [dataclasses.asdict(c) for c in columns],
            "entries": entries,
            "notes": self.notes(),
        }

    def save(self, folder: Path) -> None:
        """Write report.html, which stands alone, report.png and report.json. Raises RunError."""
        from likewise.evaluation import figures, page

        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"
        checkpoint.replace(folder / "report.json", lambda path: path.write_text(text, encoding="utf-8"))
        checkpoint.replace(folder / "report.png", lambda path: path.write_bytes(figures.report(self)))
        html = page.html(self)
        checkpoint.replace(folder / "report.html", lambda path: path.write_text(html, encoding="utf-8"))


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
    watch: Watch = lambda run, step: None,
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
        drawing(family)
    if minutes <= 0 or seeds < 1:
        raise ValueError(f"compare needs minutes above 0 and at least 1 seed, not {minutes} and {seeds}")
    exam = Exam(formula, table, n=n, seed=seed)
    shown = _shown(exam)
    asked = [{c: row[c] for c in exam.ground.sources} for row in shown]
    entries = []
    for family in families or drawers():
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
    held = exam.rows_of(exam.formula.columns, range(len(exam.ground.rows)))
    found = Comparison(
        str(formula),
        table.source,
        minutes,
        len(exam.ground.rows),
        seed,
        tuple(entries),
        tuple(shown),
        tuple(held),
        table,
    )
    found.save(Path(folder))
    return found


def trained(
    formula: Formula,
    table: Table,
    family: str,
    options: Mapping[str, Any],
    plan: Plan,
    folder: Path,
    watch: Watch,
) -> Model:
    """A model after `plan`: loaded if it has had that, else trained, from where it was left."""
    resume = (folder / checkpoint.MODEL).exists()
    if resume:
        state = checkpoint.load_state(folder)
        was, now = (
            _told(state),
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
    memory.check(model, plan.settled(model.family).batch, wide=plan.precision == "float32")
    for step in train(model, table, plan, folder, resume=resume):
        watch(folder.name, step)
    return Model.load(folder)


def _told(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a run folder says of how it was begun."""
    return {
        "formula": state["formula"],
        "family": state["family"],
        "minutes": state["plan"]["minutes"],
        "seed": state["plan"]["seed"],
        "fingerprint": state["data"]["fingerprint"],
        **state["options"],
    }


def marks(values: Sequence[Estimate | None], column: Column) -> list[str]:
    """Which of a column's values is the best, and whose interval overlaps the best one's.

    >>> a, b, c = Estimate(1, 0.5, 1.5), Estimate(2, 1.4, 2.6), Estimate(3, 2.5, 3.5)
    >>> marks([b, a, None, c], Column("KID", "lower"))
    ['near', 'best', '', '']
    """
    known = [i for i, v in enumerate(values) if v is not None and np.isfinite(v.value)]
    if not column.better or len(known) < 2 or (column.better == "as real" and column.floor is None):
        return [""] * len(values)
    loss = {"lower": lambda v: v, "higher": lambda v: -v, "as real": lambda v: abs(v - column.floor.value)}[
        column.better
    ]
    best = values[min(known, key=lambda i: loss(values[i].value))]
    found = [""] * len(values)
    for i in known:
        v = values[i]
        if v.value == best.value:
            found[i] = "best"
        elif None not in (v.low, v.high, best.low, best.high) and v.low <= best.high and best.low <= v.high:
            found[i] = "near"
    return found


def interval(value: Estimate | None) -> str:
    """Its two ends, "" if it has none."""
    if value is None or value.low is None or value.high is None:
        return ""
    return f"{short(value.low)} – {short(value.high)}"


def _cell(entry: Entry, head: str) -> Cell:
    """One family's number in one column, over its seeds."""
    if head == "parameters":
        return Cell(f"{entry.parameters:,}", Estimate(entry.parameters))
    if head == "steps":
        steps = Estimate(float(np.mean(entry.steps)))
        return Cell(f"{steps.value:,.0f}", steps)
    if head == SECONDS:
        found = [Estimate(1000 * r.seconds / (r.n * r.draws)) for r in entry.reports]
        return Cell(short(float(np.mean([e.value for e in found]))), _over(found))
    lines: list[Line] = [line for r in entry.reports for line in r.lines if line.head == head]
    if not lines:
        return Cell("none" if head == LIKELIHOOD else "")
    value = _over([line.value for line in lines])
    kind = f" {lines[0].kind}" if lines[0].kind else ""
    return Cell(short(value.value) + kind, value)


def _over(found: Sequence[Estimate]) -> Estimate:
    """One estimate as it is; of several seeds the mean, with the least and the largest as its interval."""
    if len(found) == 1:
        return found[0]
    values = [e.value for e in found]
    return Estimate(float(np.mean(values)), min(values), max(values), found[0].n)


def _shown(exam: Exam) -> list[Row]:
    """Rows held out whose sources are drawn for to be looked at: labels in turn if they are the source."""
    rows = exam.rows_of(exam.formula.columns, range(len(exam.ground.rows)))
    if not exam.ground.sources or exam.table.kinds[exam.ground.sources[0]] != "label":
        return [rows[i * len(rows) // SHOWN] for i in range(SHOWN)] if len(rows) > SHOWN else rows
    source, times = exam.ground.sources[0], Counter()
    order = {name: i for i, name in enumerate(exam.table.columns[source].classes)}
    places = []
    for i, row in enumerate(rows):
        name = str(row[source])
        places.append((times[name], order[name], i))
        times[name] += 1
    return [rows[i] for _, _, i in sorted(places)[:SHOWN]]

"""Commands on series: what `train` and `evaluate` do with a formula that has a horizon."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from likewise.cli.destination import add_overwrite_option, file_to_write
from likewise.cli.flags import Parser
from likewise.core.files import atomic_write
from likewise.core.formula import Formula, FormulaError, View
from likewise.core.option_names import option_text
from likewise.core.provenance import KEY, provenance
from likewise.core.ranges import Copies, Seed
from likewise.data.arrow import TableError
from likewise.forecasting.backtest import ORIGINS, backtest
from likewise.forecasting.charts import calibration_chart
from likewise.forecasting.forecaster import Forecaster, fit_forecaster
from likewise.forecasting.panel import Panel, find_columns, first_series, make_panel, read_rows_of
from likewise.models.checkpoint import FORECAST, require_unused

HORIZON = "horizon"


def is_forecast(formula: str | None) -> bool:
    """Whether a formula has a horizon."""
    try:
        return any(HORIZON in dict(v.options) for v in Formula.parse(formula or "").targets)
    except FormulaError:
        return False


def is_forecaster(run: str | Path) -> bool:
    """Whether a folder is a run that forecasts."""
    return (Path(run) / FORECAST).is_file()


def horizon_of(formula: Formula) -> int:
    """The horizon that the targets agree on. Raises FormulaError for none, several, and other options."""
    found = set()
    for view in formula.targets:
        for name, value in view.options:
            if name != HORIZON or not value.isdigit() or int(value) < 1:
                raise FormulaError(f"{view}: write [horizon=48], a number of steps")
            found.add(int(value))
    if len(found) != 1:
        raise FormulaError(f"{formula} has {len(found)} horizons; give all targets the same one")
    return found.pop()


def columns_formula(formula: Formula) -> Formula:
    """The same with the targets without their options, as columns."""
    return Formula(tuple(View(v.column) for v in formula.targets), formula.sources)


def train(argv: Sequence[str]) -> int:
    """`likewise train DATA "y[horizon=H] | covariates"`."""
    parser = Parser(
        "train",
        "Learn to forecast series. Covariates are known in the future, unless they are written as wind[known=past].",
        usage='likewise train DATA "y[horizon=48] | temperature" [options]',
    )
    parser.add_argument(
        "data", metavar="DATA", help="a table: a row is a time, or a time of one of several series"
    )
    parser.add_argument("formula", metavar="FORMULA", help="what to forecast, with the number of steps")
    parser.add_argument("--out", type=Path, metavar="RUN", help="the folder of the run (default runs/NAME)")
    parser.add_argument(
        "--time", metavar="COLUMN", help="the column of time stamps (default: found by its values)"
    )
    parser.add_argument("--id", metavar="COLUMN", help="the column that tells series apart (default: found)")
    parser.add_argument(
        "--periods",
        metavar="N,N",
        help="steps of the cycles (default: day and week, or week and year, by the step)",
    )
    parser.add_value_option("--seed", annotation=Seed, about="of everything random", default=0)
    args = parser.parse(argv)
    folder = args.out or Path("runs") / Path(args.data).resolve().stem
    require_unused(folder, args.data)
    if is_forecaster(folder):
        raise ValueError(f"{folder} holds a model already; give another {option_text('out')}")
    formula = Formula.parse(args.formula)
    horizon = horizon_of(formula)
    reading = read_rows_of(args.data)
    columns = find_columns(reading, columns_formula(formula), args.time, args.id)
    panel = make_panel(reading, columns)
    print(describe(panel, columns.time, columns.id))
    for title, names in (("known in the future", columns.known), ("known in the past", columns.past)):
        if names:
            print(f"{title}: {', '.join(names)}")
    if columns.static:
        print(f"constant in each series: {', '.join(columns.static)}")
    begin = time.process_time()
    forecaster = fit_forecaster(
        panel, columns_formula(formula), columns, horizon, periods=_periods(args.periods), seed=args.seed
    )
    forecaster.save(folder)
    cycles = ", ".join(map(str, forecaster.periods)) or "none"
    print(f"cycles: {cycles} steps{'; of logarithms' if forecaster.log else ''}")
    print(f"fitted in {time.process_time() - begin:.0f} CPU-seconds: {folder}")
    run = shlex.quote(str(folder))
    history = " FUTURE.csv" if columns.known and panel.known.shape[1] < panel.steps + horizon else ""
    print(f"to forecast:\n  likewise forecast {run}{history}\nto evaluate it:\n  likewise evaluate {run}")
    return 0


def suggestion(data: str) -> str | None:
    """What to write to forecast a table whose rows are at regular times; None for another one."""
    try:
        reading = read_rows_of(data)
        target, columns = first_series(reading)
        panel = make_panel(reading, columns)
    except TableError:
        return None
    horizon = max((c for c in panel.calendar.periods(panel.steps) if c <= 400), default=12)
    words = shlex.quote(f"{Formula((View(target),)).targets[0]}[{HORIZON}={min(horizon, 48)}]")
    return f"{describe(panel, columns.time, columns.id)}; to forecast:\n  likewise train {shlex.quote(data)} {words}"


def describe(panel: Panel, time_column: str, id_column: str) -> str:
    """What was read, in a line or two."""
    missing = int((panel.y != panel.y).sum())
    lines = [
        f"{len(panel.ids)} series of {panel.steps:,} steps of {panel.calendar.describe()}, from "
        f"{panel.calendar.label(0)} to {panel.calendar.label(panel.steps - 1)}"
        + (f" ({time_column})" if time_column else ", a row each")
        + (f", told apart by {id_column}" if id_column else "")
    ]
    if missing:
        lines.append(f"{missing:,} of {panel.y.size:,} values are missing")
    return "\n".join(lines)


def _periods(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = [w.strip() for w in text.split(",") if w.strip()]
    if not all(w.isdigit() and int(w) > 1 for w in words):
        raise ValueError(f"--periods {text!r}: write numbers of steps above 1, such as 48,336")
    return tuple(sorted({int(w) for w in words}))


def evaluate(argv: Sequence[str]) -> int:
    """`likewise evaluate RUN` of a run that forecasts: a backtest."""
    parser = Parser("evaluate", "Forecast from origins of the past, beside seasonal naive and MSTL.")
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run that forecasts")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report (default RUN/report.json)")
    parser.add_value_option(
        "--origins", annotation=Copies, about="horizons at the end that are forecast", default=ORIGINS
    )
    parser.add_value_option("--seed", annotation=Seed, about="of everything random", default=0)
    add_overwrite_option(parser)
    args = parser.parse(argv)
    forecaster = Forecaster.load(args.run)
    out = file_to_write(args.out, args.run / "report.json", args.overwrite, companions=[".png"])
    result = backtest(forecaster, args.origins, args.seed)
    state = {KEY: provenance(model=str(args.run)), **result.to_json()}
    atomic_write(out, (json.dumps(state, indent=1, ensure_ascii=False) + "\n").encode())
    atomic_write(out.with_suffix(".png"), calibration_chart(result.below))
    print(f"{result}\n\nreport: {out}, calibration: {out.with_suffix('.png')}")
    return 0

"""Forecast the values that follow a history: quantiles of each step, joint paths, and a chart."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from likewise.cli.destination import add_overwrite_option, file_to_write, require_unused_files
from likewise.cli.flags import Parser
from likewise.core.files import atomic_write, check_writable
from likewise.core.ranges import Draws, PositiveInt, Seed
from likewise.data.arrow import TableError
from likewise.forecasting.calibration import TAUS
from likewise.forecasting.charts import fan_chart
from likewise.forecasting.forecaster import Forecast, Forecaster
from likewise.forecasting.panel import Panel, make_panel, merge, read_rows_of

OUT = "forecast.csv"


def run(argv: Sequence[str]) -> int:
    """`likewise forecast RUN [HISTORY]`."""
    parser = Parser("forecast", __doc__, usage="likewise forecast RUN [HISTORY] [options]")
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run that forecasts")
    parser.add_argument(
        "history",
        metavar="HISTORY",
        nargs="?",
        help="a table with the columns that the run was trained on. Of series of the run its rows replace or continue "
        "theirs; rows without a value of the target have covariates of the future",
    )
    parser.add_value_option("--horizon", annotation=PositiveInt, about="steps (default: as trained)")
    parser.add_value_option("--draws", annotation=Draws, about="joint paths of each series", default=200)
    parser.add_value_option("--seed", annotation=Seed, about="of the paths", default=0)
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help=f"quantiles; NAME-paths.csv and NAME.png lie beside it ({OUT})",
    )
    add_overwrite_option(parser)
    args = parser.parse(argv)
    forecaster = Forecaster.load(args.run)
    out = file_to_write(args.out, OUT, args.overwrite, companions=[".png"])
    paths = out.with_name(f"{out.stem}-paths.csv")
    check_writable(paths)
    if not args.overwrite:
        require_unused_files([paths], "--out")
    panel = _history(forecaster, args.history)
    forecast = forecaster.forecast(panel, args.horizon, args.draws, args.seed)
    atomic_write(out, _csv(["time", "id", *(f"{t:.2f}" for t in TAUS)], _quantile_rows(forecast)))
    atomic_write(paths, _csv(["time", "id", "path", "value"], _path_rows(forecast)))
    atomic_write(out.with_suffix(".png"), fan_chart(panel, forecast))
    print(
        f"{len(forecast.ids)} series, {len(forecast.times)} steps from {forecast.times[0]} to {forecast.times[-1]}"
    )
    for title, file in (("quantiles", out), ("paths", paths), ("chart", out.with_suffix(".png"))):
        print(f"  {title:10}{file}")
    return 0


def _history(forecaster: Forecaster, file: str | None) -> Panel:
    """The history to forecast from: that of the run, with the rows of a file; or that of the file alone."""
    if file is None:
        return forecaster.panel
    reading = read_rows_of(file)
    calendar = forecaster.panel.calendar
    try:
        panel = make_panel(reading, forecaster.columns, calendar, future_only=True)
    except TableError as error:
        raise TableError(f"{file}: {error}") from error
    same = forecaster.columns.time and set(panel.ids) <= set(forecaster.panel.ids)
    return merge(forecaster.panel, panel) if same else panel


def _quantile_rows(forecast: Forecast) -> Iterable[list[Any]]:
    for s, name in enumerate(forecast.ids):
        for time, q in zip(forecast.times, forecast.quantiles[s], strict=True):
            yield [time, name, *(f"{v:.7g}" for v in q)]


def _path_rows(forecast: Forecast) -> Iterable[list[Any]]:
    for s, name in enumerate(forecast.ids):
        for i, path in enumerate(forecast.paths[s]):
            for time, value in zip(forecast.times, path, strict=True):
                yield [time, name, i, f"{value:.7g}"]


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()

"""The page of an evaluation: its metrics, a plot of each column and of the pairs that differ most."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from likewise.evaluation.comparison.figures.canvas import png
from likewise.evaluation.comparison.html_report import Picture, Strip, data_url, render
from likewise.evaluation.features.cells import Cells, has_cells
from likewise.evaluation.metrics.estimate import short
from likewise.evaluation.metrics.pair_variation import pair_variation
from likewise.evaluation.report import MetricResult, Report, ReportRows
from likewise.modalities.base import Row
from likewise.modalities.picture_files import write
from likewise.viz.images import visual_columns
from likewise.viz.panels import INK, pair_panel, panel

PICTURES = 16  # of each strip
MAX_PANELS = 100  # columns with a plot, of which those that differ most have one
WORST_PAIRS, MAX_COLUMNS = 6, 60  # pairs that are shown, and columns among whose pairs they are


@dataclass(frozen=True)
class Line:
    """A metric in the table of the page."""

    label: str
    metric: MetricResult


@dataclass(frozen=True)
class Plot:
    """An image as a URL of data, of a column or a pair."""

    name: str
    url: str
    caption: str


def report_page(report: Report) -> str:
    """The page, which stands alone, of a report that has rows."""
    rows, columns = report.rows, report.by_column()
    assert rows is not None
    prefixes = {r.name.rpartition(": ")[0] for r in report.results if not r.column}
    single = len(prefixes - {""}) < 2  # then the names of the columns say nothing
    results = [
        Line(r.name.rpartition(": ")[2] if single else r.name, r) for r in report.results if not r.column
    ]
    metrics = list(dict.fromkeys(m for found in columns.values() for m in found))
    notes = dict.fromkeys(
        f"{r.name.rpartition(': ')[2] if single or r.column else r.name}: {r.note}"
        for r in report.results
        if r.note
    )
    return render(
        "report.html",
        report=report,
        title=report.title,
        description=report.description,
        results=results,
        columns=columns,
        column_metrics=metrics,
        pictures=_pictures(rows),
        panels=_panels(report, rows),
        pairs=_pairs(rows),
        notes=[*notes, *report.notes],
        short=short,
    )


def _pictures(rows: ReportRows) -> list[Strip]:
    """Real rows and samples of each visual column."""
    return [
        Strip(
            f"{name}, {what}",
            [
                Picture(data_url(write(rows.columns[name].thumbnail(row[name]))), name)
                for row in some[:PICTURES]
            ],
        )
        for name in visual_columns(rows.columns, list(rows.columns))
        for what, some in (("real rows", rows.real), ("samples", rows.samples))
    ]


def _panels(report: Report, rows: ReportRows) -> list[Plot]:
    """A plot of each column that is not visual."""
    metrics = report.by_column()
    names = [name for name in dict.fromkeys([*metrics, *rows.columns]) if name in rows.columns]
    plots = []
    for name in [name for name in names if not rows.columns[name].visual][:MAX_PANELS]:
        figure = Figure(figsize=(3, 1.5), dpi=100)
        axes = figure.add_axes((0.03, 0.2, 0.94, 0.76))
        panel(rows.columns[name], axes, _values(rows.real, name), _values(rows.samples, name))
        caption = ", ".join(
            f"{metric} {short(r.value.value)}" + (f" (real rows {short(r.real.value)})" if r.real else "")
            for metric, r in metrics.get(name, {}).items()
        )
        plots.append(Plot(name, data_url(png(figure)), caption))
    return plots


def _pairs(rows: ReportRows) -> list[Plot]:
    """The joint distribution of the pairs of columns that differ most."""
    names = [name for name, column in rows.columns.items() if has_cells(column)][:MAX_COLUMNS]
    pairs = list(itertools.combinations(range(len(names)), 2))
    if not pairs:
        return []
    cells = Cells.fit(rows.columns, {name: _values(rows.real, name) for name in names})
    real, samples = (
        cells.each("bins", cells.read({name: _values(some, name) for name in names}))
        for some in (rows.real, rows.samples)
    )
    _, each = pair_variation(samples, real, pairs, rng=np.random.default_rng(0), repeats=1)
    plots = []
    for k in np.argsort(-each, kind="stable")[:WORST_PAIRS]:
        i, j = pairs[k]
        columns = [cells.columns[names[c]] for c in (i, j)]
        image = _pair_figure(real[:, [i, j]], samples[:, [i, j]], [c.bin_names for c in columns])
        caption = f"total variation {short(float(each[k]))}"
        plots.append(Plot(f"{names[i]}, {names[j]}", data_url(image), caption))
    return plots


def _pair_figure(real: np.ndarray, samples: np.ndarray, names: Sequence[Sequence[str]]) -> bytes:
    """Maps of real rows, of samples and of the difference, bins (N, 2) and (M, 2) int."""
    maps = [_shares(bins, [len(n) for n in names]) for bins in (real, samples)]
    figure = Figure(figsize=(8, 2.3), dpi=100)
    for k, (title, shares) in enumerate(
        (("held-out rows", maps[0]), ("samples", maps[1]), ("difference", maps[1] - maps[0]))
    ):
        axes = figure.add_axes((0.08 + 0.32 * k, 0.13, 0.23, 0.75))
        axes.set_title(title, fontsize=8, color=INK)
        most = max(map(np.max, maps)) if k < 2 else np.abs(shares).max() or 1.0
        pair_panel(axes, shares, names, float(most), signed=k == 2)
    return png(figure)


def _shares(bins: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The share of rows in each joint bin, of so many bins of both columns."""
    joint = np.clip(bins[:, 0], 0, size[0] - 1) * size[1] + np.clip(bins[:, 1], 0, size[1] - 1)
    return np.bincount(joint, minlength=size[0] * size[1]).reshape(size) / len(bins)


def _values(rows: Sequence[Row], name: str) -> list[object]:
    return [row[name] for row in rows]

"""The figure of a sweep: fidelity against diversity, the distance over the values, and samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from likewise.evaluation.comparison.figures.canvas import Canvas, png
from likewise.evaluation.comparison.sweep import EXAMPLES, Sweep
from likewise.evaluation.metrics.estimate import Estimate
from likewise.viz.images import visual_columns
from likewise.viz.panels import ACCENT, INK, SOFT

REAL, BEST, BAR = "#d62728", "#2ca02c", "#1f77b455"  # colours
SIDE = 0.72  # inches: of a sample


def sweep_figure(sweep: Sweep) -> bytes:
    """A PNG; samples are shown if a target is visual."""
    image = next(iter(visual_columns(sweep.columns, sweep.targets)), None)
    canvas = Canvas(10.0, 4.9 + (0.5 + (len(sweep.points) + 1) * (SIDE + 0.06) if image else 0.0))
    canvas.text(0.4, 0.3, f"{sweep.option} of {sweep.run}", fontsize=14, fontweight="bold")
    canvas.text(0.4, 0.58, sweep.description, color=SOFT, fontsize=8.5)
    _plot_plane(canvas.axes(0.85, 1.0, 3.9, 3.2), sweep)
    _plot_distances(canvas.axes(5.75, 1.0, 3.9, 3.2), sweep)
    if image:
        rows = [("real rows", sweep.examples), *((p.label, p.examples) for p in sweep.points)]
        for i, (name, examples) in enumerate(rows):
            y = 5.1 + i * (SIDE + 0.06)
            canvas.text(1.5, y + SIDE / 2, name, ha="right", color=INK if i else SOFT, fontsize=9)
            for k, row in enumerate(examples[:EXAMPLES]):
                thumbnail = sweep.columns[image].thumbnail(row[image])
                canvas.image(1.65 + k * SIDE + 0.03, y, SIDE - 0.06, thumbnail)
    return png(canvas.figure)


def _plot_plane(axes: Axes, sweep: Sweep) -> None:
    """x: diversity, y: fidelity."""
    x, y = ([getattr(p, name).value for p in sweep.points] for name in ("diversity", "fidelity"))
    _style(axes, f"{sweep.diversity_name} →", f"{sweep.fidelity_name} →")
    axes.plot(x, y, "-", color=ACCENT, linewidth=1, alpha=0.5)
    axes.errorbar(
        x,
        y,
        xerr=_error_bars([p.diversity for p in sweep.points]),
        yerr=_error_bars([p.fidelity for p in sweep.points]),
        fmt="o",
        color=ACCENT,
        ecolor=BAR,
        markersize=6,
        elinewidth=1,
    )
    for point, a, b in zip(sweep.points, x, y, strict=True):
        axes.annotate(point.label, (a, b), xytext=(6, 6), textcoords="offset points", fontsize=9)
    if sweep.real:
        a, b = sweep.real["diversity"].value, sweep.real["fidelity"].value
        axes.plot([a], [b], "*", color=REAL, markersize=13)
        axes.annotate(
            "real rows",
            (a, b),
            xytext=(-8, -12),
            textcoords="offset points",
            fontsize=9,
            color=REAL,
            ha="right",
        )
    axes.margins(0.14)


def _plot_distances(axes: Axes, sweep: Sweep) -> None:
    """The distance over the values, which are equally spaced."""
    _style(axes, sweep.option, f"{sweep.distance_name} (lower is better)")
    distances = [p.distance for p in sweep.points]
    values, places = [d.value for d in distances], range(len(distances))
    axes.errorbar(
        places,
        values,
        yerr=_error_bars(distances),
        fmt="o-",
        color=ACCENT,
        ecolor=BAR,
        markersize=6,
        linewidth=1,
    )
    best = int(np.argmin(values))
    axes.plot([best], [values[best]], "o", markersize=12, markerfacecolor="none", color=BEST)
    axes.set_xticks(places, [p.label for p in sweep.points])
    if sweep.real:
        real = sweep.real["distance"].value
        axes.axhline(real, color=REAL, linewidth=1, linestyle="--")
        axes.annotate(
            "real rows",
            (0.99, real),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            fontsize=9,
            color=REAL,
            ha="right",
        )
    axes.margins(0.08)


def _style(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9.5)
    axes.set_ylabel(y, fontsize=9.5)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _error_bars(estimates: Sequence[Estimate]) -> np.ndarray:
    """Lengths of error bars below and above, (2, N)."""
    low = [e.value if e.low is None else e.low for e in estimates]
    high = [e.value if e.high is None else e.high for e in estimates]
    values = np.array([e.value for e in estimates])
    return np.stack([values - low, high - values]).clip(0)

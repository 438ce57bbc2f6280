"""The figure of a comparison of classifiers: learning curves and reliability, a column for each condition."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from likewise.evaluation.comparison.classifier_results import METRICS, ClassifierComparison
from likewise.evaluation.comparison.figures.canvas import png
from likewise.evaluation.metrics.estimate import Estimate, short

BINS = 3  # of a reliability curve that make one point


def classifier_figure(comparison: ClassifierComparison) -> bytes:
    """A PNG: accuracy and log-loss over rows per class, and reliability with most rows."""
    count = len(comparison.conditions)
    figure = Figure(figsize=(4.2 * count, 10.5), dpi=110, layout="constrained")
    grid = figure.subplots(3, count, squeeze=False, sharey="row")
    for column, condition in enumerate(comparison.conditions):
        accuracy, loss, reliability = grid[:, column]
        _plot_metric(accuracy, comparison, condition, "accuracy")
        _plot_metric(loss, comparison, condition, "log_loss")
        _plot_reliability(reliability, comparison, condition)
        accuracy.set(title=condition, ylim=(0, 1.02))
        accuracy.axhline(comparison.majority, color="0.7", linestyle=":", linewidth=1)
        loss.set(yscale="log")
    handles = grid[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(comparison.methods))
    return png(figure)


def _plot_metric(axes: Axes, comparison: ClassifierComparison, condition: str, metric: str) -> None:
    for i, method in enumerate(comparison.methods):
        results = comparison.of(method, condition)
        shift = 1.03 ** (i - len(comparison.methods) / 2)  # so that intervals do not overlap
        x = [r.rows_per_class * shift for r in results]
        values: list[Estimate] = [getattr(r, metric) for r in results]
        y = [v.value for v in values]
        low = [v.value - (v.value if v.low is None else v.low) for v in values]
        high = [(v.value if v.high is None else v.high) - v.value for v in values]
        style = _style(comparison, method)
        axes.errorbar(x, y, [low, high], marker="o", markersize=3, elinewidth=0.8, **style)
    sizes = comparison.sizes
    axes.set(xscale="log", xlabel="training rows per class", ylabel=METRICS[metric])
    axes.set_xticks(sizes, [short(s) for s in sizes])
    axes.xaxis.minorticks_off()
    axes.grid(alpha=0.3)


def _plot_reliability(axes: Axes, comparison: ClassifierComparison, condition: str) -> None:
    for method in comparison.methods:
        bins = np.array(comparison.of(method, condition)[-1].reliability)
        x, y = np.transpose(
            [
                np.average(bins[i : i + BINS, :2], axis=0, weights=bins[i : i + BINS, 2])
                for i in range(0, len(bins), BINS)
            ]
        )
        axes.plot(x, y, marker=".", **_style(comparison, method))
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy, most rows")
    axes.grid(alpha=0.3)


def _style(comparison: ClassifierComparison, method: str) -> dict[str, Any]:
    """Black for the direct classifier, a broken line for the baseline, colours for Bayes' rule."""
    approaches = {r.method: r.approach for r in comparison.results}
    approach = approaches[method]
    bayes = [m for m in comparison.methods if approaches[m] == "Bayes"]
    colour = {"direct": "black", "baseline": "0.5"}.get(approach) or f"C{bayes.index(method)}"
    style = "--" if approach == "baseline" else "-"
    return {"color": colour, "linestyle": style, "linewidth": 1.5, "label": method}

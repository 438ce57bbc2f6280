"""The distribution of a column in a small chart, beside that of samples: one function for each kind of column.

Add one for a kind with `@panel.register`; a kind without one shows some values as text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from likewise.modalities.base import Modality
from likewise.modalities.label import Label
from likewise.modalities.linear_number import LinearNumber
from likewise.modalities.ranked import Ranked
from likewise.modalities.robust import is_usual

INK, SOFT, RULE, ACCENT = "#1c1c1c", "#767676", "#d8d8d8", "#1f77b4"
MAX_VALUES = 8  # values that are shown as text
MAX_BARS, EDGES = 20, 31  # classes of a bar chart at most; edges of the bins of a histogram


@singledispatch
def panel(column: Modality, axes: Axes, real: Sequence[Any], samples: Sequence[Any] | None) -> None:
    """Draw real values of a column and, unless None, samples beside them; by default some of them as text."""
    hide_frame(axes)
    values = real if samples is None else samples
    lines = "\n".join(
        textwrap.shorten(column.summarize(v), 44, placeholder=" …") for v in values[:MAX_VALUES]
    )
    axes.text(0, 1, lines.replace("$", r"\$"), fontsize=7, va="top", transform=axes.transAxes, color=INK)
    axes.set_axis_off()


@panel.register
def _(column: Ranked, axes: Axes, real: Sequence[Any], samples: Sequence[Any] | None) -> None:
    """The numbers of values."""
    _histogram(axes, column.numbers(real), None if samples is None else column.numbers(samples))
    if any(isinstance(value, str) for value in real):  # as people write the numbers
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter(lambda x, _: str(column.from_numbers(np.array([x]))[0]))


@panel.register
def _(column: LinearNumber, axes: Axes, real: Sequence[Any], samples: Sequence[Any] | None) -> None:
    _histogram(axes, real, samples)


def _histogram(axes: Axes, real: Sequence[float], samples: Sequence[float] | None) -> None:
    """A histogram over the range of usual real values; its first and last bars have what lies beyond, too."""
    hide_frame(axes)
    numbers = np.asarray(real, float)
    low, high = np.quantile(numbers[is_usual(numbers)], [0.001, 0.999])
    bins = np.linspace(low, high if high > low else low + 1, EDGES).tolist()
    axes.hist(np.clip(real, bins[0], bins[-1]), bins, density=True, color=RULE)
    if samples is not None:
        axes.hist(np.clip(samples, bins[0], bins[-1]), bins, density=True, histtype="step", color=ACCENT)


@panel.register
def _(column: Label, axes: Axes, real: Sequence[Any], samples: Sequence[Any] | None) -> None:
    """Bars of the most frequent classes."""
    hide_frame(axes)
    names, counts = np.unique([str(v) for v in real], return_counts=True)
    order = np.argsort(-counts)[:MAX_BARS]
    axes.bar(range(len(order)), counts[order] / len(real), color=RULE)
    if samples is not None:
        share = [np.mean([str(v) == names[k] for v in samples]) for k in order]
        axes.bar(range(len(order)), share, width=0.4, color=ACCENT)
    short = [textwrap.shorten(names[k], 8, placeholder="…").replace("$", r"\$") for k in order]
    axes.set_xticks(range(len(order)), short)


def hide_frame(axes: Axes) -> None:
    """Remove the frame and the vertical scale."""
    axes.tick_params(labelsize=7, colors=SOFT)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_yticks([])

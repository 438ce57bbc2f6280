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
FILLED: dict[str, Any] = {"color": RULE}
OUTLINE: dict[str, Any] = {"histtype": "step", "color": ACCENT}
MAX_LEVEL, MAX_TICKS = 8, 4  # labels of bars that are written across; labels of an axis of a map
MAX_BARS, EDGES = 20, 31  # classes of a bar chart at most; edges of the bins of a histogram


@singledispatch
def panel(column: Modality, axes: Axes, real: Sequence[Any], samples: Sequence[Any] | None) -> None:
    """Draw real values of a column and, unless None, samples beside them; by default some of them as text."""
    hide_frame(axes)
    values = _present(real if samples is None else samples)
    lines = "\n".join(
        textwrap.shorten(column.summarize(v), 44, placeholder=" …") for v in values[:MAX_VALUES]
    )
    axes.text(0, 1, lines.replace("$", r"\$"), fontsize=7, va="top", transform=axes.transAxes, color=INK)
    axes.set_axis_off()


@panel.register
def _(column: Ranked, axes: Axes, real: Sequence[Any], samples: Sequence[Any] | None) -> None:
    """The numbers of values."""
    numbers = [None if v is None else column.numbers(_present(v)) for v in (real, samples)]
    _histogram(axes, real, samples, numbers)
    if any(isinstance(value, str) for value in real):  # as people write the numbers
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter(lambda x, _: str(column.from_numbers(np.array([x]))[0]))


@panel.register
def _(column: LinearNumber, axes: Axes, real: Sequence[Any], samples: Sequence[Any] | None) -> None:
    _histogram(axes, real, samples, [None if v is None else np.array(_present(v)) for v in (real, samples)])


def _present(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _histogram(
    axes: Axes,
    real: Sequence[Any],
    samples: Sequence[Any] | None,
    numbers: Sequence[np.ndarray | None],
) -> None:
    """The shares of rows over the range of usual real numbers; the first and last bars have what lies beyond, too.

    A bar on the left has the missing ones. `numbers` are those of the present values of both.
    """
    hide_frame(axes)
    known = np.asarray(numbers[0], float)
    usual = known[is_usual(known)] if len(known) else np.zeros(1)
    low, high = np.quantile(usual, [0.001, 0.999])
    bins = np.linspace(low, high if high > low else low + 1, EDGES)
    for values, there, style in (
        (real, numbers[0], FILLED),
        (samples, numbers[1], OUTLINE),
    ):
        if values is not None and there is not None and len(there):
            weights = np.full(len(there), 1 / len(values))
            axes.hist(np.clip(there, bins[0], bins[-1]), bins.tolist(), weights=weights, **style)
    _missing_bar(axes, bins, real, samples)


def _missing_bar(axes: Axes, bins: np.ndarray, real: Sequence[Any], samples: Sequence[Any] | None) -> None:
    """The shares of missing values, left of the bins, if there are any."""
    shares = [sum(v is None for v in values) / max(1, len(values)) for values in (real, samples or ())]
    if any(shares):
        width = 2 * (bins[1] - bins[0])
        place = bins[0] - 2 * width
        axes.bar(place, shares[0], width, color=RULE, hatch="///", edgecolor=SOFT, linewidth=0)
        axes.bar(place, shares[1], width, fill=False, edgecolor=ACCENT)
        axes.text(place, max(shares), "missing", ha="center", va="bottom", fontsize=6, color=SOFT)


@panel.register
def _(column: Label, axes: Axes, real: Sequence[Any], samples: Sequence[Any] | None) -> None:
    """Bars of the most frequent classes; missing is one."""
    hide_frame(axes)
    names, counts = np.unique([_class_name(v) for v in real], return_counts=True)
    order = np.argsort(-counts)[:MAX_BARS]
    axes.bar(range(len(order)), counts[order] / len(real), color=RULE)
    if samples is not None:
        found = [_class_name(v) for v in samples]
        share = [np.mean([name == names[k] for name in found]) for k in order]
        axes.bar(range(len(order)), share, width=0.4, color=ACCENT)
    short = [textwrap.shorten(names[k], 8, placeholder="…").replace("$", r"\$") for k in order]
    axes.set_xticks(range(len(order)), short, rotation=90 if len(order) > MAX_LEVEL else 0)


def _class_name(value: Any) -> str:
    return "missing" if value is None else str(value)


def pair_panel(
    axes: Axes, shares: np.ndarray, names: Sequence[Sequence[str]], most: float, *, signed: bool = False
) -> None:
    """A map of the shares of rows in joint bins of two columns, (A, B), white to black at `most`; bin names of both.

    `signed`: of differences, from blue at -`most` to red at `most`.
    """
    colours: dict[str, Any] = {"cmap": "bwr", "vmin": -most} if signed else {"cmap": "Greys", "vmin": 0}
    axes.imshow(shares.T, origin="lower", aspect="auto", vmax=most, interpolation="nearest", **colours)
    for axis, labels in ((axes.xaxis, names[0]), (axes.yaxis, names[1])):
        places = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), MAX_TICKS)).round().astype(int))
        shown = [textwrap.shorten(labels[k], 12, placeholder="…").replace("$", r"\$") for k in places]
        axis.set_ticks(places, shown)
    axes.tick_params(labelsize=6, colors=SOFT)
    for spine in axes.spines.values():
        spine.set(edgecolor=RULE)


def hide_frame(axes: Axes) -> None:
    """Remove the frame and the vertical scale."""
    axes.tick_params(labelsize=7, colors=SOFT)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_yticks([])

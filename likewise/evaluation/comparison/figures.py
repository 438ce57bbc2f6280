"""Figures of evaluations, as the bytes of PNG files: the table of a comparison, and the curve of a sweep."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from likewise.core.formula import distinct_columns
from likewise.evaluation.comparison.results import Cell, Comparison
from likewise.evaluation.comparison.sweep import Sweep
from likewise.evaluation.metrics.estimate import Estimate
from likewise.modalities.base import Modality, Row
from likewise.viz.images import visual_columns
from likewise.viz.panels import INK, RULE, SOFT, panel

WIDTH, NAME, MARGIN = 14.0, 1.35, 0.3  # inches: of a report, of its first column, around it
HEAD, LINE, TITLE = 0.62, 0.44, 0.8  # inches: heights in a report
SHADES = {"best": "#bfe3c4", "near": "#e6f4e8", "": "none"}


class _Sheet:
    """A figure on which things are placed in inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=120)
        FigureCanvasAgg(self.figure)

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        style = {"color": INK, "fontsize": 9, "va": "center", **style}
        # "$" would begin mathematics
        self.figure.text(x / self.width, 1 - y / self.height, words.replace("$", r"\$"), **style)

    def shade(self, x: float, y: float, w: float, h: float, colour: str) -> None:
        corner, size = (x / self.width, 1 - (y + h) / self.height), (w / self.width, h / self.height)
        self.figure.add_artist(Rectangle(corner, *size, facecolor=colour, linewidth=0))

    def axes(self, x: float, y: float, w: float, h: float) -> Axes:
        place = (x / self.width, 1 - (y + h) / self.height, w / self.width, h / self.height)
        return self.figure.add_axes(place)

    def png(self) -> bytes:
        file = io.BytesIO()
        self.figure.savefig(file, format="png", facecolor="white")
        return file.getvalue()


# ---- a comparison


def report(found: Comparison) -> bytes:
    """The table, and a line of samples for each family, those of real rows first."""
    rows = [("real rows", found.real, found.test_values)]
    rows += [(e.family, e.samples, e.drawn) for e in found.entries if e.reports]
    image = next(iter(visual_columns(found.table.columns, found.targets)), None)
    table = TITLE + HEAD + LINE * (1 + len(found.entries)) + 0.2
    captions = _captions(found.real, found.sources, found.table.columns)
    side = (WIDTH - 2 * MARGIN - NAME) / max(len(found.real), 8)
    lines = max((c.count("\n") + 1 for c in captions if c), default=0)
    under = 0.16 if image and len(found.targets) > 1 else 0.06
    below = 0.14 * lines + 0.1 + len(rows) * (side + under) if image else 2.1 * -(-len(rows) // 4)
    sheet = _Sheet(WIDTH, table + below + 0.5)
    sheet.text(MARGIN, 0.32, found.title, fontsize=15, fontweight="bold")
    sheet.text(MARGIN, 0.62, found.about, color=SOFT)
    _table(sheet, found)
    if image:
        _strips(sheet, rows, image, captions, table + 0.14 * lines + 0.1, side, under, found)
    else:
        _panels(sheet, rows, found, table + 0.25)
    legend = "darker: best; lighter: its interval overlaps the best's. Small: 95 % intervals."
    if any(len(e.reports) > 1 for e in found.entries):
        legend = "darker: best; lighter: its range overlaps the best's. Small: range over seeds."
    sheet.text(MARGIN, sheet.height - 0.2, legend, color=SOFT, fontsize=8)
    return sheet.png()


def _table(sheet: _Sheet, found: Comparison) -> None:
    columns = found.columns
    step = (WIDTH - 2 * MARGIN - NAME) / len(columns)
    right = [MARGIN + NAME + step * (k + 1) - 0.06 for k in range(len(columns))]
    top = TITLE
    for x, column in zip(right, columns, strict=True):
        head = "\n".join(textwrap.wrap(column.heading, max(9, int(step * 11))))
        sheet.text(
            x,
            top + HEAD / 2,
            f"{head} {_arrow(column.title)}".rstrip(),
            ha="right",
            fontweight="bold",
            fontsize=8.5,
        )
    y = top + HEAD
    sheet.shade(MARGIN, y, WIDTH - 2 * MARGIN, 0.012, INK)
    sheet.text(MARGIN, y + LINE / 2, "real rows", style="italic", color=SOFT)
    for x, column in zip(right, columns, strict=True):
        _write(sheet, x, y, column.real, style="italic", color=SOFT)
    for entry, cells in zip(found.entries, found.cells(), strict=True):
        y += LINE
        sheet.shade(MARGIN, y, WIDTH - 2 * MARGIN, 0.006, RULE)
        sheet.text(MARGIN, y + LINE / 2, entry.family, fontweight="bold")
        if not cells:
            reason = textwrap.shorten(entry.reason, 150)
            sheet.text(MARGIN + NAME, y + LINE / 2, reason, color=SOFT, style="italic", fontsize=8)
        for x, cell in zip(right, cells, strict=bool(cells)):
            if cell.mark:
                sheet.shade(x - step + 0.09, y + 0.02, step - 0.04, LINE - 0.04, SHADES[cell.mark])
            _write(sheet, x, y, cell, fontweight="bold" if cell.mark == "best" else "normal")


def _write(sheet: _Sheet, x: float, y: float, cell: Cell, **style: Any) -> None:
    """A number and, below it, its interval, ending at x."""
    lift = 0.07 if cell.interval else 0
    sheet.text(x, y + LINE / 2 - lift, cell.text, ha="right", **style)
    sheet.text(x, y + LINE / 2 + 0.1, cell.interval, ha="right", fontsize=6, color=SOFT)


def _arrow(title: str) -> str:
    return title[-1] if title[-1] in "↓↑≈" else ""


def _captions(rows: Sequence[Row], sources: Sequence[str], columns: Mapping[str, Modality]) -> list[str]:
    """What each row was drawn for, in at most three short lines."""
    told = [c for c in distinct_columns(sources) if not columns[c].visual]
    found = []
    for row in rows:
        lines = textwrap.wrap(", ".join(told_value(row[c]) for c in told), 13, break_long_words=True)
        found.append("\n".join(lines[:3]))
    return found


def told_value(value: Any) -> str:
    """A label, number or text for a person."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _strips(
    sheet: _Sheet,
    rows: Sequence[tuple[str, Sequence[Row], Any]],
    image: str,
    captions: Sequence[str],
    top: float,
    side: float,
    under: float,
    found: Comparison,
) -> None:
    """A line of pictures for each family, all of a column for the same sources."""
    left = MARGIN + NAME
    for k, caption in enumerate(captions):
        sheet.text(
            left + (k + 0.5) * side, top - 0.05, caption, ha="center", va="bottom", fontsize=7, color=SOFT
        )
    others = [c for c in found.targets if not found.table.columns[c].visual]
    for i, (name, samples, _) in enumerate(rows):
        y = top + i * (side + under)
        real = {"style": "italic", "color": SOFT} if not i else {"fontweight": "bold"}
        sheet.text(MARGIN, y + side / 2, name, **real)
        for k, row in enumerate(samples):
            picture(
                sheet.axes(left + k * side + 0.03, y, side - 0.06, side - 0.06),
                found.table.columns[image].thumbnail(row[image]),
            )
            if others:
                words = textwrap.shorten(", ".join(told_value(row[c]) for c in others), 18)
                sheet.text(
                    left + (k + 0.5) * side, y + side + 0.02, words, ha="center", fontsize=6, color=SOFT
                )


def picture(axes: Axes, image: PIL.Image.Image) -> None:
    """A picture with its pixels as squares."""
    axes.imshow(np.asarray(image.convert("RGB")), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(edgecolor=RULE, linewidth=0.5)


def _panels(
    sheet: _Sheet, rows: Sequence[tuple[str, Any, Sequence[Row]]], found: Comparison, top: float
) -> None:
    """The distribution of the first target, of each family over that of real rows."""
    column, width = found.targets[0], (WIDTH - 2 * MARGIN) / 4
    for i, (name, _, drawn) in enumerate(rows):
        axes = sheet.axes(MARGIN + i % 4 * width + 0.3, top + i // 4 * 2.1 + 0.1, width - 0.5, 1.5)
        axes.set_title(name, fontsize=9, fontweight="bold", color=INK, loc="left")
        panel(
            found.table.columns[column],
            axes,
            [r[column] for r in found.test_values],
            [r[column] for r in drawn] if i else None,
        )


# ---- a sweep


def sweep(found: Sweep) -> bytes:
    """Fidelity against diversity, a point for each value of a knob; KID against the value; samples."""
    image = next(iter(visual_columns(found.columns, found.targets)), None)
    side = 0.72
    strips = 0.5 + (len(found.points) + 1) * (side + 0.06) if image else 0.0
    sheet = _Sheet(10.0, 4.9 + strips)
    sheet.text(0.4, 0.3, f"{found.option} of {found.run}", fontsize=14, fontweight="bold")
    sheet.text(0.4, 0.58, found.about, color=SOFT, fontsize=8.5)
    _plane(sheet.axes(0.85, 1.0, 3.9, 3.2), found)
    _distances(sheet.axes(5.75, 1.0, 3.9, 3.2), found)
    if image:
        rows = [("real rows", found.real), *((p.label, p.samples) for p in found.points)]
        for i, (name, samples) in enumerate(rows):
            y = 5.1 + i * (side + 0.06)
            sheet.text(1.5, y + side / 2, name, ha="right", color=SOFT if not i else INK, fontsize=9)
            for k, row in enumerate(samples[:11]):
                picture(
                    sheet.axes(1.65 + k * side + 0.03, y, side - 0.06, side - 0.06),
                    found.columns[image].thumbnail(row[image]),
                )
    return sheet.png()


def _plane(axes: Axes, found: Sweep) -> None:
    """x: diversity, y: fidelity."""
    x, y = ([getattr(p, name).value for p in found.points] for name in ("diversity", "fidelity"))
    _styled(axes, f"{found.diversity_name} →", f"{found.fidelity_name} →")
    axes.plot(x, y, "-", color="#1f77b4", linewidth=1, alpha=0.5)
    axes.errorbar(
        x,
        y,
        xerr=_bars([p.diversity for p in found.points]),
        yerr=_bars([p.fidelity for p in found.points]),
        fmt="o",
        color="#1f77b4",
        ecolor="#1f77b455",
        markersize=6,
        elinewidth=1,
    )
    for point, a, b in zip(found.points, x, y, strict=True):
        axes.annotate(point.label, (a, b), xytext=(6, 6), textcoords="offset points", fontsize=9)
    if found.floor:
        a, b = found.floor["diversity"].value, found.floor["fidelity"].value
        axes.plot([a], [b], "*", color="#d62728", markersize=13)
        axes.annotate(
            "real rows",
            (a, b),
            xytext=(-8, -12),
            textcoords="offset points",
            fontsize=9,
            color="#d62728",
            ha="right",
        )
    axes.margins(0.14)


def _distances(axes: Axes, found: Sweep) -> None:
    """KID over the values, which stand at equal steps."""
    _styled(axes, found.option, f"{found.distance_name} (lower is better)")
    values = [p.distance.value for p in found.points]
    places = range(len(values))
    axes.errorbar(
        places,
        values,
        yerr=_bars([p.distance for p in found.points]),
        fmt="o-",
        color="#1f77b4",
        ecolor="#1f77b455",
        markersize=6,
        linewidth=1,
    )
    best = int(np.argmin(values))
    axes.plot([best], [values[best]], "o", markersize=12, markerfacecolor="none", color="#2ca02c")
    axes.set_xticks(places, [p.label for p in found.points])
    if found.floor:
        axes.axhline(found.floor["distance"].value, color="#d62728", linewidth=1, linestyle="--")
        axes.annotate(
            "real rows",
            (0.99, found.floor["distance"].value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            fontsize=9,
            color="#d62728",
            ha="right",
        )
    axes.margins(0.08)


def _styled(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9.5)
    axes.set_ylabel(y, fontsize=9.5)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _bars(estimates: Sequence[Estimate]) -> np.ndarray:
    """Lengths of error bars below and above, (2, N)."""
    low = [e.value if e.low is None else e.low for e in estimates]
    high = [e.value if e.high is None else e.high for e in estimates]
    values = np.array([e.value for e in estimates])
    return np.stack([values - low, high - values]).clip(0)

"""The figure of a comparison of families: the table, and samples or distributions of each family."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from likewise.core.formula import Formula, distinct_columns
from likewise.evaluation.comparison.figures.canvas import Canvas, png
from likewise.evaluation.comparison.results import Cell, Comparison
from likewise.modalities.base import Modality, Row
from likewise.viz.images import visual_columns
from likewise.viz.panels import INK, RULE, SOFT, panel

WIDTH, NAME, MARGIN = 14.0, 1.35, 0.3  # inches: of the figure, of its first column, around it
HEADING, LINE, TITLE = 0.62, 0.44, 0.8  # inches: heights
PANELS, PANEL_HEIGHT = 4, 2.1  # distributions in a row; inches
CAPTION_LINE = 0.14  # inches
SHADES = {"best": "#bfe3c4", "near": "#e6f4e8", "": "none"}


def comparison_figure(comparison: Comparison) -> bytes:
    """A PNG: the table, and below it examples, or distributions if no target is visual; real rows first."""
    image = next(iter(visual_columns(comparison.table.columns, comparison.targets)), None)
    table_height = TITLE + HEADING + LINE * (1 + len(comparison.entries)) + 0.2
    captions = _captions(comparison.examples, comparison.formula, comparison.table.columns)
    captions_height = CAPTION_LINE * max((c.count("\n") + 1 for c in captions if c), default=0) + 0.1
    count = 1 + sum(bool(e.reports) for e in comparison.entries)
    if image:
        strip, _ = _strip_height(comparison)
        height = captions_height + count * strip
    else:
        height = PANEL_HEIGHT * -(-count // PANELS)
    canvas = Canvas(WIDTH, table_height + height + 0.5)
    canvas.text(MARGIN, 0.32, comparison.title, fontsize=15, fontweight="bold")
    canvas.text(MARGIN, 0.62, comparison.description, color=SOFT)
    _draw_table(canvas, comparison)
    if image:
        _draw_strips(canvas, comparison, image, captions, table_height + captions_height)
    else:
        _draw_panels(canvas, comparison, table_height + 0.25)
    interval, name = ("range", "range over seeds") if comparison.seeds > 1 else ("interval", "95 % intervals")
    legend = f"darker: best; lighter: its {interval} overlaps the best's. Small: {name}."
    canvas.text(MARGIN, canvas.height - 0.2, legend, color=SOFT, fontsize=8)
    return png(canvas.figure)


def distribution_figure(comparison: Comparison, samples: Sequence[Row] | None) -> bytes:
    """A PNG of the first target of real rows and, unless None, of samples."""
    column = comparison.targets[0]
    figure = Figure(figsize=(4.4, PANEL_HEIGHT), dpi=110, layout="constrained")
    panel(
        comparison.table.columns[column],
        figure.subplots(),
        [r[column] for r in comparison.test_rows],
        None if samples is None else [r[column] for r in samples],
    )
    return png(figure)


def value_text(value: Any) -> str:
    """A label, number or text in a caption."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _draw_table(canvas: Canvas, comparison: Comparison) -> None:
    columns = comparison.columns
    step = (WIDTH - 2 * MARGIN - NAME) / len(columns)
    right = [MARGIN + NAME + step * (k + 1) - 0.06 for k in range(len(columns))]
    for x, column in zip(right, columns, strict=True):
        heading = "\n".join(textwrap.wrap(column.heading, max(9, int(step * 11))))
        arrow = column.title.removeprefix(column.heading)
        style: dict[str, Any] = {"ha": "right", "fontweight": "bold", "fontsize": 8.5}
        canvas.text(x, TITLE + HEADING / 2, heading + arrow, **style)
    y = TITLE + HEADING
    canvas.shade(MARGIN, y, WIDTH - 2 * MARGIN, 0.012, INK)
    canvas.text(MARGIN, y + LINE / 2, "real rows", style="italic", color=SOFT)
    for x, column in zip(right, columns, strict=True):
        _draw_cell(canvas, x, y, column.real_cell, style="italic", color=SOFT)
    for entry, cells in zip(comparison.entries, comparison.cells(), strict=True):
        y += LINE
        canvas.shade(MARGIN, y, WIDTH - 2 * MARGIN, 0.006, RULE)
        canvas.text(MARGIN, y + LINE / 2, entry.family, fontweight="bold")
        if not cells:
            reason = textwrap.shorten(entry.reason, 150)
            canvas.text(MARGIN + NAME, y + LINE / 2, reason, color=SOFT, style="italic", fontsize=8)
        for x, cell in zip(right, cells, strict=bool(cells)):
            if cell.highlight:
                canvas.shade(x - step + 0.09, y + 0.02, step - 0.04, LINE - 0.04, SHADES[cell.highlight])
            _draw_cell(canvas, x, y, cell, fontweight="bold" if cell.highlight == "best" else "normal")


def _draw_cell(canvas: Canvas, x: float, y: float, cell: Cell, **style: Any) -> None:
    """A number and, below it, its interval, right-aligned at x."""
    lift = 0.07 if cell.interval else 0
    canvas.text(x, y + LINE / 2 - lift, cell.text, ha="right", **style)
    canvas.text(x, y + LINE / 2 + 0.1, cell.interval, ha="right", fontsize=6, color=SOFT)


def _captions(rows: Sequence[Row], formula: str, columns: Mapping[str, Modality]) -> list[str]:
    """The sources of each row that are no images, in at most three short lines."""
    names = [c for c in distinct_columns(Formula.parse(formula).sources) if not columns[c].visual]
    texts = (", ".join(value_text(row[c]) for c in names) for row in rows)
    return ["\n".join(textwrap.wrap(text, 13, break_long_words=True)[:3]) for text in texts]


def _strip_height(comparison: Comparison) -> tuple[float, float]:
    """The height of a line of examples, and the side of one, in inches."""
    side = (WIDTH - 2 * MARGIN - NAME) / max(len(comparison.examples), 8)
    return side + (0.16 if len(comparison.targets) > 1 else 0.06), side


def _draw_strips(
    canvas: Canvas, comparison: Comparison, image: str, captions: Sequence[str], top: float
) -> None:
    """A line of examples for each family, those of a column for the same sources."""
    left, (strip, side) = MARGIN + NAME, _strip_height(comparison)
    columns = comparison.table.columns
    for k, caption in enumerate(captions):
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 7, "color": SOFT}
        canvas.text(left + (k + 0.5) * side, top - 0.05, caption, **style)
    others = [c for c in comparison.targets if not columns[c].visual]
    rows = [("real rows", comparison.examples)]
    rows += [(e.family, e.examples) for e in comparison.entries if e.reports]
    for i, (name, examples) in enumerate(rows):
        y = top + i * strip
        style = {"fontweight": "bold"} if i else {"style": "italic", "color": SOFT}
        canvas.text(MARGIN, y + side / 2, name, **style)
        for k, row in enumerate(examples):
            canvas.image(left + k * side + 0.03, y, side - 0.06, columns[image].thumbnail(row[image]))
            if others:
                words = textwrap.shorten(", ".join(value_text(row[c]) for c in others), 18)
                style = {"ha": "center", "fontsize": 6, "color": SOFT}
                canvas.text(left + (k + 0.5) * side, y + side + 0.02, words, **style)


def _draw_panels(canvas: Canvas, comparison: Comparison, top: float) -> None:
    """The distribution of the first target, of each family over that of real rows."""
    name, width = comparison.targets[0], (WIDTH - 2 * MARGIN) / PANELS
    real = [row[name] for row in comparison.test_rows]
    panels: list[tuple[str, list[Any] | None]] = [("real rows", None)]
    panels += [(e.family, [row[name] for row in e.samples]) for e in comparison.entries if e.reports]
    for i, (title, values) in enumerate(panels):
        x, y = MARGIN + i % PANELS * width + 0.3, top + i // PANELS * PANEL_HEIGHT + 0.1
        axes = canvas.axes(x, y, width - 0.5, PANEL_HEIGHT - 0.6)
        axes.set_title(title, fontsize=9, fontweight="bold", color=INK, loc="left")
        panel(comparison.table.columns[name], axes, real, values)

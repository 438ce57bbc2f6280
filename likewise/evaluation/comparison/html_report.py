"""page: a comparison as one HTML file that stands alone: pictures as data, no script, nothing is fetched."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import PIL.Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from likewise.core.formula import distinct_columns
from likewise.evaluation.comparison import figures
from likewise.evaluation.comparison.results import Cell, Column, Comparison, Entry
from likewise.modalities import image as pixels
from likewise.modalities.base import Row
from likewise.viz.images import visual_columns
from likewise.viz.panels import panel

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #6b6b6b; --rule: #dcdcdc; --paper: #fff;
  --best: #bfe3c4; --near: #e6f4e8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #a0a0a0; --rule: #3a3a3a;
  --paper: #17181a; --best: #2c5c36; --near: #223a28; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 84rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.soft, small { color: var(--soft); } small { display: block; font-size: .72rem; white-space: nowrap; }
table { border-collapse: collapse; width: 100%; margin-top: 1rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .45rem; text-align: right; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--ink); font-size: .85rem; }
th:first-child { text-align: left; } td.reason { text-align: left; color: var(--soft); }
.best { background: var(--best); font-weight: 600; } .near { background: var(--near); }
.floor td, .floor th { color: var(--soft); font-style: italic; font-weight: normal; }
.strip { display: flex; flex-wrap: wrap; gap: .3rem; margin-bottom: .8rem; }
figure { margin: 0; width: 4.6rem; } figure img { width: 100%; image-rendering: pixelated; display: block;
  border: 1px solid var(--rule); }
figcaption { font-size: .68rem; color: var(--soft); overflow-wrap: anywhere; }
.panel { width: 22rem; max-width: 100%; background: #fff; } dt { font-weight: 600; } dd { margin: 0 0 .4rem; }
@media (max-width: 60rem) {
  table, tbody, tr, th, td { display: block; } thead { display: none; }
  tbody tr { border: 1px solid var(--rule); border-radius: .5rem; padding: .5rem .7rem; margin: .7rem 0; }
  tbody th { font-size: 1.1rem; border: 0; padding: 0 0 .2rem; }
  tbody td { display: flex; justify-content: space-between; gap: 1rem; padding: .15rem .3rem; border: 0; }
  tbody td::before { content: attr(data-head); color: var(--soft); text-align: left; }
  td:empty { display: none; } td small { display: inline; margin-left: .4rem; } figure { width: 17.5%; } }
"""


def html(found: Comparison) -> str:
    """The page."""
    columns = found.columns
    heads = "".join(f"<th>{escape(c.title)}</th>" for c in columns)
    floors = "".join(_cell(c.real, c) for c in columns)
    body = "\n".join(_row(e, cells, columns) for e, cells in zip(found.entries, found.cells(), strict=True))
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes())
    terms = "".join(
        f'<dt>{escape(c.title)}</dt><dd class="soft">{escape(c.note)}</dd>' for c in columns if c.note
    )
    interval = "range over the seeds" if any(len(e.reports) > 1 for e in found.entries) else "95 % interval"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(found.title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(found.title)}</h1><div class="soft">{escape(found.about)}</div>
<table><thead><tr><th></th>{heads}</tr></thead><tbody>
<tr class="floor"><th>real rows</th>{floors}</tr>
{body}
</tbody></table>
<p class="soft">Below a number: its {interval}. Darker: the best of its column; lighter: its interval overlaps
the best's. Real rows: what other real rows score in the place of samples. ↓ lower is better, ↑ higher is,
≈ as real rows.</p>
<h2>Samples, from the same seeds</h2>
{_samples(found)}
<h2>What the columns say</h2><dl>{terms}</dl>
{f'<h2>Notes</h2><ul class="soft">{notes}</ul>' if notes else ""}
</body></html>
"""


def _row(entry: Entry, cells: Sequence[Cell], columns: Sequence[Column]) -> str:
    """A family's line of the table, or why it has none."""
    head = f"<tr><th>{escape(entry.family)}</th>"
    if not cells:
        return f'{head}<td class="reason" colspan="{len(columns)}">{escape(entry.reason)}</td></tr>'
    return f"{head}{''.join(_cell(cell, c) for c, cell in zip(columns, cells, strict=True))}</tr>"


def _cell(cell: Cell, column: Column) -> str:
    interval = f"<small>{escape(cell.interval)}</small>" if cell.interval else ""
    inner = f"<span>{escape(cell.text)}{interval}</span>" if cell.text else ""
    return f'<td class="{cell.mark}" data-head="{escape(column.title)}">{inner}</td>'


def _samples(found: Comparison) -> str:
    """Pictures with what they were drawn for, or the distribution of the first target."""
    image = next(iter(visual_columns(found.table.columns, found.targets)), None)
    rows = [("real rows", found.real, found.test_values)]
    rows += [(e.family, e.samples, e.drawn) for e in found.entries if e.reports]
    parts = []
    for i, (name, shown, drawn) in enumerate(rows):
        parts.append(f'<h3>{escape(name)}</h3><div class="strip">')
        if image:
            parts += [_figure(row, image, found) for row in shown]
        else:
            parts.append(_panel(found, drawn if i else None))
        parts.append("</div>")
    return "\n".join(parts)


def _figure(row: Row, image: str, found: Comparison) -> str:
    told = [
        c for c in (*distinct_columns(found.sources), *found.targets) if not found.table.columns[c].visual
    ]
    words = escape(", ".join(figures.told_value(row[c]) for c in told if row.get(c) is not None))
    picture = f'<img alt="{words}" src="{_data(found.table.columns[image].thumbnail(row[image]))}">'
    return f"<figure>{picture}<figcaption>{words}</figcaption></figure>"


def _data(picture: PIL.Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(pixels.write(picture)).decode()


def _panel(found: Comparison, drawn: Sequence[Row] | None) -> str:
    """The first target of a family over that of real rows."""
    column = found.targets[0]
    figure = Figure(figsize=(4.4, 2.1), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panel(
        found.table.columns[column],
        figure.subplots(),
        [r[column] for r in found.test_values],
        None if drawn is None else [r[column] for r in drawn],
    )
    file = io.BytesIO()
    figure.savefig(file, format="png")
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return f'<img class="panel" alt="distribution of {escape(column)}" src="{source}">'

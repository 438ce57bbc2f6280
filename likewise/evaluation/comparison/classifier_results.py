"""Classification: what `compare_classifiers` found, as a table to read, a picture, a page and JSON values."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from likewise.core.files import atomic_write
from likewise.evaluation.metrics.estimate import Estimate, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = {  # field of Result -> what it is called
    "accuracy": "accuracy",
    "log_loss": "log-loss, nats",
    "log_loss_raw": "log-loss without a temperature, nats",
    "ece": "calibration error",
    "ece_raw": "calibration error without a temperature",
}
PNG, PAGE, VALUES = "report.png", "report.html", "report.json"
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
img{max-width:100%}table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.2em .8em;text-align:left;
border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}h2{margin-top:2em}td small{color:#777}"""


@dataclass(frozen=True)
class Result:
    """One method, trained on one number of rows, under one condition.

    per_class     training rows a class, the mean; rows: all of them
    log_loss, ece  at the temperature; log_loss_raw, ece_raw: as the method says it, at temperature 1
    ece_floor     `ece` of rows whose classes are drawn from these very probabilities
    parts         accuracy on each part of the condition, such as each corruption
    reliability   (confidence, accuracy, rows) of bins of equally many rows, at the temperature
    """

    method: str
    way: str
    per_class: float
    rows: int
    condition: str
    accuracy: Estimate
    log_loss: Estimate
    log_loss_raw: Estimate
    ece: Estimate
    ece_raw: Estimate
    ece_floor: float
    temperature: float
    parts: dict[str, float]
    reliability: list[tuple[float, float, int]]
    score_kind: str
    parameters: int
    train_seconds: float
    score_seconds: float


@dataclass(frozen=True)
class Classification:
    """`str` is a table; `save` writes report.png, report.html, which stands alone, and report.json."""

    formula: str
    data: str | None
    n: int
    calibration: int
    minutes: float
    seed: int
    majority: float
    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()

    def of(self, method: str, condition: str) -> list[Result]:
        """The results of a method, fewest rows first."""
        found = [r for r in self.results if (r.method, r.condition) == (method, condition)]
        return sorted(found, key=lambda r: r.rows)

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(r.method for r in self.results))

    @property
    def conditions(self) -> list[str]:
        return list(dict.fromkeys(r.condition for r in self.results))

    def to_json(self) -> dict[str, Any]:
        """JSON values; an estimate is {value, low, high, n}."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        blocks = [self._title()]
        for title, head, lines in self._tables(("accuracy", "log_loss", "ece")):
            columns = list(zip(head, *lines, strict=True))
            widths = [max(map(len, column)) for column in columns]
            rows = [
                "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
                for row in (head, *lines)
            ]
            blocks.append("\n".join([title, *rows]))
        notes = [textwrap.fill(note, 110, subsequent_indent="    ") for note in self.notes]
        return "\n\n".join([*blocks, "\n".join(notes)]).rstrip()

    def _title(self) -> str:
        return (
            f"P({self.formula}){f', {self.data}' if self.data else ''}: {self.n} rows held out, seed "
            f"{self.seed}, at most {self.minutes:g} minutes of training; the most frequent class: "
            f"{short(self.majority)}"
        )

    def _tables(self, measures: tuple[str, ...]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Title, head and lines of a table for each measure and condition; columns are rows a class."""
        sizes = sorted({r.per_class for r in self.results})
        for measure in measures:
            for condition in self.conditions:
                lines = []
                for method in self.methods:
                    cells = {r.per_class: str(getattr(r, measure)) for r in self.of(method, condition)}
                    lines.append([method, *(cells.get(size, "") for size in sizes)])
                yield f"{MEASURES[measure]}, {condition}", ["rows a class", *map(short, sizes)], lines

    # ---- files

    def save(self, folder: Path) -> None:
        """Write the three files. Raises OSError."""
        png, text = self._figure(), json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"
        atomic_write(folder / PNG, png)
        atomic_write(folder / PAGE, self._page(png).encode())
        atomic_write(folder / VALUES, text.encode())

    def _page(self, png: bytes) -> str:
        """The report as one HTML file."""
        tables = []
        for title, head, lines in self._tables(tuple(MEASURES)):
            rows = ["<tr>" + "".join(f"<th>{html.escape(c)}</th>" for c in head) + "</tr>"]
            rows += ["<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in line) + "</tr>" for line in lines]
            tables.append(f"<h3>{html.escape(title)}</h3><table>{''.join(rows)}</table>")
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        image = base64.b64encode(png).decode()
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Generative or discriminative: '
            f"{html.escape(self.formula)}</title><style>{STYLE}</style>"
            f"<h1>Generative or discriminative?</h1><p>{html.escape(self._title())}</p>"
            f'<img alt="accuracy, log-loss and reliability" src="data:image/png;base64,{image}">'
            f"<h2>How it was made</h2><ul>{notes}</ul><h2>Numbers, with 95 % intervals</h2>"
            f"{''.join(tables)}<h2>Models</h2>{self._models()}</html>\n"
        )

    def _models(self) -> str:
        head = (
            "method",
            "way",
            "rows",
            "parameters",
            "seconds of training",
            "ms to score a row",
            "scores",
            "temperature",
        )
        rows = ["<tr>" + "".join(f"<th>{h}</th>" for h in head) + "</tr>"]
        for r in (r for r in self.results if r.condition == self.conditions[0]):
            cells = (
                r.method,
                r.way,
                f"{r.rows:,}",
                f"{r.parameters:,}" if r.parameters else "",
                f"{r.train_seconds:.0f}",
                short(1000 * r.score_seconds / self.n),
                r.score_kind,
                short(r.temperature),
            )
            rows.append("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>")
        return f"<table>{''.join(rows)}</table>"

    def _figure(self) -> bytes:
        """Accuracy and log-loss over rows a class, reliability with most; a column a condition. PNG."""
        # not pyplot, which looks for a screen
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        across = len(self.conditions)
        figure = Figure(figsize=(4.2 * across, 10.5), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(3, across, squeeze=False, sharey="row")
        for column, condition in enumerate(self.conditions):
            accuracy, loss, reliable = grid[:, column]
            self._curves(accuracy, condition, "accuracy")
            self._curves(loss, condition, "log_loss")
            self._reliability(reliable, condition)
            accuracy.set(title=condition, ylim=(0, 1.02))
            accuracy.axhline(self.majority, color="0.7", linestyle=":", linewidth=1)
            loss.set(yscale="log")
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(self.methods)
        )
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return file.getvalue()

    def _look(self, method: str) -> dict[str, Any]:
        """Colour and line: black for the direct classifier, broken for the peer."""
        way = self._way(method)
        others = [m for m in self.methods if self._way(m) == "Bayes"]
        colour = {"direct": "black", "peer": "0.5"}.get(way) or f"C{others.index(method)}"
        style = "--" if way == "peer" else "-"
        return {"color": colour, "linestyle": style, "linewidth": 1.5, "label": method}

    def _way(self, method: str) -> str:
        return next(r.way for r in self.results if r.method == method)

    def _curves(self, axes: Axes, condition: str, measure: str) -> None:
        for i, method in enumerate(self.methods):
            found = self.of(method, condition)
            shift = 1.03 ** (i - len(self.methods) / 2)  # so that intervals do not lie on each other
            x, values = [r.per_class * shift for r in found], [getattr(r, measure) for r in found]
            spread = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
            axes.errorbar(
                x,
                [v.value for v in values],
                spread,
                marker="o",
                markersize=3,
                elinewidth=0.8,
                **self._look(method),
            )
        sizes = sorted({r.per_class for r in self.results})
        axes.set(xscale="log", xlabel="training rows a class", ylabel=MEASURES[measure])
        axes.set_xticks(sizes, [short(s) for s in sizes])
        axes.xaxis.minorticks_off()
        axes.grid(alpha=0.3)

    def _reliability(self, axes: Axes, condition: str) -> None:
        for method in self.methods:
            last = self.of(method, condition)[-1]
            bins = np.array(last.reliability)  # three of the bins together: as many points as can be read
            points = [
                np.average(bins[i : i + 3, :2], axis=0, weights=bins[i : i + 3, 2])
                for i in range(0, len(bins), 3)
            ]
            axes.plot(*zip(*points, strict=True), marker=".", **self._look(method))
        axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy, most rows")
        axes.grid(alpha=0.3)

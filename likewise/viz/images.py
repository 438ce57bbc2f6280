"""Rows as pictures: sheets with captions and provenance, animations, and the curve of a run."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import PIL.Image

from likewise.core.formula import View
from likewise.modalities.base import Modality, Row
from likewise.modalities.image import write
from likewise.viz.grid import image_grid


class RowSequence(Protocol):
    """A table, or anything else with rows by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Row: ...


def visual_columns(columns: Mapping[str, Modality], names: Sequence[str]) -> list[str]:
    """Those of the columns whose values are shown as pictures."""
    return [n for n in names if columns[n].visual]


def evenly_spaced(rows: RowSequence, count: int) -> list[Row]:
    """`count` rows from all over a table, or all that there are."""
    count = min(count, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def caption(row: Row, names: Sequence[str]) -> str:
    """The values of some columns, those that the row has; of views of a column that agree, one."""
    told = dict.fromkeys((View.parse(n).column, str(row[n])) for n in names if row.get(n) is not None)
    return ", ".join(value for _, value in told)


def sheet(
    columns: Mapping[str, Modality],
    rows: Sequence[Row],
    names: Sequence[str],
    captions: Sequence[str],
    across: int,
) -> PIL.Image.Image:
    """Rows as a grid, `across` of them in a line: the columns `names` as pictures side by side, a caption below."""
    under = [text for c in captions for text in (c, *[""] * (len(names) - 1))]
    pictures = [columns[n].thumbnail(row[n]) for row in rows for n in names]
    return image_grid(pictures, columns=across * len(names), captions=under if any(under) else None)


def save(image: PIL.Image.Image, path: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a PNG whose text chunks say where it comes from. Raises OSError."""
    write_file(path, write(image, about))


def animate(frames: Sequence[PIL.Image.Image], path: Path, about: Mapping[str, Any]) -> None:
    """Write a GIF that goes through the frames and back, for ever; `about` is its comment. Raises OSError."""
    first, *rest = [*frames, *frames[-2:0:-1]]
    file = io.BytesIO()
    first.save(
        file,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=100,
        loop=0,
        comment=json.dumps(about, ensure_ascii=False).encode(),
    )
    write_file(path, file.getvalue())


def write_file(path: Path, data: bytes) -> None:
    """Write a file at once, so that nobody finds half of it; its folder is made. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def curve(metrics: Path, out: Path) -> None:
    """Draw the losses in metrics.jsonl: in training, smoothed over 2 % of the steps, and held out."""
    # not pyplot, which looks for a screen
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    if not records:
        return
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps, losses = smooth(records)
    heldout = [(r["step"], r["heldout"]) for r in records if "heldout" in r]
    axes.plot(steps, losses, label="training", linewidth=1.2)
    if heldout:
        axes.plot(*zip(*heldout, strict=True), "o-", markersize=3, label="held out")
    late = losses[len(losses) // 20 :] + [loss for _, loss in heldout]  # the first ones flatten the rest
    room = 0.05 * (max(late) - min(late)) or 1.0
    axes.set(xlabel="step", ylabel="loss", ylim=(min(late) - room, max(late) + room))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    write_file(out, file.getvalue())


def smooth(records: Sequence[Mapping[str, Any]], share: float = 0.02) -> tuple[list[int], list[float]]:
    """Steps, 500 to 1,000 if there are so many, and the mean loss over the last `share` of all records.

    >>> smoothed([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 4.0}], share=1.0)
    ([2], [3.0])
    """
    window = max(1, round(share * len(records)))
    total = [0.0]
    for record in records:
        total.append(total[-1] + record["loss"])
    ends = range(window, len(total), max(1, len(records) // 500))
    return [records[i - 1]["step"] for i in ends], [(total[i] - total[i - window]) / window for i in ends]

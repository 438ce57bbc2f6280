"""Pictures that the commands leave behind: grids of samples with their captions and provenance, and the curve of a run."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from likewise.modalities.base import Modality
from likewise.preview import grid
from likewise.table import Row, Table


def visible(columns: Mapping[str, Modality], names: Sequence[str]) -> list[str]:
    """Those of the columns whose values are pictures."""
    return [n for n in names if columns[n].media_type.startswith("image/")]


def spread(table: Table, count: int) -> list[Row]:
    """`count` rows from all over a table, or all that there are."""
    count = min(count, len(table))
    return [table[i * len(table) // count] for i in range(count)]


def sheet(rows: Sequence[Row], pictures: Sequence[str], words: Sequence[str], across: int) -> PIL.Image.Image:
    """Rows as a grid, `across` in a line: the columns `pictures` of each side by side, its columns `words` as the caption.

    A caption that the row before has as well is left out, so a line of draws for one prompt has it once.
    """
    captions: list[str] = []
    last = None
    for place, row in enumerate(rows):
        caption = ", ".join(str(row[n]) for n in words if row.get(n) is not None)
        captions += ["" if caption == last and place % across else caption] + [""] * (len(pictures) - 1)
        last = caption
    images = [row[n] for row in rows for n in pictures]
    return grid(images, columns=across * len(pictures), captions=captions if any(captions) else None)


def save(image: PIL.Image.Image, path: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a PNG whose text chunks `likewise:...` say where it comes from. Raises OSError."""
    info = PngInfo()
    for name, value in (about or {}).items():
        info.add_text(f"likewise:{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=info)
    put(path, file.getvalue())


def put(path: Path, data: bytes) -> None:
    """Write a file at once, so that nobody finds half of it; its folder is made. Raises OSError, and an old file stays then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def curve(folder: Path) -> None:
    """Draw metrics.jsonl of a run folder as curve.png: the loss, smoothed over 2 % of the steps, and the held-out loss."""
    from matplotlib.backends.backend_agg import (
        FigureCanvasAgg,  # not pyplot, which keeps figures and looks for a screen
    )
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    if not records:
        return
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(*smoothed(records), label="training", linewidth=1.2)
    if heldout := [(r["step"], r["heldout"]) for r in records if "heldout" in r]:
        axes.plot(*zip(*heldout, strict=True), "o-", markersize=3, label="held out")
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    put(folder / "curve.png", file.getvalue())


def smoothed(records: Sequence[Mapping[str, Any]], share: float = 0.02, points: int = 500) -> tuple[list[int], list[float]]:
    """Steps and the mean loss over the last `share` of all records, at most about `points` of them."""
    window = max(1, round(share * len(records)))
    total = [0.0]
    for record in records:
        total.append(total[-1] + record["loss"])
    ends = range(window, len(total), max(1, len(records) // points))
    return [records[i - 1]["step"] for i in ends], [(total[i] - total[i - window]) / window for i in ends]

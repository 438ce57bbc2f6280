"""The loss curve of a training run."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.core.files import atomic_write
from likewise.core.provenance import png_chunks


def save_loss_curve(metrics: Path, out: Path) -> None:
    """Plot the losses in a metrics.jsonl, the smoothed training loss and the held-out loss, as a PNG.

    Without a step in `metrics` nothing is written. Raises OSError.
    """
    # not pyplot, which looks for a screen
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    if not records:
        return
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps, losses = smooth(records)
    heldout = [(r["step"], r["heldout"]) for r in records if "heldout" in r]
    axes.plot(steps, losses, label="training", linewidth=1.2)
    if heldout:
        axes.plot(*zip(*heldout, strict=True), "o-", markersize=3, label="held-out rows")
    # the axis covers all but the first 5 %, whose large losses would flatten the rest
    late = losses[len(losses) // 20 :] + [loss for _, loss in heldout]
    margin = 0.05 * (max(late) - min(late)) or 1.0
    axes.set(xlabel="step", ylabel="loss", ylim=(min(late) - margin, max(late) + margin))
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata=png_chunks())
    atomic_write(out, file.getvalue())


def smooth(records: Sequence[Mapping[str, Any]], share: float = 0.02) -> tuple[list[int], list[float]]:
    """At most 1,000 steps, and at each the mean loss over the `share` of all records that end there.

    >>> smooth([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 4.0}], share=1.0)
    ([2], [3.0])
    """
    window = max(1, round(share * len(records)))
    cumulative = [0.0]
    for record in records:
        cumulative.append(cumulative[-1] + record["loss"])
    ends = range(window, len(cumulative), max(1, len(records) // 500))
    means = [(cumulative[i] - cumulative[i - window]) / window for i in ends]
    return [records[i - 1]["step"] for i in ends], means

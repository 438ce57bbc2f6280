"""The metrics of a run while it is trained: what is new in metrics.jsonl, and its losses as a curve of few points."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from likewise.server.limits import MAX_CURVE_POINTS
from likewise.training.metrics import METRICS

BLOCK = 2**22  # bytes that are read at a time
FADE = 0.02  # weight of a new loss in the average that is shown


class MetricsTail:
    """The records of a growing metrics.jsonl, each once; all of them again if the file is replaced."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS
        self._inode, self._offset, self._rest = -1, 0, b""

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """New records, a block of the file at most, and whether they begin anew."""
        try:
            with open(self.path, "rb") as file:
                about = os.fstat(file.fileno())
                anew = about.st_ino != self._inode or about.st_size < self._offset
                if anew:
                    self._inode, self._offset, self._rest = about.st_ino, 0, b""
                file.seek(self._offset)
                block = file.read(BLOCK)
        except OSError:  # not there yet
            return [], False
        self._offset += len(block)
        *lines, self._rest = (self._rest + block).split(b"\n")
        return list(_records(lines)), anew


def _records(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # damaged
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            yield record


class Curve:
    """Losses over steps, with at most MAX_CURVE_POINTS points: of more, every second one is dropped."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}  # record
        self.checkpoint: dict[str, Any] = {}  # the last record with a loss on held-out rows
        self.loss: float | None = None  # smoothed
        self._points: list[dict[str, Any]] = []
        self._heldout: list[dict[str, Any]] = []
        self._stride, self._count = 1, 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record of metrics.jsonl."""
        self.last = dict(record)
        self._count += 1
        loss = float(record.get("loss", 0.0))
        weight = max(FADE, min(1.0, 3 / self._count))
        self.loss = loss if self.loss is None else self.loss + weight * (loss - self.loss)
        if (self._count - 1) % self._stride == 0:
            self._points.append({"step": record["step"], "loss": self.loss})
            if len(self._points) > MAX_CURVE_POINTS:
                self._points, self._stride = self._points[::2], 2 * self._stride
        if record.get("heldout") is not None:
            self.checkpoint = self.last
            self._heldout.append(
                {"step": record["step"], "loss": self.loss, "valid_loss": float(record["heldout"])}
            )
            if len(self._heldout) > MAX_CURVE_POINTS:
                self._heldout = self._heldout[::2]

    def points(self) -> list[dict[str, Any]]:
        """The points in the order of steps: step, loss, and where it was measured valid_loss."""
        merged = {point["step"]: point for point in self._points}
        if self.last:
            merged[self.last["step"]] = {"step": self.last["step"], "loss": self.loss}
        merged |= {point["step"]: point for point in self._heldout}
        return [merged[step] for step in sorted(merged)]


def read_curve(folder: Path) -> Curve:
    """The curve of a run that is not trained at the moment."""
    tail, curve = MetricsTail(folder), Curve()
    while True:
        records, _ = tail.read()
        if not records:
            return curve
        for record in records:
            curve.add(record)

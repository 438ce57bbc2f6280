"""What is reported of each training step, and the file of these records, metrics.jsonl."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from likewise.core.files import atomic_write
from likewise.core.option_names import option_text
from likewise.models.checkpoint import RunError

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Step:
    """One training step, after the update.

    step             number of steps so far
    progress         share of the run that is done, in [0, 1]
    loss             of this batch: the mean over its rows, summed over phases
    heldout          the loss on held-out rows, of the averaged weights; None except at checkpoints
    rows_per_second  a moving average
    elapsed, eta     seconds of training so far, and left
    loss_terms       what the loss is made of, as the family reports it
    """

    step: int
    progress: float
    loss: float
    heldout: float | None
    rows_per_second: float
    elapsed: float
    eta: float
    loss_terms: dict[str, float] = field(default_factory=dict)


class MetricsFile:
    """metrics.jsonl of a run folder: one JSON object per step."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def clear(self) -> None:
        """Begin an empty file."""
        atomic_write(self.path, b"")

    def append(self, step: Step) -> None:
        """Add one step. Raises RunError if it cannot be written."""
        record = {
            name: round(value, 6) if isinstance(value, float) and name != "loss" else value
            for name, value in dataclasses.asdict(step).items()
            if value is not None
        }
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunError(
                f"cannot write {self.path}: {error.strerror}; mend it and continue with {option_text('resume')}"
            ) from error

    def truncate(self, step: int) -> None:
        """Remove the steps after `step`, and a line that was not written to its end."""
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []
        complete = (line for line in lines if line.endswith("\n"))
        kept = "".join(line for line in complete if json.loads(line)["step"] <= step)
        atomic_write(self.path, kept.encode())

"""Progress: a training run as a person watches it: a bar, and at each checkpoint new pictures and a curve."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from likewise.data.table import Table
from likewise.modalities.base import Row
from likewise.models import checkpoint
from likewise.models.model import Model
from likewise.training.distributed import shutdown
from likewise.training.memory import check_memory
from likewise.training.metrics import Step
from likewise.training.plan import Plan
from likewise.training.trainer import train
from likewise.viz import images
from likewise.viz.curves import save_loss_curve

SHOWN, ACROSS = 32, 8  # draws on samples.png, and how many stand in a line
DRAFT = 8  # steps of a sampler that has steps: a look at the run should cost little of it
CURVE, SAMPLES = "curve.png", "samples.png"


@dataclass(frozen=True)
class Ending:
    """How a run ended: the last step (None: none was left) and held-out loss, and whether it was stopped."""

    step: Step | None
    heldout: float | None
    stopped: bool


@dataclass
class Display:
    """What is shown of a run: a line that moves, and draws for `rows` of sources, always of the same seed."""

    model: Model
    folder: Path
    rows: Sequence[Row]
    across: int = ACROSS
    heldout: float | None = None
    loss: float = 0.0
    seen: int = 0
    drawn: float = field(default_factory=time.perf_counter)
    bar: tqdm | None = None

    def show(self, step: Step) -> None:
        """Move the line."""
        if self.bar is None:  # not before there is a step: an error at the beginning needs no bar
            self.bar = tqdm(
                total=100.0,
                bar_format="{percentage:3.0f}% {bar:20} {desc}",
                file=sys.stderr,
                delay=1e-3,
                mininterval=0.2 if sys.stderr.isatty() else 30.0,
            )
        self.seen += 1
        self.loss += max(0.02, min(1.0, 3 / self.seen)) * (step.loss - self.loss)  # forgets the first soon
        self.heldout = step.heldout if step.heldout is not None else self.heldout
        heldout = "" if self.heldout is None else f"held-out {self.heldout:.4f}  "
        text = (
            f"step {step.step:,}  loss {self.loss:.4f}  {heldout}{step.rows_per_second:,.0f} rows/s  "
            f"{clock(step.eta)} left"
        )
        self.bar.set_description_str(text, refresh=False)
        self.bar.update(100 * step.progress - self.bar.n)

    def draw(self) -> None:
        """Refresh samples.png, of the targets that are pictures, and curve.png."""
        model = self.model
        names = images.visual_columns(model.columns, model.targets)
        if names and hasattr(model.family, "sample"):
            draft = {"steps": DRAFT} if "steps" in type(model.family).sampling_options() else {}
            rows = model.sample(self.rows, seed=0, **draft)
            hidden = images.visual_columns(model.columns, list(model.columns))
            captions = [images.caption(row, [n for n in model.columns if n not in hidden]) for row in rows]
            images.save(
                images.sheet(model.columns, rows, names, captions, self.across), self.folder / SAMPLES
            )
        save_loss_curve(self.folder / "metrics.jsonl", self.folder / CURVE)
        self.drawn = time.perf_counter()


def train_with_progress(
    model: Model,
    table: Table,
    plan: Plan,
    folder: Path,
    *,
    resume: bool = False,
    rows: Sequence[Row] | None = None,
    across: int = ACROSS,
) -> Ending:
    """Train and show it, until it is done or Ctrl-C. samples.png shows draws for `rows`, `across` a line.

    Of several processes the first one does the showing. Raises what `train` raises, and NotEnoughMemory.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    check_memory(model, plan, processes)
    rows = display_rows(model, table) if rows is None else rows
    display = Display(model, folder, rows, across) if first_process() else None
    step, stopped = None, False
    try:
        with closing(train(model, table, plan, folder, resume=resume)) as steps:
            for step in steps:
                if display is None:
                    continue
                display.show(step)
                late = not len(table.test) and time.perf_counter() - display.drawn > plan.save_seconds
                if step.heldout is not None or late or step.progress >= 1:
                    display.draw()
    except KeyboardInterrupt:  # by now `train` has saved
        stopped = True
    finally:
        if display is not None and display.bar is not None:
            display.bar.close()
    if not stopped:
        shutdown()
    return Ending(step, display and display.heldout, stopped)


def display_rows(model: Model, table: Table) -> list[Row]:
    """The sources of rows from all over those held out."""
    if not model.sources:
        return [{}] * SHOWN
    rows = images.evenly_spaced(table.test if len(table.test) else table.train, SHOWN)
    return [{n: row[n] for n in model.sources} for row in rows]


def last_saved_step(folder: Path) -> int | None:
    """The step at which a run folder was last saved, None if it was not."""
    return checkpoint.load_state(folder).get("step") if (folder / checkpoint.MODEL).exists() else None


def first_process() -> bool:
    """Whether this process prints and draws, of those that torchrun may have started."""
    return os.environ.get("RANK", "0") == "0"


def clock(seconds: float) -> str:
    """
    >>> clock(59), clock(61), clock(3661)
    ('0:59', '1:01', '1:01:01')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

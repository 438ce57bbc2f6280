"""Training on a terminal: a progress bar, and at each checkpoint a sheet of samples and the loss curve."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from likewise.cli.formatting import format_duration
from likewise.core.interrupts import signal_of
from likewise.core.options import parse_option
from likewise.core.ranges import NonNegativeInt, PositiveInt
from likewise.data.table import Table
from likewise.families.base import Family
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

NUM_SAMPLES, ACROSS = 32, 8  # samples on samples.png, and how many of them in a line
DRAFT_STEPS = 8  # of a sampler that has steps: the samples shown during training should take little time
CURVE, SAMPLES = "curve.png", "samples.png"
MEASURED = 3.0  # seconds of steps after which their cost is printed


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended: its last step, None if no step was left, the held-out loss, and the signal that stopped it.

    interrupted  its number, such as that of SIGINT after Ctrl-C; None if the plan is done
    """

    step: Step | None
    heldout: float | None
    interrupted: int | None


@dataclass
class Display:
    """A progress bar, and files that show the progress: samples for the sources `rows`, with one seed, and losses.

    plan        of the run; table_rows: training rows, for what a step costs
    """

    model: Model
    plan: Plan
    table_rows: int
    folder: Path
    rows: Sequence[Row]
    across: int = ACROSS
    heldout: float | None = None
    loss: float = 0.0  # smoothed
    steps: int = 0
    saved: float = field(default_factory=time.perf_counter)  # when the files were written last
    bar: tqdm | None = None
    first: float = 0.0  # when the first step ended
    cost_printed: bool = False

    def update(self, step: Step) -> None:
        """Move the bar. Where it cannot be shown any more, as the terminal was closed, the training goes on."""
        if self.bar is None:  # from the first step on, so that an early error is not preceded by a bar
            self.bar = tqdm(
                total=100.0,
                bar_format="{percentage:3.0f}% {bar:20} {desc}",
                file=sys.stderr,
                delay=1e-3,
                mininterval=0.2 if sys.stderr.isatty() else 30.0,
            )
        self._print_cost(step)
        self.steps += 1
        weight = max(0.02, min(1.0, 3 / self.steps))  # larger at first, so that the first losses fade soon
        self.loss += weight * (step.loss - self.loss)
        self.heldout = step.heldout if step.heldout is not None else self.heldout
        heldout = "" if self.heldout is None else f"held-out {self.heldout:.4f}  "
        text = (
            f"step {step.step:,}  loss {self.loss:.4f}  {heldout}{step.rows_per_second:,.0f} rows/s  "
            f"{format_duration(step.eta)} left"
        )
        with suppress(OSError):
            self.bar.set_description_str(text, refresh=False)
            self.bar.update(100 * step.progress - self.bar.n)

    def _print_cost(self, step: Step) -> None:
        """Print once what a step costs, as soon as it has been measured."""
        if self.cost_printed:
            return
        now = time.perf_counter()
        self.first = self.first or now
        seconds = now - self.first if self.steps else step.elapsed  # the first step includes the preparation
        if seconds < MEASURED * (1 if self.steps else 3):
            return
        self.cost_printed = True
        with suppress(OSError):
            rate = max(1, self.steps) / seconds
            tqdm.write(describe_cost(self.plan, rate, self.model.family, self.table_rows), file=sys.stderr)

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            with suppress(OSError):
                self.bar.close()

    def save_images(self) -> None:
        """Write curve.png, and samples.png if any target is shown as an image."""
        model = self.model
        names = images.visual_columns(model.columns, model.targets)
        if names and hasattr(model.family, "sample"):
            draft: dict[str, Any] = {"steps": DRAFT_STEPS} if "steps" in model.sampling_options() else {}
            samples = model.sample(self.rows, seed=0, **draft)
            others = [view for view in model.formula.views if not model.columns[view.name].visual]
            captions = [images.caption(row, others) for row in samples]
            sheet = images.sheet(model.columns, samples, names, captions, self.across)
            images.save(sheet, self.folder / SAMPLES)
        save_loss_curve(self.folder / "metrics.jsonl", self.folder / CURVE)
        self.saved = time.perf_counter()


def describe_cost(plan: Plan, rate: float, family: Family, rows: int) -> str:
    """What `rate` steps a second amount to: "3.1 steps/s: 10 minutes are 1,860 steps ...".

    A note says so where not every training row is seen once.
    """
    batch = plan.rows_per_step(family)
    steps = plan.steps if plan.minutes is None else max(1, round(60 * plan.minutes * rate))
    assert steps is not None  # a plan has minutes or steps
    speed = f"{rate:.1f} steps/s" if rate >= 1 else f"{1 / rate:.1f} s/step"
    if plan.minutes is None:
        length = f"{steps:,} steps of {batch} rows take {format_duration(steps / rate)}"
    else:
        length = f"{plan.minutes:g} minutes are about {steps:,} steps of {batch} rows"
    passes = steps * batch / rows
    text = f"{speed}: {length}, {passes:,.1f} passes through {rows:,} rows"
    return text if passes >= 1 else f"{text}; for all rows to be seen give more time or a smaller --width"


def train_with_progress(
    model: Model,
    table: Table,
    plan: Plan,
    folder: Path,
    *,
    resume: bool = False,
    rows: Sequence[Row] | None = None,
    across: int = ACROSS,
) -> TrainingResult:
    """Train with a progress bar, until the plan is done or a signal such as Ctrl-C stops it.

    rows    sources of the samples on samples.png, `across` in a line; those of held-out rows unless given

    Of several processes only the first shows anything. Raises what `train` raises, and NotEnoughMemory.
    """
    processes = parse_option("WORLD_SIZE", os.environ.get("WORLD_SIZE", "1"), PositiveInt)
    check_memory(model, plan, processes)
    rows = source_rows(model, table) if rows is None else rows
    count = len(table.train)
    shown = plan.resolved(model.family, count)
    display = Display(model, shown, count, folder, rows, across) if is_first_process() else None
    step, interrupted = None, None
    try:
        with closing(train(model, table, plan, folder, resume=resume)) as steps:
            for step in steps:
                if display is None:
                    continue
                display.update(step)
                late = not len(table.test) and time.perf_counter() - display.saved > plan.save_seconds
                if step.heldout is not None or late or step.progress >= 1:
                    display.save_images()
    except KeyboardInterrupt as error:  # `train` has saved a checkpoint
        interrupted = signal_of(error)
    finally:
        if display is not None:
            display.close()
    if interrupted is None:
        shutdown()
    return TrainingResult(step, display.heldout if display else None, interrupted)


def source_rows(model: Model, table: Table) -> list[Row]:
    """The sources of evenly spaced held-out rows."""
    if not model.sources:
        return [{}] * NUM_SAMPLES
    rows = images.evenly_spaced(table.test if len(table.test) else table.train, NUM_SAMPLES)
    return [{n: row[n] for n in model.sources} for row in rows]


def last_saved_step(folder: Path) -> int | None:
    """The step at which a run folder was last saved, None if it was not."""
    return checkpoint.load_state(folder).get("step") if checkpoint.has_checkpoint(folder) else None


def is_first_process() -> bool:
    """Whether this process prints and writes files, of those that torchrun may have started."""
    return parse_option("RANK", os.environ.get("RANK", "0"), NonNegativeInt) == 0

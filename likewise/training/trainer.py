"""train: a generator that turns a model and a table into a trained model, one step at a time.

optimizer   Muon for the hidden matrices of blocks (Jordan et al., 2024), AdamW for everything else
schedule    linear warm-up, constant, linear cooldown to zero, over the steps or the minutes of the plan
average     power-function EMA (Karras et al., 2024, "EDM2"): model.family holds it at every step
precision   bf16 copies of float32 parameters where the processor has bf16, so that no step casts weights
processes   under torchrun each takes its share of a batch; DistributedDataParallel averages gradients
"""

from __future__ import annotations

import atexit
import copy
import inspect
import math
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from likewise.core.batch import EncodedRows
from likewise.core.device import default_device
from likewise.core.errors import warn
from likewise.core.files import remove_leftovers
from likewise.core.interrupts import defer_interrupts
from likewise.core.locks import FolderLock
from likewise.core.option_names import option_text
from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.families.base import Family
from likewise.models import checkpoint
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.checkpointing import (
    TrainingState,
    require_same_model,
    require_same_run,
    run_metadata,
)
from likewise.training.distributed import join_processes
from likewise.training.loss import gap_note, heldout_loss, rows_to_learn, split_batch
from likewise.training.metrics import MetricsFile, Step
from likewise.training.optim import ema_gamma, make_optimizers, update_average
from likewise.training.plan import Plan
from likewise.training.process import tune_malloc


def train(
    model: Model, table: Table, plan: Plan, folder: str | Path | None = None, *, resume: bool = False
) -> Generator[Step, None, None]:
    """Train `model` on table.train, one step per `next`. Checkpoints and metrics.jsonl go to `folder`, if any.

    Stopping early (Ctrl-C, closing the generator, or the end of Python) saves a checkpoint; `resume` goes on from
    there, with the same losses as an uninterrupted run. SIGTERM does so within
    `likewise.core.interrupts.signals_as_exceptions`, as on the command line. Raises RunError if there is nothing to
    resume, or if the saved run has other data, another model or another seed.
    """
    steps = Trainer(model, table, plan, Path(folder) if folder else None).run(resume)
    _open.add(steps)
    return steps


_open: WeakSet[Generator[Step, None, None]] = WeakSet()


@atexit.register
def _close_open() -> None:
    """Save what is still open when Python ends; in a thread that is within a step there is nothing to save."""
    for steps in list(_open):
        if inspect.getgeneratorstate(steps) != inspect.GEN_RUNNING:
            try:
                steps.close()
            except (OSError, ValueError) as error:
                warn(f"a training was not saved: {error}")


class Trainer:
    """One run: float32 weights (raw), the copy that computes (working), the optimizers and the clock.

    model.family holds the moving average of the raw weights.
    """

    def __init__(self, model: Model, table: Table, plan: Plan, folder: Path | None) -> None:
        self.processes = join_processes(default_device())
        self.model = model
        table = table.with_views(model.columns, model.formula)
        self.table = rows_to_learn(model, table)
        self.plan = plan.resolved(model.family, len(self.table.train))
        if not self.processes.rank and (note := gap_note(model, table)):
            warn(note)
        self.batch, world = plan.rows_per_step(model.family), self.processes.world
        if self.batch % world:
            raise ValueError(
                f"batch {self.batch} cannot be shared by {world} processes; take a multiple of {world}"
            )
        self.folder = folder
        self.metrics = MetricsFile(folder) if folder and self.processes.rank == 0 else None
        model.to(self.processes.device)
        self.raw: Family = copy.deepcopy(model.family).train()
        self.working: Family = self.raw.compute_copy(precision=plan.precision)
        self.optimizers = {phase: make_optimizers(self.raw, phase, self.plan) for phase in self.raw.phases}
        self.state = TrainingState(self.raw, model.family, self.optimizers)
        self.forward = self._forward()
        self.gamma = ema_gamma(plan.ema_sigma)
        self.step, self.elapsed = 0, 0.0  # seconds
        self.loss_terms: dict[str, float] = {}

    def _forward(self) -> Callable[..., Tensor]:
        """The loss of the working copy, over several processes and compiled where the plan says so."""
        module: nn.Module = self.working
        if self.processes.world > 1 and self.raw.learns_by_gradients:
            several = len(self.raw.phases) > 1  # a phase has no gradients for the parameters of the others
            module = nn.parallel.DistributedDataParallel(module, find_unused_parameters=several)
        return torch.compile(module) if self.plan.compile else module

    # ---- the loop

    def run(self, resume: bool) -> Generator[Step, None, None]:
        """The steps of the run until its plan is done; see `train`."""
        if self.folder is None or self.processes.rank or (resume and not self.folder.is_dir()):
            yield from self._steps(resume)
            return
        try:
            with FolderLock(self.folder):
                yield from self._steps(resume)
        except BlockingIOError:
            raise RunError(
                f"another training writes to {self.folder}; wait for its end, or give another folder"
            ) from None

    def _steps(self, resume: bool) -> Generator[Step, None, None]:
        is_finalizing = sys.is_finalizing  # a local name: at exit Python clears the globals of modules
        tune_malloc()
        start = time.perf_counter()
        if resume:
            self._resume()
            start = time.perf_counter() - self.elapsed
        else:
            self._begin()  # its time counts
        saved, rate = time.perf_counter(), 0.0
        batches = self.table.train.batches(
            self.model.learned.columns,
            self.batch,
            seed=self.plan.seed,
            start=self.step,
            rank=self.processes.rank,
            world=self.processes.world,
        )
        try:
            while (progress := self._progress()) < 1:
                before = time.perf_counter()
                with defer_interrupts():  # a step and its record
                    loss = self._update(next(batches), progress)
                    self.step += 1
                    self.elapsed = self._seconds_since(start)
                    speed = self.batch / (time.perf_counter() - before)
                    rate = 0.95 * rate + 0.05 * speed if rate else speed
                    progress = self._progress()
                    due = self._seconds_since(saved) > self.plan.save_seconds or progress >= 1
                    heldout = None
                    if due:
                        heldout = self._heldout_loss()
                        self.elapsed = self._seconds_since(start)
                    eta = 0.0 if progress >= 1 else self.plan.seconds_left(progress, self.elapsed)
                    step = Step(self.step, progress, loss, heldout, rate, self.elapsed, eta, self.loss_terms)
                    if self.metrics:
                        self.metrics.append(step)
                if due:
                    self.save()
                    saved = time.perf_counter()
                yield step
        except (KeyboardInterrupt, GeneratorExit):
            if not is_finalizing():  # else modules are partly gone, and nothing can be written
                with defer_interrupts():  # a second Ctrl-C waits
                    self.save()
            raise

    def _progress(self) -> float:
        """The share of the run that is done, in [0, 1]: the first step is all of a family without gradients."""
        if not self.raw.learns_by_gradients:
            return float(self.step > 0)
        return self.plan.progress(self.step, self.elapsed)

    def _seconds_since(self, start: float) -> float:
        """The seconds since a time of time.perf_counter, by the clock of the first process."""
        return self.processes.from_first(time.perf_counter() - start)

    # ---- one step

    def _update(self, batch: EncodedRows, progress: float) -> float:
        """One update of every phase. Returns the mean loss of a row over all processes, summed over phases."""
        x, c = split_batch(self.model, batch)
        rows = range(self.processes.rank, self.batch, self.processes.world)
        rng = Rng(rows, "train", self.plan.seed, self.step, device=self.model.device)
        c = c.drop(rng, self.plan.source_dropout)
        factor = self.plan.lr_factor(self.step, progress)
        self.working.progress = progress
        self.working.epochs = self.step * self.batch / len(self.table.train)
        total = 0.0
        for phase in self.raw.phases:
            loss = self.forward(x, c, phase, rng).mean()
            if self.raw.learns_by_gradients:
                loss.backward()
                self._apply_gradients(phase, factor)
            total += self.processes.mean(loss.detach())
        terms = self.working.loss_terms
        self.loss_terms = {name: self.processes.mean(value) for name, value in terms.items()}
        if not math.isfinite(total):
            raise FloatingPointError(
                f"the loss is {total} at step {self.step}: lower {option_text('lr')} and "
                f"{option_text('muon_lr')}, or use {option_text('precision', 'float32')}"
            )
        update_average(self.model.family, self.raw, self.step, self.gamma)
        return total

    def _apply_gradients(self, phase: str, factor: float) -> None:
        """Gradients of the working copy -> optimizers -> raw weights -> working copy."""
        raw: list[Tensor] = [p for _, p in self.raw.parameters_of(phase)]
        working: list[Tensor] = [p for _, p in self.working.parameters_of(phase)]
        for p, w in zip(raw, working, strict=True):
            p.grad = None if w.grad is None else w.grad.to(p.dtype)
        for optimizer in self.optimizers[phase]:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
            optimizer.step()
        if self.working is not self.raw:
            with torch.no_grad():
                torch._foreach_copy_(working, raw)
        for p in (*self.raw.parameters(), *self.working.parameters()):
            p.grad = None

    # ---- beginning, checkpoints, going on

    def _begin(self) -> None:
        """Prepare the run folder, and the parameters that depend on data."""
        if self.folder and self.metrics:
            checkpoint.require_unused(self.folder, self.table.source)
            self.model.save_without_weights(self.folder, **self._metadata())
            self.metrics.clear()
        from_elsewhere = not self.model.untrained
        self._init_from_data()
        if from_elsewhere:  # the run could not begin with these weights again
            self.save()

    @torch.no_grad()
    def _init_from_data(self) -> None:
        """Let a family initialize its fresh weights from some training rows, the same in each process."""
        fresh, self.model.fresh = self.model.fresh, frozenset()
        rows = min(self.raw.init_rows, len(self.table.train))
        if not fresh or not rows or type(self.raw).init_from_data is Family.init_from_data:
            return
        columns, seed = self.model.learned.columns, self.plan.seed
        x, c = split_batch(self.model, next(self.table.train.batches(columns, rows, seed=seed)))
        trained = {n: v.clone() for n, v in self.raw.state_dict().items() if n not in fresh}
        self.raw.init_from_data(x, c, Rng(range(rows), "begin", seed))
        self.raw.load_state_dict(trained, strict=False)
        self.working.load_state_dict(self.raw.state_dict())
        self.model.family.load_state_dict(self.raw.state_dict())

    def save(self) -> None:
        """Write a checkpoint, resume.safetensors and the model. Raises RunError."""
        if self.folder and not self.processes.rank:
            metadata = self._metadata()
            checkpoint.save_resume(
                self.folder,
                self.state.state_dict(),
                {**metadata, "elapsed": self.elapsed, "family": self.model.family_name},
            )
            self.model.save(self.folder, **metadata)

    def _heldout_loss(self) -> float | None:
        """The loss of the averaged weights on held-out rows, in the first process; None without such rows."""
        return (
            heldout_loss(self.model, self.table) if len(self.table.test) and not self.processes.rank else None
        )

    def _metadata(self) -> dict[str, Any]:
        """What model.json says of the run."""
        return {
            "step": self.step,
            **run_metadata(self.table, self.plan),
            "elapsed": round(self.elapsed, 1),
        }

    def _resume(self) -> None:
        """Go on from the last checkpoint of the run folder. Raises RunError."""
        if self.folder is None:
            raise RunError("resuming needs the folder of the run")
        remove_leftovers(self.folder)
        if (self.folder / checkpoint.MODEL).exists() and not checkpoint.has_checkpoint(self.folder):
            self._begin_again(self.folder)
            return
        tensors, state = checkpoint.load_resume(self.folder)
        require_same_run(self.folder, state, self.table, self.plan)
        self.state.load_state_dict(tensors, self.folder)
        self.working.load_state_dict(self.raw.state_dict())
        self.step, self.elapsed = state["step"], state["elapsed"]
        if self.metrics:
            self.metrics.truncate(self.step)
            if checkpoint.load_state(self.folder).get("step") != self.step:
                self.save()  # it ended between the files of a checkpoint

    def _begin_again(self, folder: Path) -> None:
        """Begin a run that ended before its first checkpoint. Raises RunError if it is another run."""
        state = checkpoint.load_state(folder)
        require_same_run(folder, state, self.table, self.plan)
        require_same_model(folder, state, self.model)
        warn(f"{folder} ended before its first checkpoint, so it begins again at step 0")
        began = time.perf_counter()
        self._begin()
        self.elapsed = time.perf_counter() - began

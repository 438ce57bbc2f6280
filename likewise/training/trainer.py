"""train: a generator that turns a model and a table into a trained model, one step at a time.

optimiser   Muon on the trunk's hidden matrices (Jordan et al., 2024), AdamW on everything else
schedule    linear warm-up, constant, linear decay to zero over the last part of the steps, or the minutes
average     power-function EMA (Karras et al., 2024, "EDM2"): model.family holds it at every step
arithmetic  bf16 copies of float32 parameters where the processor has bf16, so nothing is cast on the way
processes   under torchrun each takes its share of a batch, DistributedDataParallel averages gradients
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.device import default_device
from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.families.base import Family
from likewise.models import checkpoint
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.distributed import all_reduce_sum, init_processes
from likewise.training.loss import heldout_loss
from likewise.training.optim import ema_gamma, make_optimizers
from likewise.training.plan import Plan
from likewise.training.process import defer_interrupt, tune_malloc

INIT_ROWS = 4096  # rows, at most, that a family sees before the first step


@dataclass(frozen=True)
class Step:
    """What the trainer says after a step. Seconds throughout; heldout is None but at checkpoints.

    `terms` are what the family says its loss is made of.
    """

    step: int
    progress: float
    loss: float
    heldout: float | None
    rows_per_second: float
    elapsed: float
    eta: float
    loss_terms: dict[str, float] = dataclasses.field(default_factory=dict)


def train(
    model: Model, table: Table, plan: Plan, folder: str | Path | None = None, *, resume: bool = False
) -> Iterator[Step]:
    """Train `model` on table.train, one step a `next`. Checkpoints and metrics.jsonl go to `folder`, if any.

    Stopping early (Ctrl-C, closing the generator) saves; `resume` goes on from there, with the same losses as
    if nothing had happened. Raises RunError if there is nothing to resume, or if it was another data set,
    model or seed.
    """
    return Trainer(model, table, plan, Path(folder) if folder else None).run(resume)


class Trainer:
    """The state of a run: raw float32 weights, their working copy, optimisers, the clock.

    The average of the weights is in model.family.
    """

    def __init__(self, model: Model, table: Table, plan: Plan, folder: Path | None) -> None:
        self.model, self.table, self.folder = model, table.with_views(model.columns), folder
        self.plan = plan = plan.resolved(model.family)
        self.rank, self.world = init_processes()
        if plan.batch % self.world:
            raise ValueError(
                f"batch {plan.batch} cannot be shared by {self.world} processes; "
                f"take a multiple of {self.world}"
            )
        model.to(default_device())
        self.raw: Family = copy.deepcopy(model.family).train()
        self.working: Family = self.raw.compute_copy(precision=plan.precision)
        module: nn.Module = self.working
        if self.world > 1:
            several = len(self.raw.phases) > 1  # then a phase leaves the other's parameters alone
            module = nn.parallel.DistributedDataParallel(module, find_unused_parameters=several)
        self.module = torch.compile(module) if plan.compile else module
        self.optimisers = {phase: make_optimizers(self.raw, phase, plan) for phase in self.raw.phases}
        self.gamma = ema_gamma(plan.ema)
        self.step, self.elapsed = 0, 0.0
        self.loss_terms: dict[str, float] = {}

    # ---- the loop

    def run(self, resume: bool) -> Iterator[Step]:
        tune_malloc()
        began = time.perf_counter()
        if resume:
            self._load()
            began = time.perf_counter() - self.elapsed
        else:
            self._begin()  # a part of the run: its time counts
        saved, rate = time.perf_counter(), 0.0
        batches = self.table.train.batches(
            self.model.formula.columns,
            self.plan.batch,
            seed=self.plan.seed,
            start=self.step,
            rank=self.rank,
            world=self.world,
        )
        heldout = None
        try:
            while (progress := self._progress()) < 1:
                before = time.perf_counter()
                with defer_interrupt():
                    loss = self._update(next(batches), progress)
                    self.step += 1
                self.elapsed = self._agree(time.perf_counter() - began)
                speed = self.plan.batch / (time.perf_counter() - before)
                rate = 0.95 * rate + 0.05 * speed if rate else speed
                done = self._progress()
                if self._agree(time.perf_counter() - saved) > self.plan.save or done >= 1:
                    heldout = self.save()
                    saved = time.perf_counter()
                    self.elapsed = self._agree(time.perf_counter() - began)
                eta = (60 * self.plan.minutes if self.plan.minutes else self.elapsed / done) - self.elapsed
                step = Step(
                    self.step, done, loss, heldout, rate, self.elapsed, max(0.0, eta), self.loss_terms
                )
                self._record(step)
                heldout = None
                yield step
        except (KeyboardInterrupt, GeneratorExit):
            self.save()
            raise

    def _update(self, batch: Batch, progress: float) -> float:
        """One step of every phase: the loss, summed over phases, averaged over the rows of all processes."""
        plan, device = self.plan, self.model.device
        batch = {n: v.to(device) for n, v in batch.items()}
        rows = range(self.rank, plan.batch, self.world)
        rng = Rng(rows, "train", plan.seed, self.step, device=device)
        x = {n: batch[n] for n in self.model.targets}
        given = {n: batch[n] for n in self.model.sources}
        c = Context.full(given, len(rows)).to(device).drop(rng, plan.drop)
        rate = min(1.0, (self.step + 1) / plan.warmup, (1 - progress) / plan.decay if plan.decay else 1.0)
        self.working.progress, self.working.epochs = progress, self.step * plan.batch / len(self.table.train)
        total = 0.0
        for phase in self.raw.phases:
            loss = self.module(x, c, phase, rng).mean()
            loss.backward()
            self._apply(phase, rate)
            total += self._mean(loss.detach())
        self.loss_terms = {name: self._mean(value) for name, value in self.working.loss_terms.items()}
        if not math.isfinite(total):
            raise FloatingPointError(
                f"the loss is {total} at step {self.step}: lower --lr and --muon, or use --precision float32"
            )
        self._average()
        return total

    def _apply(self, phase: str, rate: float) -> None:
        """Gradients of the working copy -> raw weights -> working copy."""
        raw = [p for _, p in self.raw.parameters_of(phase)]
        working = [p for _, p in self.working.parameters_of(phase)]
        for p, w in zip(raw, working, strict=True):
            p.grad = None if w.grad is None else w.grad.to(p.dtype)
        for optimiser in self.optimisers[phase]:
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * rate
            optimiser.step()
        if self.working is not self.raw:
            with torch.no_grad():
                torch._foreach_copy_(working, raw)
        for p in (*self.raw.parameters(), *self.working.parameters()):
            p.grad = None

    def _average(self) -> None:
        """theta_ema <- beta theta_ema + (1 - beta) theta, beta = (1 - 1 / t)^(gamma + 1) (EDM2, eq. 121)."""
        beta = (1 - 1 / (self.step + 1)) ** (self.gamma + 1)  # the width of the average grows with t
        average, raw = list(self.model.family.parameters()), list(self.raw.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(average, raw, 1 - beta)

    def _progress(self) -> float:
        done = self.step / self.plan.steps if self.plan.steps else self.elapsed / (60 * self.plan.minutes)
        return min(1.0, done)

    # ---- several processes

    def _agree(self, seconds: float) -> float:
        """The clock of the first process, so that all of them take the same decisions."""
        if self.world == 1:
            return seconds
        return all_reduce_sum(seconds if self.rank == 0 else 0.0, self.model.device)

    def _mean(self, value: Tensor) -> float:
        if self.world == 1:
            return float(value)
        return all_reduce_sum(float(value), self.model.device) / self.world

    # ---- the run folder

    def save(self) -> float | None:
        """Checkpoint; returns the held-out loss of the averaged weights, None if nothing is held out."""
        if self.rank:
            return None
        if self.folder:
            about = self._about()
            state = {"step": self.step, "elapsed": self.elapsed, "family": self.model.family_name, **about}
            checkpoint.save_resume(self.folder, self._tensors(), state)
            self.model.save(self.folder, step=self.step, elapsed=round(self.elapsed, 1), **about)
        return heldout_loss(self.model, self.table) if len(self.table.test) else None

    def _tensors(self) -> dict[str, Tensor]:
        """What training needs to go on: raw.NAME, ema.NAME, and of the optimisers PHASE.WHICH.INDEX.NAME."""
        tensors = {f"raw.{k}": v for k, v in self.raw.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.model.family.state_dict().items()}
        for phase, group in self.optimisers.items():
            for i, optimiser in enumerate(group):
                tensors |= {f"{phase}.{i}.{k}": v for k, v in checkpoint.optimizer_state(optimiser).items()}
        return tensors

    def _fill(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `_tensors`."""
        checkpoint.load_weights_into(self.raw, checkpoint.strip_prefix("raw.", tensors), self.folder)
        checkpoint.load_weights_into(self.model.family, checkpoint.strip_prefix("ema.", tensors), self.folder)
        self.working.load_state_dict(self.raw.state_dict())
        for phase, group in self.optimisers.items():
            for i, optimiser in enumerate(group):
                checkpoint.load_optimizer_state(optimiser, checkpoint.strip_prefix(f"{phase}.{i}.", tensors))

    def _about(self) -> dict[str, Any]:
        from likewise import __version__

        opened = self.table.reopen_args() if self.table.source else {"source": None}
        data = {**opened, "fingerprint": self.table.fingerprint}
        return {"likewise": __version__, "plan": dataclasses.asdict(self.plan), "data": data}

    def _begin(self) -> None:
        if self.folder and self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            if (self.folder / checkpoint.MODEL).exists():  # the last of a checkpoint's files to be written
                raise RunError(
                    f"{self.folder} holds a run already; go on with --resume, or give another --out"
                )
            (self.folder / "metrics.jsonl").write_text("")
        self._show()

    @torch.no_grad()
    def _show(self) -> None:
        """Let a family that has learned nothing yet see some rows first; every process shows the same."""
        fresh, self.model.untrained = self.model.untrained, False
        if not fresh or type(self.raw).init_from_data is Family.init_from_data or not len(self.table.train):
            return
        batch = next(
            self.table.train.batches(
                self.model.formula.columns, min(INIT_ROWS, len(self.table.train)), seed=self.plan.seed
            )
        )
        batch = {n: v.to(self.model.device) for n, v in batch.items()}
        rows = len(next(iter(batch.values())))
        c = Context.full({n: batch[n] for n in self.model.sources}, rows).to(self.model.device)
        x = {n: batch[n] for n in self.model.targets}
        self.raw.init_from_data(x, c, Rng(range(rows), "begin", self.plan.seed))
        self.working.load_state_dict(self.raw.state_dict())
        self.model.family.load_state_dict(self.raw.state_dict())

    def _load(self) -> None:
        if self.folder is None:
            raise RunError("resuming needs the folder of the run")
        tensors, state = checkpoint.load_resume(self.folder)
        self._check(state)
        self._fill(tensors)
        self.step, self.elapsed = state["step"], state["elapsed"]
        if self.rank == 0:
            self._forget()

    def _check(self, state: Mapping[str, Any]) -> None:
        """Raise RunError unless the run that was saved is this one."""
        before, now = state["data"]["fingerprint"], self.table.fingerprint
        if before != now:
            raise RunError(
                f"{self.folder} was trained on other data (fingerprint {before}, now {now}); "
                "give the same data to --resume, or another --out to begin again"
            )
        for name in ("seed", "batch"):
            value = state["plan"][name]
            if value != getattr(self.plan, name):
                raise RunError(f"{self.folder} was begun with --{name} {value}; resume it with the same")

    def _forget(self) -> None:
        """Take the steps that were lost, those after the checkpoint, out of metrics.jsonl."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.step]
        path.write_text("".join(kept))

    def _record(self, step: Step) -> None:
        if self.folder and self.rank == 0:
            with open(self.folder / "metrics.jsonl", "a") as file:
                record = {
                    k: round(v, 6) if isinstance(v, float) and k != "loss" else v
                    for k, v in dataclasses.asdict(step).items()
                    if v is not None
                }
                file.write(json.dumps(record) + "\n")

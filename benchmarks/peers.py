"""What every method of family_peers.py is made of, and likewise's own.

A method trains for some seconds and then draws; some also say log p of held-out rows. All of them are given
the same Task: the same rows, and for a likelihood the same numbers with the same noise on them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from likewise import Model, Plan, Table, train
from likewise.core.rng import Rng

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Values = list[Any]  # what is drawn: pictures, texts, or the numbers of a row (N,)


@dataclass(frozen=True)
class Task:
    """What all methods of a comparison are given.

    targets  columns that are learned: one picture, one text, or any number of numbers
    label    the source, or None
    cast     of a peer's forward pass in training: bf16, or nothing
    options  of the peers, by name
    """

    table: Table
    targets: tuple[str, ...]
    label: str | None
    seed: int
    cast: Callable[[], AbstractContextManager]
    options: dict[str, Any]

    @property
    def formula(self) -> str:
        return ", ".join(self.targets) + (f" | {self.label}" if self.label else "")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the pictures."""
        spec = self.table.columns[self.targets[0]].spec
        return spec.width, *spec.grid

    @property
    def classes(self) -> int:
        return len(self.table.columns[self.label].classes) if self.label else 1

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches as likewise takes them: pictures (B, C, H, W) in [-1, 1] and classes (B,)."""
        (name,) = self.targets
        wanted = [name] + [self.label] * bool(self.label)
        for batch in self.table.train.batches(wanted, size, seed=self.seed):
            images = square(batch[name], self.shape)
            classes = batch[self.label].flatten() if self.label else torch.zeros(size, dtype=torch.int64)
            yield images.to(DEVICE), classes.to(DEVICE)

    def pictures(self, images: Tensor) -> Values:
        """(N, C, H, W) floats -> pictures of 8 bits, as likewise makes them."""
        column = self.table.columns[self.targets[0]]
        return [column.decode(image) for image in images.permute(0, 2, 3, 1).flatten(1, 2)]

    # ---- for a likelihood

    @cached_property
    def test(self) -> Tensor:
        """The numbers of all targets, held-out rows, as Model.log_prob scores them: (n, N) float64.

        They are in the values' unit, shifted. A whole number or a grey level stands for all numbers that
        round to it, so uniform noise is added, the same that likewise adds.
        """
        return self._numbers(self.table.test, Rng(range(len(self.table.test)), "score", self.seed))

    @cached_property
    def train(self) -> Tensor:
        """The same of the rows to learn from."""
        return self._numbers(self.table.train, Rng(range(len(self.table.train)), "peer", self.seed))

    def _numbers(self, rows: Table, rng: Rng) -> Tensor:
        parts = []
        for name in self.targets:
            column = self.table.columns[name]
            x = rows.encoded(name).double()
            if column.bin_width:
                x = x + column.bin_width * (rng.uniform(*x.shape[1:]) - 0.5)
            parts.append(x.flatten(1) / math.exp(column.log_scale))  # which is d float / d value
        return torch.cat(parts, 1)

    def values(self, numbers: Tensor) -> Values:
        """Rows like those of `test`, (n, N) -> values."""
        columns = [self.table.columns[name] for name in self.targets]
        parts = numbers.split([c.spec.tokens * c.spec.width for c in columns], 1)
        decoded = [
            [c.decode((x * math.exp(c.log_scale)).view(c.spec.tokens, c.spec.width)) for x in part]
            for c, part in zip(columns, parts, strict=True)
        ]
        return decoded[0] if len(columns) == 1 else list(zip(*decoded, strict=True))


@dataclass(frozen=True)
class Method:
    """A model to be trained. Of several ways to draw, a pilot of a tenth of the samples takes the best.

    train    seconds -> rows seen
    draws    classes (N,), which a model without sources leaves unread -> N values
    score    () -> log p of each row of table.test in nats, (n,)
    rebuild  pictures (n, C, H, W) in [-1, 1] -> what an autoencoder makes of them
    notes    what the training chose
    """

    parameters: int | None
    train: Callable[[float], int]
    draws: dict[str, Callable[[Tensor], Values]]
    score: Callable[[], Tensor] | None = None
    rebuild: Callable[[Tensor], Tensor] | None = None
    notes: list[str] = field(default_factory=list)


Maker = Callable[[Task], Method]


def likewise_of(
    family: str,
    *,
    score_options: dict[str, Any] | None = None,
    scores: bool = False,
    rebuilds: bool = False,
    **options: Any,
) -> Maker:
    """The defaults of this package, but for `options` of the family and `score_options` of its log_prob."""

    def make(task: Task) -> Method:
        model = Model(task.formula, task.table.columns, family, seed=task.seed, **options)
        test = task.table.test

        def run(seconds: float) -> int:
            plan = Plan(minutes=seconds / 60, seed=task.seed, save_seconds=1e9)
            return plan.rows_per_step(model.family) * [s.step for s in train(model, task.table, plan)][-1]

        def draw(classes: Tensor) -> Values:
            names = task.table.columns[task.label].classes if task.label else None
            asked = [{task.label: names[k]} if names else {} for k in classes.tolist()]
            rows = model.eval().sample(asked, seed=task.seed, precision="float32")
            several = len(task.targets) > 1
            return [tuple(r[n] for n in task.targets) if several else r[task.targets[0]] for r in rows]

        def score() -> Tensor:
            rows = [test[i] for i in range(len(test))]
            return model.eval().log_prob(rows, seed=task.seed, **(score_options or {})).nats

        def rebuild(images: Tensor) -> Tensor:
            (name,), codec = task.targets, model.eval().family.codec
            with torch.no_grad():
                flat = codec.decode(codec.encode({name: images.flatten(2).mT}))[name]
            return square(flat.float(), task.shape)

        return Method(count(model), run, {"": draw}, score if scores else None, rebuild if rebuilds else None)

    return make


def square(tokens: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(B, T, C) -> (B, C, H, W)."""
    channels, height, width = shape
    return tokens.view(-1, height, width, channels).permute(0, 3, 1, 2).contiguous()


def clocked(step: Callable[[float], None], seconds: float) -> int:
    """How many steps were begun within `seconds`; a step is told its share of them."""
    began, steps = time.perf_counter(), 0
    while (gone := time.perf_counter() - began) < seconds:
        step(gone / seconds)
        steps += 1
    return steps


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, clip: float | None = None) -> None:
    """One step down."""
    optimiser.zero_grad()
    loss.backward()
    if clip:
        nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], clip)
    optimiser.step()


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())

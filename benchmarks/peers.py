"""The parts of the methods of family_peers.py, and the methods of likewise.

A method trains for some seconds and then samples; some also score held-out rows. All of them have the same
Task: the same rows, and for a likelihood the same numbers with the same noise added.
"""

from __future__ import annotations

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
from likewise.evaluation.reference import class_names
from likewise.families.autoencoder import Autoencoder
from likewise.modalities.base import Modality

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Values = list[Any]  # samples: images, texts, or the numbers of a row (N,)


@dataclass(frozen=True)
class Task:
    """The rows and settings that all methods of a comparison share.

    targets  target columns: one image, one text, or any number of numbers
    label    the source, or None
    cast     autocast of a peer's forward pass in training: bf16 or none
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
        """(C, H, W) of the images."""
        spec = self.table.columns[self.targets[0]].spec
        height, width = spec.grid
        return spec.width, height, width

    @property
    def classes(self) -> int:
        return len(self.label_names) or 1

    @property
    def label_names(self) -> list[Any]:
        """The values of the label, in the order of their ids; empty without a label."""
        return class_names(self.table.columns[self.label]) if self.label else []

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches in the order of likewise: images (B, C, H, W) in [-1, 1] and classes (B,)."""
        (name,) = self.targets
        columns = [name, self.label] if self.label else [name]
        for batch in self.table.train.batches(columns, size, seed=self.seed):
            images = square(batch[name], self.shape)
            classes = batch[self.label].flatten() if self.label else torch.zeros(size, dtype=torch.int64)
            yield images.to(DEVICE), classes.to(DEVICE)

    def to_images(self, images: Tensor) -> Values:
        """(N, C, H, W) floats -> 8-bit images, decoded as those of likewise."""
        column = self.table.columns[self.targets[0]]
        return [column.decode(image) for image in images.permute(0, 2, 3, 1).flatten(1, 2)]

    # ---- for a likelihood

    @cached_property
    def test(self) -> Tensor:
        """The numbers of all targets of held-out rows, as Model.log_prob scores them: (n, N) float64.

        They have the unit of the values, shifted. An integer or a grey level stands for all numbers that round
        to it, so the uniform noise of likewise is added.
        """
        return self._numbers(self.table.test, Rng(range(len(self.table.test)), "score", self.seed))

    @cached_property
    def train(self) -> Tensor:
        """The same of the training rows."""
        return self._numbers(self.table.train, Rng(range(len(self.table.train)), "peer", self.seed))

    def _numbers(self, rows: Table, rng: Rng) -> Tensor:
        parts = []
        for name in self.targets:
            column = self.table.columns[name]
            x = column.dequantize(rows.encoded(name).double(), rng)
            parts.append(x.flatten(1) / scale_of(column))
        return torch.cat(parts, 1)

    def values(self, numbers: Tensor) -> Values:
        """Rows like those of `test`, (n, N) -> values."""
        columns = [self.table.columns[name] for name in self.targets]
        parts = numbers.split([c.spec.tokens * c.spec.width for c in columns], 1)
        decoded = [
            [c.decode((x * scale_of(c)).view(c.spec.tokens, c.spec.width)) for x in part]
            for c, part in zip(columns, parts, strict=True)
        ]
        return decoded[0] if len(columns) == 1 else list(zip(*decoded, strict=True))


def scale_of(column: Modality) -> float:
    """d float / d value of a column without far values."""
    return float(column.log_scale(torch.zeros(1, 1)).exp())


@dataclass(frozen=True)
class Method:
    """A model to be trained. Of several samplers a pilot of a tenth of the samples chooses the best.

    train        seconds -> rows of training
    samplers     name -> (classes (N,), ignored by a model without sources -> N values)
    score        () -> log p of each row of table.test in nats, (n,)
    reconstruct  images (n, C, H, W) in [-1, 1] -> their reconstructions by an autoencoder
    notes        choices of the training
    """

    parameters: int | None
    train: Callable[[float], int]
    samplers: dict[str, Callable[[Tensor], Values]]
    score: Callable[[], Tensor] | None = None
    reconstruct: Callable[[Tensor], Tensor] | None = None
    notes: list[str] = field(default_factory=list)


Maker = Callable[[Task], Method]


def likewise_of(
    family: str,
    *,
    score_options: dict[str, Any] | None = None,
    scores: bool = False,
    reconstructs: bool = False,
    **options: Any,
) -> Maker:
    """The defaults of this package, but for `options` of the family and `score_options` of its log_prob."""

    def make(task: Task) -> Method:
        model = Model(task.formula, task.table.columns, family, seed=task.seed, **options)
        test = task.table.test

        def run(seconds: float) -> int:
            plan = Plan(minutes=seconds / 60, seed=task.seed, save_seconds=1e9)
            return plan.rows_per_step(model.family) * [s.step for s in train(model, task.table, plan)][-1]

        def sample(classes: Tensor) -> Values:
            sources = [{task.label: task.label_names[k]} if task.label else {} for k in classes.tolist()]
            rows = model.eval().sample(sources, seed=task.seed, precision="float32")
            values = [tuple(row[name] for name in task.targets) for row in rows]
            return values if len(task.targets) > 1 else [value for (value,) in values]

        def score() -> Tensor:
            rows = [test[i] for i in range(len(test))]
            return model.eval().log_prob(rows, seed=task.seed, **(score_options or {})).nats

        def reconstruct(images: Tensor) -> Tensor:
            (name,), family = task.targets, model.eval().family
            assert isinstance(family, Autoencoder)
            with torch.no_grad():
                flat = family.codec.decode(family.codec.encode({name: images.flatten(2).mT}))[name]
            return square(flat.float(), task.shape)

        return Method(
            count(model), run, {"": sample}, score if scores else None, reconstruct if reconstructs else None
        )

    return make


def square(tokens: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(B, T, C) -> (B, C, H, W)."""
    channels, height, width = shape
    return tokens.view(-1, height, width, channels).permute(0, 3, 1, 2).contiguous()


def clocked(step: Callable[[float], None], seconds: float) -> int:
    """Run steps for `seconds`; returns their number. A step gets the share of time that has passed."""
    start, steps = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        step(elapsed / seconds)
        steps += 1
    return steps


def update(optimizer: torch.optim.Optimizer, loss: Tensor, clip: float | None = None) -> None:
    """One step of an optimizer, with gradients clipped to the norm `clip`."""
    optimizer.zero_grad()
    loss.backward()
    if clip:
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], clip)
    optimizer.step()


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())

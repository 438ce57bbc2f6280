"""Training speed: images per second, and the fraction of the machine's bf16 matrix rate that is reached.

    python benchmarks/train_throughput.py [--data icons] [--formula "image | text"]
                                          [--steps 20] [--width 256] [--depth 6]

The matrix rate (2048 x 2048 x 2048) is measured between the steps of the same run, so that the ratio holds on
a machine whose speed drifts. Floating-point operations are counted by PyTorch's FlopCounterMode over the
forward and backward pass; the time of the optimizer, the average and random numbers is part of a step,
their operations are not counted.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from likewise import Model, Plan, Table
from likewise.training.process import tune_malloc
from likewise.training.trainer import Trainer


def matrix_rate(size: int = 2048, dtype: torch.dtype = torch.bfloat16) -> float:
    """Operations per second of a square matrix product, the best of five."""
    a = torch.randn(size, size).to(dtype)
    best = min(_seconds(lambda: a @ a) for _ in range(5))
    return 2 * size**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="icons")
    parser.add_argument("--formula", default="image | text")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--width", type=int)
    parser.add_argument("--depth", type=int)
    args = parser.parse_args()
    tune_malloc()
    table = Table.open(args.data)
    options = {name: value for name in ("width", "depth") if (value := getattr(args, name))}
    model = Model(args.formula, table.columns, **options)
    plan = Plan(steps=args.steps, batch=args.batch)
    trainer = Trainer(model, table, plan, None)
    batches = table.train.batches(model.formula.columns, args.batch)
    with FlopCounterMode(display=False) as counter:
        trainer._update(next(batches), 0.0)
    optimizers = sum(len(group) for group in trainer.optimizers.values())
    operations = counter.get_total_flops() - _optimizer_operations(trainer)
    seconds, rates = [], []
    for step in range(args.steps + 3):
        trainer.step += 1
        batch = next(batches)
        step_seconds = _seconds(functools.partial(trainer._update, batch, 0.0))
        if step >= 3:
            seconds.append(step_seconds)
            rates.append(matrix_rate())
    step_seconds, rate = statistics.median(seconds), statistics.median(rates)
    print(
        json.dumps(
            {
                "images_per_second": round(args.batch / step_seconds, 1),
                "gflop_per_image": round(operations / args.batch / 1e9, 3),
                "gflops": round(operations / step_seconds / 1e9, 1),
                "matrix_gflops": round(rate / 1e9, 1),
                "fraction": round(operations / step_seconds / rate, 3),
                "parameters": sum(p.numel() for p in model.family.parameters()),
                "optimizers": optimizers,
                "threads": torch.get_num_threads(),
                "dtype": str(next(trainer.working.parameters()).dtype),
            },
            indent=1,
        )
    )


def _optimizer_operations(trainer: Trainer) -> int:
    """The operations of one step of all optimizers, on zero gradients."""
    with FlopCounterMode(display=False) as counter:
        for group in trainer.optimizers.values():
            for optimizer in group:
                for p in (p for g in optimizer.param_groups for p in g["params"]):
                    p.grad = torch.zeros_like(p)
                optimizer.step()
                optimizer.zero_grad()
    return counter.get_total_flops()


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

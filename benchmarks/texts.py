"""What comparisons of text-to-image models share: methods, one evaluation for all, reports.

A method trains for some seconds and samples images for texts in a number of steps. The first of a comparison
gets --minutes; each of the others gets the wall time that the first one took. All sample for the same held-out
texts, and are evaluated by the same functions of likewise.evaluation, those of `likewise evaluate`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from family_peers import sheet, show

from likewise import Model, Plan, Table, train
from likewise.core.files import atomic_write
from likewise.core.formula import Formula
from likewise.evaluation.evaluators.image import FEATURES, ImageMetrics
from likewise.evaluation.features.image import edge_features
from likewise.evaluation.metrics.estimate import Estimate
from likewise.evaluation.metrics.kid import kid
from likewise.evaluation.reference import ReferenceSet, encode_images
from likewise.training.process import tune_malloc
from likewise.viz.images import save

Images = list[PIL.Image.Image]
RANKS = ("median rank", "in top 10")


@dataclass(frozen=True)
class TextToImage:
    """A model of images given texts.

    train        seconds -> rows of training of the sampled part, and the seconds of its training
    samplers     name -> (texts, steps) -> images; of several the best on a pilot is taken
    size         () -> number of parameters
    reconstruct  images -> their reconstructions from codes, for a model of codes
    notes        remarks on the training
    """

    train: Callable[[float], tuple[int, float]]
    samplers: dict[str, Callable[[Sequence[str], int], Images]]
    size: Callable[[], int]
    reconstruct: Callable[[Images], Images] | None = None
    notes: list[str] = field(default_factory=list)


Maker = Callable[[Table, argparse.Namespace], TextToImage]


class ImageEvaluation:
    """Held-out texts, and metrics of one sample for each of them."""

    def __init__(self, table: Table, n: int, seed: int = 0) -> None:
        self.table = table
        self.reference = ReferenceSet.choose(table, Formula.parse("image | text"), n, 1, seed)
        self.images = ImageMetrics(self.reference, "image", 1000, "concept", main=True, alone=False)
        self.texts, self.truth = self.reference.test_values("text"), self.reference.test_values("image")

    def __call__(self, samples: Images) -> dict[str, Estimate]:
        """KIDs and coverage against the real images, and the rank of the true one among 1,000 others."""
        return {name: value for name, (value, _) in self._metrics(samples).items()}

    def real(self) -> dict[str, Any]:
        """The metrics of training rows in place of samples, for ranks those whose texts share most words."""
        return {name: real for name, (_, real) in self._metrics(self.truth).items()}

    def pilot(self, sampler: Callable[[Sequence[str], int], Images], steps: int, rows: int) -> float:
        """KID of edges of a few samples, by which a sampler is chosen: lower is better."""
        few = range(0, len(self.texts), max(1, len(self.texts) // rows))
        x = edge_features(self._encode(sampler([self.texts[i] for i in few], steps)))
        real = self.images.real[list(few)]
        return kid(x, real, rng=self.reference.rng("pilot"), paired=True, repeats=2).value

    def _encode(self, samples: Images) -> np.ndarray:
        return encode_images(self.table, "image", samples)

    def _metrics(self, samples: Images) -> dict[str, tuple[Estimate, Estimate | None]]:
        """Metric -> of the samples, and of real rows."""
        x = self._encode(samples)
        metrics: dict[str, tuple[Estimate, Estimate | None]] = {}
        for space in ("edges", "random_conv"):
            metrics[f"KID of {space}"] = self.images.spaces[space].kid(FEATURES[space](x))
        _, metrics["coverage"] = self.images.spaces["edges"].density_coverage(edge_features(x))
        for result in (result for text_rank in self.images.texts for result in text_rank.results(x)):
            if (name := result.name.partition(": ")[2]) in RANKS:
                metrics[name] = result.value, result.baseline
        return metrics


# ---- likewise


def fit(model: Model, table: Table, seconds: float, seed: int) -> tuple[int, float]:
    """Train; returns the rows of training and its seconds."""
    plan, start = Plan(minutes=seconds / 60, seed=seed, save_seconds=1e9), time.perf_counter()
    steps = [step.step for step in train(model, table, plan)][-1]
    model.eval()
    return steps * plan.rows_per_step(model.family), time.perf_counter() - start


def sampler_of(model: Callable[[], Model], seed: int) -> Callable[[Sequence[str], int], Images]:
    """A sampler with the defaults of the family but for the steps, in float32 as the peers."""

    def sample(texts: Sequence[str], steps: int) -> Images:
        (name,) = model().targets
        return [
            row[name]
            for row in model().sample(
                [{"text": text} for text in texts], seed=seed, steps=steps, precision="float32"
            )
        ]

    return sample


def likewise_of(family: str = "flow", **options: Any) -> Maker:
    """P(image | text) with the defaults of this package, but for `options` of the family."""

    def make(table: Table, args: argparse.Namespace) -> TextToImage:
        model = Model("image | text", table.columns, family, seed=args.seed, **options)
        return TextToImage(
            lambda seconds: fit(model, table, seconds, args.seed),
            {"": sampler_of(lambda: model, args.seed)},
            lambda: parameters(model),
        )

    return make


def parameters(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


# ---- the comparison


def run(
    name: str,
    make: Maker,
    table: Table,
    evaluation: ImageEvaluation,
    args: argparse.Namespace,
    seconds: float,
) -> tuple[list[dict[str, Any]], dict[str, Images], float]:
    """Train, choose a sampler, sample in each number of steps: rows of the table, images, wall time of training."""
    torch.manual_seed(args.seed)
    method = make(table, args)
    start = time.perf_counter()
    rows, own_seconds = method.train(seconds)
    trained = time.perf_counter() - start
    sampler, pilots = choose(method, evaluation, args)
    method.samplers[sampler](evaluation.texts[:2], 2)  # the first call is slower
    about = {
        "parameters": method.size(),
        "trained, s": round(trained, 1),
        "images/s": round(rows / own_seconds, 1),
        "rows seen": rows,
    }
    lines, last = [], []
    for steps in args.steps:
        start = time.perf_counter()
        last = method.samplers[sampler](evaluation.texts, steps)
        sampling_seconds = time.perf_counter() - start
        lines.append(
            {
                "method": name + f" ({sampler})" * bool(sampler),
                "steps": steps,
                "100 samples, s": round(100 * sampling_seconds / len(last), 3),
                **about,
                **evaluation(last),
            }
        )
    if method.reconstruct:
        reconstructions = method.reconstruct(evaluation.truth)
        lines.append({"method": f"{name}: reconstructions", **evaluation(reconstructions)})
    lines[0] |= {"pilots": pilots, "notes": method.notes}
    return lines, {lines[0]["method"] + f", {args.steps[-1]} steps": last}, trained


def choose(
    method: TextToImage, evaluation: ImageEvaluation, args: argparse.Namespace
) -> tuple[str, dict[str, float]]:
    """The sampler whose pilot is best, at the largest number of steps."""
    if len(method.samplers) == 1:
        return next(iter(method.samplers)), {}
    pilots = {
        name: round(evaluation.pilot(sampler, max(args.steps), args.pilot), 4)
        for name, sampler in method.samplers.items()
    }
    return min(pilots, key=pilots.__getitem__), pilots


def at_equal_quality(lines: Sequence[dict[str, Any]], own: str) -> list[dict[str, Any]]:
    """For each line of another method, the fastest one of `own` that is as good or better by KID of edges."""

    def distance(line: dict[str, Any]) -> float:
        return line["KID of edges"].value

    timed = [line for line in lines if "100 samples, s" in line]
    ours, comparisons = [line for line in timed if line["method"] == own], []
    for line in (line for line in timed if line["method"] != own):
        as_good = [o for o in ours if distance(o) <= distance(line)]
        best = min(as_good, key=lambda o: o["100 samples, s"], default=None)
        comparisons.append(
            {
                "method": line["method"],
                "steps": line["steps"],
                "KID of edges": line["KID of edges"],
                "100 samples, s": line["100 samples, s"],
                f"{own}, steps": best and best["steps"],
                f"{own}, KID of edges": best and best["KID of edges"],
                f"{own}, 100 samples, s": best and best["100 samples, s"],
            }
        )
    return comparisons


def compare(methods: dict[str, Maker], args: argparse.Namespace) -> None:
    """Run all methods in turn; prints the table and writes JSON and an image after each."""
    tune_malloc()  # speeds up the peers too
    table = Table.open(args.data)
    for name in ("image", "text"):
        table.train.encoded(name)  # before the training time starts
    evaluation = ImageEvaluation(table, args.n, args.seed)
    lines: list[dict[str, Any]] = [{"method": "real rows; nearest words", **evaluation.real()}]
    blocks, seconds = {"real, of the same texts": evaluation.truth}, 60 * args.minutes
    chosen = [name for name in methods if args.methods is None or name in args.methods]
    for i, name in enumerate(chosen):
        results, samples, trained = run(name, methods[name], table, evaluation, args, seconds)
        seconds = trained if i == 0 else seconds
        lines, blocks = lines + results, blocks | samples
        at_equal = at_equal_quality(lines, lines[1]["method"])
        print("\n\n".join(table_of(part) for part in (lines, at_equal) if part), end="\n\n", flush=True)
        about = {
            "setting": vars(args),
            "threads": torch.get_num_threads(),
            "texts": evaluation.texts,
            "lines": lines,
            "at equal KID": at_equal,
        }
        atomic_write(args.out, json.dumps(about, indent=1, default=to_json).encode())
        save(sheet(blocks), args.out.with_suffix(".png"))
    print(f"{args.out}, {args.out.with_suffix('.png')}: {args.minutes:g} minutes each, seed {args.seed}")


def table_of(lines: Sequence[dict[str, Any]]) -> str:
    """family_peers.show, with the columns of all lines in place of those of the last."""
    longest = sorted(lines, key=len, reverse=True)
    order = [
        name
        for name in dict.fromkeys(name for line in longest for name in line)
        if name not in ("pilots", "notes")
    ]
    filled = [
        {name: line.get(name, "") for name in order} | {"notes": line.get("notes", [])} for line in lines
    ]
    return show(filled)


def options(
    about: str | None, minutes: float, out: str, methods: Sequence[str], steps: Sequence[int]
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="icons", help="with columns image and text (default icons)")
    parser.add_argument(
        "--minutes", type=float, default=minutes, help="training time of each method, all parts"
    )
    parser.add_argument("--n", type=int, default=300, help="held-out texts (default 300)")
    parser.add_argument("--steps", type=int, nargs="+", default=list(steps), help="sampling steps")
    parser.add_argument("--methods", nargs="+", choices=methods, help="only these")
    parser.add_argument("--pilot", type=int, default=60, help="texts by which a sampler is chosen")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(out), help=f"JSON, PNG beside it (default {out})")
    return parser


def to_json(value: Any) -> Any:
    """Values that JSON has no type for."""
    return dataclasses.asdict(value) if isinstance(value, Estimate) else str(value)

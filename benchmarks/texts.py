"""What comparisons of pictures drawn from texts share: methods, one judge for all, what is left behind.

A painter trains for some seconds and draws for texts in a number of steps. The first of a comparison gets
--minutes; each of the others gets the wall time that it took in fact. All draw for the same held-out texts,
and are judged by the same functions of likewise.evaluation, those of `likewise evaluate`.
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

Pictures = list[PIL.Image.Image]
RANKS = ("median rank", "in top 10")


@dataclass(frozen=True)
class Painter:
    """A model of pictures given texts.

    train    seconds -> rows that the part that draws has seen, and the seconds of those alone
    draws    way to draw -> (texts, steps) -> pictures; of several a pilot takes the best
    size     () -> parameters
    rebuild  pictures as its codes tell them, if it draws codes
    notes    what there is to know of the training
    """

    train: Callable[[float], tuple[int, float]]
    draws: dict[str, Callable[[Sequence[str], int], Pictures]]
    size: Callable[[], int]
    rebuild: Callable[[Pictures], Pictures] | None = None
    notes: list[str] = field(default_factory=list)


Maker = Callable[[Table, argparse.Namespace], Painter]


class Judge:
    """Held-out texts, and what is said of pictures that were drawn for them, one each."""

    def __init__(self, table: Table, n: int, seed: int = 0) -> None:
        self.table = table
        self.reference = ReferenceSet.choose(table, Formula.parse("image | text"), n, 1, seed)
        self.images = ImageMetrics(self.reference, "image", 1000, "concept", main=True, alone=False)
        self.texts, self.truth = self.reference.test_values("text"), self.reference.test_values("image")

    def __call__(self, drawn: Pictures) -> dict[str, Estimate]:
        """KIDs and coverage against the real pictures, and the rank of the true one among 1,000 others."""
        return {name: value for name, (value, _) in self._measured(drawn).items()}

    def real(self) -> dict[str, Any]:
        """Training rows in the place of samples, and for ranks those whose texts share most words."""
        return {name: real for name, (_, real) in self._measured(self.truth).items()}

    def pilot(self, draw: Callable[[Sequence[str], int], Pictures], steps: int, rows: int) -> float:
        """KID of edges of a few, by which a way to draw is chosen: lower is better."""
        few = range(0, len(self.texts), max(1, len(self.texts) // rows))
        x = edge_features(self._seen(draw([self.texts[i] for i in few], steps)))
        real = self.images.real[list(few)]
        return kid(x, real, rng=self.reference.rng("pilot"), paired=True, repeats=2).value

    def _seen(self, drawn: Pictures) -> np.ndarray:
        return encode_images(self.table, "image", drawn)

    def _measured(self, drawn: Pictures) -> dict[str, tuple[Estimate, Estimate | None]]:
        """Measure -> of what was drawn, and of real rows."""
        x, found = self._seen(drawn), {}
        for space in ("edges", "random_conv"):
            found[f"KID of {space}"] = self.images.spaces[space].kid(FEATURES[space](x))
        _, found["coverage"] = self.images.spaces["edges"].density_coverage(edge_features(x))
        for line in (line for finder in self.images.texts for line in finder.results(x)):
            if (name := line.name.partition(": ")[2]) in RANKS:
                found[name] = line.value, line.baseline
        return found


# ---- likewise


def fit(model: Model, table: Table, seconds: float, seed: int) -> tuple[int, float]:
    """Train; rows seen, and the seconds that it took."""
    plan, began = Plan(minutes=seconds / 60, seed=seed, save_seconds=1e9), time.perf_counter()
    steps = [step.step for step in train(model, table, plan)][-1]
    model.eval()
    return steps * plan.rows_per_step(model.family), time.perf_counter() - began


def drawing(model: Callable[[], Model], seed: int) -> Callable[[Sequence[str], int], Pictures]:
    """The defaults of a family, but for the steps, and in float32 as the others."""

    def draw(texts: Sequence[str], steps: int) -> Pictures:
        (name,) = model().targets
        return [
            row[name]
            for row in model().sample(
                [{"text": text} for text in texts], seed=seed, steps=steps, precision="float32"
            )
        ]

    return draw


def likewise_of(family: str = "flow", **options: Any) -> Maker:
    """P(image | text) with the defaults of this package, less `options` of the family."""

    def make(table: Table, args: argparse.Namespace) -> Painter:
        model = Model("image | text", table.columns, family, seed=args.seed, **options)
        return Painter(
            lambda seconds: fit(model, table, seconds, args.seed),
            {"": drawing(lambda: model, args.seed)},
            lambda: parameters(model),
        )

    return make


def parameters(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


# ---- the comparison


def run(
    name: str, make: Maker, table: Table, judge: Judge, args: argparse.Namespace, seconds: float
) -> tuple[list[dict[str, Any]], dict[str, Pictures], float]:
    """Train, choose a way to draw, draw in each number of steps: lines, pictures, wall time of training."""
    torch.manual_seed(args.seed)
    painter = make(table, args)
    began = time.perf_counter()
    seen, own = painter.train(seconds)
    trained = time.perf_counter() - began
    way, pilots = choose(painter, judge, args)
    painter.draws[way](judge.texts[:2], 2)  # the first draw is slower
    about = {
        "parameters": painter.size(),
        "trained, s": round(trained, 1),
        "images/s": round(seen / own, 1),
        "rows seen": seen,
    }
    lines, last = [], []
    for steps in args.steps:
        began = time.perf_counter()
        last = painter.draws[way](judge.texts, steps)
        took = time.perf_counter() - began
        lines.append(
            {
                "method": name + f" ({way})" * bool(way),
                "steps": steps,
                "100 drawn, s": round(100 * took / len(last), 3),
                **about,
                **judge(last),
            }
        )
    if painter.rebuild:
        rebuilt = painter.rebuild(judge.truth)
        lines.append({"method": f"{name}: real pictures by its codes", **judge(rebuilt)})
    lines[0] |= {"pilots": pilots, "notes": painter.notes}
    return lines, {lines[0]["method"] + f", {args.steps[-1]} steps": last}, trained


def choose(painter: Painter, judge: Judge, args: argparse.Namespace) -> tuple[str, dict[str, float]]:
    """The way to draw whose pilot is best, at the most steps."""
    if len(painter.draws) == 1:
        return next(iter(painter.draws)), {}
    pilots = {
        way: round(judge.pilot(draw, max(args.steps), args.pilot), 4) for way, draw in painter.draws.items()
    }
    return min(pilots, key=pilots.__getitem__), pilots


def equal(lines: Sequence[dict[str, Any]], own: str) -> list[dict[str, Any]]:
    """For each line of another method, the fastest one of `own` that is as good or better by KID of edges."""

    def distance(line: dict[str, Any]) -> float:
        return line["KID of edges"].value

    timed = [line for line in lines if "100 drawn, s" in line]
    ours, found = [line for line in timed if line["method"] == own], []
    for line in (line for line in timed if line["method"] != own):
        as_good = [o for o in ours if distance(o) <= distance(line)]
        best = min(as_good, key=lambda o: o["100 drawn, s"], default=None)
        found.append(
            {
                "method": line["method"],
                "steps": line["steps"],
                "KID of edges": line["KID of edges"],
                "100 drawn, s": line["100 drawn, s"],
                f"{own}, steps": best and best["steps"],
                f"{own}, KID of edges": best and best["KID of edges"],
                f"{own}, 100 drawn, s": best and best["100 drawn, s"],
            }
        )
    return found


def compare(methods: dict[str, Maker], args: argparse.Namespace) -> None:
    """All methods, one after the other; prints after each, and writes JSON and a picture."""
    tune_malloc()  # makes the peers faster as well
    table = Table.open(args.data)
    for name in ("image", "text"):
        table.train.encoded(name)  # once, and on nobody's clock
    judge = Judge(table, args.n, args.seed)
    lines: list[dict[str, Any]] = [{"method": "real rows; nearest words", **judge.real()}]
    blocks, seconds = {"real, of the same texts": judge.truth}, 60 * args.minutes
    chosen = [name for name in methods if args.methods is None or name in args.methods]
    for i, name in enumerate(chosen):
        found, drawn, trained = run(name, methods[name], table, judge, args, seconds)
        seconds = trained if i == 0 else seconds
        lines, blocks = lines + found, blocks | drawn
        at_equal = equal(lines, lines[1]["method"])
        print("\n\n".join(table_of(part) for part in (lines, at_equal) if part), end="\n\n", flush=True)
        about = {
            "setting": vars(args),
            "threads": torch.get_num_threads(),
            "texts": judge.texts,
            "lines": lines,
            "at equal KID": at_equal,
        }
        atomic_write(args.out, json.dumps(about, indent=1, default=plain).encode())
        save(sheet(blocks), args.out.with_suffix(".png"))
    print(f"{args.out}, {args.out.with_suffix('.png')}: {args.minutes:g} minutes each, seed {args.seed}")


def table_of(lines: Sequence[dict[str, Any]]) -> str:
    """As family_peers.show, whose columns are those of the last line: here those of all lines."""
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
    parser.add_argument("--minutes", type=float, default=minutes, help="of training, each, all parts of it")
    parser.add_argument("--n", type=int, default=300, help="held-out texts to draw for (default 300)")
    parser.add_argument("--steps", type=int, nargs="+", default=list(steps), help="of drawing")
    parser.add_argument("--methods", nargs="+", choices=methods, help="only these")
    parser.add_argument("--pilot", type=int, default=60, help="texts by which a way to draw is chosen")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(out), help=f"JSON, PNG beside it (default {out})")
    return parser


def plain(value: Any) -> Any:
    """What JSON does not know."""
    return dataclasses.asdict(value) if isinstance(value, Estimate) else str(value)

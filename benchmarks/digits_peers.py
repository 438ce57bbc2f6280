"""Digits, P(image | label): likewise beside torchcfm and denoising-diffusion-pytorch, at equal wall time.

    python benchmarks/digits_peers.py --minutes 2 --out runs/digits_peers.json

The methods are trained one after the other, in one process, on the rows of `Table.open("digits").train`, and
judged by the same functions of `likewise.evaluation`. Only training counts as time, not imports. Each peer
has the recipe its authors published; README.md says which, what had to differ, and how to install them.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import torch
from peers import DEVICE, METHODS, Pictures, shape_of
from torch import Tensor

from likewise import Table
from likewise.evaluation import agreement, features
from likewise.evaluation.estimate import Estimate, share
from likewise.evaluation.fidelity import kid, kid_floor
from likewise.machine import keep_memory
from likewise.pictures import put, save
from likewise.preview import grid

SPACES = {"KID of edges": features.edges, "KID of random_conv": features.random_conv}
PACKAGES = ("torch", "likewise", "torchcfm", "torchdiffeq", "denoising-diffusion-pytorch", "ema-pytorch")


class Judge:
    """What judges all: a classifier trained on real training rows, and the distance to rows held out."""

    def __init__(self, table: Table, samples: int, seed: int) -> None:
        self.column, self.seed = table.columns["image"], seed
        channels, height, width = shape_of(table)
        parts = (table.train, table.test)
        train, self.test = (p.encoded("image").view(-1, height, width, channels).numpy() for p in parts)
        known, self.true = (p.encoded("label").flatten().numpy() for p in parts)
        self.classes = len(table.columns["label"].classes)
        self.classify = agreement.Classifier(train, known, self.classes, seed=seed)
        self.real = {"accuracy": share(self.classify(self.test) == self.true)}
        for name, space in SPACES.items():
            rng = np.random.default_rng(seed)
            self.real[name] = kid_floor(space(train), space(self.test), samples, rng=rng)

    def __call__(self, pictures: Pictures, classes: Tensor) -> dict[str, Estimate]:
        images = np.stack([self.column.encode(p).numpy().reshape(self.test.shape[1:]) for p in pictures])
        found = {"accuracy": share(self.classify(images) == classes.numpy())}
        for name, space in SPACES.items():
            found[name] = kid(space(images), space(self.test), rng=np.random.default_rng(self.seed))
        return found


def run(name: str, half: bool, table: Table, judge: Judge,
        args: argparse.Namespace) -> tuple[dict[str, Any], Pictures]:
    """Train, choose a way to draw, draw, judge: a line of the table, and the pictures."""
    torch.manual_seed(args.seed)
    cast = (lambda: torch.autocast(DEVICE.type, torch.bfloat16)) if half else nullcontext
    method = METHODS[name](table, args, cast)
    began, busy = time.perf_counter(), time.process_time()
    seen = method.train(60 * args.minutes)
    trained, busy = time.perf_counter() - began, time.process_time() - busy
    classes, pilots = torch.arange(args.samples) % judge.classes, {}
    if len(method.draws) > 1:
        few = classes[:max(judge.classes, args.samples // 10)]
        pilots = {way: judge(draw(few), few)["accuracy"].value for way, draw in method.draws.items()}
    way = max(pilots, key=pilots.get) if pilots else next(iter(method.draws))
    began = time.perf_counter()
    pictures = method.draws[way](classes)
    drawn = time.perf_counter() - began
    line = {"method": name + " bf16" * half + f" ({way})" * bool(way), "parameters": method.parameters,
            "images seen": seen, "trained, s": round(trained, 1), "of CPU, s": round(busy, 1),
            f"{args.samples} drawn, s": round(drawn, 1), **judge(pictures, classes), "pilots": pilots}
    return line, pictures


def sheet(blocks: dict[str, Pictures]) -> PIL.Image.Image:
    """Three lines of ten digits for each method, under its name."""
    grids = {name: grid(pictures[:30], columns=10, scale=2) for name, pictures in blocks.items()}
    width, height = next(iter(grids.values())).size
    page = PIL.Image.new("RGB", (width, len(grids) * (height + 16)), "white")
    for i, (name, part) in enumerate(grids.items()):
        PIL.ImageDraw.Draw(page).text((6, i * (height + 16) + 3), name, fill="black")
        page.paste(part, (0, i * (height + 16) + 16))
    return page


def show(lines: Sequence[dict[str, Any]]) -> str:
    """The lines as an aligned table."""
    names = [name for name in lines[-1] if name != "pilots"]
    values = ([line.get(name, "") for name in names] for line in lines)
    cells = [names, *([f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in values)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def options() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--minutes", type=float, default=2.0, help="of training, each")
    parser.add_argument("--samples", type=int, default=1000, help="drawn and judged, each")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--peer-bf16", action="store_true", help="train each peer in bf16 as well")
    parser.add_argument("--ddp-dim", type=int, default=32, help="width of denoising-diffusion")
    parser.add_argument("--ddp-lr", type=float, default=3e-4, help="its learning rate")
    parser.add_argument("--ddp-steps", type=int, default=50, help="its steps of DDIM")
    parser.add_argument("--ddp-scales", type=float, nargs="+", default=[6, 3], help="guidance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/digits_peers.json"), help="a PNG is beside it")
    args = parser.parse_args()
    if min(args.ddp_scales) <= 1:
        parser.error("--ddp-scales are above 1: the package's own sampler fails at 1")
    return args


def main() -> None:
    args = options()
    keep_memory()                                   # makes the peers faster as well
    table = Table.open("digits")
    judge = Judge(table, args.samples, args.seed)
    shown = [[i for i, k in enumerate(judge.true) if k == digit][:3] for digit in range(judge.classes)]
    held, lines = table.test.column("image"), [{"method": "real rows", **judge.real}]
    blocks = {"real, held out": [held[rows[i]] for i in range(3) for rows in shown]}
    versions = {d.name: d.version for d in importlib.metadata.distributions() if d.name in PACKAGES}
    about = {"setting": {**vars(args), "out": str(args.out)}, "device": DEVICE.type, "versions": versions,
             "threads": torch.get_num_threads()}
    todo = [(name, False) for name in args.methods]
    todo += [(name, True) for name in args.methods if args.peer_bf16 and name != "likewise"]
    for name, half in todo:
        line, pictures = run(name, half, table, judge, args)
        lines.append(line)
        blocks[line["method"]] = pictures
        # written each time, so that a stop loses little
        found = [{k: dataclasses.asdict(v) if isinstance(v, Estimate) else v for k, v in line.items()}
                 for line in lines]
        put(args.out, json.dumps({**about, "lines": found}, indent=1).encode())
        save(sheet(blocks), args.out.with_suffix(".png"))
        print(show(lines), end="\n\n", flush=True)
    print(f"{args.out} and its .png: {args.minutes:g} minutes each, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()

"""Digits, P(image | label): likewise beside torchcfm and denoising-diffusion-pytorch, at equal wall time in one run.

    python benchmarks/digits_peers.py --minutes 2 --out runs/digits_peers.json

The methods are trained one after the other on the rows of `Table.open("digits").train`, on the same threads, and judged by the same
functions of `likewise.evaluation`. Only training counts as time, not imports. Each peer has the recipe that its authors published;
benchmarks/README.md says where from, what had to differ, and how to install the peers without a second PyTorch.
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
from likewise.pictures import put, save
from likewise.preview import grid
from likewise.training import keep_memory

SPACES = (features.edges, features.random_conv)
PACKAGES = ("torch", "likewise", "torchcfm", "torchdiffeq", "denoising-diffusion-pytorch", "ema-pytorch")


class Judge:
    """What all are judged by: a classifier that has learned from real training rows, and the distance to rows held out."""

    def __init__(self, table: Table, samples: int, seed: int) -> None:
        self.table, self.seed = table, seed
        channels, height, width = shape_of(table)
        (self.train, known), (self.test, self.true) = (
            (part.encoded("image").view(-1, height, width, channels).numpy(), part.encoded("label").flatten().numpy())
            for part in (table.train, table.test))
        self.classify = agreement.Classifier(self.train, known, len(table.columns["label"].classes), seed=seed)
        floors = {f"KID of {space.__name__}": kid_floor(space(self.train), space(self.test), samples, rng=np.random.default_rng(seed))
                  for space in SPACES}
        self.real = {"accuracy": share(self.classify(self.test) == self.true), **floors}

    def __call__(self, pictures: Pictures, classes: Tensor) -> dict[str, Estimate]:
        shape = self.test.shape[1:]
        images = np.stack([self.table.columns["image"].encode(p).numpy().reshape(shape) for p in pictures])
        return {"accuracy": share(self.classify(images) == classes.numpy())} | {
            f"KID of {space.__name__}": kid(space(images), space(self.test), rng=np.random.default_rng(self.seed)) for space in SPACES}


def run(name: str, half: bool, table: Table, judge: Judge, args: argparse.Namespace) -> tuple[dict[str, Any], Pictures]:
    """Train, choose a way to draw, draw, judge: a line of the table, and the pictures."""
    torch.manual_seed(args.seed)
    cast = (lambda: torch.autocast(DEVICE.type, torch.bfloat16)) if half else nullcontext
    method, classes = METHODS[name](table, args, cast), torch.arange(args.samples) % len(table.columns["label"].classes)
    began = time.perf_counter()
    seen = method.train(60 * args.minutes)
    trained = time.perf_counter() - began
    few, pilots = classes[:max(10, args.samples // 10)], {}
    if len(method.draws) > 1:
        pilots = {way: judge(draw(few), few)["accuracy"].value for way, draw in method.draws.items()}
    way = max(pilots, key=pilots.get) if pilots else next(iter(method.draws))
    began = time.perf_counter()
    pictures = method.draws[way](classes)
    return {"method": f"{name}{' bf16' if half else ''}{f' ({way})' if way else ''}", "parameters": method.parameters,
            "images seen": seen, "trained, s": round(trained, 1), f"{args.samples} drawn, s": round(time.perf_counter() - began, 1),
            **judge(pictures, classes), "pilots": pilots}, pictures


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
    cells = [names] + [[f"{v:,}" if isinstance(v := line.get(n, ""), int) else str(v) for n in names] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="of training, each")
    parser.add_argument("--samples", type=int, default=1000, help="drawn and judged, each")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--peer-bf16", action="store_true", help="train each peer a second time, under bf16 autocast")
    parser.add_argument("--ddp-dim", type=int, default=32, help="width of denoising-diffusion's U-Net; its README: 64, at 128 pixels")
    parser.add_argument("--ddp-lr", type=float, default=3e-4, help="its learning rate; its README: 8e-5, for 700,000 steps")
    parser.add_argument("--ddp-steps", type=int, default=50, help="its steps of DDIM")
    parser.add_argument("--ddp-scales", type=float, nargs="+", default=[6.0, 3.0], help="its guidance, above 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/digits_peers.json"), help="JSON; a PNG goes beside it")
    args = parser.parse_args()
    keep_memory()                                   # for the peers as well: it makes them faster too
    table = Table.open("digits")
    judge = Judge(table, args.samples, args.seed)
    shown = [[i for i, k in enumerate(judge.true) if k == digit][:3] for digit in range(10)]
    held = table.test.column("image")
    lines, blocks = [{"method": "real rows", **judge.real}], {"real, held out": [held[d[line]] for line in range(3) for d in shown]}
    about = {"setting": {**vars(args), "out": str(args.out)}, "threads": torch.get_num_threads(), "device": DEVICE.type,
             "versions": {name: importlib.metadata.version(name) for name in PACKAGES}}
    for name, half in [(n, h) for n in args.methods for h in ([False, True] if args.peer_bf16 and n != "likewise" else [False])]:
        line, pictures = run(name, half, table, judge, args)
        lines.append(line)
        blocks[line["method"]] = pictures
        found = [{k: dataclasses.asdict(v) if isinstance(v, Estimate) else v for k, v in line.items()} for line in lines]
        put(args.out, json.dumps({**about, "lines": found}, indent=1).encode())     # after each, so that a stop loses little
        save(sheet(blocks), args.out.with_suffix(".png"))
        print(f"{show(lines)}\n", flush=True)
    print(f"{args.out}, {args.out.with_suffix('.png')}; {torch.get_num_threads()} threads, {args.minutes:g} minutes of training each")


if __name__ == "__main__":
    main()

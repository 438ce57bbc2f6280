"""Say how likely rows are, by a trained model: what is odd has little probability."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from likewise.cli.commands._generation import RUN
from likewise.cli.commands.data import SOURCE, aligned, open_table, table_flags
from likewise.cli.flags import Parser
from likewise.core.files import atomic_write
from likewise.core.formula import View
from likewise.modalities.base import Row
from likewise.modalities.text import Text
from likewise.models.io import load
from likewise.models.model import Model

SHOWN = 5  # rows that are printed


def run(argv: Sequence[str]) -> int:
    """`likewise score RUN SOURCE`."""
    parser = Parser("score", __doc__, usage="likewise score RUN SOURCE [--out FILE.jsonl] [options]")
    parser.add_argument("run", metavar="RUN", type=Path, help=RUN)
    parser.add_argument("source", metavar="SOURCE", help=SOURCE)
    parser.add_argument("--out", type=Path, metavar="FILE", help="a .jsonl, with a line for each row")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the noise, in families whose density needs some (default 0)",
    )
    table_flags(parser)
    args = parser.read(argv)
    if args.out and args.out.suffix != ".jsonl":
        raise ValueError(f"--out {args.out}: write a name that ends in .jsonl")
    model = load(args.run)
    if not isinstance(model, Model):
        raise ValueError(f"{args.run} is a chain, which has no density; score one of its links")
    model.scoring_options()
    table = open_table(args, parser, model.formula, model.columns)
    if lacks := [n for name in model.targets if (n := View.parse(name).column) not in table.kinds]:
        raise ValueError(
            f"{args.source} has no column {lacks[0]!r}, which the model tells the density of; "
            f"it has {', '.join(table.kinds)}"
        )
    table = table.with_views({n: c for n, c in model.columns.items() if View.parse(n).column in table.kinds})
    running = [n for n in model.targets if model.columns[n].spec.windowed]
    rows = table.documents(running[0]) if running else [table[i] for i in range(len(table))]
    lines, kind = scores(model, rows, args.seed)
    if not running:
        lines = [{**line, "row": i} for line, i in zip(lines, table.numbers(), strict=True)]
    for name in (View.parse(name).column for name in model.sources):
        if name not in table.kinds:
            print(f"{args.source} has no column {name!r}: every row is scored without it", file=sys.stderr)
    if args.out:
        atomic_write(args.out, "".join(json.dumps(line) + "\n" for line in lines).encode())
    unit = next(n for n in ("bits/byte", "bits/dim") if n in lines[0])
    mean = np.mean([line[unit] for line in lines])
    print(f"P({model.formula}), {args.source}: {len(rows):,} rows, {mean:.4g} {unit} on average ({kind})\n")
    odd = sorted(zip(lines, rows, strict=True), key=lambda pair: -pair[0][unit])[:SHOWN]
    told, columns = [n for n in lines[0] if n != "row"], model.formula.columns
    cells = [
        [
            str(line["row"]),
            *(f"{line[n]:.4g}" for n in told),
            *(model.columns[n].summarize(row[n]) if n in row else "" for n in columns),
        ]
        for line, row in odd
    ]
    print("least likely:")
    print(aligned([["row", *told, *columns], *cells]))
    if args.out:
        print(f"\nall rows: {args.out}")
    return 0


def scores(model: Model, rows: Sequence[Row], seed: int = 0) -> tuple[list[Row], str]:
    """A line for each row: log p in nats, and bits a byte and perplexity of one text, else bits a number.

    Also what kind of number it is (Score).
    """
    score = model.log_prob(rows, seed=seed)
    nats = score.nats.double().cpu().numpy()
    column = model.columns[model.targets[0]]
    if len(model.targets) > 1 or not isinstance(column, Text):
        bits = score.bits_per_dim.double().cpu().numpy()
        return [
            {"row": i, "log p": float(p), "bits/dim": float(b)}
            for i, (p, b) in enumerate(zip(nats, bits, strict=True))
        ], score.kind
    texts = [row[model.targets[0]] for row in rows]
    return [
        {
            "row": i,
            "log p": float(p),
            "bits/byte": float(-p / np.log(2) / len(text.encode())),
            "perplexity": float(np.exp(-p / column.num_scored_tokens(text))),
        }
        for i, (p, text) in enumerate(zip(nats, texts, strict=True))
    ], score.kind

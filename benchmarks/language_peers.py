"""P(text) beside nanoGPT and a Trainer of transformers, at equal wall time, in bits a byte of the same text.

    python benchmarks/language_peers.py --text shakespeare --minutes 10
    python benchmarks/language_peers.py --text my.txt --minutes 10 --only likewise "nanogpt same pairs"
    python benchmarks/language_peers.py --text my.txt --minutes 0.1 --scored 3000     # does it run?

    likewise             P(text) with its defaults
    nanogpt published    nanoGPT's model and recipe, sizes of its README for a CPU; over bytes or over pairs
    nanogpt same         ... with the width, depth, window and batch of likewise
    transformers         GPT2LMHeadModel of the same sizes in a Trainer; over bytes or over pairs

Each has a JSON in the folder --out; one that is there already is not run again. README.md says what the
peers' choices are.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gpt
import numpy as np
import torch
from family_peers import show
from peers import DEVICE, count

from likewise import Model, Plan, Table, train
from likewise.core.files import atomic_write
from likewise.evaluation.metrics.bits_per_byte import held_out_rows
from likewise.evaluation.metrics.estimate import bootstrap
from likewise.modalities.document import Document
from likewise.modalities.tokenizer import BYTE_IDS, MAX_MERGES
from likewise.models.scoring import windows
from likewise.training.process import tune_malloc

BATCH = 64  # windows that are scored at once
PAIRS = 32  # characters of text, at least, for each byte pair of a peer


@dataclass(frozen=True)
class Task:
    """The text that all contestants learn, and the parts of what is held out that they are scored on."""

    table: Table
    name: str
    scored: int
    seconds: float
    seed: int
    rate: float

    @cached_property
    def documents(self) -> list[str]:
        return [row[self.name] for row in self.table.train.documents(self.name)]

    @cached_property
    def parts(self) -> list[dict[str, Any]]:
        """Rows held out, `scored` characters in all at most: the same number from the beginning of each."""
        rows = held_out_rows(self.table, self.name)
        share = min(1.0, self.scored / sum(len(row[self.name]) for row in rows))
        cut = [{**row, self.name: row[self.name][: math.ceil(share * len(row[self.name]))]} for row in rows]
        return [row for row in cut if row[self.name]]

    @cached_property
    def sizes(self) -> np.ndarray:
        """Bytes of each part."""
        return np.array([len(row[self.name].encode()) for row in self.parts], dtype=float)

    def column(self, tokens: str) -> Document:
        """bytes, or pairs: as many as likewise would learn of so long a text, however short it is."""
        length = sum(map(len, self.documents))
        more = min(length // PAIRS, MAX_MERGES) if tokens == "pairs" else 0
        return Document.fit(self.documents, vocabulary=BYTE_IDS + more)

    @cached_property
    def own_model(self) -> Model:
        """The defaults, as they are before the first step."""
        return Model(self.name, self.table.columns, seed=self.seed)


@dataclass(frozen=True)
class Result:
    """What a contestant did: tokens seen, wall time of training, log p of each part (n,), in nats."""

    parameters: int
    tokens: int
    seconds: float
    nats: np.ndarray
    notes: str = ""


Contestant = Callable[[Task], Result]


def likewise(task: Task) -> Result:
    """The defaults of this package."""
    model, plan = task.own_model, Plan(minutes=task.seconds / 60, seed=task.seed, save_seconds=1e9)
    *_, last = train(model, task.table, plan)
    column, rows = task.table.columns[task.name], plan.rows_per_step(model.family)
    nats = model.eval().log_prob(task.parts).nats.double().cpu()
    return Result(
        count(model),
        last.step * rows * column.length,
        last.elapsed,
        nats.numpy(),
        f"{column.spec.classes} ids, window {column.length}, batch {rows}",
    )


def peer(fit: Callable[..., gpt.Fitted], tokens: str, published: bool = False) -> Contestant:
    """A peer over bytes or pairs; its sizes are the published ones, or those of likewise."""

    def run(task: Task) -> Result:
        column, own = task.column(tokens), task.own_model
        trunk = own.family.causal
        shape = (
            gpt.PUBLISHED
            if published
            else gpt.Shape(
                trunk.width,
                len(trunk.blocks),
                trunk.width // trunk.head,
                task.table.columns[task.name].length,
                Plan(minutes=1).rows_per_step(own.family),
            )
        )
        shape = dataclasses.replace(shape, classes=column.spec.classes)
        ids = [torch.tensor(found, dtype=torch.int64) for found in column.encode_unpadded(task.documents)]
        stream = torch.cat([part for found in ids for part in (torch.zeros(1, dtype=torch.int64), found)])
        fitted = fit(shape, stream, task.seconds, task.rate, task.seed)
        nats = [told(fitted.logits, column.ids(row[task.name]), shape.block) for row in task.parts]
        return Result(
            count(fitted.model),
            fitted.tokens,
            fitted.seconds,
            np.array(nats),
            f"{shape.classes} ids, window {shape.block}, {fitted.notes}",
        )

    return run


@torch.no_grad()
def told(logits: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor, block: int) -> float:
    """log p of a document's ids in nats, by windows that overlap by half, as likewise.scores has them.

    Before the document stands id 0, and before a window the id before it, so a peer sees one more than ours.
    """
    whole, total = torch.cat([torch.zeros(1, dtype=torch.int64), ids]), 0.0
    cuts = list(windows(torch.arange(1, len(whole)), block))
    for first in range(0, len(cuts), BATCH):
        places, fresh = map(torch.stack, zip(*cuts[first : first + BATCH], strict=True))
        said = logits(whole[(places - 1).clamp(min=0)].to(DEVICE)).float().log_softmax(-1)
        nats = said.gather(-1, whole[places].to(DEVICE)[..., None])[..., 0]
        total += float((nats.double() * fresh.to(DEVICE)).sum())
    return total


CONTESTANTS: dict[str, Contestant] = {
    "likewise": likewise,
    **{
        f"nanogpt {kind} {tokens}": peer(gpt.nanogpt, tokens, kind == "published")
        for kind in ("published", "same")
        for tokens in ("bytes", "pairs")
    },
    **{f"transformers {tokens}": peer(gpt.transformers, tokens) for tokens in ("bytes", "pairs")},
}


def bits(line: dict[str, Any]) -> np.ndarray:
    """Bits of each part and its bytes, (n, 2)."""
    return np.stack([-np.array(line["nats"]) / math.log(2), np.array(line["bytes"])], axis=1)


def ratio(both: np.ndarray) -> float:
    return float(both[:, 0].sum() / both[:, 1].sum())


def table_of(lines: Sequence[dict[str, Any]]) -> str:
    """The lines as a table, and of those who ran likewise beside the better peer."""
    told_of = [
        {
            "method": line["method"],
            "parameters": line["parameters"],
            "tokens seen": line["tokens"],
            "trained, s": round(line["seconds"], 1),
            "bits/byte": bootstrap(ratio, bits(line), rng=np.random.default_rng(0)),
            "notes": [line["notes"]],
        }
        for line in lines
    ]
    said = [show(told_of)]
    own = next((line for line in lines if line["method"] == "likewise"), None)
    rivals = sorted((line for line in lines if line is not own), key=lambda line: ratio(bits(line)))
    for kind in ("nanogpt", "transformers"):
        best = next((line for line in rivals if line["method"].startswith(kind)), None)
        if own and best:
            said.append(f"likewise against the better {kind} ({best['method']}): {against(own, best)}")
    return "\n".join(said)


def against(own: dict[str, Any], other: dict[str, Any]) -> str:
    """The ratio of bits a byte, part by part redrawn together, and that of tokens a second."""
    pairs = np.concatenate([bits(own), bits(other)], axis=1)
    found = bootstrap(lambda x: ratio(x[:, :2]) / ratio(x[:, 2:]), pairs, rng=np.random.default_rng(0))
    speed = own["tokens"] / own["seconds"] / (other["tokens"] / other["seconds"])
    return f"bits/byte, ratio {found}; tokens a second, ratio {speed:.3g}"


def setting(args: argparse.Namespace, table: Table) -> dict[str, Any]:
    """What must be equal for results to stand in one table."""
    return {
        "text": table.fingerprint,
        "minutes": args.minutes,
        "scored": args.scored,
        "seed": args.seed,
        "threads": torch.get_num_threads(),
        "device": DEVICE.type,
    }


def options() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--text", required=True, help="a text file, a folder of them, or a demo")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, each")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=CONTESTANTS,
        default=list(CONTESTANTS),
        metavar="NAME",
        help=f"of: {', '.join(CONTESTANTS)}",
    )
    parser.add_argument("--scored", type=int, default=500_000, help="characters held out, at most")
    parser.add_argument("--rate", type=float, default=1e-3, help="of the peers' AdamW")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/peers_language"), help="folder of the results")
    return parser.parse_args()


def main() -> None:
    args = options()
    tune_malloc()  # makes the peers faster as well
    table = Table.open(args.text)
    names = [name for name, kind in table.kinds.items() if kind == "document"]
    if len(names) != 1 or not len(table.test):
        raise SystemExit(
            f"{args.text} has the columns {table.kinds} and {len(table.test)} rows held out; "
            "this takes running text: a file, or a folder, of which a part can be held out"
        )
    task = Task(table, names[0], args.scored, 60 * args.minutes, args.seed, args.rate)
    same, lines = setting(args, table), []
    for name in args.only:
        mine = same | ({} if name == "likewise" else {"rate": args.rate})
        path = args.out / f"{name.replace(' ', '_')}.json"
        if path.exists():
            line = json.loads(path.read_text())
            if line["setting"] != mine:
                raise SystemExit(
                    f"{path} is of another setting, {line['setting']}, and now it is {mine}; "
                    "give another --out"
                )
        else:
            torch.manual_seed(args.seed)
            found = CONTESTANTS[name](task)
            line = {
                "method": name,
                "setting": mine,
                **dataclasses.asdict(found),
                "nats": found.nats.tolist(),
                "bytes": task.sizes.tolist(),
                "versions": {n: importlib.metadata.version(n) for n in gpt.packages(name)},
            }
            atomic_write(path, json.dumps(line, indent=1).encode())
        lines.append(line)
        print(table_of(lines), end="\n\n", flush=True)
    print(
        f"{args.out}: {args.minutes:g} minutes each, {same['threads']} threads, "
        f"{int(task.sizes.sum()):,} bytes held out"
    )


if __name__ == "__main__":
    main()

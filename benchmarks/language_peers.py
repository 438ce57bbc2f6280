"""P(text) compared with nanoGPT and a Trainer of transformers, at equal wall time, in bits per byte.

    python benchmarks/language_peers.py --text shakespeare --minutes 10
    python benchmarks/language_peers.py --text my.txt --minutes 10 --only likewise "nanogpt same pairs"
    python benchmarks/language_peers.py --text my.txt --minutes 0.1 --scored 3000     # does it run?

    likewise             P(text) with its defaults
    nanogpt published    nanoGPT's model and recipe, sizes of its README for a CPU; over bytes or byte pairs
    nanogpt same         ... with the width, depth, window and batch of likewise
    transformers         GPT2LMHeadModel of the same sizes in a Trainer; over bytes or byte pairs

Each has a JSON file in the folder --out; one that exists is not run again. README.md describes the settings of
the peers.
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
import torch.nn.functional as F
from family_peers import show
from peers import DEVICE, count

from likewise import Model, Plan, Table, train
from likewise.core.files import atomic_write
from likewise.evaluation.metrics.bits_per_byte import held_out_rows
from likewise.evaluation.metrics.estimate import bootstrap
from likewise.families.autoregressive import Autoregressive
from likewise.modalities.document import Document
from likewise.modalities.tokenizer import BYTE_IDS, MAX_MERGES
from likewise.models.scoring import windows
from likewise.training.process import tune_malloc

BATCH = 64  # windows of a forward pass in scoring
CHARACTERS_PER_MERGE = 32  # of the text, at least, for each byte pair of a peer


@dataclass(frozen=True)
class Task:
    """The training text of all methods, and the parts of the held-out text that are scored."""

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
        """Held-out rows, at most `scored` characters in all: the same share from the beginning of each."""
        rows = held_out_rows(self.table, self.name)
        share = min(1.0, self.scored / sum(len(row[self.name]) for row in rows))
        parts = [{**row, self.name: row[self.name][: math.ceil(share * len(row[self.name]))]} for row in rows]
        return [row for row in parts if row[self.name]]

    @cached_property
    def sizes(self) -> np.ndarray:
        """Bytes of each part."""
        return np.array([len(row[self.name].encode()) for row in self.parts], dtype=float)

    def column(self, tokens: str) -> Document:
        """A column over bytes, or over byte pairs in proportion to the length of the text."""
        length = sum(map(len, self.documents))
        merges = min(length // CHARACTERS_PER_MERGE, MAX_MERGES) if tokens == "pairs" else 0
        return Document.fit(self.documents, vocabulary=BYTE_IDS + merges)

    @cached_property
    def own_model(self) -> Model:
        """The model of likewise with its defaults, untrained."""
        return Model(self.name, self.table.columns, seed=self.seed)


@dataclass(frozen=True)
class Result:
    """The result of a method: tokens of training, its wall time, log p of each part (n,) in nats."""

    parameters: int
    tokens: int
    seconds: float
    nats: np.ndarray
    notes: str = ""


Method = Callable[[Task], Result]


def likewise(task: Task) -> Result:
    """This package with its defaults."""
    model, plan = task.own_model, Plan(minutes=task.seconds / 60, seed=task.seed, save_seconds=1e9)
    *_, last = train(model, task.table, plan)
    column, rows = task.table.columns[task.name], plan.rows_per_step(model.family)
    nats = model.eval().log_prob(task.parts).nats.double().cpu()
    return Result(
        count(model),
        last.step * rows * column.spec.tokens,
        last.elapsed,
        nats.numpy(),
        f"{column.spec.classes} ids, window {column.spec.tokens}, batch {rows}",
    )


def peer(fit: Callable[..., gpt.Fitted], tokens: str, published: bool = False) -> Method:
    """A peer over bytes or pairs; its sizes are the published ones, or those of likewise."""

    def run(task: Task) -> Result:
        column, own = task.column(tokens), task.own_model
        assert isinstance(own.family, Autoregressive)
        backbone, window = own.family.causal, task.table.columns[task.name].spec.tokens
        assert isinstance(backbone.blocks, torch.nn.ModuleList)
        same = gpt.Shape(
            backbone.width,
            len(backbone.blocks),
            backbone.width // backbone.head_dim,
            window,
            Plan(minutes=1).rows_per_step(own.family),
        )
        shape = gpt.PUBLISHED if published else same
        shape = dataclasses.replace(shape, classes=column.spec.classes)
        ids = [
            torch.tensor(document, dtype=torch.int64) for document in column.encode_unpadded(task.documents)
        ]
        stream = torch.cat([F.pad(document, (1, 0)) for document in ids])
        fitted = fit(shape, stream, task.seconds, task.rate, task.seed)
        nats = [
            document_log_prob(fitted.logits, column.ids(row[task.name]), shape.block) for row in task.parts
        ]
        return Result(
            count(fitted.model),
            fitted.tokens,
            fitted.seconds,
            np.array(nats),
            f"{shape.classes} ids, window {shape.block}, {fitted.notes}",
        )

    return run


@torch.no_grad()
def document_log_prob(logits: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor, block: int) -> float:
    """log p of the ids of a document in nats, by windows that overlap by half, as in Model.log_prob.

    Id 0 precedes the document, and the previous id each window, so a peer sees one id more than likewise.
    """
    padded, total = F.pad(ids, (1, 0)), 0.0
    parts = list(windows(torch.arange(1, len(padded)), block))
    for first in range(0, len(parts), BATCH):
        positions, is_scored = map(torch.stack, zip(*parts[first : first + BATCH], strict=True))
        log_probs = logits(padded[(positions - 1).clamp(min=0)].to(DEVICE)).float().log_softmax(-1)
        nats = log_probs.gather(-1, padded[positions].to(DEVICE)[..., None])[..., 0]
        total += float((nats.double() * is_scored.to(DEVICE)).sum())
    return total


METHODS: dict[str, Method] = {
    "likewise": likewise,
    **{
        f"nanogpt {kind} {tokens}": peer(gpt.nanogpt, tokens, kind == "published")
        for kind in ("published", "same")
        for tokens in ("bytes", "pairs")
    },
    **{f"transformers {tokens}": peer(gpt.transformers, tokens) for tokens in ("bytes", "pairs")},
}


def bits(line: dict[str, Any]) -> np.ndarray:
    """Bits and bytes of each part, (n, 2)."""
    return np.stack([-np.array(line["nats"]) / math.log(2), np.array(line["bytes"])], axis=1)


def bits_per_byte(bits_and_bytes: np.ndarray) -> float:
    return float(bits_and_bytes[:, 0].sum() / bits_and_bytes[:, 1].sum())


def table_of(lines: Sequence[dict[str, Any]]) -> str:
    """The lines as a table, and likewise compared with the better variant of each peer."""
    table = [
        {
            "method": line["method"],
            "parameters": line["parameters"],
            "training tokens": line["tokens"],
            "trained, s": round(line["seconds"], 1),
            "bits/byte": bootstrap(bits_per_byte, bits(line), rng=np.random.default_rng(0)),
            "notes": [line["notes"]],
        }
        for line in lines
    ]
    texts = [show(table)]
    own = next((line for line in lines if line["method"] == "likewise"), None)
    peers = sorted((line for line in lines if line is not own), key=lambda line: bits_per_byte(bits(line)))
    for kind in ("nanogpt", "transformers"):
        best = next((line for line in peers if line["method"].startswith(kind)), None)
        if own and best:
            texts.append(f"likewise against the better {kind} ({best['method']}): {against(own, best)}")
    return "\n".join(texts)


def against(own: dict[str, Any], other: dict[str, Any]) -> str:
    """The ratio of bits per byte, with a paired bootstrap over parts, and that of tokens per second."""
    pairs = np.concatenate([bits(own), bits(other)], axis=1)
    ratio = bootstrap(
        lambda x: bits_per_byte(x[:, :2]) / bits_per_byte(x[:, 2:]), pairs, rng=np.random.default_rng(0)
    )
    speed = own["tokens"] / own["seconds"] / (other["tokens"] / other["seconds"])
    return f"bits/byte, ratio {ratio}; tokens per second, ratio {speed:.3g}"


def setting(args: argparse.Namespace, table: Table) -> dict[str, Any]:
    """Settings that results in one table share."""
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
    parser.add_argument(
        "--text", required=True, help="a text file, a folder of them, or a data set of likewise"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="training time of each method")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=METHODS,
        default=list(METHODS),
        metavar="NAME",
        help=f"of: {', '.join(METHODS)}",
    )
    parser.add_argument(
        "--scored", type=int, default=500_000, help="held-out characters that are scored, at most"
    )
    parser.add_argument("--rate", type=float, default=1e-3, help="of the peers' AdamW")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/peers_language"), help="folder of the results")
    return parser.parse_args()


def main() -> None:
    args = options()
    tune_malloc()  # speeds up the peers too
    table = Table.open(args.text)
    names = [name for name, kind in table.kinds.items() if kind == "document"]
    if len(names) != 1 or not len(table.test):
        raise SystemExit(
            f"{args.text} has the columns {table.kinds} and {len(table.test)} held-out rows; "
            "this needs running text: a file or a folder that is long enough to hold a part out"
        )
    task = Task(table, names[0], args.scored, 60 * args.minutes, args.seed, args.rate)
    shared, lines = setting(args, table), []
    for name in args.only:
        own_setting = shared | ({} if name == "likewise" else {"rate": args.rate})
        path = args.out / f"{name.replace(' ', '_')}.json"
        if path.exists():
            line = json.loads(path.read_text())
            if line["setting"] != own_setting:
                raise SystemExit(
                    f"{path} has another setting, {line['setting']}, than this run, {own_setting}; "
                    "give another --out"
                )
        else:
            torch.manual_seed(args.seed)
            result = METHODS[name](task)
            line = {
                "method": name,
                "setting": own_setting,
                **dataclasses.asdict(result),
                "nats": result.nats.tolist(),
                "bytes": task.sizes.tolist(),
                "versions": {n: importlib.metadata.version(n) for n in gpt.packages(name)},
            }
            atomic_write(path, json.dumps(line, indent=1).encode())
        lines.append(line)
        print(table_of(lines), end="\n\n", flush=True)
    print(
        f"{args.out}: {args.minutes:g} minutes each, {shared['threads']} threads, "
        f"{int(task.sizes.sum()):,} held-out bytes"
    )


if __name__ == "__main__":
    main()

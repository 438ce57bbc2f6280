"""Tokens a second of Model.sample beside `generate` of transformers, with the same weights.

    likewise train my.txt text --compat llama --minutes 10 --out runs/mine
    python benchmarks/generation_peers.py runs/mine
    python benchmarks/generation_peers.py runs/mine --tokens 16 --repeats 2 --batches 1 4    # does it run?

The run is exported to a temporary folder and read from there. Both go on from the same prompt with a cache,
in float32 and in bf16, in one process on the same threads, in turn; a line has the medians of the repeats. A
ratio is that of the faster of both types, and of float32 alone: its median, and the least and the greatest.
Tokens are those of rows that go on: a text of likewise may end before the others, `generate` has no end here.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from family_peers import show
from peers import DEVICE

from likewise import Model
from likewise.core.files import atomic_write
from likewise.training.process import tune_malloc

WAYS = {"greedy": {"temperature": 0.0}, "sampling": {}, "top_p 0.9": {"top_p": 0.9}}
Draw = Callable[[int, int, str, int], int]  # (batch, tokens, way, seed) -> tokens drawn


def ours(model: Model, prompt: str, precision: str) -> Draw:
    """Model.sample; how many ids it drew is seen where the family gives them."""
    [column], family = model.target_columns.values(), type(model.family)
    begun, inner, ids = len(column.ids(prompt)), family.sample, []

    @functools.wraps(inner)
    def counted(*args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        found = inner(*args, **kwargs)
        ids.append(int((next(iter(found.values()))[:, begun:] != 0).sum()))
        return found

    family.sample = counted

    def draw(batch: int, tokens: int, way: str, seed: int) -> int:
        ids.clear()
        rows, prompts = [{}] * batch, [prompt] * batch
        model.sample(
            rows, prompts=prompts, tokens=tokens, seed=seed, batch=batch, precision=precision, **WAYS[way]
        )
        return sum(ids)

    return draw


def theirs(folder: str, prompt: str, precision: str) -> Draw:
    """`generate` of what was exported, as AutoModelForCausalLM and AutoTokenizer read it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision)).to(DEVICE).eval()
    read = AutoTokenizer.from_pretrained(folder)
    model.generation_config.eos_token_id = None
    model.generation_config.max_length = None
    begun = read(prompt, return_tensors="pt").to(DEVICE)
    given = {"input_ids": begun["input_ids"], "attention_mask": torch.ones_like(begun["input_ids"])}
    ways = {
        "greedy": {"do_sample": False},
        "sampling": {"do_sample": True, "top_k": 0},
        "top_p 0.9": {"do_sample": True, "top_k": 0, "top_p": 0.9},
    }

    def draw(batch: int, tokens: int, way: str, seed: int) -> int:
        torch.manual_seed(seed)
        rows = {name: value.expand(batch, -1) for name, value in given.items()}
        out = model.generate(**rows, max_new_tokens=tokens, pad_token_id=0, **ways[way])
        return batch * (out.shape[1] - rows["input_ids"].shape[1])

    return draw


def measure(draws: dict[str, Draw], batch: int, tokens: int, way: str, repeats: int) -> dict[str, Any]:
    """Tokens a second of each, in turn: medians, and of the ratios of the repeats the range as well."""
    rates: dict[str, list[float]] = {name: [] for name in draws}
    for seed in range(repeats):
        for name, draw in draws.items():
            began = time.perf_counter()
            drawn = draw(batch, tokens, way, seed)
            rates[name].append(drawn / (time.perf_counter() - began))
    own, half, other, other_half = rates.values()
    return {
        "way": way,
        "batch": batch,
        **{f"{name}, tokens/s": round(statistics.median(found)) for name, found in rates.items()},
        "ratio": ratio([*map(max, own, half)], [*map(max, other, other_half)]),
        "in float32": ratio(own, other),
    }


def ratio(own: Sequence[float], others: Sequence[float]) -> str:
    """The median of a / b, and the range."""
    found = [a / b for a, b in zip(own, others, strict=True)]
    return f"{statistics.median(found):.2f} [{min(found):.2f}, {max(found):.2f}]"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("run", type=Path, help="folder of a model that can be exported")
    parser.add_argument("--tokens", type=int, default=256, help="of a row, as far as a window holds them")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--prompt", default=" the ")
    parser.add_argument("--out", type=Path, default=Path("runs/peers_generation.json"))
    args = parser.parse_args()
    from likewise.interop.transformers_export import to_transformers

    tune_malloc()
    model = Model.load(args.run).to(DEVICE).eval()
    [column] = model.target_columns.values()
    tokens = min(args.tokens, column.length - len(column.ids(args.prompt)) - 1)
    with tempfile.TemporaryDirectory() as folder:
        to_transformers(model, Path(folder) / "exported")
        there = str(Path(folder) / "exported")
        draws = {
            "likewise": ours(model, args.prompt, "float32"),
            "likewise bf16": ours(model, args.prompt, "bfloat16"),
            "transformers": theirs(there, args.prompt, "float32"),
            "transformers bf16": theirs(there, args.prompt, "bfloat16"),
        }
    lines = []
    for draw in draws.values():
        draw(1, min(8, tokens), "sampling", 0)  # what a first call prepares is on no clock
    for batch in args.batches:
        for way in WAYS:
            lines.append(measure(draws, batch, tokens, way, args.repeats))
            print(show(lines), end="\n\n", flush=True)
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    about = {
        "setting": vars(args),
        "tokens": tokens,
        "device": DEVICE.type,
        "versions": versions,
        "threads": torch.get_num_threads(),
        "options": model.options,
    }
    atomic_write(args.out, json.dumps({**about, "lines": lines}, indent=1, default=str).encode())
    print(f"{args.out}: {tokens} tokens, {args.repeats} repeats, {about['threads']} threads")


if __name__ == "__main__":
    main()

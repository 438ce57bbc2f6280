"""Tokens per second of Model.sample and of `generate` of transformers, with the same weights.

    likewise train my.txt text --compat llama --minutes 10 --out runs/mine
    python benchmarks/generation_peers.py runs/mine
    python benchmarks/generation_peers.py runs/mine --tokens 16 --repeats 2 --batches 1 4    # does it run?

The run is exported to a temporary folder and loaded from there. Both continue the same prompt with a cache, in
float32 and in bf16, in one process on the same threads, in turn; a line has the medians of the repeats. A ratio
is that of the faster precisions, and of float32 alone: its median, least and greatest value. Only tokens before
the end of a text count: a text of likewise may end before the others, while `generate` has no end token here.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from family_peers import show
from peers import DEVICE

from likewise import Model
from likewise.core.files import atomic_write
from likewise.interop.transformers_export import to_transformers
from likewise.modalities.text import Text
from likewise.training.process import tune_malloc

MODES = {"greedy": {"temperature": 0.0}, "sampling": {}, "top_p 0.9": {"top_p": 0.9}}
Generate = Callable[[int, int, str, int], int]  # (batch, tokens, mode, seed) -> number of generated tokens


@contextlib.contextmanager
def count_ids(model: Model, prompt_ids: int) -> Iterator[list[int]]:
    """A list to which every call of the family's `sample` appends the number of ids after the prompt.

    The class is patched, as Model.sample works on copies of the family.
    """
    counts: list[int] = []
    family: Any = type(model.family)
    sample = family.sample

    @functools.wraps(sample)
    def counted(*args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        [ids] = (columns := sample(*args, **kwargs)).values()
        counts.append(int((ids[:, prompt_ids:] != 0).sum()))
        return columns

    family.sample = counted
    try:
        yield counts
    finally:
        family.sample = sample


def likewise_generate(model: Model, prompt: str, precision: str, counts: list[int]) -> Generate:
    """Model.sample; `counts` is that of `count_ids`."""

    def generate(batch: int, tokens: int, mode: str, seed: int) -> int:
        counts.clear()
        options: dict[str, Any] = {"tokens": tokens, "precision": precision, **MODES[mode]}
        model.sample([{}] * batch, prompts=[prompt] * batch, seed=seed, batch=batch, **options)
        return sum(counts)

    return generate


def transformers_generate(folder: str, prompt: str, precision: str) -> Generate:
    """`generate` of the exported model, loaded by AutoModelForCausalLM and AutoTokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision)).to(DEVICE).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.generation_config.eos_token_id = None
    model.generation_config.max_length = None
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"].to(DEVICE)
    modes: dict[str, dict[str, Any]] = {
        "greedy": {"do_sample": False},
        "sampling": {"do_sample": True, "top_k": 0},
        "top_p 0.9": {"do_sample": True, "top_k": 0, "top_p": 0.9},
    }

    def generate(batch: int, tokens: int, mode: str, seed: int) -> int:
        torch.manual_seed(seed)
        inputs = {
            "input_ids": ids.expand(batch, -1),
            "attention_mask": torch.ones_like(ids).expand(batch, -1),
        }
        out = model.generate(**inputs, max_new_tokens=tokens, pad_token_id=0, **modes[mode])
        return batch * (out.shape[1] - ids.shape[1])

    return generate


def measure(
    generators: dict[str, Generate], batch: int, tokens: int, mode: str, repeats: int
) -> dict[str, Any]:
    """Tokens per second of each, in turn: medians, and the ratios of the repeats with their range."""
    rates: dict[str, list[float]] = {name: [] for name in generators}
    for seed in range(repeats):
        for name, generate in generators.items():
            start = time.perf_counter()
            count = generate(batch, tokens, mode, seed)
            rates[name].append(count / (time.perf_counter() - start))
    own, own_bf16, other, other_bf16 = rates.values()
    return {
        "mode": mode,
        "batch": batch,
        **{f"{name}, tokens/s": round(statistics.median(values)) for name, values in rates.items()},
        "ratio": ratio([*map(max, own, own_bf16)], [*map(max, other, other_bf16)]),
        "in float32": ratio(own, other),
    }


def ratio(own: Sequence[float], others: Sequence[float]) -> str:
    """The median of a / b, and the range."""
    ratios = [a / b for a, b in zip(own, others, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("run", type=Path, help="folder of a model that can be exported")
    parser.add_argument("--tokens", type=int, default=256, help="of a row, at most a window")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--prompt", default=" the ")
    parser.add_argument("--out", type=Path, default=Path("runs/peers_generation.json"))
    args = parser.parse_args()
    tune_malloc()
    model = Model.load(args.run).to(DEVICE).eval()
    [column] = model.target_columns.values()
    assert isinstance(column, Text)
    prompt_ids = len(column.ids(args.prompt))
    tokens, lines = min(args.tokens, column.length - prompt_ids - 1), []
    with tempfile.TemporaryDirectory() as folder, count_ids(model, prompt_ids) as counts:
        exported = str(Path(folder) / "exported")
        to_transformers(model, exported)
        generators = {
            "likewise": likewise_generate(model, args.prompt, "float32", counts),
            "likewise bf16": likewise_generate(model, args.prompt, "bfloat16", counts),
            "transformers": transformers_generate(exported, args.prompt, "float32"),
            "transformers bf16": transformers_generate(exported, args.prompt, "bfloat16"),
        }
        for generate in generators.values():
            generate(1, min(8, tokens), "sampling", 0)  # warm-up
        for batch in args.batches:
            for mode in MODES:
                lines.append(measure(generators, batch, tokens, mode, args.repeats))
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

"""Texts under each kind of constraint: the share that is valid, and tokens per second with and without.

    python benchmarks/constraints.py [RUN] [--n 1000]

Without a run the model is untrained, over bytes. Validity is checked by json and re, independently of sampling.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable
from typing import Any

from likewise import Model
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.text import Text

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "n": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "n"],
    "additionalProperties": False,
}


def valid_json(text: str) -> bool:
    """Whether the text is JSON that is valid under SCHEMA."""
    try:
        row = json.loads(text)
    except ValueError:
        return False
    return set(row) == {"name", "n"} and len(row["name"]) <= 8 and row["n"] in range(100)


CASES: list[tuple[Constraint | None, Callable[[str], object]]] = [
    (None, valid_json),
    (Constraint.json(SCHEMA), valid_json),
    (Constraint.regex("[a-z]{1,9}-[0-9]{2}"), re.compile("[a-z]{1,9}-[0-9]{2}").fullmatch),
    (Constraint.choice(["red", "green", "blue"]), {"red", "green", "blue"}.__contains__),
    (Constraint.grammar('start: "(" start ")" | "x"'), re.compile(r"\(*x\)*").fullmatch),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--n", type=int, default=1000)
    args = parser.parse_args()
    model = (
        Model.load(args.run)
        if args.run
        else Model("text", {"text": Text.fit(["text"], length=64)}, "autoregressive")
    )
    name = next(n for n in model.targets if model.columns[n].kind == "text")
    column, baseline = model.columns[name], 0.0
    for constraint, valid in CASES:
        options: dict[str, Any] = {"constraint": {name: constraint}} if constraint else {}
        model.sample([{}], **options)  # compiles the constraint
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            texts = [row[name] for row in model.sample([{}] * args.n, **options)]
        seconds = time.perf_counter() - start
        closed = sum(int(str(w.message).split()[0]) for w in caught)
        tokens = sum(
            min(column.num_tokens(text) + 1, column.spec.tokens) for text in texts
        )  # +1: the end token
        right, rate = sum(map(bool, map(valid, texts))), tokens / seconds
        baseline = baseline or rate
        print(
            f"{constraint.kind if constraint else 'none':8} valid {right}/{args.n}, closed {closed}, "
            f"{rate:.0f} tokens/s, {rate / baseline:.2f} of unconstrained",
            flush=True,
        )


if __name__ == "__main__":
    main()

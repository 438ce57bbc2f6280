"""Texts under each kind of constraint: the share that is valid, and tokens a second with and without.

    python benchmarks/constraints.py [RUN] [--n 1000]

Without a run the model is untrained, of bytes. Validity is judged by json and re, not by what drew.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable

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


def good(text: str) -> bool:
    """Whether SCHEMA holds."""
    try:
        row = json.loads(text)
    except ValueError:
        return False
    return set(row) == {"name", "n"} and len(row["name"]) <= 8 and row["n"] in range(100)


CASES: list[tuple[Constraint | None, Callable[[str], object]]] = [
    (None, good),
    (Constraint.json(SCHEMA), good),
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
    plain = 0.0
    for constraint, valid in CASES:
        more = {"constraint": {name: constraint}} if constraint else {}
        model.sample([{}], **more)  # what is compiled once is on nobody's clock
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            texts = [row[name] for row in model.sample([{}] * args.n, **more)]
        seconds = time.perf_counter() - began
        closed = sum(int(str(w.message).split()[0]) for w in said)
        # with the end, where there is room for it
        tokens = sum(min(model.columns[name].num_tokens(text) + 1, model.columns[name].length) for text in texts)
        right, rate = sum(map(bool, map(valid, texts))), tokens / seconds
        plain = plain or rate
        print(
            f"{constraint.kind if constraint else 'none':8} valid {right}/{args.n}, closed {closed}, "
            f"{rate:.0f} tokens/s, {rate / plain:.2f} of no constraint",
            flush=True,
        )


if __name__ == "__main__":
    main()

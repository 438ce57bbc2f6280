"""In place of `python -m likewise train` and `evaluate`, for tests of the supervisor: a run folder and its files, in moments.

A step is 20 ms. SIGINT saves and ends it, as in the real one.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from likewise.core.option_names import option_text
from likewise.core.progress import report_progress


def main() -> int:
    words = sys.argv[1:]
    options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    if words[0] == "evaluate":
        return evaluate(Path(words[1]), options)
    run = Path(options["out"])
    named = [word for word in words[1:] if not word.startswith("--")]
    if "resume" in options:
        state = json.loads((run / "model.json").read_text())
    else:
        if "refuse" in named[-1]:
            advice = f"or begin with {option_text('kind', 'refuse', 'text')} and {option_text('minutes', 5)}"
            print(f"note: nothing\nlikewise: {named[0]} has no column 'refuse', {advice}", file=sys.stderr)
            return 1
        run.mkdir(parents=True)
        state = {"family": "flow", "steps": int(options["steps"]), "step": 0, "starts": 0}
    state["starts"] += 1
    print(f"note: {run} starts", file=sys.stderr)
    (run / "model.json").write_text(json.dumps(state))
    try:
        while state["step"] < state["steps"]:
            state["step"] += 1
            time.sleep(0.02)
            record = {
                "step": state["step"],
                "progress": state["step"] / state["steps"],
                "loss": 1 / state["step"],
            }
            record |= {"rows_per_second": 1.0, "elapsed": 0.02 * state["step"], "eta": 1.0}
            if state["step"] % 10 == 0:
                record["heldout"] = record["loss"]
                save(run, state)
            with open(run / "metrics.jsonl", "a") as file:
                file.write(json.dumps(record) + "\n")
    except KeyboardInterrupt:
        save(run, state)
        return 130
    save(run, state)
    return 0


def evaluate(run: Path, options: dict[str, str]) -> int:
    if options.get("concept") == "slow":
        report_progress("metrics", 3, 8)
        time.sleep(60)
    if options.get("concept") == "refuse":
        print(f"likewise: {run} has no column 'refuse'", file=sys.stderr)
        return 1
    estimate = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 9}
    rest = {
        "baseline": None,
        "chance": None,
        "better": "lower",
        "note": "",
        "kind": "",
        "heading": "",
        "column": "",
    }
    results = [
        {"name": "<b>loss</b>", "value": estimate, "real": {**estimate, "value": 0.4}, **rest},
        {"name": "broken", "value": {**estimate, "value": float("nan"), "low": None}, "real": None, **rest},
    ]
    out = Path(options.pop("out"))
    options.pop("overwrite")
    given = " ".join(f"--{name}={value}" for name, value in options.items())
    report = {
        "likewise": {"model": str(run)},
        "formula": "x | y",
        "data": "/somewhere/data.csv",
        "n": 9,
        "draws": 1,
    }
    report |= {
        "seed": 0,
        "sampling_options": {"words": given},
        "results": results,
        "notes": ["a note"],
        "seconds": 1,
    }
    out.write_text(json.dumps(report))
    return 0


def save(run: Path, state: dict[str, object]) -> None:
    (run / "model.json").write_text(json.dumps(state))
    (run / "weights.safetensors").write_bytes(str(state["step"]).encode())
    (run / "samples.png").write_bytes(b"\x89PNG\r\n\x1a\n")


if __name__ == "__main__":
    sys.exit(main())

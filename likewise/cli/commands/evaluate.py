"""Measure a trained model on the rows held out, beside what real rows, a baseline and chance would score."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from likewise.cli.commands._generation import RUN
from likewise.cli.commands.data import opened
from likewise.cli.flags import Parser
from likewise.core.errors import did_you_mean
from likewise.core.files import atomic_write
from likewise.data.table import Table
from likewise.evaluation.evaluator import evaluate
from likewise.families.registry import sampling_family_class
from likewise.models.checkpoint import PRETRAINED, RunError, is_chain, load_chain, load_state, resolve_run
from likewise.models.io import load
from likewise.models.model import Model

REPORT = "report.json"


def run(argv: Sequence[str]) -> int:
    """`likewise evaluate RUN`."""
    parser = Parser("evaluate", __doc__, usage="likewise evaluate RUN [options]")
    parser.add_argument("run", metavar="RUN", type=Path, help=RUN)
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"the report as JSON (default RUN/{REPORT})")
    parser.add_argument(
        "--sweep",
        metavar="KNOB[=V1,V2,...]",
        help="fidelity and diversity for several values of a knob, with their curve",
    )
    parser.add_signature_options("measures", [evaluate])
    parser.add_sampling_options(argv)
    args = parser.read(argv)
    return swept(args, parser) if args.sweep else whole(args, parser)


def whole(args: Namespace, parser: Parser) -> int:
    """Everything about the model as it is."""
    model = load(args.run)
    table = data_of(args.run)
    report = evaluate(
        model, table, **parser.values_of(args, "measures"), **parser.values_of(args, "sampling")
    )
    out = args.out or beside(args.run) / REPORT
    atomic_write(out, (json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n").encode())
    print(f"{report}\n\nreport: {out}")
    return 0


def swept(args: Namespace, parser: Parser) -> int:
    """One knob, several values: sweep-KNOB.png and sweep-KNOB.json beside the model."""
    from likewise.evaluation.comparison import figures
    from likewise.evaluation.comparison.sweep import read_values, sweep

    option, _, words = args.sweep.partition("=")
    option, fixed = option.replace("-", "_"), parser.values_of(args, "sampling")
    model = load(args.run)
    if isinstance(model, Model):
        sampling_family_class(model.family_name)
    sampling_options = model.sampling_options()
    if option not in sampling_options:
        raise ValueError(did_you_mean("sampling option", option, sampling_options))
    if option in fixed:
        raise ValueError(f"{option} is swept and given a value at once; leave one of the two out")
    values = read_values(words, sampling_options[option]) if words else None
    asked = parser.values_of(args, "measures")
    if other := [name for name in asked if name not in ("n", "seed")]:
        raise ValueError(f"a sweep takes --n and --seed; leave --{other[0].replace('_', '-')} out")
    table = data_of(args.run)
    found = sweep(model, table, option, values, name=args.run.name, **asked, **fixed)
    out = args.out or beside(args.run) / f"sweep-{option}.json"
    atomic_write(out, (json.dumps(found.to_json(), indent=1, ensure_ascii=False) + "\n").encode())
    atomic_write(out.with_suffix(".png"), figures.sweep(found))
    print(f"{found}\n\nreport: {out}, {out.with_suffix('.png')}")
    return 0


def beside(run: Path) -> Path:
    """Where a report goes: into the run, or, of a model that comes with the package, into runs/NAME."""
    folder = resolve_run(run)
    return Path("runs") / run if folder.parent == PRETRAINED else folder


def data_of(run: Path) -> Table:
    """The table that a run was trained on. Raises RunError if it cannot be had any more, or has changed."""
    folder = resolve_run(run)
    state = load_chain(folder) if is_chain(folder) else load_state(folder)
    data, before = opened(run, state), state["data"]["fingerprint"]
    table = Table.open(**data)
    if table.fingerprint != before:
        raise RunError(
            f"{data['source']} is not what {run} was trained on (fingerprint {before}, now "
            f"{table.fingerprint}), so what was held out is not known; restore it, or train again"
        )
    return table

"""Measure a trained model on the rows held out, beside what real rows, a baseline and chance would score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from likewise import pictures
from likewise.checkpoint import RunError, load_state
from likewise.evaluation import evaluate
from likewise.families import family_class
from likewise.flags import Parser
from likewise.model import Model
from likewise.table import Table

REPORT = "report.json"


def run(argv: Sequence[str]) -> int:
    """`likewise evaluate RUN`."""
    parser = Parser("evaluate", __doc__, usage="likewise evaluate RUN [options]")
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"the report as JSON (default RUN/{REPORT})")
    parser.derive("measures", [evaluate])
    parser.derive("knobs", [family_class(parser.family(argv)).sample])
    args = parser.read(argv)
    model, table = Model.load(args.run), data_of(args.run)
    report = evaluate(model, table, **parser.given(args, "measures"), **parser.given(args, "knobs"))
    out = args.out or args.run / REPORT
    pictures.put(out, (json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n").encode())
    print(f"{report}\n\nreport: {out}")
    return 0


def data_of(run: Path) -> Table:
    """The table that a run was trained on. Raises RunError if it cannot be had any more, or has changed."""
    data = dict(load_state(run)["data"])
    before = data.pop("fingerprint")
    if data["source"] is None:
        raise RunError(f"{run} was trained on rows in memory; use likewise.evaluate(model, table)")
    table = Table.open(**data)
    if table.fingerprint != before:
        raise RunError(f"{data['source']} is not what {run} was trained on (fingerprint {before}, now "
                       f"{table.fingerprint}), so what was held out is not known; restore it, or train again")
    return table

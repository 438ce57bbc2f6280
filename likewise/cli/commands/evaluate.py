"""Evaluate a trained model on held-out rows, beside the scores of real rows, a baseline and chance."""

from __future__ import annotations

import dataclasses
import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.cli import child_tables, series
from likewise.cli.destination import add_overwrite_option, file_to_write
from likewise.cli.flags import Parser, flag, parameters
from likewise.cli.requests import RUN
from likewise.cli.tables import open_training_table
from likewise.core.errors import did_you_mean
from likewise.core.files import atomic_write
from likewise.core.formula import Formula, parse_name
from likewise.core.provenance import KEY, provenance
from likewise.evaluation.comparison.figures import sweep_figure
from likewise.evaluation.comparison.report_page import report_page
from likewise.evaluation.comparison.sweep import parse_values, sweep
from likewise.evaluation.evaluator import evaluate
from likewise.evaluation.evaluators.quality import quality_result
from likewise.evaluation.metrics.sdmetrics_quality import require_sdmetrics
from likewise.evaluation.report import Report
from likewise.families.registry import sampling_family_class
from likewise.models.checkpoint import PRETRAINED, resolve_run
from likewise.models.io import load
from likewise.models.model import Model

REPORT = "report.json"
PAGE_SUFFIX = ".html"


def run(argv: Sequence[str]) -> int:
    """`likewise evaluate RUN`."""
    if any(map(child_tables.is_parent_child, argv)):
        return child_tables.evaluate(argv)
    if any(map(series.is_forecaster, argv)):
        return series.evaluate(argv)
    parser = Parser("evaluate", __doc__, usage="likewise evaluate RUN [options]")
    parser.add_argument("run", metavar="RUN", type=Path, help=RUN)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"where the report is written (default RUN/{REPORT})"
    )
    add_overwrite_option(parser)
    parser.add_argument(
        "--sweep",
        metavar="OPTION[=V1,V2,...]",
        help="instead of a report: fidelity and diversity for several values of a sampling option, with a plot",
    )
    parser.add_argument(
        "--predict",
        metavar="A,B,...",
        help="targets of a table that boosted trees predict from the others (TSTR), instead of all that they can",
    )
    parser.add_argument(
        "--sdmetrics",
        action="store_true",
        help="the quality score of the package sdmetrics, too (extra sdmetrics)",
    )
    known = parameters(evaluate).keys() - {"predict"}
    parser.add_signature_options("evaluation", [("evaluate", evaluate)], only=known)
    parser.add_sampling_options(argv)
    args = parser.parse(argv)
    return _sweep(args, parser) if args.sweep else _evaluate(args, parser)


def _evaluate(args: Namespace, parser: Parser) -> int:
    """The whole report."""
    model = load(args.run)
    default = report_folder(args.run) / REPORT
    out = file_to_write(args.out, default, args.overwrite, companions=[PAGE_SUFFIX])
    table = open_training_table(args.run)
    options = parser.values_of(args, "evaluation") | parser.values_of(args, "sampling")
    if "concept" in options:
        options["concept"] = parse_name(options["concept"])
    if args.predict:
        options["predict"] = Formula.parse(args.predict).target_names
    if args.sdmetrics:
        require_sdmetrics()
    report = evaluate(model, table, **options)
    if args.sdmetrics:
        report = _with_quality(report)
    _write_json(out, args.run, report.to_json())
    files = [out]
    if report.rows is not None:
        files.append(out.with_suffix(PAGE_SUFFIX))
        atomic_write(files[-1], report_page(report).encode())
    print(f"{report}\n\nreport: {', '.join(map(str, files))}")
    return 0


def _with_quality(report: Report) -> Report:
    """With the score of sdmetrics."""
    if report.rows is None:
        raise ValueError("--sdmetrics measures samples, which this model has not; leave it out")
    return dataclasses.replace(report, results=(*report.results, quality_result(report.rows)))


def _sweep(args: Namespace, parser: Parser) -> int:
    """Several values of one sampling option: sweep-OPTION.png and sweep-OPTION.json beside the model."""
    name, _, words = args.sweep.partition("=")
    name, sampling_options = name.replace("-", "_"), parser.values_of(args, "sampling")
    model = load(args.run)
    if isinstance(model, Model):
        sampling_family_class(model.family_name)
    known = model.sampling_options()
    if name not in known:
        raise ValueError(did_you_mean("sampling option", name, known))
    if name in sampling_options:
        raise ValueError(f"--sweep {name} and {flag(name)} contradict each other; leave one of the two out")
    values = parse_values(words, known[name]) if words else None
    options = parser.values_of(args, "evaluation")
    options |= {name: getattr(args, name) for name in ("predict", "sdmetrics") if getattr(args, name)}
    if others := [option for option in options if option not in ("n", "seed")]:
        raise ValueError(f"a sweep takes --n and --seed; leave {flag(others[0])} out")
    default = report_folder(args.run) / f"sweep-{name}.json"
    out = file_to_write(args.out, default, args.overwrite, companions=[".png"])
    table = open_training_table(args.run)
    result = sweep(model, table, name, values, name=args.run.name, **options, **sampling_options)
    _write_json(out, args.run, result.to_json())
    atomic_write(out.with_suffix(".png"), sweep_figure(result))
    print(f"{result}\n\nreport: {out}, {out.with_suffix('.png')}")
    return 0


def report_folder(run: Path) -> Path:
    """Where a report goes: into the run, or for a model that comes with the package into runs/NAME."""
    folder = resolve_run(run)
    return Path("runs") / run if folder.parent == PRETRAINED else folder


def _write_json(path: Path, run: Path, values: Mapping[str, Any]) -> None:
    values = {KEY: provenance(model=str(run)), **values}
    atomic_write(path, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())

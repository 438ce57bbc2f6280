"""Train every family for the same time on the same data, and measure them side by side."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from likewise.cli.commands.data import SOURCE, open_table, seen, table_flags, view_flag
from likewise.cli.flags import Parser
from likewise.cli.progress import clock
from likewise.core.formula import Formula
from likewise.data.table import Table
from likewise.evaluation.comparison.families import compare
from likewise.families.registry import sampling_families
from likewise.training.metrics import Step

MINUTES = 2.0
LIKELIHOOD_ROWS, DRAWS = 100, 2


def run(argv: Sequence[str]) -> int:
    """`likewise compare SOURCE FORMULA`."""
    parser = Parser(
        "compare",
        f"{__doc__} Of a single label with sources, `label | image`: classifiers.",
        usage="likewise compare SOURCE FORMULA [options]",
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE", help=SOURCE)
    parser.add_argument("formula", nargs="?", metavar="FORMULA", help='targets | sources: "image | label"')
    parser.add_argument(
        "--families", metavar="A,B,...", help=f"which (default all: {', '.join(sampling_families())})"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES,
        metavar="X",
        help=f"of training, for each family (default {MINUTES:g})",
    )
    parser.add_argument(
        "--n", type=int, default=500, metavar="N", help="rows held out, at most (default 500)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of training and judging (default 0)"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="runs of each family; of more than one, mean and range are shown (default 1)",
    )
    parser.add_argument(
        "--likelihood-rows",
        type=int,
        default=LIKELIHOOD_ROWS,
        metavar="N",
        help=f"rows, at most, whose likelihood is computed (default {LIKELIHOOD_ROWS})",
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=DRAWS,
        metavar="N",
        help=f"of classifiers: noise levels of a bound, of every class (default {DRAWS})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="of the runs and the report (default runs/compare-NAME, after the data)",
    )
    table_flags(parser)
    view_flag(parser)
    args = parser.read(argv)
    if args.source is None or args.formula is None:
        raise ValueError('name the data and write a formula: likewise compare digits "image | label"')
    formula = Formula.parse(args.formula)
    folder = args.out or Path("runs") / f"compare-{Path(args.source).stem or 'data'}"
    table = seen(open_table(args, parser, formula), formula, args.view)
    names = [name.strip() for name in args.families.split(",") if name.strip()] if args.families else None
    if classifies(formula, table):
        from likewise.evaluation.comparison.classifiers import compare_classifiers

        if args.seeds > 1 or args.likelihood_rows != LIKELIHOOD_ROWS:
            raise ValueError(
                "classifiers are compared with one seed and by no likelihood; "
                "leave --seeds and --likelihood-rows out"
            )
        found = compare_classifiers(
            formula,
            table,
            minutes=args.minutes,
            folder=folder,
            seed=args.seed,
            n=args.n,
            draws=args.draws,
            methods=names,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    elif args.draws != DRAWS:
        raise ValueError("--draws are of Bayes' rule, for a formula such as 'label | image'; leave it out")
    else:
        found = compare(
            formula,
            table,
            names,
            minutes=args.minutes,
            folder=folder,
            n=args.n,
            seed=args.seed,
            seeds=args.seeds,
            likelihood_rows=args.likelihood_rows,
            watch=Line(),
        )
    print(f"{found}\n\nreport: {folder / 'report.html'}, {folder / 'report.png'}, {folder / 'report.json'}")
    return 0


def classifies(formula: Formula, table: Table) -> bool:
    """Whether the formula asks for one label, given something."""
    roles = [table.columns[name].role for name in formula.target_names]
    return roles == ["class"] and bool(formula.sources)


class Line:
    """A line on stderr that says which run is at which step; where it cannot move, one for each run."""

    def __init__(self) -> None:
        self.run, self.said = "", 0.0

    def __call__(self, run: str, step: Step) -> None:
        moving, now = sys.stderr.isatty(), time.perf_counter()
        done = step.progress >= 1
        if run != self.run and not moving:
            print(f"{run}: training", file=sys.stderr)
        if moving and (done or now - self.said > 0.2):
            print(
                f"\r{run}: {step.progress:4.0%}  step {step.step:,}  loss {step.loss:.4f}  "
                f"{clock(step.eta)} left ",
                end="\n" if done else "",
                file=sys.stderr,
                flush=True,
            )
            self.said = now
        self.run = run

"""Train several families for the same time on the same data, and evaluate them side by side."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from likewise.cli.flags import Parser
from likewise.cli.formatting import format_duration
from likewise.cli.tables import (
    DATA,
    add_table_options,
    add_view_option,
    add_views,
    open_table,
    print_notes,
)
from likewise.core.formula import Formula
from likewise.core.ranges import Copies, Draws, Minutes, NonNegativeInt, RowsToCompare, Seed
from likewise.data.table import Table
from likewise.evaluation.comparison.classifier_plan import ClassifierPlan
from likewise.evaluation.comparison.classifier_results import ClassifierComparison
from likewise.evaluation.comparison.classifiers import compare_classifiers
from likewise.evaluation.comparison.families import compare
from likewise.evaluation.comparison.results import Comparison
from likewise.families.registry import sampling_families
from likewise.training.metrics import Step

MINUTES = 2.0
LIKELIHOOD_ROWS, DRAWS = 100, 2


def run(argv: Sequence[str]) -> int:
    """`likewise compare DATA FORMULA`."""
    parser = _make_parser()
    args = parser.parse(argv)
    if args.data is None or args.formula is None:
        raise ValueError('name the data and write a formula: likewise compare digits "image | label"')
    formula = Formula.parse(args.formula)
    folder = args.out or Path("runs") / f"compare-{Path(args.data).stem or 'data'}"
    table = open_table(args, parser, formula)
    formula = table.expand(formula)
    table = add_views(table, formula, args.view)
    print_notes(table.report.notes())
    names = [name.strip() for name in args.families.split(",") if name.strip()] if args.families else None
    result: Comparison | ClassifierComparison
    if is_classification(formula, table):
        result = _compare_classifiers(args, formula, table, names, folder)
    elif args.draws != DRAWS:
        raise ValueError("--draws is for classifiers, a formula such as 'label | image'; leave it out")
    else:
        result = compare(
            formula,
            table,
            names,
            minutes=args.minutes,
            folder=folder,
            n=args.n,
            seeds=range(args.seed, args.seed + args.seeds),
            likelihood_rows=args.likelihood_rows,
            on_step=ProgressLine(),
        )
    print(f"{result}\n\nreport: {folder / 'report.html'}, {folder / 'report.png'}, {folder / 'report.json'}")
    return 0


def _make_parser() -> Parser:
    parser = Parser(
        "compare",
        f"{__doc__} A formula of a single label with sources, such as `label | image`, compares classifiers: one "
        "trained directly, and Bayes' rule with the density of each family.",
        usage="likewise compare DATA FORMULA [options]",
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help=DATA)
    parser.add_argument(
        "formula",
        nargs="?",
        metavar="FORMULA",
        help='targets | sources: "image | label"; * stands for all columns that it does not name',
    )
    parser.add_argument(
        "--families",
        metavar="A,B,...",
        help=f"the families to compare (default all: {', '.join(sampling_families())})",
    )
    parser.add_value_option(
        "--minutes", annotation=Minutes, default=MINUTES, about="training time of each family"
    )
    parser.add_value_option(
        "--n", annotation=RowsToCompare, default=500, about="held-out rows that are evaluated, at most"
    )
    parser.add_value_option(
        "--seed", annotation=Seed, default=0, about="random seed of training and evaluation"
    )
    parser.add_value_option(
        "--seeds",
        annotation=Copies,
        default=1,
        about="runs of each family, with different seeds; with more than one, mean and range are shown",
    )
    parser.add_value_option(
        "--likelihood-rows",
        annotation=NonNegativeInt,
        default=LIKELIHOOD_ROWS,
        about="rows whose log-probability is computed, at most",
    )
    parser.add_value_option(
        "--draws",
        annotation=Draws,
        default=DRAWS,
        about="for classifiers: noise levels at which a bound is estimated, of every class",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="the folder of the runs and the report (default runs/compare-NAME, after the data)",
    )
    add_table_options(parser)
    add_view_option(parser)
    return parser


def _compare_classifiers(
    args: Namespace, formula: Formula, table: Table, names: Sequence[str] | None, folder: Path
) -> ClassifierComparison:
    if args.seeds > 1 or args.likelihood_rows != LIKELIHOOD_ROWS:
        raise ValueError(
            "classifiers are compared with one seed and without log-probabilities; "
            "leave --seeds and --likelihood-rows out"
        )
    plan = ClassifierPlan(minutes=args.minutes, seed=args.seed, n=args.n, draws=args.draws, methods=names)
    return compare_classifiers(
        formula,
        table,
        plan,
        folder,
        on_message=lambda message: print(message, file=sys.stderr, flush=True),
    )


def is_classification(formula: Formula, table: Table) -> bool:
    """Whether the target is a single label that is to be predicted from sources."""
    roles = [table.columns[name].role for name in formula.target_names]
    return roles == ["class"] and bool(formula.sources)


class ProgressLine:
    """A line on stderr with the run and its step; where a line cannot be overwritten, one line for each run."""

    def __init__(self) -> None:
        self.run, self.printed = "", 0.0  # the run of the last step, and when the line was printed

    def __call__(self, run: str, step: Step) -> None:
        terminal, now = sys.stderr.isatty(), time.perf_counter()
        done = step.progress >= 1
        if run != self.run and not terminal:
            print(f"{run}: training", file=sys.stderr)
        if terminal and (done or now - self.printed > 0.2):
            print(
                f"\r{run}: {step.progress:4.0%}  step {step.step:,}  loss {step.loss:.4f}  "
                f"{format_duration(step.eta)} left ",
                end="\n" if done else "",
                file=sys.stderr,
                flush=True,
            )
            self.printed = now
        self.run = run

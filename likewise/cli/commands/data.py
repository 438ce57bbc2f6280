"""Look at a data set: what its columns are taken for, a check of every row, a preview."""

from __future__ import annotations

import difflib
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.cli.flags import Parser, parse_pairs
from likewise.cli.progress import first_process
from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, FormulaError
from likewise.data.datasets import DATASETS
from likewise.data.encoders import ENCODERS
from likewise.data.table import Table
from likewise.data.validation import format_bad_rows
from likewise.families.registry import family_class
from likewise.modalities import KINDS, Modality
from likewise.models.checkpoint import MODEL, RunError, load_state
from likewise.models.model import Model
from likewise.viz import images

SOURCE = (
    f"a demo ({', '.join(DATASETS)}), a folder of pictures or texts, a .txt or other text file, a .csv, "
    ".jsonl or .parquet file, or a hub name"
)
ROWS, PICTURES = 5, 64  # that a look shows: as text, on the preview


def run(argv: Sequence[str]) -> int:
    """`likewise data SOURCE`."""
    parser = Parser("data", __doc__, usage="likewise data SOURCE [options]")
    parser.add_argument("source", metavar="SOURCE", help=SOURCE)
    parser.add_argument(
        "--preview",
        type=Path,
        default=Path("preview.png"),
        metavar="FILE",
        help="the picture that is written (default preview.png)",
    )
    table_flags(parser)
    args = parser.read(argv)
    table = open_table(args, parser)
    counts = f"{len(table):,} rows, {len(table.train):,} to learn from and {len(table.test):,} held out"
    columns = [("column", "kind", "as"), *((n, c.kind, c.describe()) for n, c in table.columns.items())]
    rows = [
        list(table.kinds),
        *(
            [table.columns[n].summarize(v) for n, v in row.items()]
            for row in images.evenly_spaced(table, ROWS)
        ),
    ]
    print(f"{args.source}: {counts}\n\n{aligned(columns)}\n\n{aligned(rows)}\n")
    names = images.visual_columns(table.columns, list(table.kinds))
    if names:
        shown = images.evenly_spaced(table, PICTURES)
        caption = [n for n in table.kinds if n not in names][:1]
        captions = [images.caption(row, caption) for row in shown]
        images.save(images.sheet(table.columns, shown, names, captions, 8), args.preview)
        print(f"pictures: {args.preview}\n")
    print(f"to learn from it:\n  likewise train {shlex.quote(args.source)} {shlex.quote(formula_for(table))}")
    return 0


# ---- what `train` needs as well


def table_flags(parser: Parser) -> None:
    """What `Table.open` takes: its own keywords, and the options of demos and modalities."""
    parser.add_argument("--skip-bad", action="store_true", help="go on without the rows that cannot be used")
    parser.add_argument(
        "--holdout",
        type=float,
        metavar="X",
        help="share of the rows held out (default 0.1, at most 1,000 rows)",
    )
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        help="rows equal there are held out together (default: concept, else the first text)",
    )
    parser.add_argument(
        "--pairs",
        metavar="COLUMN",
        help="hold out pairs of --by and this column too, both halves seen with others: things x styles",
    )
    parser.add_argument("--encoding", metavar="NAME", help="of text files and .csv (default UTF-8)")
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="COLUMN=KIND",
        help=f"what to take a column for: {', '.join(KINDS)}; may be given several times",
    )
    parser.add_signature_options("data", [*(kind.fit for kind in KINDS.values()), *DATASETS.values()])


def table_args(args: Namespace, parser: Parser) -> dict[str, Any]:
    """The keywords of `Table.open` that the command line gives."""
    return {
        "options": parser.values_of(args, "data"),
        "kinds": parse_pairs(args.kind, "--kind"),
        "skip_bad": args.skip_bad,
        "holdout": args.holdout,
        "by": args.by,
        "pairs": args.pairs,
        "encoding": args.encoding,
    }


def open_table(
    args: Namespace,
    parser: Parser,
    formula: Formula | None = None,
    like: Mapping[str, Modality] | None = None,
) -> Table:
    """The table that the command line names; what is worth a look in it goes to stderr.

    Needed are the columns of the formula, and those that a model has too are taken for what they are there.
    """
    needed = formula.columns if formula else None
    table = Table.open(args.source, **table_args(args, parser), columns=needed, like=like)
    bad = table.skipped
    left = [format_bad_rows(f"{len({b.row for b in bad})} rows are left out:", bad)] if bad else []
    _say(table.warnings + left)
    return table


def opened(run: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `Table.open` that a run was trained with. Raises RunError if there are none."""
    data = {name: value for name, value in state["data"].items() if name != "fingerprint"}
    if data["source"] is None:
        raise RunError(
            f"{run} was trained on rows in memory, or imported without --data; name the data, or "
            "use likewise.train and likewise.evaluate with the table"
        )
    return data


def view_flag(parser: Parser) -> None:
    """Which models columns are seen through."""
    parser.add_argument(
        "--view",
        action="append",
        default=[],
        metavar="NAME=RUN",
        help="the run that @NAME in the formula sees a column through (default runs/NAME; "
        f"{', '.join(ENCODERS)}: a frozen text encoder)",
    )


def seen(table: Table, formula: Formula, views: Sequence[str]) -> Table:
    """The table with the views of a formula, through the runs that `--view` names, and frozen encoders.

    A source that is read in part only is said on stderr. Raises FormulaError for a run that is not there, or
    that may be meant as well as a frozen encoder.
    """
    given = parse_pairs(views, "--view")
    used = dict.fromkeys(view.through for view in formula.views if view.through)
    for name in given:
        if name not in used:
            raise FormulaError(f"--view {name}: {did_you_mean('view', name, used)}")
    runs = {name: Path(given.get(name, Path("runs") / name)) for name in used}
    for name in [name for name in ENCODERS if name in runs and name not in given]:
        run = runs.pop(name)
        if (run / MODEL).exists() and hasattr(family_class(load_state(run)["family"]), "code_spec"):
            raise FormulaError(
                f"@{name} in {str(formula)!r} is a frozen encoder, and there is a run {run} "
                f"with codes; if that is meant write --view {name}={run}, else rename it"
            )
    for name, run in runs.items():
        if not run.is_dir():
            near = [f"; or write @{n}" for n in difflib.get_close_matches(name, ENCODERS, 1, 0.5)]
            raise FormulaError(
                f"@{name} in {str(formula)!r}: there is no run {run}; train one there, such "
                f"as an autoencoder, or say where it is: --view {name}=RUN{''.join(near)}"
            )
    table = table.add_views(formula, **{name: Model.load(run) for name, run in runs.items()})
    specs = {name: table.columns[name].spec for name in formula.source_names}
    _say(
        f"{name} is a document, and as a source {spec.tokens} tokens of it are read: from anywhere in it "
        "while training, later the first ones of what is given; --length reads more"
        for name, spec in specs.items()
        if spec.windowed
    )
    return table


def _say(notes: Iterable[str]) -> None:
    """What is worth a look goes to stderr, once where there are several processes."""
    for note in notes if first_process() else ():
        print(f"note: {note}", file=sys.stderr)


def formula_for(table: Table) -> str:
    """A formula that these columns may well be meant for.

    >>> formula_for(Table.from_rows([{"label": "x", "y": 0.5}, {"label": "x", "y": 0.2}]))
    'label | y'
    """
    kinds = {name: KINDS[kind] for name, kind in table.kinds.items()}
    order = sorted(kinds, key=lambda name: kinds[name].target_rank)
    return order[0] if kinds[order[0]].passages else " | ".join(order[:2])


# ---- in words


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """
    >>> print(aligned([("a", "b"), ("long", "c")]))
    a     b
    long  c
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)

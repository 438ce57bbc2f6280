"""The data set of a command: its options, the table that they name, the views of a formula."""

from __future__ import annotations

import argparse
import difflib
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.cli.flags import Parser, parse_pairs
from likewise.cli.progress import is_first_process
from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, FormulaError, parse_name, quote_name
from likewise.core.option_names import option_text
from likewise.core.options import stored_values
from likewise.core.ranges import ShareBelowOne
from likewise.data.datasets import DATASETS
from likewise.data.encoders import ENCODERS
from likewise.data.matching import Reference, RunColumns
from likewise.data.readers import FileFormat
from likewise.data.table import Table
from likewise.data.views import Viewer
from likewise.families.registry import family_class
from likewise.modalities import KINDS, Modality
from likewise.models.checkpoint import (
    MODEL,
    RunError,
    is_pipeline,
    load_pipeline_state,
    load_state,
    resolve_run,
    stored_columns,
)
from likewise.models.model import Model

DATA = (
    f"a built-in data set ({', '.join(DATASETS)}), a folder of pictures or texts, a .txt or other text file, "
    "a .csv, .tsv, .xlsx, .jsonl, .json, .parquet, .arrow or .feather file, or the name of a data set on the "
    "Hugging Face hub"
)


def add_table_options(parser: Parser) -> None:
    """Add what `Table.open` takes: its own keywords, and the options of data sets and modalities."""
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out rows that cannot be used instead of stopping"
    )
    parser.add_value_option(
        "--holdout",
        annotation=ShareBelowOne,
        about="share of the rows that are held out for evaluation (default 0.1, at most 1,000 rows)",
    )
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        help="rows with the same value in this column are held out together (default: the column concept, "
        "else the first text)",
    )
    parser.add_argument(
        "--pairs",
        metavar="COLUMN",
        help="hold out pairs of a value of --by and one of this column; each of the two stays in training "
        "with others (tests new combinations, such as things x styles)",
    )
    parser.add_argument(
        "--near-copies",
        action=argparse.BooleanOptionalAction,
        help="hold out near copies of a picture, such as others of its sizes, together (default: yes, except in the "
        "built-in data sets)",
    )
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="COLUMN=KIND",
        help=f"read a column as this kind: {', '.join(KINDS)}; may be given several times",
    )
    parser.add_signature_options(
        "data",
        [*((name, kind.fit) for name, kind in KINDS.items()), *DATASETS.items()],
        about="How columns of a kind are read, and options of the built-in data sets.",
    )
    parser.add_signature_options(
        "format",
        [("FileFormat", FileFormat)],
        about="How text and table files are written; what is not given is found in the file, and said.",
    )


def table_options(args: Namespace, parser: Parser) -> dict[str, Any]:
    """The keywords of `Table.open` that the command line gives."""
    return {
        "options": parser.values_of(args, "data"),
        "kinds": parse_pairs(args.kind, "--kind"),
        "skip_bad": args.skip_bad,
        "holdout": args.holdout,
        "by": args.by and parse_name(args.by),
        "pairs": args.pairs and parse_name(args.pairs),
        "near_copies": args.near_copies,
        **parser.values_of(args, "format"),
    }


def open_table(
    args: Namespace,
    parser: Parser,
    formula: Formula | None = None,
    like: Mapping[str, Modality] | Reference | None = None,
) -> Table:
    """The table that the command line names.

    It must have the targets of the formula. Columns that `like` has are read as they are there, or extend them.
    """
    options = table_options(args, parser)
    if formula is not None and not formula.has_all:
        options["columns"] = [view.column for view in formula.views]
    if formula and isinstance(like, Mapping):
        like = {formula.view(name).column: column for name, column in like.items()}
    return Table.open(args.data, **options, like=like)


def training_table_options(run: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `Table.open` that a run was trained with. Raises RunError if there are none."""
    data = {name: value for name, value in state["data"].items() if name != "fingerprint"}
    data.setdefault("complete", data.get("columns") or [])  # in earlier versions a missing value was an error
    if data["source"] is None:
        raise RunError(
            f"{run} was trained on rows in memory, or imported without --data; name the data, or "
            "use likewise.train and likewise.evaluate with the table"
        )
    source = Path(data["source"])
    if source.is_absolute() and not source.exists():
        raise RunError(
            f"{run} was trained on {source}, which is not there any more; put it back there, or a link to where it is now"
        )
    return {**data, "like": RunColumns(stored_columns(state))}


def open_training_table(run: Path) -> Table:
    """The table that a run was trained on. Raises RunError if it is not available any more, or has changed."""
    folder = resolve_run(run)
    state = load_pipeline_state(folder) if is_pipeline(folder) else load_state(folder)
    options, fingerprint = training_table_options(run, state), state["data"]["fingerprint"]
    with stored_values():
        table = Table.open(**options)
    if table.fingerprint != fingerprint:
        raise RunError(
            f"{options['source']} is not what {run} was trained on (fingerprint {fingerprint}, now "
            f"{table.fingerprint}), or was read otherwise by an earlier version, so its held-out rows are unknown; "
            "restore it, or train again"
        )
    return table


def add_view_option(parser: Parser) -> None:
    """Add the option that says which models columns are seen through."""
    parser.add_argument(
        "--view",
        action="append",
        default=[],
        metavar="NAME=RUN",
        help="the trained model that @NAME in the formula stands for (default runs/NAME; "
        f"{', '.join(ENCODERS)}: a frozen text encoder)",
    )


def add_views(
    table: Table, formula: Formula, views: Sequence[str], known: Mapping[str, Viewer] | None = None
) -> Table:
    """The table with the views of a formula, through the runs that `--view` names, and frozen encoders.

    `known` are views that need no run.

    A note on stderr names sources of which only a part is read. Raises FormulaError for a run that does not
    exist, or whose name is also that of a frozen encoder.
    """
    folders = parse_pairs(views, "--view")
    names = dict.fromkeys(view.through for view in formula.views if view.through)
    for name in folders:
        if name not in names:
            raise FormulaError(f"--view {name}: {did_you_mean('view', name, names)}")
    known = known or {}
    runs = {name: Path(folders.get(name, Path("runs") / name)) for name in names if name not in known}
    for name in [name for name in ENCODERS if name in runs and name not in folders]:
        run = runs.pop(name)
        if (run / MODEL).exists() and hasattr(family_class(load_state(run)["family"]), "code_spec"):
            raise FormulaError(
                f"@{name} in {str(formula)!r} is a frozen encoder, and there is a run {run} "
                f"with codes; if that is meant write {option_text('view', name, run)}, else rename it"
            )
    for name, run in runs.items():
        if not run.is_dir():
            near = [f"; or write @{n}" for n in difflib.get_close_matches(name, ENCODERS, 1, 0.5)]
            seen = (str(view) for view in formula.views if view.through == name)
            near += [f"; or write {quote_name(v)} in quotes, a column" for v in seen if v in table.kinds]
            raise FormulaError(
                f"@{name} in {str(formula)!r}: there is no run {run}; train one there, such "
                f"as an autoencoder, or give its folder: {option_text('view', name, 'RUN')}{''.join(near)}"
            )
    viewers = {n: v for n, v in known.items() if n in names} | {n: Model.load(run) for n, run in runs.items()}
    table = table.add_views(formula, **viewers)
    specs = {name: table.columns[name].spec for name in formula.source_names}
    print_notes(
        f"{name} is a document, and as a source {spec.tokens} tokens of it are read: a window that begins "
        f"anywhere in training, the first ones in sampling; {option_text('length')} reads more"
        for name, spec in specs.items()
        if spec.windowed
    )
    return table


def print_summary(table: Table) -> None:
    """Print the report of a table in three lines to stderr, once where there are several processes."""
    for line in table.report.summary() if is_first_process() else ():
        print(line, file=sys.stderr)


def print_notes(notes: Iterable[str]) -> None:
    """Print notes to stderr, once where there are several processes."""
    for note in notes if is_first_process() else ():
        print(f"note: {note}", file=sys.stderr)

"""Learn the distribution that a formula names, P(targets | sources), from the rows of a data set."""

from __future__ import annotations

import argparse
import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.cli import child_tables, series
from likewise.cli.destination import require_no_column_of_that_name
from likewise.cli.flags import Parser, flag, parameters, parse_pairs
from likewise.cli.formatting import format_duration, format_value
from likewise.cli.progress import (
    CURVE,
    SAMPLES,
    TrainingResult,
    is_first_process,
    last_saved_step,
    train_with_progress,
)
from likewise.cli.tables import (
    DATA,
    add_table_options,
    add_view_option,
    add_views,
    open_table,
    print_notes,
    print_summary,
    table_options,
    training_table_options,
)
from likewise.core.errors import receive_warnings
from likewise.core.formula import Formula, distinct_columns, parse_name
from likewise.core.option_names import option_text
from likewise.core.options import stored_values
from likewise.data.datasets import DATASETS
from likewise.data.matching import Reference
from likewise.data.readers import DEFAULT_FORMAT
from likewise.data.structure import Structure, require
from likewise.data.table import Table
from likewise.data.views import Viewer
from likewise.families.registry import FAMILIES, family_class
from likewise.modalities import KINDS
from likewise.modalities.latent import base_of
from likewise.models.checkpoint import RunError, load_state, require_unused, resolve_run
from likewise.models.io import load_unfinished
from likewise.models.model import Model
from likewise.models.prompts import split_labels
from likewise.training.plan import Plan

MINUTES = 10.0  # without --minutes, --steps and --epochs


def run(argv: Sequence[str]) -> int:
    """`likewise train DATA FORMULA`."""
    if any(map(child_tables.names_child, argv)):
        return child_tables.train(argv)
    if any(map(series.is_forecast, argv)):
        return series.train(argv)
    parser, args = _parse(argv)
    folder = _run_folder(args)
    if not args.resume:
        require_unused(folder, args.data)
    model, table, plan = _resume(parser, args, folder) if args.resume else _begin(parser, args)
    result = train_with_progress(model, table, plan, folder, resume=args.resume)
    return print_result(result, model, table, folder)


def print_result(result: TrainingResult, model: Model, table: Table, folder: Path) -> int:
    """Print how the training ended, its files and the next command; the exit status."""
    run = shlex.quote(str(folder))
    status = 128 + result.interrupted if result.interrupted else 0
    if not is_first_process():
        return status
    if result.interrupted:
        step = last_saved_step(folder)
        how = "before the first checkpoint" if step is None else f"and saved at step {step:,}"
        print(f"stopped, {how}; to continue:\n  likewise train --resume --out {run}")
        return status
    if result.step is None:
        print(
            f"{folder} is finished; to train longer, give {option_text('resume')} more "
            f"{option_text('minutes')} or {option_text('steps')} than before"
        )
        return 0
    heldout = "" if result.heldout is None else f", held-out loss {result.heldout:.4f}"
    print(f"{result.step.step:,} steps in {format_duration(result.step.elapsed)}{heldout}")
    for title, name in (("model", ""), ("samples", SAMPLES), ("losses", CURVE)):
        if (folder / name).exists():
            print(f"  {title:10}{folder / name}")
    if hasattr(model.family, "sample"):
        print(f"to sample from it:\n  likewise sample {run}{example_sources(model, table)} -n 8")
    else:
        print(f"to evaluate it:\n  likewise evaluate {run}")
    return 0


def example_sources(model: Model, table: Table) -> str:
    """Arguments of `likewise sample RUN` that give the sources of the first held-out row."""
    whole = table.with_values(model.formula.columns)
    row = next(part[0] for part in (whole.test, whole.train, table.test, table.train) if len(part))
    columns = {n: model.columns[n] for n in distinct_columns(model.formula.sources) if row.get(n) is not None}
    texts = [n for n, column in columns.items() if column.role == "prompt"]
    if len(texts) == 1 and all(column.role in ("prompt", "class") for column in columns.values()):
        labels = {n: str(row[n]) for n in columns if n not in texts}
        prompt = row[texts[0]] + "".join(f", {label} {name}" for name, label in labels.items())
        with receive_warnings(lambda _: None):  # of endings that are read as text
            read = split_labels(prompt, columns, columns, columns.values())
        if read == (row[texts[0]], labels):
            return " " + shlex.quote(prompt)
    words = []
    for name, column in columns.items():
        base = base_of(
            column
        )  # the values of the row are those of the column itself, also behind an embedding
        value = f"{base.kind}{base.suffix}" if base.visual else row[name]
        words.append(f" --given {shlex.quote(f'{model.formula.view(name)}={value}')}")
    return "".join(words)


# ---- the command line


def _parse(argv: Sequence[str]) -> tuple[Parser, Namespace]:
    """The parser and its values. Some options are those of the family, so the family is read first."""
    first = Parser("train", add_help=False)
    for name in ("--family", "--out", "--from"):
        first.add_argument(name, dest=name.removeprefix("--"))
    first.add_argument("--resume", action="store_true")
    values = vars(first.parse_known_args(argv)[0])
    run = Path(values["out"]) if values["resume"] and values["out"] else None
    if run is None and values["from"]:
        run = resolve_run(values["from"])
    family = load_state(run)["family"] if run else values["family"]
    parser = Parser(
        "train",
        f"{__doc__} Without --minutes, --steps and --epochs it takes {MINUTES:g} minutes.",
        usage="likewise train DATA FORMULA [options]\n"
        "       likewise train PARENTS FORMULA --child CHILDREN --key COLUMN [options]\n"
        "       likewise train [DATA [FORMULA]] --from RUN --out RUN [options]\n"
        "       likewise train --resume --out RUN [options]",
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help=DATA)
    parser.add_argument(
        "formula",
        nargs="?",
        metavar="FORMULA",
        help='what to learn: "targets | sources", such as "image | text" for images given a text; * stands for all '
        'columns that it does not name: "*", "income | *"',
    )
    parser.add_argument(
        "--family",
        default=family,
        metavar="NAME",
        help=f"the kind of model: {', '.join(FAMILIES)} (default: any_order for numbers and labels, autoregressive for texts, else flow)",
    )
    parser.add_argument(
        "--out", metavar="RUN", help="the folder of the run (default runs/NAME, after the data)"
    )
    parser.add_argument(
        "--from",
        dest="first",
        metavar="RUN",
        type=Path,
        help="start from the weights of this run; its data, formula and options are used where the command "
        "line gives no others",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=COLUMN",
        help="with --from: a column of the data, and the one of the run that it stands for, where neither names nor "
        "kinds tell; may be given several times",
    )
    parser.add_argument(
        "--structure",
        action=argparse.BooleanOptionalAction,
        help="compute columns that follow from others in all rows, such as sums, instead of learning them, and keep the "
        "other rules that `likewise data` lists (default: yes)",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="RULE",
        help='a rule that every sample satisfies: "a < b", "a + b = c", "(city, country) in data", "id unique", '
        "\"code matches '[A-Z]{2}'\"; may be given several times",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run with its options; --minutes or --steps may be increased",
    )
    parser.add_signature_options("training", [("Plan", Plan)])
    families = [family] if family else ["flow", "autoregressive", "any_order"]
    parser.add_signature_options(
        "family",
        [(name, family_class(name).__init__) for name in families],
        about=f"Options of {' and '.join(families)}. --family NAME --help lists those of another family.",
    )
    add_table_options(parser)
    add_view_option(parser)
    return parser, parser.parse(argv)


def _run_folder(args: Namespace) -> Path:
    """--out, or runs/ and the name of the data."""
    if args.out:
        return Path(args.out)
    if args.first:
        raise ValueError(
            f"give the folder of the new run: likewise train --from {shlex.quote(str(args.first))} --out RUN"
        )
    if args.resume and not args.data:
        raise ValueError("name the run to continue: likewise train --resume --out RUN")
    return Path("runs") / (Path(args.data).resolve().stem if args.data else "model")


def _missing_arguments(data: str | None) -> str:
    """The message for a command line that lacks the data or the formula."""
    if data is None:
        return 'name the data and write a formula, such as: likewise train icons "image | text"'
    if "|" in data:
        return f"name the data before the formula: likewise train DATA {shlex.quote(data)}"
    word = shlex.quote(data)
    return (
        f'write a formula after the data, such as: likewise train {word} "image | text"; '
        f"`likewise data {word}` shows the columns"
    )


# ---- what is trained


def _begin(parser: Parser, args: Namespace) -> tuple[Model, Table, Plan]:
    """A new run. What can be checked without the data is checked before it is read."""
    if args.first:
        return _begin_from(parser, args)
    if args.map:
        raise ValueError(
            "--map names columns of a run to start from; give the run, --from RUN, or leave --map out"
        )
    if args.data is None or args.formula is None:
        raise ValueError(_missing_arguments(args.data))
    if "|" in args.data and not Path(args.data).exists():
        words = f"{shlex.quote(args.formula)} {shlex.quote(args.data)}"
        raise ValueError(f"name the data before the formula: likewise train {words}")
    formula, plan = Formula.parse(args.formula), _plan(parser, args)
    require_no_column_of_that_name(formula.target_names)
    table = open_table(args, parser, formula)
    every, formula = formula.has_all, table.expand(formula)
    require_no_column_of_that_name(formula.target_names)
    table = add_views(table, formula, args.view)
    options = parser.values_of(args, "family")
    structure = _structure(args, table)
    model = Model(formula, table.columns, args.family, seed=plan.seed, structure=structure, **options)
    model.ids = table.ids(formula) if every else {}
    print_summary(table)
    print_notes(model.structure.lines())
    return model, table, plan


def _structure(args: Namespace, table: Table) -> Structure:
    """The rules of the rows of a table, and those that the command line requires."""
    structure = Structure() if args.structure is False else table.structure
    if not args.require:
        return structure
    return require(structure, args.require, table.columns, [table[i] for i in range(len(table))])


def _require_new_run(args: Namespace, run: str) -> None:
    """Raise RunError if the command line says what the rules of a model are that has its own."""
    if args.require or args.structure is not None:
        option = option_text("require") if args.require else option_text("structure", args.structure)
        raise RunError(f"{run} has its own structure; leave {option} out, or train a new model")


def _begin_from(parser: Parser, args: Namespace) -> tuple[Model, Table, Plan]:
    """A new run that starts from the weights of another one, on its data or others."""
    state = load_state(resolve_run(args.first))
    if args.family != state["family"]:
        raise RunError(
            f"{args.first} is of the family {state['family']}, and weights of another one do not fit; leave "
            f"{option_text('family')} out"
        )
    _require_new_run(args, str(args.first))
    names = {name: parse_name(column) for name, column in parse_pairs(args.map, "--map").items()}
    plan, wanted = _plan(parser, args), Formula.parse(args.formula) if args.formula else None
    if wanted and wanted.has_all:
        with stored_values():
            wanted = (
                open_table(args, parser) if args.data else Table.open(**_own_data(parser, args, state))
            ).expand(wanted)
    model = Model.load(args.first)
    reference = Reference(model.formula, model.columns, names, wanted)
    if args.data:
        table = open_table(args, parser, like=reference)
    else:
        table = Table.open(**_own_data(parser, args, state), like=reference)
    table = _add_new_views(args, table, model, reference)
    adapted = model.adapt(table, wanted, names=names, seed=plan.seed, **parser.values_of(args, "family"))
    assert adapted.adaptation is not None
    if args.data:
        print_summary(table)
    print_notes(adapted.adaptation.lines(str(args.first)))
    return adapted, table.with_views(adapted.columns, adapted.formula), plan


def _own_data(parser: Parser, args: Namespace, state: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `Table.open` for the data of the run itself, with options of columns from the command line."""
    options = table_options(args, parser)
    given = options.pop("options")
    data = training_table_options(args.first, state)
    of_data = given.keys() & parameters(DATASETS[data["source"]]) if data["source"] in DATASETS else set()
    given_options = {name for name, value in options.items() if value or name in vars(DEFAULT_FORMAT)}
    if given_options or of_data or args.map:
        raise ValueError("options of the data without the data: name it before the other options")
    settled = {name for kind in KINDS.values() for name in kind.settled}
    kept = {name: value for name, value in data["options"].items() if name not in settled}
    return {**{n: v for n, v in data.items() if n != "like"}, "options": {**kept, **given}}


def _add_new_views(args: Namespace, table: Table, model: Model, reference: Reference) -> Table:
    """The table with the views of the new formula that the run does not have."""
    matching = reference.match(table.stored_kinds)
    known = {name: view for name, view in model.views.items() if isinstance(view, Viewer)}
    for name in parse_pairs(args.view, "--view"):
        if name in known:
            raise RunError(
                f"{args.first} has the model {name} that it sees columns through; leave {option_text('view')} {name} out"
            )
    views = [v for v in matching.formula.views if v.name not in {*matching.views, v.column}]
    return add_views(table, Formula(tuple(views)), args.view, known) if views or args.view else table


def _plan(parser: Parser, args: Namespace) -> Plan:
    options = parser.values_of(args, "training")
    return (
        Plan(**options)
        if options.keys() & {"minutes", "steps", "epochs"}
        else Plan(minutes=MINUTES, **options)
    )


def _resume(parser: Parser, args: Namespace, folder: Path) -> tuple[Model, Table, Plan]:
    """An interrupted run, with more minutes or steps if they are given.

    Raises RunError if the command line contradicts the run in anything else.
    """
    if args.first or args.map:
        option = "--from" if args.first else "--map"
        raise RunError(f"{folder} continues with its own weights; leave {option} out, or leave --resume out")
    _require_new_run(args, str(folder))
    state = load_state(folder)
    if not state["plan"]:
        raise RunError(
            f"{folder} was not trained here, so there is nothing to continue; start from its "
            f"weights: likewise train DATA --from {shlex.quote(str(folder))} --out RUN"
        )
    if args.view:
        raise RunError(f"{folder} has the models that it sees columns through; leave --view out")
    plan, data = dict(state["plan"]), training_table_options(folder, state)
    for name, value in parser.values_of(args, "training").items():
        if name in ("minutes", "steps") and plan[name] is not None and value >= plan[name]:
            plan[name] = value
        _check_same(folder, flag(name), value, plan.get(name))
    defaults = {n: p.default for n, p in parameters(family_class(state["family"]).__init__).items()}
    for name, value in parser.values_of(args, "family").items():
        _check_same(folder, flag(name), value, (defaults | state["options"])[name])
    _check_same_data(folder, args, table_options(args, parser), data)
    _check_same(folder, "--family", args.family, state["family"])
    model = load_unfinished(folder)
    with stored_values():
        table = Table.open(**data)
        if args.formula:
            _check_same(folder, "the formula", str(table.expand(args.formula)), state["formula"])
        return model, table.with_views(model.columns, model.formula), Plan(**plan)


def _check_same_data(folder: Path, args: Namespace, options: dict[str, Any], data: dict[str, Any]) -> None:
    """Raise RunError if the command line names other data, or reads it in another way, than the run did."""
    for name, value in options.pop("options").items():
        _check_same(folder, flag(name), value, data["options"].get(name))
    for name, value in options.pop("kinds").items():
        _check_same(folder, f"--kind of {name}", value, data["kinds"].get(name))
    for name, value in options.items():
        if value is not None and (name, value) != ("skip_bad", False):
            _check_same(folder, flag(name), value, data.get(name, getattr(DEFAULT_FORMAT, name, None)))
    if args.data:
        path = str(Path(args.data).expanduser().resolve())
        source = path if path == data["source"] else args.data
        _check_same(folder, "the data", source, data["source"])


def _check_same(folder: Path, what: str, value: Any, before: Any) -> None:
    if value != before:
        was = f"without {what}" if before is None else f"with {what} {format_value(before)}"
        raise RunError(
            f"{folder} was started {was}, not {format_value(value)}; leave {what} out to continue it, or "
            "give another --out for a new run"
        )

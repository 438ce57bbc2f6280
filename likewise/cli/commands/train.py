"""Learn the distribution that a formula names, P(targets | sources), from the rows of a data set."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from likewise.cli.commands.data import SOURCE, open_table, opened, seen, table_args, table_flags, view_flag
from likewise.cli.flags import Parser, flag, format_value, parameters
from likewise.cli.progress import (
    CURVE,
    SAMPLES,
    Ending,
    clock,
    first_process,
    last_saved_step,
    train_with_progress,
)
from likewise.core.formula import Formula, View, distinct_columns
from likewise.data.datasets import DATASETS
from likewise.data.table import Table
from likewise.families.registry import FAMILIES, family_class
from likewise.modalities import KINDS
from likewise.models.checkpoint import RunError, load_state, resolve_run
from likewise.models.model import Model
from likewise.training.plan import Plan

MINUTES = 10.0  # of a run that is told neither minutes nor steps


def run(argv: Sequence[str]) -> int:
    """`likewise train SOURCE FORMULA`."""
    parser, args = _read(argv)
    folder = _folder(args)
    model, table, plan = _left(parser, args, folder) if args.resume else _new(parser, args)
    return report(train_with_progress(model, table, plan, folder, resume=args.resume), model, table, folder)


def report(ending: Ending, model: Model, table: Table, folder: Path) -> int:
    """Say where things are and what to do next; the exit status."""
    where = shlex.quote(str(folder))
    if not first_process():
        return 130 if ending.stopped else 0
    if ending.stopped:
        step = last_saved_step(folder)
        print(
            "stopped before there was anything to save"
            if step is None
            else f"stopped, and saved at step {step:,}; to go on:\n  likewise train --resume --out {where}"
        )
        return 130
    if ending.step is None:
        print(f"{folder} is finished; to train it on, give --resume more --minutes or --steps than it had")
        return 0
    heldout = "" if ending.heldout is None else f", held-out loss {ending.heldout:.4f}"
    print(f"{ending.step.step:,} steps in {clock(ending.step.elapsed)}{heldout}")
    for what, name in (("model", ""), ("pictures", SAMPLES), ("curve", CURVE)):
        if (folder / name).exists():
            print(f"  {what:10}{folder / name}")
    if not hasattr(model.family, "sample"):
        print(f"to measure it:\n  likewise evaluate {where}")
        return 0
    print(f"to draw from it:\n  likewise sample {where}{example(model, table)} -n 8")
    return 0


def example(model: Model, table: Table) -> str:
    """Words after `likewise sample RUN` that give a model its sources, as in the first row held out."""
    row = (table.test if len(table.test) else table.train)[0]
    columns = {n: model.columns[n] for n in distinct_columns(model.sources)}
    texts = [n for n, column in columns.items() if column.role == "prompt"]
    if len(texts) == 1 and all(column.role in ("prompt", "class") for column in columns.values()):
        endings = "".join(f", {row[n]} {n}" for n, column in columns.items() if column.role == "class")
        return " " + shlex.quote(row[texts[0]] + endings)
    values = {n: f"{View.parse(n).column}{c.suffix}" if c.visual else str(row[n]) for n, c in columns.items()}
    return "".join(f" --given {shlex.quote(f'{n}={value}')}" for n, value in values.items())


# ---- the command line


def _read(argv: Sequence[str]) -> tuple[Parser, Namespace]:
    """The options. Some are the family's, so the family is looked for first."""
    early = Parser("train", add_help=False)
    early.add_argument("--family")
    early.add_argument("--out")
    early.add_argument("--from", dest="first")
    early.add_argument("--resume", action="store_true")
    early = early.parse_known_args(argv)[0]
    old = Path(early.out) if early.resume and early.out else early.first and resolve_run(early.first)
    family = load_state(old)["family"] if old else early.family
    parser = Parser(
        "train",
        f"{__doc__} Without --minutes and --steps: {MINUTES:g} minutes.",
        usage="likewise train SOURCE FORMULA [options]\n"
        "       likewise train [SOURCE] --from RUN --out RUN [options]\n"
        "       likewise train --resume --out RUN [options]",
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE", help=SOURCE)
    parser.add_argument("formula", nargs="?", metavar="FORMULA", help='targets | sources: "image | text"')
    parser.add_argument(
        "--family",
        default=family,
        metavar="NAME",
        help=f"how it is learned: {', '.join(FAMILIES)} (default: autoregressive for texts, else flow)",
    )
    parser.add_argument(
        "--out", metavar="RUN", help="the folder of the run (default runs/NAME, after the data)"
    )
    parser.add_argument(
        "--from",
        dest="first",
        metavar="RUN",
        type=Path,
        help="begin with the weights of a run; its data and formula may be left out, and "
        "options are its own unless given",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run as it was begun; --minutes or --steps may be more than before",
    )
    parser.add_signature_options("plan", [Plan])
    parser.add_signature_options(
        "family",
        [family_class(name).__init__ for name in ([family] if family else ["flow", "autoregressive"])],
    )
    table_flags(parser)
    view_flag(parser)
    return parser, parser.read(argv)


def _folder(args: Namespace) -> Path:
    """--out, or runs/ and the name of the data."""
    if args.out:
        return Path(args.out)
    if args.first:
        raise ValueError(f"say where the new run goes: likewise train --from {args.first} --out RUN")
    if args.resume and not args.source:
        raise ValueError("say which run to go on with: likewise train --resume --out RUN")
    return Path("runs") / (Path(args.source or "").resolve().stem if args.source else "model")


def _incomplete(source: str | None) -> str:
    """What to write instead of a command line that lacks the data or the formula."""
    if source is None:
        return 'name the data and write a formula, such as: likewise train icons "image | text"'
    if "|" in source:
        return f"name the data before the formula: likewise train DATA {shlex.quote(source)}"
    given = shlex.quote(source)
    return (
        f'write a formula after the data, such as: likewise train {given} "image | text"; '
        f"`likewise data {given}` shows the columns"
    )


# ---- what is trained


def _new(parser: Parser, args: Namespace) -> tuple[Model, Table, Plan]:
    """A model to be trained. What can be wrong without the data is looked at before it."""
    if args.first:
        return _from(parser, args)
    if args.source is None or args.formula is None:
        raise ValueError(_incomplete(args.source))
    formula, plan = Formula.parse(args.formula), _plan(parser, args)
    table = seen(open_table(args, parser, formula), formula, args.view)
    options = parser.values_of(args, "family")
    return Model(formula, table.columns, args.family, seed=plan.seed, **options), table, plan


def _from(parser: Parser, args: Namespace) -> tuple[Model, Table, Plan]:
    """A model that begins with the weights of a run, on its data or others."""
    state, asked = load_state(resolve_run(args.first)), table_args(args, parser)
    formula = Formula.parse(args.formula or state["formula"])
    if (str(formula), args.family) != (state["formula"], state["family"]):
        raise RunError(
            f"{args.first} is {state['formula']!r} of the family {state['family']}; "
            "leave formula and family out to begin with it"
        )
    if args.view:
        raise RunError(f"{args.first} keeps the models that it sees columns through; leave --view out")
    if not args.source and any(asked.values()):
        raise ValueError("options of the data without the data: name it before the other options")
    demo = parameters(DATASETS[args.source]) if args.source in DATASETS else {}
    read = {name for kind in KINDS.values() for name in kind.options()} - demo.keys()
    if kept := [name for name in asked["options"] if name in read]:
        raise RunError(f"{args.first} reads columns as it did before; leave {flag(kept[0])} out")
    model = Model.load(resolve_run(args.first), **parser.values_of(args, "family"))
    table = (
        open_table(args, parser, formula, model.columns)
        if args.source
        else Table.open(**opened(args.first, state))
    )
    return model, table.with_views(model.columns), _plan(parser, args)


def _plan(parser: Parser, args: Namespace) -> Plan:
    asked = parser.values_of(args, "plan")
    return Plan(**asked) if asked.keys() & {"minutes", "steps"} else Plan(minutes=MINUTES, **asked)


def _left(parser: Parser, args: Namespace, folder: Path) -> tuple[Model, Table, Plan]:
    """A run as it was left, its end moved. Raises RunError if the command line contradicts it otherwise."""
    if args.first:
        raise RunError(f"{folder} is to go on as it is; leave --from out, or leave --resume out")
    state = load_state(folder)
    if not state["plan"]:
        raise RunError(
            f"{folder} was not trained here, so there is nothing to go on with; begin with its "
            f"weights: likewise train DATA --from {folder} --out RUN"
        )
    plan, data = dict(state["plan"]), opened(folder, state)
    for name, value in parser.values_of(args, "plan").items():
        if name in ("minutes", "steps") and plan[name] is not None and value >= plan[name]:
            plan[name] = value
        _same(folder, flag(name), value, plan[name])
    defaults = {n: p.default for n, p in parameters(family_class(state["family"]).__init__).items()}
    for name, value in parser.values_of(args, "family").items():
        _same(folder, flag(name), value, (defaults | state["options"])[name])
    asked = table_args(args, parser)
    for name, value in asked.pop("options").items():
        _same(folder, flag(name), value, data["options"].get(name))
    for name, value in asked.pop("kinds").items():
        _same(folder, f"--kind of {name}", value, data["kinds"].get(name))
    for name, value in asked.items():
        if value is not None and value is not False:
            _same(folder, flag(name), value, data.get(name))
    if args.source:
        path = str(Path(args.source).expanduser().resolve())
        _same(folder, "the source", path if path == data["source"] else args.source, data["source"])
    if args.formula:
        _same(folder, "the formula", str(Formula.parse(args.formula)), state["formula"])
    _same(folder, "--family", args.family, state["family"])
    if args.view:
        raise RunError(f"{folder} keeps the models that it sees columns through; leave --view out")
    model = Model.load(folder)
    return model, Table.open(**data).with_views(model.columns), Plan(**plan)


def _same(folder: Path, what: str, value: Any, before: Any) -> None:
    if value != before:
        was = f"without {what}" if before is None else f"with {what} {format_value(before)}"
        raise RunError(
            f"{folder} was begun {was}, not {format_value(value)}; leave {what} out to go on with it, or "
            "give another --out to begin again"
        )

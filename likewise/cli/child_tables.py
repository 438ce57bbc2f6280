"""Commands on a parent and a child table: what `train` does with --child, and `sample` and `evaluate` with such a run."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from likewise.cli.destination import add_overwrite_option, file_to_write, require_unused_files
from likewise.cli.flags import Parser, parse_pairs
from likewise.cli.progress import train_with_progress
from likewise.cli.tables import DATA, add_table_options, table_options
from likewise.core.files import atomic_write
from likewise.core.formula import parse_name
from likewise.core.option_names import option_text
from likewise.core.provenance import KEY, provenance
from likewise.core.ranges import NumSamples, Seed
from likewise.data.child_tables import join_tables
from likewise.data.split import Holdout
from likewise.data.table import Table
from likewise.data.table_writer import ENDINGS, TableColumn, is_table_file, write_table
from likewise.evaluation.child_tables import evaluate_child_tables
from likewise.families.registry import family_class
from likewise.modalities.base import Modality, Row
from likewise.models.checkpoint import TABLES, RunError, load_state, require_unused
from likewise.models.parent_child import CHILDREN, PARENTS, ParentChild
from likewise.models.requests import parse_prompts
from likewise.training.plan import Plan

MINUTES = 10.0  # without --minutes, --steps and --epochs


def names_child(word: str) -> bool:
    """Whether a word of a command line is the option --child."""
    return word == "--child" or word.startswith("--child=")


def is_parent_child(run: str | Path) -> bool:
    """Whether a folder is a run of a parent and a child table."""
    try:
        return (Path(run) / TABLES).is_file()
    except (OSError, ValueError):  # of a name that no folder can have
        return False


def train(argv: Sequence[str]) -> int:
    """`likewise train PARENTS FORMULA --child CHILDREN --key COLUMN`."""
    parser = Parser(
        "train",
        "Learn a table and a child table, whose rows belong to rows of the first. The two models share --minutes.",
        usage='likewise train customers.csv "*" --child orders.csv --key customer_id [options]',
    )
    parser.add_argument("data", metavar="PARENTS", help=DATA)
    parser.add_argument("formula", metavar="FORMULA", help='what to learn of the parents, such as "*"')
    parser.add_argument("--child", required=True, metavar="CHILDREN", help="the table of the children")
    parser.add_argument("--key", required=True, metavar="COLUMN", help="the column that both tables have")
    parser.add_argument(
        "--order",
        metavar="COLUMN",
        help="the dates or numbers by which children are in order (default: found)",
    )
    parser.add_argument("--out", type=Path, metavar="RUN", help="the folder of the run (default runs/NAME)")
    parser.add_signature_options("training", [("Plan", Plan)])
    parser.add_signature_options("family", [("any_order", family_class("any_order").__init__)])
    add_table_options(parser)
    args = parser.parse(argv)
    folder = args.out or Path("runs") / Path(args.data).resolve().stem
    require_unused(folder, args.data)
    values = parser.values_of(args, "training")
    lengths = values.keys() & {"minutes", "steps", "epochs"}
    plan = Plan(**values) if lengths else Plan(minutes=MINUTES, **values)
    if plan.minutes is not None:
        plan = replace(plan, minutes=plan.minutes / 2)
    key = parse_name(args.key)
    options = table_options(args, parser)
    split = Holdout(**{name: options.pop(name) for name in ("holdout", "by", "pairs", "near_copies")})
    parents, rows = (open_with_key(source, key, options) for source in (args.data, args.child))
    order = args.order and parse_name(args.order)
    tables = join_tables(parents, rows, key, order=order, skip_bad=args.skip_bad, holdout=split)
    layout = tables.layout
    model = ParentChild.of(tables, args.formula, seed=plan.seed, **parser.values_of(args, "family"))
    children = sum(map(len, tables.rows))
    ordered = f"in the order of {layout.order}" if layout.order else "in the order of the file"
    print(
        f"{len(tables.parents):,} parents with {children:,} children, {ordered}; P({model.parents.formula})"
    )
    sources = {"data": parents.source, "child": rows.source}
    for name, part, table in (
        (PARENTS, model.parents, tables.parents),
        (CHILDREN, model.children, tables.children),
    ):
        of_part = (
            plan if name == PARENTS else replace(plan, source_dropout=0.0)
        )  # a source that is absent is missing
        result = train_with_progress(part, table, of_part, folder / name)
        if result.interrupted:
            print(
                f"stopped; the models of a parent and a child table are trained in one go: begin again in another {option_text('out')}"
            )
            return 128 + result.interrupted
    fields: dict[str, Any] = {
        "options": options,
        "split": asdict(split),
        "skip_bad": args.skip_bad,
        "order_option": order,
    }
    fields["fingerprints"] = [table.fingerprint for table in (parents, rows)]
    model.save_state(folder, plan=asdict(plan), **sources, **fields)
    run = shlex.quote(str(folder))
    print(
        f"  models    {folder}\nto sample from it:\n  likewise sample {run} -n {len(tables.parents)} --out {Path(args.data).stem}-samples.csv"
    )
    return 0


def open_with_key(source: str, key: str, options: Mapping[str, Any]) -> Table:
    """A table whose key is read as an id. Raises TableError."""
    kinds = dict(options.get("kinds", {}))
    try:
        return Table.open(source, **{**options, "kinds": {**kinds, key: "id"}})
    except ValueError as error:
        if repr(key) not in str(error):
            raise
        raise type(error)(f"{source}: {error}") from None


def sample(argv: Sequence[str]) -> int:
    """`likewise sample RUN -n N --out PARENTS.csv` of a run of a parent and a child table."""
    parser = Parser(
        "sample", "Sample parents and their children.", usage="likewise sample RUN -n N --out FILE [options]"
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of the run")
    parser.add_value_option("-n", "--n", annotation=NumSamples, default=4, about="parents")
    parser.add_value_option("--seed", annotation=Seed, default=0, about="random seed")
    parser.add_argument(
        "--given", action="append", default=[], metavar="NAME=VALUE", help="a value of every parent"
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE",
        help="the parents, a .csv, .tsv, .parquet, .xlsx or .jsonl",
    )
    parser.add_argument(
        "--child-out",
        type=Path,
        metavar="FILE",
        help="the children (default: named after their data, beside --out)",
    )
    add_overwrite_option(parser)
    args = parser.parse(argv)
    state, model = load_state(args.run, TABLES), ParentChild.load(args.run)
    out = args.out
    child = args.child_out or out.with_name(Path(state.get("child") or CHILDREN).stem + out.suffix)
    _check_files(out, child, args.overwrite, [state.get("data"), state.get("child")])
    [given] = parse_prompts(model.parents, [], parse_pairs(args.given, "--given"))
    began = time.perf_counter()
    parents, children = model.sample([given.values] * args.n, seed=args.seed)
    about = provenance(model=str(args.run), given=given.strings, seed=args.seed)
    key, layout = model.layout.key, model.layout
    of_children: dict[str, Modality] = {
        n: model.children.columns[n] for n in layout.columns if n in model.children.columns
    }
    of_children |= {layout.order: model.order} if model.order else {}
    of_children = {n: of_children[n] for n in layout.columns if n in of_children}
    hidden = {layout.count, layout.first}
    of_parents = {n: c for n, c in model.parents.target_columns.items() if n not in hidden}
    of_parents |= {n: model.parents.columns[n] for n in given.values if n in model.parents.sources}
    for path, rows, columns in ((out, parents, of_parents), (child, children, of_children)):
        _write(path, rows, {key: model.keys, **columns}, about)
    print(
        f"{out}: {len(parents):,} parents, {child}: {len(children):,} children in {time.perf_counter() - began:.1f} s"
    )
    return 0


def _check_files(out: Path, child: Path, overwrite: bool, sources: Sequence[str | None]) -> None:
    """Raise ValueError for files that cannot be written."""
    for path in (out, child):
        if not is_table_file(path):
            raise ValueError(f"{path}: write the rows to a file that ends in {', '.join(ENDINGS)}")
        if str(path.resolve()) in sources:
            raise ValueError(
                f"{path} is the data that the run was trained on; give another {option_text('out')}, or {option_text('child_out')}"
            )
    if out.resolve() == child.resolve():
        raise ValueError(
            f"{out} would hold the parents and the children; give another {option_text('child_out')}"
        )
    if not overwrite:
        require_unused_files([out, child], "--out")


def _write(path: Path, rows: Sequence[Row], columns: Mapping[str, Modality], about: Row) -> None:
    """Write the columns of rows."""
    written = [TableColumn.of(name, column) for name, column in columns.items()]
    write_table(path, written, [[[row.get(n) for n in columns] for row in rows]], about, len(rows))


def evaluate(argv: Sequence[str]) -> int:
    """`likewise evaluate RUN` of such a run."""
    parser = Parser("evaluate", "Compare sampled parents and children with those that are held out.")
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of the run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report (default RUN/report.json)")
    parser.add_value_option("--seed", annotation=Seed, default=0, about="of everything random")
    add_overwrite_option(parser)
    args = parser.parse(argv)
    out = file_to_write(args.out, args.run / "report.json", args.overwrite)
    state, model = load_state(args.run, TABLES), ParentChild.load(args.run)
    opened = [open_with_key(state[name], state["key"], state["options"]) for name in ("data", "child")]
    if [table.fingerprint for table in opened] != state["fingerprints"]:
        raise RunError(
            f"{state['data']} or {state['child']} is not what {args.run} was trained on; restore it, or train again"
        )
    order, split = state["order_option"], Holdout(**state["split"])
    tables = join_tables(
        opened[0], opened[1], state["key"], order=order, skip_bad=state["skip_bad"], holdout=split
    )
    report = evaluate_child_tables(model, tables, seed=args.seed)
    values = {KEY: provenance(model=str(args.run)), **report.to_json()}
    atomic_write(out, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
    print(f"{report}\n\nreport: {out}")
    return 0

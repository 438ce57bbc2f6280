"""Compute the log-probability of rows under a trained model, and list the least likely ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from likewise.cli.destination import add_overwrite_option, file_to_write
from likewise.cli.flags import Parser
from likewise.cli.requests import RUN
from likewise.cli.tables import DATA, add_table_options, open_table, print_notes
from likewise.core.files import atomic_write
from likewise.core.printing import align_columns
from likewise.core.provenance import KEY, provenance
from likewise.core.ranges import Seed
from likewise.data.table import Table
from likewise.modalities.base import Row
from likewise.modalities.text import Text
from likewise.models.io import load
from likewise.models.model import Model

NUM_ROWS = 5  # that are printed


def run(argv: Sequence[str]) -> int:
    """`likewise score RUN DATA`."""
    parser = Parser("score", __doc__, usage="likewise score RUN DATA [--out FILE.jsonl] [options]")
    parser.add_argument("run", metavar="RUN", type=Path, help=RUN)
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="a .jsonl that is written, with a line for each row"
    )
    parser.add_value_option(
        "--seed",
        annotation=Seed,
        default=0,
        about="random seed, for families whose log-probability is estimated with noise",
    )
    add_overwrite_option(parser)
    add_table_options(parser)
    args = parser.parse(argv)
    if args.out:
        if args.out.suffix != ".jsonl":
            raise ValueError(f"--out {args.out}: write a name that ends in .jsonl")
        file_to_write(args.out, args.out, args.overwrite)
    model = load(args.run)
    if not isinstance(model, Model):
        raise ValueError(f"{args.run} is a pipeline, which has no log-probability; score one of its links")
    model.scoring_options()  # raises ValueError for a family without one, before any data is read
    table = open_table(args, parser, model.formula, model.columns)
    if missing := [v.column for v in model.learned.targets if v.column not in table.kinds]:
        raise ValueError(
            f"{args.data} has no column {missing[0]!r}, which is a target of the model; "
            f"it has {', '.join(table.kinds)}"
        )
    table = table_to_score(model, table)
    print_notes(table.report.notes())
    rows, numbers, skipped = rows_to_score(model, table, args.skip_bad)
    scores, kind = score_rows(model, rows, args.seed)
    for name in dict.fromkeys(view.column for view in model.formula.sources):
        if name not in table.kinds:
            print(f"{args.data} has no column {name!r}: every row is scored without it", file=sys.stderr)
    unit = next(n for n in ("bits/byte", "bits/dim") if n in scores[0])
    finite = [score[unit] for score in scores if np.isfinite(score[unit])]
    mean = np.mean(finite) if finite else np.inf
    of = f"of {len(finite):,} that violate no rule, " if len(finite) < len(rows) else ""
    print(f"P({model.formula}), {args.data}: {len(rows):,} rows, {of}{mean:.4g} {unit} on average ({kind})\n")
    names = model.formula.columns
    lines = [
        [
            str(numbers[i]),
            *(f"{value:.4g}" for value in scores[i].values()),
            *(model.columns[n].summarize(v) if (v := rows[i].get(n)) is not None else "" for n in names),
        ]
        for i in sorted(range(len(rows)), key=lambda i: -scores[i][unit])[:NUM_ROWS]
    ]
    print("least likely:")
    print(align_columns([["row", *scores[0], *map(str, model.formula.views)], *lines]))
    broken = model.violations(rows)
    print_violations(broken, numbers)
    if args.out:
        about = {KEY: provenance(model=str(args.run), data=args.data, seed=args.seed)}
        results: dict[int, Row] = dict(zip(numbers, scores, strict=True))
        for number, rules in zip(numbers, broken, strict=True):
            if rules:
                finite_or_null = {n: v if np.isfinite(v) else None for n, v in results[number].items()}
                results[number] = {**finite_or_null, "violates": rules}
        lines_of = results | skipped_rows(table) | skipped
        text = "".join(
            json.dumps({**about, "row": i, **lines_of[i]}, ensure_ascii=False) + "\n"
            for i in sorted(lines_of)
        )
        atomic_write(args.out, text.encode())
        print(f"\nall rows: {args.out}")
    return 0


def print_violations(broken: Sequence[Sequence[str]], numbers: Sequence[int]) -> None:
    """Print the rules of the model that rows violate, with the first rows that do."""
    rows: dict[str, list[int]] = {}
    for number, rules in zip(numbers, broken, strict=True):
        for rule in rules:
            rows.setdefault(rule, []).append(number)
    for rule, violating in rows.items():
        some = ", ".join(map(str, violating[:NUM_ROWS])) + (", ..." if len(violating) > NUM_ROWS else "")
        print(f"\n{rule} is violated in {len(violating):,} of {len(numbers):,} rows: row {some}")


def table_to_score(model: Model, table: Table) -> Table:
    """The table as the model reads it, without the rows that it cannot encode if these are skipped."""
    columns = {n: c for n, c in model.columns.items() if model.formula.view(n).column in table.kinds}
    return table.with_views(columns, model.formula)


def rows_to_score(model: Model, table: Table, skip_bad: bool) -> tuple[list[Row], list[int], dict[int, Row]]:
    """The rows of a table, of documents as a whole, and their numbers; and why others are skipped, by their numbers.

    These lack targets that the family cannot leave out. Raises ValueError for them unless bad rows are skipped.
    """
    numbers = list(dict.fromkeys(table.row_numbers()))
    documents = [name for name in model.targets if model.columns[name].spec.windowed]
    if documents:
        return table.documents(documents[0]), numbers, {}
    rows = dict(zip(numbers, (table[i] for i in range(len(table))), strict=True))
    reasons = {number: reason for number, row in rows.items() if (reason := model.why_unscored(row))}
    if reasons:
        count, (first, reason) = len(reasons), next(iter(reasons.items()))
        if not skip_bad or count == len(rows):
            advice = "give the value, or leave them out with --skip-bad"
            raise ValueError(
                f"{count:,} of {len(rows):,} rows cannot be scored; row {first}: {reason}; {advice}"
            )
        print_notes([f"{count:,} of {len(rows):,} rows are not scored; row {first}: {reason}"])
    scored = {number: row for number, row in rows.items() if number not in reasons}
    return [*scored.values()], [*scored], {number: {"skipped": reason} for number, reason in reasons.items()}


def skipped_rows(table: Table) -> dict[int, Row]:
    """The number of each row that was left out, and the reason, in place of its scores."""
    reasons: dict[int, list[str]] = {}
    for bad in table.skipped:
        reasons.setdefault(bad.row, []).append(f"{bad.column}: {bad.reason}" if bad.column else bad.reason)
    return {row: {"skipped": "; ".join(parts)} for row, parts in reasons.items()}


def score_rows(model: Model, rows: Sequence[Row], seed: int = 0) -> tuple[list[dict[str, float]], str]:
    """The scores of each row by their names, and their kind (Score.kind).

    log p is in nats. If the only target is a text, bits per byte and perplexity are added, else bits per
    dimension.
    """
    score = model.log_prob(rows, seed=seed)
    nats = score.nats.double().cpu().numpy()
    column = model.columns[model.targets[0]]
    if len(model.targets) > 1 or not isinstance(column, Text):
        bits = score.bits_per_dim.double().cpu().numpy()
        return [
            {"log p": float(p), "bits/dim": float(b)} for p, b in zip(nats, bits, strict=True)
        ], score.kind
    texts = [row[model.targets[0]] for row in rows]
    return [
        {
            "log p": float(p),
            "bits/byte": float(-p / np.log(2) / len(text.encode())),
            "perplexity": float(np.exp(-p / column.num_scored_tokens(text))),
        }
        for p, text in zip(nats, texts, strict=True)
    ], score.kind

"""Show a data set: what was read and as what, what is odd, example rows and a sheet of pictures. Every row is checked."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from likewise.cli import series
from likewise.cli.destination import add_overwrite_option, file_to_write
from likewise.cli.flags import Parser
from likewise.cli.tables import DATA, add_table_options, table_options
from likewise.core.formula import View, quote_name
from likewise.core.printing import align_columns
from likewise.data.suggestion import suggest_formula
from likewise.data.table import Table
from likewise.viz import images

PREVIEW = "preview.png"
NUM_ROWS, NUM_IMAGES, ACROSS = 5, 64, 8  # rows shown as text, rows on the sheet and in a line of it


def run(argv: Sequence[str]) -> int:
    """`likewise data DATA`."""
    parser = Parser("data", __doc__, usage="likewise data DATA [options]")
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument(
        "--preview",
        type=Path,
        metavar="FILE",
        help=f"where the sheet of pictures is written (default {PREVIEW})",
    )
    add_overwrite_option(parser)
    add_table_options(parser)
    args = parser.parse(argv)
    preview = file_to_write(args.preview, PREVIEW, args.overwrite, option="--preview")
    table = Table.open(args.data, **{**table_options(args, parser), "skip_bad": True})
    report = replace(table.report, source=args.data)  # as it is on the command line
    print(f"{report}\n")
    if report.skipped and not args.skip_bad:
        print("training stops at rows that cannot be used; correct them, or leave them out with --skip-bad\n")
    examples = [
        ["" if value is None else table.columns[name].summarize(value) for name, value in row.items()]
        for row in images.evenly_spaced(table, NUM_ROWS)
    ]
    print(align_columns([[*map(quote_name, table.kinds)], *examples]) + "\n")
    if names := images.visual_columns(table.columns, list(table.kinds)):
        rows = [
            row for row in images.evenly_spaced(table, NUM_IMAGES) if all(row[n] is not None for n in names)
        ]
        others = [View(name) for name in table.kinds if name not in names]
        captions = [images.caption(row, others[:1]) for row in rows]
        images.save(images.sheet(table.columns, rows, names, captions, ACROSS), preview)
        print(f"pictures: {preview}\n")
    elif args.preview:
        print(f"no column is shown as pictures, so {preview} is not written\n")
    formula = shlex.quote(suggest_formula(table))
    print(f"to train a model of it:\n  likewise train {shlex.quote(args.data)} {formula}")
    if Path(args.data).is_file() and (found := series.suggestion(args.data)) is not None:
        print(found)
    return 0

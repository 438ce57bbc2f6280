"""The report of a table as JSON: what was read, as what, what cannot be used and why, and some rows.

python -m likewise.server.processes.check_table SOURCE OPTIONS OUT
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.core.errors import receive_warnings
from likewise.core.formula import quote_name
from likewise.data.suggestion import suggest_formulas
from likewise.data.table import Table
from likewise.modalities.base import Modality
from likewise.modalities.picture_files import write
from likewise.server.catalog.schema import input_type
from likewise.viz.images import evenly_spaced

NUM_ROWS = 8  # that are shown
MAX_BAD = 200  # rows that are listed
MAX_TEXT = 200  # characters of a value that is shown
MAX_SIDE = 128  # pixels of a picture that is shown
MAX_CLASSES = 100  # of a column that are listed


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 for a source that cannot be read, with the reason on standard error."""
    source, options, out = arguments
    try:
        report = check_table(source, json.loads(options))
    except (ValueError, OSError, MemoryError) as error:
        message = "there is not enough memory for it" if isinstance(error, MemoryError) else error
        print(f"likewise: {message}", file=sys.stderr)
        return 1
    Path(out).write_text(json.dumps(report, allow_nan=False), encoding="utf-8")
    return 0


def check_table(source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Open a table, without the rows that cannot be used, and describe it. Raises TableError."""
    notes: list[str] = []
    with receive_warnings(notes.append):
        table = Table.open(source, **{**options, "skip_bad": True})
        report = table.report
    return {
        "rows": report.rows,
        "train": report.train,
        "heldout": report.test,
        "heldout_by": report.heldout,
        "columns": [
            {**vars(column), **_column(table.columns[column.name], column.name)} for column in report.columns
        ],
        "bad_rows": [
            {"row": bad.row, "line": bad.line, "file": bad.file, "column": bad.column, "reason": bad.reason}
            for bad in report.skipped[:MAX_BAD]
        ],
        "bad_rows_total": len({(bad.file, bad.row) for bad in report.skipped}),
        "read": list(report.account.read),
        "left_out": dict(report.account.left_out),
        "notes": [*report.notes(), *notes],
        "summary": report.summary(),
        "report": str(report).splitlines(),
        "preview": [_shown_row(table, row) for row in evenly_spaced(table, NUM_ROWS)],
        "formulas": suggest_formulas(table),
        "fingerprint": table.fingerprint,
    }


def _column(column: Modality, name: str) -> dict[str, Any]:
    """What a form needs to know of a column."""
    about: dict[str, Any] = {
        "written": quote_name(name),
        "media_type": column.media_type,
        "input": input_type(column),
        "visual": column.visual,
    }
    if column.role == "class":
        names = column.class_names()
        about |= {"classes": names[:MAX_CLASSES], "num_classes": len(names)}
    return about


def _shown_row(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _shown(table.columns[name], value) for name, value in row.items()}


def _shown(column: Modality, value: Any) -> Any:
    """A value as JSON: a picture as a small one, anything else as a line of text."""
    if value is None:
        return None
    if column.visual:
        picture = column.thumbnail(value)
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
        return {"media_type": "image/png", "b64_json": base64.b64encode(write(picture)).decode()}
    return column.summarize(value, MAX_TEXT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

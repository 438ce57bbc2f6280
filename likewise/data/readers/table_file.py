"""Table files: delimited text, spreadsheets, records of JSON, and files of Arrow, also compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from likewise.core.option_names import option_text
from likewise.data.arrow import HIDDEN, TableError, first_line, to_dataset
from likewise.data.cells import CellColumn, read_cells
from likewise.data.readers.arrow_files import ARROW, read_arrow
from likewise.data.readers.base import FileFormat, Reading, bad_cells
from likewise.data.readers.data_file import DataFile
from likewise.data.readers.delimited import DELIMITED, read_delimited
from likewise.data.readers.file_names import with_files
from likewise.data.readers.json_records import JSON, read_json
from likewise.data.readers.spreadsheet import read_spreadsheet
from likewise.data.styles import parse_written, styles_with
from likewise.modalities import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

SPREADSHEETS = (".xlsx", ".xlsm")
TABLES = (*DELIMITED, *JSON, *ARROW, *SPREADSHEETS)
COMPRESSED = (".gz", ".zip")
_PICKLE = "pickles are not loaded, as they may run any program; save it as .parquet or .csv"
_ARRAYS = "save pictures as files, and numbers as .parquet or .csv; Table.from_rows takes rows in memory"
UNREADABLE = {  # files that may hold data: what to do instead
    **dict.fromkeys((".xls", ".ods", ".numbers", ".xlsb"), "save it as .xlsx or .csv"),
    **dict.fromkeys((".sav", ".dta", ".sas7bdat", ".rds", ".rdata", ".mat"), "save it as .csv or .parquet"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3", ".duckdb"), "export a table of it as .csv or .parquet"),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".joblib"), _PICKLE),
    **dict.fromkeys((".npy", ".npz", ".h5", ".hdf5"), _ARRAYS),
    **dict.fromkeys((".tar", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"), "unpack it"),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub"), "save its text as .txt"),
}
OPTIONS_OF = {  # the options of FileFormat that a file takes, by its ending
    **dict.fromkeys(DELIMITED, ("encoding", "separator", "decimal", "thousands", "header")),
    **dict.fromkeys(SPREADSHEETS, ("decimal", "thousands", "header")),
    **dict.fromkeys(JSON, ("decimal", "thousands")),
}


def is_table(path: Path) -> bool:
    """Whether the name of a file is that of a table, which may be compressed."""
    suffix = path.suffix.lower()
    inner = path.with_suffix("").suffix.lower()
    return suffix in TABLES or suffix == ".zip" or (suffix in COMPRESSED and inner in TABLES)


def read_table_file(path: Path, fmt: FileFormat, kinds: Mapping[str, str]) -> Reading:
    """The rows of a table file; a column of names of files becomes these files.

    kinds  column -> kind; columns of text cells are read as numbers if that is numeric, and stay as written if not

    Raises TableError for a file that cannot be read.
    """
    file = DataFile.at(path)
    if file.suffix not in TABLES:
        raise TableError(f"cannot read {str(path)!r}: it holds no {', '.join(TABLES)}")
    fmt.require(path, OPTIONS_OF.get(file.suffix, ()))
    try:
        file.require_content()
        reading = _read(file, fmt, kinds)
    except TableError:
        raise
    except Exception as error:  # pyarrow, openpyxl and datasets have no common one
        raise TableError(f"cannot read {str(path)!r}: {first_line(error)}") from error
    if not len(reading.rows):
        raise TableError(f"cannot read {str(path)!r}: it has no rows")
    return with_files(reading, path.parent, kinds)


def read_written_cells(path: Path, fmt: FileFormat) -> pa.Table | None:
    """The cells of a text file or a spreadsheet as they are written, null where they are empty, with the hidden columns
    ROW and LINE; None for other files. Raises TableError for a file that cannot be read."""
    file = DataFile.at(path)
    if file.suffix not in (*SPREADSHEETS, *DELIMITED):
        return None
    read = read_spreadsheet if file.suffix in SPREADSHEETS else read_delimited
    return read(file, fmt)[0]


def _read(file: DataFile, fmt: FileFormat, kinds: Mapping[str, str]) -> Reading:
    if file.suffix in JSON:
        return _json_reading(file, fmt, kinds)
    if file.suffix in ARROW:
        reading = read_arrow(file)
        return replace(reading, read=[file.path.name])
    read = read_spreadsheet if file.suffix in SPREADSHEETS else read_delimited
    cells, account, how = read(file, fmt)
    names = [name for name in cells.column_names if name not in HIDDEN]
    columns = read_cells({name: cells[name] for name in names}, _numeric(kinds), _styles(fmt))
    notes = _header_notes(account.header, names, columns) if fmt.header else []
    reading = _typed(cells, columns)
    reading.read.append(": ".join([file.path.name, *filter(None, [", ".join(how)])]))
    reading.unused.extend(account.notes)
    reading.notes.extend(notes)
    reading.bad[:0] = account.bad
    return reading


def _json_reading(file: DataFile, fmt: FileFormat, kinds: Mapping[str, str]) -> Reading:
    """Records of JSON: texts are no numbers, unless a column has both, or is to be read as numbers."""
    table = read_json(file)
    numeric = {name for name, is_number in _numeric(kinds).items() if is_number}
    strings = [f.name for f in table.rows.schema if f.type == "string" and f.name in {*numeric, *table.mixed}]
    columns = read_cells({name: table.rows[name] for name in strings}, _numeric(kinds), _styles(fmt))
    reading = _typed(table.rows, columns)
    reading.read.append(file.path.name)
    reading.bad[:0] = table.bad
    for name, types in table.mixed.items():
        if name in columns and columns[name].style is None and not columns[name].notes:
            reading.notes.append(f"{name}: the values are {types}, and are all read as texts")
    return reading


def _numeric(kinds: Mapping[str, str]) -> dict[str, bool]:
    """Whether columns are to be read as numbers, of those whose kind is given."""
    return {name: KINDS[kind].numeric for name, kind in kinds.items() if kind in KINDS}


def _styles(fmt: FileFormat) -> Sequence:
    return styles_with(fmt.decimal, fmt.thousands)


def _typed(table: pa.Table, columns: Mapping[str, CellColumn]) -> Reading:
    """The rows with these columns in place of their strings."""
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column.cells)
    rows = to_dataset(table)
    bad = [bad for name, column in columns.items() for bad in bad_cells(rows, name, column.bad)]
    return Reading(
        rows,
        notes=[note for column in columns.values() for note in column.notes],
        bad=sorted(bad, key=lambda bad: bad.row),
        reasons={name: column.reason for name, column in columns.items() if column.reason},
        styles={name: column.pattern for name, column in columns.items() if column.pattern},
    )


def _header_notes(
    header: Sequence[str], names: Sequence[str], columns: Mapping[str, CellColumn]
) -> list[str]:
    """A note if the first row looks like the others: a number above all numbers, a value of each column of few."""
    import pyarrow.compute as pc

    numbers = [name for name in names if columns[name].style is not None]
    if any(parse_written(name, words=True) is None for name in numbers):
        return []
    texts = {name: columns[name].cells for name in names if columns[name].cells.type == "string"}
    few = [name for name, cells in texts.items() if 2 * pc.count_distinct(cells).as_py() <= len(cells)]
    if not (numbers or few) or not all(pc.any(pc.equal(texts[name], name)).as_py() for name in few):
        return []
    return [
        f"the first row, {', '.join(header)!r}, is read as the names of the columns, and looks like the other rows; "
        f"if it is one, give {option_text('header', False)}"
    ]

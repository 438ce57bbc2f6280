"""Records of JSON: an object a line (.jsonl, .ndjson), or an array of objects (.json)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from likewise.data.arrow import LINE, ROW, TableError
from likewise.data.readers.data_file import DataFile
from likewise.data.spool import MAX_BYTES_IN_MEMORY, memory_map
from likewise.data.validation import BadRow

if TYPE_CHECKING:
    import pyarrow as pa

JSON = (".jsonl", ".ndjson", ".json")
ROWS = 10_000  # that are read at a time
TYPES = {bool: "booleans", int: "numbers", float: "numbers", str: "texts", list: "lists", dict: "objects"}

Record = dict[str, Any]


@dataclass
class JsonTable:
    """The records of a file.

    rows   the columns, with ROW, and LINE if a record is a line
    bad    lines that are no record
    mixed  column -> the types of its values, if there are several; its cells are strings
    """

    rows: pa.Table
    bad: list[BadRow] = field(default_factory=list)
    mixed: dict[str, str] = field(default_factory=dict)


def read_json(file: DataFile) -> JsonTable:
    """The values of records in columns. Raises TableError for a file without a record."""
    encoding, _ = file.find_encoding(None)
    bad: list[BadRow] = []
    with file.text(encoding) as stream:
        is_array = _first_character(stream) == "[" or (
            file.suffix == ".json" and _is_one_value(file, encoding)
        )
    records = _array(file, encoding, bad) if is_array else _lines(file, encoding, bad)
    types: dict[str, set[str]] = {}
    parts: list[pa.Table] = []
    segments: list[pa.Table] = []
    for chunk in iter(lambda: list(itertools.islice(records, ROWS)), []):
        parts.append(_table(chunk, types))
        if sum(part.nbytes for part in parts) > MAX_BYTES_IN_MEMORY:
            segment = _concatenate(parts)
            segments.append(memory_map(iter(segment.to_batches()), segment.schema))
            parts = []
    if not parts and not segments:
        reason = f"{len(bad):,} lines are no record, the first: {bad[0]}" if bad else "it has no rows"
        raise TableError(f"cannot read {str(file.path)!r}: {reason}")
    rows = _concatenate([*segments, *parts])
    mixed = {name: " and ".join(sorted(kinds)) for name, kinds in types.items() if len(kinds) > 1}
    return JsonTable(rows.drop_columns(LINE) if is_array else rows, bad, mixed)


def _first_character(stream: Iterable[str]) -> str:
    """The first character that is no space."""
    return next((line.lstrip()[0] for line in stream if line.strip()), "")


def _is_one_value(file: DataFile, encoding: str) -> bool:
    """Whether a .json has one value in all its lines, and not a record in each."""
    with file.text(encoding) as stream:
        first = next((line for line in stream if line.strip()), "")
        rest = any(line.strip() for line in stream)
    try:
        json.loads(first)
    except ValueError:
        return True
    return not rest


# ---- text -> records


def _array(file: DataFile, encoding: str, bad: list[BadRow]) -> Iterator[tuple[int, int, Record]]:
    """The number of each object of an array, 0 for its line, and the object."""
    with file.text(encoding) as stream:
        try:
            values = json.load(stream, object_pairs_hook=_object)
        except ValueError as error:
            raise TableError(f"cannot read {str(file.path)!r}: {_reason(error)}") from None
    if not isinstance(values, list):
        what = TYPES.get(type(values), "null")
        raise TableError(
            f"cannot read {str(file.path)!r}: it holds no array of objects but one of: {what}; write "
            '[{"column": value, ...}, ...], or an object in each line of a .jsonl'
        )
    for number, value in enumerate(values):
        if reason := _invalid(value):
            bad.append(BadRow(number, "", reason))
        else:
            yield number, 0, value


def _lines(file: DataFile, encoding: str, bad: list[BadRow]) -> Iterator[tuple[int, int, Record]]:
    """The number, the line and the object of each line that is not blank."""
    number = 0
    with file.text(encoding) as stream:
        for line, text in enumerate(stream, 1):
            if not text.strip():
                continue
            try:
                value = json.loads(text, object_pairs_hook=_object)
                reason = _invalid(value)
            except ValueError as error:
                value, reason = None, _reason(error)
            if reason:
                bad.append(BadRow(number, "", reason, line=line))
            else:
                yield number, line, value
            number += 1


def _object(pairs: Sequence[tuple[str, Any]]) -> Record:
    """An object. Raises ValueError for a key that is there twice."""
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return record


def _invalid(value: Any) -> str | None:
    """Why a value is no record."""
    if not isinstance(value, dict):
        return f"{json.dumps(value)[:40]} is no object"
    return None if value else "an object without keys"


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, " if error.lineno > 1 else ""
        return f"no JSON: {error.msg[:1].lower()}{error.msg[1:]} at {place}character {error.colno}"
    return str(error)


# ---- records -> columns


def _table(records: Sequence[tuple[int, int, Record]], types: dict[str, set[str]]) -> pa.Table:
    """Records as columns; the types of their values are added to `types`."""
    import pyarrow as pa

    names = dict.fromkeys(name for _, _, record in records for name in record)
    columns = {name: _column([record.get(name) for _, _, record in records], name, types) for name in names}
    numbers, lines, _ = zip(*records, strict=True)
    return pa.table({**columns, ROW: pa.array(numbers, pa.int64()), LINE: pa.array(lines, pa.int64())})


def _column(values: Sequence[Any], name: str, types: dict[str, set[str]]) -> pa.Array:
    """Values of one type as they are, of several as strings."""
    import pyarrow as pa

    known = types.setdefault(name, set())
    known |= {TYPES[kind] for kind in set(map(type, values)) if kind in TYPES}
    if len(known) < 2:
        try:
            return pa.array(values)
        except (
            pa.ArrowInvalid,
            pa.ArrowTypeError,
            OverflowError,
        ):  # an integer of many digits, lists of two types
            known |= {"others"} if known & {"lists", "objects"} else set()
    return pa.array(
        [None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values], pa.string()
    )


def _concatenate(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables below each other; a column whose types do not go together is strings."""
    import pyarrow as pa

    names = dict.fromkeys(name for table in tables for name in table.column_names)
    for name in names:
        schemas = [pa.schema([table.schema.field(name)]) for table in tables if name in table.column_names]
        try:
            pa.unify_schemas(schemas, promote_options="permissive")
        except pa.ArrowTypeError:
            tables = [_with_strings(table, name) for table in tables]
    return pa.concat_tables(tables, promote_options="permissive").select(list(names))


def _with_strings(table: pa.Table, name: str) -> pa.Table:
    import pyarrow as pa

    if name not in table.column_names or pa.types.is_string(table.schema.field(name).type):
        return table
    cells = [None if v is None else json.dumps(v) for v in table[name].to_pylist()]
    return table.set_column(table.column_names.index(name), name, pa.array(cells, pa.string()))

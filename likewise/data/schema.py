"""The kind of each column of a data set: as requested, else the one that suits the stored values best."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from likewise.core.errors import did_you_mean
from likewise.core.formula import quote_name
from likewise.core.option_names import option_text
from likewise.core.provenance import KEY
from likewise.data.arrow import (
    DEFAULT_FILE_TYPE,
    HIDDEN,
    PASSAGE,
    PASSAGE_COLUMN,
    ROW,
    TableError,
    file_feature,
    file_type_of,
    quiet,
    replace_column,
)
from likewise.data.cells import MARKS, MISSING, SAMPLE
from likewise.data.times import written_times
from likewise.modalities import KINDS
from likewise.modalities.columns import ColumnSummary
from likewise.modalities.document import MIN_DOCUMENT, split_passages
from likewise.modalities.files import file_cell

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

NO_VALUE = "it has no value in any row"
OUR_MARK = "it says how likewise made each row, and is no data"
STORED = {"int": "whole numbers", "float": "numbers"}


@dataclass
class Schema:
    """A data set with columns that a modality can read.

    rows      with hidden columns, among them ROW
    kinds     column -> kind
    reasons   column -> why it is of that kind
    left_out  column -> why it is not in `rows`
    notes     columns that are read otherwise than they are stored
    styles    column -> how its values are written, see Modality.with_style
    """

    rows: Dataset
    kinds: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    styles: dict[str, str] = field(default_factory=dict)


@quiet()
def infer_schema(
    data: Dataset,
    kinds: Mapping[str, str],
    left_out: Mapping[str, str] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> Schema:
    """The kinds of the columns; a column that no modality can read, or without a value, is left out.

    kinds     column -> kind, which overrides the inferred one
    left_out  column -> why a reader has left it out
    reasons   column -> why its values are of their type

    Raises TableError for an unknown kind or column, or without any column.
    """
    names = [name for name in data.column_names if name not in HIDDEN]
    schema = Schema(data, left_out=dict(left_out or {}))
    for name, kind in kinds.items():
        if name in schema.left_out:
            raise TableError(f"column {name!r} is left out: {schema.left_out[name]}")
        if name not in names:
            raise TableError(did_you_mean("column", name, names))
        if kind not in KINDS:
            raise TableError(did_you_mean("kind of column", kind, KINDS))
    if not len(data):
        raise TableError("there are no rows")
    if ROW not in data.column_names:
        # of passages, the number of their document
        of_documents = PASSAGE in data.column_names
        numbers = [key >> 32 for key in data[PASSAGE]] if of_documents else range(len(data))
        schema.rows = data.add_column(ROW, numbers)
    for name in names:
        _add_column(schema, name, kinds.get(name), (reasons or {}).get(name, ""))
    if not schema.kinds:
        why = "; ".join(f"{name}: {reason}" for name, reason in schema.left_out.items())
        raise TableError(f"there is no column to learn from; {why}")
    _split_documents(schema)
    if getattr(schema.rows, "_indices", None) is not None:
        schema.rows = schema.rows.flatten_indices()  # so that rows are where their numbers say
    hidden = [name for name in HIDDEN if name in schema.rows.column_names]
    schema.rows = schema.rows.select_columns([*schema.kinds, *hidden])
    return schema


def _is_mark(data: Dataset, name: str) -> bool:
    """Whether a column is what likewise writes of each sample into a .jsonl."""
    feature = data.features[name]
    return name == KEY and isinstance(feature, Mapping) and "version" in feature


def _add_column(schema: Schema, name: str, requested: str | None, reason: str) -> None:
    """Add a column to the kinds, or to those that are left out; `reason` says why its values are of their type."""
    if schema.rows.data.column(name).null_count == len(schema.rows.data):
        schema.left_out[name] = NO_VALUE
        return
    _normalize(schema, name)
    summary = summarize_column(schema.rows, name)
    is_passages = PASSAGE in schema.rows.column_names and name == PASSAGE_COLUMN
    kind = requested or (_passage_kind() if is_passages else _infer_kind(summary))
    if not kind:
        schema.left_out[name] = (
            OUR_MARK if _is_mark(schema.rows, name) else f"no modality reads {_type_name(schema.rows, name)}"
        )
        return
    if summary.dtype not in KINDS[kind].dtypes:
        raise TableError(
            f"column {name!r} cannot be taken for {kind}: it holds {_type_name(schema.rows, name)}"
        )
    schema.kinds[name] = kind
    of_type = reason if KINDS[kind].numeric or summary.dtype not in ("int", "float") else ""
    of_kind = "as requested" if requested else KINDS[kind].reason(summary)
    stored = f"stored as {STORED.get(summary.dtype, summary.dtype)}"
    schema.reasons[name] = ", ".join(filter(None, [of_type, of_kind])) or stored
    if KINDS[kind].as_string:
        _as_strings(schema, name)
    if KINDS[kind].null_words and summary.dtype == "string":
        _without_words(schema, name)


def _without_words(schema: Schema, name: str) -> None:
    """Take words such as NA in a column of strings for missing values."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from datasets import Value

    cells = pc.utf8_trim_whitespace(schema.rows.data.column(name))
    words = pc.is_in(cells, pa.array([*MARKS, *MISSING]))
    if pc.any(words).as_py():
        cells = pc.if_else(words, pa.scalar(None, cells.type), cells)
        schema.rows = replace_column(schema.rows, name, cells.to_pylist(), Value("string"))


def _type_name(data: Dataset, name: str) -> str:
    """What a column holds, in a few words: "lists", "objects", or the name of the type."""
    import pyarrow as pa

    dtype = data.data.column(name).type
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        return "lists"
    if pa.types.is_struct(dtype):
        keys = ", ".join(dtype.field(i).name for i in range(min(3, dtype.num_fields)))
        return f"objects with the keys {keys}" + (", ..." if dtype.num_fields > 3 else "")
    return str(dtype)


# ---- documents


def _split_documents(schema: Schema) -> None:
    """Split the rows into passages of the document, if there is one."""
    documents = [name for name, kind in schema.kinds.items() if KINDS[kind].passages]
    is_split = PASSAGE in schema.rows.column_names
    if len(documents) > 1:
        raise TableError(
            f"{' and '.join(documents)} are documents, and rows can be passages of one only; "
            f"leave one of them out, or give {option_text('kind', quote_name(documents[1]), 'text')} if it is short"
        )
    if is_split and not documents:
        raise TableError(
            f"a text has more than {MIN_DOCUMENT:,} bytes; leave {option_text('kind')} out: it is a document"
        )
    if documents and not is_split:
        schema.rows = schema.rows.map(
            _split_document,
            fn_kwargs={"name": documents[0]},
            with_indices=True,
            batched=True,
            batch_size=1,
            remove_columns=schema.rows.column_names,
            load_from_cache_file=False,
        )


def _split_document(rows: dict[str, list[Any]], numbers: Sequence[int], name: str) -> dict[str, list[Any]]:
    """One row with a document in column `name` -> a row for each of its passages."""
    passages = list(split_passages(rows[name][0])) if rows[name][0] else rows[name]
    return {
        **{n: passages if n == name else values * len(passages) for n, values in rows.items()},
        PASSAGE: [(numbers[0] << 32) + k for k in reversed(range(len(passages)))],
    }


# ---- stored types


def _normalize(schema: Schema, name: str) -> None:
    """Bring files, class names, dates and numbers of a column into their usual form."""
    import datasets
    import pyarrow as pa

    data = schema.rows
    feature, stored = data.features[name], data.data.column(name)
    dtype = getattr(feature, "dtype", "")
    if (file_type := file_type_of(feature)) is not None:
        schema.rows = data.cast_column(name, file_feature(file_type))
    elif (isinstance(feature, dict) and set(feature) == {"bytes", "path"}) or dtype.endswith("binary"):
        files = list(map(file_cell, data[name][:]))
        schema.rows = replace_column(data, name, files, file_feature(DEFAULT_FILE_TYPE))
    elif isinstance(feature, datasets.ClassLabel):
        classes = [None if i is None or i < 0 else feature.names[i] for i in data[name][:]]
        schema.rows = replace_column(data, name, classes, datasets.Value("string"))
    elif dtype.startswith("float"):
        numbers = _without_nan(stored)
        with contextlib.suppress(pa.ArrowInvalid):  # whole numbers with a missing value are stored as floats
            numbers, feature = numbers.cast("int64"), datasets.Value("int64")
        if feature.dtype == "int64" or numbers.null_count > stored.null_count:
            schema.rows = replace_column(data, name, numbers.to_pylist(), feature)
    elif pa.types.is_decimal(stored.type):
        schema.rows = replace_column(
            data, name, stored.cast("float64").to_pylist(), datasets.Value("float64")
        )
        schema.notes.append(f"{name}: {stored.type} is read as numbers of 15 digits")
    elif pa.types.is_temporal(stored.type):
        texts, style = written_times(stored)
        schema.rows = replace_column(data, name, texts, datasets.Value("string"))
        if style:
            schema.styles[name] = style


def _without_nan(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats with null for NaN, as which data frames and JSON of Python have missing values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_float16(numbers.type):
        numbers = numbers.cast(pa.float32())
    nan = pc.is_nan(numbers)
    return pc.if_else(nan, pa.scalar(None, numbers.type), numbers) if pc.any(nan).as_py() else numbers


def summarize_column(data: Dataset, name: str) -> ColumnSummary:
    """The summary from which a column's kind is inferred."""
    import datasets
    import pyarrow.compute as pc

    feature = data.features[name]
    values = data.data.column(name)
    if isinstance(feature, datasets.Value):
        match = re.match(r"u?(int|float|bool)|(?:large_)?(string)$", feature.dtype)
        dtype = match[1] or match[2] if match else feature.dtype
    else:
        is_list = isinstance(feature, datasets.List | datasets.LargeList)
        dtype = file_type_of(feature) or ("list" if is_list else str(feature))
    length = (pc.max(pc.utf8_length(values)).as_py() or 0) if dtype == "string" else 0
    count = len(values) - values.null_count
    return ColumnSummary(
        name,
        dtype,
        count,
        lambda: pc.count_distinct(values, mode="only_valid").as_py(),
        length,
        lambda: _sample(values),
    )


def _sample(values: pa.ChunkedArray) -> list[str]:
    """Some of the different texts of a column, without words for missing values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    distinct = pc.unique(pc.utf8_trim_whitespace(values.drop_null()))
    distinct = distinct.filter(pc.invert(pc.is_in(distinct, pa.array([*MARKS, *MISSING, ""]))))
    if not len(distinct):
        return []
    return distinct.take(list(range(0, len(distinct), max(1, len(distinct) // SAMPLE)))).to_pylist()


def _infer_kind(column: ColumnSummary) -> str:
    """The kind that suits a column best, "" if none does."""
    best = max(KINDS.values(), key=lambda kind: kind.suitability(column))
    return best.kind if best.suitability(column) else ""


def _passage_kind() -> str:
    """The kind of a column that the reader has split into passages."""
    return next(name for name, kind in KINDS.items() if kind.passages)


def _as_strings(schema: Schema, name: str) -> None:
    """Store the values of a column as strings."""
    from datasets import Value

    data = schema.rows
    if data.features[name].dtype != "string":
        values = [None if v is None else str(v) for v in data[name][:]]
        schema.rows = replace_column(data, name, values, Value("string"))

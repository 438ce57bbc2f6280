"""The kind of each column of a data set: as requested, else the one that suits the stored values best."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from likewise.core.errors import did_you_mean
from likewise.data.arrow import (
    DEFAULT_FILE_TYPE,
    FILE,
    PASSAGE,
    PASSAGE_COLUMN,
    TableError,
    file_feature,
    file_type_of,
    quiet,
    replace_column,
)
from likewise.modalities import KINDS
from likewise.modalities.columns import ColumnSummary
from likewise.modalities.document import MIN_DOCUMENT, split_passages
from likewise.modalities.files import file_cell

if TYPE_CHECKING:
    from datasets import Dataset


@quiet()
def infer_schema(data: Dataset, kinds: Mapping[str, str]) -> tuple[Dataset, dict[str, str], list[str]]:
    """The data set with the columns that a modality can read, their kinds, and warnings about the others.

    `kinds` overrides the inferred ones. Raises TableError for an unknown kind or column, or without any column.
    """
    names = [name for name in data.column_names if name not in (PASSAGE, FILE)]
    for name, kind in kinds.items():
        if name not in names:
            raise TableError(did_you_mean("column", name, names))
        if kind not in KINDS:
            raise TableError(did_you_mean("kind of column", kind, KINDS))
    if not len(data):
        raise TableError("there are no rows")
    schema: dict[str, str] = {}
    warnings: list[str] = []
    for name in names:
        data = _normalize(data, name)
        summary = summarize_column(data, name)
        is_passages = PASSAGE in data.column_names and name == PASSAGE_COLUMN
        kind = kinds.get(name, _passage_kind() if is_passages else _infer_kind(summary))
        if not kind:
            warnings.append(f"column {name!r} is left out: no modality reads {data.features[name]}")
            continue
        if summary.dtype not in KINDS[kind].dtypes:
            raise TableError(f"column {name!r} cannot be taken for {kind}: it holds {data.features[name]}")
        schema[name] = kind
        if KINDS[kind].as_string:
            data = _as_strings(data, name)
    if not schema:
        raise TableError("there is no column to learn from; " + "; ".join(warnings))
    documents = [name for name, kind in schema.items() if KINDS[kind].passages]
    if len(documents) > 1:
        raise TableError(
            f"{' and '.join(documents)} are documents, and rows can be passages of one only; "
            f"leave one of them out, or give --kind {documents[1]}=text if it is short"
        )
    if PASSAGE in data.column_names and not documents:
        raise TableError(f"a text has more than {MIN_DOCUMENT:,} bytes; leave --kind out: it is a document")
    if documents and PASSAGE not in data.column_names:
        data = data.map(
            _split_document,
            fn_kwargs={"name": documents[0]},
            with_indices=True,
            batched=True,
            batch_size=1,
            remove_columns=data.column_names,
            load_from_cache_file=False,
        )
    hidden = [name for name in (PASSAGE, FILE) if name in data.column_names]
    return data.select_columns([*schema, *hidden]), schema, warnings


def _split_document(rows: dict[str, list[Any]], numbers: Sequence[int], name: str) -> dict[str, list[Any]]:
    """One row with a document in column `name` -> a row for each of its passages."""
    passages = list(split_passages(rows[name][0])) if rows[name][0] else rows[name]
    return {
        **{n: passages if n == name else values * len(passages) for n, values in rows.items()},
        PASSAGE: [(numbers[0] << 32) + k for k in reversed(range(len(passages)))],
    }


def _normalize(data: Dataset, name: str) -> Dataset:
    """The data set with files, class names and integers of the column in their usual form."""
    import datasets
    import pyarrow as pa

    feature = data.features[name]
    dtype = getattr(feature, "dtype", "")
    if (file_type := file_type_of(feature)) is not None:
        return data.cast_column(name, file_feature(file_type))
    if (isinstance(feature, dict) and set(feature) == {"bytes", "path"}) or dtype.endswith("binary"):
        return replace_column(
            data, name, list(map(file_cell, data[name][:])), file_feature(DEFAULT_FILE_TYPE)
        )
    if isinstance(feature, datasets.ClassLabel):
        classes = [None if i is None or i < 0 else feature.names[i] for i in data[name][:]]
        return replace_column(data, name, classes, datasets.Value("string"))
    if dtype.startswith("float"):  # integers with a missing value are read as floats
        with contextlib.suppress(pa.ArrowInvalid):
            integers = data.data.column(name).cast("int64").to_pylist()
            return replace_column(data, name, integers, datasets.Value("int64"))
    return data


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
    return ColumnSummary(name, dtype, len(data), lambda: pc.count_distinct(values).as_py(), length)


def _infer_kind(column: ColumnSummary) -> str:
    """The kind that suits a column best, "" if none does."""
    best = max(KINDS.values(), key=lambda kind: kind.suitability(column))
    return best.kind if best.suitability(column) else ""


def _passage_kind() -> str:
    """The kind of a column that the reader has split into passages."""
    return next(name for name, kind in KINDS.items() if kind.passages)


def _as_strings(data: Dataset, name: str) -> Dataset:
    """The data set with the column as strings."""
    from datasets import Value

    if data.features[name].dtype == "string":
        return data
    return replace_column(data, name, [None if v is None else str(v) for v in data[name][:]], Value("string"))

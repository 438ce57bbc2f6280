"""Which kind each column of a data set is: as it is told, else the kind that suits the stored values best."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from likewise.core.errors import did_you_mean
from likewise.data.arrow import (
    FILE,
    PASSAGE,
    PASSAGE_COLUMN,
    UNNAMED_FILES,
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
    """The columns that a modality reads, their kinds (`kinds` overrules what the values say), and warnings.

    Raises TableError if there are none, or for a kind or column that is not known.
    """
    names = [name for name in data.column_names if name not in (PASSAGE, FILE)]
    for name, kind in kinds.items():
        if name not in names:
            raise TableError(did_you_mean("column", name, names))
        if kind not in KINDS:
            raise TableError(did_you_mean("kind of column", kind, KINDS))
    if not len(data):
        raise TableError("there are no rows")
    found: dict[str, str] = {}
    warnings = []
    for name in names:
        data = _normalize(data, name)
        summary = summarize_column(data, name)
        own = (
            _passage_kind()
            if PASSAGE in data.column_names and name == PASSAGE_COLUMN
            else _infer_kind(summary)
        )
        kind = kinds.get(name, own)
        if kind is None:
            warnings.append(f"column {name!r} is left out: no modality reads {data.features[name]}")
            continue
        if summary.dtype not in KINDS[kind].dtypes:
            raise TableError(f"column {name!r} cannot be taken for {kind}: it holds {data.features[name]}")
        found[name] = kind
        if KINDS[kind].as_string:
            data = _as_strings(data, name)
    if not found:
        raise TableError("there is no column to learn from; " + "; ".join(warnings))
    documents = [name for name, kind in found.items() if KINDS[kind].passages]
    if len(documents) > 1:
        raise TableError(
            f"{' and '.join(documents)} are documents, and rows can be passages of one only; "
            f"leave one of them out, or say --kind {documents[1]}=text if it is short"
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
    beside = [name for name in (PASSAGE, FILE) if name in data.column_names]
    return data.select_columns([*found, *beside]), found, warnings


def _split_document(rows: dict[str, list[Any]], places: Sequence[int], name: str) -> dict[str, list[Any]]:
    """One row -> a row for each passage of its document."""
    cut = list(split_passages(rows[name][0])) if rows[name][0] else rows[name]
    others = {n: values * len(cut) for n, values in rows.items() if n != name}
    return {
        **{n: cut if n == name else others[n] for n in rows},
        PASSAGE: [(places[0] << 32) + k for k in reversed(range(len(cut)))],
    }


def _normalize(data: Dataset, name: str) -> Dataset:
    """The same with the column as picture files, class names or whole numbers, if it is that at heart."""
    import datasets
    import pyarrow as pa

    feature = data.features[name]
    dtype = getattr(feature, "dtype", "")
    if (file_type := file_type_of(feature)) is not None:
        return data.cast_column(name, file_feature(file_type))
    if (isinstance(feature, dict) and set(feature) == {"bytes", "path"}) or dtype.endswith("binary"):
        return replace_column(data, name, list(map(file_cell, data[name][:])), file_feature(UNNAMED_FILES))
    if isinstance(feature, datasets.ClassLabel):
        classes = [None if i is None or i < 0 else feature.names[i] for i in data[name][:]]
        return replace_column(data, name, classes, datasets.Value("string"))
    if dtype.startswith("float"):  # whole numbers with a gap are read as floats
        with contextlib.suppress(pa.ArrowInvalid):
            whole = data.data.column(name).cast("int64").to_pylist()
            return replace_column(data, name, whole, datasets.Value("int64"))
    return data


def summarize_column(data: Dataset, name: str) -> ColumnSummary:
    """What the modalities are told of a column."""
    import datasets
    import pyarrow.compute as pc

    feature = data.features[name]
    values = data.data.column(name)
    if isinstance(feature, datasets.Value):
        words = {"string": "string", "large_string": "string"}
        number = re.match(r"u?(int|float|bool)", feature.dtype)
        dtype = number[1] if number else words.get(feature.dtype, feature.dtype)
    else:
        is_list = isinstance(feature, datasets.List | datasets.LargeList)
        dtype = file_type_of(feature) or ("list" if is_list else str(feature))
    length = (pc.max(pc.utf8_length(values)).as_py() or 0) if dtype == "string" else 0
    return ColumnSummary(name, dtype, len(data), lambda: pc.count_distinct(values).as_py(), length)


def _infer_kind(column: ColumnSummary) -> str | None:
    """The kind that suits a column best, None if none does."""
    best = max(KINDS.values(), key=lambda kind: kind.suitability(column))
    return best.kind if best.suitability(column) else None


def _passage_kind() -> str:
    """The kind of a column whose long values were split into passages when they were read."""
    return next(name for name, kind in KINDS.items() if kind.passages)


def _as_strings(data: Dataset, name: str) -> Dataset:
    """The same with the column as strings."""
    from datasets import Value

    if data.features[name].dtype == "string":
        return data
    return replace_column(data, name, [None if v is None else str(v) for v in data[name][:]], Value("string"))

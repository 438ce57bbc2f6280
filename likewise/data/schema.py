"""TODO data.schema."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from likewise.core.errors import did_you_mean
from likewise.data.arrow import (
    FILE,
    LONG_TEXT,
    PASSAGE,
    TableError,
    image_cell,
    image_feature,
    quiet,
    replace_column,
)
from likewise.modalities import KINDS
from likewise.modalities.document import passages

if TYPE_CHECKING:
    from datasets import Dataset
KIND_OF_NAME = {
    "text": "text",
    "caption": "text",
    "prompt": "text",
    "label": "label",
}  # what these always are
FEW_STRINGS, FEW_NUMBERS = 256, 32  # distinct values at most, each twice on average: these are labels


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
    found, warnings = {}, []
    for name in names:
        data = _plain(data, name)
        own = "document" if PASSAGE in data.column_names and name == "text" else _infer_kind(data, name)
        kind = kinds.get(name, own)
        if kind is None:
            warnings.append(f"column {name!r} is left out: no modality reads {data.features[name]}")
            continue
        if "image" in (kind, own) and kind != own:
            raise TableError(f"column {name!r} cannot be taken for {kind}: it holds {data.features[name]}")
        found[name] = kind
        if kind in ("text", "document"):
            data = _as_strings(data, name)
    if not found:
        raise TableError("there is no column to learn from; " + "; ".join(warnings))
    documents = [name for name, kind in found.items() if kind == "document"]
    if len(documents) > 1:
        raise TableError(
            f"{' and '.join(documents)} are documents, and rows can be passages of one only; "
            f"leave one of them out, or say --kind {documents[1]}=text if it is short"
        )
    if PASSAGE in data.column_names and not documents:
        raise TableError(f"a text has more than {LONG_TEXT:,} bytes; leave --kind out: it is a document")
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
    cut = list(passages(rows[name][0])) if rows[name][0] else rows[name]
    others = {n: values * len(cut) for n, values in rows.items() if n != name}
    return {
        **{n: cut if n == name else others[n] for n in rows},
        PASSAGE: [(places[0] << 32) + k for k in reversed(range(len(cut)))],
    }


def _plain(data: Dataset, name: str) -> Dataset:
    """The same with the column as picture files, class names or whole numbers, if it is that at heart."""
    import datasets
    import pyarrow as pa

    feature = data.features[name]
    dtype = getattr(feature, "dtype", "")
    if isinstance(feature, datasets.Image):
        return data.cast_column(name, image_feature())
    if (isinstance(feature, dict) and set(feature) == {"bytes", "path"}) or dtype.endswith("binary"):
        return replace_column(data, name, [image_cell(value) for value in data[name][:]], image_feature())
    if isinstance(feature, datasets.ClassLabel):
        classes = [None if i is None or i < 0 else feature.names[i] for i in data[name][:]]
        return replace_column(data, name, classes, datasets.Value("string"))
    if dtype.startswith("float"):  # whole numbers with a gap are read as floats
        with contextlib.suppress(pa.ArrowInvalid):
            whole = data.data.column(name).cast("int64").to_pylist()
            return replace_column(data, name, whole, datasets.Value("int64"))
    return data


def _infer_kind(data: Dataset, name: str) -> str | None:
    """The kind of a column, from all of its values."""
    import datasets
    import pyarrow.compute as pc

    feature = data.features[name]
    if isinstance(feature, datasets.Image):
        return "image"
    dtype = feature.dtype if isinstance(feature, datasets.Value) else ""
    string, whole = dtype.endswith("string"), "int" in dtype
    long = string and (pc.max(pc.utf8_length(data.data.column(name))).as_py() or 0) > LONG_TEXT
    if long:
        return "document"
    if name in KIND_OF_NAME and (string or (whole and KIND_OF_NAME[name] == "label")):
        return KIND_OF_NAME[name]
    distinct = pc.count_distinct(data.data.column(name)).as_py() if string or whole else 0
    few = distinct <= (FEW_STRINGS if string else FEW_NUMBERS) and 2 * distinct <= len(data)
    if dtype == "bool" or (few and (string or whole)):
        return "label"
    return "text" if string else "number" if whole or dtype.startswith("float") else None


def _as_strings(data: Dataset, name: str) -> Dataset:
    """The same with the column as strings."""
    from datasets import Value

    if data.features[name].dtype == "string":
        return data
    return replace_column(data, name, [None if v is None else str(v) for v in data[name][:]], Value("string"))

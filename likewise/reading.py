"""Reading: any source of rows -> a Hugging Face data set, and the kind of each of its columns.

`datasets` is imported inside the functions: it takes a second, and a message on a misspelled name should not.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from likewise.demos import DEMOS
from likewise.formula import unknown
from likewise.modalities import KINDS, image

if TYPE_CHECKING:
    from datasets import Dataset

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
TABLES = (".csv", ".jsonl", ".parquet")
FEW_WORDS, FEW_NUMBERS = 256, 32      # so many distinct strings, whole numbers, that repeat, are labels


class TableError(ValueError):
    """A source that cannot be read, or that has rows which cannot be used."""


def read(source: str | Path, options: Mapping[str, Any] | None = None) -> Dataset:
    """The rows of a demo, a folder, a .csv, .jsonl or .parquet file, or a data set on the hub. Raises TableError."""
    path = Path(source).expanduser()
    with _quiet():
        if str(source) in DEMOS:
            return DEMOS[str(source)](**(options or {}))
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _file(path)
        if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(source)) and path.suffix not in TABLES:
            return _hub(str(source))
    raise TableError(f"there is no folder or file {str(source)!r}; {unknown('demo', str(source), DEMOS)}")


def typed(data: Dataset, kinds: Mapping[str, str] | None = None) -> tuple[Dataset, dict[str, str], list[str]]:
    """The columns that a modality reads, each with its kind (`kinds` overrules what the values say), and warnings."""
    import datasets

    for name, kind in (kinds or {}).items():
        if name not in data.column_names:
            raise TableError(unknown("column", name, data.column_names))
        if kind not in KINDS:
            raise TableError(unknown("kind of column", kind, KINDS))
    found, warnings = {}, []
    for name in data.column_names:
        data = _plain(data, name)
        kind = (kinds or {}).get(name) or _kind(data, name)
        if kind is None:
            warnings.append(f"column {name!r} holds {data.features[name]}, which no modality reads yet; it is left out")
        else:
            found[name] = kind
    if not found or not len(data):
        raise TableError("there are no rows" if found else "there is no column that a modality reads; " + "; ".join(warnings))
    assert isinstance(data, datasets.Dataset)
    return data.select_columns(list(found)), found, warnings


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Dataset:
    """Rows in memory -> a data set; pictures become PNG bytes."""
    from datasets import Dataset, Features, Value

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    features = {}
    for name, values in columns.items():
        if any(isinstance(value, PIL.Image.Image) for value in values):
            columns[name] = [_cell(value) for value in values]
            features[name] = _picture_feature()
        else:
            features[name] = Dataset.from_dict({name: values}).features[name] if values else Value("null")
    return Dataset.from_dict(columns, features=Features(features))


def _folder(path: Path) -> Dataset:
    """Pictures with metadata.csv or metadata.jsonl (column file_name); or with a .txt beside each; or by class folder."""
    from datasets import Dataset, Features, Value

    for metadata in (path / f"metadata{suffix}" for suffix in TABLES):
        if metadata.is_file():
            data = _file(metadata)
            return data.rename_column("file_name", "image") if "file_name" in data.column_names else data
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not files:
        raise TableError(f"the folder {str(path)!r} has no pictures and no metadata.csv, metadata.jsonl or metadata.parquet; "
                         "give a table file by its name, or put pictures in")
    columns: dict[str, list[Any]] = {"image": [{"bytes": None, "path": str(p)} for p in files]}
    if all(p.with_suffix(".txt").is_file() for p in files):
        columns["text"] = [p.with_suffix(".txt").read_text(errors="replace").strip() for p in files]
    if all(p.parent != path for p in files):
        columns["label"] = [p.parent.name for p in files]
    features = {name: _picture_feature() if name == "image" else Value("string") for name in columns}
    return Dataset.from_dict(columns, features=Features(features))


def _file(path: Path) -> Dataset:
    """One table file; a column of names of pictures becomes the pictures, beside the file."""
    from datasets import Dataset

    readers = {".csv": Dataset.from_csv, ".jsonl": Dataset.from_json, ".parquet": Dataset.from_parquet}
    if path.suffix.lower() not in readers:
        raise TableError(f"cannot read {path.name!r}: write a folder of pictures, or a file that ends in {', '.join(TABLES)}")
    try:
        data = readers[path.suffix.lower()](str(path))
    except Exception as error:      # pyarrow, pandas and datasets each have their own
        raise TableError(f"cannot read {str(path)!r}: {_line(error)}") from error
    for name, feature in data.features.items():
        if getattr(feature, "dtype", "") in ("string", "large_string"):
            values = data[name][:]
            if any(values) and all(Path(v).suffix.lower() in PICTURES for v in values if v):
                cells = [v and {"bytes": None, "path": str(path.parent / v)} for v in values]
                data = _replaced(data, name, cells, _picture_feature())
    return data


def _hub(name: str) -> Dataset:
    """The training split of a data set on the hub."""
    import datasets

    try:
        return datasets.load_dataset(name, split="train")
    except Exception as error:      # of the hub, its client, the network, the reader
        raise TableError(f"there is no folder or file {name!r}, and the hub gave no data set of that name: {_line(error)}; "
                         f"see that the network is up, or take a demo: {', '.join(DEMOS)}") from error


def _plain(data: Dataset, name: str) -> Dataset:
    """The same with the column as pictures' bytes, class names, or whole numbers, where it was that in another form."""
    import datasets
    import pyarrow as pa

    feature = data.features[name]
    if isinstance(feature, datasets.Image):
        return data.cast_column(name, _picture_feature())
    if isinstance(feature, datasets.ClassLabel):
        names = [None if i is None or i < 0 else feature.names[i] for i in data[name][:]]
        return _replaced(data, name, names, datasets.Value("string"))
    if isinstance(feature, dict) and set(feature) == {"bytes", "path"}:
        return _replaced(data, name, data[name][:], _picture_feature())
    if getattr(feature, "dtype", "") in ("binary", "large_binary"):
        return _replaced(data, name, [b and {"bytes": b, "path": None} for b in data[name][:]], _picture_feature())
    if getattr(feature, "dtype", "").startswith("float"):      # whole numbers with a gap are read as floats
        with contextlib.suppress(pa.ArrowInvalid):
            return data.cast_column(name, datasets.Value("int64"))
    return data


def _kind(data: Dataset, name: str) -> str | None:
    """The kind of a column, from all of its values."""
    import datasets
    import pyarrow.compute as pc

    feature = data.features[name]
    if isinstance(feature, datasets.Image):
        return "image"
    dtype = getattr(feature, "dtype", "")
    repeats = pc.count_distinct(data.data.column(name)).as_py() if isinstance(feature, datasets.Value) else 0
    few = repeats * 2 <= len(data)
    if dtype == "bool" or dtype in ("string", "large_string") and few and repeats <= FEW_WORDS:
        return "label"
    if "int" in dtype:
        return "label" if few and repeats <= FEW_NUMBERS else "number"
    return "number" if dtype.startswith("float") else "text" if dtype in ("string", "large_string") else None


def _replaced(data: Dataset, name: str, values: Sequence[Any], feature: Any) -> Dataset:
    """The same with other values in a column."""
    order = data.column_names
    return data.remove_columns(name).add_column(name, values, feature=feature).select_columns(order)


def _picture_feature() -> Any:
    """Pictures as {bytes, path}: opening them is ours, so that a broken one is a row of a report and not the end."""
    from datasets import Image

    return Image(decode=False)


def _cell(value: Any) -> dict[str, Any] | None:
    if isinstance(value, PIL.Image.Image):
        value = image.write(value)
    return {"bytes": value, "path": None} if isinstance(value, bytes) else None


def _line(error: BaseException) -> str:
    """The first line of the innermost message: readers wrap the reason in sentences of their own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of `datasets`, which are as they were afterwards."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_disabled:
            enable_progress_bars()

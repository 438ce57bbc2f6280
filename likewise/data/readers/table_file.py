"""Table files: .csv, .jsonl, .parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from likewise.data.arrow import TableError, file_feature_of, first_line, parse_numbers, replace_column
from likewise.data.readers.base import FileFormat, Reading
from likewise.modalities import KINDS, Modality

if TYPE_CHECKING:
    from datasets import Dataset

TABLES = (".csv", ".jsonl", ".parquet")


def read_table_file(path: Path, fmt: FileFormat, kinds: Mapping[str, str]) -> Reading:
    """The rows of a table file; a column of names of files becomes these files."""
    from datasets import Dataset

    readers = {
        ".csv": partial(_csv, encoding=fmt.encoding, kinds=kinds),
        ".jsonl": Dataset.from_json,
        ".parquet": Dataset.from_parquet,
    }
    try:
        data = readers[path.suffix.lower()](str(path))
    except Exception as error:  # pyarrow, pandas and datasets have no common one
        reason = "it has no rows" if "corresponds to no data" in str(error) else first_line(error)
        raise TableError(f"cannot read {str(path)!r}: {reason}") from error
    for name, feature in data.features.items():
        values = data[name][:] if getattr(feature, "dtype", "").endswith("string") else []
        kind = _kind_of_names([value for value in values if value])
        if kind is not None:
            cells = [value and {"bytes": None, "path": str(path.parent / value)} for value in values]
            data = replace_column(data, name, cells, file_feature_of(kind))
            if name == "file_name" and kind.kind not in data.column_names:
                data = data.rename_column(name, kind.kind)
    return Reading(data, [path.name])


def _kind_of_names(names: Sequence[str]) -> type[Modality] | None:
    """The kind whose `file_suffixes` all of these names have, None without one or without names."""
    suffixes = {Path(name).suffix.lower() for name in names}
    kinds = (kind for kind in KINDS.values() if suffixes and suffixes.issubset(kind.file_suffixes))
    return next(kinds, None)


def _csv(path: str, encoding: str | None, kinds: Mapping[str, str]) -> Dataset:
    """A .csv: columns that are numbers or booleans throughout are parsed, other values stay strings."""
    import pandas
    from datasets import Dataset, Features, Value

    names = pandas.read_csv(path, nrows=0, encoding=encoding).columns
    data = Dataset.from_csv(
        path,
        features=Features({name: Value("string") for name in names}),
        keep_default_na=False,
        na_values=[""],
        encoding=encoding,
    )
    for name in names:
        numeric = name not in kinds or getattr(KINDS.get(kinds[name]), "numeric", False)
        if numeric and (column := parse_numbers(data[name][:])):
            dtype, values = column
            data = replace_column(data, name, values, Value(dtype))
    return data

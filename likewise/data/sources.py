"""Readers: a data set by name, a folder, a text or table file, or a hub data set -> a Hugging Face data set.

`datasets` is imported inside the functions: that takes a second, and a misspelled name should fail at once.
"""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.core.errors import did_you_mean
from likewise.data.arrow import (
    FILE,
    FILE_TYPES,
    PASSAGE,
    TableError,
    file_feature,
    first_line,
    parse_numbers,
    quiet,
    replace_column,
)
from likewise.data.datasets import DATASETS
from likewise.modalities import KINDS, Modality
from likewise.modalities.document import MIN_DOCUMENT, split_passages

if TYPE_CHECKING:
    from datasets import Dataset

TABLES = (".csv", ".jsonl", ".parquet")
TEXTS = (
    ".txt",
    ".md",
    ".rst",
    ".tex",
    ".html",
    ".py",
    ".sql",
    ".js",
    ".ts",
    ".c",
    ".h",
    ".cpp",
    ".java",
    ".go",
    ".rs",
    ".sh",
    ".r",
    ".jl",
)
MAX_CHARS_IN_MEMORY = 2**26  # of texts; more go into memory-mapped files
BYTE_ORDER_MARK = "\ufeff"  # with which some files begin


def read_source(
    source: str | Path,
    options: Mapping[str, Any] | None = None,
    encoding: str | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Dataset:
    """The rows of a source. Raises TableError.

    options   of a data set by name
    encoding  of text files and .csv (default UTF-8)
    kinds     columns of a .csv whose kind is not numeric keep their strings
    """
    path = Path(source).expanduser()
    if encoding and not (path.is_dir() or path.suffix.lower() in (".csv", *TEXTS)):
        raise TableError(f"{source}: only texts and .csv have an encoding; leave --encoding out")
    if str(source) in DATASETS:
        with quiet():
            return DATASETS[str(source)](**(options or {}))
    if path.is_dir() or path.is_file():
        with quiet():
            return (_folder if path.is_dir() else _file)(path, encoding, kinds or {})
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(source)) and path.suffix not in TABLES + TEXTS:
        with quiet():
            return _hub(str(source))
    if path.suffix or len(path.parts) > 1:
        raise TableError(
            f"there is no folder or file {str(source)!r}; correct the path, or use a data set that comes with "
            f"likewise: {', '.join(DATASETS)}"
        )
    raise TableError(did_you_mean("folder, file or data set", str(source), DATASETS))


def _folder(path: Path, encoding: str | None, kinds: Mapping[str, str]) -> Dataset:
    """A metadata file with a column file_name; else files of a kind, with a .txt each or in class folders; else texts."""
    from datasets import Dataset, Features, Value

    for metadata in (path / f"metadata{suffix}" for suffix in TABLES):
        if metadata.is_file():
            return _file(metadata, encoding, kinds)
    kind, files = _value_files(path)
    texts = _files(path, TEXTS)
    if kind is None:
        if texts:
            return _texts(texts, path, encoding)
        raise TableError(
            f"the folder {str(path)!r} has no pictures, no texts and no metadata.csv, .jsonl or "
            ".parquet; put some in, or give a table file by its name"
        )
    columns: dict[str, list[Any]] = {
        kind.kind: [{"bytes": None, "path": str(p)} for p in files],
        FILE: [str(p.relative_to(path)) for p in files],
    }
    captions = [p.with_suffix(".txt") for p in files]
    if len(unpaired := {*texts} - {*captions}) > len(files):
        raise TableError(
            f"the folder {str(path)!r} has more texts that belong to no {kind.kind} "
            f"({len(unpaired)}, such as {min(unpaired).name}) than files of that kind ({len(files)}); move one "
            "of the two elsewhere"
        )
    if any(p.is_file() for p in captions):
        columns["text"] = [_decode(p, encoding).strip() if p.is_file() else None for p in captions]
    if all(p.parent != path for p in files):
        columns["label"] = [p.parent.name for p in files]
    features = {name: _file_feature(kind) if name == kind.kind else Value("string") for name in columns}
    return Dataset.from_dict(columns, features=Features(features))


def _value_files(folder: Path) -> tuple[type[Modality] | None, list[Path]]:
    """The kind whose values are files in a folder, and these files. Raises TableError for several kinds."""
    files_of = {kind: _files(folder, kind.file_suffixes) for kind in KINDS.values() if kind.file_suffixes}
    files_of = {kind: files for kind, files in files_of.items() if files}
    if len(files_of) > 1:
        counts = " and ".join(f"{len(files)} of the kind {kind.kind}" for kind, files in files_of.items())
        raise TableError(
            f"the folder {str(folder)!r} has files of several kinds, {counts}; give each a folder of its own"
        )
    return next(iter(files_of.items()), (None, []))


def _file_feature(kind: type[Modality]) -> Any:
    return file_feature(sorted(kind.dtypes.intersection(FILE_TYPES))[0])


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files with these suffixes in a folder and its subfolders, without hidden ones."""
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in suffixes
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )


def _texts(files: Sequence[Path], folder: Path, encoding: str | None) -> Dataset:
    """Text files: a row each if all are short, else a row per passage; a label where all are in subfolders."""
    from datasets import Dataset, concatenate_datasets

    has_labels, size, parts = all(p.parent != folder for p in files), 0, []
    columns: dict[str, list[Any]] = {}
    short = all(p.stat().st_size <= MIN_DOCUMENT for p in files)
    for i, path in enumerate(files):
        text = _decode(path, encoding)
        passages = [text] if short else list(split_passages(text)) or [text]  # an empty file is a bad row
        columns.setdefault("text", []).extend(passages)
        columns.setdefault(FILE, []).extend([str(path.relative_to(folder))] * len(passages))
        if has_labels:
            columns.setdefault("label", []).extend([path.parent.name] * len(passages))
        if not short:
            columns.setdefault(PASSAGE, []).extend((i << 32) + k for k in reversed(range(len(passages))))
        size += len(text)
        if size > MAX_CHARS_IN_MEMORY or path is files[-1]:  # Arrow limits the size of a column
            parts.append(_memory_map(columns) if size > MAX_CHARS_IN_MEMORY else Dataset.from_dict(columns))
            columns, size = {}, 0
    return concatenate_datasets(parts)


def _memory_map(columns: Mapping[str, list[Any]]) -> Dataset:
    """Rows in a memory-mapped temporary file, which disappears with the data set."""
    import pyarrow as pa
    from datasets import Dataset

    rows = pa.table(dict(columns))
    with tempfile.NamedTemporaryFile(suffix=".arrow") as file:
        with pa.ipc.new_stream(file, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=1000)
        file.flush()
        return Dataset.from_file(file.name)


def _decode(path: Path, encoding: str | None) -> str:
    """The text of a file, with newlines of one form. Raises TableError that names the wrong byte."""
    try:
        text = path.read_bytes().decode(encoding or "utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        wide = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise TableError(
            f"{path} is not {encoding or 'UTF-8'}: byte {error.start:,} is "
            f"0x{error.object[error.start]:02x}; give its encoding, such as "
            f"--encoding {'utf-16' if wide else 'latin-1'}"
        ) from None
    except LookupError:
        raise TableError(
            f"there is no encoding {encoding!r}; write utf-8, latin-1, cp1252 or another one of Python"
        ) from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _file(path: Path, encoding: str | None, kinds: Mapping[str, str]) -> Dataset:
    """A text file, or a table file; a column of names of files becomes these files."""
    from datasets import Dataset

    if path.suffix.lower() in TEXTS:
        data = _texts([path], path.parent, encoding)
        if not any(text.strip() for text in data["text"]):
            raise TableError(f"{path} is empty")
        return data
    readers = {
        ".csv": partial(_csv, encoding=encoding, kinds=kinds),
        ".jsonl": Dataset.from_json,
        ".parquet": Dataset.from_parquet,
    }
    if path.suffix.lower() not in readers:
        raise TableError(
            f"cannot read {str(path)!r}; give a folder of pictures or texts, or a file that "
            f"ends in {', '.join(TABLES)} or .txt"
        )
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
            data = replace_column(data, name, cells, _file_feature(kind))
            if name == "file_name" and kind.kind not in data.column_names:
                data = data.rename_column(name, kind.kind)
    return data


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


def _hub(name: str) -> Dataset:
    """The training split of a data set on the hub."""
    import datasets
    import huggingface_hub

    try:
        if not huggingface_hub.constants.HF_HUB_OFFLINE:
            huggingface_hub.HfApi().dataset_info(name, timeout=10)  # fails sooner than load_dataset
        return datasets.load_dataset(name, split="train")
    except Exception as error:  # the hub, its client, the network and the reader have no common one
        raise TableError(
            f"there is no folder or file {name!r}, and the hub gave no data set of that name "
            f"({first_line(error)}); correct the name, see that the network is up, or use a data set that comes "
            f"with likewise: {', '.join(DATASETS)}"
        ) from error

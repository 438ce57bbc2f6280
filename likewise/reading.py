"""Reading: any source of rows -> a Hugging Face data set, and the kind of each of its columns.

`datasets` is imported inside the functions: it takes a second, and a misspelled name should be told at once.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from likewise.demos import DEMOS
from likewise.formula import unknown
from likewise.modalities import KINDS, image
from likewise.modalities.document import passages

if TYPE_CHECKING:
    from datasets import Dataset

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
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
LONG = 4096  # characters above which a text is a document, which is learned in windows
AT_ONCE = 2**26  # characters of texts that are kept in memory; more go into files that are mapped
MARK = "\ufeff"  # of the order of bytes, which some files begin with
PASSAGE = " passage"  # where a passage stands: document * 2^32 + how many of its passages follow
FILE = " file"  # that a row of a folder is from; neither of the two is a value of the row
OTHER = " other"  # a column while it takes the place of another
NAMED = {"text": "text", "caption": "text", "prompt": "text", "label": "label"}  # what these always are
FEW_STRINGS, FEW_NUMBERS = 256, 32  # distinct values at most, each twice on average: these are labels
NUMBER = re.compile(r"[+-]?((?!0\d)(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)", re.IGNORECASE)  # not 007
WHOLE = re.compile(r"[+-]?\d+")
DIGITS = 18  # of a whole number at most; what has more is a name
GAPS = {"NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A"}  # among numbers: missing


class TableError(ValueError):
    """A source that cannot be read, or that has rows which cannot be used."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and log lines of `datasets`, which are as they were afterwards."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown, log = not are_progress_bars_disabled(), logging.getLogger("datasets")
    level = log.level
    disable_progress_bars()
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        if shown:
            enable_progress_bars()


def read(
    source: str | Path,
    options: Mapping[str, Any] | None = None,
    encoding: str | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Dataset:
    """The rows of a demo, a folder, a text or table file, or a hub data set. Raises TableError.

    `encoding` is that of text files and of .csv, UTF-8 unless given. What `kinds` says is no number is read
    from a .csv as it is written.
    """
    path = Path(source).expanduser()
    if encoding and not (path.is_dir() or path.suffix.lower() in (".csv", *TEXTS)):
        raise TableError(f"{source}: an encoding is one of texts and .csv; leave --encoding out")
    if str(source) in DEMOS:
        with _quiet():
            return DEMOS[str(source)](**(options or {}))
    if path.is_dir() or path.is_file():
        with _quiet():
            return (_folder if path.is_dir() else _file)(path, encoding, kinds or {})
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(source)) and path.suffix not in TABLES + TEXTS:
        with _quiet():
            return _hub(str(source))
    if path.suffix or len(path.parts) > 1:
        raise TableError(
            f"there is no folder or file {str(source)!r}; mend the path, or take a demo: {', '.join(DEMOS)}"
        )
    raise TableError(unknown("folder, file or demo", str(source), DEMOS))


@_quiet()
def typed(data: Dataset, kinds: Mapping[str, str]) -> tuple[Dataset, dict[str, str], list[str]]:
    """The columns that a modality reads, their kinds (`kinds` overrules what the values say), and warnings.

    Raises TableError if there are none, or for a kind or column that is not known.
    """
    names = [name for name in data.column_names if name not in (PASSAGE, FILE)]
    for name, kind in kinds.items():
        if name not in names:
            raise TableError(unknown("column", name, names))
        if kind not in KINDS:
            raise TableError(unknown("kind of column", kind, KINDS))
    if not len(data):
        raise TableError("there are no rows")
    found, warnings = {}, []
    for name in names:
        data = _plain(data, name)
        own = "document" if PASSAGE in data.column_names and name == "text" else _kind(data, name)
        kind = kinds.get(name, own)
        if kind is None:
            warnings.append(f"column {name!r} is left out: no modality reads {data.features[name]}")
            continue
        if "image" in (kind, own) and kind != own:
            raise TableError(f"column {name!r} cannot be taken for {kind}: it holds {data.features[name]}")
        found[name] = kind
        if kind in ("text", "document"):
            data = _strings(data, name)
    if not found:
        raise TableError("there is no column to learn from; " + "; ".join(warnings))
    documents = [name for name, kind in found.items() if kind == "document"]
    if len(documents) > 1:
        raise TableError(
            f"{' and '.join(documents)} are documents, and rows can be passages of one only; "
            f"leave one of them out, or say --kind {documents[1]}=text if it is short"
        )
    if PASSAGE in data.column_names and not documents:
        raise TableError(f"a text has more than {LONG:,} bytes; leave --kind out: it is a document")
    if documents and PASSAGE not in data.column_names:
        data = data.map(
            _cut,
            fn_kwargs={"name": documents[0]},
            with_indices=True,
            batched=True,
            batch_size=1,
            remove_columns=data.column_names,
            load_from_cache_file=False,
        )
    beside = [name for name in (PASSAGE, FILE) if name in data.column_names]
    return data.select_columns([*found, *beside]), found, warnings


@_quiet()
def from_rows(rows: Sequence[Mapping[str, Any]]) -> Dataset:
    """Rows in memory -> a data set; pictures become PNGs. Raises TableError for a column of mixed types."""
    from datasets import Dataset, Features

    columns, features = {}, {}
    for name in dict.fromkeys(name for row in rows for name in row):
        columns[name] = values = [row.get(name) for row in rows]
        if any(isinstance(value, PIL.Image.Image) for value in values):
            columns[name] = [_cell(value) for value in values]
            features[name] = _picture()
        else:
            try:
                features[name] = Dataset.from_dict({name: values}).features[name]
            except (ValueError, TypeError) as error:
                raise TableError(f"column {name!r} mixes types: {_line(error)}") from error
    return Dataset.from_dict(columns, features=Features(features))


def _folder(path: Path, encoding: str | None, kinds: Mapping[str, str]) -> Dataset:
    """A metadata file with a column file_name; pictures, each with a .txt or in class folders; texts."""
    from datasets import Dataset, Features, Value

    for metadata in (path / f"metadata{suffix}" for suffix in TABLES):
        if metadata.is_file():
            return _file(metadata, encoding, kinds)
    files, texts = _files(path, PICTURES), _files(path, TEXTS)
    if not files:
        if texts:
            return _texts(texts, path, encoding)
        raise TableError(
            f"the folder {str(path)!r} has no pictures, no texts and no metadata.csv, .jsonl or "
            ".parquet; put some in, or give a table file by its name"
        )
    columns: dict[str, list[Any]] = {
        "image": [{"bytes": None, "path": str(p)} for p in files],
        FILE: [str(p.relative_to(path)) for p in files],
    }
    captions = [p.with_suffix(".txt") for p in files]
    if len(alone := {*texts} - {*captions}) > len(files):
        raise TableError(
            f"the folder {str(path)!r} holds more texts that stand beside no picture "
            f"({len(alone)}, such as {min(alone).name}) than pictures ({len(files)}); put one "
            "of the two elsewhere"
        )
    if any(p.is_file() for p in captions):
        columns["text"] = [_decoded(p, encoding).strip() if p.is_file() else None for p in captions]
    if all(p.parent != path for p in files):
        columns["label"] = [p.parent.name for p in files]
    features = {name: _picture() if name == "image" else Value("string") for name in columns}
    return Dataset.from_dict(columns, features=Features(features))


def _files(folder: Path, endings: Sequence[str]) -> list[Path]:
    """The files that end so, anywhere in a folder but in what is hidden there."""
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in endings
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )


def _texts(files: Sequence[Path], folder: Path, encoding: str | None) -> Dataset:
    """Text files: a row each if all are short, else a row a passage; `label` where folders are classes."""
    from datasets import Dataset, concatenate_datasets

    classes, size, parts = all(p.parent != folder for p in files), 0, []
    columns: dict[str, list[Any]] = {}
    whole = all(p.stat().st_size <= LONG for p in files)
    for i, path in enumerate(files):
        text = _decoded(path, encoding)
        cut = [text] if whole else list(passages(text)) or [text]  # an empty one is a row that is not right
        columns.setdefault("text", []).extend(cut)
        columns.setdefault(FILE, []).extend([str(path.relative_to(folder))] * len(cut))
        if classes:
            columns.setdefault("label", []).extend([path.parent.name] * len(cut))
        if not whole:
            columns.setdefault(PASSAGE, []).extend((i << 32) + k for k in reversed(range(len(cut))))
        size += len(text)
        if size > AT_ONCE or path is files[-1]:  # a column of Arrow has its limits, and so has memory
            parts.append(_mapped(columns) if size > AT_ONCE else Dataset.from_dict(columns))
            columns, size = {}, 0
    return concatenate_datasets(parts)


def _mapped(columns: Mapping[str, list[Any]]) -> Dataset:
    """Rows in a file that is mapped, and gone when nobody reads it."""
    import pyarrow as pa
    from datasets import Dataset

    rows = pa.table(dict(columns))
    with tempfile.NamedTemporaryFile(suffix=".arrow") as file:
        with pa.ipc.new_stream(file, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=1000)
        file.flush()
        return Dataset.from_file(file.name)


def _decoded(path: Path, encoding: str | None) -> str:
    """The text of a file, its lines ended by a newline each. Raises TableError that names the byte."""
    try:
        text = path.read_bytes().decode(encoding or "utf-8").removeprefix(MARK)
    except UnicodeDecodeError as error:
        wide = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise TableError(
            f"{path} is not {encoding or 'UTF-8'}: byte {error.start:,} is "
            f"0x{error.object[error.start]:02x}; say what it is, such as "
            f"--encoding {'utf-16' if wide else 'latin-1'}"
        ) from None
    except LookupError:
        raise TableError(
            f"there is no encoding {encoding!r}; write utf-8, latin-1, cp1252 or another that Python knows"
        ) from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _cut(rows: dict[str, list[Any]], places: Sequence[int], name: str) -> dict[str, list[Any]]:
    """One row -> a row for each passage of its document."""
    cut = list(passages(rows[name][0])) if rows[name][0] else rows[name]
    others = {n: values * len(cut) for n, values in rows.items() if n != name}
    return {
        **{n: cut if n == name else others[n] for n in rows},
        PASSAGE: [(places[0] << 32) + k for k in reversed(range(len(cut)))],
    }


def _file(path: Path, encoding: str | None, kinds: Mapping[str, str]) -> Dataset:
    """One text; or one table file, where names of pictures become these, and file_name becomes image."""
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
    except Exception as error:  # pyarrow, pandas and datasets each have their own
        reason = "it has no rows" if "corresponds to no data" in str(error) else _line(error)
        raise TableError(f"cannot read {str(path)!r}: {reason}") from error
    for name, feature in data.features.items():
        values = data[name][:] if getattr(feature, "dtype", "").endswith("string") else []
        if any(values) and all(Path(value).suffix.lower() in PICTURES for value in values if value):
            cells = [value and {"bytes": None, "path": str(path.parent / value)} for value in values]
            data = _replaced(data, name, cells, _picture())
    free = "file_name" in data.column_names and "image" not in data.column_names
    return data.rename_column("file_name", "image") if free else data


def _csv(path: str, encoding: str | None, kinds: Mapping[str, str]) -> Dataset:
    """Every value as it is written, but for columns of numbers alone, and of truth values."""
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
        if kinds.get(name, "number") == "number" and (found := _numbers(data[name][:])):
            data = _replaced(data, name, found[1], Value(found[0]))
    return data


def _numbers(values: Sequence[str | None]) -> tuple[str, list[Any]] | None:
    """The type and the values of a column of numbers or truth values alone, None of another."""
    values = [None if v is None or v.strip() in GAPS else v.strip() for v in values]
    words = {v for v in values if v is not None}
    if all(word.lower() in ("true", "false") for word in words):
        kind, read = "bool", lambda word: word.lower() == "true"
    elif not all(map(NUMBER.fullmatch, words)):
        return None
    elif all(map(WHOLE.fullmatch, words)):
        kind, read = "int64", int
        if any(len(word.lstrip("+-")) > DIGITS for word in words):
            return None
    else:
        kind, read = "float64", float
    return (kind, [None if v is None else read(v) for v in values]) if words else None


def _hub(name: str) -> Dataset:
    """The training split of a data set on the hub."""
    import datasets
    import huggingface_hub

    try:
        if not huggingface_hub.constants.HF_HUB_OFFLINE:
            huggingface_hub.HfApi().dataset_info(name, timeout=10)  # says no sooner than load_dataset
        return datasets.load_dataset(name, split="train")
    except Exception as error:  # of the hub, its client, the network, the reader
        raise TableError(
            f"there is no folder or file {name!r}, and the hub gave no data set of that name "
            f"({_line(error)}); mend the name, see that the network is up, or take a demo: "
            f"{', '.join(DEMOS)}"
        ) from error


def _plain(data: Dataset, name: str) -> Dataset:
    """The same with the column as picture files, class names or whole numbers, if it is that at heart."""
    import datasets
    import pyarrow as pa

    feature = data.features[name]
    dtype = getattr(feature, "dtype", "")
    if isinstance(feature, datasets.Image):
        return data.cast_column(name, _picture())
    if (isinstance(feature, dict) and set(feature) == {"bytes", "path"}) or dtype.endswith("binary"):
        return _replaced(data, name, [_cell(value) for value in data[name][:]], _picture())
    if isinstance(feature, datasets.ClassLabel):
        classes = [None if i is None or i < 0 else feature.names[i] for i in data[name][:]]
        return _replaced(data, name, classes, datasets.Value("string"))
    if dtype.startswith("float"):  # whole numbers with a gap are read as floats
        with contextlib.suppress(pa.ArrowInvalid):
            whole = data.data.column(name).cast("int64").to_pylist()
            return _replaced(data, name, whole, datasets.Value("int64"))
    return data


def _kind(data: Dataset, name: str) -> str | None:
    """The kind of a column, from all of its values."""
    import datasets
    import pyarrow.compute as pc

    feature = data.features[name]
    if isinstance(feature, datasets.Image):
        return "image"
    dtype = feature.dtype if isinstance(feature, datasets.Value) else ""
    string, whole = dtype.endswith("string"), "int" in dtype
    long = string and (pc.max(pc.utf8_length(data.data.column(name))).as_py() or 0) > LONG
    if long:
        return "document"
    if name in NAMED and (string or (whole and NAMED[name] == "label")):
        return NAMED[name]
    distinct = pc.count_distinct(data.data.column(name)).as_py() if string or whole else 0
    few = distinct <= (FEW_STRINGS if string else FEW_NUMBERS) and 2 * distinct <= len(data)
    if dtype == "bool" or (few and (string or whole)):
        return "label"
    return "text" if string else "number" if whole or dtype.startswith("float") else None


def _strings(data: Dataset, name: str) -> Dataset:
    """The same with the column as strings."""
    from datasets import Value

    if data.features[name].dtype == "string":
        return data
    return _replaced(data, name, [None if v is None else str(v) for v in data[name][:]], Value("string"))


def _replaced(data: Dataset, name: str, values: Sequence[Any], feature: Any) -> Dataset:
    """The same with other values in a column."""
    order = data.column_names
    data = data.add_column(OTHER, values, feature=feature)  # first: a table without columns has no rows
    return data.remove_columns(name).rename_column(OTHER, name).select_columns(order)


def _picture() -> Any:
    """Pictures as {bytes, path}: opening them is ours, so that a broken one is a line of a report."""
    from datasets import Image

    return Image(decode=False)


def _cell(value: Any) -> dict[str, Any] | None:
    if isinstance(value, PIL.Image.Image):
        value = image.write(value)
    return {"bytes": value, "path": None} if isinstance(value, bytes) else value


def _line(error: BaseException) -> str:
    """The first line of the innermost message: readers wrap the reason in sentences of their own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

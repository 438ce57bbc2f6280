"""Text files: a row each, or a row for each passage of a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.data.arrow import FILE, PASSAGE, TableError, to_dataset
from likewise.data.readers.base import FileFormat, Reading, decode_text
from likewise.data.readers.listing import escape
from likewise.data.spool import memory_map
from likewise.modalities.document import MIN_DOCUMENT, split_passages

if TYPE_CHECKING:
    from datasets import Dataset

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


def read_text_file(path: Path, fmt: FileFormat) -> Reading:
    """One text. Raises TableError for an empty one."""
    fmt.require(path, ("encoding",))
    data = read_texts([path], path.parent, fmt.encoding)
    if not any(text.strip() for text in data["text"]):
        raise TableError(f"{path} is empty")
    return Reading(data, [path.name])


def read_texts(
    files: Sequence[Path],
    folder: Path,
    encoding: str | None,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> Dataset:
    """Text files: a row each if all are short, else a row per passage.

    columns  further ones, with a value for each file
    """
    from datasets import Dataset, concatenate_datasets

    size, parts = 0, []
    rows: dict[str, list[Any]] = {}
    short = all(p.stat().st_size <= MIN_DOCUMENT for p in files)
    for i, path in enumerate(files):
        text = decode_text(path, encoding)
        passages = [text] if short else list(split_passages(text)) or [text]  # an empty file is a bad row
        rows.setdefault("text", []).extend(passages)
        rows.setdefault(FILE, []).extend([escape(str(path.relative_to(folder)))] * len(passages))
        for name, values in (columns or {}).items():
            rows.setdefault(name, []).extend([values[i]] * len(passages))
        if not short:
            rows.setdefault(PASSAGE, []).extend((i << 32) + k for k in reversed(range(len(passages))))
        size += len(text)
        if size > MAX_CHARS_IN_MEMORY or path is files[-1]:  # Arrow limits the size of a column
            parts.append(_memory_map(rows) if size > MAX_CHARS_IN_MEMORY else Dataset.from_dict(rows))
            rows, size = {}, 0
    return concatenate_datasets(parts)


def _memory_map(columns: Mapping[str, list[Any]]) -> Dataset:
    """Rows in a memory-mapped temporary file, which disappears with the data set."""
    import pyarrow as pa

    rows = pa.table(dict(columns))
    return to_dataset(memory_map(rows.to_batches(max_chunksize=1000), rows.schema))

"""Which reader reads a source: a data set by name, a folder, a text or table file, or a data set on the hub."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from likewise.core.errors import did_you_mean
from likewise.data.arrow import TableError, first_line, quiet
from likewise.data.datasets import DATASETS
from likewise.data.readers.base import DEFAULT_FORMAT, FileFormat, Reading
from likewise.data.readers.file_names import URL
from likewise.data.readers.folder import read_folder
from likewise.data.readers.table_file import TABLES, UNREADABLE, is_table, read_table_file
from likewise.data.readers.text_files import TEXTS, read_text_file


def read_source(
    source: str | Path,
    options: Mapping[str, Any] | None = None,
    fmt: FileFormat = DEFAULT_FORMAT,
    kinds: Mapping[str, str] | None = None,
) -> Reading:
    """The rows of a source. Raises TableError.

    options   of a data set by name
    fmt       of text and table files
    kinds     columns of a .csv whose kind is not numeric keep their strings
    """
    if not isinstance(source, str | Path):
        raise TableError(
            f"a source is a name or a path, not of the type {type(source).__name__}; Table.from_rows takes rows in memory"
        )
    if (why := _no_path(str(source))) is not None:
        raise TableError(why)
    path, name = Path(source).expanduser(), str(source)
    is_hub_name = re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) and not (is_table(path) or path.suffix in TEXTS)
    if fmt.given() and (name in DATASETS or path.exists() or is_hub_name):
        fmt.require(source, _format_options(path))
    with quiet():
        if name in DATASETS:
            return Reading(DATASETS[name](**(options or {})), [f"the data set {name}"])
        if path.is_dir():
            return read_folder(path, fmt, kinds or {})
        if path.is_file():
            return _read_file(path, fmt, kinds or {})
        if is_hub_name:
            return _read_hub(name)
    if path.suffix or len(path.parts) > 1:
        raise TableError(
            f"there is no folder or file {name!r}; correct the path, or use a data set that comes with "
            f"likewise: {', '.join(DATASETS)}"
        )
    raise TableError(did_you_mean("folder, file or data set", name, DATASETS))


def _no_path(name: str) -> str | None:
    """Why a name cannot be that of a source, with what to do."""
    if not name.strip():
        return "the name of the data is empty; give a folder, a file or a data set"
    if name == "-":
        return "standard input is not read; write the data to a file, and give its name"
    if URL.match(name):
        return (
            f"{name} is an address, and addresses are not fetched; download it, and give the file or folder"
        )
    return None


def _format_options(path: Path) -> Collection[str]:
    """The options of FileFormat that a file takes, or files of a folder, as far as their names tell."""
    files = list(path.rglob("*")) if path.is_dir() else [path]
    known = {"encoding"} if any(file.suffix.lower() in TEXTS for file in files) else set()
    return known | ({*FileFormat.names()} if any(map(is_table, files)) else set())


def _read_file(path: Path, fmt: FileFormat, kinds: Mapping[str, str]) -> Reading:
    """A text file or a table file. Raises TableError for another one."""
    if path.suffix.lower() in TEXTS:
        return read_text_file(path, fmt)
    if is_table(path):
        return read_table_file(path, fmt, kinds)
    if (advice := UNREADABLE.get(path.suffix.lower())) is not None:
        raise TableError(f"cannot read {str(path)!r}: {advice}")
    raise TableError(
        f"cannot read {str(path)!r}; give a folder of pictures or texts, or a file that ends in {', '.join(TABLES)} or "
        ".txt; if it is one of these give it the ending"
    )


def _read_hub(name: str) -> Reading:
    """The training split of a data set on the hub."""
    import datasets
    import huggingface_hub

    try:
        if not huggingface_hub.constants.HF_HUB_OFFLINE:
            huggingface_hub.HfApi().dataset_info(name, timeout=10)  # fails sooner than load_dataset
        return Reading(datasets.load_dataset(name, split="train"), [f"{name} from the hub: the split train"])
    except Exception as error:  # the hub, its client, the network and the reader have no common one
        raise TableError(
            f"there is no folder or file {name!r}, and the hub gave no data set of that name "
            f"({first_line(error)}); correct the name, see that the network is up, or use a data set that comes "
            f"with likewise: {', '.join(DATASETS)}"
        ) from error

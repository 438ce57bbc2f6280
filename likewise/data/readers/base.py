"""What readers share: the options of a format, and the rows with an account of what was read and what was not."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from likewise.data.arrow import TableError

if TYPE_CHECKING:
    from datasets import Dataset

BYTE_ORDER_MARK = "\ufeff"  # with which some files begin


@dataclass(frozen=True)
class FileFormat:
    """How text and table files are written.

    encoding  of text files and .csv (default: UTF-8)
    """

    encoding: str | None = None


DEFAULT_FORMAT = FileFormat()


@dataclass(frozen=True)
class Reading:
    """The rows of a source, and what a reader has to say about them, a line each.

    rows    the data set
    read    what was read, and as what: "20 .png files", "metadata.csv: separator ';', encoding cp1252"
    unused  what was there and was not used, with the reason: "3 .tga files: no picture format"
    """

    rows: Dataset
    read: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def decode_text(path: Path, encoding: str | None) -> str:
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

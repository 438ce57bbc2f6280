"""What readers share: the options of a format, and the rows with an account of what was read and what was not."""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from likewise.core.contents import find_content
from likewise.core.option_names import option_text
from likewise.data.arrow import LINE, ROW, TableError
from likewise.data.validation import BadRow

if TYPE_CHECKING:
    from datasets import Dataset

SOME_ENCODINGS = "cp1252, cp1251, shift_jis or gb18030"  # Western, Cyrillic, Japanese, Chinese
BYTE_ORDER_MARK = "\ufeff"  # with which some files begin


@dataclass(frozen=True)
class FileFormat:
    """How text and table files are written; what is not given is found in the file, and said.

    encoding   of text files, .csv and .tsv (default: by a byte order mark, else UTF-8, else cp1252 if it looks so)
    separator  of the cells of a .csv or .tsv, one character or "tab"
    decimal    the decimal mark of numbers in cells of text
    thousands  what separates groups of three digits in them
    header     whether the first row names the columns; else they are column_1, column_2 ...
    """

    encoding: str | None = None
    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    header: bool = True

    def __post_init__(self) -> None:
        """Raise TableError for marks that are not one character each, or the same."""
        if self.separator in ("tab", "\\t"):
            object.__setattr__(self, "separator", "\t")
        for name in ("separator", "decimal", "thousands"):
            mark = getattr(self, name)
            if mark is not None and (len(mark) != 1 or mark.isalnum() or mark in '"\n\r'):
                raise TableError(f"{name}={mark!r}: write one character, such as ',' or ';'")
        if self.decimal is not None and self.decimal == self.thousands:
            raise TableError(f"decimal and thousands are both {self.decimal!r}; they differ")

    @classmethod
    def names(cls) -> list[str]:
        """The names of all options."""
        return [f.name for f in dataclasses.fields(cls)]

    def given(self) -> list[str]:
        """The names of what is given."""
        return [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]

    def require(self, source: str | Path, known: Collection[str]) -> None:
        """Raise TableError for an option that a source does not have."""
        for name in self.given():
            if name not in known:
                raise TableError(f"{source} has no {name} to choose; leave {format_flag(name)} out")


DEFAULT_FORMAT = FileFormat()


@dataclass(frozen=True)
class Reading:
    """The rows of a source, and what a reader has to say about them, a line each.

    rows    the data set
    read     what was read, and as what: "20 .png files", "metadata.csv: separator ';', encoding cp1252"
    unused   what was there and was not used, with the reason: "3 .tga files: no picture format"
    notes    what was read otherwise than it looks: "price: the unit $ is left out"
    bad      rows of the source that are not in `rows`, and cells that are missing there as they cannot be used, by
             the numbers of the source; the hidden column ROW of `rows` has them
    reasons  column -> why its values have their type: "300 of 300 cells are numbers"
    left_out  column -> why it is not in `rows`
    styles   column -> how its cells are written, see Modality.with_style
    """

    rows: Dataset
    read: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    styles: dict[str, str] = field(default_factory=dict)


def format_flag(name: str) -> str:
    """The option that gives a field of FileFormat."""
    return option_text(name, False) if name == "header" else option_text(name)


def bad_cells(rows: Dataset, column: str, reasons: Mapping[int, str]) -> list[BadRow]:
    """Cells that cannot be used, by their position in `rows`, as bad rows of the source."""
    hidden = {name: rows.data.column(name) for name in (ROW, LINE) if name in rows.column_names}
    return [
        BadRow(
            hidden[ROW][i].as_py() if ROW in hidden else i,
            column,
            reason,
            line=hidden[LINE][i].as_py() if LINE in hidden else None,
        )
        for i, reason in reasons.items()
    ]


def decode_text(path: Path, encoding: str | None) -> str:
    """The text of a file, with newlines of one form. Raises TableError that names the wrong byte."""
    try:
        data = path.read_bytes()
        if (content := find_content(data)) and not content.endings:
            raise TableError(f"cannot read {str(path)!r}: {content}")
        text = data.decode(encoding or "utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        wide = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise TableError(
            f"{path} is not {encoding or 'UTF-8'}: byte {error.start:,} is "
            f"0x{error.object[error.start]:02x}; give its encoding, such as "
            f"{option_text('encoding')} {'utf-16' if wide else SOME_ENCODINGS}"
        ) from None
    except LookupError:
        raise TableError(
            f"there is no encoding {encoding!r}; write utf-8, latin-1, cp1252 or another one of Python"
        ) from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")

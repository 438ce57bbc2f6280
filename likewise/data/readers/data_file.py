"""DataFile: a file that may be compressed, its bytes and its text, in an encoding that is found or given."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from likewise.core.contents import LENGTH, find_content
from likewise.core.option_names import option_text
from likewise.data.arrow import TableError
from likewise.data.readers.base import SOME_ENCODINGS

BYTE_ORDER_MARKS = (  # a longer one before its beginning
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
BLOCK = 2**20  # bytes that are read at a time
WESTERN = "cp1252"  # of old Western European files, and a superset of latin-1
LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßœŒ")
SIGNS = frozenset("€£§°«»–—‘’“”…·²³µ´½¼¾®™©¿¡ªº×\u00a0")


@dataclass(frozen=True)
class DataFile:
    """A file as it is read; a .gz, or a .zip with one file, is read as what it holds.

    path    as the user wrote it
    suffix  lower case, of what is read: ".csv" of "t.csv.gz"
    open    opens its bytes
    """

    path: Path
    suffix: str
    open: Callable[[], IO[bytes]]

    @classmethod
    def at(cls, path: Path) -> DataFile:
        """The file of a path. Raises TableError for a .zip with several files, or none."""
        suffix = path.suffix.lower()
        if suffix == ".gz":
            return cls(path, path.with_suffix("").suffix.lower(), lambda: cast(IO[bytes], gzip.open(path)))
        if suffix == ".zip":
            member = _only_member(path)
            return cls(path, Path(member).suffix.lower(), lambda: zipfile.ZipFile(path).open(member))
        return cls(path, suffix, lambda: open(path, "rb"))

    def require_content(self) -> None:
        """Raise TableError for a file that is not what its ending says, such as a web page."""
        with self.open() as file:
            content = find_content(file.read(LENGTH))
        if content and self.suffix not in content.endings:
            raise TableError(f"cannot read {str(self.path)!r}: {content}")

    def text(self, encoding: str) -> io.TextIOWrapper:
        """The text with its own newlines, without a byte order mark."""
        stream = io.TextIOWrapper(self.open(), encoding=encoding, newline="")
        if stream.read(1) != "\ufeff":
            stream.seek(0)
        return stream

    def find_encoding(self, encoding: str | None) -> tuple[str, str | None]:
        """The encoding of the whole file, and a note if it is neither the given one nor UTF-8.

        Raises TableError for a byte that does not belong to it, and if it cannot be told.
        """
        with self.open() as file:
            start = file.read(4096)
        if encoding is None:
            for mark, name in BYTE_ORDER_MARKS:
                if start.startswith(mark):
                    self._check(name)
                    return name, None if name == "utf-8-sig" else f"encoding {name}"
            if (wide := _wide(start)) is not None:
                self._check(wide)
                return wide, f"encoding {wide}, without a byte order mark"
        error = self._error(encoding or "utf-8")
        if error is None:
            return encoding or "utf-8", None
        if encoding is None and (example := self._western_example()) is not None:
            self._check(WESTERN)
            return (
                WESTERN,
                f"encoding {WESTERN}, as in {example!r}; {option_text('encoding')} says if it is another one",
            )
        raise error

    def _check(self, encoding: str) -> None:
        if (error := self._error(encoding)) is not None:
            raise error

    def _error(self, encoding: str) -> TableError | None:
        """What is wrong with the first byte that does not belong to an encoding; None if all do."""
        try:
            decoder = codecs.getincrementaldecoder(encoding)()
        except LookupError:
            return TableError(
                f"there is no encoding {encoding!r}; write utf-8, latin-1, cp1252 or another one of Python"
            )
        newlines = 0
        with self.open() as file:
            while True:
                block = file.read(BLOCK)
                try:
                    text = decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    line = newlines + error.object[: error.start].decode(encoding, "replace").count("\n") + 1
                    return TableError(
                        f"{self.path}, line {line:,}: the byte 0x{error.object[error.start]:02x} is not "
                        f"{encoding.upper()}; give the file's encoding, such as "
                        f"{option_text('encoding')} {SOME_ENCODINGS}"
                    )
                if "\0" in text:
                    line = newlines + text[: text.index("\0")].count("\n") + 1
                    return TableError(
                        f"{self.path}, line {line:,}: there is a NUL character; remove it, or give the file's "
                        f"encoding, such as {option_text('encoding', 'utf-16-le')}"
                    )
                newlines += text.count("\n")
                if not block:
                    return None

    def _western_example(self) -> str | None:
        """A word with a character beyond ASCII, if these look as in WESTERN: letters among letters, and signs."""
        example, wide, ascii_letters = None, 0, 0
        with self.open() as file:
            while block := file.read(BLOCK):
                try:
                    text = block.decode(WESTERN)
                except UnicodeDecodeError:
                    return None
                for word in re.findall(r"[^\W\d_]*[^\x00-\x7f]+[^\W\d_]*", text):
                    others = [c for c in word if not c.isascii()]
                    inside = [c for c in word[1:-1] if c in SIGNS and c != "’"]
                    if inside or not all(c in LETTERS or c in SIGNS for c in others):
                        return None
                    example = example or word
                    wide += len(others)
                ascii_letters += len(re.findall(r"[A-Za-z]", text))
        return example if wide < ascii_letters else None


def _wide(start: bytes) -> str | None:
    """The encoding of UTF-16 without a mark: nearly every second byte of Western text is 0."""
    if len(start) < 4 or b"\0" not in start:
        return None
    zeros = [part.count(0) / len(part) for part in (start[::2], start[1::2])]
    if zeros[1] > 0.7 and zeros[0] < 0.1:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.7 and zeros[1] < 0.1 else None


def _only_member(path: Path) -> str:
    """The one file in a .zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX")]
    except (zipfile.BadZipFile, OSError) as error:
        raise TableError(f"cannot read {str(path)!r}: {error}") from None
    if len(names) != 1:
        raise TableError(
            f"{str(path)!r} holds {len(names)} files; unpack it, and give one of them, or their folder"
        )
    return names[0]

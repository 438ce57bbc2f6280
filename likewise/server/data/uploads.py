"""Uploads: a form with one file, which is written to disk as it comes, whatever its size, and hashed on the way."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from likewise.server.http.errors import APIError, invalid
from likewise.server.limits import MAX_FIELD_BYTES, MAX_FILENAME

MAX_HEADER_BYTES = 4096  # of a part
MAX_FORM_BYTES = 16_384  # of a form, beside its file
ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}  # of browsers, in the name of a file


@dataclass
class Upload:
    """A file of a form.

    path    where its bytes are, until `discard`, or until they are taken elsewhere
    name    as the client calls it, for display
    digest  SHA-256 of the bytes
    fields  the other fields of the form
    """

    path: Path
    name: str = ""
    size: int = 0
    digest: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    def discard(self) -> None:
        """Remove the bytes, if they are still there."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


async def receive_upload(
    request: Request, folder: Path, known_fields: Collection[str], require_room: Callable[[int], None]
) -> Upload:
    """The file of a form, written into the folder. Raises APIError for a body that is no such form.

    require_room  called with the bytes that the file has so far, and at first with those that the body is to have;
                  raises APIError if they are too many
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise APIError(415, "send the file as multipart/form-data, in a part called file")
    length = request.headers.get("content-length", "0")
    require_room(max(0, int(length) - MAX_FORM_BYTES) if length.isdecimal() else 0)
    folder.mkdir(parents=True, exist_ok=True)
    form = _Form(Upload(folder / f"{secrets.token_hex(16)}.part"), known_fields)
    try:
        with open(form.upload.path, "xb") as out:
            form.write = out.write
            parser = MultipartParser(options[b"boundary"], form.callbacks)  # type: ignore[arg-type]
            async for chunk in request.stream():
                parser.write(chunk)
                require_room(form.upload.size)
            parser.finalize()
        form.finish()
    except FormParserError as error:
        form.upload.discard()
        raise invalid(f"the form is damaged: {error}", code="invalid_form") from None
    except OSError as error:
        form.upload.discard()
        raise APIError(507, f"the file cannot be stored: {error.strerror}", code="no_room") from error
    except BaseException:
        form.upload.discard()
        raise
    return form.upload


class _Form:
    """The state of the parser: which part it is in, and what was read."""

    def __init__(self, upload: Upload, known_fields: Collection[str]) -> None:
        self.upload, self.known_fields = upload, known_fields
        self.write: Callable[[bytes], Any] = lambda data: None
        self._hash = hashlib.sha256()
        self._header, self._value, self._header_bytes = b"", b"", 0
        self._headers: dict[bytes, bytes] = {}
        self._name, self._is_file, self._data = "", False, b""
        self._found_file = self._ended = False

    @property
    def callbacks(self) -> dict[str, Callable[..., None]]:
        """What the parser calls."""
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data")
        return {f"on_{name}": getattr(self, name) for name in (*names, "part_end", "end")}

    def part_begin(self) -> None:
        """A part begins."""
        self._headers, self._header_bytes, self._data = {}, 0, b""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        """A piece of the name of a header."""
        self._header += self._count_header(data[start:end])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """A piece of its value."""
        self._value += self._count_header(data[start:end])

    def header_end(self) -> None:
        """The end of a header."""
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def headers_finished(self) -> None:
        """The headers of a part are complete."""
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode(errors="replace")
        self._is_file = b"filename" in options
        if self._name == "file":
            if not self._is_file:
                raise invalid("the part file has no filename; send it as a file", "file")
            if self._found_file:
                raise invalid("the form has two files; send one at a time", "file")
            self._found_file = True
            self.upload.name = shown_name(options[b"filename"].decode(errors="replace"))
        elif self._name not in self.known_fields or self._is_file:
            known = ", ".join(["file", *self.known_fields])
            raise invalid(
                f"the form has a part {self._name[:100]!r}, and only {known} are read", self._name[:100]
            )

    def part_data(self, data: bytes, start: int, end: int) -> None:
        """A piece of the content."""
        piece = data[start:end]
        if self._is_file:
            self.write(piece)
            self._hash.update(piece)
            self.upload.size += len(piece)
            return
        self._data += piece
        if len(self._data) > MAX_FIELD_BYTES:
            raise invalid(f"{self._name} has more than {MAX_FIELD_BYTES:,} bytes", self._name)

    def part_end(self) -> None:
        """A part is complete."""
        if not self._is_file:
            self.upload.fields[self._name] = self._data.decode(errors="replace")

    def end(self) -> None:
        """The form is complete."""
        self._ended = True

    def finish(self) -> None:
        """Raise APIError unless the whole form was read."""
        if not self._ended:
            raise invalid("the form ends before its last boundary", code="invalid_form")
        if not self._found_file:
            raise invalid("file is missing", "file", "missing_required_parameter")
        self.upload.digest = self._hash.hexdigest()

    def _count_header(self, piece: bytes) -> bytes:
        self._header_bytes += len(piece)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise invalid("the headers of a part are too long", code="invalid_form")
        return piece


def shown_name(name: str) -> str:
    r"""The last part of what a client calls a file, without control characters: for display, never a path.

    >>> shown_name("C:\\data\\my table.csv"), shown_name("../../etc/passwd"), shown_name("a\r\nb.csv"), shown_name("/")
    ('my table.csv', 'passwd', 'ab.csv', 'data')
    """
    for escape, character in ESCAPES.items():
        name = name.replace(escape, character)
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(c for c in last if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    return kept.strip()[-MAX_FILENAME:] or "data"

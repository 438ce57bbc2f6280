"""Values of columns from and to JSON, by media type: numbers and texts as they are, media in base64 or by address.

A value that is a file is one of

    "data:image/png;base64,..."                    a data URL
    {"b64_json": "..."}
    {"file_id": "file-..."}                        an upload, or an input of an earlier job
    {"url": "/v1/jobs/ID/results/0/COLUMN"}        a result of this server; nothing else is fetched
    "NAME"                                         a part of the body, if that is a form
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from likewise.core.errors import did_you_mean
from likewise.modalities import picture_files
from likewise.modalities.base import Modality, Row
from likewise.models.base import TypedDistribution
from likewise.models.requests import all_columns, parse_prompts, parse_sources
from likewise.server.catalog.schema import input_type
from likewise.server.http.errors import invalid, not_found
from likewise.server.jobs.book import new_id
from likewise.server.jobs.store import Store
from likewise.server.limits import MAX_COLUMNS, MAX_MEDIA_BYTES, MAX_PIXELS, MAX_TEXT

DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.ASCII)
RESULT_URL = re.compile(r"/v1/jobs/(job_[0-9a-f]+)/results/(\d{1,9})/([^?#]+)", re.ASCII)
MAGIC = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "GIF": b"GIF8", "WebP": b"RIFF", "BMP": b"BM"}


@dataclass(frozen=True)
class EncodedValue:
    """A value that leaves the server: bytes of a media type, or a JSON value."""

    media_type: str
    data: Any


@dataclass
class ValueReader:
    """Reads the values of one request.

    parts   files of the body, by the names of their parts
    inputs  the media that were read, by the id under which they can be kept: what was sent, and its type
    """

    store: Store
    parts: Mapping[str, bytes] = field(default_factory=dict)
    inputs: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    def read_row(
        self, model: TypedDistribution, values: Mapping[str, Any], where: str, text: str | None = None
    ) -> tuple[Row, dict[str, Any]]:
        """Values of sources and targets, and `text`, that of the text source -> a row, and the same to be kept.

        Raises APIError that names the value, after `where`.
        """
        strings, media, kept = self._split(model, values, where)
        try:
            [prompt] = parse_prompts(model, [] if text is None else [text], strings)
            row = model.validate_values({**prompt.values, **media}) if media else prompt.values
        except ValueError as error:
            raise invalid(error, _field_of_error(error, values, where)) from None
        return row, kept

    def read_sources(
        self, model: TypedDistribution, values: Mapping[str, Any], where: str
    ) -> tuple[Row, dict[str, Any]]:
        """The same of sources alone."""
        strings, media, kept = self._split(model, values, where)
        try:
            row = parse_sources(model, strings)
            return model.validate_sources({**row, **media}) if media else row, kept
        except ValueError as error:
            raise invalid(error, _field_of_error(error, values, where)) from None

    def _split(
        self, model: TypedDistribution, values: Mapping[str, Any], where: str
    ) -> tuple[dict[str, str], Row, dict[str, Any]]:
        """The values that are read as strings, the others, and all as they are kept; those that are null are left out."""
        columns = all_columns(model)
        if len(values) > MAX_COLUMNS:
            raise invalid(f"{where} has {len(values)} values, and at most {MAX_COLUMNS} are read", where)
        strings: dict[str, str] = {}
        media: Row = {}
        kept: dict[str, Any] = {}
        for name, value in values.items():
            if name not in columns:
                raise invalid(
                    did_you_mean("column", name[:100], columns), f"{where}.{name[:100]}", "unknown_column"
                )
            if value is None:
                continue
            if columns[name].media_type.startswith("text/"):
                strings[name] = text_of(columns[name], value, f"{where}.{name}")
                kept[name] = value
            else:
                media[name], kept[name] = self.read_media(columns[name], value, f"{where}.{name}")
        return strings, media, kept

    def read_media(self, column: Modality, value: Any, where: str) -> tuple[Any, Any]:
        """A value that is no text -> the value of the column, and what is kept of it in a request."""
        if isinstance(value, list):
            if column.media_type != "application/json":
                raise invalid(f"{where} is a file, not a list; send it in base64", where, "invalid_type")
            return self._load(column, json.dumps(value).encode(), where), value
        data = self.media_bytes(value, where)
        loaded = self._load(column, data, where)
        if isinstance(value, dict) and ("file_id" in value or "url" in value):
            return loaded, value
        return loaded, {"file_id": self.keep(data, column.media_type)}

    def keep(self, data: bytes, media_type: str) -> str:
        """The id of a file that will be kept with the job."""
        for id, (other, _) in self.inputs.items():
            if other == data:
                return id
        id = new_id("file")
        self.inputs[id] = data, media_type
        return id

    def media_bytes(self, value: Any, where: str) -> bytes:
        """The bytes that a value stands for. Raises APIError."""
        data = self._bytes(value, where)
        if len(data) > MAX_MEDIA_BYTES:
            raise invalid(f"{where} has {len(data):,} bytes, and at most {MAX_MEDIA_BYTES:,} are read", where)
        return data

    def _bytes(self, value: Any, where: str) -> bytes:
        if isinstance(value, str):
            if value in self.parts:
                return self.parts[value]
            if match := DATA_URL.match(value[:200]):
                return decode_base64(value[match.end() :], where)
            raise invalid(
                f"{where} is neither a data URL nor the name of a part of the body; addresses are not fetched",
                where,
            )
        if isinstance(value, dict) and len(value) == 1:
            [(form, content)] = value.items()
            if isinstance(content, str):
                if form == "b64_json":
                    return decode_base64(content, where)
                if form == "file_id":
                    return self._file(content, where)
                if form == "url":
                    return self._result(content, where)
        raise invalid(
            f'{where} is a file: write a data URL, {{"b64_json": ...}}, {{"file_id": ...}}, or {{"url": ...}} of a result',
            where,
            "invalid_type",
        )

    def _file(self, id: str, where: str) -> bytes:
        if (file := self.store.file(id)) is None:
            raise not_found("file", id, param=where)
        return self.store.read(file)

    def _result(self, url: str, where: str) -> bytes:
        match = RESULT_URL.fullmatch(url)
        if match is None:
            raise invalid(
                f"{where}: only results of this server are read, /v1/jobs/ID/results/INDEX/COLUMN", where
            )
        file = self.store.result_file(match[1], f"{int(match[2])}/{unquote(match[3])}")
        if file is None:
            raise not_found("result", url, param=where)
        return self.store.read(file)

    def _load(self, column: Modality, data: bytes, where: str) -> Any:
        check_media(column, data, where)
        try:
            return column.load(data)
        except ValueError as error:
            raise invalid(f"{where}: {error}", where) from None


def text_of(column: Modality, value: Any, where: str) -> str:
    """The string that a JSON value of a column stands for. Raises APIError for one of another type."""
    kind = input_type(column)
    allowed: tuple[type, ...] = {"class": (str, int, bool), "number": (int, float), "text": (str,)}[kind]
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        noun = {"class": "one of the classes", "number": "a number", "text": "a text"}[kind]
        raise invalid(f"{where} must be {noun}, not {json.dumps(value)[:60]}", where, "invalid_type")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise invalid(f"{where} has {len(value):,} characters, and at most {MAX_TEXT:,} are read", where)
    try:
        return value if isinstance(value, str) else str(value)
    except ValueError:  # a whole number of thousands of digits
        raise invalid(f"{where} is too large a number", where) from None


def check_media(column: Modality, data: bytes, where: str) -> None:
    """Refuse a picture that is not of a common format, or has too many pixels, before it is decoded."""
    if column.media_type.startswith("image/"):
        check_picture(data, where)


def check_picture(data: bytes, where: str) -> None:
    """Raise APIError unless the bytes are a picture of a common format, and not too large to decode."""
    if not data.startswith(tuple(MAGIC.values())):
        raise invalid(f"{where} is no picture; send {', '.join(MAGIC)}", where, "invalid_image")
    try:
        width, height = picture_files.peek(data).size
    except ValueError as error:
        raise invalid(f"{where}: {error}", where, "invalid_image") from None
    if width * height > MAX_PIXELS:
        raise invalid(
            f"{where} has {width:,} x {height:,} pixels, and at most {MAX_PIXELS:,} are read; make it smaller",
            where,
            "image_too_large",
        )


def decode_base64(text: str, where: str) -> bytes:
    """The bytes. Raises APIError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{where} is not valid base64", where, "invalid_base64") from None


def _field_of_error(error: ValueError, values: Mapping[str, Any], where: str) -> str:
    """The field that an error is about: messages begin with the name of a column."""
    name = str(error).partition(":")[0]
    return f"{where}.{name}" if name in values else where


# ---- out


def encode_value(column: Modality, value: Any, about: Mapping[str, Any] | None = None) -> EncodedValue:
    """A value as it leaves the server; the bytes of a file have `about` in them where the format has room."""
    if column.media_type.startswith("text/"):
        value = value.item() if hasattr(value, "item") else value
        plain = value if isinstance(value, str | int | float | bool) else str(value)
        return EncodedValue(column.media_type, plain)
    data = column.dump(value, about)
    if column.media_type == "application/json" and not data.startswith(MAGIC["PNG"]):
        return EncodedValue(column.media_type, json.loads(data))
    return EncodedValue(column.media_type, data)


def result_url(job: str, index: int, column: str) -> str:
    """Where the bytes of a value of a result are."""
    return f"/v1/jobs/{job}/results/{index}/{quote(column, safe='')}"

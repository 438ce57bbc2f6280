"""The kinds of column by name, and the inverse of `Modality.to_json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from likewise.core.errors import did_you_mean
from likewise.core.options import validate_fields
from likewise.modalities.base import Modality
from likewise.modalities.date import Date
from likewise.modalities.document import Document
from likewise.modalities.duration import Duration
from likewise.modalities.id import Id
from likewise.modalities.image import Image
from likewise.modalities.label import Label
from likewise.modalities.linear_number import LinearNumber
from likewise.modalities.number import Number
from likewise.modalities.text import Text

KINDS: dict[str, type[Modality]] = {
    kind.kind: kind for kind in (Image, Text, Document, Label, Number, Date, Duration, Id, LinearNumber)
}


def register(kind: type[Modality]) -> type[Modality]:
    """Add a modality to KINDS under its name; usable as a decorator. Raises ValueError for a name in use."""
    if KINDS.setdefault(kind.kind, kind) is not kind:
        raise ValueError(f"there is a kind {kind.kind!r} already: {KINDS[kind.kind].__qualname__}")
    return kind


def modality_from_json(data: Mapping[str, Any]) -> Modality:
    """The inverse of `Modality.to_json`, after JSON too. Raises ValueError for an unknown kind, and a field of another
    type.

    >>> modality_from_json(Label(("cat", "dog")).to_json())
    Label(classes=('cat', 'dog'), type='string', missing=False)
    """
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    kind = fields.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(did_you_mean("kind of column", str(kind), KINDS))
    modality = KINDS[kind](**fields)
    validate_fields(modality)
    return modality

"""The kinds of column, one file each: how a value becomes tokens and tokens become a value.

A modality knows no network and no family. To add one, write a frozen dataclass that implements `Modality`
(base.py) and pass it to `register` (registry.py); see docs/contributing.md. A column seen through a trained
model is in latent.py.
"""

from __future__ import annotations

from likewise.modalities.base import Modality, Row
from likewise.modalities.date import Date
from likewise.modalities.document import Document
from likewise.modalities.duration import Duration
from likewise.modalities.id import Id
from likewise.modalities.image import Image
from likewise.modalities.label import Label
from likewise.modalities.latent import Coder, Latent
from likewise.modalities.number import Number
from likewise.modalities.registry import KINDS, modality_from_json, register
from likewise.modalities.text import Text
from likewise.modalities.tokenizer import ByteBPE

__all__ = [
    "KINDS",
    "ByteBPE",
    "Coder",
    "Date",
    "Document",
    "Duration",
    "Id",
    "Image",
    "Label",
    "Latent",
    "Modality",
    "Number",
    "Row",
    "Text",
    "modality_from_json",
    "register",
]

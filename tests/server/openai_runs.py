"""Tiny models with random weights for the routes of OpenAI; a sound and a video of four numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import toy
from torch import Tensor

from likewise.core.spec import Spec
from likewise.data.table import Table
from likewise.modalities import Modality
from likewise.models.model import Model

VERSE = "".join(f"{n} green bottles hanging on the wall,\n" for n in range(60, 0, -1))
ANSWER = {"animal": "cat", "count": 12}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "animal": {"type": "string", "enum": ["cat", "dog"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["animal", "count"],
    "additionalProperties": False,
}


class Bytes(Modality):
    """Four numbers, stored as four bytes."""

    value_type = list
    groupable = False

    @property
    def spec(self) -> Spec:
        return Spec((4,), axes=("time",))

    @classmethod
    def fit(cls, values: Sequence[Any]) -> Self:
        return cls()

    def check(self, value: Any) -> str | None:
        return None if len(value) == 4 else "not four numbers"

    def encode(self, value: Any) -> Tensor:
        return torch.tensor(value, dtype=torch.float32)[:, None] / 128 - 1

    def decode(self, tokens: Tensor) -> Any:
        return ((tokens[:, 0] + 1) * 128).clamp(0, 255).int().tolist()

    def load(self, data: bytes) -> Any:
        if len(data) != 4:
            raise ValueError("a file of four bytes is needed")
        return list(data)

    def dump(self, value: Any, metadata: Mapping[str, Any] | None = None) -> bytes:
        return bytes(value)


@dataclass(frozen=True)
class Sound(Bytes):
    """A sound."""

    kind = "toy_sound"
    media_type = "audio/wav"
    suffix = ".wav"


@dataclass(frozen=True)
class Video(Bytes):
    """A video."""

    kind = "toy_video"
    media_type = "video/mp4"
    suffix = ".mp4"


def shaken(model: Model) -> Model:
    """The model with random weights all over, so that samples depend on what is given."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.family.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return model


def save_runs(folder: Path) -> Path:
    """Write the models."""
    columns = toy.table(64).columns
    small: dict[str, Any] = {"width": 16, "depth": 1}
    verse = Table.from_rows(
        [{"text": VERSE}], {"text": "document"}, options={"length": 64, "vocabulary": 280}, holdout=0
    )
    asked = [
        {
            "question": f"how many legs have {n} cats",
            "answer": json.dumps(ANSWER | {"count": 4 * n}, indent=1),
        }
        for n in range(1, 20)
    ]
    questions = Table.from_rows(asked, {"question": "text", "answer": "text"}, holdout=0)
    models = {
        "pictures": Model("image | text, label", columns, "flow", **small),
        "digits": Model("image | label", columns, "flow", **small),
        "redraw": Model(
            "image | image2", {"image": columns["image"], "image2": columns["image"]}, "flow", **small
        ),
        "noise": Model("image", columns, "flow", **small),
        "joint": Model("image, number | text", columns, "flow", **small),
        "book": Model("text", verse.columns, fim=0.5, **small),
        "words": Model("text | label", columns, "autoregressive", **small),
        "captions": Model("text | image", columns, "autoregressive", **small),
        "answers": Model("answer | question", questions.columns, **small),
        "pairs": Model("image, text", columns, "contrastive", **small),
    }
    for name, model in models.items():
        shaken(model).save(folder / name)
    return folder


def save_media(folder: Path) -> Path:
    """Write models of sounds and videos; their kinds must be registered."""
    columns = {
        **toy.table(64).columns,
        "sound": Sound(),
        "clip": Video(),
        "voice": toy.table(64).columns["label"],
    }
    small: dict[str, Any] = {"width": 16, "depth": 1}
    models = {
        "speaker": Model("sound | text, voice", columns, "flow", **small),
        "listener": Model("text | sound", columns, "autoregressive", **small),
        "director": Model("clip | text", columns, "flow", **small),
    }
    for name, model in models.items():
        shaken(model).save(folder / name)
    return folder

"""Latent: a column seen through a trained model, `image@codes`: its values stay, its tokens are codes.

    tokens = (codes - mean) / std,   codes = encoder(value),   mean and std of each float of a code        (1)

What is drawn is decoded on the way out, so a latent is a column like any other (Rombach et al., 2022). Ids
stay as they are. Of a model without a way back, such as an embedding, the values are the codes themselves,
vectors, and the column's own values are taken as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.modalities.base import Modality
from likewise.spec import Spec

SEEN = 4096     # training values that mean and std are taken from
LEAST = 1e-4    # a deviation: what is less is no code
BATCH = 128     # values at once


class Coder(Protocol):
    """What a column is seen through: a Model, or anything else with codes."""

    decodes: bool

    def modality_of(self, column: str) -> Modality:
        """What the values of a column are. Raises ValueError unless the coder knows the column."""

    def code_spec(self, column: str) -> Spec:
        """The shape of its codes."""

    def to_codes(self, column: str, values: Sequence[Any]) -> Tensor:
        """Values -> (N, T, C) float32 or (N, T) int64."""

    def from_codes(self, column: str, codes: Tensor) -> list[Any]:
        """The inverse, if it `decodes`."""


class Latent(Modality):
    """`column` seen through `coder`."""

    faithful = False

    def __init__(self, coder: Coder, column: str, mean: Sequence[float] = (),
                 std: Sequence[float] = ()) -> None:
        self.coder, self.column, self.base = coder, column, coder.modality_of(column)
        self.mean, self.std = tuple(mean), tuple(std)
        plain = coder.decodes
        self.kind = self.base.kind if plain else "vector"
        self.media_type = self.base.media_type if plain else "application/json"
        self.suffix = self.base.suffix if plain else ".json"

    @classmethod
    def fit(cls, values: Sequence[Any], *, coder: Coder, column: str) -> Self:
        """(1), from values spread evenly."""
        if coder.code_spec(column).categorical:
            return cls(coder, column)
        count = min(len(values), SEEN)
        codes = _codes(coder, column, [values[i * len(values) // count] for i in range(count)])
        codes = codes.flatten(0, 1).double()
        return cls(coder, column, codes.mean(0).tolist(), codes.std(0).clamp(min=LEAST).tolist())

    @property
    def spec(self) -> Spec:
        return self.coder.code_spec(self.column)

    def check(self, value: Any) -> str | None:
        if self.coder.decodes or not isinstance(value, np.ndarray):
            return self.base.check(value)
        size = self.spec.tokens * self.spec.width
        if value.shape != (size,):
            return f"an array of {value.shape} in the place of a vector of {size} numbers"
        return None if np.isfinite(value).all() else "a vector has a number that is not finite"

    def encode(self, value: Any) -> Tensor:
        return self.encode_all([value])[0]

    def decode(self, tokens: Tensor) -> Any:
        return self.decode_all(tokens[None])[0]

    def encode_all(self, values: Sequence[Any]) -> Tensor:
        if not self.coder.decodes and isinstance(values[0], np.ndarray):
            return torch.from_numpy(np.stack(values)).float().view(-1, self.spec.tokens, self.spec.width)
        codes = _codes(self.coder, self.column, values)
        return codes if self.spec.categorical else (codes - torch.tensor(self.mean)) / torch.tensor(self.std)

    def decode_all(self, tokens: Tensor) -> list[Any]:
        tokens = tokens.cpu()
        if not self.coder.decodes:
            return list(tokens.float().flatten(1).numpy())
        codes = tokens if self.spec.categorical else tokens * torch.tensor(self.std) + torch.tensor(self.mean)
        return [value for part in codes.split(BATCH) for value in self.coder.from_codes(self.column, part)]

    def places(self, mask: Tensor) -> Tensor:
        """A code holds if all of the value under it does; a mask over the codes is taken as well."""
        grid, fine = self.spec.grid, self.base.spec.grid
        if mask.numel() == self.spec.tokens:
            return mask.flatten()
        if mask.numel() != self.base.spec.tokens or len(grid) != len(fine):
            raise ValueError(f"the mask has {mask.numel()} places, the column {self.base.spec.tokens} "
                             f"({fine}) and its codes {self.spec.tokens} ({grid})")
        if len(grid) != 2:
            raise ValueError(f"parts of a column on a grid of {fine} cannot be known by their codes, {grid}")
        hole = F.adaptive_max_pool2d((~mask).view(1, *fine).float(), grid)
        return (hole == 0).flatten()

    def keep(self, drawn: Any, value: Any, mask: Tensor) -> Any:
        """Codes lose detail, so what is known is put back."""
        if mask.all() or not self.coder.decodes:
            return value if mask.all() else drawn
        if mask.numel() != self.base.spec.tokens:
            return drawn
        tokens, own = self.base.encode(drawn), self.base.encode(value)
        holds = mask.flatten().view(-1, *[1] * (tokens.ndim - 1))
        return self.base.decode(torch.where(holds, own, tokens))

    def load(self, data: bytes) -> Any:
        if self.coder.decodes:
            return self.base.load(data)
        try:
            read = json.loads(data)
        except ValueError:
            return self.base.load(data)
        if not isinstance(read, list) or not all(type(v) in (int, float) for v in read):
            raise ValueError("a vector is written as a list of numbers: [0.1, -0.2, ...]")
        return np.array(read, dtype=np.float32)

    def dump(self, value: Any) -> bytes:
        if isinstance(value, np.ndarray):
            return json.dumps([round(float(v), 6) for v in value]).encode()
        return self.base.dump(value)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], coder: Coder) -> Self:
        """The inverse of `to_json`."""
        return cls(coder, data["column"], data["mean"], data["std"])

    def to_json(self) -> dict[str, Any]:
        """The codes' scale; the coder is saved beside it."""
        return {"kind": "latent", "column": self.column, "mean": list(self.mean), "std": list(self.std)}


def embeds(column: Modality) -> bool:
    """Whether a column is seen as an embedding, from which there is no way back to its values."""
    return isinstance(column, Latent) and not column.coder.decodes


def _codes(coder: Coder, column: str, values: Sequence[Any]) -> Tensor:
    parts = (range(i, min(i + BATCH, len(values))) for i in range(0, len(values), BATCH))
    return torch.cat([coder.to_codes(column, [values[i] for i in part]) for part in parts])

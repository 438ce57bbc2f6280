"""Latent: a column seen through a trained model, `image@codes`: the same values, with codes as tokens.

    tokens = (codes - mean) / std,   codes = encoder(value),   mean and std of each float of a code        (1)

Sampled codes are decoded, so a latent is a column like any other (Rombach et al., 2022). Codes that are ids
are not scaled. If the model has no decoder, as for an embedding, the values are the codes themselves, vectors;
the column's own values are accepted too. Codes of variable length (padded) are for sources only, with the
column's own values; (1) then applies up to the end, and the padding is 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, Self

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.residual import shrink_residual
from likewise.core.spec import Spec
from likewise.modalities.base import Modality

MAX_FIT_VALUES = 4096  # training values that mean and std are computed from
MIN_STD = 1e-4
BATCH = 128  # values encoded or decoded at once


class Coder(Protocol):
    """What a column is seen through: a Model, or anything else with codes."""

    @property
    def has_decoder(self) -> bool:
        """Whether codes can be decoded to values."""

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""

    def modality_of(self, column: str) -> Modality:
        """The modality of a column's values. Raises ValueError for a column that the coder does not know."""

    def code_spec(self, column: str) -> Spec:
        """The shape of its codes, of the longest if they are padded."""

    def to_codes(self, column: str, values: Sequence[Any]) -> Tensor:
        """Values -> (N, T, C) float32 or (N, T) int64; if padded, T is that of the longest of `values`."""

    def from_codes(self, column: str, codes: Tensor) -> list[Any]:
        """The inverse, if it `has_decoder`."""


class Latent(Modality):
    """`column` seen through `coder`."""

    lossless = False

    def __init__(
        self,
        coder: Coder,
        column: str,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        length: int | None = None,
    ) -> None:
        """`length`: the room for codes, if they are padded."""
        self.coder, self.column, self.base = coder, column, coder.modality_of(column)
        self.mean, self.std, self.length = tuple(mean), tuple(std), length
        # whether values may be codes
        self.vectors = not (coder.has_decoder or coder.code_spec(column).padded)
        self.kind = "vector" if self.vectors else self.base.kind
        self.media_type = "application/json" if self.vectors else self.base.media_type
        self.suffix = ".json" if self.vectors else self.base.suffix
        self.visual, self.role = self.base.visual and not self.vectors, self.base.role
        self.target_rank = self.base.target_rank
        self.accepts_all = self.base.accepts_all and length is None

    @classmethod
    def fit(cls, values: Sequence[Any], *, coder: Coder, column: str) -> Self:
        """Compute (1) from values at even distances. Raises ValueError for a text too long for the coder."""
        spec = coder.code_spec(column)
        if spec.categorical:
            return cls(coder, column)
        count = min(len(values), MAX_FIT_VALUES)
        subset = [values[i * len(values) // count] for i in range(count)]
        if not spec.padded:
            codes = _codes(coder, column, subset).flatten(0, 1).double()
            return cls(coder, column, codes.mean(0).tolist(), codes.std(0).clamp(min=MIN_STD).tolist())
        length = _max_tokens(coder, column, values)
        codes = _codes(coder, column, subset, length).flatten(0, 1).double()
        codes = codes[codes[:, -1] > 0, :-1]  # the last float, which marks the end, is not scaled
        mean, std = codes.mean(0).tolist(), codes.std(0).clamp(min=MIN_STD).tolist()
        return cls(coder, column, [*mean, 0.0], [*std, 1.0], length)

    def refit(self, values: Sequence[Any], **options: Any) -> Self:
        """The same encoder and scale, with room for these values."""
        return self.grow_to_fit(values)

    def grow_to_fit(self, values: Sequence[Any]) -> Self:
        if self.length is None or not len(values):
            return self
        length = max(self.length, _max_tokens(self.coder, self.column, values))
        return type(self)(self.coder, self.column, self.mean, self.std, length)

    @property
    def spec(self) -> Spec:
        spec = self.coder.code_spec(self.column)
        return spec if self.length is None else replace(spec, grid=(self.length,))

    def check(self, value: Any) -> str | None:
        if not (self.vectors and isinstance(value, np.ndarray)):
            reason = self.base.check(value)
            if reason or self.length is None or (tokens := self.base.num_tokens(value)) <= self.length:
                return reason
            return f"{tokens} tokens and room for {self.length}; shorten it"
        size = self.spec.tokens * self.spec.width
        if value.shape != (size,):
            return f"an array of {value.shape} instead of a vector of {size} numbers"
        return None if np.isfinite(value).all() else "a vector with a number that is not finite"

    def truncate(self, value: Any, tokens: int | None = None) -> Any:
        return self.base.truncate(value, self.length if tokens is None else tokens)

    def encode(self, value: Any) -> Tensor:
        return self.encode_all([value])[0]

    def decode(self, tokens: Tensor) -> Any:
        return self.decode_all(tokens[None])[0]

    def encode_all(self, values: Sequence[Any]) -> Tensor:
        if self.vectors and any(isinstance(v, np.ndarray) for v in values):
            return torch.stack([self._encode_vector(v) for v in values])
        codes = _codes(self.coder, self.column, values, self.length)
        if self.spec.categorical:
            return codes
        tokens = (codes - torch.tensor(self.mean)) / torch.tensor(self.std)
        return tokens if self.length is None else tokens * codes[..., -1:]

    def _encode_vector(self, value: Any) -> Tensor:
        """A vector as it is; a value of the column is encoded."""
        if not isinstance(value, np.ndarray):
            return self.encode(value)
        return torch.from_numpy(value).float().view(self.spec.tokens, self.spec.width)

    def decode_all(self, tokens: Tensor) -> list[Any]:
        tokens = tokens.cpu()
        if not self.coder.has_decoder:
            return list(tokens.float().flatten(1).numpy())
        codes = tokens if self.spec.categorical else tokens * torch.tensor(self.std) + torch.tensor(self.mean)
        return [value for part in codes.split(BATCH) for value in self.coder.from_codes(self.column, part)]

    def token_mask(self, mask: Tensor) -> Tensor:
        """A code is known if all of the value under it is; a mask over the codes is accepted too."""
        grid, base_grid = self.spec.grid, self.base.spec.grid
        if mask.numel() == self.spec.tokens:
            return mask.flatten()
        if mask.numel() != self.base.spec.tokens or len(grid) != len(base_grid):
            raise ValueError(
                f"the mask has {mask.numel()} places, the column {self.base.spec.tokens} "
                f"({base_grid}) and its codes {self.spec.tokens} ({grid})"
            )
        if not self.base.spec.sampled:
            raise ValueError(
                f"parts of a column on a grid of {base_grid} cannot be known by their codes, {grid}"
            )
        pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[len(grid) - 1]
        unknown = pool((~mask).view(1, *base_grid).float(), grid)
        return (unknown == 0).flatten()

    def restore_known(self, sample: Any, value: Any, mask: Tensor) -> Any:
        """The decoder loses detail, so the known part of the value is put back."""
        if mask.all() or not self.coder.has_decoder:
            return value if mask.all() else sample
        if mask.numel() != self.base.spec.tokens:
            return sample
        tokens, known_tokens = self.base.encode(sample), self.base.encode(value)
        known = mask.flatten().view(-1, *[1] * (tokens.ndim - 1))
        return self.base.decode(torch.where(known, known_tokens, tokens))

    def restore_residual(self, samples: list[Any], value: Any, noise: float) -> list[Any]:
        """The residual of the decoder is kept by `shrink_residual`."""
        if self.base.spec.categorical or not self.coder.has_decoder:
            return samples
        again = self.decode(self.encode(value))
        residual = (self.base.encode(value) - self.base.encode(again))[None]
        kept = shrink_residual(residual, noise)[0]
        return [self.base.decode(self.base.encode(sample) + kept) for sample in samples]

    def thumbnail(self, value: Any) -> PIL.Image.Image:
        return self.base.thumbnail(value)

    def summarize(self, value: Any, longest: int = 60) -> str:
        return super().summarize(value, longest) if self.vectors else self.base.summarize(value, longest)

    def load(self, data: bytes) -> Any:
        if not self.vectors:
            return self.base.load(data)
        try:
            numbers = json.loads(data)
        except ValueError:
            return self.base.load(data)
        if not isinstance(numbers, list) or not all(type(v) in (int, float) for v in numbers):
            raise ValueError("a vector is written as a list of numbers: [0.1, -0.2, ...]")
        return np.array(numbers, dtype=np.float32)

    def dump(self, value: Any, metadata: Mapping[str, Any] | None = None) -> bytes:
        if isinstance(value, np.ndarray):
            return json.dumps([round(float(v), 6) for v in value]).encode()
        return self.base.dump(value, metadata)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], coder: Coder) -> Self:
        """The inverse of `to_json`."""
        return cls(coder, data["column"], data["mean"], data["std"], data.get("length"))

    def to_json(self) -> dict[str, Any]:
        """The scale of the codes; the coder is saved separately."""
        fields = {"kind": "latent", "column": self.column, "mean": list(self.mean), "std": list(self.std)}
        return fields if self.length is None else {**fields, "length": self.length}


def base_of(column: Modality) -> Modality:
    """The modality of a column's values: the underlying one of a column that is seen through a model."""
    return column.base if isinstance(column, Latent) else column


def is_embedding(column: Modality) -> bool:
    """Whether a column is seen as vectors, which cannot be decoded to its values."""
    return isinstance(column, Latent) and column.vectors


def _codes(coder: Coder, column: str, values: Sequence[Any], length: int | None = None) -> Tensor:
    """Codes of any number of values, padded to `length`. Raises ValueError for longer ones."""
    batches = (range(i, min(i + BATCH, len(values))) for i in range(0, len(values), BATCH))
    codes = [coder.to_codes(column, [values[i] for i in batch]) for batch in batches]
    if length is not None:
        if (longest := max(part.shape[1] for part in codes)) > length:
            raise ValueError(f"{column}: {longest} tokens and room for {length}; shorten it")
        codes = [F.pad(part, (0, 0, 0, length - part.shape[1])) for part in codes]
    return torch.cat(codes)


def _max_tokens(coder: Coder, column: str, values: Sequence[Any]) -> int:
    """The number of tokens of the longest value. Raises ValueError for one that is too long for the coder."""
    modality = coder.modality_of(column)
    value = max(values, key=modality.num_tokens)
    if (tokens := modality.num_tokens(value)) > (limit := modality.spec.tokens):
        raise ValueError(
            f"{column}: {modality.summarize(value, 40)} has {tokens} tokens, and the encoder reads {limit}; "
            "shorten it"
        )
    return tokens

"""Features of the values of a column: a function a kind of column, and a default for all others.

Add one for a kind with `@features_of.register`, and what counts as a copy there with `@copy_distance.register`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from likewise.evaluation.features.image import pixel_features
from likewise.modalities.base import Modality
from likewise.modalities.image import Image
from likewise.modalities.label import Label
from likewise.modalities.latent import Latent
from likewise.modalities.text import Text


@singledispatch
def features_of(column: Modality, values: Sequence[Any]) -> np.ndarray:
    """Values -> features in which distances mean something, (N, F) float32. Here: the tokens as `encode` has them.

    Of ids that is how often each stands in a value. Raises ValueError for a column without features.
    """
    tokens, spec = column.encode_all(values).numpy(), column.spec
    if not spec.categorical:
        return tokens.reshape(len(tokens), -1).astype(np.float32)
    return np.stack([np.bincount(row.ravel(), minlength=spec.classes or 0) for row in tokens]).astype(
        np.float32
    )


@features_of.register
def _(column: Image, values: Sequence[Any]) -> np.ndarray:
    """Pixels."""
    return pixel_features(column.encode_all(values).unflatten(1, column.spec.grid).numpy())


@features_of.register
def _(column: Label, values: Sequence[Any]) -> np.ndarray:
    """One-hot."""
    return np.eye(len(column.classes), dtype=np.float32)[[int(column.encode(v)) for v in values]]


@features_of.register
def _(column: Text, values: Sequence[Any]) -> np.ndarray:
    return text_features(values)


@features_of.register
def _(column: Latent, values: Sequence[Any]) -> np.ndarray:
    """Those of the values that are seen; an embedding has none of its own."""
    if column.vectors:
        raise ValueError(f"there are no features of {column.kind}s")
    return features_of(column.base, values)


def text_features(items: Sequence[str], *, size: int = 256) -> np.ndarray:
    """Counts of the 1 to 4 characters that follow each other within words, hashed, and log(1 + length)."""
    hashed = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), n_features=size, dtype=np.float32)
    lengths = np.log1p([[len(item)] for item in items]).astype(np.float32)
    return np.concatenate([hashed.transform(items).toarray(), lengths], 1)


@singledispatch
def copy_distance(column: Modality | None) -> tuple[float, str]:
    """How near a copy is to a training row in these features, and that in words."""
    return 0.05, "within 0.05 standard deviations of a training row"


@copy_distance.register
def _(column: Text) -> tuple[float, str]:
    return 1e-6, "of the length and the groups of letters of a training row"


@copy_distance.register
def _(column: Latent) -> tuple[float, str]:
    return copy_distance(column.base)


@copy_distance.register
def _(column: Image) -> tuple[float, str]:
    return 0.05, "within 2.5 % of the pixels' range of a training row"

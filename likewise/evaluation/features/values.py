"""Features of the values of a column, by modality, with a default.

Add those of a modality with `@features_of.register`, and its threshold for copies with `@copy_distance.register`.
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
from likewise.modalities.linear_number import LinearNumber
from likewise.modalities.ranked import Ranked
from likewise.modalities.text import Text


@singledispatch
def features_of(column: Modality, values: Sequence[Any]) -> np.ndarray:
    """Values -> features in which distances are meaningful, (N, F) float32. By default the tokens of `encode`.

    Of categorical tokens these are the counts of each id. Raises ValueError for a column without features.
    """
    tokens, spec = column.encode_all(values).numpy(), column.spec
    if not spec.categorical:
        return tokens.reshape(len(tokens), -1).astype(np.float32)
    counts = [np.bincount(row.ravel(), minlength=spec.classes or 0) for row in tokens]
    return np.stack(counts).astype(np.float32)


@features_of.register
def _(column: Image, values: Sequence[Any]) -> np.ndarray:
    """Pixels."""
    return pixel_features(column.encode_all(values).unflatten(1, column.spec.grid).numpy())


@features_of.register
def _(column: Label, values: Sequence[Any]) -> np.ndarray:
    """One-hot; missing is a class where it is a value of the column."""
    ids = {value: int(column.encode(value)) for value in set(values)}
    return np.eye(column.spec.classes, dtype=np.float32)[[ids[value] for value in values]]


@features_of.register
def _(column: Text, values: Sequence[Any]) -> np.ndarray:
    return text_features(values)


@features_of.register
def _(column: Latent, values: Sequence[Any]) -> np.ndarray:
    """Those of the underlying column; an embedding has none."""
    if column.vectors:
        raise ValueError(f"there are no features of {column.kind}s")
    return features_of(column.base, values)


@singledispatch
def numbers_of(column: Modality, values: Sequence[Any]) -> np.ndarray | None:
    """Values that are numbers, (N,) float64; None of a column of others."""
    return None


@numbers_of.register
def _(column: LinearNumber, values: Sequence[Any]) -> np.ndarray | None:
    return np.asarray(values, dtype=np.float64)


@numbers_of.register
def _(column: Ranked, values: Sequence[Any]) -> np.ndarray | None:
    return column.numbers(values)


@numbers_of.register
def _(column: Latent, values: Sequence[Any]) -> np.ndarray | None:
    return numbers_of(column.base, values)


@singledispatch
def number_text(column: Modality, number: float) -> str:
    """A number of `numbers_of`, as people read it."""
    return f"{number:g}"


@number_text.register
def _(column: Ranked, number: float) -> str:
    return column.summarize(column.from_numbers(np.array([number]))[0])


def text_features(items: Sequence[str], *, size: int = 256) -> np.ndarray:
    """Hashed counts of character n-grams within words, n = 1 to 4, and log(1 + length)."""
    hashed = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), n_features=size, dtype=np.float32)
    lengths = np.log1p([[len(item)] for item in items]).astype(np.float32)
    return np.concatenate([hashed.transform(items).toarray(), lengths], 1)


@singledispatch
def copy_distance(column: Modality | None) -> tuple[float, str]:
    """The largest distance of a copy to a training row in these features, and its description."""
    return 0.05, "within 0.05 standard deviations of a training row"


@copy_distance.register
def _(column: Text) -> tuple[float, str]:
    return 1e-6, "with the length and the character n-grams of a training row"


@copy_distance.register
def _(column: Latent) -> tuple[float, str]:
    return copy_distance(column.base)


@copy_distance.register
def _(column: Image) -> tuple[float, str]:
    return 0.05, "within 2.5 % of the pixel range of a training row"

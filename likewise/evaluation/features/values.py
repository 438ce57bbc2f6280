"""TODO evaluation.features.values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from likewise.modalities.base import Modality
from likewise.modalities.label import Label
from likewise.modalities.number import Number

# ---- other columns


def value_features(column: Modality, items: Sequence[Any]) -> np.ndarray:
    """A number as it is standardised, (N, 1), a label as one-hot, a text as what `texts` makes of it.

    Raises ValueError for a column of another kind.
    """
    if column.kind in ("text", "document"):
        return text_features(items)
    if isinstance(column, Label):
        return np.eye(len(column.classes), dtype=np.float32)[[int(column.encode(v)) for v in items]]
    if isinstance(column, Number):
        return np.array([[float(column.encode(v))] for v in items], np.float32)
    raise ValueError(f"there are no features of {column.kind}s")


def text_features(items: Sequence[str], *, size: int = 256) -> np.ndarray:
    """How often which 1 to 4 characters follow each other within words, by hash, and log(1 + length)."""
    hashed = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), n_features=size, dtype=np.float32)
    lengths = np.log1p([[len(item)] for item in items]).astype(np.float32)
    return np.concatenate([hashed.transform(items).toarray(), lengths], 1)

"""Features of values, in which distributions are compared: of pictures, of numbers, labels and texts."""

from __future__ import annotations

from likewise.evaluation.features.image import edge_features, pixel_features, random_conv_features
from likewise.evaluation.features.reduce import Reduced
from likewise.evaluation.features.values import text_features, value_features

__all__ = [
    "Reduced",
    "edge_features",
    "pixel_features",
    "random_conv_features",
    "text_features",
    "value_features",
]

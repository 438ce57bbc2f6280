"""Features of values, in which distributions are compared: of images, numbers, labels and texts.

Add those of a modality with `@features_of.register`.
"""

from __future__ import annotations

from likewise.evaluation.features.image import edge_features, pixel_features, random_conv_features
from likewise.evaluation.features.reduce import Reduced
from likewise.evaluation.features.values import copy_distance, features_of, numbers_of, text_features

__all__ = [
    "Reduced",
    "copy_distance",
    "edge_features",
    "features_of",
    "numbers_of",
    "pixel_features",
    "random_conv_features",
    "text_features",
]

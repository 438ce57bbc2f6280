"""Dimensionality reduction of features."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA


class Reduced:
    """The first `size` principal components of real features (M, F): a map (N, F) -> (N, D), D <= `size`.

    With hundreds of rows a covariance of more dimensions is singular or nearly so.
    """

    def __init__(self, real: np.ndarray, size: int = 64) -> None:
        """Fit on real rows; features of at most `size` dimensions stay unchanged."""
        self._pca = None
        if real.shape[1] > size:
            self._pca = PCA(min(size, len(real)), svd_solver="randomized", random_state=0).fit(real)
        self.size = real.shape[1] if self._pca is None else self._pca.n_components_  # of what it returns, D

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x if self._pca is None else self._pca.transform(x).astype(np.float32)

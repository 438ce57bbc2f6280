"""Ridge regressions whose penalty, and whose residuals, come from blocks of time that are held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PENALTIES = (0.01, 0.05, 0.2, 1.0, 4.0, 20.0, 1e4)  # for each row
CLIP = 8.0  # median absolute targets, beyond which a target is cut off
FOLDS = 5


@dataclass(frozen=True)
class Ridge:
    """y = ((x - mean) / deviation) @ weights + bias; standardised features are cut off at +-5."""

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    bias: float

    def standardise(self, x: np.ndarray) -> np.ndarray:
        """Features (..., F) -> the same with mean 0 and deviation 1."""
        return np.clip((x - self.mean) / self.deviation, -5, 5).astype(np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Features (..., F) -> (...)."""
        return self.standardise(x) @ self.weights + self.bias


def fit_ridge(x: np.ndarray, y: np.ndarray, block: np.ndarray) -> tuple[Ridge, np.ndarray]:
    """Features (N, F) and targets (N,), nan where there is none; `block` (N,) int are the folds.

    Returns the regression of all rows, and what each row's block, left out, does not explain, (N,).
    """
    ok = ~np.isnan(y)
    mean, deviation = x[ok].mean(0), np.maximum(x[ok].std(0), 1e-3)
    empty = Ridge(mean, deviation, np.zeros(x.shape[1]), 0.0)
    z = np.concatenate([empty.standardise(x), np.ones((len(x), 1), np.float32)], 1)
    cut = CLIP * max(np.median(np.abs(y[ok])), 1e-9)
    target = np.clip(y, -cut, cut)
    folds = np.unique(block[ok])
    products = []
    for k in folds:
        rows = z[ok & (block == k)].astype(np.float64)
        products.append((rows.T @ rows, rows.T @ target[ok & (block == k)]))
    xx, xy = sum(p[0] for p in products), sum(p[1] for p in products)
    unit = np.eye(z.shape[1])
    unit[-1, -1] = 1e-6
    best: tuple[float, float, np.ndarray] | None = None
    for penalty in PENALTIES:
        residual = np.full(y.shape, np.nan)
        for k, (a, b) in zip(folds, products, strict=True):
            share = (len(folds) - 1) / len(folds) if len(folds) > 1 else 1.0
            a, b = (xx - a, xy - b) if len(folds) > 1 else (xx, xy)
            weights = np.linalg.solve(a + penalty * share * ok.sum() * unit, b)
            residual[block == k] = y[block == k] - z[block == k] @ weights
        error = float(np.nanmean(np.abs(residual)))
        if best is None or error < best[0]:
            best = error, penalty, residual
    assert best is not None
    weights = np.linalg.solve(xx + best[1] * ok.sum() * unit, xy)
    return Ridge(mean, deviation, weights[:-1], float(weights[-1])), best[2]


def blocks(steps: np.ndarray, end: int, folds: int = FOLDS, repeats: int = 1) -> np.ndarray:
    """The fold of each step: `repeats` x `folds` spans of equal length up to `end`, dealt in turn."""
    return np.minimum(steps * folds * repeats // max(end, 1), folds * repeats - 1) % folds

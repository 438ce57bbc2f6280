"""Fidelity: how far the samples, as a set, lie from real rows. Features (N, F) in, estimates out."""

from __future__ import annotations

import numpy as np

from likewise.evaluate.estimate import Estimate


def kid(a: np.ndarray, b: np.ndarray, *, rng: np.random.Generator, paired: bool = False, repeats: int = 200) -> Estimate:
    """Kernel distance (Binkowski 2018): unbiased squared MMD under k(x, y) = (x.y / F + 1)^3. 0 if a and b (N, F) are alike.

    E k(a, a') + E k(b, b') - 2 E k(a, b), each mean over pairs of two different rows (Gretton 2012, equation 3); may be
    negative. The interval is a bootstrap over rows in which a row drawn twice is no pair with itself. `paired`: row i of a was
    drawn for the sources of row i of b; such rows are not independent, so the pair (i, i) is left out as well (equation 4).
    """
    if len(a) < 2 or len(b) < 2 or a.shape[1:] != b.shape[1:] or (paired and len(a) != len(b)):
        raise ValueError(f"KID needs two sets of at least 2 rows in one feature space (equally many if paired), not "
                         f"{a.shape} and {b.shape}")
    kernels = [_kernel(a, a), _kernel(b, b), _kernel(a, b)]
    for kernel, without in zip(kernels, (True, True, paired), strict=True):
        if without:
            np.fill_diagonal(kernel, 0)

    def mmd(u: np.ndarray, v: np.ndarray) -> float:       # u (N,), v (M,): how often each row stands in the set
        def mean(kernel: np.ndarray, p: np.ndarray, q: np.ndarray, without: bool) -> float:
            return (p @ kernel @ q) / (p.sum() * q.sum() - (p @ q if without else 0))
        aa, bb, ab = kernels
        return float(mean(aa, u, u, True) + mean(bb, v, v, True) - 2 * mean(ab, u, v, paired))

    draws = []
    for _ in range(repeats):
        u = _counts(len(a), rng)
        draws.append(mmd(u, u if paired else _counts(len(b), rng)))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(mmd(np.ones(len(a)), np.ones(len(b))), float(low), float(high), len(a))


def kid_floor(real: np.ndarray, other: np.ndarray, size: int, *, rng: np.random.Generator) -> Estimate:
    """KID of real rows against real rows (N, F) and (M, F), `size` of each drawn at random: what perfect samples would score."""
    a, b = (rows[rng.permutation(len(rows))[:size]] for rows in (real, other))
    return kid(a, b, rng=rng)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (np.asarray(a, np.float64) @ np.asarray(b, np.float64).T / a.shape[1] + 1) ** 3


def _counts(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)

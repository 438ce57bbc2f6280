"""KID, the kernel distance of two sets of features (Binkowski et al., 2018)."""

from __future__ import annotations

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate


def kid(
    a: np.ndarray, b: np.ndarray, *, rng: np.random.Generator, paired: bool = False, repeats: int = 200
) -> Estimate:
    """Kernel distance of a (N, F) and b (M, F): its expectation is 0 for equal distributions.

    The unbiased squared MMD, E k(a, a') + E k(b, b') - 2 E k(a, b), each the mean over pairs of two different
    rows (Gretton et al., 2012, equation 3), under k(x, y) = (x.y / F + 1)^3. `paired`: row i of a was
    conditioned on the sources of row i of b; those two are not independent and are left out (equation 4).
    The interval is a bootstrap over rows in which a repeated row is not paired with itself.

    Raises ValueError for fewer than 2 rows, or shapes that do not match.
    """
    if len(a) < 2 or len(b) < 2 or a.shape[1:] != b.shape[1:] or (paired and len(a) != len(b)):
        raise ValueError(
            "KID needs two sets of at least 2 rows in one feature space, as many if paired; "
            f"these are {a.shape} and {b.shape}"
        )
    kernels = _kernel(a, a), _kernel(b, b), _kernel(a, b)
    for kernel, dependent in zip(kernels, (True, True, paired), strict=True):
        if dependent:
            np.fill_diagonal(kernel, 0)
    aa, bb, ab = kernels

    def mmd(u: np.ndarray, v: np.ndarray) -> float:  # u (N,), v (M,): multiplicity of each row
        cross = (u @ ab @ v) / (u.sum() * v.sum() - (u @ v if paired else 0))
        return (u @ aa @ u) / (u.sum() ** 2 - u @ u) + (v @ bb @ v) / (v.sum() ** 2 - v @ v) - 2 * cross

    values = []
    for _ in range(repeats):
        u = _counts(len(a), rng)
        values.append(mmd(u, u if paired else _counts(len(b), rng)))
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(mmd(np.ones(len(a)), np.ones(len(b)))), float(low), float(high), len(a))


def kid_reference(real: np.ndarray, other: np.ndarray, size: int, *, rng: np.random.Generator) -> Estimate:
    """KID of `size` real rows against `size` others, chosen at random: the score of perfect samples."""
    a, b = (rows[rng.permutation(len(rows))[:size]] for rows in (real, other))
    return kid(a, b, rng=rng)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3


def _counts(n: int, rng: np.random.Generator) -> np.ndarray:
    """The multiplicity of each of n rows in a bootstrap sample, (n,), with at least two different rows."""
    counts = np.zeros(n)
    while np.count_nonzero(counts) < 2:
        counts = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
    return counts

"""Retrieval from one column by embeddings of another.

Functions of unit vectors, queries (Q, F) and candidates (M, F), and of which candidates are relevant to a
query, `relevant` (Q, M) bool: there may be several. The nearest candidate is that of the largest cosine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share

TOPS = (1, 5, 10)


def ranks(queries: np.ndarray, candidates: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """The rank of each query's nearest relevant candidate among the others, (Q,): 1 is the best.

    Other relevant candidates do not count, and one at the same distance counts half. Raises ValueError for a
    query without a relevant candidate.
    """
    if relevant.shape != (len(queries), len(candidates)) or not relevant.any(1).all():
        shape = len(queries), len(candidates)
        raise ValueError(
            f"every query needs a relevant candidate, and `relevant` the shape {shape}, not {relevant.shape}"
        )
    cosine = queries.astype(np.float64) @ candidates.astype(np.float64).T
    best = np.where(relevant, cosine, -np.inf).max(1, keepdims=True)
    return 1 + (~relevant & (cosine > best)).sum(1) + (~relevant & (cosine == best)).sum(1) / 2


def summarise(ranks: np.ndarray, groups: np.ndarray, *, rng: np.random.Generator) -> dict[str, Estimate]:
    """Ranks (Q,) -> mean and median, and recall@k: the share of queries with a relevant candidate in the top k.

    Queries of the same group of `groups`, (Q,), are resampled together: see `clustered`.
    """
    averages = {
        name: clustered(statistic, ranks, groups, rng=rng)
        for name, statistic in (("mean rank", np.mean), ("median rank", np.median))
    }
    return {f"recall@{k}": accuracy(ranks <= k, groups, rng=rng) for k in TOPS} | averages


def chance(relevant: np.ndarray) -> dict[str, float]:
    """The expectation of `summarise` for random vectors, for any `relevant` (Q, M).

    Of M candidates in random order, k of them relevant, the first relevant one comes after (M - k) / (k + 1)
    others on average, and none is among the first r with probability prod_{i < r} (M - k - i) / (M - i).

    >>> {name: round(value, 2) for name, value in chance(np.eye(11, dtype=bool)).items()}
    {'recall@1': 0.09, 'recall@5': 0.45, 'recall@10': 0.91, 'mean rank': 6.0, 'median rank': 6.0}
    """
    k, total = relevant.sum(1), relevant.shape[1]
    place = np.arange(total)
    missed = np.cumprod(np.maximum(total - k[:, None] - place, 0) / (total - place), axis=1)
    within = 1 - missed.mean(0)  # P(rank <= 1), P(rank <= 2), ...
    tops = {f"recall@{top}": float(within[min(top, total) - 1]) for top in TOPS}
    median = float(np.argmax(within >= 0.5 - 1e-9) + 1)
    return tops | {"mean rank": float(np.mean(1 + (total - k) / (k + 1))), "median rank": median}


def nearest_class(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The index of the class whose vector, of classes (K, F), is nearest to each of rows (N, F): (N,).

    With vectors of class names that were no training labels this is zero-shot classification (Radford et al., 2021).
    """
    return (rows.astype(np.float64) @ classes.astype(np.float64).T).argmax(1)


def clip_score(
    images: np.ndarray, texts: np.ndarray, groups: np.ndarray, *, rng: np.random.Generator
) -> Estimate:
    """The mean cosine of unit vectors (N, F) and those of the same rows in another column (N, F).

    Hessel et al. (2021) report 2.5 max(cosine, 0); this is the plain mean.
    """
    return clustered(np.mean, (images.astype(np.float64) * texts).sum(1), groups, rng=rng)


def clip_score_chance(images: np.ndarray, texts: np.ndarray, relevant: np.ndarray) -> float | None:
    """`clip_score` of images with the texts of other rows, all of those not `relevant` (N, N), if any."""
    cosine = images.astype(np.float64) @ texts.astype(np.float64).T
    return None if relevant.all() else float(cosine[~relevant].mean())


def accuracy(hits: np.ndarray, groups: np.ndarray, *, rng: np.random.Generator) -> Estimate:
    """The share of hits (N,) bool, `clustered`; at 0 and 1, where that has no width, by Wilson's interval."""
    estimate = clustered(np.mean, hits, groups, rng=rng)
    if estimate.value in (0.0, 1.0):
        wilson = share(np.full(len(np.unique(groups)), bool(estimate.value)))
        return dataclasses.replace(wilson, n=len(hits))
    return estimate


def clustered(
    statistic: Callable[[np.ndarray], float],
    values: np.ndarray,
    groups: np.ndarray,
    *,
    rng: np.random.Generator,
) -> Estimate:
    """A statistic of values (N,), and its interval by a bootstrap that resamples whole `groups` (N,).

    Rows of one group, such as several drawings of one thing, are not independent.

    >>> e = clustered(np.mean, np.repeat([0.0, 1.0], 50), np.repeat([0, 1], 50), rng=np.random.default_rng(0))
    >>> print(e, e.n)
    0.5 [0, 1] 100
    """
    parts = [values[groups == g] for g in np.unique(groups)]

    def resampled(indices: np.ndarray) -> float:
        return float(statistic(np.concatenate([parts[g] for g in indices])))

    return dataclasses.replace(bootstrap(resampled, np.arange(len(parts)), rng=rng), n=len(values))

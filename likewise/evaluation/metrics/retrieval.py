"""Retrieval: does an embedding of one column find what belongs to it in another?

Functions of unit vectors, queries (Q, F) and candidates (M, F), and of which candidates are right for a
query, (Q, M) bool: there may be several. The nearest is the one of the largest cosine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share

TOPS = (1, 5, 10)


def ranks(queries: np.ndarray, candidates: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The place of each query's nearest right answer among the wrong ones, (Q,): 1 is the best.

    Other right answers are not in its way, and a wrong one as near as it counts half. Raises ValueError for a
    query that has no right answer.
    """
    if right.shape != (len(queries), len(candidates)) or not right.any(1).all():
        shape = len(queries), len(candidates)
        raise ValueError(
            f"every query needs a right answer, and `right` the shape {shape}, not {right.shape}"
        )
    near = queries.astype(np.float64) @ candidates.astype(np.float64).T
    best = np.where(right, near, -np.inf).max(1, keepdims=True)
    return 1 + (~right & (near > best)).sum(1) + (~right & (near == best)).sum(1) / 2


def summarise(found: np.ndarray, groups: np.ndarray, *, rng: np.random.Generator) -> dict[str, Estimate]:
    """Ranks (Q,) -> mean and median, and recall@k: the share of queries with a right answer in the top k.

    Queries of one of `groups`, (Q,), stand or fall together: see `clustered`.
    """
    middle = {
        name: clustered(statistic, found, groups, rng=rng)
        for name, statistic in (("mean rank", np.mean), ("median rank", np.median))
    }
    return {f"recall@{k}": accuracy(found <= k, groups, rng=rng) for k in TOPS} | middle


def chance(right: np.ndarray) -> dict[str, float]:
    """What `summarise` gives on average for vectors that know nothing, whatever `right` (Q, M) is.

    Of M candidates in any order, k of them right, the first right one comes after M - k over k + 1 wrong ones
    on average, and none is among the first r with probability prod_{i < r} (M - k - i) / (M - i).

    >>> {name: round(value, 2) for name, value in chance(np.eye(11, dtype=bool)).items()}
    {'recall@1': 0.09, 'recall@5': 0.45, 'recall@10': 0.91, 'mean rank': 6.0, 'median rank': 6.0}
    """
    few, many = right.sum(1), right.shape[1]
    place = np.arange(many)
    missed = np.cumprod(np.maximum(many - few[:, None] - place, 0) / (many - place), axis=1)
    within = 1 - missed.mean(0)  # P(rank <= 1), P(rank <= 2), ...
    tops = {f"recall@{k}": float(within[min(k, many) - 1]) for k in TOPS}
    median = float(np.argmax(within >= 0.5 - 1e-9) + 1)
    return tops | {"mean rank": float(np.mean(1 + (many - few) / (few + 1))), "median rank": median}


def classified(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The number of the class whose vector, of classes (K, F), is nearest to each of rows (N, F): (N,).

    Of classes that were named and never learned as such this is zero-shot classification (Radford et al.,
    2021).
    """
    return (rows.astype(np.float64) @ classes.astype(np.float64).T).argmax(1)


def clip_score(
    pictures: np.ndarray, texts: np.ndarray, groups: np.ndarray, *, rng: np.random.Generator
) -> Estimate:
    """The mean cosine of unit vectors (N, F) and those of the same rows in another column (N, F).

    Hessel et al. (2021) report 2.5 max(cosine, 0): here it is the plain mean, so that it has a floor.
    """
    return clustered(np.mean, (pictures.astype(np.float64) * texts).sum(1), groups, rng=rng)


def clip_floor(pictures: np.ndarray, texts: np.ndarray, right: np.ndarray) -> float | None:
    """`clip_score` of pictures with the texts of other rows, all of those not `right` (N, N), if any."""
    near = pictures.astype(np.float64) @ texts.astype(np.float64).T
    return None if right.all() else float(near[~right].mean())


def accuracy(hits: np.ndarray, groups: np.ndarray, *, rng: np.random.Generator) -> Estimate:
    """The share of hits (N,) bool, `clustered`; at 0 and 1, where that has no width, by Wilson's interval."""
    found = clustered(np.mean, hits, groups, rng=rng)
    if found.value in (0.0, 1.0):
        wilson = share(np.full(len(np.unique(groups)), bool(found.value)))
        return dataclasses.replace(wilson, n=len(hits))
    return found


def clustered(
    statistic: Callable[[np.ndarray], float],
    values: np.ndarray,
    groups: np.ndarray,
    *,
    rng: np.random.Generator,
) -> Estimate:
    """A statistic of values (N,), and its interval by a bootstrap that redraws whole `groups` (N,).

    Seven drawings of one thing are no seven independent rows.

    >>> e = clustered(np.mean, np.repeat([0.0, 1.0], 50), np.repeat([0, 1], 50), rng=np.random.default_rng(0))
    >>> print(e, e.n)
    0.5 [0, 1] 100
    """
    parts = [values[groups == g] for g in np.unique(groups)]

    def of(chosen: np.ndarray) -> float:
        return float(statistic(np.concatenate([parts[g] for g in chosen])))

    return dataclasses.replace(bootstrap(of, np.arange(len(parts)), rng=rng), n=len(values))

"""C2ST: can a classifier tell samples from real rows? (Lopez-Paz and Oquab, 2017)

The classifier is boosted trees, which see single columns, thresholds and their combinations; a linear one
would take independent columns for real rows.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from likewise.evaluation.metrics.estimate import Estimate


def c2st(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    rng: np.random.Generator,
    paired: bool = False,
    folds: int = 5,
    repeats: int = 200,
) -> Estimate:
    """P(a sample looks more drawn than a real row does), features (N, F) and (M, F): 0.5 best, 1 worst.

    It is the area under the ROC curve on rows that the trees have not seen, averaged over the `folds` of a
    cross-validation. `paired`: sample i was drawn for the sources of real row i, so the two are always in one
    fold; else their equal sources would be a clue. The interval is a bootstrap over the judged rows, with the
    trees as they are. Raises ValueError for fewer than 2 rows, or shapes that do not fit.
    """
    n, m = len(samples), len(real)
    if min(n, m) < 2 or samples.shape[1:] != real.shape[1:] or (paired and n != m):
        raise ValueError(
            "a two-sample test needs two sets of at least 2 rows in one feature space, as many "
            f"if paired; these are {samples.shape} and {real.shape}"
        )
    folds = min(folds, n, m)
    mine = rng.permutation(n) % folds
    theirs = mine if paired else rng.permutation(m) % folds
    wins = [_wins(samples, real, mine == fold, theirs == fold) for fold in range(folds)]

    def area(u: np.ndarray, v: np.ndarray) -> float:  # u (N,), v (M,): how often each row comes
        areas = []
        for fold, won in enumerate(wins):
            a, b = u[mine == fold], v[theirs == fold]
            if a.any() and b.any():
                areas.append(a @ won @ b / (a.sum() * b.sum()))
        return float(np.mean(areas)) if areas else 0.5

    values = []
    for _ in range(repeats):
        u = np.bincount(rng.integers(n, size=n), minlength=n)
        values.append(area(u, u if paired else np.bincount(rng.integers(m, size=m), minlength=m)))
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(area(np.ones(n), np.ones(m)), float(low), float(high), n)


def _wins(samples: np.ndarray, real: np.ndarray, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Which sample of one fold looks more drawn than which real row, to trees of the others; 0.5: tie."""
    x = np.concatenate([samples[~mine], real[~theirs]])
    y = np.repeat([1, 0], [int((~mine).sum()), int((~theirs).sum())])
    trees = HistGradientBoostingClassifier(max_leaf_nodes=15, early_stopping=False, random_state=0).fit(x, y)
    a, b = (trees.decision_function(part) for part in (samples[mine], real[theirs]))
    return (a[:, None] > b) + 0.5 * (a[:, None] == b)

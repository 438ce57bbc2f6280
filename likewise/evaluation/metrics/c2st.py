"""C2ST, the classifier two-sample test (Lopez-Paz and Oquab, 2017): can a classifier tell samples from real rows?

The classifier is gradient-boosted trees, which model interactions of columns; a linear one could not tell
independent columns from real rows. The scale of a feature does not matter to trees, so a far value hides nothing.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from likewise.evaluation.metrics.estimate import Estimate

MAX_CATEGORIES = 255  # more ids than that are read as numbers
WIDE, BINS, WIDE_BINS = 64, 255, 64  # features from which on trees have fewer thresholds, to be twice as fast


def c2st(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    rng: np.random.Generator,
    categorical: np.ndarray | None = None,
    paired: bool = False,
    folds: int = 5,
    repeats: int = 200,
) -> Estimate:
    """P(the classifier scores a sample above a real row), features (N, F) and (M, F): 0.5 best, 1 worst.

    It is the area under the ROC curve on unseen rows, averaged over the `folds` of a cross-validation.
    `categorical`: whether each feature is the id of a class, (F,) bool; a split is then between any two sets of ids.
    `paired`: sample i was conditioned on the sources of real row i, so the two are always in one fold; else
    their equal sources would be a clue. The interval is a bootstrap over the scored rows with the trees
    fixed. Raises ValueError for fewer than 2 rows, or shapes that do not match.
    """
    n, m = len(samples), len(real)
    if min(n, m) < 2 or samples.shape[1:] != real.shape[1:] or (paired and n != m):
        raise ValueError(
            "a two-sample test needs two sets of at least 2 rows in one feature space, as many "
            f"if paired; these are {samples.shape} and {real.shape}"
        )
    folds = min(folds, n, m)
    sample_fold = rng.permutation(n) % folds
    real_fold = sample_fold if paired else rng.permutation(m) % folds
    trees = _trees(samples, real, categorical)
    wins = [_wins(trees, samples, real, sample_fold == fold, real_fold == fold) for fold in range(folds)]

    def area(u: np.ndarray, v: np.ndarray) -> float:  # u (N,), v (M,): multiplicity of each row
        areas = []
        for fold, matrix in enumerate(wins):
            a, b = u[sample_fold == fold], v[real_fold == fold]
            if a.any() and b.any():
                areas.append(a @ matrix @ b / (a.sum() * b.sum()))
        return float(np.mean(areas)) if areas else 0.5

    values = []
    for _ in range(repeats):
        u = np.bincount(rng.integers(n, size=n), minlength=n)
        values.append(area(u, u if paired else np.bincount(rng.integers(m, size=m), minlength=m)))
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(area(np.ones(n), np.ones(m)), float(low), float(high), n)


def _trees(
    samples: np.ndarray, real: np.ndarray, categorical: np.ndarray | None
) -> HistGradientBoostingClassifier:
    """Trees for features (N, F) and (M, F), not fitted yet."""
    if categorical is None or not categorical.any():
        few, most = None, -1
    else:
        ids = np.fmax.reduce(np.concatenate([samples, real]))  # of missing values NaN, which trees know
        few = categorical & (ids < MAX_CATEGORIES)
        most = ids[few].max(initial=0)
    bins = WIDE_BINS if samples.shape[1] > WIDE and most < WIDE_BINS else BINS
    return HistGradientBoostingClassifier(
        max_leaf_nodes=15, early_stopping=False, random_state=0, max_bins=bins, categorical_features=few
    )


def _wins(
    trees: HistGradientBoostingClassifier,
    samples: np.ndarray,
    real: np.ndarray,
    sample_test: np.ndarray,
    real_test: np.ndarray,
) -> np.ndarray:
    """Whether each test sample scores above each real test row, for trees fit on the rest; 0.5 for a tie."""
    x = np.concatenate([samples[~sample_test], real[~real_test]])
    y = np.repeat([1, 0], [int((~sample_test).sum()), int((~real_test).sum())])
    trees.fit(x, y)
    a, b = (trees.decision_function(part) for part in (samples[sample_test], real[real_test]))
    return (a[:, None] > b) + 0.5 * (a[:, None] == b)

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
    """The classifier two-sample test alone, see `c2st_by_column`."""
    return c2st_by_column(
        samples, real, rng=rng, categorical=categorical, paired=paired, folds=folds, repeats=repeats
    )[0]


def c2st_by_column(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    rng: np.random.Generator,
    columns: np.ndarray | None = None,
    categorical: np.ndarray | None = None,
    paired: bool = False,
    folds: int = 5,
    repeats: int = 200,
) -> tuple[Estimate, np.ndarray]:
    """P(the classifier scores a sample above a real row), features (N, F) and (M, F): 0.5 best, 1 worst.

    It is the area under the ROC curve on unseen rows, averaged over the `folds` of a cross-validation.
    `categorical`: whether each feature is the id of a class, (F,) bool; a split is then between any two sets of ids.
    `paired`: sample i was conditioned on the sources of real row i, so the two are always in one fold; else
    their equal sources would be a clue. The interval is a bootstrap over the scored rows with the trees
    fixed.

    With the number of the column of each feature, `columns` (F,), also the importance of each column, (C,): by how much
    the area falls if its values are permuted among the test rows (Breiman, 2001).

    Raises ValueError for fewer than 2 rows, or shapes that do not match.
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
    columns = np.zeros(0, dtype=int) if columns is None else columns
    wins, importance = [], np.zeros(1 + int(columns.max(initial=-1)))
    for fold in range(folds):
        sample_test, real_test = sample_fold == fold, real_fold == fold
        _fit(trees, samples[~sample_test], real[~real_test])
        test = samples[sample_test], real[real_test]
        wins.append(_wins(trees, *test))
        for column in range(len(importance)):
            permuted = _permute(*test, np.equal(columns, column), np.random.default_rng((fold, column)))
            importance[column] += (wins[-1].mean() - _wins(trees, *permuted).mean()) / folds

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
    return Estimate(area(np.ones(n), np.ones(m)), float(low), float(high), n), importance


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


def _fit(trees: HistGradientBoostingClassifier, samples: np.ndarray, real: np.ndarray) -> None:
    trees.fit(fill_empty(np.concatenate([samples, real])), np.repeat([1, 0], [len(samples), len(real)]))


def fill_empty(x: np.ndarray) -> np.ndarray:
    """Features (N, F) in which those without any value are 0, for which scikit-learn has no bins."""
    return np.where(np.isnan(x).all(0), 0.0, x)


def _wins(trees: HistGradientBoostingClassifier, samples: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Whether each sample scores above each real row; 0.5 for a tie."""
    a, b = (trees.decision_function(part) for part in (samples, real))
    return (a[:, None] > b) + 0.5 * (a[:, None] == b)


def _permute(
    samples: np.ndarray, real: np.ndarray, features: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Both with the values of some features, (F,) bool, permuted among all rows."""
    rows = np.concatenate([samples, real])
    rows[:, features] = rows[rng.permutation(len(rows))][:, features]
    return rows[: len(samples)], rows[len(samples) :]

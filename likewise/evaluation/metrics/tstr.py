"""TSTR: trained on samples, tested on real rows (Esteban et al., 2017), beside trained and tested on real rows.

A model of one column given the others is trained; it is gradient-boosted trees, which are good for tables as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from likewise.evaluation.metrics.c2st import fill_empty
from likewise.evaluation.metrics.estimate import Estimate

TREES, RATE = 60, 0.15  # of numbers and of two classes
CLASS_TREES, CLASS_RATE = 120, 0.3  # of several classes: a tree for each in every step
LEVELS = 20  # classes of a target: the rarer ones are one


@dataclass(frozen=True)
class Skill:
    """A measure of predictions, 1 at best, and the influence of each test row on it, (N,).

    The influences give the interval, with the trees fixed (infinitesimal jackknife, Jaeckel, 1972). A test row that was
    not predicted has none.
    """

    value: float
    influence: np.ndarray

    @property
    def estimate(self) -> Estimate:
        """With its interval."""
        spread = 1.96 * float(np.sqrt(np.sum(self.influence**2)))
        return Estimate(self.value, self.value - spread, min(1.0, self.value + spread), len(self.influence))

    @property
    def above_zero(self) -> Skill:
        """At least 0, which is the mean as prediction."""
        return self if self.value > 0 else Skill(0.0, np.zeros_like(self.influence))


def mean_skill(skills: list[Skill]) -> Skill:
    """The mean of several on the same test rows."""
    return Skill(float(np.mean([s.value for s in skills])), np.mean([s.influence for s in skills], 0))


def r_squared(truth: np.ndarray, predicted: np.ndarray) -> Skill:
    """1 - sum (y - f)^2 / sum (y - mean y)^2 of numbers (N,).

    >>> r_squared(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0])).value
    0.5
    """
    errors, deviations = (truth - predicted) ** 2, (truth - truth.mean()) ** 2
    value = 1 - errors.sum() / deviations.sum()
    return Skill(float(value), ((1 - value) * deviations - errors) / deviations.sum())


def area_under_curve(truth: np.ndarray, scores: np.ndarray) -> Skill:
    """P(a row of a class scores above another one), the mean over the classes of `truth`: ids (N,), scores (N, K).

    Its variance is that of DeLong et al. (1988), ties half.

    >>> area_under_curve(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0, 1]])).value
    0.75
    """
    skills = []
    for k in np.unique(truth):
        own, score = truth == k, scores[:, int(k)]
        n, m = int(own.sum()), int((~own).sum())
        ranks = rankdata(score)
        placement = np.empty(
            len(truth)
        )  # the share of the rows of the other side that a row is right of, or left of
        placement[own] = (ranks[own] - rankdata(score[own])) / m
        placement[~own] = 1 - (ranks[~own] - rankdata(score[~own])) / n
        value = float(placement[own].mean())
        skills.append(Skill(value, (placement - value) / np.where(own, n, m)))
    return mean_skill(skills)


def prediction_skill(
    x: np.ndarray,
    y: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    *,
    is_class: bool,
    categorical: np.ndarray,
) -> Skill:
    """Of trees that learn a target y (N,) of features x (N, F), tested on (M,) and (M, F); NaN is missing.

    R^2 of numbers (their ranks, so that few far values do not outweigh all others), the area under the curve of classes. `categorical`: which features are ids, (F,) bool. Rows
    without a target are left out.
    """
    known, known_test = ~np.isnan(y), ~np.isnan(y_test)
    x, y, truth = fill_empty(x[known]), y[known], y_test[known_test]
    ids = categorical if categorical.any() else None
    if is_class:
        y, truth = np.minimum(y, LEVELS - 1).astype(int), np.minimum(truth, LEVELS - 1).astype(int)
        skill = area_under_curve(truth, _class_scores(x, y, x_test[known_test], ids))
    elif len(y) < 2:
        skill = r_squared(truth, np.full(len(truth), y.mean() if len(y) else truth.mean()))
    else:
        trees = HistGradientBoostingRegressor(
            max_iter=TREES, learning_rate=RATE, early_stopping=False, categorical_features=ids, random_state=0
        )
        skill = r_squared(truth, trees.fit(x, y).predict(x_test[known_test]))
    influence = np.zeros(len(y_test))
    influence[known_test] = skill.influence
    return Skill(skill.value, influence)


def _class_scores(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, categorical: np.ndarray | None
) -> np.ndarray:
    """P(class) of test rows, (M, LEVELS); 0 of classes that y does not have."""
    scores = np.zeros((len(x_test), LEVELS))
    classes = np.unique(y)
    if len(classes) < 2:
        return scores
    several = len(classes) > 2
    trees = HistGradientBoostingClassifier(
        max_iter=max(6, CLASS_TREES // len(classes)) if several else TREES,
        learning_rate=CLASS_RATE if several else RATE,
        early_stopping=False,
        categorical_features=categorical,
        random_state=0,
    )
    scores[:, classes] = trees.fit(x, y).predict_proba(x_test)
    return scores

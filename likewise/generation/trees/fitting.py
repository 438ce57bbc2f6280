"""Decision trees of scikit-learn as tensors (Breiman et al., 1984: CART).

A categorical column before the target is a number, by which its levels are sorted: for a number the mean of the target
(Fisher, 1958; Breiman et al., 1984), for a category the first principal component of its frequencies (Coppersmith et
al., 1999). One split of sorted levels is then as good as one of any subset, or nearly so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from likewise.nets.continuous import CODE_DIM, fixed_codes

REPEATS = 3  # rows with one value from which it is sampled as it is: it is no one row's own
RARE = 5  # rows of a level below which it is sorted among the mean ones, as it has no order of its own
MANY_CLASSES = 64  # from which a tree of a category is one of its codes, as counts of all classes are slow


@dataclass(frozen=True)
class FittedTree:
    """A tree and the training values in its leaves, as arrays; nodes are numbered from 0, the root.

    feature    (N,) the column that a node tests, 0 in leaves
    threshold  (N,) float32, rows with more go right
    child      (N, 2) left and right, of a leaf itself
    start, count  (N,) where the values of a leaf begin in `values`, and how many there are
    values     (n,) float32, sorted in each leaf
    repeated   (n,) bool, whether REPEATS training rows or more have the value
    codes      categorical column before the target -> (K,) float32, what its levels are to the tree
    depth      of the deepest leaf
    """

    feature: Tensor
    threshold: Tensor
    child: Tensor
    start: Tensor
    count: Tensor
    values: Tensor
    repeated: Tensor
    codes: dict[int, Tensor]
    depth: int


def fit_tree(columns: np.ndarray, classes: Sequence[int], min_leaf: int, seed: int) -> FittedTree:
    """The tree of the last of some columns (n, J) float32 given the others; NaN where a value is missing.

    classes  of each column, 0 for numbers
    min_leaf  rows of a leaf, at least

    Rows without the last value are left out; with none a leaf holds one 0. scikit-learn's trees learn on which side
    of a split missing values are, so that they do not mislead the others.
    """
    columns = columns[~np.isnan(columns[:, -1])]
    if not len(columns):
        columns = np.zeros((1, columns.shape[1]), np.float32)
    target = np.ascontiguousarray(columns[:, -1])
    features = columns[:, :-1].copy()
    wanted = _outputs(target, classes[-1])
    codes = {}
    for k, number in enumerate(classes[:-1]):
        if number:
            codes[k] = _level_codes(features[:, k], number, wanted)
            known = ~np.isnan(features[:, k])
            features[known, k] = codes[k][features[known, k].astype(np.int64)]
    features[:, np.isnan(features).all(0)] = 0.0
    nodes, leaf = _split(features, target, wanted, classes[-1], min_leaf, seed)
    order = np.lexsort((target, leaf))
    count = np.bincount(leaf, minlength=len(nodes.feature))
    _, place, number_of_rows = np.unique(target, return_inverse=True, return_counts=True)
    return FittedTree(
        torch.from_numpy(nodes.feature),
        torch.from_numpy(nodes.threshold),
        torch.from_numpy(nodes.children),
        torch.from_numpy(np.cumsum(count) - count),
        torch.from_numpy(count),
        torch.from_numpy(target[order]),
        torch.from_numpy((number_of_rows[place] >= REPEATS)[order]),
        {k: torch.from_numpy(code) for k, code in codes.items()},
        nodes.depth,
    )


@dataclass(frozen=True)
class _Nodes:
    feature: np.ndarray
    threshold: np.ndarray
    children: np.ndarray
    depth: int


def _split(
    features: np.ndarray, target: np.ndarray, wanted: np.ndarray, classes: int, min_leaf: int, seed: int
) -> tuple[_Nodes, np.ndarray]:
    """The nodes of a tree, and the leaf of each row, (n,)."""
    if not features.shape[1] or len(target) < 2 * min_leaf:
        nodes = _Nodes(np.zeros(1, np.int64), np.zeros(1, np.float32), np.zeros((1, 2), np.int64), 0)
        return nodes, np.zeros(len(target), np.int64)
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if 0 < classes <= MANY_CLASSES:
        fitted = DecisionTreeClassifier(min_samples_leaf=min_leaf, random_state=seed)
        fitted.fit(features, target.astype(np.int64))
    else:
        fitted = DecisionTreeRegressor(min_samples_leaf=min_leaf, random_state=seed)
        fitted.fit(features, wanted)
    tree, itself = fitted.tree_, np.arange(fitted.tree_.node_count)
    leaf = tree.children_left < 0
    children = np.stack([tree.children_left, tree.children_right], 1)
    nodes = _Nodes(
        np.where(leaf, 0, tree.feature).astype(np.int64),
        _round_down(np.where(leaf, 0.0, tree.threshold)),
        np.where(leaf[:, None], itself[:, None], children).astype(np.int64),
        tree.max_depth,
    )
    return nodes, fitted.apply(features).astype(np.int64)


def _round_down(threshold: np.ndarray) -> np.ndarray:
    """The largest float32 that is at most each threshold: float32 values are on the same side of it."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _outputs(target: np.ndarray, classes: int) -> np.ndarray:
    """What a tree predicts: numbers (n, 1), frequencies of classes (n, K), or codes of many classes (n, C)."""
    if not classes:
        return target[:, None].astype(np.float64)
    ids = target.astype(np.int64)
    if classes <= MANY_CLASSES:
        return np.eye(classes)[ids]
    return fixed_codes(classes, CODE_DIM, "tree").double().numpy()[ids]


def _level_codes(levels: np.ndarray, classes: int, wanted: np.ndarray) -> np.ndarray:
    """A number for each of `classes` levels, (K,) float32, by what is wanted of their rows (n, C); NaN is left out."""
    known = ~np.isnan(levels)
    ids, wanted = levels[known].astype(np.int64), wanted[known]
    count = np.bincount(ids, minlength=classes)
    total = np.zeros((classes, wanted.shape[1]))
    np.add.at(total, ids, wanted)
    mean = total / np.maximum(count, 1)[:, None] - total.sum(0) / max(1, len(ids))
    mean[count < RARE] = 0.0
    if mean.shape[1] == 1:
        return mean[:, 0].astype(np.float32)
    weighted = mean * np.sqrt(count)[:, None]
    direction = np.linalg.eigh(weighted.T @ weighted)[1][:, -1]
    return (mean @ direction).astype(np.float32)

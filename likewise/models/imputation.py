"""Multiple imputation: missing values sampled several times given the others, and estimates that are pooled (Rubin, 1987,
"Multiple imputation for nonresponse in surveys").

    Q = mean_d Q_d,  U = mean_d U_d,  B = var_d Q_d,  T = U + (1 + 1 / m) B                                   (1)
    df = (m - 1) (1 + U / ((1 + 1 / m) B))^2                                                                 (2)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from likewise.modalities.base import Row
from likewise.modalities.conditions import Condition
from likewise.models.row_sampler import RowSampler

MAX_ROUNDS = 100  # in which rows are sampled again until no value is missing, by families without conditions
CONFIDENCE = 0.95


def fill_missing(
    model: RowSampler,
    rows: Sequence[Row],
    *,
    indices: Sequence[int] | None = None,
    seed: int = 0,
    sample: Callable[..., list[Row]] | None = None,
    **options: Any,
) -> list[Row]:
    """The rows with each missing target sampled given what the row has: one imputation, of the given `seed`.

    indices  the number of each row, as in Model.sample
    sample   in place of `model.sample`; `options` of it

    No sampled value is missing. Raises ValueError if a family that has no conditions samples a missing value again and
    again.
    """
    sample = sample or model.sample
    places = list(range(len(rows)) if indices is None else indices)
    known = [{name: value for name, value in row.items() if value is not None} for row in rows]
    holes = [tuple(name for name in model.targets if name not in row) for row in known]
    order = sorted((i for i, hole in enumerate(holes) if hole), key=lambda i: holes[i])  # alike in one batch
    modelled = [name for name, column in model.target_columns.items() if column.has_missing]
    exact = "ranges" in type(model.family).sampling_controls()
    if exact and modelled:
        options["constraint"] = dict.fromkeys(modelled, Condition())
    filled = [dict(row) for row in rows]
    for attempt in range(MAX_ROUNDS):
        if not order:
            return filled
        new = sample(
            [known[i] for i in order],
            indices=[places[i] + (attempt << 48) for i in order],
            seed=seed,
            **options,
        )
        for i, row in zip(order, new, strict=True):
            filled[i] |= {name: row[name] for name in holes[i]}
        order = [i for i in order if any(filled[i][name] is None for name in holes[i])]
    if order:
        raise ValueError(
            f"{len(order):,} of {len(rows):,} rows have a missing value in each of {MAX_ROUNDS} samples; take the family "
            "any_order, which samples values that are not missing"
        )
    return filled


@dataclass(frozen=True)
class Pooled:
    """A pooled estimate (1), its standard error, the ends of its 95 % interval, and the share of its variance that is due
    to what is missing. Of one imputation only the estimate is known, and the others are nan."""

    estimate: float
    error: float
    low: float
    high: float
    missing_share: float


def pool(estimates: Sequence[float], variances: Sequence[float]) -> Pooled:
    """Rubin's rules for estimates of m imputations, and their variances.

    >>> pooled = pool([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    >>> round(pooled.estimate, 3), round(pooled.error, 3), round(pooled.missing_share, 3)
    (2.0, 1.354, 0.727)
    """
    m, estimate = len(estimates), float(np.mean(estimates))
    if m < 2:
        return Pooled(estimate, math.nan, math.nan, math.nan, math.nan)
    within, between = float(np.mean(variances)), (1 + 1 / m) * float(np.var(estimates, ddof=1))
    total = within + between
    if not between:
        df = math.inf
    else:
        df = (m - 1) * (total / between) ** 2
    t = float(stdtrit(min(df, 1e9), (1 + CONFIDENCE) / 2))
    error = math.sqrt(total)
    share = between / total if total else 0.0
    return Pooled(estimate, error, estimate - t * error, estimate + t * error, share)


class PooledMeans:
    """The means of columns of numbers over several imputations, from rows in parts."""

    def __init__(self, names: Sequence[str]) -> None:
        self._sums: Mapping[str, dict[int, np.ndarray]] = {name: {} for name in names}

    def add(self, draw: int, rows: Sequence[Row]) -> None:
        """Add rows of an imputation; values that are missing, still, are left out."""
        for name, sums in self._sums.items():
            values = np.array([v for row in rows if (v := row.get(name)) is not None], dtype=np.float64)
            new = np.array([len(values), values.sum(), np.square(values).sum()])
            sums[draw] = sums.get(draw, 0.0) + new

    def results(self) -> dict[str, Pooled]:
        """The pooled mean of each column that has two values at least."""
        found = {}
        for name, sums in self._sums.items():
            n, total, squares = np.array(list(sums.values())).T
            if len(n) and n.min() > 1:
                variance = (squares - total**2 / n).clip(min=0) / (n - 1) / n
                found[name] = pool((total / n).tolist(), variance.tolist())
        return found

"""Judges of synthetic tables: `judge(train, test, samples)` of three pandas frames with the same columns.

    python benchmarks/table_judges.py train.csv test.csv samples.csv [--data diamonds | --targets price]

Each figure has a floor, which is the same figure of real training rows (`floor`). Lower is better but for `tstr` and
the identities.

c2st           AUC of a boosted tree that tells samples from test rows, on the raw columns (Lopez-Paz and Oquab,
               2017): five folds, as many samples as test rows; 0.5 is best. c2st_rounded: after rounding to the
               decimals and clipping to the range of the training rows
tstr           of each target, trained on samples and tested on test rows: R2 of a number, AUC (one against the rest) of a
               category; its floor is trained on real, tested on real (Esteban et al., 2017)
dcr            share of samples that are nearer to a training row than to a test row, ties half; 0.5 is best. The
               distance is the sum over columns: of numbers the difference of ranks in [0, 1], of categories 0 or 1, of
               missing and not missing 1
copies         share of samples that, rounded, equal a training row in all columns; its floor is that of test rows
decimals       share of numbers with more decimals than the training rows have
range          share of numbers outside the range of the training rows
unseen         share of categories that no training row has
missing        largest difference of the share of missing values of a column to that of the training rows, in points, whose
               standard error at 5,000 samples is up to 0.7; missing_mean: mean over the columns that have missing values
marginal       mean over columns of the total variation between samples and test rows, of ten quantile bins or the
               most frequent levels; `marginal_worst` names the worst column
pairs          the same of pairs of columns, over their joint bins; `pairs_worst` names the worst pair
identity NAME  share of samples for which an identity of the data holds
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

Frame = pd.DataFrame
LEVELS = 200  # of a category, in the boosted trees: the rarer ones are one level
BINS = 10  # of a column, in the total variations
PAIRS = 400  # of columns at most, evenly spaced among all

TARGETS = {
    "diamonds": ["price"],
    "loans_full_schema": ["interest_rate", "total_credit_utilized"],
    "ames": ["Sale_Price"],
    "wa_churn": ["churn"],
    "census_income": ["income"],
}


def read_csv(path: str | Path) -> Frame:
    """A CSV in which only an empty field is missing, whatever else pandas takes for it."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)


def judge(
    train: Frame,
    test: Frame,
    samples: Frame,
    data: str | None = None,
    targets: Sequence[str] | None = None,
    n: int = 5000,
    seed: int = 0,
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Every figure of the module's list, of at most n random rows of each frame.

    data     name of a data set whose targets and identities are known
    targets  columns to predict, instead of those of the data set
    only     names of the figures: c2st, tstr, dcr, cells, pairs, identities (default all)
    """
    targets = TARGETS.get(data or "", []) if targets is None else targets
    columns = Columns(train)
    missing = [name for name in columns.names if name not in samples]
    if missing:
        raise ValueError(f"the samples have no column {missing[0]!r}; they have {list(samples)[:9]}")
    train, test, samples = (columns.clean(frame) for frame in (train, test, samples))
    few = [frame.sample(min(n, len(frame)), random_state=seed) for frame in (train, test, samples)]
    judges: dict[str, Callable[[], dict[str, Any]]] = {
        "c2st": lambda: both_c2st(columns, few[1], few[2], seed),
        "tstr": lambda: {f"tstr {name}": tstr(columns, few[2], few[1], name, seed) for name in targets},
        "dcr": lambda: {"dcr": dcr(columns, *few), "copies": copies(train, columns.rounded(samples))},
        "cells": lambda: bad_cells(columns, train, samples),
        "pairs": lambda: variations(columns, test, samples),
        "identities": lambda: {
            f"identity {name}": float(np.mean(holds(samples)))
            for name, holds in IDENTITIES.get(data or "", {}).items()
        },
    }
    with threadpool_limits(
        1
    ):  # threads of trees wait for each other on a busy machine, which costs more than they save
        return {key: value for name in only or judges for key, value in judges[name]().items()}


def floor(train: Frame, test: Frame, data: str | None = None, **options: Any) -> dict[str, Any]:
    """The figures of real training rows; copies and bad cells are those of test rows, and DCR, which has none, 0.5."""
    figures = judge(train, test, train, data, **options)
    of_test = judge(train, test, test, data, **{**options, "only": ["cells"]})
    columns = Columns(train)
    return figures | of_test | {"dcr": 0.5, "copies": copies(columns.clean(train), columns.clean(test))}


class Columns:
    """The kinds of the columns of the training rows, their decimals, ranges and levels."""

    def __init__(self, train: Frame) -> None:
        self.names = list(train)
        self.numbers = [
            name
            for name in train
            if pd.api.types.is_numeric_dtype(train[name]) and not pd.api.types.is_bool_dtype(train[name])
        ]
        self.categories = [name for name in train if name not in self.numbers]
        real = self.clean(train)
        self.decimals = {name: decimals(real[name]) for name in self.numbers}
        self.range = {name: (real[name].min(), real[name].max()) for name in self.numbers}
        self.levels = {
            name: real[name].value_counts().index for name in self.categories
        }  # most frequent first
        self.sorted = {name: np.sort(real[name].dropna().to_numpy()) for name in self.numbers}

    def clean(self, frame: Frame) -> Frame:
        """Floats and strings, NaN or None where missing, in the order of the training rows; extra columns go."""
        out = {name: pd.to_numeric(frame[name], errors="coerce").astype(float) for name in self.numbers}
        out |= {
            name: frame[name]
            .astype(object)
            .where(frame[name].notna(), None)
            .map(str, na_action="ignore")
            .astype(object)
            for name in self.categories
        }
        return pd.DataFrame({name: out[name].to_numpy() for name in self.names})

    def rounded(self, frame: Frame) -> Frame:
        """With the decimals and within the range of the training rows."""
        new = {name: frame[name].round(self.decimals[name]).clip(*self.range[name]) for name in self.numbers}
        return frame.assign(**new)

    def codes(self, frame: Frame, name: str, levels: int) -> np.ndarray:
        """The level of each row, the most frequent first; all beyond so many are one, missing is -1."""
        codes = self.levels[name][:levels].get_indexer(frame[name])
        codes[codes < 0] = min(levels, len(self.levels[name]))
        codes[frame[name].isna().to_numpy()] = -1
        return codes

    def features(self, frame: Frame, names: Sequence[str]) -> tuple[np.ndarray, list[bool]]:
        """What a boosted tree sees, (rows, columns) with NaN where missing, and which columns are categories."""
        parts = []
        for name in names:
            values = (
                frame[name].to_numpy()
                if name in self.range
                else self.codes(frame, name, LEVELS).astype(float)
            )
            parts.append(values if name in self.range else np.where(values < 0, np.nan, values))
        return np.stack(parts, 1), [name in self.levels for name in names]

    def ranks(self, frame: Frame, name: str) -> np.ndarray:
        """Middle rank among the training values, in [0, 1]; NaN where missing."""
        values, known = frame[name].to_numpy(), self.sorted[name]
        ranks = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / 2
        return np.where(np.isnan(values), np.nan, ranks / max(1, len(known)))

    def bins(self, frame: Frame, name: str) -> np.ndarray:
        """Of BINS quantile bins or levels of the training rows, and a further one for the rest; missing is 0."""
        if name in self.levels:
            return self.codes(frame, name, BINS) + 1
        known = self.sorted[name]
        if not len(known):
            return frame[name].notna().to_numpy().astype(int)
        edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="nearest"))
        values = frame[name].to_numpy()
        return np.where(np.isnan(values), 0, np.searchsorted(edges, values, "right") + 1)


def decimals(values: pd.Series) -> int:
    """The fewest decimals with which every value can be written, 12 at most."""
    known = values.dropna().to_numpy()
    return next((k for k in range(12) if np.allclose(known, known.round(k), rtol=1e-12, atol=1e-12)), 12)


# ---- the judges


def both_c2st(columns: Columns, test: Frame, samples: Frame, seed: int) -> dict[str, float]:
    """The AUC of raw samples, and of those that are rounded where that changes anything."""
    raw, rounded = c2st(columns, test, samples, seed), columns.rounded(samples)
    same = rounded.equals(samples)
    return {"c2st": raw, "c2st_rounded": raw if same else c2st(columns, test, rounded, seed)}


def c2st(columns: Columns, test: Frame, samples: Frame, seed: int) -> float:
    """AUC of a classifier of samples against test rows, equally many, by five folds."""
    n = min(len(test), len(samples))
    rows = pd.concat([test[:n], samples[:n]], ignore_index=True)
    x, categorical = columns.features(rows, columns.names)
    y = np.repeat([0, 1], n)
    tree = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return float(roc_auc_score(y, cross_val_predict(tree, x, y, cv=folds, method="predict_proba")[:, 1]))


def tstr(columns: Columns, source: Frame, test: Frame, target: str, seed: int) -> float:
    """R2 or AUC on the test rows of a boosted tree that the source rows have trained."""
    names = [name for name in columns.names if name != target]
    source, test = (frame[frame[target].notna()] for frame in (source, test))
    (x, categorical), (x_test, _) = columns.features(source, names), columns.features(test, names)
    options = {"categorical_features": categorical, "random_state": seed}
    if target in columns.numbers:
        tree = HistGradientBoostingRegressor(**options).fit(x, source[target])
        return float(r2_score(test[target], tree.predict(x_test)))
    y, y_test = (columns.codes(frame, target, LEVELS) for frame in (source, test))
    if len(np.unique(y)) < 2:
        return 0.5
    classifier = HistGradientBoostingClassifier(**options).fit(x, y)
    p = classifier.predict_proba(x_test)
    aucs = [
        roc_auc_score(
            y_test == level,
            p[:, list(classifier.classes_).index(level)]
            if level in classifier.classes_
            else np.zeros(len(p)),
        )
        for level in np.unique(y_test)
    ]
    return float(np.mean(aucs))


def dcr(columns: Columns, train: Frame, test: Frame, samples: Frame) -> float:
    """Share of samples nearer to one of n training rows than to one of n test rows; ties count half."""
    n = min(len(train), len(test))
    nearest = [nearest_distance(columns, samples, real[:n]) for real in (train, test)]
    return float(np.mean(nearest[0] < nearest[1]) + np.mean(nearest[0] == nearest[1]) / 2)


def nearest_distance(columns: Columns, rows: Frame, real: Frame) -> np.ndarray:
    """The distance of each row to the nearest real one, (rows,)."""
    (a, a_codes), (b, b_codes) = distance_parts(columns, rows), distance_parts(columns, real)
    nearest = []
    for start in range(0, len(rows), 500):
        part = slice(start, start + 500)
        distance = cdist(a[part], b, "cityblock")
        if a_codes.shape[1]:
            distance += a_codes.shape[1] * cdist(a_codes[part], b_codes, "hamming")
        nearest.append(distance.min(1))
    return np.concatenate(nearest).round(9)


def distance_parts(columns: Columns, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Numbers whose city-block distance, and codes whose number of differences, is the distance of rows.

    A rank r is (r/2, (1-r)/2, 0) and a missing one (0, 0, 1/2), which is 1 from every rank.
    """
    numbers = []
    for name in columns.numbers:
        ranks = columns.ranks(frame, name)
        gone = np.isnan(ranks)
        numbers += [np.where(gone, 0, ranks / 2), np.where(gone, 0, (1 - ranks) / 2), gone / 2]
    codes = [full_codes(columns, frame, name) for name in columns.categories]
    return (
        np.stack(numbers, 1) if numbers else np.zeros((len(frame), 1)),
        np.stack(codes, 1).astype(float) if codes else np.zeros((len(frame), 0)),
    )


def full_codes(columns: Columns, frame: Frame, name: str) -> np.ndarray:
    """A code for every level, also those that the training rows do not have; missing is -1."""
    codes = columns.levels[name].get_indexer(frame[name]).astype(float)
    unseen = (codes < 0) & frame[name].notna().to_numpy()
    codes[unseen] = [len(columns.levels[name]) + abs(hash(v)) % 10**9 for v in frame[name][unseen]]
    return codes


def copies(train: Frame, samples: Frame) -> float:
    """Share of samples that are a training row."""
    known = set(pd.util.hash_pandas_object(train, index=False))
    return float(np.mean([key in known for key in pd.util.hash_pandas_object(samples, index=False)]))


def bad_cells(columns: Columns, train: Frame, samples: Frame) -> dict[str, Any]:
    """Shares of cells that no real row could have, and the worst difference of the share of missing ones."""
    numbers, categories = samples[columns.numbers], samples[columns.categories]
    rounded = numbers.round(columns.decimals)
    low, high = (pd.Series({name: ends[i] for name, ends in columns.range.items()}) for i in (0, 1))
    unseen = [
        samples[name].notna() & ~samples[name].isin(columns.levels[name]) for name in columns.categories
    ]
    points = 100 * (samples.isna().mean() - train.isna().mean()).abs()
    return {
        "decimals": share((numbers - rounded).abs() > 1e-9, numbers),
        "range": share((numbers < low - 1e-9) | (numbers > high + 1e-9), numbers),
        "unseen": share(pd.concat(unseen, axis=1), categories) if unseen else 0.0,
        "missing": float(points.max()),
        "missing_worst": str(points.idxmax()),
        "missing_mean": float(points[train.isna().any()].mean()) if train.isna().any(axis=None) else 0.0,
    }


def share(bad: Frame, cells: Frame) -> float:
    """Share of bad cells among those that are not missing."""
    known = int(cells.notna().to_numpy().sum())
    return float(bad.to_numpy().sum() / known) if known else 0.0


def variations(columns: Columns, test: Frame, samples: Frame) -> dict[str, Any]:
    """Mean and worst total variation of the columns and of pairs of columns."""
    bins = {name: (columns.bins(test, name), columns.bins(samples, name)) for name in columns.names}
    width = BINS + 2
    single = {name: total_variation(*both, width) for name, both in bins.items()}
    pairs = list(itertools.combinations(columns.names, 2))
    pairs = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), PAIRS)).astype(int))]
    joint = {
        f"{a}, {b}": total_variation(
            bins[a][0] * width + bins[b][0], bins[a][1] * width + bins[b][1], width * width
        )
        for a, b in pairs
    }
    return {
        "marginal": float(np.mean(list(single.values()))),
        "marginal_worst": max(single, key=lambda name: single[name]),
        "pairs": float(np.mean(list(joint.values()))),
        "pairs_worst": max(joint, key=lambda name: joint[name]),
    }


def total_variation(a: np.ndarray, b: np.ndarray, width: int) -> float:
    """Half the L1 distance of two histograms of whole numbers below `width`."""
    counts = [np.bincount(values, minlength=width) / max(1, len(values)) for values in (a, b)]
    return float(np.abs(counts[0] - counts[1]).sum() / 2)


# ---- identities that hold in the real rows


def annuity(rows: Frame) -> np.ndarray:
    """The instalment of a loan follows from amount, rate and term, within 1 %."""
    rate = rows["interest_rate"] / 1200
    due = rows["loan_amount"] * rate / (1 - (1 + rate) ** -rows["term"])
    return ((rows["installment"] / due - 1).abs() < 0.01).to_numpy()


def joint_missing(rows: Frame) -> np.ndarray:
    """Values of the second applicant are there if and only if there is one."""
    joint = rows["application_type"] == "joint"
    there = rows[["annual_income_joint", "debt_to_income_joint"]].notna()
    return (there.all(axis=1) & joint | ~there.any(axis=1) & ~joint).to_numpy()


def close(a: pd.Series, b: pd.Series) -> np.ndarray:
    """Equal within two hundredths, which is what rounding a sum of three can cost."""
    return ((a - b).abs() < 0.021).to_numpy()


IDENTITIES: Mapping[str, Mapping[str, Callable[[Frame], np.ndarray]]] = {
    "loans_full_schema": {
        "total = sum": lambda d: close(
            d["paid_total"], d["paid_principal"] + d["paid_interest"] + d["paid_late_fees"]
        ),
        "balance": lambda d: close(d["balance"], d["loan_amount"] - d["paid_principal"]),
        "annuity": annuity,
        "grade": lambda d: (d["sub_grade"].str[0] == d["grade"]).to_numpy(),
        "missing together": joint_missing,
    }
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs=3, metavar=("TRAIN", "TEST", "SAMPLES"))
    parser.add_argument("--data", choices=list(TARGETS))
    parser.add_argument("--targets", nargs="+")
    parser.add_argument("--floor", action="store_true", help="print the figures of real rows as well")
    args = parser.parse_args()
    train, test, samples = (read_csv(path) for path in args.files)
    if args.floor:
        print(json.dumps(floor(train, test, args.data, targets=args.targets), indent=1))
    print(json.dumps(judge(train, test, samples, args.data, args.targets), indent=1))


if __name__ == "__main__":
    main()

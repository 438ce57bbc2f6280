"""Imputation of a table of which a share of the cells is gone: the error and the coverage of draws.

    python benchmarks/imputation.py [diamonds ...] [--share 0.2] [--cpu-seconds 60] [--draws 20] [--seed 0]

Cells of the training file are removed at random ("random"), or twice as often where the first number of the row is above
its median ("depends", missing at random in the sense of Rubin, 1976). Each method sees that table only, and is judged on
the removed cells:

error     of numbers: root mean squared error of the imputed value in standard deviations of the column, mean of
          columns; the imputed value is the mean of the draws
wrong     of categories: the share that is not the most frequent draw
crps      of numbers: the continuous ranked probability score of the draws, in standard deviations (of a method that
          gives one value it is the absolute error)
coverage  the share of numbers inside the central 90 % of the draws; of methods that draw

Methods: mean and mode; scikit-learn's IterativeImputer, by Bayesian ridge regression with draws from its posterior
(van Buuren and Groothuis-Oudshoorn, 2011, "mice") and by extremely randomised trees (Stekhoven and Buehlmann, 2012,
"MissForest"), on categories as codes; likewise's any_order, given what a row has.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from table_data import files_of
from table_judges import read_csv

from likewise import Model, Plan, Table
from likewise.modalities.conditions import Condition
from likewise.training.trainer import train

Draws = list[pd.DataFrame]


def remove(frame: pd.DataFrame, share: float, how: str, rng: np.random.Generator) -> np.ndarray:
    """Which cells are gone, (N, C) bool; of each row at least one stays."""
    chance = np.full(len(frame), share)
    if how == "depends":
        first = frame.select_dtypes("number").iloc[:, 0]
        chance = np.where(first > first.median(), 4 / 3, 2 / 3) * share
    gone = rng.random(frame.shape) < chance[:, None]
    if how == "depends":
        gone[:, frame.columns.get_loc(frame.select_dtypes("number").columns[0])] = False
    gone[gone.all(1), 0] = False
    return gone


def codes_of(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Categories as codes in the order of their names, which are returned."""
    levels = {
        c: sorted(frame[c].dropna().unique()) for c in frame if not pd.api.types.is_numeric_dtype(frame[c])
    }
    coded = frame.copy()
    for name, names in levels.items():
        coded[name] = frame[name].map({level: k for k, level in enumerate(names)}).astype(float)
    return coded.astype(float), levels


def decode_categories(values: np.ndarray, frame: pd.DataFrame, levels: dict[str, list[str]]) -> pd.DataFrame:
    """Values (N, C) as a frame, codes rounded to categories."""
    made = pd.DataFrame(values, columns=frame.columns)
    for name, names in levels.items():
        made[name] = [names[int(k)] for k in made[name].round().clip(0, len(names) - 1)]
    return made


def by_marginals(frame: pd.DataFrame, draws: int, seconds: float, seed: int) -> Draws:
    """The mean of numbers, the most frequent category."""
    fill = {
        c: frame[c].mean() if pd.api.types.is_numeric_dtype(frame[c]) else frame[c].mode()[0] for c in frame
    }
    return [frame.fillna(fill)]


def by_ridge(frame: pd.DataFrame, draws: int, seconds: float, seed: int) -> Draws:
    """Chained equations with draws."""
    coded, levels = codes_of(frame)
    makers = [
        IterativeImputer(sample_posterior=True, max_iter=10, random_state=seed + k) for k in range(draws)
    ]
    return [decode_categories(maker.fit_transform(coded), frame, levels) for maker in makers]


def by_forest(frame: pd.DataFrame, draws: int, seconds: float, seed: int) -> Draws:
    """Chained equations of trees, one value."""
    coded, levels = codes_of(frame)
    trees = ExtraTreesRegressor(n_estimators=50, min_samples_leaf=2, random_state=seed)
    maker = IterativeImputer(estimator=trees, max_iter=5, random_state=seed, initial_strategy="median")
    return [decode_categories(maker.fit_transform(coded), frame, levels)]


def by_any_order(frame: pd.DataFrame, draws: int, seconds: float, seed: int) -> Draws:
    """Rows sampled given what they have, and not missing; trained for any order only, as any columns are known."""
    rows = [{k: None if pd.isna(v) else v for k, v in row.items()} for row in frame.to_dict("records")]
    table = Table.from_rows(rows, holdout=0.0)
    formula = ", ".join(f'"{name}"' for name in frame)
    model = Model(formula, table.columns, "any_order", seed=seed, ordered=0.0)
    start = time.process_time()
    list(zip(range(20), train(model, table, Plan(steps=20, save_seconds=1e9)), strict=False))
    step = (time.process_time() - start) / 20
    model = Model(formula, table.columns, "any_order", seed=seed, ordered=0.0)
    for _ in train(model, table, Plan(steps=max(20, int(seconds / step)), seed=seed, save_seconds=1e9)):
        pass
    given = [{k: v for k, v in row.items() if v is not None} for row in rows]
    present = {name: Condition() for name in frame}
    return [
        pd.DataFrame(model.sample(given, constraint=present, seed=seed + k, batch=2500))[list(frame)]
        for k in range(draws)
    ]


METHODS: dict[str, Callable[[pd.DataFrame, int, float, int], Draws]] = {
    "mean": by_marginals,
    "ridge": by_ridge,
    "forest": by_forest,
    "any_order": by_any_order,
}


def judge(truth: pd.DataFrame, gone: np.ndarray, draws: Draws) -> dict[str, float]:
    """The figures of the module's list."""
    errors, wrong, scores, inside = [], [], [], []
    for k, name in enumerate(truth):
        at = gone[:, k]
        if not at.any():
            continue
        real = truth[name].to_numpy()[at]
        made = np.stack([draw[name].to_numpy()[at] for draw in draws])
        if not pd.api.types.is_numeric_dtype(truth[name]):
            modes = [pd.Series(column).mode()[0] for column in made.T]
            wrong.append(float(np.mean(np.array(modes) != real)))
            continue
        made, real, unit = made.astype(float), real.astype(float), truth[name].std()
        errors.append(float(np.sqrt(np.mean((made.mean(0) - real) ** 2)) / unit))
        apart = np.abs(made[:, None] - made[None]).mean((0, 1)) * len(made) / max(1, len(made) - 1)
        scores.append(float(np.mean(np.abs(made - real).mean(0) - apart / 2) / unit))
        low, high = np.quantile(made, [0.05, 0.95], axis=0)
        inside.append(float(np.mean((low <= real) & (real <= high))))
    figures = {"error": np.mean(errors), "crps": np.mean(scores)}
    figures |= {"wrong": np.mean(wrong)} if wrong else {}
    figures |= {"coverage": np.mean(inside)} if len(draws) > 1 else {}
    return {name: round(float(value), 4) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", default=["diamonds"])
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--cpu-seconds", type=float, default=60.0)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("runs/tables_cache"))
    args = parser.parse_args()
    for name in args.data:
        truth = read_csv(files_of(name, args.cache)[0])[: args.rows]
        truth = truth[[c for c in truth if truth[c].notna().all() and truth[c].nunique() > 1]]
        warnings.filterwarnings("ignore")  # of rows that are whole, and of equations that have not converged
        for how in ("random", "depends"):
            gone = remove(truth, args.share, how, np.random.default_rng(args.seed))
            holes = truth.mask(gone)
            for method in args.methods.split(","):
                start = time.process_time()
                made = METHODS[method](holes, args.draws, args.cpu_seconds, args.seed)
                seconds = round(time.process_time() - start, 1)
                figures = judge(truth, gone, made)
                print(
                    json.dumps({"data": name, "gone": how, "method": method, "cpu": seconds, **figures}),
                    flush=True,
                )


if __name__ == "__main__":
    main()

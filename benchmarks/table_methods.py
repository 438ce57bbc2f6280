"""A method of benchmarks/tables.py in a process of its own: learn a CSV, write samples, print what that took.

    python benchmarks/table_methods.py METHOD train.csv samples.csv [--n 5000] [--seed 0] [--cpu-seconds 120]

METHOD is real, independent, cart, rank_cart, or a family of likewise. The last line of the output is a JSON with the
CPU-seconds of learning and of sampling, of all threads, without imports and without what a calibration takes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from table_judges import decimals, read_csv

Sampler = Callable[[int], pd.DataFrame]
CALIBRATION_STEPS = 8  # of which the time of a step is measured, after as many others
DONORS = 5  # rows of a leaf of CART, as in synthpop
INTERPOLATED = 10  # of rank-CART


# ---- baselines


def real(path: Path, args: argparse.Namespace) -> Sampler:
    """Training rows in random order: a floor of all that compares samples with test rows."""
    rows = read_csv(path)
    return lambda n: rows.sample(n, replace=n > len(rows), random_state=args.seed)


def independent(path: Path, args: argparse.Namespace) -> Sampler:
    """Each column by itself, with replacement."""
    rows, rng = read_csv(path), np.random.default_rng(args.seed)
    return lambda n: pd.DataFrame({name: rng.choice(rows[name].to_numpy(), n) for name in rows})


def cart(path: Path, args: argparse.Namespace) -> Sampler:
    """Column after column, a random donor of the leaf (Reiter, 2005; synthpop: Nowok et al., 2016)."""
    return Sequential(read_csv(path), args.seed, DONORS, interpolate=False).sample


def rank_cart(path: Path, args: argparse.Namespace) -> Sampler:
    """Numbers before categories, as ranks that are drawn from the quantile function of the leaf.

    Categories come last because those in front let numbers copy their donors: DCR of diamonds was 0.64 that way.
    """
    rows = read_csv(path)
    sampler = Sequential(rows[numbers_first(rows)], args.seed, INTERPOLATED, interpolate=True)
    return lambda n: sampler.sample(n)[list(rows)]


def numbers_first(rows: pd.DataFrame) -> list[str]:
    """The columns, numbers before categories, else in their order."""
    return sorted(rows, key=lambda name: not pd.api.types.is_numeric_dtype(rows[name]))


def spread(places: np.ndarray) -> np.ndarray:
    """The edges of intervals around sorted ranks that meet in the middle and are symmetric at the ends, in [0, 1]."""
    if len(places) < 2:
        return places
    middles = (places[1:] + places[:-1]) / 2
    return np.concatenate([[2 * places[0] - middles[0]], middles, [2 * places[-1] - middles[-1]]]).clip(0, 1)


class Sequential:
    """A tree for each column given those before it."""

    def __init__(self, rows: pd.DataFrame, seed: int, leaf: int, interpolate: bool) -> None:
        self.rows, self.rng, self.interpolate = rows, np.random.default_rng(seed), interpolate
        codes = {name: self.encode(rows[name]) for name in rows}
        self.trees: list[Any] = []
        self.leaves: list[dict[int, np.ndarray]] = []
        x = np.zeros((len(rows), 1))
        for name in rows:
            number = pd.api.types.is_numeric_dtype(rows[name])
            kind = DecisionTreeRegressor if number else DecisionTreeClassifier
            tree = kind(min_samples_leaf=leaf, random_state=seed).fit(x, self.target(codes[name], number))
            leaf_of, order = tree.apply(x), np.argsort(tree.apply(x), kind="stable")
            ids, starts = np.unique(leaf_of[order], return_index=True)
            self.trees.append(tree)
            self.leaves.append(dict(zip(ids.tolist(), np.split(order, starts[1:]), strict=True)))
            x = np.column_stack([x, codes[name]])

    @staticmethod
    def encode(values: pd.Series) -> np.ndarray:
        """Numbers, or the place of a category among the sorted ones; missing is below all."""
        if not pd.api.types.is_numeric_dtype(values):
            return pd.factorize(values, sort=True)[0].astype(float)
        low = np.nanmin(values) if values.notna().any() else 0.0
        return values.fillna(low - 1).to_numpy(float)

    def target(self, codes: np.ndarray, number: bool) -> np.ndarray:
        """What a tree predicts."""
        return pd.Series(codes).rank(pct=True).to_numpy() if number and self.interpolate else codes

    def sample(self, n: int) -> pd.DataFrame:
        x, out = np.zeros((n, 1)), {}
        for name, tree, leaves in zip(self.rows, self.trees, self.leaves, strict=True):
            leaf_of = tree.apply(x)
            donors = np.array([self.rng.choice(leaves[leaf]) for leaf in leaf_of.tolist()])
            values = self.rows[name].iloc[donors].reset_index(drop=True)
            if self.interpolate and pd.api.types.is_numeric_dtype(self.rows[name]):
                values = self.interpolate(name, leaves, leaf_of, values)
            out[name] = values
            known = pd.concat([self.rows[name], values], ignore_index=True)
            x = np.column_stack([x, self.encode(known)[len(self.rows) :]])
        return pd.DataFrame(out)

    def interpolate(
        self, name: str, leaves: dict[int, np.ndarray], leaf_of: np.ndarray, donors: pd.Series
    ) -> pd.Series:
        """Between the values of a leaf, with the decimals of the column; a donor that is missing stays so.

        Ties among all rows are an interval of ranks, so that a value that repeats keeps its probability.
        """
        column = self.rows[name]
        there = column.notna().to_numpy()
        known = np.sort(column[there].to_numpy(float))
        low, high = (np.searchsorted(known, column.to_numpy(float), side) for side in ("left", "right"))
        ranks = self.rng.uniform(low, high) / max(1, len(known))
        values = np.full(len(leaf_of), np.nan)
        for leaf, rows in leaves.items():
            at = np.flatnonzero((leaf_of == leaf) & donors.notna().to_numpy())
            places = np.sort(ranks[rows[there[rows]]])
            if len(at):
                values[at] = np.quantile(spread(places), self.rng.uniform(size=len(at)))
        values[~np.isnan(values)] = np.quantile(known, values[~np.isnan(values)])
        return pd.Series(values.round(decimals(column)))


BASELINES = {"real": real, "independent": independent, "cart": cart, "rank_cart": rank_cart}


# ---- likewise


def likewise(family: str, path: Path, args: argparse.Namespace) -> tuple[Sampler, float]:
    """All columns by a family, for about so many CPU-seconds; and the seconds of imports and of the calibration."""
    entry = time.process_time()
    import torch

    from likewise import Model, Plan, Table, train
    from likewise.families import family_class
    from likewise.training.process import tune_malloc

    torch.set_num_threads(args.threads)
    tune_malloc()
    family_class(family)
    begin = time.process_time()
    imports = begin - entry
    table = Table.open(path, holdout=args.holdout)

    def new() -> Model:
        torch.manual_seed(args.seed)
        return Model(", ".join(table.columns), table.columns, family)

    start = time.process_time()
    if not family_class(family).learns_by_gradients:
        model = new()
        for _ in train(model, table, Plan(steps=1, seed=args.seed)):
            pass
        return lambda n: pd.DataFrame(model.sample([{}] * n, seed=args.seed)), imports
    steps = train(new(), table, Plan(steps=10**6, seed=args.seed, save_seconds=1e9))
    for _ in range(CALIBRATION_STEPS):
        next(steps)
    warm = time.process_time()
    for _ in range(CALIBRATION_STEPS):
        next(steps)
    end = time.process_time()
    left = args.cpu_seconds - (start - begin)
    plan = Plan(
        steps=max(1, round(left * CALIBRATION_STEPS / (end - warm))), seed=args.seed, save_seconds=1e9
    )
    model = new()
    for _ in train(model, table, plan):
        pass
    model.eval()
    return lambda n: pd.DataFrame(model.sample([{}] * n, seed=args.seed)), imports + end - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method")
    parser.add_argument("train", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu-seconds", type=float, default=120, help="of training (default 120)")
    parser.add_argument("--holdout", type=float, default=0.0, help="share of the training rows (default 0)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    start, excluded = time.process_time(), 0.0
    if args.method in BASELINES:
        sampler = BASELINES[args.method](args.train, args)
    else:
        sampler, excluded = likewise(args.method, args.train, args)
    trained = time.process_time()
    samples = sampler(args.n)
    end = time.process_time()
    samples.to_csv(args.samples, index=False)
    print(json.dumps({"train": trained - start - excluded, "draw": end - trained}))


if __name__ == "__main__":
    main()

"""A peer of benchmarks/tables.py, by the Python of its own environment: learn a CSV, write samples, print what it took.

    PYTHON_OF_THE_PEER benchmarks/table_peers.py PEER train.csv samples.csv [--n 5000] [--seed 0] [--minutes 10]

Each peer has the defaults of its package, and stops by itself, or after so many epochs as SETTINGS says. It needs
nothing but the peer and pandas. The last line of the output is a JSON as that of table_methods.py; CPU-seconds are
those of this process and of its children, without imports.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

Sampler = Callable[[int], pd.DataFrame]
Learner = Callable[[pd.DataFrame], Sampler]
SETTINGS = {"tvae": 300, "ctgan": 150}  # epochs
TREES = 30  # of arfpy


def mostlyai(args: argparse.Namespace) -> Learner:
    """TabularARGN (Tiwald et al., 2025), which stops early by itself or after so many minutes of wall time."""
    from mostlyai.engine import TabularARGN

    def learn(rows: pd.DataFrame) -> Sampler:
        model = TabularARGN(
            max_training_time=args.minutes,
            workspace_dir=tempfile.mkdtemp(dir=args.samples.parent),
            random_state=args.seed,
            device="cpu",
        )
        model.fit(rows)
        return lambda n: model.sample(n_samples=n)

    return learn


def sdv(name: str) -> Callable[[argparse.Namespace], Learner]:
    """A synthesizer of SDV by its class name."""

    def make(args: argparse.Namespace) -> Learner:
        import torch
        from sdv import single_table
        from sdv.metadata import Metadata

        torch.manual_seed(args.seed)

        def learn(rows: pd.DataFrame) -> Sampler:
            metadata = Metadata.detect_from_dataframes({"rows": rows})
            for column in rows:  # names that look like a zip code or an id get no special treatment
                sdtype = "numerical" if pd.api.types.is_numeric_dtype(rows[column]) else "categorical"
                metadata.update_column(column_name=column, table_name="rows", sdtype=sdtype)
            epochs = SETTINGS.get(args.peer)
            options = {} if epochs is None else {"epochs": epochs}
            model = getattr(single_table, name)(metadata, **options)
            model.fit({"rows": rows})
            return lambda n: first_frame(model.sample(n))

        return learn

    return make


def first_frame(samples: object) -> pd.DataFrame:
    return samples["rows"] if isinstance(samples, dict) else samples  # type: ignore[return-value]


def arf(args: argparse.Namespace) -> Learner:
    """Adversarial random forests (Watson et al., 2023); with numpy.in1d, which it needs and numpy 2.4 has not."""
    import numpy as np

    np.in1d = np.isin
    from arfpy import arf as arfpy

    def learn(rows: pd.DataFrame) -> Sampler:
        np.random.seed(args.seed)
        model = arfpy.arf(x=rows, num_trees=TREES, random_state=args.seed, verbose=False)
        model.forde()
        return lambda n: model.forge(n=n)

    return learn


PEERS = {
    "mostlyai": mostlyai,
    "gaussian_copula": sdv("GaussianCopulaSynthesizer"),
    "tvae": sdv("TVAESynthesizer"),
    "ctgan": sdv("CTGANSynthesizer"),
    "arf": arf,
}


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("train", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10, help="of wall time, of mostlyai (default 10)")
    args = parser.parse_args()
    rows = pd.read_csv(args.train, keep_default_na=False, na_values=[""], low_memory=False)
    learn = PEERS[args.peer](args)
    start = cpu_seconds()
    sampler = learn(rows)
    trained = cpu_seconds()
    samples = sampler(args.n)
    end = cpu_seconds()
    samples.to_csv(args.samples, index=False)
    print(json.dumps({"train": trained - start, "draw": end - trained}))


if __name__ == "__main__":
    main()

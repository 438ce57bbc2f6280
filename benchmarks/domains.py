"""What the judges of texts say of real rows: the rows held out of a demo, in the place of samples.

    python benchmarks/domains.py sql --n 200

The numbers stand in docs/domains.md. "unseen" are n held-out rows, "baseline" as many texts of a trigram.
"""

from __future__ import annotations

import argparse
import time

from likewise import Table
from likewise.cli.formatting import align_columns
from likewise.evaluation.evaluators.text import DOMAIN_CHECKS, check_texts, checkable_columns
from likewise.evaluation.reference import rng_of
from likewise.evaluation.report import MetricResult

ROOM = {"length": 10**6}  # tokens of a text: nothing is encoded here


def lines(domain: str, table: Table, n: int, seed: int) -> list[MetricResult]:
    """The judge's lines on rows held out."""
    test = table.test
    rows = [test[int(i)] for i in rng_of("rows", seed).permutation(len(test))[:n]]
    columns = checkable_columns(domain, table)
    return [line for column in columns for line in check_texts(domain, rows, table, column, seed=seed)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("domain", nargs="+", choices=list(DOMAIN_CHECKS))
    parser.add_argument("--n", type=int, default=200, help="rows, at most (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for domain in args.domain:
        table = Table.open(domain, options=ROOM)
        began = time.perf_counter()
        found = lines(domain, table, args.n, args.seed)
        seconds = time.perf_counter() - began
        print(
            f"{domain}: {len(table):,} rows, {len(table.train):,} to learn from, {len(table.test):,} held "
            f"out; judged in {seconds:.0f} s"
        )
        rows = [("", "unseen", "baseline"), *((x.name, str(x.value), str(x.baseline)) for x in found)]
        print(align_columns(rows) + "\n", flush=True)


if __name__ == "__main__":
    main()

"""The checks of texts on real rows: held-out rows of a data set in place of samples.

    python benchmarks/domains.py sql --n 200

docs/domains.md has the numbers. "held out" are n held-out rows, "baseline" as many texts of a trigram model.
"""

from __future__ import annotations

import argparse
import time

from likewise import Table
from likewise.cli.formatting import align_columns
from likewise.evaluation.evaluators.text import DOMAIN_CHECKS, check_texts, checkable_columns
from likewise.evaluation.reference import rng_of
from likewise.evaluation.report import MetricResult

MAX_LENGTH = 10**6  # tokens: no text is cut


def check_held_out(domain: str, table: Table, n: int, seed: int) -> list[MetricResult]:
    """The results of the checks on held-out rows."""
    test = table.test
    rows = [test[int(i)] for i in rng_of("rows", seed).permutation(len(test))[:n]]
    columns = checkable_columns(domain, table)
    return [result for column in columns for result in check_texts(domain, rows, table, column, seed=seed)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("domain", nargs="+", choices=list(DOMAIN_CHECKS))
    parser.add_argument("--n", type=int, default=200, help="rows, at most (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for domain in args.domain:
        table = Table.open(domain, options={"length": MAX_LENGTH})
        start = time.perf_counter()
        results = check_held_out(domain, table, args.n, args.seed)
        seconds = time.perf_counter() - start
        print(
            f"{domain}: {len(table):,} rows, {len(table.train):,} of training, {len(table.test):,} held "
            f"out; checked in {seconds:.0f} s"
        )
        rows = [("", "held out", "baseline"), *((x.name, str(x.value), str(x.baseline)) for x in results)]
        print(align_columns(rows) + "\n", flush=True)


if __name__ == "__main__":
    main()

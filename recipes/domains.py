"""Texts of several domains, each with checks that are no model: P(text), P(text | doc), P(spark | duckdb) ...

Trains one model for each domain, evaluates samples for held-out rows (docs/domains.md describes the checks and
has these numbers), and saves the first samples of seed 0.

    pip install "likewise[domains]"
    python recipes/domains.py molecules sql --minutes 5
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kit import train_or_load

from likewise import Table, evaluate
from likewise.viz.images import evenly_spaced

FORMULAS = {
    "shakespeare": "text",
    "python": "text | doc",
    "sql": "text | dialect",
    "dialects": "spark | duckdb",
    "proteins": "text",
    "molecules": "text | name",
    "crystals": "text | caption",
}
TEMPERATURE = 0.8  # of all samples: more probable texts pass more checks
SAVED = 5  # samples in samples.txt


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("domain", nargs="+", choices=FORMULAS)
    parser.add_argument("--minutes", type=float, default=5, help="of training of each (default 5)")
    parser.add_argument("--n", type=int, default=200, help="samples that are evaluated (default 200)")
    parser.add_argument("--out", type=Path, default=Path("runs/domains"), help="folder of the runs")
    args = parser.parse_args()
    for domain in args.domain:
        folder, table = args.out / domain, Table.open(domain)
        model = train_or_load(FORMULAS[domain], table, folder, args.minutes, "autoregressive")
        report = evaluate(model, table, n=args.n, temperature=TEMPERATURE)
        sources = [{n: row[n] for n in model.sources} for row in evenly_spaced(table.test, SAVED)]
        [target] = model.targets
        texts = [
            "\n".join([*(f"{n}: {row[n]}" for n in model.sources), row[target], ""])
            for row in model.sample(sources, temperature=TEMPERATURE)
        ]
        (folder / "report.txt").write_text(f"{report}\n")
        (folder / "samples.txt").write_text("\n".join(texts))
        print(report, *texts, sep="\n\n", flush=True)


if __name__ == "__main__":
    main()

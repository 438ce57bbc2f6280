"""Export a model of text, trained with --compat llama or gpt2, for the library transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from likewise.cli.flags import Parser
from likewise.interop.transformers_export import to_transformers
from likewise.models.checkpoint import resolve_run
from likewise.models.model import Model


def run(argv: Sequence[str]) -> int:
    """`likewise export RUN --to transformers --out FOLDER`."""
    parser = Parser("export", __doc__, usage="likewise export RUN --to transformers --out FOLDER")
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run")
    parser.add_argument("--to", required=True, choices=["transformers"], help="the library to export for")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="the folder that is written"
    )
    args = parser.parse(argv)
    paths = to_transformers(Model.load(resolve_run(args.run)), args.out, name=args.run.name)
    for path in paths:
        print(f"  {path.stat().st_size:>12,} bytes  {path}")
    print(f"to load it in Python:\n  transformers.AutoModelForCausalLM.from_pretrained({str(args.out)!r})")
    return 0

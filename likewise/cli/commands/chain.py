"""Chain trained models: the samples of each are sources of a later one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from likewise.cli.flags import Parser
from likewise.models.checkpoint import load_state, require_unused
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline


def run(argv: Sequence[str]) -> int:
    """`likewise chain RUN RUN ... --out FOLDER`."""
    parser = Parser(
        "chain",
        f"{__doc__} The result is sampled and evaluated like a run.",
        usage="likewise chain RUN RUN [RUN ...] --out FOLDER",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="the folders of runs, in order")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="the folder of the pipeline"
    )
    args = parser.parse(argv)
    names = [run.name for run in args.runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"two runs are called {twice[0]}, and the links of a pipeline have the names of their folders; "
            "rename one of the folders"
        )
    require_unused(args.out)
    pipeline = Pipeline({run.name: Model.load(run) for run in args.runs})
    pipeline.save(args.out, data=load_state(args.runs[-1])["data"])
    for name, link in pipeline.links.items():
        print(f"  {name}: P({link.formula})")
    print(
        f"{args.out}: P({pipeline.formula})\nto sample from it:\n  likewise sample {shlex.quote(str(args.out))}"
    )
    return 0

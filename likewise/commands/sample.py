"""Draw from a trained model."""

from __future__ import annotations

import json
import re
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from likewise import __version__, pictures
from likewise.families import family_class
from likewise.flags import Parser, pairs
from likewise.formula import unknown
from likewise.model import Model

Row = dict[str, Any]
OUT = "samples.png"


def run(argv: Sequence[str]) -> int:
    """`likewise sample RUN [TEXT ...]`."""
    parser, args = _read(argv)
    began = time.perf_counter()
    model = Model.load(args.run)
    prompts = _prompts(model, args.texts, pairs(args.given, "--given"))
    sources = [_values(model, prompt) for prompt in prompts]
    out = _out(model, args.out)
    if args.n < 1:
        raise ValueError(f"-n must be at least 1, not {args.n}")
    given = parser.given(args, "knobs")
    loaded = time.perf_counter()
    indices = list(range(args.n)) * len(prompts)        # a draw has the seed of its place in its prompt, not in the command
    rows = model.sample([row for row in sources for _ in range(args.n)], seed=args.seed, indices=indices, **given)
    seconds = time.perf_counter() - loaded
    knobs = {n: p.default for n, p in type(model.family).knobs().items()} | given
    about = [{"model": str(args.run), "formula": str(model.formula), "sources": prompt, "seed": args.seed, "index": i,
              "knobs": knobs, "version": __version__} for prompt in prompts for i in range(args.n)]
    if out is None:
        print("".join(_line({**a, **_plain(model, row)}) for a, row in zip(about, rows, strict=True)), end="")
        return 0
    if out.suffix == ".png":
        shown = [{**row, **a["sources"]} for row, a in zip(rows, about, strict=True)]
        names = pictures.visible(model.columns, model.targets)
        words = [n for n in (*model.sources, *model.targets) if n not in names]
        whole = {**about[0], "sources": prompts}
        del whole["index"]
        pictures.save(pictures.sheet(shown, names, words, args.n), out, whole)
    elif out.suffix == ".jsonl":
        pictures.put(out, "".join(_line({**a, **_plain(model, row)}) for a, row in zip(about, rows, strict=True)).encode())
    else:
        _files(model, rows, about, out)
    print(f"{args.out or out}: {len(rows)} drawn in {seconds:.1f} s ({loaded - began:.1f} s to load)")
    return 0


def _read(argv: Sequence[str]) -> tuple[Parser, Namespace]:
    """The command line; the knobs are those of the run's family."""
    parser = Parser("sample", f"{__doc__} Any subset of its sources may be given.",
                    usage="likewise sample RUN [TEXT ...] [--given NAME=VALUE ...] [options]")
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="values for the model's text source, each drawn -n times")
    parser.add_argument("--given", action="append", default=[], metavar="NAME=VALUE",
                        help="the value of a source, for a picture its file; may be given several times")
    parser.add_argument("-n", "--n", type=int, default=4, metavar="N", help="draws a text (default 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other draws (default 0)")
    parser.add_argument("--out", metavar="FILE", help=f"a .png (default {OUT}), a .jsonl of values, or a folder, with a slash at "
                        "the end, for a file a draw")
    parser.derive("knobs", [family_class(parser.family(argv)).sample])
    return parser, parser.read(argv)


# ---- what is asked


def _prompts(model: Model, texts: Sequence[str], given: dict[str, str]) -> list[dict[str, str]]:
    """The sources of each prompt, as they were written."""
    for name in given:
        if name not in model.sources:
            raise ValueError(unknown("source", name, model.sources))
    if not texts:
        return [given]
    open_ = [n for n in model.sources if model.columns[n].kind == "text" and n not in given]
    if len(open_) != 1:
        others = " ".join(f"--given {n}=..." for n in model.sources) or "nothing: it draws by itself"
        count = f"{len(open_)} text sources" if open_ else "no text source that is not given already"
        raise ValueError(f"{str(model.formula)!r} has {count}, so it is not clear what {texts[0]!r} is for; give it {others}")
    return [{open_[0]: text, **given} for text in texts]


def _values(model: Model, prompt: dict[str, str]) -> Row:
    """The values of the sources as they were written: of a picture, its file. Words that are new to the model go to stderr."""
    values = {}
    for name, written in prompt.items():
        column = model.columns[name]
        values[name] = column.parse(written) if column.media_type.startswith("text/") else column.load(Path(written).read_bytes())
        new = column.unseen(written) if hasattr(column, "unseen") else []
        if new:
            print(f"note: no text that the model learned from has {', '.join(map(repr, new))}", file=sys.stderr)
    return model.given(**values).sources


def _out(model: Model, asked: str | None) -> Path | None:
    """Where the draws go; None for values that are printed. Raises ValueError for a name that nothing can be written to."""
    visible = pictures.visible(model.columns, model.targets)
    if asked is None:
        return Path(OUT) if visible else None
    out = Path(asked)
    if asked.endswith("/") or out.is_dir():
        if out.suffix in (".png", ".jsonl"):
            raise ValueError(f"--out {asked}: a folder should not be called so; write a name without {out.suffix}")
        return out
    if out.suffix == ".png" and not visible:
        raise ValueError(f"--out {asked}: {str(model.formula)!r} draws no pictures; write a name that ends in .jsonl")
    if out.suffix not in (".png", ".jsonl"):
        raise ValueError(f"--out {asked}: write a name that ends in .png or .jsonl, or a folder with a slash at its end: {asked}/")
    return out


# ---- what is written


def _files(model: Model, rows: Sequence[Row], about: Sequence[Row], folder: Path) -> None:
    """A file for each draw and target (text targets only where there is no picture), and samples.jsonl with a line for each."""
    names = pictures.visible(model.columns, model.targets) or model.targets
    lines, stems = [], list(_stems(about))
    for row, a, stem in zip(rows, about, stems, strict=True):
        for name in names:
            column = model.columns[name]
            path = folder / f"{stem}{f'-{name}' if len(names) > 1 else ''}{column.suffix}"
            if name in pictures.visible(model.columns, [name]):
                pictures.save(row[name], path, a)
            else:
                pictures.put(path, column.dump(row[name]))
            lines.append(_line({"file": path.name, "column": name, **a, **_plain(model, row)}))
    pictures.put(folder / "samples.jsonl", "".join(lines).encode())


def _stems(about: Sequence[Row]) -> Iterator[str]:
    """Names of files, by prompt and index: truck-alert-0, truck-alert-1, ..., another prompt of that name: truck-alert.2-0."""
    prompts: dict[str, list[Row]] = {}
    for a in about:
        slug = re.sub(r"\W+", "-", "-".join(a["sources"].values()).lower()).strip("-")[:60] or "sample"
        same = prompts.setdefault(slug, [])
        if a["index"] == 0:
            same.append(a)
        yield f"{slug}{f'.{len(same)}' if len(same) > 1 else ''}-{a['index']}"


def _plain(model: Model, row: Row) -> Row:
    """The targets that JSON can hold."""
    hidden = pictures.visible(model.columns, model.targets)
    return {n: row[n] for n in model.targets if n not in hidden}


def _line(values: Row) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


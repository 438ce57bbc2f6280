"""Draw from a trained model."""

from __future__ import annotations

import json
import re
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from likewise import __version__, pictures, prompts
from likewise.families import family_class
from likewise.flags import Parser, pairs
from likewise.formula import unknown
from likewise.model import Model, Row
from likewise.prompts import Prompt

OUT = "samples.png"


def run(argv: Sequence[str]) -> int:
    """`likewise sample RUN [TEXT ...]`."""
    parser, args = _read(argv)
    began = time.perf_counter()
    model = Model.load(args.run)
    asked = _asked(model, args.texts, pairs(args.given, "--given"))
    sources = [_values(model, prompt) for prompt in asked]
    out = _out(model, args.out)
    if args.n < 1:
        raise ValueError(f"-n must be at least 1, not {args.n}")
    knobs = parser.given(args, "knobs")
    loaded = time.perf_counter()
    wanted = [row for row in sources for _ in range(args.n)]
    places = list(range(args.n)) * len(asked)       # its place in its prompt seeds a draw
    rows = model.sample(wanted, seed=args.seed, indices=places, **knobs)
    drawn = time.perf_counter()
    knobs = {n: p.default for n, p in type(model.family).knobs().items()} | knobs
    about = [{"model": str(args.run), "formula": str(model.formula), "sources": prompt, "seed": args.seed,
              "index": i, "knobs": knobs, "version": __version__}
             for prompt in asked for i in range(args.n)]
    if out is None:
        print(_lines(model, rows, about), end="")
        return 0
    if out.suffix == ".png":
        _grid(model, rows, about, asked, out)
    elif out.suffix == ".jsonl":
        pictures.put(out, _lines(model, rows, about).encode())
    else:
        _files(model, rows, about, out)
    print(f"{args.out or out}: {len(rows)} drawn in {drawn - loaded:.1f} s, loaded in {loaded - began:.1f} s")
    return 0


def _read(argv: Sequence[str]) -> tuple[Parser, Namespace]:
    """The command line; the knobs are those of the run's family."""
    parser = Parser("sample", f"{__doc__} Any subset of its sources may be given.",
                    usage="likewise sample RUN [TEXT ...] [--given NAME=VALUE ...] [options]")
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run")
    parser.add_argument("texts", nargs="*", metavar="TEXT",
                        help="values of the model's text source; an ending ', VALUE COLUMN' gives a label "
                             "source: 'red apple, flat style'")
    parser.add_argument("--given", action="append", default=[], metavar="NAME=VALUE",
                        help="the value of a source, for a picture its file; may be given several times")
    parser.add_argument("-n", "--n", type=int, default=4, metavar="N", help="draws of each text (default 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another, other draws (default 0)")
    parser.add_argument("--out", metavar="FILE",
                        help=f"a .png for a grid (default {OUT}), a .jsonl for values, a folder/ for files")
    parser.derive("knobs", [family_class(parser.family(argv)).sample])
    return parser, parser.read(argv)


# ---- what is asked


def _asked(model: Model, texts: Sequence[str], given: Prompt) -> list[Prompt]:
    """The sources of each prompt."""
    for name in given:
        if name not in model.sources:
            raise ValueError(unknown("source", name, model.sources))
    if not texts:
        return [given]
    free = [n for n in model.sources if model.columns[n].kind == "text" and n not in given]
    if len(free) != 1:
        none = "no text source that is not given already" if given else "no text source"
        what = "several text sources" if free else none
        advice = " ".join(f"--given {n}=..." for n in model.sources) or "nothing, it draws by itself"
        raise ValueError(f"{str(model.formula)!r} has {what}, so it is not clear what {texts[0]!r} is for; "
                         f"give it {advice}")
    return [_read_text(model, free[0], text, given) for text in texts]


def _read_text(model: Model, name: str, text: str, given: Prompt) -> Prompt:
    """The sources that one text gives, beside those that are given anyway."""
    rest, labels = prompts.split(text, model.columns, model.sources)
    for label in labels:
        if label in given:
            raise ValueError(f"both --given and {text!r} say {label}; say it once")
    plain = prompts.worded(rest, model.columns[name])
    if plain != rest:
        print(f"note: {rest!r} is read as {plain!r}, as the texts that the model learned from are written",
              file=sys.stderr)
    return {name: plain, **labels, **given}


def _values(model: Model, prompt: Prompt) -> Row:
    """The values that were written: of a picture, its file. Words new to the model are named on stderr."""
    values = {}
    for name, written in prompt.items():
        column = model.columns[name]
        plain = column.media_type.startswith("text/")
        values[name] = column.parse(written) if plain else column.load(Path(written).read_bytes())
        if new := column.unseen(written) if hasattr(column, "unseen") else []:
            words = ", ".join(map(repr, new))
            print(f"note: no text that the model learned from has {words}", file=sys.stderr)
    return model.given(**values).sources


def _out(model: Model, asked: str | None) -> Path | None:
    """Where the draws go, None: they are printed. Raises ValueError for a name that cannot take them."""
    visible, formula = pictures.visible(model.columns, model.targets), str(model.formula)
    if asked is None:
        return Path(OUT) if visible else None
    out = Path(asked)
    if asked.endswith("/") or out.is_dir():
        if out.suffix in (".png", ".jsonl"):
            raise ValueError(f"--out {asked}: a folder should not be called so; leave {out.suffix} out")
    elif out.suffix == ".png" and not visible:
        raise ValueError(f"--out {asked}: {formula!r} draws no pictures; write a name that ends in .jsonl")
    elif out.suffix == ".jsonl" and visible == model.targets:
        raise ValueError(f"--out {asked}: {formula!r} draws pictures only; write a name ending in .png, or "
                         f"a folder: {out.stem}/")
    elif out.suffix not in (".png", ".jsonl"):
        raise ValueError(f"--out {asked}: write a name that ends in .png or .jsonl, or a folder: {asked}/")
    return out


# ---- what is written


def _grid(model: Model, rows: Sequence[Row], about: Sequence[Row], prompts: Sequence[Prompt],
          out: Path) -> None:
    """A line of pictures for each prompt, which is under the first; other targets are under their own."""
    names = pictures.visible(model.columns, model.targets)
    others = [n for n in model.targets if n not in names]
    captions = []
    for row, a in zip(rows, about, strict=True):
        prompt = pictures.caption(a["sources"], model.sources) if a["index"] == 0 else ""
        captions.append(": ".join(filter(None, (prompt, pictures.caption(row, others)))))
    whole = {**{k: v for k, v in about[0].items() if k != "index"}, "sources": prompts}
    pictures.save(pictures.sheet(rows, names, captions, len(rows) // len(prompts)), out, whole)


def _files(model: Model, rows: Sequence[Row], about: Sequence[Row], folder: Path) -> None:
    """A file for each picture, or for each other target if there is none, and samples.jsonl, a line each."""
    visible = pictures.visible(model.columns, model.targets)
    lines = []
    for row, a, stem in zip(rows, about, _stems(about), strict=True):
        for name in visible or model.targets:
            column = model.columns[name]
            path = folder / f"{stem}{f'-{name}' if len(visible or model.targets) > 1 else ''}{column.suffix}"
            if name in visible:
                pictures.save(row[name], path, a)
            else:
                pictures.put(path, column.dump(row[name]))
            lines.append(_lines(model, [row], [{"file": path.name, "column": name, **a}]))
    pictures.put(folder / "samples.jsonl", "".join(lines).encode())


def _stems(about: Sequence[Row]) -> Iterator[str]:
    """Names of files by prompt and index: red-bar-0, red-bar-1; for another prompt like it red-bar.2-0."""
    times: dict[str, int] = {}
    for a in about:
        slug = re.sub(r"\W+", "-", "-".join(a["sources"].values()).lower()).strip("-")[:60] or "sample"
        times[slug] = times.get(slug, 0) + (a["index"] == 0)
        yield f"{slug}{f'.{times[slug]}' if times[slug] > 1 else ''}-{a['index']}"


def _lines(model: Model, rows: Sequence[Row], about: Sequence[Row]) -> str:
    """JSON lines: how each draw came to be, and its targets but for pictures."""
    plain = [n for n in model.targets if n not in pictures.visible(model.columns, model.targets)]
    lines = ({**a, **{n: row[n] for n in plain}} for row, a in zip(rows, about, strict=True))
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

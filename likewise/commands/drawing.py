"""What the commands that draw share: the words of the line, what they stand for, the files left behind."""

from __future__ import annotations

import json
import re
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from likewise import __version__, pictures
from likewise.chain import Chain, load
from likewise.flags import Parser, pairs
from likewise.formula import distinct, unknown
from likewise.modalities import Modality, Row, Text
from likewise.model import Model
from likewise.prompts import Prompt, split, worded

TEXTS = (
    "values of the model's text source; an ending ', VALUE COLUMN' gives a label source: "
    "'red apple, flat style'"
)
RUN = "the folder of a run, or emoji, the model that comes with likewise"
SUFFIXES = (".png", ".jsonl")


@dataclass(frozen=True)
class Asked:
    """A command line that was read: its options, the knobs among them, the model, and how long it took."""

    args: Namespace
    knobs: Row
    model: Model | Chain
    seconds: float

    @property
    def negative(self) -> Row | None:
        """The sources that guidance goes away from."""
        words = [
            named
            for w in self.args.negative
            for named in (
                [w]
                if re.match(r"[\w.@-]+(\[[^\]]*\])?=", w)
                else [f"{name}={w}" for name in text_sources(self.model, w, {})]
            )
        ]
        return values(self.model, pairs(words, "--negative")) if words else None

    def known(self, but: Sequence[str] = ()) -> Row:
        """What is made and --known gives. Raises ValueError for a name that is not, or one of `but`."""
        made = self.model.made
        return {
            name: value(made[name], written)
            for name, written in named(
                pairs(self.args.known, "--known"), "target", [n for n in made if n not in but]
            ).items()
        }

    def about(self, index: int, sources: Prompt, **more: Any) -> Row:
        """How a draw came to be; what is None is left out."""
        model, negative = self.model, self.args.negative
        known = pairs(getattr(self.args, "known", []), "--known")
        knobs = {n: p.default for n, p in model.knobs().items()} | self.knobs
        return {
            "model": str(self.args.run),
            "formula": str(model.formula),
            "sources": sources,
            **{n: v for n, v in {"negative": negative, "known": known}.items() if v},
            **{n: v for n, v in more.items() if v is not None},
            "index": index,
            "knobs": knobs,
            "version": __version__,
        }


def parser(command: str, about: str | None, usage: str, argv: Sequence[str], words: str) -> Parser:
    """The options that all have; the knobs are those of the run's family."""
    parser = Parser(
        command,
        f"{about} Any subset of the model's sources may be given.",
        usage=f"likewise {command} RUN {usage} [--given NAME=VALUE ...] [options]",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help=RUN)
    parser.add_argument("words", nargs="*", metavar=usage.split()[0].strip("[]"), help=words)
    parser.add_argument(
        "--given",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a source, for a picture its file; may be given several times",
    )
    parser.add_argument(
        "--negative",
        action="append",
        default=[],
        metavar="TEXT",
        help="what not to draw, a text or NAME=VALUE of a source: guidance goes away from it",
    )
    parser.derive_knobs(argv)
    return parser


def several(parser: Parser, out: str) -> None:
    """The options of a command that draws several for each prompt; `out` is where they go."""
    parser.add_argument("-n", "--n", type=int, default=4, metavar="N", help="draws of each text (default 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another, other draws (default 0)")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=f"a .png for a grid (default {out}), a .jsonl for values, a folder/ for files",
    )


def stops(parser: Parser) -> None:
    """The option that says where texts end."""
    parser.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="of a model that writes: where what is written ends; may be given several times",
    )


def known(parser: Parser) -> None:
    """The option that gives targets."""
    parser.add_argument(
        "--known",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a target, which is kept; may be given several times",
    )


def read(parser: Parser, argv: Sequence[str]) -> Asked:
    """The command line and its model."""
    args, began = parser.read(argv), time.perf_counter()
    model = load(args.run)
    return Asked(args, parser.given(args, "knobs"), model, time.perf_counter() - began)


def draw(
    asked: Asked,
    texts: Sequence[str],
    default: str,
    shown: PIL.Image.Image | None = None,
    more: Mapping[str, Any] | None = None,
    **ways: Any,
) -> int:
    """Draw -n of each prompt and write them; `ways` are keywords of Model.sample.

    `shown` is the picture that they come from; `more` of how they came to be goes into the files.
    """
    model, args = asked.model, asked.args
    prompts = prompts_of(model, texts, pairs(args.given, "--given"))
    sources = [values(model, prompt) for prompt in prompts]
    out = place(model, args.out, default)
    if args.n < 1:
        raise ValueError(f"-n must be at least 1, not {args.n}")
    began = time.perf_counter()
    wanted = [row for row in sources for _ in range(args.n)]
    places = list(range(args.n)) * len(prompts)  # its place in its prompt seeds a draw
    rows = model.sample(
        wanted, seed=args.seed, indices=places, negative=asked.negative, **ways, **asked.knobs
    )
    seconds = time.perf_counter() - began
    about = [
        asked.about(i, prompt, seed=args.seed, **(more or {})) for prompt in prompts for i in range(args.n)
    ]
    captions = [pictures.caption(a["sources"], model.sources) if a["index"] == 0 else "" for a in about]
    write(asked, out, rows, about, captions, {**about[0], "sources": prompts}, seconds, len(prompts), shown)
    return 0


# ---- what is asked


def prompts_of(model: Model, texts: Sequence[str], given: Prompt) -> list[Prompt]:
    """The sources of each prompt."""
    named(given, "source", model.sources)
    return [_read_text(model, text, given) for text in texts] or [given]


def _read_text(model: Model, text: str, given: Prompt) -> Prompt:
    """The sources that one text gives, beside those that are given anyway."""
    names = text_sources(model, text, given)
    rest, labels = split(text, model.columns, model.sources)
    for label in labels:
        if label in given:
            raise ValueError(f"both --given and {text!r} say {label}; say it once")
    learned = [model.columns[n] for n in names if isinstance(model.columns[n], Text)]
    plain = worded(rest, learned[0]) if learned else rest  # a frozen encoder has read texts of all kinds
    if plain != rest:
        print(
            f"note: {rest!r} is read as {plain!r}, as the texts that the model learned from are written",
            file=sys.stderr,
        )
    return {**dict.fromkeys(names, plain), **labels, **given}


def text_sources(model: Model, text: str, given: Prompt) -> list[str]:
    """The text source that is not given, all its views. Raises ValueError for none, or several."""
    free = [n for n in model.sources if model.columns[n].kind == "text" and n not in given]
    if len(distinct(free)) != 1:
        none = "no text source that is not given already" if given else "no text source"
        what = "several text sources" if free else none
        advice = " ".join(f"--given {n}=..." for n in model.sources) or "nothing, it draws by itself"
        raise ValueError(
            f"{str(model.formula)!r} has {what}, so it is not clear what {text!r} is for; give it {advice}"
        )
    return free


def named(given: Prompt, what: str, names: Sequence[str]) -> Prompt:
    """The same, if every name is one of `names`. Raises ValueError with the nearest."""
    for name in given:
        if name not in names:
            raise ValueError(unknown(what, name, names))
    return given


def values(model: Model, prompt: Prompt) -> Row:
    """The sources that were written. Words that are new to the model are named on stderr."""
    found = {}
    for name, written in named(prompt, "source", model.sources).items():
        column = model.columns[name]
        found[name] = value(column, written)
        if new := column.unseen(written) if hasattr(column, "unseen") else []:
            words = ", ".join(map(repr, new))
            print(f"note: no text that the model learned from has {words}", file=sys.stderr)
    return model.given(**found).sources


def value(column: Modality, written: str) -> Any:
    """The value that was written: of a picture, its file, which an error names."""
    if column.media_type.startswith("text/"):
        return column.parse(written)
    try:
        return column.parse(written)
    except OSError as error:
        raise ValueError(f"{written}: {(error.strerror or str(error)).lower()}; name a file") from None
    except ValueError as error:
        raise ValueError(f"{written}: {error}") from None


def pictured(asked: Asked, verb: str, advice: str) -> tuple[str, str, list[str]]:
    """The target that is a picture, the file of one, which is the first word, and the texts after it.

    Raises ValueError where the model draws no picture, or several, or no file is named.
    """
    names, formula = pictures.visible(asked.model.columns, asked.model.targets), str(asked.model.formula)
    if len(names) != 1:
        raise ValueError(
            f"likewise {verb} begins with a picture, and {formula!r} draws "
            f"{'several' if names else 'none'}; {advice}"
        )
    if not asked.args.words:
        raise ValueError(f"name a picture: likewise {verb} {asked.args.run} PICTURE")
    return names[0], asked.args.words[0], asked.args.words[1:]


def place(model: Model, asked: str | None, default: str, *more: str) -> Path | None:
    """Where the draws go, None: they are printed. Raises ValueError for a name that cannot take them.

    `more` are suffixes of further files of pictures that can be written.
    """
    visible, formula = pictures.visible(model.columns, model.targets), str(model.formula)
    if asked is None:
        return Path(default) if visible else None
    out = Path(asked)
    known = (*SUFFIXES, *more)
    if asked.endswith("/") or out.is_dir():
        if out.suffix in known:
            raise ValueError(f"--out {asked}: a folder should not be called so; leave {out.suffix} out")
    elif out.suffix in (".png", *more) and not visible:
        raise ValueError(f"--out {asked}: {formula!r} draws no pictures; write a name that ends in .jsonl")
    elif out.suffix == ".jsonl" and visible == model.targets:
        raise ValueError(
            f"--out {asked}: {formula!r} draws pictures only; write a name ending in .png, or "
            f"a folder: {out.stem}/"
        )
    elif out.suffix not in known:
        raise ValueError(
            f"--out {asked}: write a name that ends in {' or '.join(known)}, or a folder: {asked}/"
        )
    return out


# ---- what is written


def write(
    asked: Asked,
    out: Path | None,
    rows: Sequence[Row],
    about: Sequence[Row],
    captions: Sequence[str],
    whole: Row,
    seconds: float,
    lines: int = 1,
    shown: PIL.Image.Image | None = None,
) -> None:
    """Print the draws, or write them to `out`: a grid of so many lines, an animation, a list, a folder.

    `about` says of each how it came to be, and `whole` of all.
    """
    model = asked.model
    if out is None:
        print(_lines(model, rows, about), end="")
        return
    if out.suffix in (".png", ".gif"):
        whole = {k: v for k, v in whole.items() if k != "index"}
        names = pictures.visible(model.columns, model.targets)
        others = [n for n in model.targets if n not in names]
        captions = [
            ": ".join(filter(None, (caption, pictures.caption(row, others))))
            for row, caption in zip(rows, captions, strict=True)
        ]
        if out.suffix == ".gif":
            frames = [pictures.sheet([row], names, [""], 1) for row in rows]
            pictures.animate(frames, out, whole)
        else:
            cells, across = list(rows), len(rows) // lines
            if shown is not None:  # before each line
                for at in range(len(rows) - across, -1, -across):
                    cells.insert(at, {names[0]: shown})
                    captions.insert(at, "given")
            pictures.save(pictures.sheet(cells, names, captions, len(cells) // lines), out, whole)
    elif out.suffix == ".jsonl":
        pictures.put(out, _lines(model, rows, about).encode())
    else:
        _files(model, rows, about, out)
    print(f"{asked.args.out or out}: {len(rows)} drawn in {seconds:.1f} s, loaded in {asked.seconds:.1f} s")


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
    return "".join(json.dumps(line, ensure_ascii=False, default=np.ndarray.tolist) + "\n" for line in lines)

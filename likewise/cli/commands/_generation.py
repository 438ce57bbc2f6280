"""What the commands that draw share: the words of the line, what they stand for, the files left behind."""

from __future__ import annotations

import json
import re
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from likewise import __version__
from likewise.cli.flags import Parser, parse_pairs
from likewise.core.files import atomic_write
from likewise.modalities.base import Row
from likewise.models.io import load
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.models.prompts import SourceStrings
from likewise.models.requests import check_names, parse_prompts, parse_sources, parse_value, text_sources
from likewise.viz import images

TEXTS = (
    "values of the model's text source; an ending ', VALUE COLUMN' gives a label source: "
    "'red apple, flat style'"
)
RUN = "the folder of a run, or emoji, the model that comes with likewise"
SUFFIXES = (".png", ".jsonl")


@dataclass(frozen=True)
class Request:
    """A command line that was read: its options, the knobs among them, the model, and how long it took."""

    args: Namespace
    sampling_options: Row
    model: Model | Pipeline
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
        return parse_sources(self.model, parse_pairs(words, "--negative")) if words else None

    def known(self, but: Sequence[str] = ()) -> Row:
        """What is made and --known gives. Raises ValueError for a name that is not, or one of `but`."""
        made = self.model.target_columns
        return {
            name: parse_value(made[name], written)
            for name, written in check_names(
                parse_pairs(self.args.known, "--known"), "target", [n for n in made if n not in but]
            ).items()
        }

    def about(self, index: int, sources: SourceStrings, **more: Any) -> Row:
        """How a draw came to be; what is None is left out."""
        model, negative = self.model, self.args.negative
        known = parse_pairs(getattr(self.args, "known", []), "--known")
        sampling_options = {n: p.default for n, p in model.sampling_options().items()} | self.sampling_options
        return {
            "model": str(self.args.run),
            "formula": str(model.formula),
            "sources": sources,
            **{n: v for n, v in {"negative": negative, "known": known}.items() if v},
            **{n: v for n, v in more.items() if v is not None},
            "index": index,
            "options": sampling_options,
            "version": __version__,
        }


def make_parser(command: str, about: str | None, usage: str, argv: Sequence[str], words: str) -> Parser:
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
    parser.add_sampling_options(argv)
    return parser


def add_sample_options(parser: Parser, out: str) -> None:
    """The options of a command that draws several for each prompt; `out` is where they go."""
    parser.add_argument("-n", "--n", type=int, default=4, metavar="N", help="draws of each text (default 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another, other draws (default 0)")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=f"a .png for a grid (default {out}), a .jsonl for values, a folder/ for files",
    )


def add_stop_option(parser: Parser) -> None:
    """The option that says where texts end."""
    parser.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="of a model that writes: where what is written ends; may be given several times",
    )


def add_known_option(parser: Parser) -> None:
    """The option that gives targets."""
    parser.add_argument(
        "--known",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a target, which is kept; may be given several times",
    )


def parse_request(parser: Parser, argv: Sequence[str]) -> Request:
    """The command line and its model."""
    args, began = parser.read(argv), time.perf_counter()
    model = load(args.run)
    return Request(args, parser.values_of(args, "sampling"), model, time.perf_counter() - began)


def run_samples(
    asked: Request,
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
    prompts = parse_prompts(model, texts, parse_pairs(args.given, "--given"))
    sources = [parse_sources(model, prompt) for prompt in prompts]
    out = output_path(model, args.out, default)
    if args.n < 1:
        raise ValueError(f"-n must be at least 1, not {args.n}")
    began = time.perf_counter()
    wanted = [row for row in sources for _ in range(args.n)]
    places = list(range(args.n)) * len(prompts)  # its place in its prompt seeds a draw
    rows = model.sample(
        wanted, seed=args.seed, indices=places, negative=asked.negative, **ways, **asked.sampling_options
    )
    seconds = time.perf_counter() - began
    about = [
        asked.about(i, prompt, seed=args.seed, **(more or {})) for prompt in prompts for i in range(args.n)
    ]
    captions = [images.caption(a["sources"], model.sources) if a["index"] == 0 else "" for a in about]
    write_samples(
        asked, out, rows, about, captions, {**about[0], "sources": prompts}, seconds, len(prompts), shown
    )
    return 0


def image_request(asked: Request, verb: str, advice: str) -> tuple[str, str, list[str]]:
    """The target that is a picture, the file of one, which is the first word, and the texts after it.

    Raises ValueError where the model draws no picture, or several, or no file is named.
    """
    names, formula = images.visual_columns(asked.model.columns, asked.model.targets), str(asked.model.formula)
    if len(names) != 1:
        raise ValueError(
            f"likewise {verb} begins with a picture, and {formula!r} draws "
            f"{'several' if names else 'none'}; {advice}"
        )
    if not asked.args.words:
        raise ValueError(f"name a picture: likewise {verb} {asked.args.run} PICTURE")
    return names[0], asked.args.words[0], asked.args.words[1:]


def output_path(model: Model, asked: str | None, default: str, *more: str) -> Path | None:
    """Where the draws go, None: they are printed. Raises ValueError for a name that cannot take them.

    `more` are suffixes of further files of pictures that can be written.
    """
    visible, formula = images.visual_columns(model.columns, model.targets), str(model.formula)
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


def write_samples(
    asked: Request,
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
        names = images.visual_columns(model.columns, model.targets)
        others = [n for n in model.targets if n not in names]
        captions = [
            ": ".join(filter(None, (caption, images.caption(row, others))))
            for row, caption in zip(rows, captions, strict=True)
        ]
        if out.suffix == ".gif":
            frames = [images.sheet(model.columns, [row], names, [""], 1) for row in rows]
            images.save_animation(frames, out, whole)
        else:
            cells, across = list(rows), len(rows) // lines
            if shown is not None:  # before each line
                for at in range(len(rows) - across, -1, -across):
                    cells.insert(at, {names[0]: shown})
                    captions.insert(at, "given")
            images.save(images.sheet(model.columns, cells, names, captions, len(cells) // lines), out, whole)
    elif out.suffix == ".jsonl":
        atomic_write(out, _lines(model, rows, about).encode())
    else:
        _files(model, rows, about, out)
    print(f"{asked.args.out or out}: {len(rows)} drawn in {seconds:.1f} s, loaded in {asked.seconds:.1f} s")


def _files(model: Model, rows: Sequence[Row], about: Sequence[Row], folder: Path) -> None:
    """A file for each picture, or for each other target if there is none, and samples.jsonl, a line each."""
    visible = images.visual_columns(model.columns, model.targets)
    lines = []
    for row, a, stem in zip(rows, about, _stems(about), strict=True):
        for name in visible or model.targets:
            column = model.columns[name]
            path = folder / f"{stem}{f'-{name}' if len(visible or model.targets) > 1 else ''}{column.suffix}"
            atomic_write(path, column.dump(row[name], a))
            lines.append(_lines(model, [row], [{"file": path.name, "column": name, **a}]))
    atomic_write(folder / "samples.jsonl", "".join(lines).encode())


def _stems(about: Sequence[Row]) -> Iterator[str]:
    """Names of files by prompt and index: red-bar-0, red-bar-1; for another prompt like it red-bar.2-0."""
    times: dict[str, int] = {}
    for a in about:
        slug = re.sub(r"\W+", "-", "-".join(a["sources"].values()).lower()).strip("-")[:60] or "sample"
        times[slug] = times.get(slug, 0) + (a["index"] == 0)
        yield f"{slug}{f'.{times[slug]}' if times[slug] > 1 else ''}-{a['index']}"


def _lines(model: Model, rows: Sequence[Row], about: Sequence[Row]) -> str:
    """JSON lines: how each draw came to be, and its targets but for pictures."""
    plain = [n for n in model.targets if n not in images.visual_columns(model.columns, model.targets)]
    lines = ({**a, **{n: row[n] for n in plain}} for row, a in zip(rows, about, strict=True))
    return "".join(json.dumps(line, ensure_ascii=False, default=np.ndarray.tolist) + "\n" for line in lines)

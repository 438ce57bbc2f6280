"""Fill the hole of a picture or a text, or draw the targets of a row that are not known."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

import numpy as np
import PIL.Image

from likewise.cli.commands import sample
from likewise.cli.commands._generation import (
    Request,
    add_known_option,
    add_sample_options,
    add_stop_option,
    image_request,
    make_parser,
    parse_request,
    run_samples,
)
from likewise.core.formula import View
from likewise.modalities import image
from likewise.modalities.base import Modality, Row
from likewise.modalities.image import Image
from likewise.modalities.latent import Latent, is_embedding
from likewise.models.requests import parse_value
from likewise.models.text_prompt import is_single_text
from likewise.viz import images

OUT = "infilled.png"
HOLES = (
    "make a part of it transparent, or give --mask FILE.png, --box X0,Y0,X1,Y1 or --pad LEFT,TOP,RIGHT,BOTTOM"
)


def run(argv: Sequence[str]) -> int:
    """`likewise infill RUN [PICTURE [TEXT ...]]`."""
    parser = make_parser(
        "infill",
        f"{__doc__} What is known stays; the hole is what is transparent, and "
        "what --mask, --box and --pad add to it.",
        "[PICTURE [TEXT ...]]",
        argv,
        "the file of a picture, then values of the model's text source",
    )
    parser.add_argument(
        "--mask", metavar="FILE", help="a picture of the same size, white or transparent where to draw anew"
    )
    parser.add_argument("--box", metavar="X0,Y0,X1,Y1", help="pixels to draw anew: X0 up to X1, Y0 up to Y1")
    parser.add_argument(
        "--pad",
        metavar="LEFT,TOP,RIGHT,BOTTOM",
        help="pixels to draw around the picture, which becomes smaller",
    )
    parser.add_argument("--prefix", metavar="TEXT", help="of a model that writes: what is before the hole")
    parser.add_argument("--suffix", metavar="TEXT", help="and after it")
    add_stop_option(parser)
    add_known_option(parser)
    add_sample_options(parser, OUT)
    asked = parse_request(parser, argv)
    model, args = asked.model, asked.args
    places = {n: getattr(args, n) for n in ("mask", "box", "pad")}
    if args.prefix is not None or args.suffix is not None:
        return _between(asked)
    if args.stop:
        raise ValueError("--stop is for the hole of a text: name what is around it, --prefix and --suffix")
    drawn = images.visual_columns(model.columns, model.targets)
    if (not args.words and args.known) or not drawn:  # there is no picture that is partly known
        if used := [n for n, v in places.items() if v]:
            raise ValueError(
                f"--{used[0]} is of a picture, and "
                f"{'none is named' if drawn else f'{str(model.formula)!r} draws none'}"
            )
        return _rest(asked, asked.known(), args.words)
    name, file, texts = image_request(asked, "infill", "give what is known: --known NAME=VALUE")
    known, column = asked.known(but=[name]), _picture(model.columns[name])
    picture = parse_value(column, file)
    small, holds = _fitted(column, picture, args)
    known = _smaller(asked, name, picture) | known
    if holds.all():
        known[name] = small
        if set(known) >= set(model.targets):
            raise ValueError(f"{file} has no hole; {HOLES}")
    elif not (holds.any() or known):
        raise ValueError(f"the hole is all of {file}, so nothing is known: draw with likewise sample")
    else:
        known[name] = small, holds
    blank = PIL.Image.new(small.mode, small.size, "grey")
    shown = PIL.Image.composite(small, blank, PIL.Image.fromarray(holds))
    return run_samples(asked, texts, OUT, shown, {"picture": file, **places}, known=known)


def _between(asked: Request) -> int:
    """Write what stands between two parts of a text."""
    model, args = asked.model, asked.args
    if not is_single_text(model.target_columns):
        raise ValueError(
            "--prefix and --suffix are for a model whose one target is a text, and this one is "
            f"of {str(model.formula)!r}"
        )
    if used := [n for n in ("mask", "box", "pad", "known") if getattr(args, n)]:
        raise ValueError(f"--{used[0]} has no place beside --prefix and --suffix; leave it out")
    if args.words:
        raise ValueError(
            f"{args.words[0]!r} is one word too many beside --prefix and --suffix; sources are "
            "given as --given NAME=VALUE"
        )
    return sample.write(asked, [(args.prefix or "", args.suffix or "")], {})


def _rest(asked: Request, known: Row, texts: Sequence[str]) -> int:
    """Draw the targets that are not known."""
    names = asked.model.targets
    if not known and is_single_text(asked.model.target_columns):
        raise ValueError("nothing is known: say what stands before and after, --prefix ... --suffix ...")
    if not known:
        raise ValueError(
            f"nothing is known: {str(asked.model.formula)!r} draws no picture, so say "
            f"{' or '.join(f'--known {n}=...' for n in names)}"
        )
    if set(known) >= set(names):
        raise ValueError(f"every target is known, so there is nothing to draw; leave --known {names[-1]} out")
    return run_samples(asked, texts, OUT, known=known)


# ---- the hole


def _smaller(asked: Request, name: str, picture: PIL.Image.Image) -> Row:
    """What holds of the pictures that a chain makes of the same column on the way to `name`."""
    ways = {
        n: c for n, c in asked.model.target_columns.items() if View.parse(n).column == View.parse(name).column
    }
    found = {
        n: _fitted(_picture(c), picture, asked.args, quiet=True)
        for n, c in ways.items()
        if n != name and not is_embedding(c)
    }
    return {n: (small, holds) for n, (small, holds) in found.items() if holds.any()}


def _picture(column: Modality) -> Image:
    """What its values are, if it is seen through a model."""
    return column.base if isinstance(column, Latent) else column


def _fitted(
    column: Image, picture: PIL.Image.Image, args: Namespace, quiet: bool = False
) -> tuple[PIL.Image.Image, np.ndarray]:
    """The picture at the model's size, and which of its pixels hold. Raises ValueError.

    --mask and --box are in the picture's own pixels, and --pad is around it.
    """
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    hole = _transparent(picture)
    if args.mask:
        hole |= _painted(column, args.mask, picture.size)
    if args.box:
        x0, y0, x1, y1 = _numbers("--box", args.box)
        width, height = picture.size
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(
                f"--box {args.box} is no part of a picture of {width} x {height} pixels; write "
                f"X0,Y0,X1,Y1 with 0 <= X0 < X1 <= {width} and 0 <= Y0 < Y1 <= {height}"
            )
        hole[y0:y1, x0:x1] = True
    if args.pad:
        left, top, right, bottom = sides = _numbers("--pad", args.pad)
        if min(sides) < 0 or not any(sides):
            raise ValueError(
                f"--pad {args.pad}: write how many pixels to draw on the left, above, on the "
                "right and below, such as --pad 8,8,8,8"
            )
        hole = np.pad(hole, ((top, bottom), (left, right)), constant_values=True)
        canvas = PIL.Image.new(picture.mode, (picture.width + left + right, picture.height + top + bottom))
        canvas.paste(picture, (left, top))
        picture = canvas
    if picture.width * column.height != picture.height * column.width and not quiet:
        print(
            f"note: of {picture.width} x {picture.height} pixels, the middle is taken: the model draws "
            f"{column.width} x {column.height}",
            file=sys.stderr,
        )
    small, holds = column.fitted(picture, ~hole)
    if hole.any() and holds.all():
        raise ValueError(
            "the hole lies outside the part of the picture that the model sees: its middle, "
            f"in the shape of {column.width} x {column.height} pixels"
        )
    return small, holds


def _transparent(picture: PIL.Image.Image) -> np.ndarray:
    """Where one sees through the picture rather than it, (H, W) bool."""
    if not picture.has_transparency_data:
        return np.zeros((picture.height, picture.width), dtype=bool)
    return np.asarray(picture.convert("RGBA"))[..., 3] < 128


def _painted(column: Image, file: str, size: tuple[int, int]) -> np.ndarray:
    """The hole that a mask paints: what is transparent, and if nothing is, what is white; (H, W) bool."""
    mask = parse_value(column, file)
    if mask.size != size:
        raise ValueError(
            f"the mask {file} has {mask.width} x {mask.height} pixels and the picture "
            f"{size[0]} x {size[1]}; paint it on a copy of the picture"
        )
    seen_through = _transparent(mask)
    hole = seen_through if seen_through.any() else image.grey(mask) >= 128
    if not hole.any():
        raise ValueError(f"the mask {file} has no hole; paint white what to draw anew")
    return hole


def _numbers(option: str, text: str) -> list[int]:
    """Four whole numbers."""
    words = text.split(",")
    if len(words) != 4 or not all(word.strip().lstrip("-").isdecimal() for word in words):
        raise ValueError(f"cannot read {option} {text!r}; write four whole numbers with commas between them")
    return [int(word) for word in words]

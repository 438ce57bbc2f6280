"""Fill in what is missing: a hole in a picture, the middle of a text, the unknown targets of a row or of a file of rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from likewise.cli.commands.sample import sample_rows, sample_texts
from likewise.cli.holes import HoleOptions, known_pixels
from likewise.cli.infill_table import infill_table
from likewise.cli.requests import (
    Request,
    add_known_option,
    add_sample_options,
    add_stop_option,
    image_targets,
    make_parser,
    parse_request,
    split_image_words,
)
from likewise.core.ranges import Draws
from likewise.data.readers import FileFormat
from likewise.data.readers.table_file import is_table
from likewise.modalities.base import Row
from likewise.modalities.latent import is_embedding
from likewise.models.base import TypedDistribution
from likewise.models.holes import image_shape
from likewise.models.pipeline import Pipeline
from likewise.models.requests import given_option, parse_prompts, parse_value
from likewise.models.text_prompt import is_single_text

OUT = "infilled.png"
HOW_TO = (
    "make a part of it transparent, or give --mask FILE.png, --box X0,Y0,X1,Y1 or --pad LEFT,TOP,RIGHT,BOTTOM"
)


def run(argv: Sequence[str]) -> int:
    """`likewise infill RUN [PICTURE [TEXT ...]]`, or `likewise infill RUN ROWS.csv`."""
    parser = make_parser(
        "infill",
        f"{__doc__} The hole of a picture is its transparent part, and what --mask, --box and --pad add to it; "
        "everything else is kept.",
        "[PICTURE [TEXT ...]]",
        argv,
        "the file of a picture, then values of the model's text source; or a .csv or other table file, all of whose missing "
        "targets are filled",
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="a picture of the same size, white or transparent where the hole is",
    )
    parser.add_argument(
        "--box", metavar="X0,Y0,X1,Y1", help="a rectangle that is a hole, in pixels: X0 up to X1, Y0 up to Y1"
    )
    parser.add_argument(
        "--pad",
        metavar="LEFT,TOP,RIGHT,BOTTOM",
        help="pixels to add around the picture (outpainting), which becomes smaller in the sample",
    )
    parser.add_argument("--prefix", metavar="TEXT", help="for models of text: the text before the gap")
    parser.add_argument("--suffix", metavar="TEXT", help="the text after the gap")
    add_stop_option(parser)
    add_known_option(parser)
    add_sample_options(parser, OUT)
    parser.add_value_option(
        "--draws",
        annotation=Draws,
        default=1,
        about="of a file of rows: how many times each missing cell is sampled",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="of a file of rows: leave rows as they are that the model cannot read",
    )
    parser.add_signature_options(
        "format",
        [("FileFormat", FileFormat)],
        about="How a file of rows is written; else it is found in the file.",
    )
    request = parse_request(parser, argv)
    args = request.args
    has_image = bool(image_targets(request.model))
    if args.words and not has_image and is_table(Path(args.words[0])):
        if len(args.words) > 1 or args.n != parser.get_default("n"):
            raise ValueError("a file of rows is filled --draws times; leave -n and further arguments out")
        return infill_table(request, parser, args.words[0])
    if args.draws > 1 or args.skip_bad or parser.values_of(args, "format"):
        raise ValueError(
            "--draws, --skip-bad and how a file is written are for a file of rows, such as rows.csv"
        )
    if args.prefix is not None or args.suffix is not None:
        return _infill_text(request)
    if args.stop:
        raise ValueError("--stop is for the gap of a text: give the text around it, --prefix and --suffix")
    if not has_image or (args.known and not args.words):
        options = HoleOptions(args.mask, args.box, args.pad)
        if used := options.names():
            reason = "none is named" if has_image else f"{str(request.model.formula)!r} has no such target"
            raise ValueError(f"--{used[0]} is for a picture, and {reason}")
        return _infill_row(request)
    return _infill_image(request)


def _infill_image(request: Request) -> int:
    """Sample what is not known of a picture, and of the other targets."""
    model, args = request.model, request.args
    name, file, texts = split_image_words(request, "infill", "give what is known: --known NAME=VALUE")
    options = HoleOptions(args.mask, args.box, args.pad)
    picture = parse_value(model.columns[name], file)
    fitted, mask = known_pixels(image_shape(model.columns[name]), picture, options)
    if name in request.known:
        raise ValueError(f"{file} is what is known of {name}; leave {_known_option(model, name)} out")
    known = _known_views(request, name, picture, options)
    if mask.all():
        known[name] = fitted
        if {*known, *request.known} >= set(model.targets):
            raise ValueError(f"{file} has no hole; {HOW_TO}")
    elif not (mask.any() or known or request.known):
        raise ValueError(f"the hole is all of {file}, so nothing is known: use likewise sample")
    else:
        known[name] = fitted, mask
    blank = PIL.Image.new(fitted.mode, fitted.size, "grey")
    start = PIL.Image.composite(fitted, blank, PIL.Image.fromarray(mask))
    details = {"picture": file, "mask": args.mask, "box": args.box, "pad": args.pad}
    return sample_rows(request, texts, OUT, start=start, details=details, known=known)


def _known_views(request: Request, name: str, picture: PIL.Image.Image, options: HoleOptions) -> Row:
    """The known parts of the images that a pipeline samples of the same column on the way to `name`."""
    model = request.model
    known: Row = {}
    others = model.views_of(model.formula.view(name).column) if isinstance(model, Pipeline) else {}
    for other, column in others.items():
        if other == name or is_embedding(column):
            continue
        fitted, mask = known_pixels(image_shape(column), picture, options, quiet=True)
        if mask.any():
            known[other] = fitted, mask
    return known


def _known_option(model: TypedDistribution, name: str) -> str:
    return given_option(model, name, option="known")


def _infill_text(request: Request) -> int:
    """Sample the text between --prefix and --suffix."""
    model, args = request.model, request.args
    if not is_single_text(model.target_columns):
        raise ValueError(
            "--prefix and --suffix are for a model whose one target is a text, and this one is "
            f"of {str(model.formula)!r}"
        )
    if used := [n for n in ("mask", "box", "pad", "known") if getattr(args, n)]:
        raise ValueError(f"--{used[0]} cannot be used with --prefix and --suffix; leave it out")
    if args.words:
        raise ValueError(
            f"unexpected argument {args.words[0]!r} beside --prefix and --suffix; sources are "
            "given as --given NAME=VALUE"
        )
    return sample_texts(request, [(args.prefix or "", args.suffix or "")], {})


def _infill_row(request: Request) -> int:
    """Sample the targets that are not known."""
    model = request.model
    if not request.known and is_single_text(model.target_columns):
        raise ValueError("nothing is known: give the text around the gap, --prefix ... --suffix ...")
    prompts = parse_prompts(model, request.args.words, request.given)
    if not all(prompt.values.keys() & model.target_columns for prompt in prompts):
        raise ValueError(
            f"nothing is known: {str(model.formula)!r} has no target that is a picture, so give "
            f"{' or '.join(_known_option(model, n) for n in model.targets)}"
        )
    return sample_rows(request, request.args.words, OUT)

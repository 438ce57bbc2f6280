"""Draw from a trained model."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from likewise.chain import Chain
from likewise.commands import drawing
from likewise.flags import pairs
from likewise.model import Model

OUT = "samples.png"
RULE = "-" * 80     # between texts


def run(argv: Sequence[str]) -> int:
    """`likewise sample RUN [TEXT ...]`."""
    words = f"{drawing.TEXTS}; of a model that writes, and has none: what the text begins with"
    parser = drawing.parser("sample", __doc__, "[TEXT ...]", argv, words)
    drawing.several(parser, OUT)
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT",
                        help="of a model that writes: where a text ends; may be given several times")
    asked = drawing.read(parser, argv)
    if writes(asked.model):
        return write(asked)
    if asked.args.stop:
        raise ValueError("--stop is for a model whose one target is a text")
    return drawing.draw(asked, asked.args.words, OUT)


def writes(model: Model | Chain) -> bool:
    """Whether the model draws one text, and words are what it begins with: no source takes them."""
    texts = [name for name in model.sources if model.columns[name].kind == "text"]
    return not texts and [column.kind for column in model.made.values()] in (["text"], ["document"])


def write(asked: drawing.Asked) -> int:
    """Write -n texts for each beginning: as they come if there is one, as they are, or to a file."""
    model, args = asked.model, asked.args
    given = pairs(args.given, "--given")
    sources = drawing.values(model, given)
    out = drawing.place(model, args.out, OUT)
    if args.n < 1:
        raise ValueError(f"-n must be at least 1, not {args.n}")
    prompts = args.words or [""]
    if out is None and len(prompts) == args.n == 1 and asked.negative is None:
        print(prompts[0], end="", flush=True)
        for piece in model.stream(sources, prompt=prompts[0], stop=args.stop, seed=args.seed, **asked.knobs):
            print(piece, end="", flush=True)
        print()
        return 0
    began = time.perf_counter()
    begun = [prompt for prompt in prompts for _ in range(args.n)]
    rows = model.sample([sources] * len(begun), seed=args.seed, indices=[*range(args.n)] * len(prompts),
                        prompts=begun, stop=args.stop, negative=asked.negative, **asked.knobs)
    seconds = time.perf_counter() - began
    if out is None:
        [name] = model.made
        print(f"\n{RULE}\n".join(row[name] for row in rows))
        print(f"{len(rows)} texts in {seconds:.1f} s, loaded in {asked.seconds:.1f} s", file=sys.stderr)
        return 0
    about = [asked.about(i % args.n, given, seed=args.seed, prompt=prompt or None, stop=args.stop or None)
             for i, prompt in enumerate(begun)]
    drawing.write(asked, out, rows, about, [""] * len(rows), about[0], seconds, len(prompts))
    return 0

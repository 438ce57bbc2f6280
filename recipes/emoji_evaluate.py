"""Draw what a run has never seen, and say how often it is the right thing in the right style.

    likewise train emoji "image | text, style" --pairs style
    python recipes/emoji_judge.py
    python recipes/emoji_evaluate.py runs/emoji [--n 200] [--steps 20 ...]

Two groups of held-out rows: pairs, whose emoji and style are each seen with others, and emoji that are held
out altogether, whose words others have. Drawn pictures stand beside the real ones of the same rows (the
ceiling), the training picture of the same style whose words are nearest (what copying would give), and
chance. Written into the run's folder: heldout.json, heldout.png, probes.png.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import PIL.Image
from emoji_judge import Judge

from likewise import Model, Table
from likewise.core.files import atomic_write
from likewise.evaluation.features.image import edge_features
from likewise.evaluation.metrics.agreement import nearest_caption
from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share
from likewise.evaluation.metrics.kid import kid, kid_reference
from likewise.models import prompts
from likewise.models.checkpoint import load_state
from likewise.viz import images
from likewise.viz.grid import image_grid

Pictures = Sequence[PIL.Image.Image]
ACROSS = 12  # prompts in a line of the picture of held-out rows
PROBES = {
    "colours": [
        f"{colour} heart, twemoji style"
        for colour in ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black")
    ],
    "colours of other things": [
        "red apple",
        "green apple",
        "blue apple",
        "purple apple",
        "red book",
        "blue car",
        "green car",
        "pink cat",
    ],
    "counts": [
        "one o'clock",
        "three o'clock",
        "six o'clock",
        "nine o'clock",
        "heart",
        "two hearts",
        "three hearts",
        "two apples",
    ],
    "modifiers": [
        "thumbs up",
        "thumbs up, light skin tone",
        "thumbs up, dark skin tone",
        "woman astronaut",
        "man astronaut",
        "crying cat",
        "smiling cat with heart-eyes",
        "sun behind rain cloud",
    ],
    "styles": [
        f"red apple, {style} style"
        for style in ("noto", "twemoji", "openmoji", "flat", "fluent", "blob", "emojione")
    ]
    + ["a red apple"],
    "unseen words": [
        "a happy robot",
        "a kitten",
        "an automobile",
        "blue banana",
        "a laptop",
        "skyscraper",
        "zxqv",
        "the king of hearts",
    ],
}


def held_out(table: Table, unseen: dict[tuple[str, str], str], group: str, n: int, seed: int) -> list[int]:
    """Numbers of at most n rows of table.test that are of the group, in the order that the seed gives."""
    pairs = list(zip(table.test.column("concept"), table.test.column("style"), strict=True))
    rows = [i for i, pair in enumerate(pairs) if unseen.get(pair) == group]
    return np.random.default_rng(seed).permutation(rows)[:n].tolist()


def nearest(table: Table, asked: Sequence[dict], rng: np.random.Generator) -> list[PIL.Image.Image]:
    """The training picture of the same style whose text shares most words with each that is asked for."""
    texts, styles = np.array(table.train.column("text"), object), np.array(table.train.column("style"))
    found: dict[int, PIL.Image.Image] = {}
    for style in set(styles):
        queries = [i for i, row in enumerate(asked) if row["style"] == style]
        own = np.flatnonzero(styles == style)
        if queries:
            best = nearest_caption([asked[i]["text"] for i in queries], list(texts[own]), rng=rng)
            shown = table.train.column("image")
            found |= {i: shown[int(own[k])] for i, k in zip(queries, best, strict=True)}
    return [found[i] for i in range(len(asked))]


def judged(
    judge: Judge, images: Pictures, rows: Sequence[dict], rng: np.random.Generator
) -> dict[str, Estimate]:
    """What the judge says of pictures that should show the rows."""
    ranks = judge.ranks(images, [row["concept"] for row in rows])
    style = judge.right_style(images, [row["style"] for row in rows])
    return {
        "style": share(style),
        "rank 1": share(ranks <= 1),
        "rank 1 to 5": share(ranks <= 5),
        "median rank": bootstrap(np.median, ranks, rng=rng),
        "rank 1 and style": share((ranks <= 1) & style),
    }


def chance(judge: Judge, rows: Sequence[dict]) -> dict[str, Estimate]:
    """What a picture of anything gives on average."""
    count, n = len(judge.emoji), len(rows)
    style = max(np.mean([row["style"] == style for row in rows]) for style in judge.styles)
    values = {
        "style": style,
        "rank 1": 1 / count,
        "rank 1 to 5": 5 / count,
        "median rank": (count + 1) / 2,
        "rank 1 and style": style / count,
    }
    return {name: Estimate(float(value), n=n) for name, value in values.items()}


def features(images: Pictures) -> np.ndarray:
    return edge_features(np.stack([np.asarray(image.convert("RGB")) for image in images]) / 127.5 - 1)


def group_report(
    model: Model, table: Table, judge: Judge, rows: Sequence[dict], seed: int, sampling_options: dict
) -> tuple[dict[str, dict[str, Estimate]], list[PIL.Image.Image]]:
    """Measures of one group: who drew -> measure -> estimate; and the pictures drawn."""
    rng = np.random.default_rng(seed)
    asked = [{name: row[name] for name in model.sources} for row in rows]
    drawn = [row["image"] for row in model.sample(asked, seed=seed, **sampling_options)]
    real, copied = [row["image"] for row in rows], nearest(table, rows, rng)
    found = {
        who: judged(judge, images, rows, rng)
        for who, images in (("drawn", drawn), ("real", real), ("nearest words", copied))
    }
    found["chance"] = chance(judge, rows)
    truth, images = features(real), table.train.column("image")
    some = features([images[int(i)] for i in rng.permutation(len(images))[:1000]])
    found["drawn"]["KID of edges"] = kid(features(drawn), truth, rng=rng, paired=True)
    found["real"]["KID of edges"] = kid_reference(some, truth, len(rows), rng=rng)
    return found, drawn


def probes(model: Model, seed: int, sampling_options: dict) -> PIL.Image.Image:
    """Hand-written prompts, a line for each kind."""
    written = [text for line in PROBES.values() for text in line]
    asked = []
    for text in written:
        plain, labels = prompts.split_labels(text, model.columns, model.sources)
        asked.append(
            {"text": prompts.normalize_prompt(plain, model.columns["text"]), "style": "twemoji", **labels}
        )
    drawn = [
        row["image"] for row in model.sample(asked, seed=seed, indices=[0] * len(asked), **sampling_options)
    ]
    return image_grid(drawn, columns=8, captions=written)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--judge", type=Path, default=Path("runs/emoji-judge"))
    parser.add_argument("--n", type=int, default=200, help="prompts of each group, at most (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="*", help="of drawing: steps=20 guidance=3")
    args = parser.parse_intermixed_args()
    sampling_options = {
        name: ast.literal_eval(value) for name, value in (word.split("=") for word in args.sampling_options)
    }
    model, (judge, about) = Model.load(args.run), Judge.load(args.judge)
    data = {k: v for k, v in load_state(args.run)["data"].items() if k != "fingerprint"}
    for name in ("source", "by", "pairs", "holdout"):
        if data.get(name) != about["data"][name]:
            raise SystemExit(
                f"the run has {name}={data.get(name)}, the judge {about['data'][name]}, so "
                "one has seen what the other is asked; train on emoji with --pairs style alone"
            )
    table = Table.open(**data)
    unseen = {(emoji, style): group for emoji, style, group in about["unseen"]}
    report, lines, captions = {}, [], []
    for group in ("pair", "new emoji"):
        rows = [table.test[i] for i in held_out(table, unseen, group, args.n, args.seed)]
        report[group], drawn = group_report(model, table, judge, rows, args.seed, sampling_options)
        shown = rows[:ACROSS]
        lines += [row["image"] for row in shown] + drawn[:ACROSS]
        captions += [""] * len(shown) + [images.caption(row, ["text", "style"]) for row in shown]
        print(f"\n| {group}, n = {len(rows)} | {' | '.join(report[group])} |")
        print("|---" * (len(report[group]) + 1) + "|")
        for measure in report[group]["drawn"]:
            print(f"| {measure} | {' | '.join(str(of.get(measure, '')) for of in report[group].values())} |")
    told = {
        group: {who: {measure: asdict(e) for measure, e in of.items()} for who, of in found.items()}
        for group, found in report.items()
    }
    state = {"run": str(args.run), "seed": args.seed, "options": sampling_options, "groups": told}
    atomic_write(args.run / "heldout.json", (json.dumps(state, indent=1) + "\n").encode())
    images.save(image_grid(lines, columns=ACROSS, captions=captions), args.run / "heldout.png")
    images.save(probes(model, args.seed, sampling_options), args.run / "probes.png")
    print(f"\n{args.run}/heldout.json, heldout.png (real above drawn), probes.png")


if __name__ == "__main__":
    main()

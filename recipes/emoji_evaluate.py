"""Sample emoji that a run was not trained on, and measure how often emoji and style are recognised.

    likewise train emoji "image | text, style" --pairs style
    python recipes/emoji_classifier.py
    python recipes/emoji_evaluate.py runs/emoji [--n 200] [steps=20 ...]

Two groups of held-out rows: pairs, whose emoji and style are each in training rows with others, and emoji that
are held out entirely, whose words other emoji have. Samples are compared with the real images of the same rows
(the ceiling), with the training image of the same style whose words are nearest (what copying would give), and
with chance. Written into the folder of the run: heldout.json, heldout.png, probes.png.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from emoji_classifier import EmojiClassifier

from likewise import Model, Table
from likewise.core.files import atomic_write
from likewise.core.formula import View
from likewise.evaluation.features.image import edge_features
from likewise.evaluation.metrics.agreement import nearest_caption
from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share
from likewise.evaluation.metrics.kid import kid, kid_reference
from likewise.modalities.base import Row
from likewise.modalities.text import Text
from likewise.models import prompts
from likewise.models.checkpoint import load_state
from likewise.viz import images
from likewise.viz.grid import image_grid

Images = Sequence[PIL.Image.Image]
ACROSS = 12  # prompts in a line of heldout.png
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
    """Indices of at most n rows of table.test of a group, in the random order of the seed."""
    pairs = list(zip(table.test.column("concept"), table.test.column("style"), strict=True))
    rows = [i for i, pair in enumerate(pairs) if unseen.get(pair) == group]
    return np.random.default_rng(seed).permutation(rows)[:n].tolist()


def nearest(table: Table, rows: Sequence[Row], rng: np.random.Generator) -> list[PIL.Image.Image]:
    """For each row the training image of the same style whose text shares most words with its text."""
    texts, styles = np.array(table.train.column("text"), object), np.array(table.train.column("style"))
    images = table.train.column("image")
    result: dict[int, PIL.Image.Image] = {}
    for style in {row["style"] for row in rows}:
        queries = [i for i, row in enumerate(rows) if row["style"] == style]
        train = np.flatnonzero(styles == style)
        best = nearest_caption([rows[i]["text"] for i in queries], list(texts[train]), rng=rng)
        result |= {i: images[int(train[k])] for i, k in zip(queries, best, strict=True)}
    return [result[i] for i in range(len(rows))]


def recognition(
    classifier: EmojiClassifier, images: Images, rows: Sequence[Row], rng: np.random.Generator
) -> dict[str, Estimate]:
    """Metrics of the classifier on images that should show the rows."""
    ranks = classifier.ranks(images, [row["concept"] for row in rows])
    style = classifier.style_correct(images, [row["style"] for row in rows])
    return {
        "style": share(style),
        "rank 1": share(ranks <= 1),
        "rank 1 to 5": share(ranks <= 5),
        "median rank": bootstrap(np.median, ranks, rng=rng),
        "rank 1 and style": share((ranks <= 1) & style),
    }


def chance(classifier: EmojiClassifier, rows: Sequence[Row]) -> dict[str, Estimate]:
    """The expectation of `recognition` for images that are independent of the rows."""
    count, n = len(classifier.emoji), len(rows)
    style = max(np.mean([row["style"] == style for row in rows]) for style in classifier.styles)
    values = {
        "style": style,
        "rank 1": 1 / count,
        "rank 1 to 5": 5 / count,
        "median rank": (count + 1) / 2,
        "rank 1 and style": style / count,
    }
    return {name: Estimate(float(value), n=n) for name, value in values.items()}


def features(images: Images) -> np.ndarray:
    return edge_features(np.stack([np.asarray(image.convert("RGB")) for image in images]) / 127.5 - 1)


def group_metrics(
    table: Table,
    classifier: EmojiClassifier,
    rows: Sequence[Row],
    samples: list[PIL.Image.Image],
    rng: np.random.Generator,
) -> dict[str, dict[str, Estimate]]:
    """Metrics of one group of rows: source of images -> metric -> estimate."""
    real, copies = [row["image"] for row in rows], nearest(table, rows, rng)
    sources = {"samples": samples, "real": real, "nearest words": copies}
    metrics = {name: recognition(classifier, images, rows, rng) for name, images in sources.items()}
    metrics["chance"] = chance(classifier, rows)
    truth, images = features(real), table.train.column("image")
    train = features([images[int(i)] for i in rng.permutation(len(images))[:1000]])
    metrics["samples"]["KID of edges"] = kid(features(samples), truth, rng=rng, paired=True)
    metrics["real"]["KID of edges"] = kid_reference(train, truth, len(rows), rng=rng)
    return metrics


def probes(model: Model, seed: int, sampling_options: dict[str, Any]) -> PIL.Image.Image:
    """Samples for PROBES, a line for each group."""
    texts, column, rows = [text for line in PROBES.values() for text in line], model.columns["text"], []
    assert isinstance(column, Text)
    for text in texts:
        plain, labels = prompts.split_labels(text, model.columns, model.sources, [column])
        rows.append({"text": prompts.normalize_prompt(plain, column), "style": "twemoji", **labels})
    samples = model.sample(rows, seed=seed, indices=[0] * len(rows), **sampling_options)
    return image_grid([row["image"] for row in samples], columns=8, captions=texts)


def require_same_split(run: Path, classifier_data: dict[str, Any]) -> dict[str, Any]:
    """Arguments of Table.open for the data of a run; exits if the classifier was trained on another split."""
    data = {k: v for k, v in load_state(run)["data"].items() if k != "fingerprint"}
    for name in ("source", "by", "pairs", "holdout"):
        if data.get(name) != classifier_data[name]:
            raise SystemExit(
                f"the run has {name}={data.get(name)} and the classifier {classifier_data[name]}, so rows that "
                "are held out for one were trained on by the other; train on emoji with --pairs style alone"
            )
    return data


def print_table(group: str, n: int, metrics: dict[str, dict[str, Estimate]]) -> None:
    """A Markdown table, a column for each source of images."""
    print(f"\n| {group}, n = {n} | {' | '.join(metrics)} |")
    print("|---" * (len(metrics) + 1) + "|")
    for name in metrics["samples"]:
        print(f"| {name} | {' | '.join(str(values.get(name, '')) for values in metrics.values())} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--classifier", type=Path, default=Path("runs/emoji-classifier"))
    parser.add_argument("--n", type=int, default=200, help="prompts of each group, at most (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "options", nargs="*", metavar="NAME=VALUE", help="sampling options, as in steps=20 guidance=3"
    )
    args = parser.parse_intermixed_args()
    sampling_options = {
        name: ast.literal_eval(value) for name, value in (word.split("=", 1) for word in args.options)
    }
    model, (classifier, metadata) = Model.load(args.run), EmojiClassifier.load(args.classifier)
    table = Table.open(**require_same_split(args.run, metadata["data"]))
    unseen = {(emoji, style): group for emoji, style, group in metadata["unseen"]}
    groups, cells, captions = {}, [], []
    for group in ("pair", "new emoji"):
        rows = [table.test[i] for i in held_out(table, unseen, group, args.n, args.seed)]
        sources = [{name: row[name] for name in model.sources} for row in rows]
        samples = [row["image"] for row in model.sample(sources, seed=args.seed, **sampling_options)]
        metrics = group_metrics(table, classifier, rows, samples, np.random.default_rng(args.seed))
        print_table(group, len(rows), metrics)
        groups[group] = {
            name: {metric: asdict(e) for metric, e in values.items()} for name, values in metrics.items()
        }
        cells += [row["image"] for row in rows[:ACROSS]] + samples[:ACROSS]
        captions += [""] * len(rows[:ACROSS]) + [
            images.caption(r, [View("text"), View("style")]) for r in rows[:ACROSS]
        ]
    state = {"run": str(args.run), "seed": args.seed, "options": sampling_options, "groups": groups}
    atomic_write(args.run / "heldout.json", (json.dumps(state, indent=1) + "\n").encode())
    images.save(image_grid(cells, columns=ACROSS, captions=captions), args.run / "heldout.png")
    images.save(probes(model, args.seed, sampling_options), args.run / "probes.png")
    print(f"\n{args.run}/heldout.json, heldout.png (real above samples), probes.png")


if __name__ == "__main__":
    main()

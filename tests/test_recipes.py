"""The recipes' own rules: what the classifier of emoji was not trained on; that it learns, ranks and loads."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from likewise.data.table import Table

RECIPES = Path(__file__).parent.parent / "recipes"
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 160, 0),
    "blue": (0, 0, 255),
    "pink": (255, 150, 200),
    "grey": (90, 90, 90),
    "gold": (220, 180, 0),
}


def table() -> Table:
    """Discs and boxes in six colours; a style is where the thing stands."""
    rows = []
    for colour, rgb in COLOURS.items():
        for shape in ("box", "bar"):
            for style, place in (("left", 2), ("middle", 10), ("right", 18), ("far", 22)):
                image = np.full((32, 32, 3), 255, np.uint8)
                image[8 : 24 if shape == "box" else 12, place : place + 8] = rgb
                rows.append(
                    {
                        "image": PIL.Image.fromarray(image),
                        "text": f"{colour} {shape}",
                        "style": style,
                        "concept": f"{colour} {shape}",
                    }
                )
    kinds = {"image": "image", "text": "text", "style": "label", "concept": "text"}
    return Table.from_rows(rows, kinds, holdout=0.4, pairs="style")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import emoji_classifier
    import emoji_evaluate

    yield emoji_classifier, emoji_evaluate
    for name in ("emoji_classifier", "emoji_evaluate"):
        del sys.modules[name]


def test_the_classifier_is_trained_on_every_emoji_and_no_image_that_it_classifies(recipe) -> None:
    classifiers, evaluate = recipe
    opened = table()
    apart = classifiers.unseen(opened)
    of = {group: {pair for pair, g in apart.items() if g == group} for group in ("pair", "new emoji")}
    train = set(zip(opened.train.column("concept"), opened.train.column("style"), strict=True))
    whole = set(zip(opened.column("concept"), opened.column("style"), strict=True))
    assert of["pair"] and of["new emoji"] and not train & apart.keys()
    assert {emoji for emoji, _ in of["pair"]} <= {emoji for emoji, _ in train}
    assert not {emoji for emoji, _ in of["new emoji"]} & {emoji for emoji, _ in train}
    assert {emoji for emoji, _ in whole - apart.keys()} == {emoji for emoji, _ in whole}
    assert len(of["new emoji"]) == 2 * len({emoji for emoji, _ in of["new emoji"]})
    rows = evaluate.held_out(opened, apart, "pair", 3, 0)
    assert len(rows) == 3 and all(
        (opened.test[i]["concept"], opened.test[i]["style"]) in of["pair"] for i in rows
    )
    asked = [opened.test[i] for i in rows]
    near = evaluate.nearest(opened, asked, np.random.default_rng(0))
    assert all(image.tobytes() != row["image"].tobytes() for image, row in zip(near, asked, strict=True))


def test_a_classifier_learns_ranks_and_loads(recipe, tmp_path: Path) -> None:
    classifiers, evaluate = recipe
    opened = table()
    emoji, styles, images = (opened.column(name) for name in ("concept", "style", "image"))
    names, kinds = sorted(set(emoji)), sorted(set(styles))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = classifiers.EmojiClassifier(names, kinds)
    y = torch.tensor([[names.index(e), kinds.index(s)] for e, s in zip(emoji, styles, strict=True)])
    before = made.ranks(images, emoji)
    classifiers.fit(made, classifiers.tensor(images), *y.T, steps=30, seed=0)
    after = made.ranks(images, emoji)
    assert before.min() >= 1 and before.max() <= len(names)
    assert after.mean() < before.mean() - 1
    made.save(tmp_path, unseen=[])
    again, about = classifiers.EmojiClassifier.load(tmp_path)
    assert (again.ranks(images, emoji) == after).all() and about["unseen"] == []
    chance = evaluate.chance(again, [opened[i] for i in range(len(opened))])
    assert chance["rank 1"].value == pytest.approx(1 / 12) and chance["style"].value == pytest.approx(1 / 4)

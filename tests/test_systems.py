"""The recipes of the named systems run from their first line to their last; what they draw is not looked at here."""

from __future__ import annotations

import csv
import importlib
import inspect
import sys
from pathlib import Path

import PIL.Image
import pytest
import toy

from likewise.families.registry import FAMILIES, family_class

RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with texts of two words each, so that some compositions can be held out."""
    folder = tmp_path_factory.mktemp("pictures")
    with open(folder / "metadata.csv", "w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["file_name", "text"])
        for i, row in enumerate(toy.rows(112, size=14)):
            row["image"].save(folder / f"{i}.png")
            lines.writerow([f"{i}.png", f"{row['text'].split()[-1]} {'abcdefg'[i // 4 % 7]}"])
    return folder


@pytest.fixture(autouse=True)
def small_networks(short_classifier: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes can be imported, and their models are small where they do not say how large they are."""
    monkeypatch.syspath_prepend(str(RECIPES))
    for family in FAMILIES:
        defaults = inspect.unwrap(family_class(family).__init__).__kwdefaults__
        for name, value in {"width": 32, "depth": 1}.items():
            if name in defaults:
                monkeypatch.setitem(defaults, name, value)


@pytest.mark.parametrize(
    ("recipe", "folders"),
    [
        ("stable_diffusion", ["codes", "latent/views/codes"]),
        pytest.param("dalle", ["vq", "writer/views/vq"], marks=pytest.mark.full),
        pytest.param("imagen", ["small", "large", "chain/links/small"], marks=pytest.mark.full),
        pytest.param("dalle2", ["clip", "prior", "chain/links/prior/views/clip"], marks=pytest.mark.full),
        ("captions", ["reader"]),
    ],
)
def test_a_recipe(
    recipe: str, folders: list[str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", [recipe, "--data", str(data), "--minutes", "0.01", "--n", "8", "--out", str(tmp_path)]
    )
    importlib.import_module(recipe).main()
    for folder in folders:
        assert (tmp_path / folder / "weights.safetensors").exists(), folder
    assert PIL.Image.open(tmp_path / "picture.png").width > 14


def test_what_is_learned_already_is_not_learned_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys,
        "argv",
        ["captions", "--data", str(data), "--minutes", "0.01", "--n", "8", "--out", str(tmp_path)],
    )
    importlib.import_module("captions").main()
    written = (tmp_path / "reader" / "weights.safetensors").stat().st_mtime_ns
    importlib.import_module("captions").main()
    assert (tmp_path / "reader" / "weights.safetensors").stat().st_mtime_ns == written


def test_holes_are_filled(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["glide", "--data", str(data), "--minutes", "0.01", "--n", "8", "--out", str(tmp_path)]
    )
    importlib.import_module("glide").main()
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    kept = [words[-1] for words in told if "known pixels equal" in " ".join(words)]
    assert kept == ["1", "1"], "what was known came back in every hole"
    assert PIL.Image.open(tmp_path / "picture.png").width > 14

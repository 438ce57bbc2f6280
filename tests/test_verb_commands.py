"""The commands infill, vary, interpolate and `sample --negative`: what they leave behind, and what they say to mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import test_cli
from test_cli import check_error, made, pixels

from likewise.cli.main import main

here = test_cli.here  # a fixture
FEW = ["-n", "2", "--steps", "2"]


@pytest.fixture
def run(here: Path) -> str:
    made("image | text", "r")
    return "r"


def holed(name: str, box: tuple[int, int, int, int], size: tuple[int, int] = (10, 10)) -> np.ndarray:
    """A picture with a transparent box (x0, y0, x1, y1); its grey levels."""
    grey = np.arange(size[0] * size[1]).reshape(size[::-1]) % 251
    alpha = np.full(grey.shape, 255)
    alpha[box[1] : box[3], box[0] : box[2]] = 0
    PIL.Image.fromarray(np.stack([grey, alpha], axis=-1).astype(np.uint8), "LA").save(name)
    return grey


def kept(folder: str, grey: np.ndarray, mask: np.ndarray, count: int = 2) -> None:
    """Every picture of the folder has the grey levels where the mask holds, and others elsewhere; they differ."""
    files = sorted(Path(folder).glob("*.png"))
    assert len(files) == count
    for file in files:
        assert (pixels(file)[mask] == grey[mask]).all() and (pixels(file)[~mask] != grey[~mask]).any()
    assert (pixels(files[0]) != pixels(files[-1])).any()


def box(*corners: int, size: tuple[int, int] = (10, 10)) -> np.ndarray:
    """True outside of a box."""
    mask = np.ones(size, dtype=bool)
    mask[corners[1] : corners[3], corners[0] : corners[2]] = False
    return mask


# ---- infill


def test_a_transparent_hole_is_filled(run: str) -> None:
    grey = holed("p.png", (2, 3, 9, 7))
    assert main(["infill", run, "p.png", "red bar", *FEW, "--out", "o/"]) == 0
    kept("o", grey, box(2, 3, 9, 7))
    line = json.loads(Path("o/samples.jsonl").read_text().splitlines()[0])["likewise"]
    assert line["picture"] == "p.png" and line["sources"] == {"text": "red bar"} and "box" not in line


def test_the_grid_begins_with_what_is_given(run: str, capsys) -> None:
    holed("p.png", (2, 3, 9, 7))
    assert main(["infill", run, "p.png", "red bar", "blue ring", *FEW]) == 0
    assert "infilled.png: 4 samples" in capsys.readouterr().out
    grid = PIL.Image.open("infilled.png")
    assert grid.width > 3 * 90 and json.loads(grid.text["likewise:sources"]) == [
        {"text": "red bar"},
        {"text": "blue ring"},
    ]


def test_a_box_and_a_mask_add_to_the_hole(run: str) -> None:
    grey = holed("p.png", (0, 0, 2, 2))
    paint = np.zeros((10, 10), dtype=np.uint8)
    paint[8:, :] = 255
    PIL.Image.fromarray(paint).save("white.png")
    assert (
        main(["infill", run, "p.png", "--mask", "white.png", "--box", "7,1,10,4", *FEW, "--out", "o/"]) == 0
    )
    kept("o", grey, box(0, 0, 2, 2) & box(7, 1, 10, 4) & box(0, 8, 10, 10))
    clear = np.stack([np.full_like(paint, 255), 255 - paint], axis=-1)  # white all over: its alpha counts
    PIL.Image.fromarray(clear, "LA").save("clear.png")
    assert main(["infill", run, "p.png", "--mask", "clear.png", *FEW, "--out", "q/"]) == 0
    kept("q", grey, box(0, 0, 2, 2) & box(0, 8, 10, 10))


def test_padding_draws_around_a_picture(run: str) -> None:
    grey = holed("p.png", (0, 0, 0, 0), size=(6, 7))
    assert main(["infill", run, "p.png", "--pad", "1,2,3,1", *FEW, "--out", "o/"]) == 0
    whole = np.zeros((10, 10), dtype=int)
    whole[2:9, 1:7] = grey
    kept("o", whole, ~box(1, 2, 7, 9))


def test_a_larger_picture_is_fitted(run: str, capsys) -> None:
    PIL.Image.new("L", (40, 20), 77).save("p.png")
    assert main(["infill", run, "p.png", "--box", "12,4,24,9", *FEW, "--out", "o/"]) == 0
    assert (
        "the picture of 40 x 20 pixels is cropped to its middle: the model's are 10 x 10"
        in capsys.readouterr().err
    )
    # the middle 20 columns are left, two to a pixel: 2 to 14 of them, rows 4 to 9
    kept("o", np.full((10, 10), 77), box(1, 2, 7, 5))


def test_a_palette_with_a_clear_colour_is_a_hole(run: str) -> None:
    picture = PIL.Image.new("P", (10, 10), 1)
    picture.putpalette([0, 0, 0, 90, 90, 90])
    picture.paste(0, (0, 0, 5, 10))
    picture.save("p.png", transparency=0)
    assert main(["infill", run, "p.png", *FEW, "--out", "o/"]) == 0
    kept("o", np.full((10, 10), 90), box(0, 0, 5, 10))


def test_the_rest_of_a_row_is_drawn(here: Path, capsys) -> None:
    made("number, label | text", "r")
    assert main(["infill", "r", "red bar", "--known", "label=2", *FEW]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["label"] for line in lines] == [2, 2] and lines[0]["number"] != lines[1]["number"]
    assert lines[0]["likewise"]["known"] == {"label": "2"} and lines[0]["likewise"]["sources"] == {
        "text": "red bar"
    }


def test_a_whole_picture_is_known_beside_a_label(here: Path) -> None:
    made("image, label", "r")
    assert main(["infill", "r", "things/3.png", *FEW, "--out", "o/"]) == 0
    assert (pixels("o/3-seed0-0.png") == pixels("things/3.png")).all()
    assert json.loads(Path("o/samples.jsonl").read_text().splitlines()[0])["label"] in range(4)
    assert main(["infill", "r", "--known", "label=2", *FEW, "--out", "q/"]) == 0
    assert {json.loads(line)["label"] for line in Path("q/samples.jsonl").read_text().splitlines()} == {2}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["things/3.png"], "things/3.png has no hole; make a part of it transparent, or give --mask"),
        (
            ["things/3.png", "--mask", "small.png"],
            "the mask small.png has 4 x 4 pixels and the picture 10 x 10",
        ),
        (
            ["things/3.png", "--mask", "black.png"],
            "the mask black.png has no hole; paint the hole white",
        ),
        (["things/3.png", "--mask", "no.png"], "no.png"),
        (["things/3.png", "--box", "0,0,10,10"], "the hole is all of things/3.png, so nothing is known"),
        (["things/3.png", "--box", "5,0,3,10"], "--box 5,0,3,10 is no part of a picture of 10 x 10 pixels"),
        (["things/3.png", "--box", "0,0,11,10"], "--box 0,0,11,10 is no part"),
        (["things/3.png", "--box", "0,0,3"], "cannot read --box '0,0,3'; write four whole numbers"),
        (["things/3.png", "--pad", "0,0,0,0"], "--pad 0,0,0,0: write how many pixels"),
        (
            ["things/3.png", "--pad=-1,0,0,0"],
            "each number of --pad must be a whole number from 0 to 4,096, not -1",
        ),
        (
            ["wide.png", "--box", "0,0,5,10"],
            "the hole lies outside the part of the picture that the model sees",
        ),
        (["broken.png"], "broken.png: unreadable picture: "),
        (["cut.png"], "cut.png: unreadable picture: "),
        (["none.png"], "none.png"),
        ([], "name a picture: likewise infill r PICTURE"),
        (["--known", "text=red"], "unknown target 'text'"),
        (["--box", "0,0,1,1", "--known", "image=things/3.png"], "--box is for a picture, and none is named"),
        (
            ["--known", "image=things/3.png"],
            "every target of 'image | text' is given, so there is nothing to sample",
        ),
        (
            ["things/3.png", "--known", "image=things/3.png"],
            "is what is known of image; leave --known image=... out",
        ),
    ],
)
def test_a_mistake_in_infilling(run: str, capsys, words: list[str], expected: str) -> None:
    PIL.Image.new("L", (4, 4), 255).save("small.png")
    PIL.Image.new("L", (10, 10), 0).save("black.png")
    PIL.Image.new("L", (40, 10), 0).save("wide.png")
    Path("broken.png").write_bytes(b"no picture")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    PIL.Image.fromarray(noise).save("cut.png")
    Path("cut.png").write_bytes(Path("cut.png").read_bytes()[:2000])
    try:
        assert main(["infill", run, *words]) == 1
    finally:
        said = capsys.readouterr()
    assert expected in said.err and "Traceback" not in said.err and not said.out


@pytest.mark.parametrize("limit", [60, 120])  # Pillow warns above its limit, and refuses above twice that
def test_a_bomb_is_refused_by_name(run: str, capsys, monkeypatch, limit: int) -> None:
    PIL.Image.new("L", (11, 11)).save("bomb.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", limit)
    message = f"bomb.png: too large a picture: 121 pixels, and at most {limit} are read; make it smaller"
    check_error(["infill", run, "bomb.png"], 1, message, capsys)


def test_a_model_that_draws_no_picture(here: Path, capsys) -> None:
    made("number, label | text", "r")
    check_error(
        ["infill", "r", "red bar"],
        1,
        "'number, label | text' has no target that is a picture, so give --known number=... or --known label=...",
        capsys,
    )
    check_error(
        ["infill", "r", "--box", "0,0,1,1", "--known", "label=1"],
        1,
        "--box is for a picture, and 'number, label | text' has no such target",
        capsys,
    )
    check_error(
        ["infill", "r", "--known", "lable=1"], 1, "unknown target 'lable': did you mean 'label'?", capsys
    )
    check_error(
        ["vary", "r", "things/3.png"],
        1,
        "likewise vary starts from a picture, and 'number, label | text' has no target that is one",
        capsys,
    )


# ---- vary


def test_variations(run: str, capsys) -> None:
    assert main(["vary", run, "things/3.png", "red bar", *FEW, "--strength", "0.3"]) == 0
    assert "variations.png: 2 samples" in capsys.readouterr().out
    text = PIL.Image.open("variations.png").text
    assert text["likewise:strength"] == "0.3" and text["likewise:picture"] == "things/3.png"
    for strength in ("0.1", "1"):
        assert (
            main(
                [
                    "vary",
                    run,
                    "things/3.png",
                    "red bar",
                    *FEW,
                    "--strength",
                    strength,
                    "--out",
                    f"s{strength}/",
                ]
            )
            == 0
        )
    assert main(["sample", run, "red bar", *FEW, "--out", "plain/"]) == 0
    plain = pixels("plain/red-bar-seed0-1.png")
    one, near = (pixels(f"{folder}/3-red-bar-seed0-1.png") for folder in ("s1", "s0.1"))
    assert abs(plain - one).max() <= 1 < abs(plain - near).max()


def test_a_target_may_be_held_while_another_varies(here: Path) -> None:
    made("image, label", "r")
    assert main(["vary", "r", "things/3.png", "--known", "label=2", *FEW, "--out", "o/"]) == 0
    assert {json.loads(line)["label"] for line in Path("o/samples.jsonl").read_text().splitlines()} == {2}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "name a picture: likewise vary r PICTURE"),
        (["none.png"], "none.png"),
    ],
)
def test_a_mistake_in_varying(run: str, capsys, words: list[str], expected: str) -> None:
    check_error(["vary", run, *words], 1, expected, capsys)


def test_every_target_has_a_start(here: Path, capsys) -> None:
    made("image, label", "r")
    check_error(["vary", "r", "things/3.png"], 1, "and 'label' has none; give --known label=...", capsys)


# ---- interpolate


def test_a_strip(run: str) -> None:
    assert (
        main(
            [
                "interpolate",
                run,
                "red bar",
                "blue ring",
                "-n",
                "3",
                "--steps",
                "2",
                "--seeds",
                "1,4",
                "--out",
                "o/",
            ]
        )
        == 0
    )
    for at, (text, seed) in {0: ("red bar", "1"), 2: ("blue ring", "4")}.items():
        assert (
            main(["sample", run, text, "--seed", seed, "-n", "1", "--steps", "2", "--out", f"end{at}/"]) == 0
        )
        [end] = Path(f"end{at}").glob("*.png")
        assert abs(pixels(f"o/red-bar-to-blue-ring-seed1-4-{at}.png") - pixels(end)).max() <= 1
    line = json.loads(Path("o/samples.jsonl").read_text().splitlines()[1])["likewise"]
    assert line["share"] == 0.5 and line["to"] == {"text": "blue ring"} and line["seeds"] == [1, 4]
    assert main(["interpolate", run, "red bar", "blue ring", "--steps", "1"]) == 0
    assert PIL.Image.open("strip.png").width > 7 * 90


def test_an_animation_goes_there_and_back(run: str) -> None:
    assert (
        main(["interpolate", run, "red bar", "--seeds", "0,1", "-n", "4", "--steps", "1", "--out", "o.gif"])
        == 0
    )
    film = PIL.Image.open("o.gif")
    assert (
        film.n_frames == 6
        and film.info["loop"] == 0
        and json.loads(film.info["comment"])["likewise"]["formula"] == "image | text"
    )


def test_sources_of_both_ends(here: Path) -> None:
    made("image | label, number", "r")
    words = ["--given", "number=1", "--from", "label=0", "--to", "label=3"]
    assert main(["interpolate", "r", *words, "-n", "3", "--steps", "1", "--out", "o/"]) == 0
    line = json.loads(Path("o/samples.jsonl").read_text().splitlines()[0])["likewise"]
    assert line["sources"] == {"number": "1", "label": "0"} and line["to"] == {"number": "1", "label": "3"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["red bar"], "both ends are the same; give two texts"),
        (["red bar", "red bar", "--seeds", "3,3"], "both ends are the same"),
        (["red bar", "blue bar", "red ring"], "an interpolation has two ends; leave 'red ring' out"),
        (
            ["red bar", "blue bar", "--seeds", "a"],
            "--seeds must be a whole number from 0 to 2^63 - 1, not 'a'",
        ),
        (["red bar", "blue bar", "--seeds", "1,2,3"], "cannot read --seeds '1,2,3'"),
        (
            ["--given", "text=red bar", "--to", "text=blue bar"],
            "--given is for both ends; leave --given text=...",
        ),
        (["--from", "txt=red bar", "--to", "text=blue bar"], "unknown column 'txt': did you mean 'text'?"),
        (["red bar", "blue bar", "--out", "o.mp4"], "write a name that ends in .png or .jsonl or .gif"),
    ],
)
def test_a_mistake_in_interpolating(run: str, capsys, words: list[str], expected: str) -> None:
    check_error(["interpolate", run, *words], 1, expected, capsys)


# ---- negative


def test_a_negative_is_a_text_or_a_source(run: str) -> None:
    for name, words in {
        "plain": [],
        "text": ["--negative", "blue ring"],
        "named": ["--negative", "text=blue ring"],
    }.items():
        assert main(["sample", run, "red bar", *FEW, *words, "--out", f"{name}/"]) == 0
    plain, text, named = (pixels(f"{name}/red-bar-seed0-0.png") for name in ("plain", "text", "named"))
    assert (text == named).all() and (text != plain).any()
    line = json.loads(Path("text/samples.jsonl").read_text().splitlines()[0])["likewise"]
    assert line["negative"] == ["blue ring"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--guidance", "1", "--negative", "red bar"], "with guidance 1 a negative has no effect"),
        (["--negative", "txt=a"], "unknown source 'txt': did you mean 'text'?"),
        (["--negative", "red bar", "--negative", "text=blue ring"], "--negative names 'text' twice"),
    ],
)
def test_a_mistake_in_a_negative(run: str, capsys, words: list[str], expected: str) -> None:
    check_error(["sample", run, "blue ring", *words], 1, expected, capsys)

"""Captions: every character is drawn in a font that has it, or is written as its code point; none is an empty box."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest
from matplotlib.figure import Figure

from likewise.evaluation.comparison.figures.canvas import png
from likewise.viz import fonts
from likewise.viz.grid import image_grid

CELL = PIL.Image.new("L", (24, 24), 200)
NOWHERE = "\U0010fffd"  # a private character, which no font has


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system without fonts."""
    monkeypatch.setattr(fonts, "font_files", lambda: ())
    fonts.font_file.cache_clear()
    yield
    fonts.font_file.cache_clear()


def pixels(text: str, size: int = 20) -> np.ndarray:
    picture = PIL.Image.new("RGB", (300, 40), "white")
    fonts.draw_text(PIL.ImageDraw.Draw(picture), 0, 0, fonts.displayable(text), size)
    return np.asarray(picture)


def box(size: int = 20) -> np.ndarray:
    """What Pillow's font draws for a character that it does not have."""
    picture = PIL.Image.new("RGB", (300, 40), "white")
    PIL.ImageDraw.Draw(picture).text(
        (0, 0), NOWHERE, fill="black", font=PIL.ImageFont.load_default(size), anchor="la"
    )
    return np.asarray(picture)


# é, Cyrillic, Arabic and an emoji are in DejaVu Sans, which comes with matplotlib
@pytest.mark.parametrize("character", ["é", "Å", "ж", "ع", "😀", "❤", "☃"])
def test_a_character_that_a_font_has_is_drawn(character: str) -> None:
    assert fonts.displayable(character) == character
    drawn = pixels(character)
    assert (drawn < 128).any() and not np.array_equal(drawn, box())
    others = [pixels(c) for c in "éÅжع😀❤☃" if c != character]
    assert not any(np.array_equal(drawn, other) for other in others)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("中文 cat", "U+4E2D U+6587 cat"),
        ("قط", "U+0642 U+0637"),
        ("a😀b", "a U+1F600 b"),
        ("❤️", "U+2764"),  # with a variation selector
        ("x\u200by\ttab\nline", "xy tab line"),
        ("\x07", "U+0007"),
        ("plain, ASCII", "plain, ASCII"),
    ],
)
def test_a_character_that_no_font_has_is_its_code_point(no_fonts: None, text: str, shown: str) -> None:
    assert fonts.displayable(text) == shown
    assert np.array_equal(pixels(text), pixels(shown))


def test_no_font_of_boxes_is_used() -> None:
    assert fonts.displayable(NOWHERE) == "U+10FFFD"
    assert not any(file.family.startswith(fonts.LAST_RESORT) for file in fonts.font_files())


@pytest.mark.parametrize(
    "caption", ["中文 cat", "قط أسود, flat", "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀", NOWHERE * 20]
)
def test_a_grid_has_the_caption_within_its_cell(caption: str) -> None:
    grid = np.asarray(image_grid([CELL, CELL], columns=2, captions=[caption, ""]))
    below = grid[6 + 96 : -6]
    assert (below[:, : 6 + 96] < 128).any() and (below[:, 6 + 96 :] == 255).all()


def test_words_of_a_script_from_right_to_left_stay_in_one_run() -> None:
    assert len(list(fonts._runs("قط أسود", 10))) == 1


def test_a_figure_has_fonts_for_its_labels() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.bar([0, 1], [1, 2])
    axes.set_xticks([0, 1], labels=["中文", "café"])
    axes.set_title(f"{NOWHERE} 😀")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # "Glyph missing from font(s)"
        png(figure)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert axes.get_title() == "U+10FFFD 😀" and labels == [fonts.displayable("中文"), "café"]

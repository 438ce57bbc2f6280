"""Files of pictures: which are read, their bytes -> a PIL picture, and back.

Pillow reads them, and resvg reads .svg. Colour profiles are ignored: colours are taken for sRGB.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import PIL.ExifTags
import PIL.Image
import PIL.ImageOps
import PIL.TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from likewise.core.contents import find_content
from likewise.modalities.pixels import INVERTED, WHITE, flatten, is_deep, value_range

SVG_SIDE = 256  # pixels of the longer side at which an .svg is rendered, before it is resized
BOMBS = (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)

_NO_PICTURES = {
    "BUFR",
    "EPS",
    "GRIB",
    "HDF5",
    "MPEG",
    "PDF",
    "WMF",
}  # formats that Pillow knows but cannot decode by itself
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_EXIF_CHUNK = b"Raw profile type "  # keyword of text chunks in which some programs store EXIF
_SVG = re.compile(
    rb"\s*(?:<\?xml[^>]*\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?:\[.*?\])?\s*>|\s+)*<svg[\s>]", re.DOTALL
)
_SVG_FILE = re.compile(r"""\bhref\s*=\s*["'](?!\s*(?:\#|data:))([^"']+)""")


def picture_suffixes() -> tuple[str, ...]:
    """The endings, with the dot and in small letters, of the files that can be read."""
    PIL.Image.preinit()  # so that the common formats are tried first
    formats = PIL.Image.registered_extensions()
    known = {suffix for suffix, name in formats.items() if name in PIL.Image.OPEN or name == "MPO"}
    return tuple(sorted({suffix for suffix in known if formats[suffix] not in _NO_PICTURES} | {".svg"}))


def peek(data: bytes) -> PIL.Image.Image:
    """The bytes of a picture file -> a picture whose pixels are decoded on first use. Raises ValueError."""
    if _SVG.match(data.removeprefix(b"\xef\xbb\xbf")[:65_536]):
        return _render_svg(data)
    with _decoding(data):
        image = PIL.Image.open(io.BytesIO(_without_texts(data)))
        if is_deep(image) and isinstance(image, PIL.TiffImagePlugin.TiffImageFile):
            image.info.update(_tiff_range(image))
        return image


def load_pixels(image: PIL.Image.Image) -> PIL.Image.Image:
    """The same picture, decoded. Raises ValueError for a damaged one."""
    with _decoding():
        image.load()
    if is_deep(image):
        value_range(image)
    return image


def read(data: bytes) -> PIL.Image.Image:
    """The bytes of a picture file -> the decoded picture, upright. Raises ValueError."""
    image = load_pixels(peek(data))
    with _decoding():
        return upright(image)


@contextmanager
def _decoding(data: bytes | None = None) -> Iterator[None]:
    """Errors of decoders, which are of all kinds, become a ValueError; `data` tells what is no picture at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            yield
    except BOMBS as error:
        size, most = re.search(r"\d+", str(error)), PIL.Image.MAX_IMAGE_PIXELS or 0
        pixels = f": {int(size[0]):,} pixels, and at most {most:,} are read" if size else ""
        raise ValueError(f"too large a picture{pixels}; make it smaller") from None
    except PIL.UnidentifiedImageError:
        what = "the file is empty" if data == b"" else find_content(data or b"")
        raise ValueError(f"unreadable picture: {what or 'not of a known picture format'}") from None
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"unreadable picture: {str(error) or type(error).__name__}") from None


def write(image: PIL.Image.Image, metadata: Mapping[str, Any] | None = None) -> bytes:
    """A picture -> the bytes of a PNG file, with `metadata` in text chunks `likewise:NAME`."""
    info = PngInfo()
    for name, value in (metadata or {}).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        info.add_text(f"likewise:{name}", text)
    file = io.BytesIO()
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    supported = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    (image if supported else flatten(image, "RGB")).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def write_exactly(image: PIL.Image.Image) -> bytes:
    """A picture -> the bytes of a file that has its values: a PNG, or a TIFF for modes that PNG does not have."""
    if image.mode not in ("I", "F", "CMYK", "YCbCr", "LAB", "I;16B"):
        return write(image)
    file = io.BytesIO()
    image.save(file, "TIFF")
    return file.getvalue()


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """The picture rotated by its EXIF orientation; the same object if that is the default, to save a copy."""
    return PIL.ImageOps.exif_transpose(image) if _orientation(image) != 1 else image


def upright_size(image: PIL.Image.Image) -> tuple[int, int]:
    """(height, width) of the upright picture; its pixels are not decoded. Raises ValueError for a damaged one."""
    with _decoding():
        return image.size if _orientation(image) in (5, 6, 7, 8) else (image.height, image.width)


def has_frames(image: PIL.Image.Image) -> bool:
    """Whether a picture is an animation, or a file of several pages. Raises ValueError for a damaged one."""
    if image.format in (
        "MPO",
        "PSD",
        "ICO",
        "ICNS",
    ):  # a photograph and its preview, layers, sizes of an icon
        return False
    with _decoding():
        if isinstance(image, PIL.TiffImagePlugin.TiffImageFile):
            return image.n_frames > 1
        return bool(getattr(image, "is_animated", False))


def _orientation(image: PIL.Image.Image) -> int:
    return int(image.getexif().get(PIL.ExifTags.Base.Orientation, 1) or 1)


def _tiff_range(image: PIL.TiffImagePlugin.TiffImageFile) -> dict[str, Any]:
    """What a TIFF of more than 8 bits says of its values: which is white, and whether 0 is white.

    9 to 15 bits have a white of their own; in 16 and 32 bits files store values of fewer bits too.
    """
    bits = image.tag_v2.get(PIL.TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
    inverted = image.tag_v2.get(PIL.TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    white = {WHITE: 2**bits - 1} if 8 < bits < 16 else {}
    return {**white, **({INVERTED: True} if inverted else {})}


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The type of each chunk of a PNG file, and where the chunk begins and ends."""
    start = len(_PNG)
    while start + 8 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], start, end
        start = end


def _without_texts(data: bytes) -> bytes:
    """The bytes of a file; a PNG without its texts, which Pillow refuses if they are long.

    A text is not expanded here, so none can exhaust the memory.
    """
    if not data.startswith(_PNG):
        return data
    texts = [
        (start, end)
        for kind, start, end in _png_chunks(data)
        if kind in _TEXT_CHUNKS and not data.startswith(_EXIF_CHUNK, start + 8)
    ]
    for start, end in reversed(texts):
        data = data[:start] + data[end:]
    return data


def _render_svg(data: bytes) -> PIL.Image.Image:
    """The bytes of an SVG file -> a picture. Raises ValueError for one that refers to other files."""
    import resvg_py

    try:
        text = data.decode("utf-8-sig")
        if other := _SVG_FILE.search(text):
            raise ValueError(f"it refers to {other[1]!r}, and other files are not read; put it into the .svg")
        probe = PIL.Image.open(
            io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text, skip_system_fonts=True)))
        )
        zoom = SVG_SIDE / max(probe.size)
        width, height = (max(1, round(side * zoom)) for side in probe.size)
        png = resvg_py.svg_to_bytes(svg_string=text, width=width, height=height, skip_system_fonts=True)
        return PIL.Image.open(io.BytesIO(bytes(png)))
    except ValueError as error:
        raise ValueError(f"unreadable .svg: {error}") from None

"""Image: a picture, grey or in colour."""

from __future__ import annotations

import io
import json
import math
import statistics
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps
import torch
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from likewise.core.spec import IMAGE, Spec
from likewise.modalities.base import Modality
from likewise.modalities.columns import CellCheck, ColumnSummary, ColumnValues
from likewise.modalities.files import cell_bytes, file_cell

MAX_SIDE = 64  # pixels by default, which a CPU trains in minutes; the option `size` overrides it
BOMBS = (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)
UNREADABLE = (OSError, ValueError, SyntaxError, *BOMBS)  # the errors that Pillow raises


@dataclass(frozen=True)
class Image(Modality):
    """A picture of `height` x `width` pixels with 1 (grey) or 3 (colour) channels, floats in [-1, 1].

    Other shapes are cropped at the centre and resized with antialiasing; transparent pixels become white.

    >>> image = Image(height=2, width=2, channels=1)
    >>> tokens = image.encode(PIL.Image.new("RGBA", (8, 4), (0, 0, 0, 0)))      # transparent, so white
    >>> tokens.shape, tokens.unique(), image.decode(tokens).getpixel((0, 0))
    (torch.Size([4, 1]), tensor([1.]), 255)
    """

    height: int
    width: int
    channels: int

    dtypes = frozenset({"image"})
    value_type = PIL.Image.Image
    file_suffixes = (*(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"),)
    lazy = True
    accepts_all = True
    groupable = False
    visual = True
    target_rank = 10

    kind = "image"
    media_type = "image/png"
    suffix = ".png"
    log_scale = -math.log(127.5)
    bin_width = 1 / 127.5

    @classmethod
    def fit(
        cls, values: Iterable[PIL.Image.Image], *, size: int | None = None, channels: int | None = None
    ) -> Self:
        """Learn the size and the number of channels. Raises ValueError for options out of range.

        size      pixels of each side of a square (default: the size of the pictures if all have the same, of at
                  most 64 pixels a side, else their median shorter side, at most 64)
        channels  1 for grey or 3 for colour (default: 1 if every picture is grey, else 3)
        """
        if size is not None and size < 1:
            raise ValueError(f"size={size}: a picture has at least 1 pixel a side")
        if channels not in (None, 1, 3):
            raise ValueError(f"channels={channels}: write 1 for grey or 3 for colour")
        shapes = [(image.height, image.width, channels_of(image)) for image in values]
        if not shapes:
            raise ValueError("there is no picture to learn the size from")
        channels = channels or max(c for _, _, c in shapes)
        sizes = {(height, width) for height, width, _ in shapes}
        if size is None and len(sizes) == 1 and max(map(max, sizes)) <= MAX_SIDE:
            return cls(*sizes.pop(), channels)
        size = size or min(
            MAX_SIDE, int(statistics.median(min(height, width) for height, width, _ in shapes))
        )
        return cls(size, size, channels)

    @property
    def spec(self) -> Spec:
        return Spec((self.height, self.width), width=self.channels, axes=IMAGE)

    def check(self, value: Any) -> str | None:
        if not isinstance(value, PIL.Image.Image):
            return f"{type(value).__name__} is not a picture"
        try:
            value.load()
        except UNREADABLE as error:
            return f"unreadable picture: {error}"
        return None

    def encode(self, value: PIL.Image.Image) -> Tensor:
        """A picture -> (height * width, channels) float32 in [-1, 1]. Raises ValueError if it is unreadable."""
        if reason := self.check(value):
            raise ValueError(reason)
        image = _convert(value, "L" if self.channels == 1 else "RGB")
        if image.size != (self.width, self.height):
            image = PIL.ImageOps.fit(image, (self.width, self.height), PIL.Image.Resampling.LANCZOS)
        pixels = np.asarray(image, dtype=np.float32).reshape(-1, self.channels)
        return torch.from_numpy(pixels / 127.5 - 1)

    def resize_masked(self, value: PIL.Image.Image, known: np.ndarray) -> tuple[PIL.Image.Image, np.ndarray]:
        """A picture with the mask of its known pixels, (H, W) bool -> both at this modality's size.

        Unknown pixels have no weight in the averages; a pixel of the result is known if all pixels under it
        are.
        """
        pixels = np.asarray(_convert(value, "L" if self.channels == 1 else "RGB"), dtype=np.float32)
        if known.shape != (self.height, self.width):
            weight = known.astype(np.float32)
            total = self._resize(weight, PIL.Image.Resampling.LANCZOS).clip(min=0.1)
            channels = (
                self._resize(channel * weight, PIL.Image.Resampling.LANCZOS) / total
                for channel in np.atleast_3d(pixels).transpose(2, 0, 1)
            )
            pixels = np.stack(list(channels), axis=-1).reshape(self.height, self.width, *pixels.shape[2:])
            known = self._resize(weight, PIL.Image.Resampling.BOX) > 0.999
        return PIL.Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)), known

    def _resize(self, values: np.ndarray, method: PIL.Image.Resampling) -> np.ndarray:
        """(H, W) float32 -> (height, width), cropped and resized as in `encode`."""
        return np.asarray(PIL.ImageOps.fit(PIL.Image.fromarray(values), (self.width, self.height), method))

    def decode(self, tokens: Tensor) -> PIL.Image.Image:
        """(height * width, channels) floats, clamped to [-1, 1] -> a picture."""
        pixels = tokens.detach().float().cpu().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).numpy()
        pixels = pixels.reshape(self.height, self.width, self.channels)
        return PIL.Image.fromarray(pixels[..., 0] if self.channels == 1 else pixels)

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        return 3 if column.dtype in cls.dtypes else 0

    @classmethod
    def to_cell(cls, value: Any) -> Any:
        """A picture, or the bytes of its file, -> {bytes, path}."""
        return file_cell(write(value) if isinstance(value, PIL.Image.Image) else value)

    @classmethod
    def from_cell(cls, cell: Any) -> PIL.Image.Image:
        return read(cell_bytes(cell))

    @classmethod
    def peek_cell(cls, cell: Any) -> PIL.Image.Image:
        return peek(cell_bytes(cell))

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        if cell is None:
            return super().check_cell(cell)
        try:
            content = cell_bytes(cell)
            return CellCheck(content, traits=("grey",) if channels_of(read(content)) == 1 else ())
        except ValueError as error:
            return CellCheck(repr(cell).encode(errors="surrogatepass"), str(error))

    def findings(self, column: ColumnValues) -> list[str]:
        grey, count = column.traits["grey"], len(column.values)
        if not 0 < grey < count:
            return []
        return [
            f"{column.name}: {grey} of {count} pictures are grey, the others in colour; choose channels=1 or "
            "channels=3 for all"
        ]

    def describe(self) -> str:
        """
        >>> Image(24, 24, 1).describe()
        '24 x 24 pixels, grey'
        """
        return f"{self.height} x {self.width} pixels, {'grey' if self.channels == 1 else 'in colour'}"

    def summarize(self, value: PIL.Image.Image, longest: int = 60) -> str:
        return f"{value.height} x {value.width} {value.mode}"

    def thumbnail(self, value: PIL.Image.Image) -> PIL.Image.Image:
        return value

    def load(self, data: bytes) -> PIL.Image.Image:
        return read(data)

    def dump(self, value: PIL.Image.Image, metadata: Mapping[str, Any] | None = None) -> bytes:
        return write(value, metadata)


def peek(data: bytes) -> PIL.Image.Image:
    """The bytes of a picture file -> a picture whose pixels are decoded on first use. Raises ValueError."""
    try:
        with warnings.catch_warnings():  # too large a picture is an error, even where Pillow only warns
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            return PIL.Image.open(io.BytesIO(data))
    except BOMBS as error:
        raise ValueError(f"too large a picture ({type(error).__name__}): {error}") from None
    except PIL.UnidentifiedImageError:
        raise ValueError("unreadable picture: not of a known picture format") from None
    except UNREADABLE as error:
        raise ValueError(f"unreadable picture: {error}") from None


def read(data: bytes) -> PIL.Image.Image:
    """The bytes of a picture file -> the decoded picture, upright. Raises ValueError."""
    image = peek(data)
    try:
        image.load()
        return _upright(image)
    except UNREADABLE as error:
        raise ValueError(f"unreadable picture: {error}") from None


def write(image: PIL.Image.Image, metadata: Mapping[str, Any] | None = None) -> bytes:
    """A picture -> the bytes of a PNG file, with `metadata` in text chunks `likewise:NAME`."""
    info = PngInfo()
    for name, value in (metadata or {}).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        info.add_text(f"likewise:{name}", text)
    file = io.BytesIO()
    supported = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    (image if supported else image.convert("RGB")).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def channels_of(image: PIL.Image.Image) -> int:
    """1 for a grey mode, else 3."""
    return 1 if image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16") else 3


def luminance(image: PIL.Image.Image) -> np.ndarray:
    """The lightness of the pixels, from 0 to 255: (H, W) uint8."""
    return np.asarray(_convert(image, "L"))


def _upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """The picture rotated by its EXIF orientation; the same object if that is the default, to save a copy."""
    rotated = image.getexif().get(PIL.ExifTags.Base.Orientation, 1) != 1
    return PIL.ImageOps.exif_transpose(image) if rotated else image


def _convert(image: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """The upright picture in `mode`, on white where it is transparent."""
    image = _upright(image)
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow's conversion clips at 255
        image = PIL.Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)

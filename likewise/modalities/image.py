"""Image: a picture, grey or in colour."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from likewise.core.options import validated
from likewise.core.ranges import ImageSize
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.modalities import near_copies, picture_findings
from likewise.modalities.base import Modality
from likewise.modalities.columns import CellCheck, ColumnSummary, ColumnValues
from likewise.modalities.files import cell_bytes, file_cell
from likewise.modalities.picture_files import (
    load_pixels,
    peek,
    picture_suffixes,
    read,
    upright,
    upright_size,
    write,
    write_exactly,
)
from likewise.modalities.pixels import DEFAULT_LEVELS, Levels, deep_range, fit_levels, flatten, is_grey

LEVEL = 1 / 127.5  # the distance of two levels of a channel
MAX_SIDE = 64  # pixels by default, which a CPU trains in minutes; the option `size` overrides it
Resize = Literal["crop", "pad", "stretch"]


@dataclass(frozen=True)
class Image(Modality):
    """A picture of `height` x `width` pixels with 1 (grey) or 3 (colour) channels, floats in [-1, 1].

    Others are resized with antialiasing, those of another shape as `resize` says: "crop" keeps the middle, "pad" adds
    white margins, "stretch" changes the shape. Transparent pixels become white. `levels` says what is black and white
    in pictures of more than 8 bits a channel, see pixels.py.

    >>> image = Image(height=2, width=2, channels=1)
    >>> tokens = image.encode(PIL.Image.new("RGBA", (8, 4), (0, 0, 0, 0)))      # transparent, so white
    >>> tokens.shape, tokens.unique(), image.decode(tokens).getpixel((0, 0))
    (torch.Size([4, 1]), tensor([1.]), 255)
    """

    height: ImageSize
    width: ImageSize
    channels: Literal[1, 3]
    resize: Resize = "crop"
    levels: Levels = DEFAULT_LEVELS

    dtypes = frozenset({"image"})
    value_type = PIL.Image.Image
    file_suffixes = picture_suffixes()
    lazy = True
    accepts_all = True
    groupable = False
    visual = True
    target_rank = 10

    kind = "image"
    media_type = "image/png"
    suffix = ".png"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", Levels(*self.levels))  # a plain tuple after JSON

    @classmethod
    @validated
    def fit(
        cls,
        values: Iterable[PIL.Image.Image],
        *,
        size: ImageSize | None = None,
        channels: Literal[1, 3] | None = None,
        fit: Resize = "crop",
    ) -> Self:
        """Learn the size, the number of channels and the levels. Raises ValueError for options out of range.

        size      pixels of each side of a square (default: the size of the pictures if all have the same, of at
                  most 64 pixels a side, else their median shorter side, at most 64)
        channels  1 for grey or 3 for colour (default: 1 if every picture is grey, else 3)
        fit       of pictures of another shape: "crop" keeps the middle, "pad" adds white margins, "stretch" changes
                  the shape
        """
        shapes, ranges, colour = [], [], channels == 3
        for image in values:
            shapes.append(upright_size(image))
            if (deep := deep_range(image)) is not None:
                ranges.append(deep)
            elif channels is None and not colour:
                colour = not is_grey(image)
        if not shapes:
            raise ValueError("there is no picture to learn the size from")
        if size is None and len(set(shapes)) == 1 and max(shapes[0]) <= MAX_SIDE:
            height, width = shapes[0]
        else:
            height = width = size or min(MAX_SIDE, int(statistics.median(map(min, shapes))))
        return cls(height, width, 3 if colour else 1, fit, fit_levels(ranges))

    def grow_to_fit(self, values: Iterable[PIL.Image.Image]) -> Self:
        """The same with levels for the values of these pictures, so that none is cut off."""
        ranges = [deep for image in values if (deep := deep_range(image)) is not None]
        return replace(self, levels=fit_levels(ranges, self.levels)) if ranges else self

    def refit(self, values: Iterable[PIL.Image.Image], **options: Any) -> Self:
        """The same size and shape, unless their options are given, and colour if these or the others are in colour."""
        fitted = type(self).fit(values, **options)
        height, width = (
            (self.height, self.width) if options.get("size") is None else (fitted.height, fitted.width)
        )
        channels = fitted.channels if options.get("channels") else max(self.channels, fitted.channels)
        resize = fitted.resize if options.get("fit") else self.resize
        return replace(fitted, height=height, width=width, channels=channels, resize=resize)

    @property
    def spec(self) -> Spec:
        return Spec((self.height, self.width), width=self.channels, axes=IMAGE)

    def log_scale(self, tokens: Tensor) -> Tensor:
        return torch.tensor(math.log(LEVEL), dtype=torch.float64, device=tokens.device).expand(tokens.shape)

    def dequantize(self, tokens: Tensor, rng: Rng) -> Tensor:
        return tokens + LEVEL * (rng.uniform(*tokens.shape[1:]) - 0.5)

    def check(self, value: Any) -> str | None:
        if not isinstance(value, PIL.Image.Image):
            return f"{type(value).__name__} is not a picture"
        try:
            load_pixels(value)
        except ValueError as error:
            return str(error)
        return None

    def encode(self, value: PIL.Image.Image) -> Tensor:
        """A picture -> (height * width, channels) float32 in [-1, 1]. Raises ValueError if it is unreadable."""
        if reason := self.check(value):
            raise ValueError(reason)
        image = self._resize(self._flatten(value), PIL.Image.Resampling.LANCZOS, "white")
        pixels = np.asarray(image, dtype=np.float32).reshape(-1, self.channels)
        return torch.from_numpy(pixels / 127.5 - 1)

    def resize_masked(self, value: PIL.Image.Image, known: np.ndarray) -> tuple[PIL.Image.Image, np.ndarray]:
        """A picture with the mask of its known pixels, (H, W) bool -> both at this modality's size.

        Unknown pixels have no weight in the averages; a pixel of the result is known if all pixels under it
        are.
        """
        pixels = np.asarray(self._flatten(upright(value)), dtype=np.float32)
        if known.shape != (self.height, self.width):
            weight = known.astype(np.float32)
            total = self._resize_values(weight, PIL.Image.Resampling.LANCZOS, 1).clip(min=0.1)
            channels = (
                self._resize_values(channel * weight, PIL.Image.Resampling.LANCZOS, 255) / total
                for channel in np.atleast_3d(pixels).transpose(2, 0, 1)
            )
            pixels = np.stack(list(channels), axis=-1).reshape(self.height, self.width, *pixels.shape[2:])
            known = self._resize_values(weight, PIL.Image.Resampling.BOX, 1) > 0.999
        return PIL.Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)), known

    def _flatten(self, value: PIL.Image.Image) -> PIL.Image.Image:
        """The upright picture, "L" or "RGB", at its own size."""
        return flatten(upright(value), "L" if self.channels == 1 else "RGB", self.levels)

    def _resize(
        self, image: PIL.Image.Image, method: PIL.Image.Resampling, margin: str | float
    ) -> PIL.Image.Image:
        """The picture at (height, width); margins have the colour or value `margin`."""
        size = (self.width, self.height)
        if image.size == size:
            return image
        if self.resize == "pad":
            return PIL.ImageOps.pad(image, size, method, color=margin)  # type: ignore[arg-type]
        if self.resize == "stretch":
            return image.resize(size, method)
        return PIL.ImageOps.fit(image, size, method)

    def _resize_values(self, values: np.ndarray, method: PIL.Image.Resampling, margin: float) -> np.ndarray:
        """(H, W) float32 -> (height, width)."""
        return np.asarray(self._resize(PIL.Image.fromarray(values), method, margin))

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
        return file_cell(write_exactly(value) if isinstance(value, PIL.Image.Image) else value)

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
            traits, picture = picture_findings.inspect(peek(content))
            return CellCheck(content, traits=traits, signature=near_copies.signature(picture))
        except ValueError as error:
            return CellCheck(repr(cell).encode(errors="surrogatepass"), str(error))

    def findings(self, column: ColumnValues) -> list[str]:
        return picture_findings.findings(
            column, self.height, self.width, self.channels, self.levels, crop=self.resize == "crop"
        )

    @classmethod
    def group_near_copies(cls, signatures: Sequence[bytes]) -> Sequence[Hashable]:
        return near_copies.group_signatures(signatures)

    def describe(self) -> str:
        """
        >>> Image(24, 24, 1).describe()
        '24 x 24 pixels, grey'
        """
        shape = {"crop": "", "pad": ", padded", "stretch": ", stretched"}[self.resize]
        return f"{self.height} x {self.width} pixels, {'grey' if self.channels == 1 else 'in colour'}{shape}"

    def summarize(self, value: PIL.Image.Image, longest: int = 60) -> str:
        return f"{value.height} x {value.width} {value.mode}"

    def thumbnail(self, value: PIL.Image.Image) -> PIL.Image.Image:
        return value if value.mode in ("L", "RGB", "RGBA", "P", "1") else flatten(value, "RGB", self.levels)

    def load(self, data: bytes) -> PIL.Image.Image:
        return read(data)

    def dump(self, value: PIL.Image.Image, metadata: Mapping[str, Any] | None = None) -> bytes:
        return write(value, metadata)

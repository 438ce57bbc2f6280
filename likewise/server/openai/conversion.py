"""Pictures of a model as the files that a client wants."""

from __future__ import annotations

import io

import PIL.Image

from likewise.core.provenance import read_png_chunks
from likewise.modalities import picture_files
from likewise.server.openai.bodies import ImageFields

Size = tuple[int, int]  # width, height


def convert_picture(data: bytes, fields: ImageFields, size: Size | None) -> bytes:
    """The bytes of a PNG of the model -> those of a file as the client wants it; a PNG keeps its settings."""
    if fields.output_format == "png" and size is None:
        return data
    picture = picture_files.read(data)
    if size is not None:
        assert fields.resample is not None
        if picture.mode not in ("L", "LA", "RGB", "RGBA"):
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        picture = picture.resize(size, PIL.Image.Resampling[fields.resample.upper()])
    if fields.output_format == "png":
        return picture_files.write(picture, read_png_chunks(data))
    file = io.BytesIO()
    quality = fields.output_compression
    if fields.output_format == "jpeg":
        grey = picture.mode in ("1", "L")
        picture.convert("L" if grey else "RGB").save(file, "JPEG", quality=max(1, quality))
    else:
        mode = "RGBA" if picture.has_transparency_data else "RGB"
        picture.convert(mode).save(file, "WEBP", quality=quality, lossless=quality == 100)
    return file.getvalue()

"""Pictures: their values are those that are meant, what is lost is said, and near copies stay together."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from PIL.PngImagePlugin import PngInfo

from likewise.data.table import Table
from likewise.modalities import near_copies, picture_files
from likewise.modalities.image import Image
from likewise.modalities.pixels import Levels, flatten, is_grey
from likewise.modalities.registry import modality_from_json

RAMP = np.tile(np.linspace(0, 1, 12), (12, 1))
GREYS = (RAMP * 255).round()


@pytest.fixture(autouse=True)
def _no_files_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")


def deep(values: np.ndarray, dtype: Any) -> PIL.Image.Image:
    return PIL.Image.fromarray(values.astype(dtype))


def tiff(values: np.ndarray, bits: int, photometric: int = 1) -> bytes:
    """An uncompressed grey TIFF of 12 or 16 bits."""
    rows, columns = values.shape
    if bits == 12:
        pairs = values.reshape(-1, 2).tolist()
        data = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)
    else:
        data = values.astype("<u2").tobytes()
    tags = {
        256: columns,
        257: rows,
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: rows,
        279: len(data),
    }
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, v) for tag, v in tags.items()
    )
    return (
        b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    )


def levels_of(image: Image, picture: PIL.Image.Image) -> np.ndarray:
    return np.asarray(image.decode(image.encode(picture)), dtype=float)


def findings(rows: list[dict[str, Any]], **options: Any) -> str:
    return "\n".join(Table.from_rows(rows, options=options).report.findings)


# ---- values


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
def test_values_of_fewer_bits_in_16_are_read_by_the_range_of_the_column(white: int) -> None:
    """A dark picture stays dark, as white is that of all pictures."""
    bright, dark = deep(RAMP * white, np.uint16), deep(RAMP * white * 0.6, np.uint16)
    image = Image.fit([dark, bright])
    assert image.levels.integer_white == white
    assert np.abs(levels_of(image, bright) - GREYS).max() <= 1
    assert np.abs(levels_of(image, dark) - GREYS * 0.6).max() <= 1


def test_a_picture_of_8_bits_among_those_of_16_is_not_black() -> None:
    full, eight = deep(RAMP * 65535, np.uint16), deep(RAMP * 255, np.uint16)
    image = Image.fit([full, eight])
    assert image.levels.integer_white == 65535
    for picture in (full, eight):
        assert np.abs(levels_of(image, picture) - GREYS).max() <= 1


@pytest.mark.parametrize(
    ("scale", "shift", "levels"),
    [(1, 0, (0, 1)), (255, 0, (0, 255)), (2, -1, (-1, 1)), (3000, 500, (500, 3500))],
)
def test_floats_are_read_by_their_range(scale: float, shift: float, levels: tuple[float, float]) -> None:
    picture = deep(RAMP * scale + shift, np.float32)
    image = Image.fit([picture])
    assert image.levels[2:] == pytest.approx(levels)
    assert np.abs(levels_of(image, picture) - GREYS).max() <= 1


def test_held_out_pictures_have_room() -> None:
    rows = [{"image": deep(RAMP * 255, np.uint16), "part": "a"}] * 9 + [
        {"image": deep(RAMP * 65535, np.uint16), "part": "b"}
    ] * 3
    column = Table.from_rows(rows, {"part": "text"}, by="part", holdout=0.25).columns["image"]
    for row in (rows[0], rows[-1]):
        assert np.abs(levels_of(column, row["image"]) - GREYS).max() <= 1


def test_signed_and_32_bit_values_are_read_by_their_range() -> None:
    for values in (RAMP * 2_000_000, RAMP * 5000 - 2500):
        picture = deep(values, np.int32)
        assert np.abs(levels_of(Image.fit([picture]), picture) - GREYS).max() <= 1


def test_a_tiff_of_12_bits_says_its_white_and_one_may_have_white_at_zero() -> None:
    image = Image.fit([picture_files.read(tiff((RAMP * 1000).astype(int), 12))])
    assert image.levels == Levels()
    dark = levels_of(image, picture_files.read(tiff((RAMP * 1000).astype(int), 12)))
    assert dark.max() == pytest.approx(1000 / 4095 * 255, abs=1)
    inverted = levels_of(image, picture_files.read(tiff((RAMP * 65535).astype(int), 16, photometric=0)))
    assert np.abs(inverted - (255 - GREYS)).max() <= 1


def test_values_that_are_no_numbers_are_a_bad_row() -> None:
    values = RAMP.astype(np.float32)
    values[3, 3] = np.nan
    assert "no numbers" in (Image(12, 12, 1).check(deep(values, np.float32)) or "")


def test_pictures_in_memory_keep_their_values() -> None:
    for picture in (deep(RAMP, np.float32), deep(RAMP * 70_000, np.int32), deep(RAMP * 65535, np.uint16)):
        table = Table.from_rows([{"image": picture}] * 3)
        assert np.array_equal(np.asarray(table[0]["image"]), np.asarray(picture))
        assert np.abs(levels_of(table.columns["image"], table[0]["image"]) - GREYS).max() <= 1
        assert np.asarray(table.columns["image"].thumbnail(picture)).max() == 255


def test_what_was_decided_is_said_and_saved() -> None:
    rows = [{"image": deep(RAMP * 65535, np.uint16)}] * 6 + [{"image": deep(RAMP * 255, np.uint16)}] * 6
    said = findings([*rows, *[{"image": deep(RAMP, np.float32)}] * 6])
    assert (
        "12 of 18 pictures are of 16 bits or more: 0 is read as black and 65,535 as white, and 6 with none"
        in said
    )
    assert "6 of 18 pictures are of floats: 0 is read as black and " in said
    signed = findings([{"image": deep(RAMP * 2 - 1 - i / 100, np.float32)} for i in range(3)])
    assert "3 of 3 pictures are of floats: -1.02 is read as black and 1 as white" in signed
    image = Image.fit([deep(RAMP, np.float32)], fit="pad")
    assert modality_from_json(image.to_json()) == image
    old = {"kind": "image", "height": 4, "width": 4, "channels": 1}
    assert modality_from_json(old) == Image(4, 4, 1, "crop", Levels())


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"]
)
def test_white_is_white_in_every_mode(mode: str) -> None:
    white = {"LAB": (255, 128, 128), "HSV": (0, 0, 255), "La": (255, 255), "RGBa": (255,) * 4, "PA": (0, 255)}
    plain = PIL.Image.new("RGB", (4, 4), "white")
    picture = PIL.Image.new(mode, (4, 4), white[mode]) if mode in white else plain.convert(mode)
    if mode == "PA":
        picture.putpalette([255, 255, 255])
    pixels = np.asarray(flatten(picture, "RGB"))
    assert pixels.min() >= 253
    if mode not in ("La", "RGBa", "PA"):  # which no format stores
        stored = picture_files.read(picture_files.write_exactly(picture))
        assert np.abs(np.asarray(flatten(stored, "RGB")).astype(int) - pixels).max() <= 1


def test_colours_of_cmyk_and_lab() -> None:
    for picture in (
        PIL.Image.new("CMYK", (2, 2), (0, 255, 255, 0)),
        PIL.Image.new("LAB", (2, 2), (136, 208, 195)),
    ):
        red, green, blue = np.asarray(flatten(picture, "RGB"))[0, 0].astype(int)
        assert red > 240 and green < 15 and blue < 15


# ---- grey


def test_grey_is_grey_whatever_its_mode() -> None:
    black = PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    PIL.ImageDraw.Draw(black).rectangle((2, 2, 5, 5), fill=(0, 0, 0, 255))
    hidden = PIL.Image.new("RGBA", (8, 8), (200, 0, 0, 0))  # a colour that nobody sees
    palette = PIL.Image.new("L", (8, 8), 90).convert("P")
    grey = [
        black,
        hidden,
        palette,
        PIL.Image.new("RGB", (8, 8), (7, 7, 7)),
        PIL.Image.new("CMYK", (8, 8), (0, 0, 0, 90)),
    ]
    assert all(map(is_grey, grey)) and Image.fit(grey).channels == 1
    rows = [{"image": picture} for picture in grey]
    assert "5 of 5 pictures are stored in colour and are grey; they are read as grey" in findings(rows)
    coloured = PIL.Image.new("RGB", (8, 8), (7, 7, 7))
    coloured.putpixel((3, 3), (7, 7, 8))
    assert not is_grey(coloured) and Image.fit([*grey, coloured]).channels == 3
    assert "1 of 6 pictures are in colour and are read as grey" in findings(
        [*rows, {"image": coloured}], channels=1
    )


# ---- lost parts


def marked(size: tuple[int, int]) -> PIL.Image.Image:
    """Black, with a white left quarter."""
    picture = PIL.Image.new("L", size)
    picture.paste(255, (0, 0, size[0] // 4, size[1]))
    return picture


def test_what_is_cropped_is_said_with_the_choice() -> None:
    rows = [{"image": marked((64, 16))}] * 3 + [{"image": marked((16, 16))}]
    said = findings(rows, size=16)
    assert (
        "3 of 4 pictures are cropped to their middle, in the shape 16 x 16, and lose 75% of their area; fit=pad"
        in said
    )
    for fit in ("pad", "stretch"):
        assert "cropped" not in findings(rows, size=16, fit=fit)
    assert "cropped" not in findings([{"image": marked((64, 16))}] * 3)  # all of one size


def test_crop_pad_and_stretch() -> None:
    wide = marked((64, 16))
    crop, pad, stretch = (levels_of(Image(16, 16, 1, fit), wide) for fit in ("crop", "pad", "stretch"))
    assert crop.max() < 5  # the white quarter is lost
    assert pad[:5].min() == pad[11:].min() == 255 and pad[7:9, 5:].max() < 40  # white margins above and below
    assert stretch[:, :3].min() > 200 and stretch[:, 6:].max() < 5
    with pytest.raises(ValueError, match="crop, pad, stretch"):
        Image.fit([wide], fit="squeeze")


def test_a_formula_and_a_refit_have_the_choice() -> None:
    table = Table.from_rows([{"image": marked((64, 16))}] * 3).add_views("image[fit=pad,size=16]")
    [view] = table.views.values()
    assert (view.resize, view.spec.grid) == ("pad", (16, 16)) and "padded" in view.describe()
    assert view.refit([marked((64, 16))]).resize == "pad"
    assert view.refit([marked((64, 16))], fit="stretch").resize == "stretch"


def test_known_pixels_are_resized_as_the_picture_is() -> None:
    known = np.ones((16, 64), dtype=bool)
    known[:, :16] = False
    for fit, share in (("pad", 1 - 0.25 * 0.25), ("stretch", 0.75), ("crop", 1.0)):
        picture, mask = Image(16, 16, 1, fit).resize_masked(marked((64, 16)), known)
        assert picture.size == (16, 16) and mask.mean() == pytest.approx(share, abs=0.05)


def test_frames_and_pages_are_said_and_the_first_is_read(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    for name in ("a.gif", "b.webp", "c.png", "d.tif"):
        frames[0].save(
            tmp_path / name,
            save_all=True,
            append_images=frames[1:],
            **({"lossless": True} if "webp" in name else {}),
        )
    frames[0].save(tmp_path / "e.png")
    table = Table.open(tmp_path)
    assert (
        "image: 4 of 5 pictures are animations or have several pages; the first is read"
        in table.report.findings
    )
    assert all(np.abs(levels_of(Image(8, 8, 3), row["image"])[0, 0] - [255, 0, 0]).max() < 3 for row in table)


def test_orientation_counts_for_the_size() -> None:
    picture = PIL.Image.new("L", (20, 10))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif)
    assert Image.fit([picture_files.peek(file.getvalue())]).spec.grid == (20, 10)


def test_pictures_of_one_colour_are_counted() -> None:
    white = PIL.Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    PIL.ImageDraw.Draw(white).rectangle((2, 2, 5, 5), fill=(255, 255, 255, 255))  # white on transparent
    assert "2 of 3 pictures have one colour throughout" in findings(
        [{"image": p} for p in (white, white, marked((8, 8)))]
    )


# ---- files


def png_with_text(kind: str) -> bytes:
    file, info = io.BytesIO(), PngInfo()
    info.add_text("comment", "x" * 3_000_000, zip=kind == "zTXt")
    marked((8, 8)).save(file, "PNG", pnginfo=info)
    data = file.getvalue()
    if kind != "after":
        return data
    start = data.index(b"tEXt") - 4  # behind the pixels
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    return data[:start] + data[end:-12] + data[start:end] + data[-12:]


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "after"])
def test_a_png_with_a_long_text_is_read(kind: str) -> None:
    data = png_with_text(kind)
    assert np.array_equal(np.asarray(picture_files.read(data)), np.asarray(marked((8, 8))))
    limits = PIL.PngImagePlugin.MAX_TEXT_CHUNK, PIL.PngImagePlugin.MAX_TEXT_MEMORY
    assert limits == (2**20, 2**26)  # those of Pillow stay as they are


def test_too_large_a_picture_is_refused_with_its_size() -> None:
    head = struct.pack(">II5B", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    with pytest.raises(
        ValueError, match=r"too large a picture: 400,000,000 pixels, and at most .* are read; make it"
    ):
        picture_files.peek(data)


def test_damaged_files_are_value_errors() -> None:
    """Whatever a decoder raises."""
    rng = np.random.default_rng(0)
    for form in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "TGA", "PPM", "ICNS", "JPEG2000"):
        file = io.BytesIO()
        marked((16, 16)).convert("RGB").save(file, form)
        for _ in range(25):
            data = np.frombuffer(file.getvalue(), np.uint8).copy()
            data[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
            try:
                flatten(picture_files.read(data[: rng.integers(8, len(data) + 1)].tobytes()), "RGB")
            except ValueError as error:
                assert "picture" in str(error)


def test_a_picture_of_one_pixel() -> None:
    table = Table.from_rows([{"image": PIL.Image.new("RGB", (1, 1), (20 * i, 0, 9))} for i in range(12)])
    assert table.columns["image"].spec.grid == (1, 1) and len(table.test) == 1


# ---- near copies


def shape(seed: int, side: int = 48) -> PIL.Image.Image:
    rng = np.random.default_rng(seed)
    picture = PIL.Image.new("RGB", (side, side), "white")
    draw = PIL.ImageDraw.Draw(picture)
    for _ in range(3):
        x, y, r = rng.integers(4, side - 4, 3) // (1, 1, 3)
        getattr(draw, ("ellipse", "rectangle")[seed % 2])(
            (x - r, y - r, x + r, y + r), fill=tuple(rng.integers(0, 200, 3))
        )
    return picture


def jpeg(picture: PIL.Image.Image, quality: int) -> PIL.Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return PIL.Image.open(file)


QUALITIES = (95, 85, 75, 60, 45)


def test_near_copies_are_on_one_side_and_counted() -> None:
    rows = [{"image": jpeg(shape(i), q)} for i in range(20) for q in QUALITIES]
    table = Table.from_rows(rows)
    held = {row // len(QUALITIES) for row in table._split.heldout}
    assert len(table.test) == 10 and len(held) == 2
    assert (
        "100 of 100 rows are near copies, in 20 groups of nearly the same picture, each on one side of the split"
        in (table.report.findings)
    )
    apart = Table.from_rows(rows, near_copies=False)
    assert {row // len(QUALITIES) for row in apart._split.heldout} != held
    assert any("are held out while another is a training row" in line for line in apart.report.findings)


def test_captions_of_near_copies_are_one_group() -> None:
    rows = [
        {"image": jpeg(shape(i), q), "caption": f"photo {i} quality {q}"} for i in range(12) for q in (95, 60)
    ]
    held = Table.from_rows(rows, {"caption": "text"})._split.heldout
    assert held and {row ^ 1 for row in held} == {*held}


def test_other_sizes_and_formats_are_near_copies_and_other_pictures_are_not() -> None:
    base = [shape(i) for i in range(30)]
    other = [p.resize((96, 96), PIL.Image.Resampling.LANCZOS) for p in base]
    grey = [p.convert("L").convert("RGB") for p in base]
    wide = [p.resize((96, 48)) for p in base]
    keys = near_copies.group_signatures([near_copies.signature(p) for p in [*base, *other, *grey, *wide]])
    assert keys[:30] == keys[30:60] and len({*keys[:30]}) == 30
    assert not {*keys[60:90]} & {*keys[:30]} and not {*keys[90:]} & {*keys[:30]}


def test_flat_pictures_are_near_copies_only_if_they_are_equal() -> None:
    flat = [PIL.Image.new("RGB", (20, 20), (i, i, 90)) for i in range(0, 60, 3)]
    keys = near_copies.group_signatures([near_copies.signature(p) for p in [*flat, flat[0]]])
    assert len({*keys}) == len(flat) and keys[-1] == keys[0]


def test_a_picture_that_all_rows_share_does_not_empty_the_test() -> None:
    rows = [{"image": shape(0), "caption": f"thing {i}"} for i in range(40)]
    table = Table.from_rows(rows, {"caption": "text"})
    assert len(table.test) == 4 and "4 of them are held out" in "\n".join(table.report.findings)


# ---- few rows


def test_rows_are_held_out_one_by_one_where_groups_cannot_be() -> None:
    rows = [{"image": shape(i), "caption": "a thing"} for i in range(20)]
    table = Table.from_rows(rows)
    assert len(table.test) == 2 and table.report.heldout == "row by row, as all rows have the same caption"
    assert table.report.heldout.partition(", ")[2] in table.report.findings[0]
    assert not len(Table.from_rows(rows, by="caption").test)  # as was asked for
    assert not len(Table.from_rows(rows, near_copies=False).test)  # as in runs of earlier versions


@pytest.mark.parametrize("count", [2, 3, 5, 8, 10, 11, 12])
@pytest.mark.parametrize("case", ["plain", "equal", "each class once", "one caption"])
def test_advice_for_few_rows_can_be_followed(count: int, case: str) -> None:
    rows: list[dict[str, Any]] = [{"x": 0.5 if case == "equal" else i + 0.5} for i in range(count)]
    for i, row in enumerate(rows):
        row |= {"each class once": {"label": f"c{i}"}, "one caption": {"caption": "a thing"}}.get(case, {})
    table = Table.from_rows(rows)
    if len(table.test) >= 2:
        return table.require_heldout(2, "this")
    with pytest.raises(
        ValueError, match=f"holds out {len(table.test)} of {count} rows and this needs at least 2; "
    ) as told:
        table.require_heldout(2, "this")
    advice = str(told.value).partition("; ")[2]
    if advice.startswith("open it with a holdout of "):
        Table.from_rows(rows, holdout=float(advice.split()[6])).require_heldout(2, "this")
    else:
        assert advice.startswith("bring more rows")
        assert case in ("equal", "each class once") or count < 4
    return None

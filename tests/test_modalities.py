"""Values survive the trip to tokens, to bytes and to a checkpoint and back; bad ones are refused."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tokenizers
import torch

from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.modalities import KINDS, modality_from_json
from likewise.modalities.base import Modality
from likewise.modalities.columns import ColumnValues
from likewise.modalities.image import Image
from likewise.modalities.label import Label
from likewise.modalities.linear_number import LinearNumber
from likewise.modalities.number import Number
from likewise.modalities.text import Text

CAPTIONS = [
    f"{thing} {change}{style}"
    for thing in ("truck", "heart", "cloud", "bell")
    for change in ("alert", "off", "plus")
    for style in ("", " outline")
] * 40


def noise(height: int, width: int, mode: str = "RGB", seed: int = 0) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return PIL.Image.fromarray(pixels).convert(mode)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, PIL.Image.Image):
        return a.mode == b.mode and np.array_equal(np.asarray(a), np.asarray(b))
    return a == b


EXAMPLES: list[tuple[Modality, list[Any]]] = [
    (Image(5, 7, 1), [noise(5, 7, "L")]),
    (Image(5, 7, 3), [noise(5, 7, "RGB")]),
    (Text.fit(CAPTIONS), ["truck alert outline", "heart"]),
    (Label.fit(["cat", "dog", "cat"]), ["cat", "dog"]),
    (Label.fit([10, 9, -1]), [9, -1]),
    (Label.fit(["10", "9"]), ["9"]),
    (Label.fit([True, False]), [True, False]),
    (Number.fit([1, 5, 12]), [5, 1, 12]),
    (LinearNumber.fit([1, 5, 12]), [5, -40, 1000]),
    (Number.fit([0.5, 0.25]), [0.5, 0.25]),
]


@pytest.mark.parametrize(("modality", "values"), EXAMPLES, ids=lambda x: getattr(x, "kind", ""))
def test_round_trips(modality: Modality, values: list[Any]) -> None:
    spec = modality.spec
    for value in values:
        tokens = modality.encode(value)
        assert tokens.shape == ((spec.tokens,) if spec.categorical else (spec.tokens, spec.width))
        assert tokens.dtype == (torch.int64 if spec.categorical else torch.float32)
        assert modality.check(value) is None
        decoded = modality.decode(tokens)
        assert decoded == pytest.approx(value) if modality.kind == "number" else same(decoded, value)
        assert same(modality.load(modality.dump(value)), value)
    again = modality_from_json(json.loads(json.dumps(modality.to_json())))
    assert again == modality
    assert torch.equal(again.encode(values[0]), modality.encode(values[0]))


@pytest.mark.parametrize(("modality", "values"), EXAMPLES, ids=lambda x: getattr(x, "kind", ""))
def test_any_tokens_decode(modality: Modality, values: list[Any]) -> None:
    spec, rng = modality.spec, torch.Generator().manual_seed(0)
    for _ in range(20):
        if spec.categorical:
            tokens = torch.randint(spec.classes, (spec.tokens,), generator=rng)
        else:
            tokens = 3 * torch.randn(spec.tokens, spec.width, generator=rng)
        assert isinstance(modality.decode(tokens), (str, int, float, PIL.Image.Image))


def test_kinds_and_options() -> None:
    assert {kind: list(modality.options()) for kind, modality in KINDS.items()} == {
        "image": ["size", "channels", "fit"],
        "text": ["vocabulary", "length"],
        "document": ["vocabulary", "length"],
        "label": [],
        "number": [],
        "linear": [],
        "date": ["day_first"],
        "duration": [],
        "id": [],
    }
    with pytest.raises(ValueError, match="did you mean 'image'"):
        modality_from_json({"kind": "imgae"})


# ---- image


def test_image_size_is_that_of_the_pictures_or_a_square() -> None:
    assert Image.fit([noise(20, 16)] * 3) == Image(20, 16, 3)
    assert Image.fit([noise(20, 16, "L"), noise(10, 30, "1")]) == Image(13, 13, 1)
    assert Image.fit([noise(100, 90)] * 3) == Image(64, 64, 3)
    assert Image.fit([noise(100, 90)], size=80, channels=1) == Image(80, 80, 1)
    for options in ({"size": 0}, {"channels": 2}):
        with pytest.raises(ValueError, match=str(next(iter(options)))):
            Image.fit([noise(4, 4)], **options)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr"])
def test_every_mode_becomes_the_one_asked_for(mode: str) -> None:
    white = PIL.Image.new("L", (6, 4), 255)
    picture = PIL.Image.new("I;16", (6, 4), 65535) if mode == "I;16" else white.convert("RGB").convert(mode)
    for channels in (1, 3):
        image = Image(4, 6, channels)
        assert image.encode(picture).min() == pytest.approx(1, abs=0.02)
        assert image.encode(image.load(image.dump(picture))).min() == pytest.approx(1, abs=0.02)


def test_crop_is_central_transparency_is_white_and_photographs_are_upright() -> None:
    wide = PIL.Image.new("RGBA", (30, 10), (255, 0, 0, 255))
    wide.paste((0, 0, 0, 0), (10, 0, 20, 10))
    assert Image(10, 10, 3).encode(wide).min() == 1
    turned = PIL.Image.new("L", (8, 4))
    turned.paste(255, (0, 0, 4, 4))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.info["exif"] = exif.tobytes()
    upright = np.asarray(Image(8, 4, 1).decode(Image(8, 4, 1).encode(turned)))
    assert upright[:4].min() == 255
    assert upright[4:].max() == 0


@pytest.mark.parametrize("data", [b"", b"no picture", Image(9, 9, 3).dump(noise(9, 9))[:80]])
def test_a_broken_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="unreadable picture"):
        Image(9, 9, 3).load(data)


# ---- text


@pytest.mark.parametrize("corpus", [["tiny"], CAPTIONS], ids=["bytes", "pairs"])
@pytest.mark.parametrize(
    "text", ["", " ", " truck  alert\n", "Straße 北京 😀👩‍🚒", "<end> <|endoftext|>", "\0\x7f", "a'll 3d"]
)
def test_text_is_lossless(corpus: list[str], text: str) -> None:
    modality = Text.fit(corpus, length=64)
    assert modality.decode(modality.encode(text)) == text


def test_a_frequent_word_is_one_token_anywhere() -> None:
    text = Text.fit(CAPTIONS)
    assert text.length == 3
    first, second = text.encode("truck alert outline"), text.encode("alert truck")
    assert first.tolist()[:2] == second.tolist()[1::-1]
    assert second[-1] == 0
    assert text.decode(torch.tensor([first[1], 0, first[0]])) == "alert"


def test_vocabulary_follows_the_corpus() -> None:
    assert Text.fit(["a few words"] * 20).spec.classes == 257
    assert 257 < Text.fit(CAPTIONS).spec.classes <= 257 + sum(len(c) + 1 for c in CAPTIONS) // 32
    assert Text.fit(CAPTIONS, vocabulary=270).spec.classes == 270
    with pytest.raises(ValueError, match="vocabulary must be a whole number from 257"):
        Text.fit(CAPTIONS, vocabulary=100)


def test_tokens_that_were_added_to_the_pairs_are_written_as_they_are() -> None:
    tokenizer = tokenizers.Tokenizer.from_str(Text.fit(["a b"]).tokenizer)
    tokenizer.add_tokens(["｜end of it｜", "  "])
    text = Text(tokenizer.to_str(), 8)
    assert (
        text.vocabulary.token_bytes[-2:] == ("｜end of it｜".encode(), b"  ")
        and text.vocabulary.decode([257, 258]) == "｜end of it｜  "
    )


def test_a_long_text_is_refused_and_says_what_to_do() -> None:
    text = Text.fit(["red", "blue"])
    assert "--length 9" in text.check("long red")
    with pytest.raises(ValueError, match="--length 9"):
        text.encode("long red")
    with pytest.raises(ValueError, match="--length 2001"):
        Text.fit(["x" * 2000])
    assert Text.fit(["x" * 2000], length=2001).length == 2001
    assert text.check("\ud800") and text.check(7)


def test_a_text_knows_how_texts_open_and_whether_they_have_capitals() -> None:
    text = Text.fit(["red apple"] * 150 + ["a button"])
    assert (text.lower, text.articles) == (True, ())
    text = Text.fit(["A red apple", "the heart", "heart"])
    assert (text.lower, text.articles) == (False, ("a", "the"))
    assert Text(text.tokenizer, text.length).articles == ("a", "an", "the")


def test_unseen_words() -> None:
    text = Text.fit(CAPTIONS)
    assert text.unseen_words("Truck with wheels, outline") == ["with", "wheels"]
    assert Text(text.tokenizer, text.length).unseen_words("wheels") == []


# ---- label, number


def test_a_label_without_classes_is_refused() -> None:
    for make in (
        lambda: Label.fit([]),
        lambda: Label(()),
        lambda: modality_from_json({"kind": "label", "classes": []}),
    ):
        with pytest.raises(ValueError, match="at least one class"):
            make()


def test_label_order_and_unknown_class() -> None:
    assert Label.fit([10, 9, 9]).classes == ("9", "10")
    assert Label.fit(["10", "nine"]).classes == ("10", "nine")
    assert torch.equal(Label.fit([7]).encode("7"), Label.fit(["7"]).encode(7))
    with pytest.raises(ValueError, match="did you mean 'cat'"):
        Label(("cat", "dog")).encode("cta")
    with pytest.raises(ValueError, match="unknown class"):
        Label(("cat", "dog")).load(b"bird")


def test_numbers_that_are_none() -> None:
    number = Number.fit([3, 3])
    assert number.decode(torch.tensor([[0.0]])) == 3
    assert number.spec.tokens == 1
    for value in (float("nan"), float("inf"), None, "3"):
        assert number.check(value)
        with pytest.raises(ValueError, match="number|missing"):
            number.encode(value)
    with pytest.raises(ValueError, match="'three' is not a number"):
        number.load(b"three")
    assert number.parse("4") == 4


def spread_out(seed: int = 0) -> dict[str, np.ndarray]:
    """Columns of 2,000 numbers of every shape and magnitude."""
    draw = np.random.default_rng(seed)
    salaries = np.exp(draw.normal(10, 0.5, 2000))
    zeros = np.arange(2000) % 2 * salaries
    columns = {
        "log-normal": salaries,
        "heavy tail": np.exp(draw.normal(0, 2, 2000)),
        "cauchy": draw.standard_cauchy(2000),
        "half zeros": zeros,
        "huge integers": draw.integers(0, 10**17, 2000).astype(float),
        "tiny": 1e-30 * draw.random(2000),
        "subnormal": 1e-320 * draw.random(2000),
        "near the limit": 4e307 * draw.normal(size=2000).clip(-4, 4),
        "negative": -salaries,
        "constant": np.full(2000, 0.1),
        "tiny constant": np.full(2000, 1e-30),
    }
    for name in ("log-normal", "half zeros", "negative", "tiny", "constant"):
        for far in (1e11, -1e300):
            columns[f"{name} and {far:g}"] = np.append(columns[name], far)
    return columns


@pytest.mark.parametrize("name", spread_out())
def test_a_number_of_any_magnitude_comes_back(name: str) -> None:
    values = spread_out()[name]
    number = LinearNumber.fit(values)
    tokens = number.encode_all(values).flatten()
    assert (
        tokens.isfinite().all()
        and (tokens.argsort(stable=True).numpy() == values.argsort(kind="stable")).all()
    )
    decoded = np.array([number.decode(token) for token in tokens], float)
    unit = np.maximum(np.abs(values / 2 - number.mean / 2), number.std / 2)
    assert (
        np.abs(decoded / 2 - values / 2) <= 1e-4 * unit
    ).all()  # beyond the limit a float32 keeps the logarithm
    assert modality_from_json(json.loads(json.dumps(number.to_json(), allow_nan=False))) == number
    for extreme in (-1e9, -50.0, 50.0, 1e9):
        assert abs(number.decode(torch.tensor([[extreme]]))) <= sys.float_info.max


@pytest.mark.parametrize("name", spread_out())
def test_ranks_of_numbers_of_any_magnitude(name: str) -> None:
    """Tokens increase with values, nearly normal; values come back, and no token decodes to one beyond them."""
    values = spread_out()[name]
    number = Number.fit(values)
    tokens = number.encode_all(values).flatten()
    assert tokens.isfinite().all() and tokens.abs().max() < 5
    order = values.argsort(kind="stable")
    assert (np.diff(tokens.numpy()[order]) >= 0).all()
    decoded = np.array(number.decode_all(tokens[:, None, None]), float)
    ranks, again = (v.argsort(kind="stable").argsort() for v in (values, decoded))
    assert np.abs(ranks - again).max() < 40  # of 2,000, whose digits a float32 does not all keep
    assert modality_from_json(json.loads(json.dumps(number.to_json(), allow_nan=False))) == number
    samples = np.array(number.decode_all(4 * torch.randn(500, 1, 1)), float)
    assert samples.min() >= values.min() and samples.max() <= values.max()
    for beyond in (values.min() - 1, values.max() + 1, -1e305, 1e305):
        assert number.encode(float(beyond)).isfinite().all()


def grids(seed: int = 0) -> dict[str, np.ndarray]:
    """Columns of values on a lattice, or of a few values."""
    draw = np.random.default_rng(seed)
    return {
        "cents": np.round(draw.lognormal(3, 1, 3000), 2),
        "fives": 5.0 * draw.integers(0, 40, 3000),
        "counts": draw.poisson(0.7, 3000).astype(float),
        "cylinders": draw.choice([4.0, 5.0, 6.0, 8.0, 12.0], 3000),
        "inflated": np.where(draw.random(3000) < 0.6, 0.0, np.round(draw.lognormal(7, 2, 3000))),
        "few": np.array([0.1, 0.25, 0.7]),
    }


@pytest.mark.parametrize("name", grids())
def test_values_keep_their_lattice_and_their_frequencies(name: str) -> None:
    values = grids()[name]
    number = Number.fit(values)
    tokens = number.encode_all(values)
    assert number.decode_all(tokens) == values.tolist()  # to the last bit
    normal = torch.special.ndtri((torch.arange(20_000) + 0.5) / 20_000)[:, None, None]
    samples = np.array(number.decode_all(normal), float)
    steps = samples / number.step
    assert np.abs(steps - steps.round()).max() < 1e-6
    for value, count in zip(*np.unique(values, return_counts=True), strict=True):
        if count > 30:
            assert abs((samples == value).mean() - count / len(values)) < 2e-3
    if name in ("cylinders", "fives"):
        assert set(samples) <= set(values)
    # probabilities of all values sum to 1: standard normal tokens are the training distribution
    support = np.arange(number.low, number.high + number.step / 2, number.step).round(6)[:5000]
    z = number.encode_all(support)
    log_p = (-0.5 * z**2 - 0.5 * np.log(2 * np.pi)).double() + number.log_scale(z)
    if len(support) < 5000 and name != "few":
        assert abs(float(log_p.exp().sum()) - 1) < 0.02


def test_missing_values_are_the_lowest_interval() -> None:
    draw = np.random.default_rng(0)
    values = [None if u < 0.3 else round(10 * u, 1) for u in draw.random(2000)]
    number = Number.fit(values)
    tokens = number.encode_all(values)
    assert number.decode_all(tokens) == values and number.check(None) is None
    assert abs(float(tokens.mean())) < 0.1 and "missing" in number.describe()
    samples = number.decode_all(torch.randn(4000, 1, 1))
    assert abs(samples.count(None) / 4000 - 0.3) < 0.03
    noisy = number.dequantize(tokens, Rng(range(2000), "test"))
    assert number.decode_all(noisy) == values
    assert modality_from_json(json.loads(json.dumps(number.to_json()))) == number


def test_without_far_values_a_number_is_standardised_by_all() -> None:
    draw = np.random.default_rng(0)
    for values in (
        draw.normal(3, 5, 999),
        draw.exponential(size=2000),
        draw.integers(0, 90, 500),
        np.eye(20)[0],
    ):
        number = LinearNumber.fit(values)
        assert (number.mean, number.std) == (values.mean(), values.std())
        assert torch.equal(
            number.encode_all(values).flatten(), torch.tensor((values - values.mean()) / values.std()).float()
        )


@pytest.mark.parametrize("far", [[1e11], [-1e11], [1e11] * 40, [1e7, 1e11, 1e300]])
@pytest.mark.parametrize("name", ["log-normal", "half zeros", "tiny", "constant", "negative"])
def test_far_values_do_not_change_the_scale_of_the_others(name: str, far: list[float]) -> None:
    values = spread_out()[name]
    if name == "constant" and len(far) > 3:
        far = far[:3]  # 2 % of other values are no rare ones
    alone, beside = LinearNumber.fit(values), LinearNumber.fit(np.append(values, far))
    assert (beside.mean, beside.std) == (alone.mean, alone.std)
    tokens = beside.encode_all(far).flatten()
    assert (tokens.abs() > beside.limit).all() and tokens.abs().max() < 1500


def test_a_far_value_is_named_with_its_row() -> None:
    rows = [{"age": 20.5 + i % 50, "id": 10**12 + i * i} for i in range(300)]
    rows[17]["age"], rows[40]["age"] = 999.0, -1e6
    findings = Table.from_rows(rows, {"age": "number", "id": "number"}).report.findings
    assert findings == [
        "age: 2 of 300 values are far from the others, which lie between 20.5 and 69.5: 999 (row 17), "
        "-1e+06 (row 40); correct them if they are errors"
    ]


def test_numbers_of_earlier_runs_are_linear() -> None:
    number = modality_from_json(
        {"kind": "linear", "mean": 1.0, "std": 2.0, "integer": False, "low": 0.0, "high": 5.0}
    )
    assert number.limit is None and float(number.encode(2001.0)) == 1000
    assert number.decode(torch.tensor([[1000.0]])) == 2001.0
    assert number.findings(ColumnValues("x", [1e9], ["row 0"], Counter())) == []
    refitted = number.refit([0.0, 1.0, 2.0, 5.0, -2.0, 1e11])  # the weights stay, a far value is tamed
    assert (refitted.mean, refitted.std) == (1.0, 2.0) and refitted.encode(1e11).abs() < 50


def test_a_whole_number_is_among_the_tokens_that_are_rounded_to_it() -> None:
    number = LinearNumber.fit([0, 1, 2, 3] * 50 + [10**6])
    for value in (0, 2, 3, 14, 50, 1000):
        tokens = number.encode_all([value] * 400)
        noisy = number.dequantize(tokens, Rng(range(400), "test"))
        assert {number.decode(token) for token in noisy} == {value}
        unrounded = np.array([replace(number, integer=False).decode(token) for token in noisy])
        assert abs(unrounded.mean() - value) < 0.06 and abs(unrounded.std() - 12**-0.5) < 0.03


def test_parse_takes_a_text_or_the_path_of_a_picture(tmp_path: Any) -> None:
    picture = noise(3, 3)
    (tmp_path / "a.png").write_bytes(Image(3, 3, 3).dump(picture))
    assert same(Image(3, 3, 3).parse(str(tmp_path / "a.png")), picture)
    assert Label(("7",)).parse("7") == "7"

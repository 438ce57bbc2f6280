"""Infill, vary, interpolate, negative: what each must do, on the toy world where truth is known."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import toy
from matrix import ROW_FAMILIES, mainly

import likewise
from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.families.registry import FAMILIES, family_class, sampling_families
from likewise.modalities.image import Image
from likewise.models.model import Model
from likewise.testing import fit_to_random_rows
from likewise.training.plan import Plan
from likewise.training.trainer import train

LED = ["flow", "diffusion"]
TRAINED = mainly(["flow"], LED)  # where a model is trained for it
REAL = toy.rows(16, seed=9)  # rows that no model has seen
CACHE: dict[tuple[str, str], Model] = {}


def learned(world: Table, family: str, steps: int = 250, key: str = "four", **plan: Any) -> Model:
    """P(image | text) of the toy world, trained once for all tests that ask it."""
    if (family, key) not in CACHE:
        model = Model("image | text", world.columns, family, width=64, depth=2, infill=0.5)
        plan = {"batch": 64, "lr": 4e-3, "muon_lr": 0.03, "warmup": 20, "precision": "float32", **plan}
        for _ in train(model, world, Plan(steps=steps, **plan)):
            pass
        CACHE[family, key] = model.eval()
    return CACHE[family, key]


def shaken(
    world: Table, family: str, formula: str = "image | label", by: float = 0.1, **options: Any
) -> Model:
    """A model that draws something, without training."""
    small = {n: v for n, v in {"width": 32, "depth": 1}.items() if n in family_class(family).options()}
    model = Model(formula, world.columns, family, **small, **options).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(by * torch.randn(p.shape, generator=draw))
    if not model.family.learns_by_gradients:
        fit_to_random_rows(model.family, 0)
    return model


def pixels(row: dict[str, Any]) -> np.ndarray:
    return np.asarray(row["image"], dtype=float)


def apart(a: dict[str, Any], b: dict[str, Any]) -> float:
    return float(np.abs(pixels(a) - pixels(b)).max())


# ---- infill


@pytest.mark.full
@pytest.mark.parametrize("family", TRAINED)
def test_the_text_says_what_appears_in_the_hole(world: Table, family: str) -> None:
    """An empty left half leaves open whether a box is above on the right or a cross below."""
    model, left = learned(world, family), np.arange(toy.SIZE) < toy.SIZE // 2
    mask = torch.from_numpy(left).expand(toy.SIZE, -1)
    empty = [row for row in REAL if row["label"] == "1" and pixels(row)[:, left].max() < 128]
    asked, drawn = [], []
    for row in empty:
        for thing in (1, 3):
            asked += [thing] * 8
            drawn += model.given(text=toy.WORDS[thing]).sample(8, known={"image": (row["image"], mask)})
            assert all(
                (pixels(d)[:, left] == pixels(row)[:, left]).all() for d in drawn[-8:]
            )  # byte for byte
    assert len(empty) > 1 and toy.agreement(asked, "image", drawn) > 0.9


@pytest.mark.parametrize("family", [f for f in sampling_families() if f not in ("mixture", *ROW_FAMILIES)])
def test_known_pixels_come_back_exactly(world: Table, family: str) -> None:
    mask = np.zeros((toy.SIZE, toy.SIZE), dtype=bool)
    mask[3:8, :6] = True
    [row] = shaken(world, family).given().sample(1, known={"image": (REAL[0]["image"], mask)})
    assert (pixels(row) == pixels(REAL[0]))[mask].all() and (pixels(row) != pixels(REAL[0]))[~mask].any()


def test_a_hole_has_no_part_in_the_colours_beside_it() -> None:
    """A picture of one colour with a black hole, made smaller: what holds has that colour still."""
    pixels = np.full((48, 72), 200, dtype=np.uint8)
    known = np.ones(pixels.shape, dtype=bool)
    known[10:30, 20:37] = False
    pixels[~known] = 0
    small, holds = Image(12, 12, 1).resize_masked(PIL.Image.fromarray(pixels), known)
    assert (np.asarray(small)[holds] == 200).all()
    # The middle 48 x 48 pixels become 12 x 12: columns 20 to 36 are 8 to 24 of them, rows 10 to 29 start in half a cell.
    hole = np.zeros((12, 12), dtype=bool)
    hole[2:8, 2:7] = True
    assert (holds == ~hole).all()


# ---- vary


@pytest.mark.full
@pytest.mark.parametrize("family", TRAINED)
def test_strength_is_the_way_from_a_picture(world: Table, family: str) -> None:
    """The distance grows with strength; near 0 the picture comes back, and 1 is a draw from scratch."""
    model, picture = learned(world, family), REAL[1]
    given = model.given(text=toy.WORDS[1])

    def distance(strength: float) -> float:
        drawn = given.sample(16, init=({"image": picture["image"]}, strength))
        return float(np.mean([np.abs(pixels(row) - pixels(picture)).mean() for row in drawn]))

    far = [distance(s) for s in (0.02, 0.6, 0.8, 1.0)]
    assert all(a < b for a, b in itertools.pairwise(far)), far
    assert far[0] < 0.35 * far[-1], far


@pytest.mark.parametrize("family", [*LED, "autoencoder", "vae"])
def test_a_strength_of_one_is_a_draw_from_scratch(world: Table, family: str) -> None:
    given = shaken(world, family).given(label="0")
    plain = given.sample(2)
    near, far = (given.sample(2, init=({"image": REAL[1]["image"]}, s)) for s in (0.05, 1.0))
    assert all(apart(a, b) <= 1 for a, b in zip(plain, far, strict=True))
    assert all(apart(a, b) > 1 for a, b in zip(plain, near, strict=True))
    assert apart(*near) < apart(*plain)


VARIED = [
    ("flow", {"predict": "x"}, {"sampler": "euler"}),
    ("flow", {"predict": "x"}, {"sampler": "heun", "guidance": 3.0, "steps": 3}),
    ("flow", {"predict": "x"}, {"sampler": "ab2"}),
    ("flow", {"predict": "v"}, {"sampler": "dpmpp_2m"}),
    ("flow", {"predict": "x"}, {"sampler": "stochastic"}),
    ("diffusion", {"predict": "noise"}, {"steps": 8}),
    ("diffusion", {"predict": "x"}, {"sampler": "dpmpp_2m", "steps": 8}),
    ("autoencoder", {}, {}),
    ("autoencoder", {"bottleneck": "fsq"}, {"noise": True}),
    ("vae", {"decoder": "bernoulli"}, {}),
    ("vae", {}, {"noise": True}),
]


def off(name: str, a: Any, b: Any) -> float:
    """How far two values of a column are apart: levels of a pixel, a number, or whether they differ."""
    if name == "image":
        return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())
    return abs(a - b) if name == "number" else float(a != b)


@pytest.mark.parametrize(("family", "options", "sampling"), VARIED)
def test_every_value_comes_back_as_the_strength_falls(
    world: Table, family: str, options: dict[str, Any], sampling: dict[str, Any]
) -> None:
    """Of a model that knows nothing of the data, and whose errors are large."""
    guided = "guidance" in sampling
    formula = "image, number, label | text" if guided else "image, number, label, text"
    model = shaken(world, family, formula, 0.03, **options)
    given, names = model.given(text="box") if guided else model.given(), model.targets
    mean = {}
    for strength in (1e-5, 0.03, 0.3, 1.0):
        pairs = [
            (r, d)
            for r in REAL[1:3]
            for d in given.sample(6, init=({n: r[n] for n in names}, strength), **sampling)
        ]
        mean[strength] = {n: float(np.mean([off(n, d[n], r[n]) for r, d in pairs])) for n in names}
    close = {"image": 0.5, "number": 1e-3, "label": 0.0, "text": 0.0}
    for name, most in ((n, close[n]) for n in names):
        values = [means[name] for means in mean.values()]
        assert values[0] <= most < values[-1], (name, values)
        rising = values if name == "image" else values[:-1]  # a number from scratch may be near by chance
        assert all(a <= b for a, b in itertools.pairwise(rising)), (name, values)


def test_pictures_seen_through_codes_come_back(world: Table) -> None:
    """The autoencoder of this run, of three steps of training, reconstructs next to nothing."""
    model, picture = likewise.load(Path(__file__).parent / "runs_v1" / "latent"), REAL[2]["image"]
    column = model.columns["image@codes"]
    assert off("image", column.decode(column.encode(picture)), picture) > 10
    far = [
        float(
            np.mean(
                [
                    off("image", row["image@codes"], picture)
                    for row in model.sample([{}] * 4, init=({"image@codes": picture}, s))
                ]
            )
        )
        for s in (1e-4, 0.03, 0.3, 1.0)
    ]
    assert far[0] < 0.5 and all(a < b for a, b in itertools.pairwise(far)), far
    plain = model.sample([{}] * 4)
    again = model.sample([{}] * 4, init=({"image@codes": picture}, 1.0))
    assert [row["image@codes"].tobytes() for row in plain] == [row["image@codes"].tobytes() for row in again]


@pytest.mark.parametrize(
    "sampling", [{"sampler": "dpmpp_2m", "guidance": 1.0}, {"sampler": "jump", "steps": 2}]
)
def test_emoji_come_back(sampling: dict[str, Any]) -> None:
    """A trained model of pictures: its error near data was 9 levels, whatever the strength."""
    model = likewise.load("emoji")
    [row] = model.given(text="red apple").sample(1)

    def distance(strength: float) -> float:
        drawn = model.given(text="blue heart").sample(2, init=({"image": row["image"]}, strength), **sampling)
        return float(np.mean([off("image", d["image"], row["image"]) for d in drawn]))

    far = [distance(s) for s in (1e-4, 0.02, 0.3, 0.9)]
    assert far[0] < 0.5 and all(a < b for a, b in itertools.pairwise(far)), far


def test_a_start_needs_every_target(world: Table) -> None:
    model = shaken(world, "flow", "image, label")
    picture = {"image": REAL[0]["image"]}
    with pytest.raises(ValueError, match="'label' has none"):
        model.sample([{}], init=(picture, 0.5))
    [row] = model.sample([{}], init=(picture, 0.5), known={"label": "2"})
    assert row["label"] == "2"
    with pytest.raises(ValueError, match="unknown target 'imgae': did you mean 'image'"):
        model.sample([{}], init=({"imgae": 0}, 0.5))


@pytest.mark.parametrize("strength", [0.0, -0.5, 1.5, float("nan")])
def test_a_strength_outside_its_range(world: Table, strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be a number above 0 and at most 1, not"):
        shaken(world, "flow").sample([{}], init=({"image": REAL[0]["image"]}, strength))


# ---- interpolate


@pytest.mark.parametrize("family", [*LED, "autoencoder"])
def test_the_ends_are_plain_samples(world: Table, family: str) -> None:
    model = shaken(world, family)
    first, last = {"label": "0"}, {"label": "3"}
    rows = model.interpolate(first, last, 5, seeds=(1, 2))
    ends = [model.sample([end], seed=seed)[0] for end, seed in ((first, 1), (last, 2))]
    assert len(rows) == 5 and apart(rows[0], ends[0]) <= 1 and apart(rows[-1], ends[1]) <= 1
    assert apart(*ends) > 10 and all(apart(a, b) > 1 for a, b in itertools.pairwise(rows))


@pytest.mark.parametrize("family", sampling_families())
def test_every_family_goes_from_one_seed_to_another(world: Table, family: str) -> None:
    model = shaken(world, family, "number, label")
    rows = model.interpolate({}, {}, 9, seeds=(0, 5))
    ends = [model.sample([{}], seed=seed)[0] for seed in (0, 5)]
    for row, end in zip((rows[0], rows[-1]), ends, strict=True):
        assert row["number"] == pytest.approx(end["number"], abs=1e-4) and row["label"] == end["label"]
    assert len({row["number"] for row in rows}) > 2


@pytest.mark.parametrize("family", TRAINED)
def test_between_two_texts_one_thing_becomes_the_other(world: Table, family: str) -> None:
    model = learned(world, family, 200, "few", batch=32)
    rows = model.interpolate({"text": toy.WORDS[0]}, {"text": toy.WORDS[3]}, 11)
    things = [toy.seen(row["image"]) for row in rows]
    assert things[0] == 0 and things[-1] == 3
    assert all(t == 0 for t in things[:3]) and all(t == 3 for t in things[-3:])


def test_noise_between_two_seeds_is_noise() -> None:
    """Numbers stay normal, and uniform, whatever the share; its ends are theirs to the last bit."""
    share = torch.linspace(0, 1, 5)
    ends = [Rng([0] * 5, "noise", seed) for seed in (0, 1)]
    rng = Rng.slerp(*ends, share)
    normal, uniform = rng.normal(20_000), rng.uniform(20_000)
    assert (normal.mean(1).abs() < 0.03).all() and ((normal.std(1) - 1).abs() < 0.02).all()
    assert ((uniform.mean(1) - 0.5).abs() < 0.01).all() and ((12 * uniform.var(1) - 1).abs() < 0.03).all()
    assert (uniform >= 0).all() and (uniform < 1).all()
    for at, seed in ((0, 0), (4, 1)):
        plain = Rng([0], "noise", seed)
        assert (normal[at] == plain.normal(20_000)[0]).all() and (
            uniform[at] == plain.uniform(20_000)[0]
        ).all()
    assert torch.corrcoef(normal)[0, 2] == pytest.approx(0.5**0.5, abs=0.03)
    part = Rng.slerp(*(Rng([0] * 5, "noise", seed) for seed in (0, 1)), share).take(torch.tensor([3, 1]))
    assert (part.normal(20_000) == normal[[3, 1]]).all()


def test_one_step_is_no_interpolation(world: Table) -> None:
    with pytest.raises(ValueError, match="n must be a whole number from 2 to 10,000, not 1"):
        shaken(world, "flow").interpolate({}, {}, 1)


# ---- negative


@pytest.mark.full
@pytest.mark.parametrize("family", LED)
def test_not_the_one_of_two_is_the_other(family: str) -> None:
    two = Table.from_rows(
        [{k: row[k] for k in ("image", "text")} for row in toy.rows(256) if row["label"] in "03"],
        {"image": "image", "text": "text"},
        holdout=0.0,
    )
    model = learned(
        two, family, 700, "two", source_dropout=0.5
    )  # half of the rows show what no source looks like
    for thing, other in ((0, 3), (3, 0)):
        drawn = model.sample([{}] * 40, negative={"text": toy.WORDS[thing]}, guidance=6.0)
        assert toy.agreement([other] * 40, "image", drawn) > 0.9


@pytest.mark.parametrize("family", [*LED, "autoencoder", "autoregressive"])
def test_a_negative_counts(world: Table, family: str) -> None:
    """Nothing as the negative is guidance as ever; another negative is another draw."""
    given = shaken(world, family).given(label="0")
    plain, nothing, other = (given.sample(1, guidance=3.0, negative=n)[0] for n in (None, {}, {"label": "3"}))
    assert apart(plain, nothing) <= 1 < apart(plain, other)
    with pytest.raises(ValueError, match="with guidance 1 a negative has no effect; ask for more"):
        given.sample(1, guidance=1.0, negative={"label": "3"})


def test_a_negative_of_numbers_drawn_token_by_token(world: Table) -> None:
    with pytest.raises(ValueError, match="every target is a number; take the family flow or diffusion"):
        shaken(world, "autoregressive", "number | label").given().sample(
            1, guidance=3.0, negative={"label": "3"}
        )


@pytest.mark.parametrize(
    ("negative", "expected"),
    [({"labl": "1"}, "unknown source 'labl': did you mean 'label'"), ({"label": "9"}, "unknown class '9'")],
)
def test_a_negative_is_made_of_sources(world: Table, negative: dict[str, str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        shaken(world, "flow").sample([{}], negative=negative)


# ---- families that cannot


@pytest.mark.parametrize(
    ("family", "how", "expected"),
    [
        (
            "gan",
            {"negative": {"label": "1"}},
            "the family gan cannot be guided away from negative sources; those that can: autoencoder, "
            "diffusion, flow, autoregressive",
        ),
        ("vae", {"negative": {"label": "1"}}, "the family vae cannot be guided away from negative sources"),
        (
            "gan",
            {"init": ({}, 0.5)},
            "the family gan cannot start from given values; those that can: autoencoder, vae, diffusion, flow",
        ),
        ("mixture", {"init": ({}, 0.5)}, "the family mixture cannot start from given values"),
    ],
)
def test_what_a_family_cannot_do(world: Table, family: str, how: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        shaken(world, family).given(label="0").sample(1, **how)


def test_a_family_that_cannot_go_between_sources(world: Table) -> None:
    with pytest.raises(
        ValueError,
        match="the family gan cannot interpolate between sources; those that can: autoencoder, diffusion, flow",
    ):
        shaken(world, "gan").interpolate({"label": "0"}, {"label": "1"})


def test_leads_are_no_knobs() -> None:
    for name in FAMILIES:
        assert not set(family_class(name).sampling_options()) & {"negative", "interpolate_to", "init"}


# ---- the arithmetic of drawing


def test_bfloat16_draws_the_same_pictures() -> None:
    """Flat areas too: what a picture is made of at last has more digits."""
    model = likewise.load("emoji")
    rows = [
        {"text": text, "style": style}
        for text in ("red apple", "car", "cat face")
        for style in ("flat", "twemoji")
    ]
    pictures = {
        p: np.stack(
            [np.asarray(row["image"].convert("RGB"), dtype=float) for row in model.sample(rows, precision=p)]
        )
        for p in ("float32", "bfloat16")
    }
    flat = {p: (np.diff(x, axis=1) == 0).all(-1).mean() for p, x in pictures.items()}
    assert 0 < np.abs(pictures["bfloat16"] - pictures["float32"]).mean() < 2
    assert flat["bfloat16"] == pytest.approx(flat["float32"], rel=0.1)


def test_few_numbers_and_what_must_be_exact_stay_in_float32(
    world: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    picture, label = (shaken(world, "flow", formula).family for formula in ("image | label", "label | image"))
    assert next(picture.compute_copy().parameters()).dtype == torch.bfloat16
    assert label.compute_copy() is label and picture.compute_copy(precision="float32") is picture
    mixture = shaken(world, "mixture").family
    assert mixture.compute_copy() is mixture


def test_another_arithmetic(world: Table) -> None:
    with pytest.raises(ValueError, match="precision must be one of auto, bfloat16, float32, not 'half'"):
        shaken(world, "flow").given(label="0").sample(1, precision="half")

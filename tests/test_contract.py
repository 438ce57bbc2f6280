"""What every family must do: the public checks on specs, the same through a Model on real values, and that the checks can fail."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import PIL.Image
import pytest
import torch
import torch.nn.functional as F
import toy
from matrix import pairwise, representative
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.formula import Formula
from likewise.core.known import KnownParts, sample_masks
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.spec import Spec
from likewise.families.base import Family
from likewise.families.registry import FAMILIES, family_class, sampling_families
from likewise.modalities.base import Modality
from likewise.modalities.image import Image
from likewise.modalities.label import Label
from likewise.modalities.linear_number import LinearNumber
from likewise.modalities.text import Text
from likewise.models.model import Model
from likewise.nets.column_weights import by_column
from likewise.testing import CASES, CHECKS, Check, Subject, check_family, fit_to_random_rows, run_check


def short(specs: Mapping[str, Spec]) -> bool:
    """Whether all columns are of one token."""
    return all(spec.tokens == spec.width == 1 for spec in specs.values())


ALIGNED = ["several", "captioned", "row"]  # two columns or more and no source: all that contrastive takes
OF_SHORT = [name for name, case in CASES.items() if short(case.targets)]
ALL_SHORT = [name for name in OF_SHORT if short(CASES[name].sources)]
CASES_OF = {"contrastive": ALIGNED, "any_order": OF_SHORT, "trees": ALL_SHORT}  # of other families all
APPLICABLE = [
    (family, case, name)
    for family in FAMILIES
    for case in CASES_OF.get(family, CASES)
    for name, check in CHECKS.items()
    if not check.inapplicable(family_class(family), CASES[case])
]
PICTURES = [family for family in sampling_families() if family not in CASES_OF]  # families that sample them
OF_NUMBERS = ("diffusion", "flow")  # families whose density is of numbers only


@pytest.mark.parametrize(("family", "case", "check"), pairwise(APPLICABLE))
def test_family(family: str, case: str, check: str) -> None:
    assert run_check(family_class(family), case, check) > 0


def test_every_check_is_run_by_default_on_every_family_and_case_that_it_applies_to() -> None:
    default = representative(APPLICABLE)
    assert len(default) < len(APPLICABLE) / 5
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert {(row[first], row[second]) for row in default} == {
            (row[first], row[second]) for row in APPLICABLE
        }
    assert {family for family, _, _ in default} == set(FAMILIES)
    assert {case for _, case, _ in default} == set(CASES)
    assert {check for _, _, check in default} == set(CHECKS)


@pytest.mark.parametrize("case", CASES)
def test_every_source_is_given_in_some_rows_and_missing_in_others(case: str) -> None:
    """So that no check of sources looks at no row."""
    subject = Subject(Tiny, CASES[case], {})
    assert subject.c.present.shape == (len(subject.x[next(iter(subject.x))]), len(CASES[case].sources))
    for i, value in enumerate(subject.c.values.values()):
        given = subject.c.present[:, i]
        assert (given & (value != value.roll(1, 0)).flatten(1).any(1)).any() and not given.all()


def test_contrastive_takes_no_other_case() -> None:
    others = CASES.keys() - set(ALIGNED)
    assert len(others) == len(CASES) - len(ALIGNED)
    for name in others:
        with pytest.raises(ValueError, match="takes no sources|two columns or more"):
            run_check(family_class("contrastive"), name, "losses")


@pytest.mark.parametrize("family", [f for f in FAMILIES if hasattr(family_class(f), "log_prob")])
def test_which_families_have_a_density_of_classes(family: str) -> None:
    subject = Subject(family_class(family), CASES["label"], {})
    steps = {"steps": 2} if family in OF_NUMBERS else {}
    rng = Rng(range(len(subject.c.present)), "score")
    if family in OF_NUMBERS:
        with pytest.raises(ValueError, match="the target 'label' is categorical"):
            subject.family.log_prob(subject.x, subject.c, rng=rng, **steps)
    else:
        assert subject.family.log_prob(subject.x, subject.c, rng=rng).kind in ("exact", "bound")


@pytest.mark.parametrize(
    ("check", "family", "case"),
    [
        ("sources_count", "flow", "number"),
        ("samples", "contrastive", "several"),
        ("embeddings", "flow", "number"),
        ("scores", "gan", "number"),
        ("loss_by_row", "contrastive", "several"),
    ],
)
def test_a_check_that_does_not_apply_says_why(check: str, family: str, case: str) -> None:
    assert (family, case, check) not in APPLICABLE
    with pytest.raises(ValueError, match="does not apply, for the (family|loss|case) "):
        run_check(family_class(family), case, check)


def test_a_check_that_looks_at_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHECKS, "empty", Check(lambda s: iter(()), ()))
    with pytest.raises(AssertionError, match="Tiny, case number, check empty: no condition was looked at"):
        run_check(Tiny, "number", "empty")


# ---- the same through a model: values that a person can look at

COLUMNS: dict[str, Modality] = {
    "label": Label(("cat", "dog", "owl")),
    "number": LinearNumber(10.0, 4.0, False, 0.0, 20.0),
    "grey": Image(12, 12, 1),
    "colour": Image(9, 13, 3),
    "text": Text.fit(["a cat", "two dogs", "owl"]),
    "source": Text.fit(["red cat", "blue dog"]),
    "photo": Image(8, 10, 3),
    "price": LinearNumber(0.0, 1.0, True, -3.0, 3.0),
    "kind": Label(("a", "b")),
}
VALUES: dict[str, Any] = {
    "label": "owl",
    "number": 12.5,
    "grey": toy.rows(1, size=12)[0]["image"],
    "text": "a dog",
    "source": "blue cat",
    "price": 2,
    "kind": "b",
    "colour": PIL.Image.effect_noise((13, 9), 60).convert("RGB"),
    "photo": PIL.Image.effect_noise((10, 8), 60).convert("RGB"),
}
SMALL = {"width": 32, "depth": 1}  # of a flow


def small(family: str) -> dict[str, Any]:
    """Those of them that are options of the family."""
    return {n: v for n, v in SMALL.items() if n in family_class(family).options()}


FORMULAS = [
    "label",
    "number | source",
    "grey | kind",
    "colour | price, photo",
    "text | kind, source",
    "grey, label, number | source, photo",
    "number, label, price | kind",
]


def formulas_of(family: str) -> list[str]:
    """The formulas that a family can learn."""
    if family not in CASES_OF:
        return FORMULAS
    learned = {f: Formula.parse(f) for f in FORMULAS}
    names = {f: x.target_names if family == "any_order" else x.columns for f, x in learned.items()}
    return [f for f in FORMULAS if short({n: COLUMNS[n].spec for n in names[f]})]


def small_model(family: str, formula: str) -> Model:
    """A small model whose weights have been moved off their starting point."""
    model = Model(formula, COLUMNS, family, **small(family)).eval()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=draw))
    if not model.family.learns_by_gradients:
        fit_to_random_rows(model.family, 0)
    return model


def same(name: str, a: Any, b: Any) -> bool:
    """Whether two values of a column are equal: pictures to a level (of 8 bits), numbers to rounding."""
    if isinstance(a, PIL.Image.Image):
        return a.size == b.size and a.mode == b.mode and float((pixels(a) - pixels(b)).abs().max()) <= 1
    return abs(a - b) < 1e-3 if name in ("number", "price") else a == b


def pixels(image: PIL.Image.Image) -> Tensor:
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).float()


def same_rows(a: list[dict], b: list[dict]) -> bool:
    return len(a) == len(b) and all(same(n, x[n], y[n]) for x, y in zip(a, b, strict=True) for n in x)


def a_sample_depends_on_seed_and_index(model: Model, _: Path) -> None:
    given, exact = {n: VALUES[n] for n in model.sources}, {"seed": 3, "precision": "float32"}
    rows = model.given(**given).sample(5, **exact)
    assert all(set(row) == {*model.targets, *given} for row in rows)
    assert same_rows(rows, model.sample([given] * 5, batch=2, **exact))
    assert same_rows(rows[:2], model.given(**given).sample(2, **exact))
    mixed = model.sample([{}, given, {}, given], batch=3, **exact)  # some give nothing and some all
    assert same_rows([mixed[1], mixed[3]], [rows[1], rows[3]])
    assert same_rows([mixed[0]], model.given().sample(1, **exact))


def save_and_load_sample_the_same(model: Model, folder: Path) -> None:
    given = {n: VALUES[n] for n in model.sources}
    model.save(folder)
    again = Model.load(folder)
    assert (
        str(again.formula) == str(model.formula)
        and again.columns == model.columns
        and again.options == model.options
    )
    assert same_rows(model.given(**given).sample(3, seed=1), again.given(**given).sample(3, seed=1))


def known_values_come_back(model: Model, _: Path) -> None:
    for name in model.targets:
        drawn = model.given().sample(2, known={name: VALUES[name]})
        assert all(same(name, row[name], VALUES[name]) for row in drawn), name
    every = model.given().sample(1, known={name: VALUES[name] for name in model.targets})[0]
    assert all(same(name, every[name], VALUES[name]) for name in model.targets)


def test_known_part_of_a_picture_comes_back() -> None:
    for family in PICTURES:
        model = Model("colour | kind", COLUMNS, family, **small(family))
        mask = torch.zeros(9, 13, dtype=torch.bool)
        mask[2:5, 3:] = True
        drawn = model.given(kind="a").sample(1, known={"colour": (VALUES["colour"], mask)})[0]["colour"]
        apart = (pixels(drawn) - pixels(VALUES["colour"])).abs().view(9, 13, 3).amax(-1)
        assert apart[mask].max() <= 1 and apart[~mask].max() > 1


def any_subset_of_the_sources_may_be_given(model: Model, _: Path) -> None:
    for count in range(len(model.sources) + 1):
        given = {n: VALUES[n] for n in model.sources[:count]}
        assert len(model.given(**given).sample(1)) == 1
        assert same_rows(
            model.given(**given).sample(1),
            model.sample([{**given, **{n: None for n in model.sources[count:]}}]),
        )


RULES = {
    rule.__name__: rule
    for rule in (
        a_sample_depends_on_seed_and_index,
        save_and_load_sample_the_same,
        known_values_come_back,
        any_subset_of_the_sources_may_be_given,
    )
}


@pytest.mark.parametrize(
    ("family", "formula", "rule"),
    pairwise(
        (family, formula, rule)
        for family in sampling_families()
        for formula, rule in product(formulas_of(family), RULES)
    ),
)
def test_model(family: str, formula: str, rule: str, tmp_path: Path) -> None:
    RULES[rule](small_model(family, formula), tmp_path / "run")


@pytest.mark.parametrize("family", PICTURES)
def test_errors_name_the_nearest(family: str) -> None:
    model = Model("grey, label | kind", COLUMNS, family, **small(family))
    knob, option = (
        next(iter(type(model.family).sampling_options())),
        next(iter(type(model.family).options())),
    )
    wrong = [
        (
            lambda: model.given(kind="a").sample(1, **{knob + "z": 1}),
            f"sampling option .*{knob}z.* did you mean '{knob}'",
        ),
        (
            lambda: Model("grey", COLUMNS, family, **{option + "z": 1}),
            f"option .*{option}z.* did you mean '{option}'",
        ),
        (lambda: model.given(kidn="a"), "unknown column 'kidn': did you mean 'kind'"),
        (lambda: model.given(kind="c"), "kind: unknown class 'c'"),
        (
            lambda: model.given().sample(1, known={"lable": "cat"}),
            "unknown target 'lable': did you mean 'label'",
        ),
        (lambda: model.given().sample(1, known={"label": "bat"}), "did you mean 'cat'"),
        (
            lambda: model.given().sample(1, known={"grey": (VALUES["grey"], torch.ones(3))}),
            "mask has 3 places, the column 144",
        ),
        (lambda: Model("gray | kind", COLUMNS, family), "unknown column 'gray': did you mean 'grey'"),
        (lambda: Model("grey", COLUMNS, family + "s"), f"did you mean '{family}'"),
    ]
    for call, says in wrong:
        with pytest.raises(ValueError, match=says):
            call()


def test_a_choice_is_checked_early() -> None:
    with pytest.raises(ValueError, match="sampler must be one of auto, euler.*not 'eulre'"):
        Model("number", COLUMNS, **SMALL).given().sample(1, sampler="eulre")
    with pytest.raises(ValueError, match="stem must be one of conv, patch, not 'unet'"):
        Model("number", COLUMNS, stem="unet")


def test_the_model_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first = Model("number | kind", COLUMNS, **SMALL)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    again = Model("number | kind", COLUMNS, **SMALL)
    other = Model("number | kind", COLUMNS, seed=1, **SMALL)
    states = [torch.cat([p.flatten() for p in m.parameters()]) for m in (first, again, other)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


# ---- what a flow is trained on


def test_what_is_known_in_training() -> None:
    """A share `infill` of the rows has known parts, never all of them; every column is sometimes the one that is known."""
    family = Model("grey, label, number", COLUMNS, infill=0.5, **SMALL).family
    known = sample_masks(family.targets, family.infill, Rng(range(4000), "known"))
    whole = torch.stack([known[n].all(1) for n in known], dim=1)
    some = torch.stack([known[n].any(1) for n in known], dim=1)
    assert not whole.all(1).any(), "a row with nothing left to learn"
    assert 0.35 < some.any(1).float().mean() < 0.5
    assert (whole.float().mean(0) > 0.05).all(), "a column that is never known"
    parts = some[:, 0] & ~whole[:, 0]
    assert 0.1 < parts.float().mean() < 0.3 and 0.3 < known["grey"][parts].float().mean() < 0.7


def test_a_known_column_has_no_time() -> None:
    """It is clean, whatever time was drawn for it: so it looks the same in training and in drawing."""
    family = Model("number, price", COLUMNS, **SMALL).family
    with torch.no_grad():
        for p in family.parameters():
            p.add_(0.1)
    known = torch.tensor([[True, False]] * 3)
    reading = family.denoiser.net.encode_sources(Context.full({}, 3))
    out = [
        family.denoiser.predict(torch.ones(3, 2), torch.tensor([[t, 0.5]] * 3), known, reading)["price"]
        for t in (0.1, 0.9)
    ]
    other = family.denoiser.predict(torch.ones(3, 2), torch.tensor([[0.1, 0.7]] * 3), known, reading)["price"]
    assert torch.equal(*out) and not torch.equal(out[0], other)


# ---- the checks can fail: the least family that passes them, and families with one defect each


class Tiny(Family):
    """Every target is a linear function of the sources, plus noise."""

    def __init__(self, targets: Mapping[str, Spec], sources: Mapping[str, Spec], *, width: int = 8) -> None:
        super().__init__(targets, sources)
        self.inside = nn.ModuleList(
            nn.Embedding(s.classes, width) if s.categorical else nn.Linear(s.width, width)
            for s in sources.values()
        )
        self.base = nn.Parameter(torch.randn(width))
        self.heads = nn.ModuleList(
            nn.Linear(width, s.tokens * (s.classes or s.width)) for s in targets.values()
        )
        self.column_axes = {"inside": by_column(sources), "heads": by_column(targets)}

    def hidden(self, c: Context) -> Tensor:
        h = self.base.expand(len(c.present), -1)
        for i, value in enumerate(c.values.values()):
            value = value if not value.is_floating_point() else value.to(self.base.dtype)
            h = h + torch.where(c.present[:, i, None], self.inside[i](value).mean(1), 0)
        return h.tanh()

    def means(self, c: Context) -> Batch:
        h = self.hidden(c)
        return {
            n: head(h).view(len(h), s.tokens, -1).float()
            for head, (n, s) in zip(self.heads, self.targets.items(), strict=True)
        }

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        return sum(
            F.cross_entropy(m.transpose(1, 2), x[n], reduction="none").mean(1)
            if self.targets[n].categorical
            else (m - x[n]).square().flatten(1).mean(1)
            for n, m in self.means(c).items()
        )

    def noise(self, rng: Rng, shape: torch.Size) -> Tensor:
        return rng.normal(*shape[1:])

    def sample(self, c: Context, *, known: KnownParts | None, rng: Rng, noise: float = 1.0) -> Batch:
        drawn = {n: m + noise * self.noise(rng, m.shape) for n, m in self.means(c).items()}
        drawn = {n: v.argmax(-1) if self.targets[n].categorical else v for n, v in drawn.items()}
        return self.keep(drawn, known) if known else drawn

    def keep(self, drawn: Batch, known: KnownParts) -> Batch:
        masks = {n: m if self.targets[n].categorical else m[..., None] for n, m in known.masks.items()}
        return {n: torch.where(masks[n], known.values[n], v) if n in masks else v for n, v in drawn.items()}

    def log_prob(self, x: Batch, c: Context, *, rng: Rng) -> Score:
        for name, spec in self.targets.items():
            if spec.categorical:
                raise ValueError(f"no density: the target {name!r} is categorical")
        nats = sum(-0.5 * ((m - x[n]) ** 2 + 1.8379).flatten(1).sum(1) for n, m in self.means(c).items())
        return Score(nats, "exact", sum(s.tokens * s.width for s in self.targets.values()))


def test_the_least_family_passes() -> None:
    check_family(Tiny)
    check_family(Embeds, checks=["weights", "embeddings"])


class Swallows(Tiny):
    def __init__(self, targets, sources, **options) -> None:
        super().__init__(targets, sources)


class TwoPhases(Tiny):
    phases: ClassVar[tuple[str, ...]] = ("one", "two")


class OneNumber(Tiny):
    def loss(self, x, c, phase, rng):
        return super().loss(x, c, phase, rng).mean()


class GlobalLoss(Tiny):
    def loss(self, x, c, phase, rng):
        return super().loss(x, c, phase, rng) + torch.rand(())


class IgnoresGaps(Tiny):
    learns_gaps = True


class Detached(Tiny):
    def hidden(self, c):
        return super().hidden(c).detach()


class Overflows(Tiny):
    def hidden(self, c):
        h = super().hidden(c)
        return h + 1e-3 * (h + 1e3) - 1 if h.dtype == torch.float32 else h + 1


class Deaf(Tiny):
    def hidden(self, c):
        return super().hidden(Context(c.values, c.present & (torch.arange(c.present.shape[1]) != 1)))


class Peeks(Tiny):
    def hidden(self, c):
        return super().hidden(Context(c.values, torch.ones_like(c.present)))


class GlobalNoise(Tiny):
    def noise(self, rng, shape):
        return torch.randn(shape)


class Frozen(Tiny):
    def noise(self, rng, shape):
        return torch.zeros(shape)


class Floats(Tiny):
    def sample(self, c, *, known, rng):
        return {n: v.float() for n, v in super().sample(c, known=known, rng=rng).items()}


class OneGenerator(Tiny):
    def noise(self, rng, shape):
        return torch.randn(shape, generator=rng.generators[0])


class BatchNorm(Tiny):
    def hidden(self, c):
        h = super().hidden(c)
        return h - h.mean(0)


class Forgets(Tiny):
    def keep(self, drawn, known):
        return drawn


class CopiesAll(Tiny):
    def keep(self, drawn, known):
        return {**drawn, **known.values}


class Elsewhere(Tiny):
    def __init__(self, targets, sources, *, width: int = 8) -> None:
        super().__init__(targets, sources, width=width)
        self.register_buffer("secret", torch.randn(width), persistent=False)

    def hidden(self, c):
        return super().hidden(c) + self.secret.to(self.base.dtype)


class ByNumber(Tiny):
    def __init__(self, targets, sources, *, width: int = 8) -> None:
        super().__init__(targets, sources, width=width)
        self.column_axes = {}


class Embeds(Tiny):
    def embed(self, name, x):
        return F.normalize((x.float().flatten(1).sum(1, keepdim=True) + 0.5) * self.base.float(), dim=1)


class Crooked(Embeds):
    def embed(self, name, x):
        return 2 * super().embed(name, x)


class Crowded(Embeds):
    def embed(self, name, x):
        return F.normalize(super().embed(name, x) + x.float().mean(), dim=1)


class Declines(Tiny):
    def log_prob(self, x, c, *, rng):
        raise ValueError("the target 'number' is categorical")


class DeclinesMutely(Tiny):
    def log_prob(self, x, c, *, rng):
        try:
            return super().log_prob(x, c, rng=rng)
        except ValueError as error:
            raise ValueError("no density") from error


class OneScore(Tiny):
    def log_prob(self, x, c, *, rng):
        score = super().log_prob(x, c, rng=rng)
        return Score(score.nats.mean()[None], score.kind, score.dims)


class MeanScore(Tiny):
    def log_prob(self, x, c, *, rng):
        score = super().log_prob(x, c, rng=rng)
        return Score(score.nats * 0 + score.nats.mean(), score.kind, score.dims)


DEFECTS = [
    (Swallows, "schema"),
    (TwoPhases, "phases"),
    (OneNumber, "losses"),
    (GlobalLoss, "losses"),
    (IgnoresGaps, "missing_targets"),
    (Detached, "gradients"),
    (Overflows, "half_precision"),
    (Deaf, "sources_count"),
    (Peeks, "sources_count"),
    (Peeks, "any_sources"),
    (GlobalNoise, "samples"),
    (Frozen, "samples"),
    (Floats, "samples"),
    (OneGenerator, "row_by_row"),
    (BatchNorm, "row_by_row"),
    (BatchNorm, "loss_by_row"),
    (Forgets, "known_parts"),
    (CopiesAll, "known_parts"),
    (Elsewhere, "weights"),
    (ByNumber, "columns_of_weights"),
    (Crooked, "embeddings"),
    (Crowded, "embeddings"),
    (Declines, "scores"),
    (DeclinesMutely, "scores"),
    (OneScore, "scores"),
    (MeanScore, "scores"),
]


@pytest.mark.parametrize(("cls", "check"), DEFECTS, ids=lambda v: getattr(v, "__name__", v))
def test_a_check_finds_its_defect(cls: type[Family], check: str) -> None:
    messages = []
    for name, case in CASES.items():
        if not CHECKS[check].inapplicable(cls, case):
            try:
                run_check(cls, name, check)
            except AssertionError as error:
                messages.append(str(error))
    assert messages, f"{check} does not see that {cls.__name__} is wrong"
    assert all(f"check {check}" in message and cls.__name__ in message for message in messages)


def test_every_check_has_a_defect() -> None:
    assert {check for _, check in DEFECTS} == set(CHECKS)

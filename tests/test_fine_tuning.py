"""Fine-tuning: a model of other columns, another formula or other options begins with the weights of a trained one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import toy

from likewise.cli.main import main
from likewise.cli.tables import open_training_table
from likewise.core.batch import Context
from likewise.core.formula import Formula, FormulaError
from likewise.core.spec import IMAGE, Spec
from likewise.data.arrow import TableError
from likewise.data.matching import Reference
from likewise.data.table import Table
from likewise.modalities import Document, Image, Label, Modality, Number, Text
from likewise.modalities.linear_number import LinearNumber
from likewise.models.checkpoint import RunError
from likewise.models.io import load
from likewise.models.model import Model
from likewise.nets.column_weights import transfer_weights
from likewise.nets.transformer import DenoisingTransformer
from likewise.training.loss import heldout_loss

SMALL = {"width": 32, "depth": 1}
NAMES = {
    "image": "picture",
    "text": "caption",
    "label": "kind",
    "number": "size",
}  # of the same columns elsewhere
KINDS = {"image": "image", "text": "text", "label": "label", "number": "number"}
Rows = list[dict[str, Any]]


def renamed(rows: Rows) -> Rows:
    return [{NAMES.get(name, name): value for name, value in row.items()} for row in rows]


def table(rows: Rows, **options: Any) -> Table:
    """A table whose columns are of the kinds that they have in the toy world."""
    kinds = {name: kind for n, kind in KINDS.items() for name in (n, NAMES[n]) if name in rows[0]}
    return Table.from_rows(rows, kinds, holdout=0.0, **options)


def made(formula: str, columns: Mapping[str, Modality], family: str | None = None, **options: Any) -> Model:
    """A small model none of whose weights is zero, as zeros hide what flows through them."""
    small = {} if family == "mixture" else SMALL
    model = Model(formula, columns, family, **small, **options)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.family.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=draw))
    return model


def apart(a: Any, b: Any) -> float:
    """The difference of two samples of a column."""
    if isinstance(a, PIL.Image.Image):
        return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).max())
    return abs(a - b) if isinstance(a, float) else float(a != b)


def samples(model: Model, rows: Rows, target: str) -> list[Any]:
    options = {"steps": 3} if "steps" in model.sampling_options() else {}
    return [row[target] for row in model.sample(rows, **options)]


def assert_same_samples(old: tuple[Model, Rows, str], new: tuple[Model, Rows, str]) -> None:
    values = samples(*old), samples(*new)
    assert max(apart(a, b) for a, b in zip(*values, strict=True)) < 1.5, "samples differ"


# ---- columns of other names, fewer, more


@pytest.mark.parametrize("family", ["flow", "diffusion", "autoregressive", "vae", "gan", "autoencoder"])
def test_columns_of_other_names_sample_the_same(world: Table, family: str) -> None:
    """Pictures and texts match by kind, classes by --map; names must not matter to anything."""
    old = made("image | text, label", world.columns, family)
    new = old.adapt(table(renamed(toy.rows(40))), names={"kind": "label"})
    assert str(new.formula) == "picture | caption, kind"
    assert new.adaptation is not None and new.adaptation.transfer.complete and not new.fresh
    given = [{"text": "box", "label": "1"}, {"text": "a disc"}, {}]
    assert_same_samples((old, given, "image"), (new, renamed(given), "picture"))


@pytest.mark.parametrize("family", ["flow", "autoregressive", "vae"])
def test_a_source_that_the_data_lack_is_never_given(world: Table, family: str) -> None:
    """With the formula left out it is left out; the new model is the old one without it."""
    old = made("image | text, label", world.columns, family)
    rows = [{"image": row["image"], "caption": row["text"]} for row in toy.rows(40)]
    new = old.adapt(Table.from_rows(rows, {"caption": "text"}, holdout=0.0))
    assert str(new.formula) == "image | caption"
    assert new.adaptation is not None and new.adaptation.matching.left_out == ("label",)
    assert_same_samples((old, [{"text": "box"}, {}], "image"), (new, [{"caption": "box"}, {}], "image"))


@pytest.mark.parametrize("family", ["flow", "any_order"])
def test_a_model_without_any_source_is_the_old_one_given_nothing(
    world: Table, tmp_path: Path, family: str
) -> None:
    """Also when it is loaded again, and when a source is added later."""
    old = made("number | text, label", world.columns, family)
    new = old.adapt(world, "number")
    new.save(tmp_path)
    assert_same_samples((old, [{}] * 3, "number"), (Model.load(tmp_path), [{}] * 3, "number"))
    again = Model.load(tmp_path).adapt(world, "number | label")
    assert again.adaptation is not None and "label" in again.adaptation.transfer.fresh
    assert_same_samples((old, [{}] * 3, "number"), (again, [{}] * 3, "number"))
    more = again.adapt(world, "number | label, text")
    assert_same_samples((old, [{}] * 3, "number"), (more, [{}] * 3, "number"))


def test_a_further_source_begins_fresh_and_changes_nothing_where_it_is_not_given(world: Table) -> None:
    old = made("image | text", world.columns)
    new = old.adapt(world, "image | number, text")
    assert new.adaptation is not None and new.adaptation.transfer.fresh == ["number"]
    assert_same_samples((old, [{"text": "ring"}, {}], "image"), (new, [{"text": "ring"}, {}], "image"))


@pytest.mark.parametrize("family", ["flow", "autoregressive", "vae"])
def test_a_further_target_begins_fresh(world: Table, family: str) -> None:
    old = made("image | text", world.columns, family)
    new = old.adapt(world, "image, number | text")
    assert new.adaptation is not None
    transfer = new.adaptation.transfer
    assert "number" in " ".join(transfer.fresh) and "image" not in transfer.fresh
    assert 0.9 * old_numbers(old) < transfer.taken
    assert len(new.given(text="box").sample(1)) == 1


def old_numbers(model: Model) -> int:
    return sum(v.numel() for v in model.family.state_dict().values())


def test_another_target_begins_with_the_source_and_the_blocks(world: Table) -> None:
    old = made("image | text", world.columns)
    new = old.adapt(world, "number | text")
    ours, theirs = new.family.state_dict(), old.family.state_dict()
    same = [n for n, v in ours.items() if n in theirs and torch.equal(v, theirs[n])]
    assert any(".blocks." in n for n in same) and any("context_encoder.embed" in n for n in same)
    assert not any(".stems." in n for n in same)


# ---- columns that grow


@pytest.mark.parametrize("family", ["flow", "autoregressive"])
def test_new_classes_are_appended(family: str) -> None:
    """The old ones keep their ids, weights and ratios: as sources, as targets of few classes and of many."""
    for count in (3, 40):
        first = [{"x": float(i), "kind": f"k{i % count}"} for i in range(4 * count)]
        more = [*first, {"x": 0.5, "kind": "a new one"}, {"x": 0.5, "kind": "a new one"}]
        kinds = {"x": "number", "kind": "label"}
        before, after = (Table.from_rows(rows, kinds, holdout=0.0) for rows in (first, more))
        old = made("x | kind", before.columns, family)
        new = old.adapt(after)
        column = new.columns["kind"]
        assert (
            isinstance(column, Label)
            and column.classes[-1] == "a new one"
            and len(column.classes) == count + 1
        )
        assert_same_samples((old, [{"kind": "k2"}], "x"), (new, [{"kind": "k2"}], "x"))
        joint = made("x, kind", before.columns, family)
        assert_same_samples(
            (joint, [{}] * 4, "kind"), (joint.adapt(before.refit({}, joint.formula)), [{}] * 4, "kind")
        )
        assert not [n for n in joint.adapt(after).fresh if "context_encoder" not in n]


@pytest.mark.parametrize("count", [3, 40])
def test_codes_of_classes_are_saved_where_they_are_not_the_default(count: int, tmp_path: Path) -> None:
    """Codes depend on the name and the number of the classes; a model that begins with others keeps these."""
    rows = [{"kind": f"k{i % count}", "x": float(i)} for i in range(4 * count)]
    old = made(
        "kind, x", Table.from_rows(rows, {"kind": "label", "x": "number"}, holdout=0.0).columns, "flow"
    )
    other = [{"class": row["kind"], "x": row["x"]} for row in [*rows, {"kind": "z", "x": 1.0}] * 2]
    kinds = {"class": "label", "x": "number"}
    new = old.adapt(Table.from_rows(other, kinds, holdout=0.0), names={"class": "kind"})
    before, after = (m.family.denoiser.column_codes.codes(n) for m, n in ((old, "kind"), (new, "class")))
    assert (
        torch.equal(after[:count, : before.shape[1]], before) and not after[:count, before.shape[1] :].any()
    )
    assert torch.allclose(after.norm(dim=1), before.norm(dim=1)[:1])
    new.save(tmp_path)
    again = Model.load(tmp_path)
    assert torch.equal(again.family.denoiser.column_codes.codes("class"), after)
    assert_same_samples((new, [{}] * 4, "class"), (again, [{}] * 4, "class"))


@pytest.mark.parametrize("options", [{}, {"fim": 0.5}, {"compat": "gpt2"}, {"compat": "llama"}])
def test_longer_texts_get_room(options: dict[str, Any]) -> None:
    """As targets: the new positions are fresh, what was there is as likely as before."""
    rows = [{"text": word} for word in ("a disc", "box", "ring", "x") * 5]
    old = made("text", Table.from_rows(rows, {"text": "text"}, holdout=0.0).columns, **options)
    long = [*rows, {"text": "a disc in a box with a ring around it"}] * 2
    new = old.adapt(Table.from_rows(long, {"text": "text"}, holdout=0.0))
    before, after = old.columns["text"], new.columns["text"]
    assert isinstance(before, Text) and isinstance(after, Text) and after.tokenizer == before.tokenizer
    assert after.length == 38 > before.length
    known = [{"text": "box"}, {"text": "a disc"}]
    shorter = [float(v) for v in old.log_prob(known).nats]
    if not options.get("fim"):
        ends = [len("box") + 1 < before.length, len("a disc") + 1 < before.length]
        for a, b, has_end in zip(shorter, new.log_prob(known).nats.tolist(), ends, strict=True):
            assert not has_end or a == pytest.approx(b, abs=1e-3)
    assert new.log_prob([{"text": long[20]["text"]}]).nats.isfinite().all()


def test_a_longer_source_text_gets_room_by_default_and_as_the_option_says(world: Table) -> None:
    old = made("image | text", world.columns)
    rows = [
        {"image": row["image"], "text": row["text"] + " over there" * (i == 3)}
        for i, row in enumerate(toy.rows(20))
    ]
    assert old.adapt(table(rows)).columns["text"].spec.tokens == 13
    assert old.adapt(table(rows, options={"length": 20})).columns["text"].spec.tokens == 20
    with pytest.raises(TableError, match="vocabulary of the trained model.*leave --vocabulary out"):
        old.adapt(table(rows, options={"vocabulary": 300}))


def test_words_of_both_tables_are_known() -> None:
    old = Text.fit(["a red disc", "a blue box"])
    new = old.refit(["the green ring"], length=30)
    assert new.length == 30 and new.unseen_words("red ring, yellow") == ["yellow"]
    assert new.lower and not old.refit(["RED"]).lower and new.articles == ("a", "the")
    assert Document.fit(["a text of some length"]).refit(["another"], length=64).length == 64


def test_classes_have_the_type_of_both_tables() -> None:
    numbers, names = Label.fit([1, 2]), Label.fit(["a", "b"])
    assert numbers.refit([7, 2]).class_names() == ["1", "2", "7"]
    for one, other in ((numbers, names), (names, numbers)):
        both = one.refit(other.classes)
        assert [both.decode(torch.tensor([k])) for k in range(4)] == [*one.classes, *other.classes]
    assert numbers.refit([7]).decode(torch.tensor([2])) == 7


def test_numbers_keep_their_scale_unless_it_does_not_fit() -> None:
    old = LinearNumber.fit([1.5, 2.5, 3.5])
    near, far, wide = old.refit([2, 3, 4]), old.refit([1e6, 2e6]), old.refit([-40.0, 40.0])
    assert (near.mean, near.std) == (old.mean, old.std) and near.integer and not old.integer
    assert far == LinearNumber.fit([1e6, 2e6]) and wide == LinearNumber.fit([-40.0, 40.0])


def test_numbers_keep_their_ranks_unless_they_do_not_fit() -> None:
    """What lies beyond the old values has tokens beyond theirs, and none of the old ones moves."""
    old = Number.fit([1.5, 2.5, 3.5, 2.5])
    near = old.refit([2.5, 0.5, 4.5])
    assert (near.low, near.high, near.rows) == (0.5, 4.5, 3)
    for value in (1.5, 2.5, 3.5):
        assert near.encode(value) == pytest.approx(old.encode(value), abs=1e-5)
    for value in (0.5, 1.5, 2.5, 4.5):
        assert near.decode(near.encode(value)) == value
    for others in ([2.25, 3.25], [1e6 + 0.5, 2e6], [-90.5, 90.5], [2.5, 2.5], [7, 8]):
        assert old.refit(others) == Number.fit(others)


def test_numbers_begin_to_be_missing_and_are_so_no_more() -> None:
    old = Number.fit([1.5, 2.5, 3.5, 2.5])
    some = old.refit([2.5, None, 3.5])
    assert some.missing == pytest.approx(1 / 3) and some.decode(some.encode(None)) is None
    assert some.decode(some.encode(1.5)) == 1.5
    again = some.refit([2.5, 3.5])
    assert not again.has_missing and again.edges[1:-1] == pytest.approx(old.edges[1:-1])


# ---- pictures


def test_pictures_of_another_size_are_read_at_that_of_the_model_or_as_the_option_says() -> None:
    old = made("image | label", toy.table(40, size=20).columns)
    rows = toy.rows(40, size=16)
    new = old.adapt(table(rows))
    assert new.columns["image"].spec.grid == (20, 20)
    assert new.adaptation is not None
    assert any("16 x 16 pixels, grey, read as 20 x 20" in line for line in new.adaptation.lines("a"))
    larger = old.adapt(table(rows, options={"size": 28}))
    assert larger.columns["image"].spec.grid == (28, 28)
    assert (
        larger.adaptation is not None and larger.adaptation.transfer.complete
    )  # as many levels of convolutions
    assert larger.given(label="1").sample(1)[0]["image"].size == (28, 28)
    outer = old.adapt(table(rows, options={"size": 40}))
    assert outer.adaptation is not None and outer.adaptation.transfer.fresh == ["parts of image"]
    inner = {n for n in outer.family.state_dict() if ".stems.0." in n} - outer.fresh
    assert any("encoders.1." in n for n in inner) and any("ups.2." in n for n in inner)


def test_grey_pictures_are_read_in_colour_by_a_model_of_colour(world: Table) -> None:
    colour = [{**row, "image": row["image"].convert("RGB").rotate(90)} for row in toy.rows(40)]
    for row in colour:
        row["image"].putpixel((0, 0), (255, 0, 0))
    old = made("image | label", table(colour).columns)
    new = old.adapt(world)
    assert new.columns["image"] == old.columns["image"] != world.columns["image"]
    grey = old.adapt(table(toy.rows(40), options={"channels": 1}))
    assert isinstance(image := grey.columns["image"], Image) and image.channels == 1
    assert grey.adaptation is not None and grey.adaptation.transfer.complete


def test_a_network_of_colour_begins_as_that_of_grey() -> None:
    """On a picture with equal channels each of them is what the network of grey pictures predicts."""
    grey, colour = (Spec((20, 20), width, axes=IMAGE) for width in (1, 3))
    for stem in ("conv", "patch"):
        networks = []
        for seed, spec in enumerate((grey, colour)):
            torch.manual_seed(seed)
            network = DenoisingTransformer(
                {"image": spec}, {"image": spec.width}, {"below": spec}, width=32, depth=1, stem=stem
            )
            for p in network.parameters():
                p.data.add_(0.05 * torch.randn_like(p))
            networks.append(network)
        one, three = networks
        transfer = transfer_weights(three, one, {})
        assert set(transfer.fresh) <= {"parts of below", "parts of image"}  # channels of the source beside it
        x, t, known = torch.randn(2, 400, 1), torch.rand(2, 1), {"image": torch.zeros(2, 400, 1)}
        out = []
        for network, width in ((one, 1), (three, 3)):
            nothing = Context({"below": torch.zeros(2, 400, width)}, torch.zeros(2, 1, dtype=torch.bool))
            context = network.encode_sources(nothing)
            out.append(network({"image": x.expand(-1, -1, width)}, t, known, context)["image"])
        assert torch.allclose(out[1], out[0].expand(-1, -1, 3), atol=1e-4)


# ---- options


def test_more_blocks_change_nothing_at_first(world: Table) -> None:
    old = made("image | label", world.columns)
    new = old.adapt(depth=3)
    assert new.adaptation is not None and new.adaptation.transfer.fresh == ["blocks"]
    assert_same_samples((old, [{"label": "1"}], "image"), (new, [{"label": "1"}], "image"))
    assert len(new.adapt(depth=2).given(label="1").sample(1)) == 1


def test_a_model_without_few_steps_is_the_flow_that_it_was(world: Table) -> None:
    old = made("image | label", world.columns, few_step=True)
    new = old.adapt(few_step=False)
    drawn = [m.sample([{"label": "1"}], sampler="ab2", steps=3)[0]["image"] for m in (old, new)]
    assert apart(*drawn) < 1.5


def test_options_that_do_not_fit_are_refused(world: Table) -> None:
    old = made("image | label", world.columns, "flow", few_step=True)
    with pytest.raises(RunError, match="hardly any weight.*size mismatch.*width"):
        old.adapt(width=64)
    with pytest.raises(ValueError, match=r"few_step.*categorical.*give few_step=False, or --no-few-step"):
        old.adapt(world, "image, label")
    assert old.adapt(world, "image, label", few_step=False).targets == ["image", "label"]
    with pytest.raises(ValueError, match="option of the family flow 'widht'.*'width'"):
        old.adapt(widht=3)
    with pytest.raises(ValueError, match="give the table"):
        old.adapt(formula="image")


def test_a_mixture_begins_with_the_same_columns_only(world: Table) -> None:
    old = toy.trained(Model("number, label", world.columns, "mixture", components=5), world, 1)
    new = old.adapt(table(renamed(toy.rows(40))), names={"kind": "label"})
    assert str(new.formula) == "size, kind" and not new.fresh
    assert old.log_prob([{"number": 1.0, "label": "2"}]).nats == pytest.approx(
        new.log_prob([{"size": 1.0, "kind": "2"}]).nats
    )
    with pytest.raises(RunError, match="depend on all columns.*begin without"):
        old.adapt(world, "number, label, image")


# ---- learning


@pytest.mark.parametrize("family", ["flow", "any_order"])
def test_what_was_learned_is_there(world: Table, family: str) -> None:
    """On rows of the same world under other names the loss is that of the trained model, far below a fresh one's."""
    kinds = {NAMES[n]: k for n, k in KINDS.items()}
    heldout = Table.from_rows(renamed(toy.rows(200, seed=5)), kinds, holdout=0.5, by="size")
    old = toy.trained(Model("number | text", world.columns, family, **SMALL), world, 150)
    new = old.adapt(heldout)
    fresh = Model("size | caption", heldout.columns, family, **SMALL)
    less = 0.5 if family == "flow" else 0.8  # nats
    assert heldout_loss(new, heldout) < heldout_loss(fresh, heldout) - less
    few = toy.trained(old.adapt(heldout), heldout, 5)
    scratch = toy.trained(fresh, heldout, 5)
    assert heldout_loss(few, heldout) < heldout_loss(scratch, heldout) - less / 2


def test_fresh_weights_are_initialised_from_data_and_others_are_not(world: Table) -> None:
    old = made("number | text", world.columns, "autoregressive")
    new = old.adapt(world, "number, label | text")
    before = {n: v.clone() for n, v in new.family.state_dict().items()}
    fresh = new.fresh
    head = new.family.heads[1].out
    assert "heads.1.out.bias" in fresh and not head.bias.any()
    toy.trained(new, world, 1)
    assert new.family.heads[1].out.bias.exp().tolist() == pytest.approx([0.25] * 4, abs=0.02)
    kept = max(
        float((v - before[n]).abs().max()) for n, v in new.family.state_dict().items() if n not in fresh
    )
    assert kept < 0.01


# ---- which columns stand for which


COLUMNS: dict[str, Modality] = {
    "image": Image(8, 8, 3),
    "text": Text.fit(["a", "b"]),
    "title": Text.fit(["a", "b"]),
    "style": Label(("flat", "round")),
}


def match(formula: str, kinds: Mapping[str, str], wanted: str | None = None, **names: str) -> dict[str, str]:
    reference = Reference(Formula.parse(formula), COLUMNS, names, Formula.parse(wanted) if wanted else None)
    return dict(reference.match(kinds).views)


@pytest.mark.parametrize(
    ("formula", "kinds", "wanted", "names", "views"),
    [
        ("image | text, style", {"image": "image", "text": "text"}, None, {}, {"image": "image", "text": "text"}),
        ("image | text", {"photo": "image", "words": "text"}, None, {}, {"photo": "image", "words": "text"}),
        ("image | text", {"photo": "image", "a": "text", "b": "text"}, None, {"b": "text"}, {"photo": "image", "b": "text"}),
        ("image | text", {"photo": "image", "a": "text", "b": "text"}, "photo | b", {}, {"photo": "image", "b": "text"}),
        ("image | text, title", {"image": "image", "a": "text"}, "image | a", {"a": "title"}, {"image": "image", "a": "title"}),
        ("image | style", {"image": "image", "kind": "label"}, "image | kind", {}, {"image": "image"}),
        ("image | style", {"image": "image", "kind": "label"}, "image | kind", {"kind": "style"}, {"image": "image", "kind": "style"}),
        ("image | text", {"image": "image", "text": "label"}, "image | text", {}, {"image": "image"}),
        ("text | title", {"title": "text", "text": "text"}, None, {"title": "text", "text": "title"}, {"title": "text", "text": "title"}),
        ("image | text", {"image": "image", "text": "text"}, "text | image", {}, {"image": "image", "text": "text"}),
    ],
)  # fmt: skip
def test_columns_match(
    formula: str, kinds: dict[str, str], wanted: str | None, names: dict[str, str], views: dict[str, str]
) -> None:
    assert match(formula, kinds, wanted, **names) == views


@pytest.mark.parametrize(
    ("formula", "kinds", "wanted", "names", "says"),
    [
        ("image | text", {"a": "image", "b": "image"}, None, {}, r"a and b could stand for image .* --map a=image"),
        ("image | text, title", {"image": "image", "a": "text"}, None, {}, "a could stand for text and title .*--map a=text"),
        ("image | text", {"words": "text"}, None, {}, "no column of the kind image for 'image', a target .*--map NAME=image, or write a formula"),
        ("image | text", {"x": "number"}, "x", {}, "no column of 'x' stands for one of P"),
        ("image | text", {"a": "image"}, "b", {}, "unknown column 'b'"),
        ("image | text", {"a": "image"}, "a | text", {}, "unknown column 'text'.*without a formula .*left out"),
        ("image | text", {"a": "image"}, None, {"a": "imgae"}, "unknown column of the model 'imgae'.*'image'"),
        ("image | text", {"a": "image"}, None, {"b": "image"}, "unknown column 'b'"),
        ("image | text", {"a": "image", "c": "text"}, "a", {"c": "text"}, "unknown column of the formula 'c'"),
        ("image | text", {"a": "image", "b": "image"}, None, {"a": "image", "b": "image"}, "two columns"),
        ("image | text", {"a": "image", "c": "label"}, None, {"c": "text"}, "'c' is of the kind label.*--kind c=text"),
    ],
)  # fmt: skip
def test_columns_that_do_not_match_are_refused(
    formula: str, kinds: dict[str, str], wanted: str | None, names: dict[str, str], says: str
) -> None:
    with pytest.raises(FormulaError, match=says):
        match(formula, kinds, wanted, **names)


def test_views_match_by_column_place_and_encoder() -> None:
    columns = {**COLUMNS, "image[size=4]": Image(4, 4, 3)}
    reference = Reference(Formula.parse("image | image[size=4], text"), columns)
    matching = reference.match({"photo": "image", "words": "text"})
    assert str(matching.formula) == "photo | photo[size=4], words"
    assert matching.views == {"photo": "image", "photo[size=4]": "image[size=4]", "words": "text"}
    wanted = Formula.parse("photo[size=16] | photo[size=8]")
    other = Reference(Formula.parse("image | image[size=4], text"), columns, {}, wanted)
    assert other.match({"photo": "image"}).views == {
        "photo[size=16]": "image",
        "photo[size=8]": "image[size=4]",
    }


def test_views_go_on_through_the_models_of_the_run(world: Table, tmp_path: Path) -> None:
    codes = made("image", world.columns, "autoencoder", max_grid=2)
    viewed = world.add_views("image@codes | image[size=5], text", codes=codes)
    old = made("image@codes | image[size=5], text", viewed.columns)
    new = old.adapt(table(renamed(toy.rows(40))))
    assert str(new.formula) == "picture@codes | picture[size=5], caption"
    assert new.adaptation is not None and new.adaptation.transfer.complete
    new.save(tmp_path / "run")
    again = Model.load(tmp_path / "run")
    given = [{"text": "box"}]
    assert_same_samples((old, given, "image@codes"), (again, renamed(given), "picture@codes"))


# ---- the model that comes with the package


@pytest.fixture(scope="module")
def emoji() -> Model:
    model = load("emoji")
    assert isinstance(model, Model)
    return model


def pictures(count: int, size: int = 28, mode: str = "L") -> list[PIL.Image.Image]:
    return [row["image"].resize((size, size)).convert(mode) for row in toy.rows(count)]


@pytest.mark.parametrize(
    ("formula", "columns", "options", "fresh"),
    [
        ("image | caption", ("caption",), {}, []),
        ("image | label", ("label",), {}, ["label"]),
        ("image | caption, label", ("caption", "label"), {}, ["label"]),
        ("image, number | caption", ("caption", "number"), {}, ["number"]),
        ("image", ("caption",), {}, []),
        ("image, label", ("label",), {"few_step": False}, ["label"]),
    ],
)
def test_emoji_begins_other_models(
    emoji: Model, formula: str, columns: Sequence[str], options: dict[str, Any], fresh: list[str]
) -> None:
    """Of grey pictures of 28 x 28 with captions, classes and numbers."""
    caption = "a thing in a corner with a long, long caption that goes on and on"
    values = {
        "caption": [f"{caption} {i}" for i in range(24)],
        "label": list("ab" * 12),
        "number": [*range(24)],
    }
    made = pictures(24)
    rows = [{"image": made[i], **{name: values[name][i] for name in columns}} for i in range(24)]
    data = Table.from_rows(rows, {n: n for n in ("label", "number") if n in columns})
    new = emoji.adapt(data, formula, **options)
    assert new.adaptation is not None
    transfer = new.adaptation.transfer
    assert transfer.fresh == fresh and transfer.taken > 0.93 * transfer.numbers
    assert new.columns["image"] == emoji.columns["image"]
    if "caption" in new.columns:
        assert (
            new.columns["caption"].spec.tokens > 12
            and new.columns["caption"].check(rows[0]["caption"]) is None
        )


def test_emoji_of_a_caption_is_the_same_picture(emoji: Model) -> None:
    data = Table.from_rows(
        [{"image": p, "caption": f"a thing {i}"} for i, p in enumerate(pictures(20, 32, "RGB"))]
    )
    new = emoji.adapt(data)
    assert str(new.formula) == "image | caption"
    assert_same_samples(
        (emoji, [{"text": "a red apple"}], "image"), (new, [{"caption": "a red apple"}], "image")
    )


# ---- the command line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run of P(image | text, label) on pictures with metadata, and pictures with other columns."""
    monkeypatch.chdir(tmp_path)
    for name, columns in (("first", ("text", "label")), ("own", ("caption", "size"))):
        Path(name).mkdir()
        lines = [",".join(("file_name", *columns))]
        for i, row in enumerate(toy.rows(40)):
            row["image"].save(f"{name}/{i}.png")
            values = {
                **row,
                "caption": f"{row['text']} {i}" + " over there" * (i == 7),
                "size": row["number"],
            }
            lines.append(",".join([f"{i}.png", *(str(values[n]) for n in columns)]))
        Path(name, "metadata.csv").write_text("\n".join(lines))
    assert (
        main(["train", "first", "image | text, label", "--kind", "text=text", "--out", "run", *TINY, *SIZES])
        == 0
    )
    return tmp_path


TINY = ["--steps", "1", "--batch", "4"]
SIZES = ["--width", "32", "--depth", "1"]


def trained(run: str) -> dict[str, Any]:
    return json.loads(Path(run, "model.json").read_text())


def test_the_command_fine_tunes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each case of the issue, with what is said, and the advice of a message followed."""
    capsys.readouterr()
    assert main(["train", "own", "image | caption", "--from", "run", "--out", "a", *TINY]) == 0
    said = capsys.readouterr().err
    assert "begins with run: 38 of 38 tensors" in said and "caption stands for text" in said
    assert trained("a")["formula"] == "image | caption"
    assert main(["train", "own", "--from", "run", "--out", "b", *TINY]) == 0
    said = capsys.readouterr().err
    assert "label is left out, as the data lack it" in said and "caption: at most 15 tokens" in said
    assert trained("b")["formula"] == "image | caption"
    assert main(["train", "own", "image, size | caption", "--from", "run", "--out", "c", *TINY]) == 0
    assert "fresh: size" in capsys.readouterr().err
    assert main(["evaluate", "b", "--n", "4"]) == 0
    assert main(["sample", "b", "a disc 3", "-n", "1", "--steps", "1"]) == 0


def test_the_length_of_texts_can_be_chosen(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "own", "--from", "run", "--length", "12", "--out", "a", *TINY]) == 1
    said = capsys.readouterr().err
    assert (
        "1 of 40 rows cannot be used" in said and "15 tokens and room for 12" in said and "--skip-bad" in said
    )
    assert "--length 15" in said
    for more in (["--skip-bad"], ["--length", "15"]):
        run = "-".join(["run", *more])
        assert main(["train", "own", "--from", "run", "--length", "12", *more, "--out", run, *TINY]) == 0
        assert trained(run)["columns"]["caption"]["length"] == (12 if more == ["--skip-bad"] else 15)
        assert len(open_training_table(Path(run))) == (39 if more == ["--skip-bad"] else 40)
        assert main(["train", "--resume", "--out", run, "--steps", "2"]) == 0
    capsys.readouterr()
    assert main(["train", "own", "--from", "run", "--vocabulary", "300", "--out", "b", *TINY]) == 1
    assert "leave --vocabulary out" in capsys.readouterr().err
    assert main(["train", "--from", "run", "--length", "30", "--out", "b", *TINY]) == 0
    assert (
        trained("b")["columns"]["text"]["length"] == 30 and trained("b")["formula"] == "image | text, label"
    )


def test_the_size_of_pictures_can_be_chosen(here: Path) -> None:
    assert main(["train", "own", "--from", "run", "--size", "8", "--channels", "3", "--out", "a", *TINY]) == 0
    assert (
        trained("a")["columns"]["image"] | {"height": 8, "width": 8, "channels": 3}
        == trained("a")["columns"]["image"]
    )
    assert main(["train", "--resume", "--out", "a", "--steps", "2"]) == 0


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["own", "image | txt", "--from", "run"], "unknown column 'txt'"),
        (["own", "size", "--from", "run"], "no column of 'size' stands for one of P"),
        (["own", "--from", "run", "--map", "size=text", "--kind", "size=number"], "--kind size=text"),
        (["own", "--from", "run", "--map", "caption=txt"], "unknown column of the model 'txt': did you mean 'text'"),
        (["own", "--from", "run", "--map", "caption"], "write --map name=value"),
        (["own", "--from", "run", "--family", "gan"], "leave --family out"),
        (["own", "--from", "run", "--width", "64"], "such as its width, or begin without it"),
        (["own", "image | caption", "--map", "caption=text"], "leave --map out"),
        (["--from", "run", "--map", "caption=text"], "name it before"),
        (["--resume", "--map", "caption=text", "--out", "run"], "leave --map out"),
        (["own", "image | caption", "--from", "run", "--view", "codes=run"], "unknown view 'codes'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], says: str
) -> None:
    out = [] if "--out" in argv else ["--out", "other"]
    capsys.readouterr()
    assert main(["train", *argv, *out, *TINY]) == 1
    assert says in capsys.readouterr().err
    assert not Path("other").exists()


def test_columns_are_mapped_by_hand(here: Path) -> None:
    """A column of texts stands for classes, if that is said; and quoted names are names."""
    argv = [
        "train",
        "own",
        "image | caption",
        "--from",
        "run",
        "--map",
        '"caption"=label',
        "--out",
        "a",
        *TINY,
    ]
    assert main(argv) == 0
    assert trained("a")["columns"]["caption"]["classes"][:4] == ["0", "1", "2", "3"]


def test_a_view_may_be_new(here: Path) -> None:
    assert main(["train", "own", "image | image[size=5], caption", "--from", "run", "--out", "a", *TINY]) == 0
    assert main(["train", "own", "--from", "a", "--out", "b", *TINY]) == 0
    assert trained("b")["formula"] == "image | image[size=5], caption"

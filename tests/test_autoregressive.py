"""Autoregressive against known answers: drawing equals scoring, distributions sum to 1, filters keep what they should."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import toy
from PIL import Image
from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.categorical import filter_logits, inverse_cdf_sample
from likewise.core.known import KnownParts
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.data.table import Table
from likewise.families.autoregressive import Autoregressive
from likewise.modalities.number import Number
from likewise.models.model import Model
from likewise.nets.attention import Attention, KVCache, rotary_grid
from likewise.nets.causal import IncrementalState
from likewise.nets.heads import CategoricalHead, MixtureHead
from likewise.training.optim import make_optimizers
from likewise.training.plan import Plan
from likewise.training.trainer import train

TEXT = Spec((3,), classes=4, padded=True)
SOURCES = {"from": Spec((5,), classes=9, padded=True), "photo": Spec((9, 10), width=3, axes=IMAGE)}


def family(targets: dict[str, Spec], sources: dict[str, Spec] | None = None, **options) -> Autoregressive:
    """A small family with every weight moved off its starting point."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Autoregressive(targets, sources or {}, **{"width": 32, "depth": 2, **options})
        with torch.no_grad():
            for p in made.parameters():
                p.add_(0.3 * torch.randn_like(p))
    return made.eval()


def context(rows: int, sources: dict[str, Spec] | None = None) -> Context:
    """Random sources, each missing in some of the rows."""
    draw = torch.Generator().manual_seed(3)
    values: Batch = {}
    for n, s in (sources or {}).items():
        values[n] = (
            torch.randint(1, s.classes, (rows, s.tokens), generator=draw)
            if s.categorical
            else torch.randn(rows, s.tokens, s.width, generator=draw)
        )
    present = torch.arange(rows)[:, None] % (1 + len(values)) != torch.arange(len(values))
    return Context(values, present)


@torch.no_grad()
def score(model: Autoregressive, x: Batch, c: Context | None = None) -> Tensor:
    rows = len(next(iter(x.values())))
    return model.log_prob(x, c or context(rows), rng=Rng(range(rows), "score")).nats.double()


# ---- what is drawn is what is scored


def test_attention_with_a_cache_is_attention() -> None:
    attention = Attention(64)
    torch.nn.init.normal_(attention.out.weight, std=0.1)
    x, table = torch.randn(3, 7, 64, generator=torch.Generator().manual_seed(0)), rotary_grid((7,), 64)
    ahead = torch.full((7, 7), -1e4).triu(1)
    whole, cache = attention(x, table, ahead), KVCache(7)
    parts = [
        attention(x[:, i], table[:, i], None if len(x[0, i]) == 1 else ahead[i, : i.stop], cache)
        for i in (slice(0, 2), slice(2, 3), slice(3, 7))
    ]
    assert (torch.cat(parts, dim=1) - whole).abs().max() < 1e-5
    assert (attention(x.flip(0), table, ahead) - whole).abs().max() > 1e-3


@pytest.mark.parametrize("sources", [{}, SOURCES])
@torch.no_grad()
def test_token_by_token_says_what_the_whole_sequence_says(sources: dict[str, Spec]) -> None:
    model = family({"text": TEXT, "number": Spec((2,), width=2), "label": Spec((1,), classes=5)}, sources)
    c, z = (
        context(6, sources),
        {
            "text": torch.tensor([[1, 2, 0], [3, 0, 0], [0, 0, 0], [1, 1, 1], [2, 0, 0], [3, 3, 0]]),
            "number": torch.randn(6, 2, 2),
            "label": torch.arange(6)[:, None] % 5,
        },
    )
    masks = {n: torch.zeros(6, s.tokens, dtype=torch.bool) for n, s in model.targets.items()}
    reading = model._encode_context(c, z, masks)
    used = torch.cat(
        [
            torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1]]).bool(),
            torch.ones(6, 3, dtype=torch.bool),
        ],
        dim=1,
    )
    parts = [model.likelihood.embed(k, z[n]) for k, n in enumerate(z)]
    whole = torch.cat(list(model.causal(parts, used, reading)), dim=1)
    state, tokens = IncrementalState(model.causal, reading), torch.cat(parts, dim=1)
    for i in range(6):
        apart = (state.step(i, used[:, i]) - whole[:, i]).abs()[used[:, i]].max()
        assert apart < 1e-4, f"slot {i} differs by {apart:.2g}"
        state.append(tokens[:, i])
    z["number"][:, 1] += 1  # a slot sees nothing of its own token, or of those after it
    other = torch.cat(
        list(model.causal([model.likelihood.embed(k, z[n]) for k, n in enumerate(z)], used, reading)), 1
    )
    assert torch.equal(other[:, :5], whole[:, :5]) and not torch.equal(other[:, 5], whole[:, 5])


def test_a_part_of_a_column_that_no_row_uses_is_left_out() -> None:
    model = family({"text": Spec((6,), classes=4, padded=True), "label": Spec((1,), classes=3)})
    short = {"text": torch.tensor([[1, 2, 0, 0, 0, 0]]), "label": torch.tensor([[1]])}
    long = {"text": torch.tensor([[1, 2, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]), "label": torch.tensor([[1], [2]])}
    assert abs(score(model, short)[0] - score(model, long)[0]) < 1e-5


@pytest.mark.parametrize("sources", [{}, SOURCES])
def test_draws_are_as_frequent_as_their_scores_say(sources: dict[str, Spec]) -> None:
    model, rows = family({"text": TEXT, "label": Spec((1,), classes=2)}, sources), 4000
    one = context(2, sources)
    c = Context(
        {n: v[:1].expand(rows, *v.shape[1:]) for n, v in one.values.items()}, one.present[1:].expand(rows, -1)
    )
    drawn = model.sample(c, known=None, rng=Rng(range(rows), "draw"))
    x = {n: v.unique(dim=0) for n, v in drawn.items()}
    for text, label in itertools.product(x["text"], x["label"]):
        share = float(((drawn["text"] == text).all(1) & (drawn["label"] == label).all(1)).double().mean())
        p = float(
            score(
                model,
                {"text": text[None], "label": label[None]},
                Context({n: v[:1] for n, v in c.values.items()}, c.present[:1]),
            ).exp()
        )
        assert abs(share - p) < 5 * math.sqrt(p / rows) + 1e-3, f"{text.tolist()}: {share:.3f}, not {p:.3f}"


# ---- distributions


def test_all_texts_and_labels_together_have_probability_one() -> None:
    model = family({"text": TEXT, "label": Spec((1,), classes=2), "word": Spec((2,), classes=3, padded=True)})
    texts = [t for t in itertools.product(range(4), repeat=3) if 0 not in t or not any(t[t.index(0) :])]
    words = [w for w in itertools.product(range(3), repeat=2) if w[0] or not w[1]]
    rows = list(itertools.product(texts, range(2), words))
    assert len(texts) == 1 + 3 + 9 + 27
    x = {
        "text": torch.tensor([r[0] for r in rows]),
        "label": torch.tensor([[r[1]] for r in rows]),
        "word": torch.tensor([r[2] for r in rows]),
    }
    assert abs(float(score(model, x).exp().sum()) - 1) < 1e-4


@torch.no_grad()
def test_a_mixture_of_gaussians_integrates_to_one() -> None:
    head = MixtureHead(8, 2, 3, 0.05)
    torch.nn.init.normal_(head.out.weight, std=0.2, generator=torch.Generator().manual_seed(1))
    side = torch.linspace(-12, 12, 301)
    grid = torch.cartesian_prod(side, side)
    total = float(
        head.log_prob(torch.ones(len(grid), 8), grid).double().exp().sum() * (side[1] - side[0]) ** 2
    )
    assert abs(total - 1) < 1e-3


def test_a_mixture_draws_what_it_scores() -> None:
    head = MixtureHead(8, 1, 3, 0.01)
    torch.nn.init.normal_(head.out.weight, generator=torch.Generator().manual_seed(1))
    h = torch.ones(1, 8)
    rng = Rng(range(20000), "mixture")
    drawn = head.sample(h.expand(20000, -1), rng.uniform(), rng.normal(1), 1.0)
    log_weight, mean, log_std = head(h)
    w, m, s = log_weight.exp()[0], mean[0, :, 0], log_std[0, :, 0].exp()
    assert abs(drawn.mean() - (w * m).sum()) < 4 * drawn.std() / math.sqrt(20000)
    second = (w * (m**2 + s**2)).sum()
    assert abs((drawn**2).mean() - second) < 4 * (drawn**2).std() / math.sqrt(20000)
    best = head.sample(h, torch.tensor([0.999]), torch.ones(1, 1), 0.0)
    assert torch.allclose(best[0], mean[0, w.argmax()])


@torch.no_grad()
def test_heads_begin_at_the_marginal() -> None:
    ids, floats = CategoricalHead(8, 3), MixtureHead(8, 2, 4, 0.01)
    ids.init_from_data(torch.tensor([0, 0, 0, 0, 2]))
    shares = ids(torch.zeros(8)).softmax(-1)
    assert torch.allclose(shares, torch.tensor([5.0, 1.0, 2.0]) / 8)
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0]) + 3
    floats.init_from_data(x)
    h, truth = torch.zeros(4000, 8), -math.log(2 * math.pi * 5) - 1
    assert truth - 1.0 < float(floats.log_prob(h, x).mean()) < truth + 0.1


# ---- what may be drawn


@pytest.mark.parametrize(("top_p", "min_p"), [(0.5, 0.0), (0.9, 0.0), (1.0, 0.2), (0.8, 0.3), (1e-6, 0.0)])
@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("classes", [9, 500])
def test_filters_keep_what_they_should(classes: int, top_p: float, min_p: float, temperature: float) -> None:
    logits = 2 * torch.randn(4000 // classes, classes, generator=torch.Generator().manual_seed(2))
    kept = filter_logits(logits / temperature, top_p, min_p).isfinite()
    for row, found in zip((logits / temperature).double().softmax(-1).numpy(), kept.numpy(), strict=True):
        order, total, allowed = np.argsort(-row), 0.0, set()
        for k in order:
            if total >= top_p and allowed:
                break
            allowed.add(int(k))
            total += row[k]
        inside = [row[k] / max(row) for k in range(classes)]
        assert set(np.flatnonzero(found)) == {k for k in allowed if inside[k] >= min_p}


def test_ids_are_drawn_by_inversion() -> None:
    logits = torch.tensor([[0.0, -torch.inf, math.log(3.0), -torch.inf]]).expand(5, -1)
    u = torch.tensor([0.0, 0.2499, 0.2501, 0.9, 1 - 2**-24])
    assert inverse_cdf_sample(logits, u).tolist() == [0, 0, 2, 2, 2]


def test_temperature_zero_is_the_most_likely_token_each_time() -> None:
    model = family({"text": TEXT}, SOURCES)
    c = context(6, SOURCES)
    one, two = (
        model.sample(c, known=None, rng=Rng(range(6), seed), temperature=0.0)["text"] for seed in "ab"
    )
    assert torch.equal(one, two)
    for i in range(3):  # no other token at any place is more likely, given those before it
        rivals = []
        for k in range(4):
            x = torch.cat(
                [one[:, :i], torch.full((6, 1), k), torch.zeros(6, 2 - i, dtype=torch.int64)], dim=1
            )
            with torch.no_grad():
                free = {"text": torch.arange(3).expand(6, -1) == i}
                masks = {"text": torch.zeros(6, 3, dtype=torch.bool)}
                rivals.append(
                    model._column_log_probs({"text": x}, model._encode_context(c, {"text": x}, masks), free)[
                        :, 0
                    ]
                )
        going = (one[:, :i] != 0).all(1)
        assert torch.equal(torch.stack(rivals, 1).argmax(1)[going], one[going, i])


def test_guidance_moves_the_logits_away_from_the_model_without_sources() -> None:
    sources = {"from": Spec((1,), classes=3)}
    model, rows = family({"label": Spec((1,), classes=4)}, sources), 4000
    given = Context.full({"from": torch.ones(rows, 1, dtype=torch.int64)}, rows)
    x = {"label": torch.arange(4)[:, None]}
    some = Context(_first(given, 4), given.present[:4])
    with_, without = score(model, x, some), score(model, x, some.unconditional())
    truth = (without + 3 * (with_ - without)).softmax(0)
    drawn = model.sample(given, known=None, rng=Rng(range(rows), "w"), guidance=3.0)["label"][:, 0]
    shares = torch.bincount(drawn, minlength=4).double() / rows
    assert (shares - truth).abs().max() < 0.04


def _first(c: Context, rows: int) -> Batch:
    return {n: v[:rows] for n, v in c.values.items()}


def test_a_text_does_not_end_before_what_is_known_of_it() -> None:
    model = family({"text": Spec((5,), classes=3, padded=True)})
    value = torch.tensor([0, 0, 0, 2, 0]).expand(200, -1)
    mask = torch.tensor([0, 0, 0, 1, 0]).bool().expand(200, -1)
    drawn = model.sample(
        context(200), known=KnownParts({"text": value}, {"text": mask}), rng=Rng(range(200), "k")
    )
    assert (drawn["text"][:, :3] != 0).all() and (drawn["text"][:, 3] == 2).all()
    assert (drawn["text"][:, 4] == 0).any() and (drawn["text"][:, 4] != 0).any()


def test_a_prompt_keeps_what_is_known_after_it_whatever_its_neighbours_are() -> None:
    model = family({"text": Spec((6,), classes=4, padded=True)})
    prompts = torch.tensor([[1, 0, 0, 0], [2, 3, 1, 2], [0, 0, 0, 0]])
    part = KnownParts(
        {"text": torch.tensor([0, 3, 0, 0, 1, 0]).expand(3, -1)},
        {"text": torch.tensor([0, 1, 0, 0, 1, 0]).bool().expand(3, -1)},
    )

    def drawn(rows: list[int], width: int) -> Tensor:
        known = KnownParts(
            {n: v[rows] for n, v in part.values.items()}, {n: m[rows] for n, m in part.masks.items()}
        )
        return model.sample(
            context(len(rows)), known=known, rng=Rng(rows, "k"), prompt={"text": prompts[rows, :width]}
        )["text"]

    together = drawn([0, 1, 2], 4)
    assert (
        together[0, :2].tolist() == [1, 3]
        and together[1, :4].tolist() == [2, 3, 1, 2]
        and together[2, 1] == 3
    )
    assert (together[:, 4] == 1).all() and (together[:, :5] != 0).all()
    for row, width in enumerate((1, 4, 0)):
        [alone] = drawn([row], width)
        assert torch.equal(alone, together[row, : len(alone)]) and not together[row, len(alone) :].any()


# ---- learning what is known


def learn(model: Autoregressive, x: Batch, steps: int, batch: int = 128, lr: float = 3e-3) -> None:
    """Plain training on encoded rows."""
    rows = len(next(iter(x.values())))
    model.init_from_data(x, context(rows), Rng(range(rows), "begin"))
    made = make_optimizers(model, "model", Plan(steps=steps, lr=lr))
    draw = torch.Generator().manual_seed(0)
    for step in range(steps):
        index = torch.randint(rows, (batch,), generator=draw)
        model.loss(
            {n: v[index] for n, v in x.items()}, context(batch), "model", Rng(range(batch), "train", step)
        ).mean().backward()
        for optimiser in made:
            for group in optimiser.param_groups:
                group["lr"] = group["base_lr"] * min(1, (step + 1) / 20, 2 * (1 - step / steps))
            optimiser.step()
            optimiser.zero_grad()


def small(targets: dict[str, Spec], **options) -> Autoregressive:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Autoregressive(targets, {}, **{"width": 64, "depth": 2, "infill": 0.0, **options})


@pytest.mark.full  # test_language learns a text by default
def test_a_markov_chain_is_learned_to_its_entropy_rate() -> None:
    """Words of a chain of order 1 that ends with its state 0: bits a token, the end included."""
    draw, chain = (
        np.random.default_rng(0),
        np.array([[0, 0.5, 0.4, 0.1], [0.1, 0.1, 0.7, 0.1], [0.2, 0.6, 0.0, 0.2], [0.3, 0.3, 0.3, 0.1]]),
    )
    x = np.zeros((6000, 12), dtype=np.int64)
    nats, state = np.zeros(6000), np.zeros(6000, dtype=np.int64)
    going = np.ones(6000, dtype=bool)
    count = 0
    for i in range(12):
        new = (draw.random(6000)[:, None] > chain[state].cumsum(1)).sum(1)
        nats += np.where(going, np.log(np.maximum(chain[state, new], 1e-9)), 0)
        x[:, i], count = np.where(going, new, 0), count + going[5000:].sum()
        state, going = np.where(going, new, 0), going & (new != 0)
    model, text = small({"text": Spec((12,), classes=4, padded=True)}), torch.from_numpy(x)
    learn(model, {"text": text[:5000]}, 200)
    bits = -float(score(model, {"text": text[5000:]}).sum()) / count / math.log(2)
    truth = -nats[5000:].sum() / count / math.log(2)
    assert 0.99 * truth < bits < 1.05 * truth, f"{bits:.3f} bits a token, the chain has {truth:.3f}"


@pytest.mark.full  # test_truth has a density on a plane by default
def test_a_density_on_a_plane_is_learned() -> None:
    """A ring: the second number has two modes given the first, nearer to each other at the ends."""

    def ring(rows: int, seed: int) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        angle = 2 * math.pi * torch.rand(rows, generator=draw)
        return torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * torch.randn(rows, 2, generator=draw)

    held, angles = ring(2000, 1), torch.arange(720) / 360 * math.pi
    centres = torch.stack([angles.cos(), angles.sin()], 1)
    gaps = torch.cdist(held, centres).double().square() / (2 * 0.2**2)
    truth = float(((-gaps).logsumexp(1) - math.log(720 * 2 * math.pi * 0.2**2)).mean())
    model, x = small({"x": Spec((1,)), "y": Spec((1,))}), ring(8000, 0)
    learn(model, {"x": x[:, :1, None], "y": x[:, 1:, None]}, 300)
    found = float(score(model, {"x": held[:, :1, None], "y": held[:, 1:, None]}).mean())
    assert truth - 0.1 < found < truth + 0.02, f"{found:.3f} nats, the truth has {truth:.3f}"


def test_the_density_of_a_model_is_in_the_units_of_its_values() -> None:
    draw = np.random.default_rng(0)
    rows = [{"price": float(v)} for v in 100 + 25 * draw.normal(size=2000)]
    table = Table.from_rows(rows, {"price": "number"}, holdout=0.0)
    model = Model(
        "price", {"price": Number.fit([r["price"] for r in rows])}, "autoregressive", width=32, depth=1
    )
    for _ in train(model, table, Plan(steps=100, batch=64)):
        pass
    found = model.log_prob(rows[:500])
    values = np.array([r["price"] for r in rows[:500]])
    truth = -0.5 * ((values - 100) / 25) ** 2 - math.log(25 * math.sqrt(2 * math.pi))
    assert found.kind == "exact"
    assert abs(float(found.nats.mean()) - truth.mean()) < 0.1


@pytest.mark.full
def test_the_direct_classifier_beats_logistic_regression() -> None:
    """P(label | image) on 8 x 8 digits, the same 1,400 rows for both: errors, and nats of held-out labels."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    pixels, labels = load_digits(return_X_y=True)
    rows = [
        {"image": Image.fromarray((p.reshape(8, 8) * 15.9).astype(np.uint8)), "label": str(k)}
        for p, k in zip(pixels, labels, strict=True)
    ]
    table = Table.from_rows(rows[:1400], {"image": "image", "label": "label"}, holdout=0.0)
    model = Model("label | image", table.columns, "autoregressive", width=64, depth=2)
    for _ in train(model, table, Plan(steps=400, batch=64, source_dropout=0.0)):
        pass
    held = [{"image": row["image"], "label": row["label"]} for row in rows[1400:]]
    drawn = model.sample([{"image": row["image"]} for row in held], temperature=0.0)
    right = np.mean([d["label"] == row["label"] for d, row in zip(drawn, held, strict=True)])
    nats = float(model.log_prob(held).nats.mean())
    plain = LogisticRegression(max_iter=2000).fit(pixels[:1400] / 16, labels[:1400])
    theirs = plain.predict_log_proba(pixels[1400:] / 16)[np.arange(len(held)), labels[1400:]].mean()
    assert right > plain.score(pixels[1400:] / 16, labels[1400:]), f"{right:.3f}"
    assert nats > theirs, f"{nats:.3f} nats a label, logistic regression {theirs:.3f}"


# ---- pictures


def test_pictures_are_coded_and_other_columns_are_not() -> None:
    model = family(
        {"image": Spec((12, 12), axes=IMAGE), "number": Spec((1,)), "small": Spec((4, 4), axes=IMAGE)}
    )
    assert model.tokens["image"].categorical and model.phases == ("codec", "model")
    assert model.tokens["small"] == Spec((4, 4), axes=IMAGE) and family({"number": Spec((1,))}).phases == (
        "model",
    )
    names = {phase: {n for n, _ in model.parameters_of(phase)} for phase in model.phases}
    assert all(n.startswith("codecs.0.") for n in names["codec"]) and not names["codec"] & names["model"]


def test_codes_come_first_and_then_stand_still() -> None:
    """Until `freeze_codes_at` only the codec learns; after it nothing that a code depends on does."""
    x = {"image": torch.randn(8, 144, 1, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)}
    moved = {}
    for progress in (0.1, 0.9):
        model = family({"image": Spec((12, 12), axes=IMAGE)}, freeze_codes_at=0.5)
        model.progress = progress
        for phase in model.phases:
            for step in range(4):
                model.loss(x, context(8), phase, Rng(range(8), "p", step)).mean().backward()
        moved[progress] = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    early, late = moved[0.1], moved[0.9]
    assert any(n.startswith("codecs.0.encoder") for n in early) and not any(
        n.startswith(("causal", "heads")) for n in early
    )
    assert any("codecs.0.decoder" in n for n in late) and any(n.startswith("heads") for n in late)
    assert not any(n.startswith(("codecs.0.encoder", "codecs.0.down")) for n in late)


@torch.no_grad()
def test_codes_begin_apart() -> None:
    """An untrained encoder says nearly the same of all pictures; what becomes codes is spread over them even so."""
    world = toy.table(128)
    model = Model("image", world.columns, "autoregressive", width=64, depth=1).family
    x, codec = {"image": world.encoded("image")}, model.codecs.named["image"]

    def spread() -> Tensor:
        z = codec._encode(x).flatten(0, 1)
        return (z - z.mean(0)).T @ (z - z.mean(0)) / len(z)

    one = torch.eye(len(spread()))
    assert (spread() - one).abs().max() > 0.3
    model.init_from_data(x, context(128), Rng(range(128), "begin"))
    assert (spread() - one).abs().max() < 0.01


@torch.no_grad()
def test_the_bound_of_a_picture_is_that_of_its_codes_and_its_decoder() -> None:
    model = family({"image": Spec((12, 12), axes=IMAGE), "label": Spec((1,), classes=3)}, max_grid=2)
    x = {"image": torch.randn(5, 144, 1).clamp(-1, 1), "label": torch.arange(5)[:, None] % 3}
    found, codec = model.log_prob(x, context(5), rng=Rng(range(5), "s")), model.codecs.named["image"]
    z = codec.encode({"image": x["image"]})
    masks = {n: torch.zeros(5, s.tokens, dtype=torch.bool) for n, s in model.targets.items()}
    free = {"image": torch.ones_like(z).bool(), "label": torch.ones(5, 1).bool()}
    codes = model._column_log_probs(
        {"image": z, "label": x["label"]}, model._encode_context(context(5), x, masks), free
    ).sum(1)
    assert found.kind == "bound" and found.dims == 145
    assert torch.allclose(found.nats, codes + codec.log_prob({"image": x["image"]}, z), atol=1e-3)

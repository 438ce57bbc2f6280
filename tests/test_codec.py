"""Codec: codes go there and back, gradients pass, no code is left behind, and up-sampling leaves no pattern."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from matrix import mainly
from torch import Tensor, nn

from likewise.core.batch import Context
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.data.table import Table
from likewise.families.autoencoder import Autoencoder
from likewise.generation.latents.bottlenecks import (
    FSQ,
    LEVELS,
    NOISE,
    Bottleneck,
    ResidualVQ,
    make_bottleneck,
)
from likewise.generation.latents.codec import Codec, perplexity
from likewise.nets.stems.conv import ConvStem
from likewise.testing import check_family

ROWS = 32


def vectors(floats: int, places: int = 9, scale: float = 1.0) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return scale * torch.randn(ROWS, places, floats, generator=draw)


def made(kind: str, size: int = 60, floats: int = 6) -> Bottleneck:
    torch.manual_seed(0)
    return make_bottleneck(kind, floats, size, 3)


# ---- quantisers


@pytest.mark.parametrize("kind", ["fsq", "vq"])
def test_the_nearest_code_of_a_code_is_itself(kind: str) -> None:
    own = made(kind)
    once = own.quantize(own.normalize(vectors(own.code_dim)))
    assert torch.allclose(own.quantize(once), once, atol=1e-5)


@pytest.mark.parametrize("kind", ["fsq", "vq"])
def test_every_id_goes_to_a_vector_and_back(kind: str) -> None:
    own = made(kind)
    ids = torch.arange(own.codebook_size)[None]
    assert torch.equal(own.codes(own.vectors(ids)), ids)


@pytest.mark.parametrize("kind", ["fsq", "vq", "rvq"])
def test_ids_stand_for_the_nearest_code(kind: str) -> None:
    own = made(kind)
    v = own.normalize(vectors(own.code_dim))
    ids = own.codes(v)
    assert (
        ids.shape == (ROWS, 9 * own.num_codebooks)
        and 0 <= int(ids.min()) <= int(ids.max()) < own.codebook_size
    )
    assert torch.allclose(own.vectors(ids), own.quantize(v), atol=1e-5)
    if kind != "rvq":  # of all codes none is nearer
        codes = own.vectors(torch.arange(own.codebook_size)[None])[0]
        assert torch.allclose(
            torch.cdist(v, codes[None]).amin(-1), (v - own.quantize(v)).norm(dim=-1), atol=1e-4
        )


@pytest.mark.parametrize("levels", LEVELS.values(), ids=str)
def test_levels_are_evenly_spaced_have_unit_variance_and_equal_shares(levels: tuple[int, ...]) -> None:
    own = FSQ(math.prod(levels))
    assert own.codebook_size == math.prod(levels) and own.levels.tolist() == list(levels)
    for i, count in enumerate(levels):
        stride = math.prod(levels[:i])
        along = own.vectors(stride * torch.arange(count)[None])[0, :, i]
        assert (
            torch.allclose(along.diff(), along.diff()[:1]) and abs(float(along.var(correction=0)) - 1) < 1e-5
        )
        u = torch.linspace(-1, 1, 10_001)[1:-1]
        z = torch.zeros(1, len(u), own.code_dim)
        z[0, :, i] = torch.atanh(u)
        taken = own.codes(own.normalize(z))[0] // stride % count
        assert torch.allclose(torch.bincount(taken) / len(u), torch.full((count,), 1 / count), atol=1e-3)


@pytest.mark.parametrize("kind", ["fsq", "vq", "rvq"])
def test_gradients_pass_straight_through(kind: str) -> None:
    """d out / d z is that of the vectors before they were moved to a code."""
    own = made(kind)
    pull = vectors(own.code_dim).flip(0)
    grads = []
    for through in (True, False):
        z = vectors(own.code_dim).requires_grad_()
        out = own(z, Rng(range(ROWS)))[0] if through else own.normalize(z)
        grads.append(torch.autograd.grad((out * pull).sum(), z)[0])
        if through and kind != "rvq":
            assert torch.allclose(out, own.quantize(own.normalize(z)), atol=1e-5)
    assert torch.allclose(*grads) and float(grads[0].abs().max()) > 0


def test_a_codebook_learns_what_it_is_told() -> None:
    """The cost draws codes to vectors, and vectors to codes four times less."""
    own = made("vq")
    z = vectors(6).requires_grad_()
    v = own.normalize(z)
    cost = own(z, Rng(range(ROWS)))[1]
    assert torch.allclose(cost, 1.25 * (v - own.quantize(v)).square().flatten(1).mean(1), atol=1e-5)
    cost.sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in (own.codebooks, own.projection, z))


def test_further_books_say_what_is_left() -> None:
    left = []
    for books in (1, 2, 3, 4):
        torch.manual_seed(0)
        own, v = ResidualVQ(6, 64, books), vectors(6)
        left.append(float((own.normalize(v) - own.quantize(own.normalize(v))).square().mean().detach()))
    assert left == sorted(left, reverse=True) and left[-1] < 0.35 * left[0]


def test_rows_use_some_of_the_books() -> None:
    """In training a row is rebuilt from its first one, two or three books, half of the rows from all."""
    own, v = made("rvq"), vectors(6)
    out, _ = own(v, Rng(range(ROWS)))
    _, found = own._search(own.normalize(v))
    partial = torch.stack([sum(found[: q + 1]) for q in range(3)], dim=1)  # (B, Q, n, d)
    used = (out[:, None] - partial).abs().flatten(2).amax(-1).argmin(1)
    assert float((out - partial[torch.arange(ROWS), used]).detach().abs().max()) < 1e-5
    counts = torch.bincount(used, minlength=3)
    assert counts.min() > 0 and counts[2] > ROWS / 3


def test_continuous_codes_have_noise_in_training_only() -> None:
    own = made("continuous")
    z = vectors(6, places=400)
    out, cost = own(z, Rng(range(ROWS)))
    assert abs(float((out - own.normalize(z)).std()) - NOISE) < 0.01 and float(cost.abs().max()) == 0
    assert torch.allclose(own.normalize(z).square().mean(-1), torch.ones(ROWS, 400), atol=1e-3)


# ---- codecs


def trained(world: Table, steps: int, **options: Any) -> tuple[Codec, dict[str, Tensor]]:
    """A codec of the toy pictures and labels, and the rows it has seen."""
    x = {n: world.train.encoded(n) for n in ("image", "label")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = Codec({n: world.columns[n].spec for n in x}, width=48, stem="patch", **options)
    optimiser = torch.optim.AdamW(codec.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(steps):
        rows = (torch.arange(64) * 37 + 64 * step) % 256
        codec.loss({n: v[rows] for n, v in x.items()}, Rng(rows.tolist(), step)).mean().backward()
        optimiser.step(), optimiser.zero_grad()
    return codec, x


# Continuous codes are learned by default in test_views.py.
@pytest.mark.parametrize("kind", mainly(["vq"], ["continuous", "fsq", "vq", "rvq"]))
def test_a_codec_gives_back_what_it_was_given(world: Table, kind: str) -> None:
    codec, x = trained(
        world, 200, bottleneck=kind, codebook_size=16 if kind in ("vq", "rvq") else 240, num_codebooks=2
    )
    with torch.no_grad():
        codes = codec.encode(x)
        back, again = codec.decode(codes), codec.encode(x)
    assert (
        torch.equal(codes, again)
        and codes.shape[1:] == (codec.spec.tokens, codec.spec.width)[: codes.ndim - 1]
    )
    assert codes.dtype == (torch.int64 if codec.spec.categorical else torch.float32)
    error = float((back["image"] - x["image"]).square().mean() / x["image"].var())
    assert error < 0.35, f"{error:.2f} of the variance is lost"
    assert float((back["label"] == x["label"]).float().mean()) > 0.95
    if kind == "vq":
        used = int((torch.bincount(codes.flatten(), minlength=16) > 0.002 * codes.numel()).sum())
        assert used > 8, f"{used} of 16 codes are in use"  # most places are empty, so perplexity is far lower


def test_log_prob_is_the_decoders(world: Table) -> None:
    codec, x = trained(world, 20)
    x = {n: v[:8] for n, v in x.items()}
    with torch.no_grad():
        codes = codec.encode(x)
        nats, mean = codec.log_prob(x, codes), codec.decode(codes)["image"]
        says = codec.decode_params(codec.vectors(codes))
    law = torch.distributions.Normal(mean, (0.5 * codec.likelihood.log_var("image")).exp().detach())
    label = says["label"].log_softmax(-1).gather(-1, x["label"][..., None])
    assert torch.allclose(nats, law.log_prob(x["image"]).flatten(1).sum(1) + label.flatten(), atol=1e-2)


def test_perplexity() -> None:
    assert abs(perplexity(torch.arange(8), 16) - 8) < 1e-6
    assert abs(perplexity(torch.zeros(5, dtype=torch.int64), 16) - 1) < 1e-6


# ---- up-sampling


def period_two(x: Tensor) -> float:
    """How much of a picture alternates from pixel to pixel, away from its edges, relative to its mean."""
    inside = x[..., 4:-4, 4:-4]
    return float((inside - inside.roll(1, -1)).abs()[..., 1:].mean() / inside.abs().mean())


def test_up_sampling_leaves_no_checkerboard() -> None:
    """A constant through equal weights stays constant, as each pixel has as many inputs; not so by kernel 3."""
    ups = ConvStem(Spec((32, 32), axes=IMAGE), None, 1, 16, skips=False, max_grid=4).ups
    bad = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1)
    found = []
    for layer in (*ups, bad):
        assert layer.kernel_size[0] % layer.stride[0] == 0 or layer is bad
        with torch.no_grad():
            layer.weight.fill_(0.1), layer.bias.zero_()
            found.append(period_two(layer(torch.ones(1, layer.in_channels, 12, 12))))
    assert max(found[:-1]) < 1e-6 < 0.3 < found[-1]


# ---- the family


def test_codes_stand_still_once_they_are_settled() -> None:
    torch.manual_seed(0)
    own = Autoencoder({"x": Spec((8, 8), axes=IMAGE)}, {}, width=32, depth=1, infill=0.0)
    x, c = {"x": torch.randn(16, 64, 1)}, Context({}, torch.ones(16, 0, dtype=torch.bool))
    with torch.no_grad():
        own.codec.decoder.stems[
            0
        ].conv_out.weight.normal_()  # it starts at zero, and would let nothing through
    for progress, moves in ((0.2, True), (0.7, False), (1.0, True)):
        own.zero_grad()
        own.progress = progress
        own.loss(x, c, "codec", Rng(range(16))).mean().backward()
        assert (own.codec.down.weight.grad is not None) == moves
        assert float(own.codec.up.weight.grad.abs().max()) > 0
        assert all(p.grad is None for p in own.prior.parameters())
        own.zero_grad()
        own.loss(x, c, "prior", Rng(range(16))).mean().backward()
        assert all(p.grad is None for p in own.codec.parameters())


@pytest.mark.parametrize(
    ("kind", "case"),
    mainly(
        [("fsq", "several_of_all"), ("vq", "label"), ("rvq", "several")],
        itertools.product(["fsq", "vq", "rvq"], ["label", "several", "several_of_all"]),
    ),
)
def test_bottlenecks_keep_the_contract(kind: str, case: str) -> None:
    check_family(Autoencoder, cases=[case], bottleneck=kind, codebook_size=64, num_codebooks=2)


def test_discrete_draws_are_of_codes() -> None:
    """What the flow draws is moved to the nearest code before it is decoded: few codes, few pictures."""
    torch.manual_seed(0)
    own = Autoencoder(
        {"x": Spec((4, 4), axes=IMAGE)},
        {},
        width=32,
        depth=1,
        bottleneck="vq",
        codebook_size=2,
        max_grid=1,
        infill=0.0,
    )
    with torch.no_grad():
        for p in own.parameters():
            p.add_(0.1 * torch.randn_like(p))
    c = Context({}, torch.ones(40, 0, dtype=torch.bool))
    x = own.sample(c, known=None, rng=Rng(range(40)), steps=4)["x"]
    different = (torch.cdist(x.flatten(1), x.flatten(1)) > 1e-4).sum(1)
    assert 1 <= len({int(n) for n in different}) <= 2
    noisy = own.sample(c, known=None, rng=Rng(range(40)), steps=4, noise=True)["x"]
    assert float((noisy - x).std()) > 0.01

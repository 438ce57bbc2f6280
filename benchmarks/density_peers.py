"""Peers with a density or a code: pythae, x-transformers and scikit-learn, by their public functions."""

from __future__ import annotations

import copy
import itertools
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from peers import DEVICE, Maker, Method, Task, Values, clocked, count, descend
from torch import Tensor, nn

HELD = 10  # a peer keeps every HELD-th training row back, to stop or to choose by


class Best:
    """The weights of a model that had the least loss so far, on rows that it does not train on."""

    def __init__(self, model: nn.Module, loss: Callable[[], float]) -> None:
        self.model, self.loss = model, loss
        self.least, self.weights = math.inf, model.state_dict()

    @torch.no_grad()
    def judge(self) -> float:
        self.model.eval()
        loss = self.loss()
        if loss < self.least:
            self.least, self.weights = loss, copy.deepcopy(self.model.state_dict())
        self.model.train()
        return loss

    def restore(self) -> None:
        """Judge once more, and take the best."""
        self.judge()
        self.model.load_state_dict(self.weights)


def epochs(rows: int, size: int, after: Callable[[], object]) -> Iterator[Tensor]:
    """Numbers of rows in batches without end, in a new order each time; `after` each time."""
    while True:
        yield from torch.randperm(rows).split(size)
        after()


# ---- pythae: variational and other autoencoders


def pythae_vae(beta: float | None) -> Maker:
    """VAE, or BetaVAE with `beta`, which is a VAE whose decoder has the variance beta."""

    def make(task: Task) -> Method:
        from pythae.models import VAE, BetaVAE, BetaVAEConfig, VAEConfig
        from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST

        size = {"input_dim": task.shape, "latent_dim": task.options["latent_dim"]}
        config = VAEConfig(**size) if beta is None else BetaVAEConfig(**size, beta=beta)
        nets = (
            (Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config))
            if task.options["pythae_nets"] == "conv"
            else (None, None)
        )
        model = (VAE if beta is None else BetaVAE)(config, *nets).to(DEVICE)

        def draw(classes: Tensor) -> Tensor:
            return model.decoder(torch.randn(len(classes), config.latent_dim, device=DEVICE)).reconstruction

        return Method(
            count(model),
            lambda seconds: _fit_pythae(model, task, seconds),
            {"": _from_unit(task, draw)},
            lambda: importance_weighted(model, task),
        )

    return make


def pythae_autoencoder(latent: int) -> Maker:
    """AE, and samples by its GaussianMixtureSampler, fitted on the codes of all training rows."""

    def make(task: Task) -> Method:
        from pythae.models import AE, AEConfig
        from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_AE_MNIST
        from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig

        logging.getLogger("pythae").setLevel(logging.WARNING)
        config = AEConfig(input_dim=task.shape, latent_dim=latent)
        nets = (
            (Encoder_Conv_AE_MNIST(config), Decoder_Conv_AE_MNIST(config))
            if task.options["pythae_nets"] == "conv"
            else (None, None)
        )
        model = AE(config, *nets).to(DEVICE)
        sampler = GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=10))

        def run(seconds: float) -> int:
            seen = _fit_pythae(model, task, 0.97 * seconds)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                sampler.fit(_unit(task))
            return seen

        @torch.no_grad()
        def rebuild(images: Tensor) -> Tensor:
            return 2 * model.eval().decoder(model.encoder((images + 1) / 2).embedding).reconstruction - 1

        return Method(
            count(model),
            run,
            {"": _from_unit(task, lambda classes: sampler.sample(len(classes)))},
            rebuild=rebuild,
        )

    return make


def _unit(task: Task) -> Tensor:
    """All training pictures in [0, 1], as pythae takes them: (n, C, H, W)."""
    channels, height, width = task.shape
    x = task.table.train.encoded(task.targets[0]).view(-1, height, width, channels)
    return ((x + 1) / 2).permute(0, 3, 1, 2).contiguous()


def _from_unit(task: Task, draw: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Values]:
    @torch.no_grad()
    def whole(classes: Tensor) -> Values:
        parts = [draw(part).view(-1, *task.shape).cpu() for part in classes.split(100)]
        return task.pictures(2 * torch.cat(parts) - 1)

    return whole


def _fit_pythae(model: nn.Module, task: Task, seconds: float) -> int:
    """As its README trains, in batches of 64; at the end the weights that were best on rows kept back."""
    x = _unit(task).to(DEVICE)
    held, kept = x[::HELD], x[torch.arange(len(x)) % HELD > 0]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, betas=(0.91, 0.995))
    slower = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, patience=5, factor=0.5)
    best = Best(model, lambda: sum(float(model({"data": part}).loss) * len(part) for part in held.split(100)))
    rows = epochs(len(kept), 64, lambda: slower.step(best.judge()))

    def step(progress: float) -> None:
        descend(optimiser, model({"data": kept[next(rows)]}).loss)

    seen = 64 * clocked(step, seconds)
    best.restore()
    return seen


@torch.no_grad()
def importance_weighted(model: nn.Module, task: Task) -> Tensor:
    """log p of the held-out rows under N(x; decoder(z), s^2), the s^2 that is best on training rows: (n,).

    log p(x) >= log mean_k p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q(z | x) (Burda et al., 2016, equation 8).
    pythae's own get_nll takes s = 1, which is far off for pixels in [0, 1].
    """
    draws, unit = task.options["draws"], 255.0  # of grey levels

    def terms(x: Tensor) -> tuple[Tensor, Tensor]:
        """|x - decoder(z)|^2 and log p(z) / q(z | x) of each row and draw, (B, K)."""
        found = []
        for part in (x / unit + 0.5).float().to(DEVICE).split(8):
            code = model.eval().encoder(part.view(-1, *task.shape))
            mean, log_var = (v[:, None].expand(-1, draws, -1) for v in (code.embedding, code.log_covariance))
            e = torch.randn_like(mean)
            z = mean + (0.5 * log_var).exp() * e
            x_hat = model.decoder(z.flatten(0, 1)).reconstruction.view(len(part), draws, -1)
            found.append(
                (
                    ((x_hat - part.flatten(1)[:, None]) ** 2).sum(2).double().cpu(),
                    0.5 * (e**2 - z**2 + log_var).sum(2).double().cpu(),
                )
            )
        return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])

    def nats(found: tuple[Tensor, Tensor], variance: float, size: int) -> Tensor:
        square, ratio = found
        log_p = -square / (2 * variance) - size / 2 * math.log(2 * math.pi * variance) + ratio
        return log_p.logsumexp(1) - math.log(draws) - size * math.log(unit)

    size = task.test.shape[1]
    seen = terms(task.train[: len(task.test)])
    around = float(seen[0].mean()) / size
    tried = [around * 2 ** (k / 8) for k in range(-24, 25)]
    best = max(tried, key=lambda variance: float(nats(seen, variance, size).mean()))
    return nats(terms(task.test), best, size)


# ---- x-transformers: a decoder over the same tokens


def x_transformers(task: Task) -> Method:
    """TransformerWrapper in AutoregressiveWrapper, of about likewise's size, on the same ids as likewise."""
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    column = task.table.columns[task.targets[0]]
    start, length = column.spec.classes, column.spec.tokens
    net = TransformerWrapper(
        num_tokens=start + 1,
        max_seq_len=length + 2,
        emb_dropout=0.1,
        attn_layers=Decoder(
            dim=task.options["width"],
            depth=task.options["depth"],
            heads=task.options["width"] // 64,
            attn_dim_head=64,
            rotary_pos_emb=True,
            attn_dropout=0.1,
            ff_dropout=0.1,
        ),
    )
    model = AutoregressiveWrapper(net, ignore_index=-100).to(DEVICE)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    ids = _sequences(task.table.train.encoded(task.targets[0]), start)
    held, kept = ids[::HELD], ids[torch.arange(len(ids)) % HELD > 0]
    descend(optimiser, 0 * model(ids[:2].clamp(min=0).to(DEVICE)))  # what it imports late is nobody's time
    best = Best(model, lambda: -float(score(held).mean()))
    rows = epochs(len(kept), 96, best.judge)

    def step(progress: float) -> None:
        optimiser.param_groups[0]["lr"] = 1e-3 * min(1.0, 50 * progress, 2 * (1 - progress))
        with task.cast():
            loss = model(_short(kept[next(rows)]).to(DEVICE))
        descend(optimiser, loss, clip=0.5)

    def run(seconds: float) -> int:
        seen = 96 * clocked(step, seconds)
        best.restore()
        return seen

    @torch.no_grad()
    def score(sequences: Tensor) -> Tensor:
        found = []
        for part in sequences.split(100):
            part = _short(part).to(DEVICE)
            logits = net.eval()(part.clamp(min=0)[:, :-1])
            losses = F.cross_entropy(logits.mT, part[:, 1:], ignore_index=-100, reduction="none")
            found.append(-losses.sum(1).cpu())
        return torch.cat(found)

    def draw(classes: Tensor) -> Values:
        prompts = torch.full((len(classes), 1), start, device=DEVICE)
        drawn = model.generate(prompts, length, eos_token=0, temperature=1.0, filter_logits_fn=lambda x: x)
        ended = F.pad(drawn, (0, 1))
        ended[ended == start] = 0
        return [column.decode(row) for row in ended.cpu()]

    return Method(
        count(model),
        run,
        {"": draw},
        lambda: score(_sequences(task.table.test.encoded(task.targets[0]), start)),
    )


def _sequences(ids: Tensor, start: int) -> Tensor:
    """Ids (n, T), filled with 0 -> START, ids, one 0, and -100 after it: (n, T + 2)."""
    ended = F.pad(ids, (0, 1))
    after = (ended == 0).cumsum(1) > 1
    return F.pad(ended.masked_fill(after, -100), (1, 0), value=start)


def _short(sequences: Tensor) -> Tensor:
    """Without the places that no row needs."""
    return sequences[:, : int((sequences != -100).sum(1).max())]


# ---- scikit-learn: mixtures of Gaussians


def scikit_learn(task: Task) -> Method:
    """GaussianMixture: of some settings, each given as long, the one that is best on rows kept back.

    It gets 70 % of the time for the choice, and the rest for EM on all rows, from where it stands.
    """
    from sklearn.mixture import GaussianMixture

    x = task.train.numpy()
    unit = x.std(0).clip(1e-3)  # a covariance's floor is the same in all directions: so are the deviations
    x, chosen, notes = x / unit, [], []
    held, kept = x[::HELD], x[np.arange(len(x)) % HELD > 0]

    def settings() -> Iterator[GaussianMixture]:
        shapes = (
            ("diag", 10),
            ("full", 1),
            ("tied", 10),
            ("diag", 50),
            ("full", 3),
            ("tied", 50),
            ("full", 10),
            ("diag", 200),
        )
        for (shape, k), floor in itertools.product(shapes, (1e-2, 1e-4)):
            if k * 5 <= len(kept):
                yield GaussianMixture(
                    k,
                    covariance_type=shape,
                    reg_covar=floor,
                    warm_start=True,
                    max_iter=1,
                    random_state=task.seed,
                )

    def run(seconds: float) -> int:
        began, found, rounds = time.perf_counter(), [], 0
        todo = list(settings())
        for i, mixture in enumerate(todo):
            left = 0.7 * seconds - (time.perf_counter() - began)
            if found and left < 0:
                break
            rounds += _em(mixture, kept, left / (len(todo) - i))
            found.append(float(mixture.score(held)))
        best = todo[int(np.argmax(found))]
        rounds += _em(best, x, seconds - (time.perf_counter() - began))
        chosen.append(best)
        notes.append(f"{best.n_components} components, {best.covariance_type}, reg_covar {best.reg_covar:g}")
        return rounds * len(x)

    def score() -> Tensor:
        return torch.from_numpy(chosen[0].score_samples(task.test.numpy() / unit) - np.log(unit).sum())

    def draw(classes: Tensor) -> Values:
        rows = chosen[0].sample(len(classes))[0]
        order = np.random.default_rng(task.seed).permutation(len(rows))  # it draws component by component
        return task.values(torch.from_numpy(rows[order] * unit))

    return Method(None, run, {"": draw}, score, notes=notes)


def _em(mixture, x: np.ndarray, seconds: float) -> int:
    """Rounds of EM, at least one, until there is no time or no gain; how many."""
    began, rounds, before = time.perf_counter(), 0, -math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one round is not the end
        while True:
            mixture.fit(x)
            rounds += 1
            if mixture.lower_bound_ - before < 1e-3 or time.perf_counter() - began > seconds:
                return rounds
            before = mixture.lower_bound_

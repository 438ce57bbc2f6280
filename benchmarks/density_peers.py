"""Peers with a density or a code: pythae, x-transformers and scikit-learn, by their public functions."""

from __future__ import annotations

import copy
import itertools
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peers import DEVICE, Maker, Method, Task, Values, clocked, count, update
from torch import Tensor, nn

VALIDATION = 10  # every VALIDATION-th training row of a peer is for validation


class Best:
    """The weights of a model with the least validation loss so far."""

    def __init__(self, model: nn.Module, loss: Callable[[], float]) -> None:
        self.model, self.loss = model, loss
        self.least, self.weights = math.inf, model.state_dict()

    @torch.no_grad()
    def validate(self) -> float:
        self.model.eval()
        loss = self.loss()
        if loss < self.least:
            self.least, self.weights = loss, copy.deepcopy(self.model.state_dict())
        self.model.train()
        return loss

    def restore(self) -> None:
        """Validate once more, and load the best weights."""
        self.validate()
        self.model.load_state_dict(self.weights)


def epochs(rows: int, size: int, after: Callable[[], object]) -> Iterator[Tensor]:
    """Endless batches of row indices, in a new order in each epoch; `after` is called after each."""
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

        def sample(classes: Tensor) -> Tensor:
            return model.decoder(torch.randn(len(classes), config.latent_dim, device=DEVICE)).reconstruction

        return Method(
            count(model),
            lambda seconds: _fit_pythae(model, task, seconds),
            {"": _from_unit(task, sample)},
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
            rows = _fit_pythae(model, task, 0.97 * seconds)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                sampler.fit(_unit(task))
            return rows

        @torch.no_grad()
        def reconstruct(images: Tensor) -> Tensor:
            return 2 * model.eval().decoder(model.encoder((images + 1) / 2).embedding).reconstruction - 1

        return Method(
            count(model),
            run,
            {"": _from_unit(task, lambda classes: sampler.sample(len(classes)))},
            reconstruct=reconstruct,
        )

    return make


def _unit(task: Task) -> Tensor:
    """All training images in [0, 1]: (n, C, H, W)."""
    channels, height, width = task.shape
    x = task.table.train.encoded(task.targets[0]).view(-1, height, width, channels)
    return ((x + 1) / 2).permute(0, 3, 1, 2).contiguous()


def _from_unit(task: Task, sample: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Values]:
    @torch.no_grad()
    def sample_all(classes: Tensor) -> Values:
        parts = [sample(part).view(-1, *task.shape).cpu() for part in classes.split(100)]
        return task.to_images(2 * torch.cat(parts) - 1)

    return sample_all


def _fit_pythae(model: nn.Module, task: Task, seconds: float) -> int:
    """Train as in its README, in batches of 64; at the end the weights with the least validation loss."""
    x = _unit(task).to(DEVICE)
    validation, train = x[::VALIDATION], x[torch.arange(len(x)) % VALIDATION > 0]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, betas=(0.91, 0.995))
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=5, factor=0.5)
    best = Best(
        model, lambda: sum(float(model({"data": part}).loss) * len(part) for part in validation.split(100))
    )
    rows = epochs(len(train), 64, lambda: schedule.step(best.validate()))

    def step(progress: float) -> None:
        update(optimizer, model({"data": train[next(rows)]}).loss)

    count_rows = 64 * clocked(step, seconds)
    best.restore()
    return count_rows


@torch.no_grad()
def importance_weighted(model: nn.Module, task: Task) -> Tensor:
    """log p of the held-out rows under N(x; decoder(z), s^2), with the s^2 that is best on training rows: (n,).

    log p(x) >= log mean_k p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q(z | x) (Burda et al., 2016, equation 8).
    pythae's own get_nll takes s = 1, which is far off for pixels in [0, 1].
    """
    samples, unit = task.options["latent_samples"], 255.0  # of grey levels

    def terms(x: Tensor) -> tuple[Tensor, Tensor]:
        """|x - decoder(z)|^2 and log p(z) / q(z | x) of each row and sample, (B, K)."""
        terms_of_parts = []
        for part in (x / unit + 0.5).float().to(DEVICE).split(8):
            code = model.eval().encoder(part.view(-1, *task.shape))
            mean, log_var = (
                v[:, None].expand(-1, samples, -1) for v in (code.embedding, code.log_covariance)
            )
            e = torch.randn_like(mean)
            z = mean + (0.5 * log_var).exp() * e
            x_hat = model.decoder(z.flatten(0, 1)).reconstruction.view(len(part), samples, -1)
            terms_of_parts.append(
                (
                    ((x_hat - part.flatten(1)[:, None]) ** 2).sum(2).double().cpu(),
                    0.5 * (e**2 - z**2 + log_var).sum(2).double().cpu(),
                )
            )
        return torch.cat([a for a, _ in terms_of_parts]), torch.cat([b for _, b in terms_of_parts])

    def log_prob(squares_and_ratios: tuple[Tensor, Tensor], variance: float, size: int) -> Tensor:
        square, ratio = squares_and_ratios
        log_p = -square / (2 * variance) - size / 2 * math.log(2 * math.pi * variance) + ratio
        return log_p.logsumexp(1) - math.log(samples) - size * math.log(unit)

    size = task.test.shape[1]
    train = terms(task.train[: len(task.test)])
    centre = float(train[0].mean()) / size
    candidates = [centre * 2 ** (k / 8) for k in range(-24, 25)]
    best = max(candidates, key=lambda variance: float(log_prob(train, variance, size).mean()))
    return log_prob(terms(task.test), best, size)


# ---- x-transformers: a decoder over the same tokens


def x_transformers(task: Task) -> Method:
    """TransformerWrapper in AutoregressiveWrapper, of about the size of likewise, on the same ids."""
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
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    ids = _sequences(task.table.train.encoded(task.targets[0]), start)
    validation, train = ids[::VALIDATION], ids[torch.arange(len(ids)) % VALIDATION > 0]
    update(optimizer, 0 * model(ids[:2].clamp(min=0).to(DEVICE)))  # late imports, before the training time
    best = Best(model, lambda: -float(score(validation).mean()))
    rows = epochs(len(train), 96, best.validate)

    def step(progress: float) -> None:
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1.0, 50 * progress, 2 * (1 - progress))
        with task.cast():
            loss = model(_trim(train[next(rows)]).to(DEVICE))
        update(optimizer, loss, clip=0.5)

    def run(seconds: float) -> int:
        count_rows = 96 * clocked(step, seconds)
        best.restore()
        return count_rows

    @torch.no_grad()
    def score(sequences: Tensor) -> Tensor:
        log_probs = []
        for part in sequences.split(100):
            part = _trim(part).to(DEVICE)
            logits = net.eval()(part.clamp(min=0)[:, :-1])
            losses = F.cross_entropy(logits.mT, part[:, 1:], ignore_index=-100, reduction="none")
            log_probs.append(-losses.sum(1).cpu())
        return torch.cat(log_probs)

    def sample(classes: Tensor) -> Values:
        prompts = torch.full((len(classes), 1), start, device=DEVICE)
        ids = model.generate(prompts, length, eos_token=0, temperature=1.0, filter_logits_fn=lambda x: x)
        ended = F.pad(ids, (0, 1))
        ended[ended == start] = 0
        return [column.decode(row) for row in ended.cpu()]

    return Method(
        count(model),
        run,
        {"": sample},
        lambda: score(_sequences(task.table.test.encoded(task.targets[0]), start)),
    )


def _sequences(ids: Tensor, start: int) -> Tensor:
    """Ids (n, T), padded with 0 -> START, ids, one 0, and -100 after it: (n, T + 2)."""
    ended = F.pad(ids, (0, 1))
    after = (ended == 0).cumsum(1) > 1
    return F.pad(ended.masked_fill(after, -100), (1, 0), value=start)


def _trim(sequences: Tensor) -> Tensor:
    """Without trailing positions that are padding in all rows."""
    return sequences[:, : int((sequences != -100).sum(1).max())]


# ---- scikit-learn: mixtures of Gaussians


def scikit_learn(task: Task) -> Method:
    """GaussianMixture: of several settings, with equal time, the one that is best on validation rows.

    The choice takes 70 % of the time; EM on all rows continues from there for the rest.
    """
    from sklearn.mixture import GaussianMixture

    x = task.train.numpy()
    unit = x.std(0).clip(1e-3)  # reg_covar is the same in all directions
    x, chosen, notes = x / unit, [], []
    validation, train = x[::VALIDATION], x[np.arange(len(x)) % VALIDATION > 0]

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
            if k * 5 <= len(train):
                yield GaussianMixture(
                    k,
                    covariance_type=shape,
                    reg_covar=floor,
                    warm_start=True,
                    max_iter=1,
                    random_state=task.seed,
                )

    def run(seconds: float) -> int:
        start, rounds = time.perf_counter(), 0
        scores: list[float] = []
        mixtures = list(settings())
        for i, mixture in enumerate(mixtures):
            left = 0.7 * seconds - (time.perf_counter() - start)
            if scores and left < 0:
                break
            rounds += _em(mixture, train, left / (len(mixtures) - i))
            scores.append(float(mixture.score(validation)))
        best = mixtures[int(np.argmax(scores))]
        rounds += _em(best, x, seconds - (time.perf_counter() - start))
        chosen.append(best)
        notes.append(f"{best.n_components} components, {best.covariance_type}, reg_covar {best.reg_covar:g}")
        return rounds * len(x)

    def score() -> Tensor:
        return torch.from_numpy(chosen[0].score_samples(task.test.numpy() / unit) - np.log(unit).sum())

    def sample(classes: Tensor) -> Values:
        rows = chosen[0].sample(len(classes))[0]
        order = np.random.default_rng(task.seed).permutation(len(rows))  # samples come component by component
        return task.values(torch.from_numpy(rows[order] * unit))

    return Method(None, run, {"": sample}, score, notes=notes)


def _em(mixture: Any, x: np.ndarray, seconds: float) -> int:
    """Run EM until there is no time or no gain; returns the number of rounds, at least one."""
    start, rounds, before = time.perf_counter(), 0, -math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence after one round
        while True:
            mixture.fit(x)
            rounds += 1
            if mixture.lower_bound_ - before < 1e-3 or time.perf_counter() - start > seconds:
                return rounds
            before = mixture.lower_bound_

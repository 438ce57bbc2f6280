"""The figures of docs/families: samples of each family of a comparison.

likewise compare digits "image | label" --minutes 2     # trains every family into runs/compare-digits
python docs/figures.py                                  # all figures; or some: python docs/figures.py vae
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL.Image import Image
from torch import Tensor

from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.families.autoencoder import Autoencoder
from likewise.families.autoregressive import Autoregressive
from likewise.families.diffusion import Diffusion
from likewise.families.flow import Flow
from likewise.families.vae import VAE
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

HERE = Path(__file__).parent / "families"
LABELS = [str(i) for i in range(10)]
Strip = tuple[str, Sequence[Image]]
EDGE = 96  # grey level of the lines between images


def strips(name: str, rows: Sequence[Strip], title: str = "") -> None:
    """Write HERE/name.png: a line of images for each row, with its description on the left."""
    across = max(len(images) for _, images in rows)
    figure = Figure(figsize=(2.2 + 0.55 * across, 0.62 * len(rows) + (0.35 if title else 0.1)), dpi=110)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axes, (text, images) in zip(grid, rows, strict=True):
        line = np.concatenate([np.pad(np.asarray(i), 1, constant_values=EDGE) for i in images], 1)
        axes.imshow(line, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="equal")
        axes.set_anchor("W")
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9)
        axes.spines[:].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10)
    figure.subplots_adjust(
        left=2.1 / (2.2 + 0.55 * across),
        right=0.995,
        bottom=0.02,
        top=0.98 - (0.3 / (0.62 * len(rows) + 0.35) if title else 0),
        hspace=0.06,
    )
    HERE.mkdir(exist_ok=True)
    figure.savefig(HERE / f"{name}.png")
    print(HERE / f"{name}.png")


def of_labels(model: Model, seed: int = 0, **sampling_options: Any) -> list[Image]:
    """One sample of each label."""
    return [
        row["image"] for row in model.sample([{"label": n} for n in LABELS], seed=seed, **sampling_options)
    ]


def decode(model: Model, tokens: Tensor) -> list[Image]:
    """Tokens (B, T, 1) of the image column as images."""
    return [model.columns["image"].decode(t) for t in tokens]


def real(model: Model, table: Table, each: int = 1) -> tuple[Tensor, list[Image]]:
    """`each` held-out digits of every label, as tokens and as images."""
    labels = table.test.column("label")
    rows = [i for n in LABELS for i in [j for j, label in enumerate(labels) if str(label) == n][:each]]
    column = table.test.column("image")
    images = [column[i] for i in rows]
    return model.encode("image", images), images


# ---- the denoisers


def trajectory(model: Model, label: str, steps: int = 10) -> tuple[list[Image], list[Image]]:
    """x_t, and the x^_0 that the network predicts, from noise to data by Euler's method."""
    assert isinstance(model.family, Flow | Diffusion)
    denoiser = model.family.denoiser
    c = model.context([{"label": label}])
    x = Rng([0], "figure", device=model.device).normal(denoiser.layout.size)
    denoise = denoiser.denoise(c, torch.zeros_like(x, dtype=torch.bool))
    points, predictions = [], []
    with torch.no_grad():
        for i in range(steps):
            t, s = 1 - i / steps, 1 - (i + 1) / steps
            x0 = denoise(x, t)
            points.append(x)
            predictions.append(x0)
            x = x + (s - t) * (x - x0) / t if s > 0 else x0
    a, b = (decode(model, torch.cat(p).unflatten(1, (-1, 1))) for p in (points, predictions))
    return a, b


def denoisers(name: str, model: Model, table: Table) -> None:
    """Samples of one network as a flow and as a diffusion."""
    points, predictions = trajectory(model, "3")
    ode: dict[str, Any] = {"sampler": "heun", "steps": 20, "guidance": 1.0}
    strips(
        name,
        [
            ("x_t, t = 1 ... 0.1", points),
            ("predicted x^_0", predictions),
            ("as a flow (heun)", of_labels(model, **ode)),
            ("DDIM", of_labels(model, sampler="stochastic", eta=0.0, steps=40, guidance=1.0)),
            ("ancestral (DDPM)", of_labels(model, sampler="stochastic", eta=1.0, steps=40, guidance=1.0)),
            ("default sampler", of_labels(model)),
            ("guidance 4", of_labels(model, guidance=4.0)),
        ],
    )


# ---- the others


def autoencoder(name: str, model: Model, table: Table) -> None:
    """Reconstructions from codes, and samples."""
    tokens, images = real(model, table)
    assert isinstance(model.family, Autoencoder)
    codec = model.family.codec
    with torch.no_grad():
        reconstructions = codec.decode(codec.encode({"image": tokens}))["image"]
    strips(
        name,
        [
            ("held out", images),
            ("reconstructed", decode(model, reconstructions)),
            ("samples", of_labels(model)),
            ("another seed", of_labels(model, seed=1)),
            ("guidance 3", of_labels(model, guidance=3.0)),
        ],
    )


def vae(name: str, model: Model, table: Table) -> None:
    """Reconstructions, samples, interpolation between two digits, and the effect of single dimensions of z."""
    family, (tokens, images) = model.family, real(model, table)
    assert isinstance(family, VAE)
    c = model.context([{"label": n} for n in LABELS])
    with torch.no_grad():
        mean, log_var = family.encode({"image": tokens}, c)
        reconstructions = family.decode(mean, c)["image"]
        seven = model.context([{"label": "7"}] * 10)
        nine_each, _ = real(model, table, each=9)
        ends, _ = family.encode({"image": nine_each[63:72]}, model.context([{"label": "7"}] * 9))
        far = (ends - ends[0]).square().sum(1).argmax()
        between = torch.lerp(ends[0], ends[far], torch.linspace(0, 1, 10)[:, None])
        dimensions = (mean.var(0) - log_var.exp().mean(0)).argsort(descending=True)[
            :3
        ]  # the most informative
        traversals = []
        for k in dimensions.tolist():
            z = ends[:1].repeat(10, 1)
            z[:, k] = ends[:, k].mean() + 3 * ends[:, k].std() * torch.linspace(-1, 1, 10)
            traversals.append((f"z_{k}, ±3 deviations", decode(model, family.decode(z, seven)["image"])))
        line = decode(model, family.decode(between, seven)["image"])
    strips(
        name,
        [
            ("held out", images),
            ("reconstructed", decode(model, reconstructions)),
            ("samples: means", of_labels(model)),
            ("samples: with noise", of_labels(model, noise=True)),
            ("between two sevens", line),
            *traversals,
        ],
    )
    latent_map(table)


def latent_map(table: Table, minutes: float = 1.0, side: int = 16) -> None:
    """P(image) with a z of two dimensions: decoder means over quantiles of N(0, I), and codes of digits."""
    folder = Path("runs/vae-2d")
    if not (folder / "weights.safetensors").exists():
        model = Model("image", table.columns, "vae", latent_dim=2, prior="standard")
        for _ in train(model, table, Plan(minutes=minutes), folder):
            pass
    model = Model.load(folder)
    family = model.family
    assert isinstance(family, VAE)
    quantiles = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(side) + 0.5) / side)
    z = torch.cartesian_prod(quantiles.flip(0), quantiles)[:, [1, 0]]
    c = model.context([{}] * len(z))
    test = table.test.encoded("image")
    with torch.no_grad():
        grid = decode(model, family.decode(z, c)["image"])
        mean, _ = family.encode({"image": test}, model.context([{}] * len(test)))
    lines = [np.concatenate([np.asarray(i) for i in grid[r * side : (r + 1) * side]], 1) for r in range(side)]
    figure = Figure(figsize=(11, 5.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.imshow(np.concatenate(lines), cmap="gray", interpolation="nearest")
    left.set(xticks=[], yticks=[])
    left.set_title("the mean of p(x | z), z over quantiles of N(0, I)", fontsize=10)
    labels = np.array([int(v) for v in table.test.column("label")])
    dots = right.scatter(*mean.T, c=labels, cmap="tab10", s=12)
    right.legend(*dots.legend_elements(), title="label", fontsize=8, loc="upper right")
    right.set_title("held-out digits at the mean of q(z | x); without labels", fontsize=10)
    right.set_aspect("equal")
    figure.savefig(HERE / "vae-map.png")
    print(HERE / "vae-map.png")


def gan(name: str, model: Model, table: Table) -> None:
    """Samples of one z for every label, and truncated."""
    strips(
        name,
        [
            ("held out", real(model, table)[1]),
            *((f"samples, seed {seed}", of_labels(model, seed=seed)) for seed in range(3)),
            ("truncation 0.5", of_labels(model, truncation=0.5)),
            ("truncation 0", of_labels(model, truncation=0.0)),
        ],
    )


def autoregressive(name: str, model: Model, table: Table) -> None:
    """Reconstructions from codes, and samples."""
    tokens, images = real(model, table)
    assert isinstance(model.family, Autoregressive)
    codec = model.family.codecs.named["image"]
    with torch.no_grad():
        reconstructions = codec.decode(codec.encode({"image": tokens}))["image"]
    strips(
        name,
        [
            ("held out", images),
            ("reconstructed", decode(model, reconstructions)),
            *((f"temperature {t:g}", of_labels(model, temperature=t)) for t in (1.0, 0.7, 0.0)),
            ("guidance 2", of_labels(model, guidance=2.0)),
        ],
    )


def mixture(name: str, model: Model, table: Table) -> None:
    """Samples, and half of a digit given the other half: exact conditionals."""
    tokens, images = real(model, table)
    known = torch.zeros(28, 28, dtype=torch.bool)
    known[:14] = True
    halves, completions = [], []
    for i, image in enumerate(images):
        half = torch.where(known.flatten()[:, None], tokens[i], -0.3)
        halves.append(model.columns["image"].decode(half))
        known_pixels = {"image": (image, known)}
        completions.append(model.given().sample(1, seed=i, known=known_pixels, noise=False)[0]["image"])
    strips(
        name,
        [
            ("held out", images),
            ("samples", of_labels(model)),
            ("without noise", of_labels(model, noise=False)),
            ("upper halves", halves),
            ("P(lower | upper)", completions),
        ],
    )


FIGURES: dict[str, Callable[[str, Model, Table], None]] = {
    "autoencoder": autoencoder,
    "vae": vae,
    "gan": gan,
    "diffusion": denoisers,
    "flow": denoisers,
    "autoregressive": autoregressive,
    "mixture": mixture,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="FAMILY", help=f"of {', '.join(FIGURES)} (default all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/compare-digits"), help="of the comparison")
    args = parser.parse_args()
    table = Table.open("digits")
    for name in args.names or FIGURES:
        FIGURES[name](name, Model.load(args.runs / name), table)


if __name__ == "__main__":
    main()

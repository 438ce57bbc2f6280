"""The figures of docs/families: what each family of a comparison draws, and how.

    likewise compare digits "image | label" --minutes 2        # trains every family into runs/compare-digits
    python docs/figures.py                                     # all figures; or some: python docs/figures.py vae gan
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL.Image import Image
from torch import Tensor

from likewise.model import Model
from likewise.rng import Rng
from likewise.table import Table

HERE = Path(__file__).parent / "families"
LABELS = [str(i) for i in range(10)]
Strip = tuple[str, Sequence[Image]]


def strips(name: str, rows: Sequence[Strip], title: str = "") -> None:
    """Write HERE/name.png: a line of pictures for each row, what it is on its left."""
    across = max(len(images) for _, images in rows)
    figure = Figure(figsize=(2.2 + 0.55 * across, 0.62 * len(rows) + (0.35 if title else 0.1)), dpi=110)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axes, (text, images) in zip(grid, rows, strict=True):
        line = np.concatenate([np.pad(np.asarray(i), ((1, 1), (1, 1)), constant_values=255) for i in images], 1)
        axes.imshow(line, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest", aspect="equal")
        axes.set_anchor("W")
        axes.set_xticks([]), axes.set_yticks([])
        axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9)
        axes.spines[:].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10)
    figure.subplots_adjust(left=2.1 / (2.2 + 0.55 * across), right=0.995, bottom=0.02,
                           top=0.98 - (0.3 / (0.62 * len(rows) + 0.35) if title else 0), hspace=0.06)
    HERE.mkdir(exist_ok=True)
    figure.savefig(HERE / f"{name}.png")
    print(HERE / f"{name}.png")


def of_labels(model: Model, seed: int = 0, **knobs: float | str | bool) -> list[Image]:
    """One draw of each label."""
    return [row["image"] for row in model.sample([{"label": n} for n in LABELS], seed=seed, **knobs)]


def pictures(model: Model, tokens: Tensor) -> list[Image]:
    """Tokens (B, T, 1) of the image column as pictures."""
    return [model.columns["image"].decode(t) for t in tokens]


def real(model: Model, table: Table, each: int = 1) -> tuple[Tensor, list[Image]]:
    """`each` held-out digits of every label, as tokens and as pictures."""
    labels = table.test.column("label")
    rows = [i for n in LABELS for i in [j for j, label in enumerate(labels) if str(label) == n][:each]]
    images = table.test.column("image")
    shown = [images[i] for i in rows]
    return model.encode("image", shown), shown


# ---- the denoisers


def way(model: Model, label: str, steps: int = 10, guidance: float = 1.0) -> tuple[list[Image], list[Image]]:
    """x_t, and what the network takes x_0 for, from noise to data by Euler's rule."""
    denoiser = model.family.denoiser
    c = model.context([{"label": label}])
    x = Rng([0], "figure", device=model.device).normal(denoiser.layout.size)
    nothing = torch.zeros_like(x, dtype=torch.bool)
    denoise = denoiser.denoise(c, nothing)
    points, guesses = [], []
    with torch.no_grad():
        for i in range(steps):
            t, s = 1 - i / steps, 1 - (i + 1) / steps
            x0 = denoise(x, t)
            points.append(x), guesses.append(x0)
            x = x + (s - t) * (x - x0) / t if s > 0 else x0
    return tuple(pictures(model, torch.cat(p).unflatten(1, (-1, 1))) for p in (points, guesses))


def denoisers(name: str, model: Model, table: Table) -> None:
    """One trained network, drawn from as a flow and as a diffusion."""
    points, guesses = way(model, "3")
    ode = {"sampler": "heun", "steps": 20, "guidance": 1.0}
    strips(name, [
        ("x_t, t = 1 ... 0.1", points), ("its x^_0", guesses),
        ("as a flow (heun)", of_labels(model, **ode)),
        ("DDIM", of_labels(model, sampler="stochastic", eta=0.0, steps=40, guidance=1.0)),
        ("ancestral (DDPM)", of_labels(model, sampler="stochastic", eta=1.0, steps=40, guidance=1.0)),
        ("as it is by default", of_labels(model)),
        ("guidance 4", of_labels(model, guidance=4.0)),
    ])


FIGURES: dict[str, Callable[[str, Model, Table], None]] = {
    "flow": denoisers,
    "diffusion": denoisers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="FAMILY", help=f"of {', '.join(FIGURES)} (default all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/compare-digits"), help="where they were trained")
    args = parser.parse_args()
    table = Table.open("digits")
    for name in args.names or FIGURES:
        FIGURES[name](name, Model.load(args.runs / name), table)


if __name__ == "__main__":
    main()

"""Masks in training or replacement in drawing: P(the hole | the rest of a picture, text), at equal wall time.

    python benchmarks/inpainting.py --data icons --minutes 10
    python benchmarks/inpainting.py --minutes 10 --n 100 --steps 10 --holes box

    masks                     infill=0.5: known parts are an input in half of the training rows (GLIDE, Nichol
                              et al., 2022), and `sample` is told what is known
    replacement, one noise    infill=0; at each look what is known of x_t is overwritten with (1 - t) v + t e,
                              e the draw's own start noise, so that what is known goes along its own path
    replacement, fresh noise  the same with an e of its own for each look, and the stochastic sampler (Song et
                              al., 2021; RePaint, Lugmayr et al., 2022, without resampling)

Both models see the same rows for the same wall time. All are guided as `sample` is by default.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from texts import Pictures, fit, parameters, plain, table_of
from torch import Tensor

from likewise import Model, Table
from likewise.core.batch import Context
from likewise.core.files import atomic_write
from likewise.core.known import KnownParts
from likewise.core.rng import Rng
from likewise.evaluation.tasks.inpainting import InpaintingTask
from likewise.generation.denoising.denoiser import Denoiser
from likewise.generation.denoising.guidance import classifier_free_guidance
from likewise.generation.denoising.paths import add_noise
from likewise.generation.denoising.samplers import SAMPLERS, Denoise
from likewise.training.process import tune_malloc
from likewise.viz.grid import image_grid
from likewise.viz.images import save

Way = Callable[
    [Model, Context, KnownParts, Rng, int], Tensor
]  # sources, what is known, noise, steps -> tokens


def by_masks(model: Model, c: Context, known: KnownParts, rng: Rng, steps: int) -> Tensor:
    return model.family.sample(c, known=known, rng=rng, steps=steps)["image"]


def by_replacement(sampler: str, fresh: bool) -> Way:
    """What is known overwrites x_t, noised, before each look and x^_0 after it; no mask is told."""

    def draw(model: Model, c: Context, known: KnownParts, rng: Rng, steps: int) -> Tensor:
        denoiser: Denoiser = model.family.denoiser
        value, mask = denoiser.pack_known(known, len(rng))
        size = denoiser.layout.size
        start, asked = rng.normal(size), guided(model, c, mask)

        def look(x_t: Tensor, t: float) -> Tensor:
            e = rng.normal(size) if fresh else start
            return torch.where(mask, value, asked(torch.where(mask, add_noise(value, e, t), x_t), t))

        x = SAMPLERS[sampler](look, start, model.family.grid(steps), lambda: rng.normal(size), 1.0)
        return denoiser.layout.unpack(x)["image"]

    return draw


def guided(model: Model, c: Context, mask: Tensor) -> Denoise:
    """The denoiser that is told of nothing known, guided by the defaults of `sample`."""
    sampling_options = {name: option.default for name, option in model.sampling_options().items()}
    nothing, denoiser = torch.zeros_like(mask), model.family.denoiser
    plain, both = denoiser.denoise(c, nothing), denoiser.denoise(c + c.unconditional(), nothing.repeat(2, 1))

    def asked(x_t: Tensor, t: float) -> Tensor:
        if not sampling_options["guidance_from"] <= t <= sampling_options["guidance_to"]:
            return plain(x_t, t)
        with_text, without = both(x_t.repeat(2, 1), t).chunk(2)
        return classifier_free_guidance(
            x_t, with_text, without, sampling_options["guidance"], sampling_options["zero_star"]
        )

    return asked


WAYS: dict[str, tuple[float, Way]] = {  # share of training rows with known parts, and how it is drawn
    "masks": (0.5, by_masks),
    "replacement, one noise": (0.0, by_replacement("dpmpp_2m", fresh=False)),
    "replacement, fresh noise": (0.0, by_replacement("stochastic", fresh=True)),
}


@torch.no_grad()
def fill(model: Model, task: InpaintingTask, texts: Sequence[str], way: Way, steps: int, seed: int) -> Pictures:
    """Every hole, filled in for the texts; draw i depends on (seed, i) alone."""
    drawn: Pictures = []
    for rows in torch.arange(len(texts)).split(64):
        rng = Rng(rows.tolist(), "sample", seed, device=model.device)
        value = model.encode("image", [task.rows[i]["image"] for i in rows.tolist()])
        mask = torch.from_numpy(~task.holes[rows.numpy()]).flatten(1).to(model.device)
        c = model.context([{"text": texts[i]} for i in rows.tolist()])
        tokens = way(model, c, KnownParts({"image": value}, {"image": mask}), rng, steps)
        drawn += model.columns["image"].decode_all(tokens.cpu())
    return drawn


def measured(
    models: dict[float, Model], task: InpaintingTask, kind: str, args: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, tuple[Pictures, Pictures]]]:
    """A line for each way and number of steps, and the pictures of the most steps."""
    lines, shown = [{"hole": kind, "way": "training rows, or chance", **task.real()}], {}
    for name, (share, way) in WAYS.items():
        for steps in args.steps:
            began = time.perf_counter()
            own, other = (
                fill(models[share], task, texts, way, steps, args.seed)
                for texts in (task.texts, task.other_texts)
            )
            took = (time.perf_counter() - began) / (2 * len(own))
            lines.append(
                {
                    "hole": kind,
                    "way": name,
                    "steps": steps,
                    "100 drawn, s": round(100 * took, 3),
                    **task.metrics(own, other),
                }
            )
            shown[name] = own, other
    return lines, shown


def sheet(task: InpaintingTask, shown: dict[str, tuple[Pictures, Pictures]], count: int = 8) -> PIL.Image.Image:
    """A line a row: as it was, with a hole, and for each way filled with its own text and with another's."""
    images, captions = [], []
    for i in range(0, len(task.rows), max(1, len(task.rows) // count))[:count]:
        images += task.thumbnails(i)
        captions += ["", ""]
        for name, (own, other) in shown.items():
            images += [own[i], other[i]]
            captions += [f"{task.texts[i]} ({name})", f"{task.other_texts[i]} ({name})"]
    return image_grid([image.convert("RGB") for image in images], columns=2 + 2 * len(shown), captions=captions)


def learned(table: Table, args: argparse.Namespace) -> tuple[dict[float, Model], list[str]]:
    """Share of rows with known parts -> a model; the first one's wall time is that of the others."""
    models: dict[float, Model] = {}
    notes, seconds = [], 60 * args.minutes
    for share in dict.fromkeys(share for share, _ in WAYS.values()):
        model = models[share] = Model("image | text", table.columns, seed=args.seed, infill=share)
        rows, took = fit(model, table, seconds, args.seed)
        notes.append(f"infill={share:g}: {parameters(model):,} parameters, {rows:,} rows in {took:.1f} s")
        print(notes[-1], flush=True)
        seconds = took if len(models) == 1 else seconds
    return models, notes


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="icons", help="with columns image and text (default icons)")
    parser.add_argument("--minutes", type=float, default=10, help="of training, each (default 10)")
    parser.add_argument("--n", type=int, default=200, help="held-out rows (default 200)")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 50], help="of drawing (default 10 50)")
    parser.add_argument("--holes", nargs="+", choices=("box", "random"), default=["box", "random"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/inpainting.json"), help="JSON, PNGs beside it")
    return parser.parse_args()


def main() -> None:
    args = options()
    tune_malloc()
    table = Table.open(args.data)
    for name in ("image", "text"):
        table.train.encoded(name)  # once, and on nobody's clock
    models, notes = learned(table, args)
    lines: list[dict[str, Any]] = []
    for kind in args.holes:
        task = InpaintingTask(table, args.n, kind, seed=args.seed)
        found, shown = measured(models, task, kind, args)
        print(table_of(found), end="\n\n", flush=True)
        lines += found
        save(sheet(task, shown), args.out.with_name(f"{args.out.stem}_{kind}.png"))
    about = {"setting": vars(args), "threads": torch.get_num_threads(), "training": notes, "lines": lines}
    atomic_write(args.out, json.dumps(about, indent=1, default=plain).encode())
    print(f"{args.out} and what is beside it")


if __name__ == "__main__":
    main()

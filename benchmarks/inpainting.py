"""Masks in training or replacement in sampling: P(hole | rest of an image, text), at equal wall time.

    python benchmarks/inpainting.py --data icons --minutes 10
    python benchmarks/inpainting.py --minutes 10 --n 100 --steps 10 --holes box

    masks                     infill=0.5: known parts are an input in half of the training rows (GLIDE, Nichol
                              et al., 2022) and of `sample`
    replacement, one noise    infill=0; before each evaluation the known part of x_t is overwritten with
                              (1 - t) v + t e, with e the initial noise, so that it follows one path
    replacement, fresh noise  the same with a new e for each evaluation, and the stochastic sampler (Song et
                              al., 2021; RePaint, Lugmayr et al., 2022, without resampling)

Both models see the same rows for the same wall time. All use the default guidance of `sample`.
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
from texts import Images, fit, parameters, table_of, to_json
from torch import Tensor

from likewise import Model, Table
from likewise.core.batch import Context
from likewise.core.files import atomic_write
from likewise.core.known import KnownParts
from likewise.core.rng import Rng
from likewise.evaluation.tasks.inpainting import InpaintingTask
from likewise.families.flow import Flow
from likewise.generation.denoising.denoiser import Denoiser
from likewise.generation.denoising.guidance import classifier_free_guidance
from likewise.generation.denoising.paths import add_noise
from likewise.generation.denoising.samplers import SAMPLERS, Denoise, follow
from likewise.training.process import tune_malloc
from likewise.viz.grid import image_grid
from likewise.viz.images import save

Method = Callable[
    [Model, Context, KnownParts, Rng, int], Tensor
]  # model, sources, known parts, noise, steps -> tokens


def by_masks(model: Model, c: Context, known: KnownParts, rng: Rng, steps: int) -> Tensor:
    assert isinstance(model.family, Flow)
    return model.family.sample(c, known=known, rng=rng, steps=steps)["image"]


def by_replacement(sampler: str, fresh: bool) -> Method:
    """Known parts, noised, overwrite x_t before each evaluation and x^_0 after it; the mask is no input."""

    def sample(model: Model, c: Context, known: KnownParts, rng: Rng, steps: int) -> Tensor:
        denoiser = denoiser_of(model)
        value, mask = denoiser.pack_known(known, len(rng))
        size, flow = denoiser.layout.size, model.family
        assert isinstance(flow, Flow)
        start, denoise = rng.normal(size), guided_denoise(model, c, mask)

        def replace_known(x_t: Tensor, t: float | Tensor) -> Tensor:
            e = rng.normal(size) if fresh else start
            return torch.where(mask, value, denoise(torch.where(mask, add_noise(value, e, t), x_t), t))

        x = follow(SAMPLERS[sampler], replace_known, start, flow.grid(steps), lambda: rng.normal(size), 1.0)
        return denoiser.layout.unpack(x)["image"]

    return sample


def denoiser_of(model: Model) -> Denoiser:
    assert isinstance(model.family, Flow)
    return model.family.denoiser


def guided_denoise(model: Model, c: Context, mask: Tensor) -> Denoise:
    """The denoiser without known parts, with the default guidance of `sample`."""
    sampling_options = {name: option.default for name, option in model.sampling_options().items()}
    nothing_known, denoiser = torch.zeros_like(mask), denoiser_of(model)
    conditional = denoiser.denoise(c, nothing_known)
    both = denoiser.denoise(c + c.unconditional(), nothing_known.repeat(2, 1))

    def denoise(x_t: Tensor, t: float | Tensor) -> Tensor:
        if not sampling_options["guidance_from"] <= t <= sampling_options["guidance_to"]:
            return conditional(x_t, t)
        with_text, without = both(x_t.repeat(2, 1), t).chunk(2)
        return classifier_free_guidance(
            x_t, with_text, without, sampling_options["guidance"], sampling_options["zero_star"]
        )

    return denoise


METHODS: dict[str, tuple[float, Method]] = {  # name -> share of training rows with known parts, sampling
    "masks": (0.5, by_masks),
    "replacement, one noise": (0.0, by_replacement("dpmpp_2m", fresh=False)),
    "replacement, fresh noise": (0.0, by_replacement("stochastic", fresh=True)),
}


@torch.no_grad()
def fill(
    model: Model, task: InpaintingTask, texts: Sequence[str], method: Method, steps: int, seed: int
) -> Images:
    """Every hole filled for the texts; sample i depends on (seed, i) alone."""
    samples: Images = []
    for rows in torch.arange(len(texts)).split(64):
        rng = Rng(rows.tolist(), "sample", seed, device=model.device)
        value = model.encode("image", [task.rows[i]["image"] for i in rows.tolist()])
        mask = torch.from_numpy(~task.holes[rows.numpy()]).flatten(1).to(model.device)
        c = model.context([{"text": texts[i]} for i in rows.tolist()])
        tokens = method(model, c, KnownParts({"image": value}, {"image": mask}), rng, steps)
        samples += model.columns["image"].decode_all(tokens.cpu())
    return samples


def results(
    models: dict[float, Model], task: InpaintingTask, kind: str, args: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, tuple[Images, Images]]]:
    """A row for each method and number of steps, and the images of the last number of steps."""
    lines: list[dict[str, Any]] = [{"hole": kind, "method": "training rows, or chance", **task.real()}]
    images: dict[str, tuple[Images, Images]] = {}
    for name, (share, method) in METHODS.items():
        for steps in args.steps:
            start = time.perf_counter()
            own, other = (
                fill(models[share], task, texts, method, steps, args.seed)
                for texts in (task.texts, task.other_texts)
            )
            seconds = (time.perf_counter() - start) / (2 * len(own))
            lines.append(
                {
                    "hole": kind,
                    "method": name,
                    "steps": steps,
                    "100 samples, s": round(100 * seconds, 3),
                    **task.metrics(own, other),
                }
            )
            images[name] = own, other
    return lines, images


def sheet(task: InpaintingTask, fills: dict[str, tuple[Images, Images]], count: int = 8) -> PIL.Image.Image:
    """One line for each row: original, with a hole, and by each method filled for its text and another's."""
    images, captions = [], []
    for i in range(0, len(task.rows), max(1, len(task.rows) // count))[:count]:
        images += task.thumbnails(i)
        captions += ["", ""]
        for name, (own, other) in fills.items():
            images += [own[i], other[i]]
            captions += [f"{task.texts[i]} ({name})", f"{task.other_texts[i]} ({name})"]
    return image_grid(
        [image.convert("RGB") for image in images], columns=2 + 2 * len(fills), captions=captions
    )


def train_models(table: Table, args: argparse.Namespace) -> tuple[dict[float, Model], list[str]]:
    """Share of rows with known parts -> a model, all trained for the wall time of the first, and notes."""
    models: dict[float, Model] = {}
    notes, seconds = [], 60 * args.minutes
    for share in dict.fromkeys(share for share, _ in METHODS.values()):
        model = models[share] = Model("image | text", table.columns, seed=args.seed, infill=share)
        rows, fit_seconds = fit(model, table, seconds, args.seed)
        notes.append(
            f"infill={share:g}: {parameters(model):,} parameters, {rows:,} rows in {fit_seconds:.1f} s"
        )
        print(notes[-1], flush=True)
        seconds = fit_seconds if len(models) == 1 else seconds
    return models, notes


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="icons", help="with columns image and text (default icons)")
    parser.add_argument("--minutes", type=float, default=10, help="training time of each model (default 10)")
    parser.add_argument("--n", type=int, default=200, help="held-out rows (default 200)")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[10, 50], help="sampling steps (default 10 50)"
    )
    parser.add_argument("--holes", nargs="+", choices=("box", "random"), default=["box", "random"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/inpainting.json"), help="JSON, PNGs beside it")
    return parser.parse_args()


def main() -> None:
    args = options()
    tune_malloc()
    table = Table.open(args.data)
    for name in ("image", "text"):
        table.train.encoded(name)  # before the training time starts
    models, notes = train_models(table, args)
    lines: list[dict[str, Any]] = []
    for kind in args.holes:
        task = InpaintingTask(table, args.n, kind, seed=args.seed)
        rows, fills = results(models, task, kind, args)
        print(table_of(rows), end="\n\n", flush=True)
        lines += rows
        save(sheet(task, fills), args.out.with_name(f"{args.out.stem}_{kind}.png"))
    about = {"setting": vars(args), "threads": torch.get_num_threads(), "training": notes, "lines": lines}
    atomic_write(args.out, json.dumps(about, indent=1, default=to_json).encode())
    print(f"{args.out} and the images beside it")


if __name__ == "__main__":
    main()

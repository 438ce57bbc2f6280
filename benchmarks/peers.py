"""What digits_peers.py compares: likewise and two peers, by their recipes and their public functions."""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise import Model, Plan, Table, train

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Pictures = list[PIL.Image.Image]
Cast = Callable[[], AbstractContextManager]     # of a peer's forward pass in training: bf16, or none


@dataclass(frozen=True)
class Method:
    """A model to be trained. Of several ways to draw, a pilot of a tenth of the samples takes the best."""

    parameters: int
    train: Callable[[float], int]                   # seconds -> images seen
    draws: dict[str, Callable[[Tensor], Pictures]]  # classes (N,) -> N pictures


def likewise_flow(table: Table, args: argparse.Namespace, cast: Cast) -> Method:
    """The defaults of this package. Its clock has a held-out loss at the end as well."""
    model = Model("image | label", table.columns, seed=args.seed)
    names = table.columns["label"].classes

    def run(seconds: float) -> int:
        plan = Plan(minutes=seconds / 60, seed=args.seed, save=1e9)
        return plan.batch * [step.step for step in train(model, table, plan)][-1]

    def draw(classes: Tensor) -> Pictures:
        rows = model.eval().sample([{"label": names[k]} for k in classes.tolist()], seed=args.seed)
        return [row["image"] for row in rows]

    return Method(_count(model), run, {"": draw})


def torchcfm(table: Table, args: argparse.Namespace, cast: Cast) -> Method:
    """The first model of its examples/images/conditional_mnist.ipynb, and that notebook's solver."""
    import torchdiffeq
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
    from torchcfm.models.unet import UNetModel

    shape, classes_of = shape_of(table), len(table.columns["label"].classes)
    net = UNetModel(dim=shape, num_channels=32, num_res_blocks=1, num_classes=classes_of, class_cond=True)
    net.to(DEVICE)
    path, optimiser = ConditionalFlowMatcher(sigma=0.0), torch.optim.Adam(net.parameters())
    batches, ends = _batches(table, 128, args.seed), torch.tensor([0.0, 1.0], device=DEVICE)

    def step() -> None:
        x1, classes = next(batches)
        t, xt, velocity = path.sample_location_and_conditional_flow(torch.randn_like(x1), x1)
        with cast():
            loss = F.mse_loss(net(t, xt, classes), velocity)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    @torch.no_grad()
    def draw(classes: Tensor) -> Pictures:
        net.eval()
        parts = []
        for y in classes.to(DEVICE).split(100):
            noise = torch.randn(len(y), *shape, device=DEVICE)
            path_of = torchdiffeq.odeint(lambda t, x, y=y: net(t, x, y), noise, ends,
                                         atol=1e-4, rtol=1e-4, method="dopri5")
            parts.append(path_of[-1])
        return _pictures(table, torch.cat(parts))

    return Method(_count(net), lambda seconds: 128 * _clocked(step, seconds), {"": draw})


def denoising_diffusion(table: Table, args: argparse.Namespace, cast: Cast) -> Method:
    """Its module classifier_free_guidance, trained as its Trainer trains, which knows no classes."""
    _stub_torchvision()
    from denoising_diffusion_pytorch import classifier_free_guidance as guided
    from ema_pytorch import EMA

    guided.tqdm = lambda steps, **_: steps          # its bars would break the lines of the table
    shape, classes_of = shape_of(table), len(table.columns["label"].classes)
    net = guided.Unet(dim=args.ddp_dim, dim_mults=(1, 2, 4), channels=shape[0], num_classes=classes_of)
    diffusion = guided.GaussianDiffusion(net, image_size=shape[-1], timesteps=1000, objective="pred_v",
                                         sampling_timesteps=args.ddp_steps, ddim_sampling_eta=0.0).to(DEVICE)
    optimiser = torch.optim.Adam(diffusion.parameters(), lr=args.ddp_lr, betas=(0.9, 0.99))
    ema, batches = EMA(diffusion, beta=0.995, update_every=10), _batches(table, 64, args.seed)

    def step() -> None:
        x, classes = next(batches)
        with cast():
            loss = diffusion((x + 1) / 2, classes=classes)      # it takes [0, 1]
        loss.backward()
        nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        ema.update()

    def drawing(model: nn.Module, scale: float) -> Callable[[Tensor], Pictures]:
        def draw(classes: Tensor) -> Pictures:
            parts = [model.eval().sample(classes=y, cond_scale=scale) for y in classes.to(DEVICE).split(100)]
            return _pictures(table, 2 * torch.cat(parts) - 1)

        return draw

    weights = {"EMA": ema.ema_model, "last weights": diffusion}
    draws = {f"{name}, cond_scale {scale:g}": drawing(model, scale)
             for name, model in weights.items() for scale in args.ddp_scales}
    return Method(_count(net), lambda seconds: 64 * _clocked(step, seconds), draws)


METHODS = {"likewise": likewise_flow, "torchcfm": torchcfm, "denoising-diffusion": denoising_diffusion}


def shape_of(table: Table) -> tuple[int, int, int]:
    """(C, H, W) of the images."""
    spec = table.columns["image"].spec
    return spec.width, *spec.grid


def _clocked(step: Callable[[], None], seconds: float) -> int:
    """How many steps were begun within `seconds`."""
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        steps += 1
    return steps


def _stub_torchvision() -> None:
    """A torchvision to import: it is asked for, for a Trainer not used here, and PyPI has no CPU build."""
    if importlib.util.find_spec("torchvision"):
        return
    stub = sys.modules["torchvision"] = types.ModuleType("torchvision")
    stub.__spec__ = importlib.machinery.ModuleSpec("torchvision", None)     # others look for it first
    stub.transforms, stub.utils = types.ModuleType("transforms"), types.ModuleType("utils")


def _batches(table: Table, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches as likewise takes them: images (B, C, H, W) in [-1, 1] and classes (B,)."""
    channels, height, width = shape_of(table)
    for batch in table.train.batches(["image", "label"], size, seed=seed):
        images = batch["image"].view(-1, height, width, channels).permute(0, 3, 1, 2).contiguous()
        yield images.to(DEVICE), batch["label"].flatten().to(DEVICE)


def _pictures(table: Table, images: Tensor) -> Pictures:
    """(N, C, H, W) floats -> pictures of 8 bits, as likewise makes them."""
    return [table.columns["image"].decode(image) for image in images.permute(0, 2, 3, 1).flatten(1, 2)]


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())

"""Peers that sample images from labels: flows, diffusion models and GANs, by their authors' recipes.

Settings of a recipe that are meant for larger images or longer runs are adapted to minutes of training; the
README of this folder lists them.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable

import torch
import torch.nn.functional as F
from peers import DEVICE, Method, Task, Values, clocked, count, update
from torch import Tensor, nn

CRITIC_STEPS = 2  # of mimicry, for one step of its generator


def torchcfm(task: Task) -> Method:
    """The first model of its examples/images/conditional_mnist.ipynb, and that notebook's solver."""
    import torchdiffeq
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
    from torchcfm.models.unet import UNetModel

    net = UNetModel(
        dim=task.shape, num_channels=32, num_res_blocks=1, num_classes=task.classes, class_cond=True
    )
    net.to(DEVICE)
    path, optimizer = ConditionalFlowMatcher(sigma=0.0), torch.optim.Adam(net.parameters())
    batches, ends = task.batches(128), torch.tensor([0.0, 1.0], device=DEVICE)

    def step(progress: float) -> None:
        x1, classes = next(batches)
        t, xt, velocity = path.sample_location_and_conditional_flow(torch.randn_like(x1), x1)
        with task.cast():
            loss = F.mse_loss(net(t, xt, classes), velocity)
        update(optimizer, loss)

    def sample(y: Tensor) -> Tensor:
        noise = torch.randn(len(y), *task.shape, device=DEVICE)
        return torchdiffeq.odeint(
            lambda t, x: net.eval()(t, x, y), noise, ends, atol=1e-4, rtol=1e-4, method="dopri5"
        )[-1]

    return Method(count(net), lambda seconds: 128 * clocked(step, seconds), {"": _in_batches(task, sample)})


def denoising_diffusion(task: Task) -> Method:
    """Its module classifier_free_guidance, trained as its Trainer trains, which has no classes."""
    stub_torchvision()
    from denoising_diffusion_pytorch import classifier_free_guidance as guided
    from ema_pytorch import EMA

    guided.tqdm = lambda steps, **_: steps  # no progress bars between the lines of the table
    net = guided.Unet(dim=32, dim_mults=(1, 2, 4), channels=task.shape[0], num_classes=task.classes)
    diffusion = guided.GaussianDiffusion(
        net,
        image_size=task.shape[-1],
        timesteps=1000,
        objective="pred_v",
        sampling_timesteps=task.options["steps"],
        ddim_sampling_eta=0.0,
    )
    diffusion.to(DEVICE)
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=3e-4, betas=(0.9, 0.99))
    ema, batches = EMA(diffusion, beta=0.995, update_every=10), task.batches(64)

    def step(progress: float) -> None:
        x, classes = next(batches)
        with task.cast():
            loss = diffusion((x + 1) / 2, classes=classes)  # its images are in [0, 1]
        update(optimizer, loss, clip=1.0)
        ema.update()

    def sampler_of(model: nn.Module, scale: float) -> Callable[[Tensor], Tensor]:
        return lambda y: 2 * model.eval().sample(classes=y, cond_scale=scale) - 1

    weights = {"EMA": ema.ema_model, "last weights": diffusion}
    samplers = {
        f"{name}, cond_scale {scale:g}": _in_batches(task, sampler_of(model, scale))
        for name, model in weights.items()
        for scale in (6, 3)
    }
    return Method(count(net), lambda seconds: 64 * clocked(step, seconds), samplers)


def diffusers(task: Task) -> Method:
    """UNet2DModel and its schedulers, as unit 2 of its authors' course trains them on MNIST with classes."""
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

    channels, height, width = task.shape
    embedding = nn.Embedding(task.classes, 4)
    net = UNet2DModel(
        sample_size=height,
        in_channels=channels + 4,
        out_channels=channels,
        layers_per_block=2,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )
    modules = nn.ModuleList([embedding, net]).to(DEVICE)
    noising = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
    optimizer, batches = torch.optim.Adam(modules.parameters(), lr=1e-3), task.batches(128)

    def predict(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        label = embedding(y)[:, :, None, None].expand(-1, -1, height, width)
        return net(torch.cat([x, label], 1), t).sample

    def step(progress: float) -> None:
        x, y = next(batches)
        noise, t = torch.randn_like(x), torch.randint(0, 1000, (len(x),), device=DEVICE)
        with task.cast():
            loss = F.mse_loss(predict(noising.add_noise(x, noise, t), t, y), noise)
        update(optimizer, loss)

    def sample(y: Tensor) -> Tensor:
        modules.eval()
        solver = DDIMScheduler.from_config(noising.config)
        solver.set_timesteps(task.options["steps"])
        x = torch.randn(len(y), *task.shape, device=DEVICE)
        for t in solver.timesteps:
            x = solver.step(predict(x, t, y), t, x).prev_sample
        return x

    return Method(
        count(modules), lambda seconds: 128 * clocked(step, seconds), {"": _in_batches(task, sample)}
    )


def torchgan(task: Task) -> Method:
    """Its conditional DCGAN, with sizes, losses and rates of its first tutorial: MNIST at 32 pixels."""
    stub_torchvision()
    from torchgan.losses import LeastSquaresDiscriminatorLoss, LeastSquaresGeneratorLoss
    from torchgan.models import ConditionalGANDiscriminator, ConditionalGANGenerator

    generator = ConditionalGANGenerator(
        task.classes,
        encoding_dims=100,
        out_channels=task.shape[0],
        step_channels=32,
        nonlinearity=nn.LeakyReLU(0.2),
        last_nonlinearity=nn.Tanh(),
    ).to(DEVICE)
    critic = ConditionalGANDiscriminator(
        task.classes,
        in_channels=task.shape[0],
        step_channels=32,
        nonlinearity=nn.LeakyReLU(0.2),
        last_nonlinearity=nn.LeakyReLU(0.2),
    ).to(DEVICE)
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4, betas=(0.5, 0.999))
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=3e-4, betas=(0.5, 0.999))
    losses, batches = (LeastSquaresDiscriminatorLoss(), LeastSquaresGeneratorLoss()), task.batches(64)

    def step(progress: float) -> None:
        x, y = next(batches)
        losses[0].train_ops(generator, critic, critic_optimizer, _padded(x), DEVICE, labels=y)
        losses[1].train_ops(generator, critic, generator_optimizer, DEVICE, len(x), labels=y)

    def sample(y: Tensor) -> Tensor:
        return _cropped(generator.eval()(torch.randn(len(y), 100, device=DEVICE), y), task.shape)

    return Method(
        count(generator) + count(critic),
        lambda seconds: 64 * clocked(step, seconds),
        {"": _in_batches(task, sample)},
    )


def mimicry(task: Task) -> Method:
    """cGAN with a projection discriminator (Miyato & Koyama, 2018), with its rates, narrower."""
    _stub_mimicry()
    from torch_mimicry.nets.cgan_pd.cgan_pd_32 import CGANPDDiscriminator32, CGANPDGenerator32

    generator = CGANPDGenerator32(num_classes=task.classes, ngf=32).to(DEVICE)
    critic = CGANPDDiscriminator32(num_classes=task.classes, ndf=32).to(DEVICE)
    both = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.0, 0.9)) for net in (generator, critic)]
    batches, log = task.batches(64), types.SimpleNamespace(add_metric=lambda *_, **__: None)

    def step(progress: float) -> None:
        for optimizer in both:
            optimizer.param_groups[0]["lr"] = 2e-4 * (1 - progress)
        for _ in range(CRITIC_STEPS):
            x, y = next(batches)
            real = _padded(x).expand(-1, 3, -1, -1), y  # its networks take RGB
            critic.train_step(real, generator, both[1], log, device=DEVICE)
        generator.train_step(real, critic, both[0], log, device=DEVICE)

    def sample(y: Tensor) -> Tensor:
        noise = torch.randn(len(y), generator.nz, device=DEVICE)
        colour = _cropped(generator.eval()(noise, y), task.shape)
        return colour.mean(1, keepdim=True) if task.shape[0] == 1 else colour

    return Method(
        count(generator) + count(critic),
        lambda seconds: CRITIC_STEPS * 64 * clocked(step, seconds),
        {"": _in_batches(task, sample)},
    )


def _in_batches(task: Task, sample: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Values]:
    """Classes (N,) -> N images, 100 at a time."""

    @torch.no_grad()
    def sample_all(classes: Tensor) -> Values:
        return task.to_images(torch.cat([sample(y) for y in classes.to(DEVICE).split(100)]).cpu())

    return sample_all


def _padded(x: Tensor, side: int = 32) -> Tensor:
    """Images (B, C, H, W) with a black border up to 32 pixels, the only size of some networks."""
    down, right = side - x.shape[2], side - x.shape[3]
    return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2), value=-1.0)


def _cropped(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The inverse of `_padded`."""
    top, left = (x.shape[2] - shape[1]) // 2, (x.shape[3] - shape[2]) // 2
    return x[:, :, top : top + shape[1], left : left + shape[2]]


@functools.cache
def stub_torchvision() -> None:
    """An empty torchvision: packages import it for functions that are not used here."""
    if not importlib.util.find_spec("torchvision"):
        _stub("torchvision", "torchvision.transforms", "torchvision.utils")


@functools.cache
def _stub_mimicry() -> None:
    """Empty modules in place of those that its package imports beside its networks."""
    _stub(*(f"torch_mimicry.{name}" for name in ("training", "metrics", "datasets")))


def _stub(*names: str) -> None:
    """Empty modules, each an attribute of the one above it."""
    for name in names:
        module = sys.modules[name] = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)  # importlib.util.find_spec needs it
        above, _, own = name.rpartition(".")
        if above in sys.modules:
            setattr(sys.modules[above], own, module)

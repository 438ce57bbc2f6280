"""P(image | text) compared with models built with diffusers, at equal wall time, on the same rows and texts.

    python benchmarks/diffusers_peers.py --data icons --minutes 10
    python benchmarks/diffusers_peers.py --minutes 10 --methods likewise dit4 --steps 5 10 20 50

    likewise  the family flow with its defaults
    unet      UNet2DConditionModel; DDPMScheduler, noise prediction; sampled with DDIM or DPM-Solver++
    dit2      PixArtTransformer2DModel, patches of 2; FlowMatchEulerDiscreteScheduler, velocity prediction
    dit4      the same with patches of 4

README.md describes the settings of the peers, texts.py the evaluation.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from peers import DEVICE, clocked, square, update
from texts import Images, Maker, TextToImage, compare, likewise_of, options, parameters
from torch import Tensor, nn

from likewise import Table
from likewise.core.device import preferred_dtype

BATCH = 96  # rows per step, as in likewise
WIDTH = 192  # of the text embeddings and the transformer
TEXT_DROPOUT = 0.1  # for guidance
TIMES = 1000  # noise levels of DDPM


class TextEmbedding(nn.Module):
    """Ids (B, T) of likewise -> embeddings (B, T, D) and their attention mask (B, T): up to the first 0, the end."""

    def __init__(self, classes: int, length: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(classes, WIDTH), nn.Embedding(length, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        mask = torch.cat([torch.ones_like(ids[:, :1]), (ids[:, :-1] != 0).long()], 1)
        return self.norm(self.tokens(ids) + self.positions.weight), mask


@dataclass(frozen=True)
class Process:
    """The training target of a peer, and its samplers.

    add_noise  x (B, C, H, W) -> x_t, its times (B,), the target of the network
    solvers    name -> a scheduler of diffusers
    """

    add_noise: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    solvers: dict[str, Callable[[], Any]]


def ddpm() -> Process:
    """Noise prediction at 1,000 times of the cosine schedule (Ho et al., 2020; Nichol & Dhariwal, 2021)."""
    from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

    schedule = DDPMScheduler(num_train_timesteps=TIMES, beta_schedule="squaredcos_cap_v2")

    def add_noise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        noise, t = torch.randn_like(x), torch.randint(0, TIMES, (len(x),), device=x.device)
        return schedule.add_noise(x, noise, t), t, noise

    return Process(
        add_noise,
        {
            "DDIM": lambda: DDIMScheduler.from_config(schedule.config),
            "DPM-Solver++": lambda: DPMSolverMultistepScheduler.from_config(schedule.config),
        },
    )


def flow_matching() -> Process:
    """Velocity prediction of the rectified flow, logit t ~ N(0, 1) (Esser et al., 2024)."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    def add_noise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        noise, t = torch.randn_like(x), torch.sigmoid(torch.randn(len(x), device=x.device))
        return torch.lerp(x, noise, t.view(-1, 1, 1, 1)), TIMES * t, noise - x

    return Process(add_noise, {"Euler": lambda: FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMES)})


def unet(side: int, channels: int) -> nn.Module:
    """Three levels, attention and cross-attention in the lower two: 4.3 million parameters."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=(32, 64, 128),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )


def dit(patch: int) -> Callable[[int, int], nn.Module]:
    """Seven layers of the width of likewise: 4.5 million parameters."""

    def make(side: int, channels: int) -> nn.Module:
        from diffusers import PixArtTransformer2DModel

        return PixArtTransformer2DModel(
            sample_size=side,
            patch_size=patch,
            in_channels=channels,
            out_channels=channels,
            num_layers=7,
            num_attention_heads=WIDTH // 64,
            attention_head_dim=64,
            cross_attention_dim=WIDTH,
            caption_channels=WIDTH,
            use_additional_conditions=False,
        )

    return make


def peer(network: Callable[[int, int], nn.Module], make_process: Callable[[], Process]) -> Maker:
    """AdamW with warm-up and cosine decay, EMA and bf16, as in the training scripts of diffusers."""

    def make(table: Table, args: argparse.Namespace) -> TextToImage:
        from diffusers.models.attention_processor import AttnProcessor
        from diffusers.training_utils import EMAModel

        spec, text = table.columns["image"].spec, table.columns["text"].spec
        if spec.grid[0] != spec.grid[1] or spec.grid[0] % 4:
            raise SystemExit(
                f"the peers take square images with a side divisible by 4, not {spec.grid}; "
                "open other data, or resize its images"
            )
        embed, process = TextEmbedding(text.classes, text.tokens), make_process()
        shape = (spec.width, spec.grid[0], spec.grid[1])
        net = network(spec.grid[0], spec.width)
        if DEVICE.type == "cpu":
            net.set_attn_processor(AttnProcessor())  # faster in training than the fused one
        modules = nn.ModuleList([embed, net]).to(DEVICE)
        weights = list(modules.parameters())
        optimizer = torch.optim.AdamW(weights, lr=args.rate, betas=(0.9, 0.99), weight_decay=0.01)
        ema = EMAModel(weights, decay=0.999, use_ema_warmup=True, power=0.75)
        half = preferred_dtype(spec.tokens, DEVICE) == torch.bfloat16
        batches = table.train.batches(["image", "text"], BATCH, seed=args.seed)

        def predict(x: Tensor, t: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
            return net(
                x, timestep=t.expand(len(x)), encoder_hidden_states=text[0], encoder_attention_mask=text[1]
            ).sample

        def step(progress: float) -> None:
            batch = next(batches)
            x = square(batch["image"].to(DEVICE), shape)
            ids = batch["text"].to(DEVICE)
            ids = ids.masked_fill(torch.rand(len(ids), 1, device=DEVICE) < TEXT_DROPOUT, 0)
            x_t, t, target = process.add_noise(x)
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=half):
                prediction = predict(x_t, t, embed(ids))
            warm = min(1.0, (ema.optimization_step + 1) / 100)
            for group in optimizer.param_groups:
                group["lr"] = args.rate * warm * (1 + math.cos(math.pi * progress)) / 2
            update(optimizer, F.mse_loss(prediction.float(), target), clip=1.0)
            ema.step(weights)

        def train(seconds: float) -> tuple[int, float]:
            start = time.perf_counter()
            rows = BATCH * clocked(step, seconds)
            ema.copy_to(weights)
            modules.eval()
            return rows, time.perf_counter() - start

        def sampler_of(solver: Callable[[], Any], scale: float) -> Callable[[Sequence[str], int], Images]:
            @torch.no_grad()
            def sample(texts: Sequence[str], steps: int) -> Images:
                torch.manual_seed(args.seed)
                ids = table.columns["text"].encode_all(texts).to(DEVICE)
                parts = [
                    guided_sample(predict, embed, part, solver(), steps, scale, shape)
                    for part in ids.split(64)
                ]
                flat = torch.cat(parts).permute(0, 2, 3, 1).flatten(1, 2)
                return table.columns["image"].decode_all(flat.cpu())

            return sample

        samplers = {
            f"{name}, guidance {scale:g}": sampler_of(solver, scale)
            for name, solver in process.solvers.items()
            for scale in args.guidance
        }
        return TextToImage(train, samplers, lambda: parameters(modules))

    return make


def guided_sample(
    predict: Callable[..., Tensor],
    embed: TextEmbedding,
    ids: Tensor,
    solver: Any,
    steps: int,
    scale: float,
    shape: tuple[int, int, int],
) -> Tensor:
    """Images (B, C, H, W) for ids (B, T), with classifier-free guidance as diffusers' pipelines do it."""
    solver.set_timesteps(steps, device=ids.device)
    x = torch.randn(len(ids), *shape, device=ids.device)
    text = embed(torch.cat([ids, torch.zeros_like(ids)]))
    for t in solver.timesteps:
        with_text, without = predict(x.repeat(2, 1, 1, 1), t, text).float().chunk(2)
        x = solver.step(without + scale * (with_text - without), t, x).prev_sample
    return x


METHODS = {
    "likewise": likewise_of(),
    "unet": peer(unet, ddpm),
    "dit2": peer(dit(2), flow_matching),
    "dit4": peer(dit(4), flow_matching),
}


def main() -> None:
    parser = options(__doc__, 10, "runs/diffusers_peers.json", list(METHODS), (5, 10, 20, 50))
    parser.add_argument("--rate", type=float, default=1e-3, help="of the peers' AdamW (default 0.001)")
    parser.add_argument(
        "--guidance",
        type=float,
        nargs="+",
        default=[2.0, 4.0],
        help="scales for the peers, of which a pilot chooses one",
    )
    compare(METHODS, parser.parse_args())


if __name__ == "__main__":
    main()

"""The peers of language_peers.py: nanoGPT's model and recipe, and a Trainer of transformers.

Legend: B batch, L tokens of a window, D width, K ids.

nanoGPT (Karpathy, 2022): what model.py, train.py and config/train_shakespeare_char.py of its repository say,
written anew; `PUBLISHED` are the sizes that its README has for a CPU. Schedules follow the clock.
"""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from peers import DEVICE, descend
from torch import Tensor, nn

KEPT = 20  # one of so many tokens is kept back, to take the weights that are best on it
LOOKS = 8  # at what is kept back, in a run
WARMUP = 100  # steps
SEEN = 64  # windows of a look


@dataclass(frozen=True)
class Shape:
    """Sizes of a GPT: floats a token, blocks, heads, tokens of a window, windows a step, ids."""

    width: int
    depth: int
    heads: int
    block: int
    batch: int
    classes: int = 0


PUBLISHED = Shape(128, 4, 4, 64, 12)


@dataclass(frozen=True)
class Fitted:
    """A model that is trained; `logits` takes ids (B, L) and tells what comes after each, (B, L, K)."""

    model: nn.Module
    logits: Callable[[Tensor], Tensor]
    tokens: int
    seconds: float
    notes: str


class Norm(nn.Module):
    """Layer norm without a bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)


class Layer(nn.Module):
    """GPT-2's block without biases: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, d = shape.heads, shape.width
        self.before, self.between = Norm(d), Norm(d)
        self.qkv, self.up = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, 4 * d, bias=False)
        self.out, self.down = nn.Linear(d, d, bias=False), nn.Linear(4 * d, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, length, d = x.shape
        q, k, v = self.qkv(self.before(x)).view(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, length, d))
        return x + self.down(F.gelu(self.up(self.between(x))))


class GPT(nn.Module):
    """nanoGPT's model without biases and dropout: learned places, tied weights, small residual outputs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.classes, shape.width)
        self.places = nn.Embedding(shape.block, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.depth))
        self.last = Norm(shape.width)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                scaled = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * shape.depth) if scaled else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, K)."""
        x = self.words(ids) + self.places.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.last(x), self.words.weight)


class Clock:
    """Wall time of a run, with pauses that do not count."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.began = seconds, time.perf_counter()

    @property
    def gone(self) -> float:
        return time.perf_counter() - self.began

    @property
    def progress(self) -> float:
        return self.gone / self.seconds


class Best:
    """Looks at what is kept back from time to time, on no clock, and keeps the weights that were best."""

    def __init__(
        self, model: nn.Module, logits: Callable[[Tensor], Tensor], kept: Tensor, block: int, clock: Clock
    ) -> None:
        self.model, self.logits, self.clock, self.looks = model, logits, clock, 0
        spread = torch.linspace(0, len(kept) - block - 1, SEEN).long()
        self.windows = torch.stack([kept[i : i + block + 1] for i in spread.tolist()]).to(DEVICE)
        self.loss, self.state, self.when = math.inf, copy.deepcopy(model.state_dict()), 0.0

    def look(self, progress: float) -> None:
        """If it is time, or the end."""
        if progress * LOOKS < self.looks + 1:
            return
        began = time.perf_counter()
        self.looks = int(progress * LOOKS)
        self.model.eval()
        with torch.no_grad():
            loss = float(_loss(self.logits(self.windows[:, :-1]), self.windows[:, 1:]))
        if loss < self.loss:
            self.loss, self.when = loss, min(1.0, progress)
            self.state = copy.deepcopy(self.model.state_dict())
        self.model.train()
        self.clock.began += time.perf_counter() - began

    def take(self) -> str:
        """Put the best weights back; says when they were."""
        self.model.load_state_dict(self.state)
        self.model.eval()
        return f"weights of {100 * self.when:.0f} % of the time"


def nanogpt(shape: Shape, stream: Tensor, seconds: float, rate: float, seed: int) -> Fitted:
    """AdamW, warm-up and cosine decay to a tenth, gradients clipped at 1: its recipe for characters."""
    model = GPT(shape).to(DEVICE)
    learned, kept = _split(stream, shape.block)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == n], "weight_decay": decay}
        for n, decay in ((2, 0.1), (1, 0.0))
    ]
    optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True)
    draw = torch.Generator().manual_seed(seed)

    def batch() -> tuple[Tensor, Tensor]:
        first = torch.randint(len(learned) - shape.block, (shape.batch, 1), generator=draw)
        found = learned[first + torch.arange(shape.block + 1)].to(DEVICE)
        return found[:, :-1], found[:, 1:]

    cast, half = _faster(lambda: _loss(model(batch()[0]), batch()[1]).backward())
    clock = Clock(seconds)
    best, steps = Best(model, model, kept, shape.block, clock), 0
    while (progress := clock.progress) < 1:
        warm = min(1.0, (steps + 1) / (WARMUP + 1))
        for group in optimiser.param_groups:
            group["lr"] = rate * warm * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)
        x, y = batch()
        with cast():
            loss = _loss(model(x), y)
        descend(optimiser, loss, clip=1.0)
        steps += 1
        best.look(clock.progress)
    best.look(1.0)
    return Fitted(
        model,
        model,
        steps * shape.batch * shape.block,
        clock.gone,
        f"batch {shape.batch}, {half}, {best.take()}",
    )


def transformers(shape: Shape, stream: Tensor, seconds: float, rate: float, seed: int) -> Fitted:
    """GPT2LMHeadModel in a Trainer with its defaults but for the rate, and no dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=shape.classes,
            n_positions=shape.block,
            n_embd=shape.width,
            n_layer=shape.depth,
            n_head=shape.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    model.to(DEVICE)
    learned, kept = _split(stream, shape.block)
    clock, loud = Clock(seconds), {"report_to": "none", "disable_tqdm": True, "logging_strategy": "no"}

    def logits(ids: Tensor) -> Tensor:
        return model(input_ids=ids).logits

    class Windows(torch.utils.data.Dataset):
        """Item i is the window that begins at token i."""

        def __len__(self) -> int:
            return len(learned) - shape.block + 1

        def __getitem__(self, i: int) -> dict[str, Tensor]:
            ids = learned[i : i + shape.block]
            return {"input_ids": ids, "labels": ids}

    class Clocked(Trainer):
        """Its linear decay, by the clock."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: max(0.0, 1 - clock.progress)
            )
            return self.lr_scheduler

    class Watch(TrainerCallback):
        """Ends with the clock."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            best.look(clock.progress)
            control.should_training_stop = clock.progress >= 1

    some = learned[: 8 * shape.block].view(8, -1).to(DEVICE)
    _, half = _faster(lambda: _loss(logits(some), some).backward())
    model.zero_grad()
    with tempfile.TemporaryDirectory() as folder:
        plan = TrainingArguments(
            folder,
            learning_rate=rate,
            max_steps=10**9,
            save_strategy="no",
            seed=seed,
            bf16=half == "bf16",
            use_cpu=DEVICE.type == "cpu",
            **loud,
        )
        trainer = Clocked(model=model, args=plan, train_dataset=Windows(), callbacks=[Watch()])
        best = Best(model, logits, kept, shape.block, clock)
        clock.began = time.perf_counter()
        trainer.train()
        seconds = clock.gone
    best.look(1.0)
    batch = plan.per_device_train_batch_size
    return Fitted(
        model,
        logits,
        trainer.state.global_step * batch * shape.block,
        seconds,
        f"batch {batch}, {half}, {best.take()}",
    )


def packages(name: str) -> list[str]:
    """Whose versions matter to a contestant."""
    return ["torch", *(["transformers", "accelerate"] if name.startswith("transformers") else [])]


def _split(stream: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """What is learned, and the end of the training text, kept back."""
    count = max(len(stream) // KEPT, 2 * block)
    return stream[:-count], stream[-count:]


def _loss(logits: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(logits.float().flatten(0, 1), ids.flatten())


def _faster(work: Callable[[], Any]) -> tuple[Callable[[], AbstractContextManager], str]:
    """bf16 autocast where it is faster, of a few trials in turn; on no clock."""

    def half() -> AbstractContextManager:
        return torch.autocast(DEVICE.type, torch.bfloat16)

    took: dict[str, list[float]] = {"bf16": [], "float32": []}
    for _ in range(4):
        for name, cast in (("bf16", half), ("float32", nullcontext)):
            began = time.perf_counter()
            with cast():
                work()
            took[name].append(time.perf_counter() - began)
    return (half, "bf16") if min(took["bf16"]) < min(took["float32"]) else (nullcontext, "float32")

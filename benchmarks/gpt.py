"""The peers of language_peers.py: nanoGPT's model and recipe, and a Trainer of transformers.

Shapes: B batch, L tokens of a window, D width, K ids.

nanoGPT (Karpathy, 2022): model and training recipe of model.py, train.py and config/train_shakespeare_char.py
of its repository, reimplemented; `PUBLISHED` are the sizes of its README for a CPU. Schedules follow wall time.
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
from peers import DEVICE, update
from torch import Tensor, nn

VALIDATION = 20  # 1 / VALIDATION of the training text is for validation, to choose the best weights
VALIDATIONS = 8  # of a run
WARMUP = 100  # steps
WINDOWS = 64  # of a validation


@dataclass(frozen=True)
class Shape:
    """Sizes of a GPT: width, blocks, heads, tokens of a window, windows per step, ids."""

    width: int
    depth: int
    heads: int
    block: int
    batch: int
    classes: int = 0


PUBLISHED = Shape(128, 4, 4, 64, 12)


@dataclass(frozen=True)
class Fitted:
    """A trained model; `logits` maps ids (B, L) to logits of the next ids, (B, L, K)."""

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
        self.attention_norm, self.mlp_norm = Norm(d), Norm(d)
        self.qkv, self.up = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, 4 * d, bias=False)
        self.out, self.down = nn.Linear(d, d, bias=False), nn.Linear(4 * d, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, length, d = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, length, d))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x))))


class GPT(nn.Module):
    """nanoGPT's model without biases and dropout: learned positions, tied weights, small residual outputs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.classes, shape.width)
        self.positions = nn.Embedding(shape.block, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.depth))
        self.norm = Norm(shape.width)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                scaled = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * shape.depth) if scaled else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, K)."""
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.norm(x), self.tokens.weight)


class Clock:
    """Wall time of a run without pauses."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.start = seconds, time.perf_counter()

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    @property
    def progress(self) -> float:
        return self.elapsed / self.seconds


class Best:
    """Validates from time to time, in pauses of the clock, and keeps the best weights."""

    def __init__(
        self,
        model: nn.Module,
        logits: Callable[[Tensor], Tensor],
        validation: Tensor,
        block: int,
        clock: Clock,
    ) -> None:
        self.model, self.logits, self.clock, self.count = model, logits, clock, 0
        spread = torch.linspace(0, len(validation) - block - 1, WINDOWS).long()
        self.windows = torch.stack([validation[i : i + block + 1] for i in spread.tolist()]).to(DEVICE)
        self.loss, self.state, self.when = math.inf, copy.deepcopy(model.state_dict()), 0.0

    def validate(self, progress: float) -> None:
        """Validate if it is time, or the end."""
        if progress * VALIDATIONS < self.count + 1:
            return
        start = time.perf_counter()
        self.count = int(progress * VALIDATIONS)
        self.model.eval()
        with torch.no_grad():
            loss = float(_loss(self.logits(self.windows[:, :-1]), self.windows[:, 1:]))
        if loss < self.loss:
            self.loss, self.when = loss, min(1.0, progress)
            self.state = copy.deepcopy(self.model.state_dict())
        self.model.train()
        self.clock.start += time.perf_counter() - start

    def restore(self) -> str:
        """Load the best weights; returns a note on their time."""
        self.model.load_state_dict(self.state)
        self.model.eval()
        return f"weights of {100 * self.when:.0f} % of the time"


def nanogpt(shape: Shape, stream: Tensor, seconds: float, rate: float, seed: int) -> Fitted:
    """AdamW, warm-up and cosine decay to a tenth, gradients clipped at 1: its recipe for characters."""
    model = GPT(shape).to(DEVICE)
    train, validation = _split(stream, shape.block)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == n], "weight_decay": decay}
        for n, decay in ((2, 0.1), (1, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True)
    generator = torch.Generator().manual_seed(seed)

    def batch() -> tuple[Tensor, Tensor]:
        first = torch.randint(len(train) - shape.block, (shape.batch, 1), generator=generator)
        windows = train[first + torch.arange(shape.block + 1)].to(DEVICE)
        return windows[:, :-1], windows[:, 1:]

    cast, precision = _faster(lambda: _loss(model(batch()[0]), batch()[1]).backward())
    clock = Clock(seconds)
    best, steps = Best(model, model, validation, shape.block, clock), 0
    while (progress := clock.progress) < 1:
        warm = min(1.0, (steps + 1) / (WARMUP + 1))
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)
        x, y = batch()
        with cast():
            loss = _loss(model(x), y)
        update(optimizer, loss, clip=1.0)
        steps += 1
        best.validate(clock.progress)
    best.validate(1.0)
    return Fitted(
        model,
        model,
        steps * shape.batch * shape.block,
        clock.elapsed,
        f"batch {shape.batch}, {precision}, {best.restore()}",
    )


def transformers(shape: Shape, stream: Tensor, seconds: float, rate: float, seed: int) -> Fitted:
    """GPT2LMHeadModel in a Trainer with its defaults but for the learning rate, and no dropout."""
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
    train, validation = _split(stream, shape.block)
    clock = Clock(seconds)

    def logits(ids: Tensor) -> Tensor:
        return model(input_ids=ids).logits

    class Windows(torch.utils.data.Dataset):
        """Item i is the window that begins at token i."""

        def __len__(self) -> int:
            return len(train) - shape.block + 1

        def __getitem__(self, i: int) -> dict[str, Tensor]:
            ids = train[i : i + shape.block]
            return {"input_ids": ids, "labels": ids}

    class Clocked(Trainer):
        """Linear decay by wall time."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: max(0.0, 1 - clock.progress)
            )
            return self.lr_scheduler

    class StopByClock(TrainerCallback):
        """Validates, and stops when the time is over."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            best.validate(clock.progress)
            control.should_training_stop = clock.progress >= 1

    windows = train[: 8 * shape.block].view(8, -1).to(DEVICE)
    _, precision = _faster(lambda: _loss(logits(windows), windows).backward())
    model.zero_grad()
    with tempfile.TemporaryDirectory() as folder:
        plan = TrainingArguments(
            folder,
            learning_rate=rate,
            max_steps=10**9,
            save_strategy="no",
            seed=seed,
            bf16=precision == "bf16",
            use_cpu=DEVICE.type == "cpu",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
        )
        trainer = Clocked(model=model, args=plan, train_dataset=Windows(), callbacks=[StopByClock()])
        best = Best(model, logits, validation, shape.block, clock)
        clock.start = time.perf_counter()
        trainer.train()
        seconds = clock.elapsed
    best.validate(1.0)
    batch = plan.per_device_train_batch_size
    return Fitted(
        model,
        logits,
        trainer.state.global_step * batch * shape.block,
        seconds,
        f"batch {batch}, {precision}, {best.restore()}",
    )


def packages(name: str) -> list[str]:
    """Packages of a method whose versions are recorded."""
    return ["torch", *(["transformers", "accelerate"] if name.startswith("transformers") else [])]


def _split(stream: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Training text, and its end for validation."""
    count = max(len(stream) // VALIDATION, 2 * block)
    return stream[:-count], stream[-count:]


def _loss(logits: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(logits.float().flatten(0, 1), ids.flatten())


def _faster(work: Callable[[], Any]) -> tuple[Callable[[], AbstractContextManager], str]:
    """bf16 autocast where it is faster, by a few trials before the training time."""

    def bf16() -> AbstractContextManager:
        return torch.autocast(DEVICE.type, torch.bfloat16)

    seconds: dict[str, list[float]] = {"bf16": [], "float32": []}
    for _ in range(4):
        for name, cast in (("bf16", bf16), ("float32", nullcontext)):
            start = time.perf_counter()
            with cast():
                work()
            seconds[name].append(time.perf_counter() - start)
    return (bf16, "bf16") if min(seconds["bf16"]) < min(seconds["float32"]) else (nullcontext, "float32")

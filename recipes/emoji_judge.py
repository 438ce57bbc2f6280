"""An independent judge of emoji: which of all emoji does a picture show, and in which style?

    python recipes/emoji_judge.py [--steps 3000] [--out runs/emoji-judge]

A small convolutional network that learns from real pictures only and knows no generative model. It learns
from all (emoji, style) pairs but those that models are asked for: the held-out pairs of known halves, and
half of the styles of each emoji that is held out whole. So it has seen neither the real nor the drawn
pictures that it judges, and the share of the real ones that it gets right is an honest ceiling.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from likewise import Table

SIDE = 32  # pixels that it looks at
RATE = 2e-3  # of learning, at its highest
Pair = tuple[str, str]


class Judge(nn.Module):
    """Pictures (B, 3, 32, 32) in [0, 1] -> how well they fit each emoji (B, E), each style (B, S)."""

    def __init__(self, emoji: Sequence[str], styles: Sequence[str]) -> None:
        super().__init__()
        self.emoji, self.styles = list(emoji), list(styles)
        widths = (3, 32, 64, 128, 192)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 1 if a == 3 else 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(widths)
        )
        self.embed = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(widths[-1] * 16, 256))
        self.centres = nn.Parameter(torch.randn(len(emoji), 256))
        self.style = nn.Sequential(
            nn.Linear(2 * sum(widths[1:]), 128), nn.ReLU(), nn.Linear(128, len(styles))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        texture = []
        for layer in self.layers:
            x = layer(x)  # a style is in the strokes and the shading, wherever they are
            texture += [x.mean((2, 3)), x.flatten(2).std(2)]
        fit = F.normalize(self.embed(x), dim=1) @ F.normalize(self.centres, dim=1).T
        return 16 * fit, self.style(torch.cat(texture, 1))

    @torch.no_grad()
    def read(self, images: Sequence[PIL.Image.Image]) -> tuple[np.ndarray, np.ndarray]:
        """Pictures -> how well each fits each emoji (N, E), the number of its style (N,)."""
        self.eval()
        parts = [self(part) for part in tensor(images).split(256)]
        fit, style = (torch.cat(answers).numpy() for answers in zip(*parts, strict=True))
        return fit, style.argmax(1)

    def ranks(self, images: Sequence[PIL.Image.Image], emoji: Sequence[str]) -> np.ndarray:
        """The rank, from 1, of the emoji that each picture should show among all emoji, (N,)."""
        fit = self.read(images)[0]
        true = fit[np.arange(len(fit)), [self.emoji.index(name) for name in emoji]]
        return 1 + (fit > true[:, None]).sum(1)

    def right_style(self, images: Sequence[PIL.Image.Image], styles: Sequence[str]) -> np.ndarray:
        """Whether each picture is in the style that it should be in, (N,) bool."""
        return self.read(images)[1] == [self.styles.index(name) for name in styles]

    def save(self, folder: Path, **about: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, folder / "judge.safetensors")
        state = {"emoji": self.emoji, "styles": self.styles, **about}
        (folder / "judge.json").write_text(json.dumps(state, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> tuple[Judge, dict]:
        """A judge, and what was saved with it."""
        state = json.loads((folder / "judge.json").read_text())
        with torch.random.fork_rng(devices=[]):
            judge = cls(state["emoji"], state["styles"])
        judge.load_state_dict(load_file(folder / "judge.safetensors"))
        return judge.eval(), state


def tensor(images: Sequence[PIL.Image.Image]) -> Tensor:
    """Pictures -> (N, 3, 32, 32) floats in [0, 1]."""
    small = (im.convert("RGB").resize((SIDE, SIDE), PIL.Image.Resampling.BOX) for im in images)
    return torch.from_numpy(np.stack([np.asarray(im) for im in small])).permute(0, 3, 1, 2).float() / 255


def unseen(table: Table) -> dict[Pair, str]:
    """The (emoji, style) pairs that the judge does not learn from -> "pair" or "new emoji"."""
    known, of = set(table.train.column("concept")), defaultdict(set)
    for emoji, style in zip(table.test.column("concept"), table.test.column("style"), strict=True):
        of[emoji].add(style)
    pairs = {(emoji, style): "pair" for emoji in of if emoji in known for style in of[emoji]}
    for emoji in of.keys() - known:
        order = sorted(of[emoji], key=lambda style: hashlib.sha256(f"{emoji} {style}".encode()).digest())
        pairs |= {(emoji, style): "new emoji" for style in order[: len(order) // 2]}
    return pairs


def batches(x: Tensor, rng: torch.Generator, size: int = 128) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows and their pictures, without end: all moved, half of them also turned, scaled and shaded."""
    while True:
        for rows in torch.randperm(len(x), generator=rng).split(size):
            u = 2 * torch.rand(len(rows), 5, generator=rng) - 1
            u[: len(rows) // 2, :3] = 0
            u[:, 3:] = (u[:, 3:] * 3).round() * 2 / SIDE  # whole pixels, up to 3
            light, angle, scale = 1 + 0.15 * u[:, 0], 0.2 * u[:, 1], 1 + 0.15 * u[:, 2]
            cos, sin = angle.cos() * scale, angle.sin() * scale
            affine = torch.stack([cos, -sin, u[:, 3], sin, cos, u[:, 4]], 1).view(-1, 2, 3)
            grid = F.affine_grid(affine, (len(rows), *x.shape[1:]), align_corners=False)
            moved = F.grid_sample(x[rows] - 1, grid, align_corners=False)  # what comes in is white, 0
            yield rows, moved * light.view(-1, 1, 1, 1) + 1


def learn(judge: Judge, x: Tensor, emoji: Tensor, styles: Tensor, steps: int, seed: int) -> None:
    """Minimise the cross-entropy of both questions; the rate rises for 50 steps and then falls to 0.

    A style is asked of the first half of a batch only, as turning and shading a picture changes it.
    """
    optimiser = torch.optim.AdamW(judge.parameters(), weight_decay=0.05)
    rng = torch.Generator().manual_seed(seed)
    judge.train()
    for step, (rows, pictures) in zip(range(steps), batches(x, rng), strict=False):
        optimiser.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 50) * (1 - step / steps)
        with torch.autocast("cpu", torch.bfloat16):
            fit, style = judge(pictures)
        half = len(rows) // 2
        loss = F.cross_entropy(fit.float(), emoji[rows], label_smoothing=0.05) + F.cross_entropy(
            style[:half].float(), styles[rows[:half]]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/emoji-judge"))
    args = parser.parse_args()
    table = Table.open("emoji", pairs="style")
    apart = unseen(table)
    emoji, styles, images = table.column("concept"), table.column("style"), tensor(table.column("image"))
    names, kinds = sorted(set(emoji)), sorted(set(styles))
    y = torch.tensor([[names.index(e), kinds.index(s)] for e, s in zip(emoji, styles, strict=True)])
    kept = torch.tensor([pair not in apart for pair in zip(emoji, styles, strict=True)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        judge = Judge(names, kinds)
    print(f"{int(kept.sum()):,} pictures of {len(names):,} emoji to learn from, {int((~kept).sum()):,} apart")
    began = time.perf_counter()
    learn(judge, images[kept], *y[kept].T, args.steps, args.seed)
    print(f"{args.steps} steps in {time.perf_counter() - began:.0f} s")
    judge.save(
        args.out,
        data=table.reopen_args(),
        steps=args.steps,
        seed=args.seed,
        unseen=[[*pair, kind] for pair, kind in apart.items()],
    )
    for group in ("pair", "new emoji"):
        rows = [i for i, p in enumerate(zip(emoji, styles, strict=True)) if apart.get(p) == group]
        shown = [table.column("image")[i] for i in rows]
        ranks = judge.ranks(shown, [emoji[i] for i in rows])
        style = judge.right_style(shown, [styles[i] for i in rows]).mean()
        print(
            f"{group}: of {len(rows)} real pictures the style is right in {style:.3f}, the emoji first in "
            f"{(ranks == 1).mean():.3f}, among five in {(ranks <= 5).mean():.3f}, median rank "
            f"{np.median(ranks):.0f} of {len(names):,}"
        )


if __name__ == "__main__":
    main()

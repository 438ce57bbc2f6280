"""An independent classifier of emoji: which of all emoji does an image show, and in which style?

    python recipes/emoji_classifier.py [--steps 3000] [--out runs/emoji-classifier]

A small convolutional network, trained on real images only, without any generative model. Its training set has
all (emoji, style) pairs but those that models are evaluated on: the held-out pairs of emoji that are in the
training rows, and half of the styles of each emoji that is held out entirely. So it has seen neither the real
nor the sampled images that it classifies, and its accuracy on the real ones is a fair ceiling.
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
from likewise.core.device import supports_bf16

SIDE = 32  # pixels of its input
PEAK_LR = 2e-3
Pair = tuple[str, str]


class EmojiClassifier(nn.Module):
    """Images (B, 3, 32, 32) in [0, 1] -> logits of the emoji (B, E) and of the style (B, S)."""

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
            x = layer(x)  # a style is a matter of strokes and shading, independent of the position
            texture += [x.mean((2, 3)), x.flatten(2).std(2)]
        similarity = F.normalize(self.embed(x), dim=1) @ F.normalize(self.centres, dim=1).T
        return 16 * similarity, self.style(torch.cat(texture, 1))

    @torch.no_grad()
    def predict(self, images: Sequence[PIL.Image.Image]) -> tuple[np.ndarray, np.ndarray]:
        """Images -> logits of the emoji (N, E), the id of the style (N,)."""
        self.eval()
        parts = [self(part) for part in tensor(images).split(256)]
        emoji, style = (torch.cat(logits).numpy() for logits in zip(*parts, strict=True))
        return emoji, style.argmax(1)

    def ranks(self, images: Sequence[PIL.Image.Image], emoji: Sequence[str]) -> np.ndarray:
        """The rank, from 1, of the true emoji of each image among all emoji, (N,)."""
        logits = self.predict(images)[0]
        true = logits[np.arange(len(logits)), [self.emoji.index(name) for name in emoji]]
        return 1 + (logits > true[:, None]).sum(1)

    def style_correct(self, images: Sequence[PIL.Image.Image], styles: Sequence[str]) -> np.ndarray:
        """Whether the predicted style of each image is the true one, (N,) bool."""
        return self.predict(images)[1] == [self.styles.index(name) for name in styles]

    def save(self, folder: Path, **metadata: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {k: v.contiguous() for k, v in self.state_dict().items()}, folder / "classifier.safetensors"
        )
        state = {"emoji": self.emoji, "styles": self.styles, **metadata}
        (folder / "classifier.json").write_text(json.dumps(state, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> tuple[EmojiClassifier, dict]:
        """A classifier, and the metadata that was saved with it."""
        state = json.loads((folder / "classifier.json").read_text())
        with torch.random.fork_rng(devices=[]):
            classifier = cls(state["emoji"], state["styles"])
        classifier.load_state_dict(load_file(folder / "classifier.safetensors"))
        return classifier.eval(), state


def tensor(images: Sequence[PIL.Image.Image]) -> Tensor:
    """Images -> (N, 3, 32, 32) floats in [0, 1]."""
    small = (im.convert("RGB").resize((SIDE, SIDE), PIL.Image.Resampling.BOX) for im in images)
    return torch.from_numpy(np.stack([np.asarray(im) for im in small])).permute(0, 3, 1, 2).float() / 255


def unseen(table: Table) -> dict[Pair, str]:
    """The (emoji, style) pairs that are not in the training set -> "pair" or "new emoji"."""
    known, styles_of = set(table.train.column("concept")), defaultdict(set)
    for emoji, style in zip(table.test.column("concept"), table.test.column("style"), strict=True):
        styles_of[emoji].add(style)
    pairs = {(emoji, style): "pair" for emoji in styles_of if emoji in known for style in styles_of[emoji]}
    for emoji in styles_of.keys() - known:
        order = sorted(
            styles_of[emoji], key=lambda style: hashlib.sha256(f"{emoji} {style}".encode()).digest()
        )
        pairs |= {(emoji, style): "new emoji" for style in order[: len(order) // 2]}
    return pairs


def batches(x: Tensor, rng: torch.Generator, size: int = 128) -> Iterator[tuple[Tensor, Tensor]]:
    """Row ids and their augmented images, endlessly: all shifted, half also rotated, scaled and darkened or lit."""
    while True:
        for rows in torch.randperm(len(x), generator=rng).split(size):
            u = 2 * torch.rand(len(rows), 5, generator=rng) - 1
            u[: len(rows) // 2, :3] = 0
            u[:, 3:] = (u[:, 3:] * 3).round() * 2 / SIDE  # whole pixels, up to 3
            light, angle, scale = 1 + 0.15 * u[:, 0], 0.2 * u[:, 1], 1 + 0.15 * u[:, 2]
            cos, sin = angle.cos() * scale, angle.sin() * scale
            affine = torch.stack([cos, -sin, u[:, 3], sin, cos, u[:, 4]], 1).view(-1, 2, 3)
            grid = F.affine_grid(affine, [len(rows), *x.shape[1:]], align_corners=False)
            shifted = F.grid_sample(x[rows] - 1, grid, align_corners=False)  # the padding is white, 0
            yield rows, shifted * light.view(-1, 1, 1, 1) + 1


def fit(classifier: EmojiClassifier, x: Tensor, emoji: Tensor, styles: Tensor, steps: int, seed: int) -> None:
    """Minimise the cross-entropy of emoji and style; the learning rate rises for 50 steps, then falls to 0.

    The style is learned from the first half of a batch only: rotation and brightness change it.
    """
    optimiser = torch.optim.AdamW(classifier.parameters(), weight_decay=0.05)
    rng = torch.Generator().manual_seed(seed)
    classifier.train()
    for step, (rows, images) in zip(range(steps), batches(x, rng), strict=False):
        optimiser.param_groups[0]["lr"] = PEAK_LR * min(1, (step + 1) / 50) * (1 - step / steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=supports_bf16(x.device)):
            emoji_logits, style_logits = classifier(images)
        half = len(rows) // 2
        loss = F.cross_entropy(emoji_logits.float(), emoji[rows], label_smoothing=0.05) + F.cross_entropy(
            style_logits[:half].float(), styles[rows[:half]]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/emoji-classifier"))
    args = parser.parse_args()
    table = Table.open("emoji", pairs="style")
    held_out = unseen(table)
    emoji, styles, images = table.column("concept"), table.column("style"), tensor(table.column("image"))
    names, kinds = sorted(set(emoji)), sorted(set(styles))
    y = torch.tensor([[names.index(e), kinds.index(s)] for e, s in zip(emoji, styles, strict=True)])
    train = torch.tensor([pair not in held_out for pair in zip(emoji, styles, strict=True)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        classifier = EmojiClassifier(names, kinds)
    print(f"{int(train.sum()):,} training images of {len(names):,} emoji, {int((~train).sum()):,} held out")
    start = time.perf_counter()
    emoji_ids, style_ids = y[train].T
    fit(classifier, images[train], emoji_ids, style_ids, args.steps, args.seed)
    print(f"{args.steps} steps in {time.perf_counter() - start:.0f} s")
    classifier.save(
        args.out,
        data=table.reopen_args(),
        steps=args.steps,
        seed=args.seed,
        unseen=[[*pair, kind] for pair, kind in held_out.items()],
    )
    for group in ("pair", "new emoji"):
        rows = [i for i, p in enumerate(zip(emoji, styles, strict=True)) if held_out.get(p) == group]
        real = [table.column("image")[i] for i in rows]
        ranks = classifier.ranks(real, [emoji[i] for i in rows])
        style = classifier.style_correct(real, [styles[i] for i in rows]).mean()
        print(
            f"{group}, {len(rows)} real images: accuracy of the style {style:.3f}, of the emoji "
            f"{(ranks == 1).mean():.3f}, top 5 {(ranks <= 5).mean():.3f}, median rank "
            f"{np.median(ranks):.0f} of {len(names):,}"
        )


if __name__ == "__main__":
    main()

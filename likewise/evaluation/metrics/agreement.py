"""Agreement: does a sample show what its source says? With a text by rank, with a label by a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share

TOPS = (1, 10, 100)

# ---- with a text: the place of the true image among others, seen from the sample


def nearest_caption(
    queries: Sequence[str],
    captions: Sequence[str],
    *,
    rng: np.random.Generator,
    by: Literal["jaccard", "tfidf"] = "jaccard",
) -> np.ndarray:
    """The number of the caption nearest to each query, (Q,): by share of words in common, or tf-idf cosine.

    Among equals, and for a query of which no word is known, one is drawn at random. The share is the better
    retriever of icons (the true one in the top 10 of 1,001: 0.56 against 0.53), so it is the baseline.

    >>> nearest_caption(["red truck"], ["red", "truck alert", "red truck off"], rng=np.random.default_rng(0))
    array([2])
    """
    pattern = r"(?u)\b\w+\b"  # single letters and digits are words as well
    words = (
        TfidfVectorizer(token_pattern=pattern)
        if by == "tfidf"
        else CountVectorizer(token_pattern=pattern, binary=True)
    )
    known, split, found = words.fit_transform(captions), words.build_analyzer(), []
    lengths = np.asarray(known.sum(1)).ravel()
    for start in range(0, len(queries), 256):
        asked = queries[start : start + 256]
        near = (words.transform(asked) @ known.T).toarray().astype(np.float64)  # (q, captions)
        if by == "jaccard":
            near /= np.maximum(np.add.outer([len(set(split(q))) for q in asked], lengths) - near, 1)
        best = near >= near.max(1, keepdims=True) - 1e-9
        found.append((best * (1 + rng.random(near.shape))).argmax(1))
    return np.concatenate(found)


def choose_candidates(forbidden: np.ndarray, count: int, *, rng: np.random.Generator) -> np.ndarray:
    """`count` rows of the pool for each query, (Q, count), drawn from those not `forbidden` (Q, pool).

    Where a query has fewer than that, every query gets as few.
    """
    count = min(count, int((~forbidden).sum(1).min()))
    order = np.where(forbidden, np.inf, rng.random(forbidden.shape))
    return order.argpartition(max(count - 1, 0), axis=1)[:, :count]


def ranks(drawn: np.ndarray, truth: np.ndarray, pool: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The rank of truth (Q, F) among candidates (Q, K), rows of pool (M, F), seen from drawn (Q, S, F): (Q,).

    From 1, the best, to K + 1. An image is as far as the nearest of the S draws is; one as far as the truth
    counts half.
    """
    found = np.empty(len(drawn))
    for i, (draws, true, rows) in enumerate(zip(drawn, truth, candidates, strict=True)):
        images = torch.as_tensor(np.concatenate([true[None], pool[rows]]))
        d = torch.cdist(torch.as_tensor(draws), images).amin(0)
        found[i] = 1 + (d[1:] < d[0]).sum() + (d[1:] == d[0]).sum() / 2
    return found


def summarise(found: np.ndarray, *, rng: np.random.Generator) -> dict[str, Estimate]:
    """Ranks (Q,) -> mean and median rank, and the share of queries whose truth is in the top 1, 10, 100."""
    middle = {
        name: bootstrap(statistic, found, rng=rng)
        for name, statistic in (("mean rank", np.mean), ("median rank", np.median))
    }
    return middle | {f"in top {k}": share(found <= k) for k in TOPS}


def chance(candidates: int) -> dict[str, float]:
    """What `summarise` gives on average for draws that know nothing of their source.

    >>> chance(1000)["mean rank"]
    501.0
    """
    middle = (candidates + 2) / 2
    tops = {f"in top {k}": min(1.0, k / (candidates + 1)) for k in TOPS}
    return {"mean rank": middle, "median rank": middle} | tops


# ---- with a label: what a classifier says that has learned from real rows only


class Classifier:
    """A small convolutional network: images (N, H, W, C), floats in [-1, 1], -> their class, (N,) int.

    On digits, after 4,500 real ones: 0.98 to 0.99 right of those held out, about 10 seconds of one core.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, classes: int, *, seed: int = 0, steps: int = 600
    ) -> None:
        """Train on real images, shifted by up to 2 pixels, and labels (N,) int; one seed, one classifier."""
        rng = torch.Generator().manual_seed(seed)
        x, y = _prepared(images), torch.as_tensor(labels, dtype=torch.int64)
        self._net = _network(x.shape[1], classes, rng).train()
        optimizer = torch.optim.AdamW(self._net.parameters(), weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(len(x), (128,), generator=rng)
            loss = F.cross_entropy(self._net(_shifted(x[rows], rng)), y[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        self._net.eval()

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        return torch.cat([self._net(x).argmax(1) for x in _prepared(images).split(256)]).numpy()


def _network(channels: int, classes: int, rng: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    with torch.device("meta"):  # else each layer would draw its first weights from the global generator
        for size, stride, width in ((5, 2, 16), (3, 2, 32), (3, 1, 32), (3, 2, 64), (3, 1, 64)):
            layers += [
                nn.Conv2d(channels, width, size, stride, size // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, classes))
    net.to_empty(device="cpu")
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, generator=rng)
    nn.init.zeros_(net[-1].bias)
    return net


def _prepared(images: np.ndarray) -> Tensor:
    """Images (N, H, W, C) -> (N, C, H, W) with sides of 8 to 32 pixels."""
    x = torch.as_tensor(np.asarray(images, np.float32)).permute(0, 3, 1, 2)
    sides = tuple(min(max(side, 8), 32) for side in x.shape[-2:])
    if x.shape[-2:] == sides:
        return x.contiguous()
    return torch.cat(
        [F.interpolate(part.contiguous(), sides, mode="bilinear", antialias=True) for part in x.split(256)]
    )


def _shifted(x: Tensor, rng: torch.Generator, most: int = 2) -> Tensor:
    """Each image (B, C, H, W) moved by up to `most` pixels each way, its border repeated."""
    b, _, h, w = x.shape
    down, right = torch.randint(2 * most + 1, (2, b, 1), generator=rng)
    rows, columns = (down + torch.arange(h))[:, :, None], (right + torch.arange(w))[:, None]
    x = F.pad(x, (most,) * 4, mode="replicate")
    return x[torch.arange(b)[:, None, None], :, rows, columns].movedim(-1, 1)

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

# ---- with a text: the rank of the true image among candidates, by distance to the sample


def nearest_caption(
    queries: Sequence[str],
    captions: Sequence[str],
    *,
    rng: np.random.Generator,
    by: Literal["jaccard", "tfidf"] = "jaccard",
) -> np.ndarray:
    """The index of the caption nearest to each query, (Q,): by Jaccard index of words, or tf-idf cosine.

    Ties, and queries without a known word, are broken at random. The Jaccard index is the better retriever of
    icons (the true one in the top 10 of 1,001: 0.56 against 0.53), so it is the baseline.

    >>> nearest_caption(["red truck"], ["red", "truck alert", "red truck off"], rng=np.random.default_rng(0))
    array([2])
    """
    pattern = r"(?u)\b\w+\b"  # single letters and digits are words as well
    words = (
        TfidfVectorizer(token_pattern=pattern)
        if by == "tfidf"
        else CountVectorizer(token_pattern=pattern, binary=True)
    )
    counts, split, nearest = words.fit_transform(captions), words.build_analyzer(), []
    lengths = np.asarray(counts.sum(1)).ravel()
    for start in range(0, len(queries), 256):
        chunk = queries[start : start + 256]
        similarity = (words.transform(chunk) @ counts.T).toarray().astype(np.float64)  # (q, captions)
        if by == "jaccard":
            union = np.add.outer([len(set(split(q))) for q in chunk], lengths) - similarity
            similarity /= np.maximum(union, 1)
        best = similarity >= similarity.max(1, keepdims=True) - 1e-9
        nearest.append((best * (1 + rng.random(similarity.shape))).argmax(1))
    return np.concatenate(nearest)


def choose_candidates(forbidden: np.ndarray, count: int, *, rng: np.random.Generator) -> np.ndarray:
    """`count` random rows of the pool for each query, (Q, count), of those not `forbidden` (Q, pool).

    Where one query has fewer than that, every query gets as few.
    """
    count = min(count, int((~forbidden).sum(1).min()))
    order = np.where(forbidden, np.inf, rng.random(forbidden.shape))
    return order.argpartition(max(count - 1, 0), axis=1)[:, :count]


def ranks(samples: np.ndarray, truth: np.ndarray, pool: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The rank of truth (Q, F) among candidates (Q, K), rows of pool (M, F), for samples (Q, S, F): (Q,).

    From 1, the best, to K + 1. The distance of an image is that to the nearest of the S samples; a candidate
    at the same distance as the truth counts half.
    """
    result = np.empty(len(samples))
    for i, (queries, true, rows) in enumerate(zip(samples, truth, candidates, strict=True)):
        images = torch.as_tensor(np.concatenate([true[None], pool[rows]]))
        d = torch.cdist(torch.as_tensor(queries), images).amin(0)
        result[i] = 1 + (d[1:] < d[0]).sum() + (d[1:] == d[0]).sum() / 2
    return result


def summarise(ranks: np.ndarray, *, rng: np.random.Generator) -> dict[str, Estimate]:
    """Ranks (Q,) -> mean and median rank, and the share of queries whose truth is in the top 1, 10, 100."""
    averages = {
        name: bootstrap(statistic, ranks, rng=rng)
        for name, statistic in (("mean rank", np.mean), ("median rank", np.median))
    }
    return averages | {f"in top {k}": share(ranks <= k) for k in TOPS}


def chance(candidates: int) -> dict[str, float]:
    """The expectation of `summarise` for samples that are independent of their source.

    >>> chance(1000)["mean rank"]
    501.0
    """
    middle = (candidates + 2) / 2
    tops = {f"in top {k}": min(1.0, k / (candidates + 1)) for k in TOPS}
    return {"mean rank": middle, "median rank": middle} | tops


# ---- with a label: the class predicted by a classifier trained on real rows only


class Classifier:
    """A small convolutional network: images (N, H, W, C), floats in [-1, 1], -> their class, (N,) int.

    Trained on 4,500 real digits its accuracy on held-out ones is 0.98 to 0.99, in about 10 seconds of one core.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, classes: int, *, seed: int = 0, steps: int = 600
    ) -> None:
        """Train on real images, shifted by up to 2 pixels, and labels (N,) int; deterministic in the seed."""
        rng = torch.Generator().manual_seed(seed)
        x, y = _prepare(images), torch.as_tensor(labels, dtype=torch.int64)
        self._net = _network(x.shape[1], classes, rng).train()
        optimizer = torch.optim.AdamW(self._net.parameters(), weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(len(x), (128,), generator=rng)
            loss = F.cross_entropy(self._net(_random_shift(x[rows], rng)), y[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        self._net.eval()

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        return torch.cat([self._net(x).argmax(1) for x in _prepare(images).split(256)]).numpy()


def _network(channels: int, classes: int, rng: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    with torch.device("meta"):  # else each layer would initialise from the global generator
        for size, stride, width in ((5, 2, 16), (3, 2, 32), (3, 1, 32), (3, 2, 64), (3, 1, 64)):
            layers += [
                nn.Conv2d(channels, width, size, stride, size // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        head = nn.Linear(4 * channels, classes)
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), head)
    net.to_empty(device="cpu")
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, generator=rng)
    nn.init.zeros_(head.bias)
    return net


def _prepare(images: np.ndarray) -> Tensor:
    """Images (N, H, W, C) -> (N, C, H, W) with sides of 8 to 32 pixels."""
    x = torch.as_tensor(np.asarray(images, np.float32)).permute(0, 3, 1, 2)
    sides = tuple(min(max(side, 8), 32) for side in x.shape[-2:])
    if x.shape[-2:] == sides:
        return x.contiguous()
    return torch.cat(
        [F.interpolate(part.contiguous(), sides, mode="bilinear", antialias=True) for part in x.split(256)]
    )


def _random_shift(x: Tensor, rng: torch.Generator, max_shift: int = 2) -> Tensor:
    """Each image (B, C, H, W) moved by up to `max_shift` pixels each way, its border repeated."""
    b, _, h, w = x.shape
    down, right = torch.randint(2 * max_shift + 1, (2, b, 1), generator=rng)
    rows, columns = (down + torch.arange(h))[:, :, None], (right + torch.arange(w))[:, None]
    x = F.pad(x, (max_shift,) * 4, mode="replicate")
    return x[torch.arange(b)[:, None, None], :, rows, columns].movedim(-1, 1)

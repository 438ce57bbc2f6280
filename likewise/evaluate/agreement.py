"""Agreement: does the sample show what its source says? With a text by rank, with a label by an independent classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.evaluate.estimate import Estimate, bootstrap, share

# ---- image with text: where does the true image stand among others?


def nearest_caption(queries: Sequence[str], captions: Sequence[str], *, rng: np.random.Generator,
                    by: Literal["tfidf", "jaccard"] = "tfidf") -> np.ndarray:
    """The number of the caption nearest to each query, (Q,): by cosine of tf-idf, or by share of words in common.

    Ties, and queries without a known word, go to a caption drawn at random.
    """
    words = (TfidfVectorizer if by == "tfidf" else CountVectorizer)(
        token_pattern=r"\w+", **({} if by == "tfidf" else {"binary": True, "dtype": np.float64}))
    known = words.fit_transform(captions)
    found = []
    for start in range(0, len(queries), 256):
        asked = list(queries[start:start + 256])
        near = (words.transform(asked) @ known.T).toarray()                        # (q, captions)
        if by == "jaccard":
            lengths = [len(set(words.build_analyzer()(q))) for q in asked]
            near /= np.maximum(np.add.outer(lengths, known.sum(1)) - near, 1)
        best = near >= near.max(1, keepdims=True) - 1e-9
        found.append(np.where(best, rng.random(near.shape), -1).argmax(1))
    return np.concatenate(found)


def choose_candidates(forbidden: np.ndarray, count: int, *, rng: np.random.Generator) -> np.ndarray:
    """For each query `count` rows of the pool that it may be told from, (Q, count); `forbidden` (Q, pool) bool.

    All of them have fewer if one query has fewer that are allowed.
    """
    count = min(count, int((~forbidden).sum(1).min()))
    chosen = np.where(forbidden, np.inf, rng.random(forbidden.shape))
    return chosen.argpartition(max(count - 1, 0), axis=1)[:, :count]


def ranks(drawn: np.ndarray, truth: np.ndarray, pool: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The rank of `truth` (Q, F) among its candidates (Q, K), rows of `pool` (M, F), seen from the draws (Q, S, F); (Q,).

    1 is best, (K + 2) / 2 is chance. A candidate is as far as the nearest of the S draws is; one as far as the truth counts half.
    """
    found = np.empty(len(drawn))
    for i, (draws, true, rows) in enumerate(zip(drawn, truth, candidates, strict=True)):
        x, y = torch.as_tensor(draws), torch.as_tensor(np.concatenate([true[None], pool[rows]]))
        d = torch.cdist(x[None], y[None])[0].amin(0).numpy()
        found[i] = 1 + (d[1:] < d[0]).sum() + (d[1:] == d[0]).sum() / 2
    return found


def summarise_ranks(found: np.ndarray, *, rng: np.random.Generator) -> dict[str, Estimate]:
    """Mean and median rank, and the share of queries (Q,) in the first 1, 10 and 100."""
    tops = {f"top {k}": share(found <= k) for k in (1, 10, 100)}
    return {"mean rank": bootstrap(np.mean, found, rng=rng), "median rank": bootstrap(np.median, found, rng=rng), **tops}


def chance_ranks(candidates: int) -> dict[str, float]:
    """What `summarise_ranks` gives for draws that know nothing, among so many candidates."""
    middle = (candidates + 2) / 2
    return {"mean rank": middle, "median rank": middle, **{f"top {k}": min(1.0, k / (candidates + 1)) for k in (1, 10, 100)}}


# ---- image with label: what does a classifier say that has seen real rows only?


class Classifier:
    """A small convolutional network from images (N, H, W, C), floats in [-1, 1], to `classes` classes.

    Trained on real rows with shifts of up to 2 pixels; 0.98 on held-out digits after 4,500 rows.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, classes: int, *, seed: int = 0, steps: int = 600) -> None:
        """Train on labels (N,) int; the same seed gives the same classifier."""
        rng = torch.Generator().manual_seed(seed)
        self._net = _network(images.shape[-1], classes, rng)
        x, y = _prepared(images), torch.as_tensor(labels, dtype=torch.int64)
        optimizer = torch.optim.AdamW(self._net.parameters(), lr=3e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        self._net.train()
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
        """The most probable class of each image, (N,)."""
        return torch.cat([self._net(x).argmax(1) for x in _prepared(images).split(256)]).numpy()


def _network(channels: int, classes: int, rng: torch.Generator) -> nn.Sequential:
    with torch.device("meta"):       # so that the layers do not draw their initial weights from the global generator
        layers: list[nn.Module] = []
        for width in (32, 64, 128):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            channels = width
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, classes))
    net.to_empty(device="cpu")
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, generator=rng)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net


def _prepared(images: np.ndarray) -> Tensor:
    """Images (N, H, W, C) -> (N, C, H, W) with sides of 8 to 32 pixels."""
    x = torch.as_tensor(np.asarray(images, np.float32)).permute(0, 3, 1, 2).contiguous()
    size = tuple(min(max(side, 8), 32) for side in x.shape[-2:])
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", antialias=True)


def _shifted(x: Tensor, rng: torch.Generator, most: int = 2) -> Tensor:
    """Each image (B, C, H, W) moved by up to `most` pixels each way, its border repeated."""
    b, c, h, w = x.shape
    padded = F.pad(x, (most,) * 4, mode="replicate")
    dy, dx = torch.randint(2 * most + 1, (2, b, 1), generator=rng)
    rows, columns = dy + torch.arange(h), dx + torch.arange(w)                     # (B, H), (B, W)
    return padded[torch.arange(b)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

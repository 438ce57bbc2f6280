"""Near copies of pictures: the same picture recompressed, resized or slightly retouched.

A picture is compared by a thumbnail, normalised to mean 0 and deviation 1 (Torralba, Fergus and Freeman, 2008, found
near duplicates among 80 million tiny images by such). Candidates are nearest neighbours in the principal components
of all thumbnails; what is a copy is then decided by the thumbnails themselves. The limits were set on drawings of 24
pixels a side, which differ least: of 5,000 digits no two are near copies, and 63 of 7,447 icons are, 54 of them to the
last pixel (`likewise data digits`, `likewise data icons`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import PIL.Image

SIDE, CHROMA_SIDE = 12, 4  # of the thumbnails of lightness and of colour
MAX_RMS = 0.09  # difference of two normalised thumbnails
NOISE = 5.0  # levels that are added to the deviation by which a thumbnail is divided, for pictures of little contrast
MAX_LEVELS, MAX_CHROMA = 20, 12  # difference of any of their pixels, of 255
MAX_ASPECT = 2  # difference of their shapes, in steps of 1 / 32 of a factor of 2
YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)  # lightness and colour of red, green, blue
MIN_STD = 1.5  # levels; flatter pictures are near copies only if their thumbnails are equal
COMPONENTS, NEIGHBOURS = 12, 16


def signature(image: PIL.Image.Image) -> bytes:
    """What near copies of an "L" or "RGB" picture are found by: a thumbnail of SIDE x SIDE, and its shape."""
    aspect = bytes([min(255, max(0, 128 + round(32 * math.log2(image.height / image.width))))])
    small = image.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC, reducing_gap=3)
    return (small if small.mode == "RGB" else small.convert("RGB")).tobytes() + aspect


def group_signatures(signatures: Sequence[bytes]) -> list[Hashable]:
    """A key for each picture; near copies have the same, also by way of others."""
    unique = list(dict.fromkeys(signatures))
    group = list(range(len(unique)))
    for a, b in _pairs(unique):
        group[_root(group, a)] = _root(group, b)
    key = {s: _root(group, i) for i, s in enumerate(unique)}
    return [key[s] for s in signatures]


def _root(group: list[int], i: int) -> int:
    """The representative of the set of i; paths are halved on the way (Tarjan and van Leeuwen, 1984)."""
    while group[i] != i:
        group[i] = i = group[group[i]]
    return i


def _pairs(signatures: Sequence[bytes]) -> list[tuple[int, int]]:
    """The pairs of different signatures that are of near copies."""
    from scipy.spatial import KDTree

    if len(signatures) < 2:
        return []
    light, chroma, aspect = _thumbnails(signatures)
    deviation = light.std(1)
    rows = np.flatnonzero(deviation >= MIN_STD)
    if len(rows) < 2:
        return []
    normal = (light - light.mean(1, keepdims=True)) / (deviation[:, None] + NOISE)
    _, basis = np.linalg.eigh(normal[rows].T @ normal[rows])
    points = normal[rows] @ basis[:, -COMPONENTS:]
    radius = SIDE * MAX_RMS  # of thumbnails, so that their projections are no farther apart
    _, neighbours = KDTree(points).query(points, min(NEIGHBOURS, len(rows)), distance_upper_bound=radius)
    a, b = (
        np.repeat(rows, neighbours.shape[1]),
        np.append(rows, -1)[neighbours.ravel()],
    )  # -1 where there is none
    a, b = a[a < b], b[a < b]
    found: list[tuple[int, int]] = []
    for start in range(0, len(a), 10_000):
        i, j = a[start : start + 10_000], b[start : start + 10_000]
        near = np.square(normal[i] - normal[j]).mean(1) <= MAX_RMS**2
        near &= np.abs(light[i] - light[j]).max(1) <= MAX_LEVELS
        near &= np.abs(chroma[i] - chroma[j]).max(1) <= MAX_CHROMA
        near &= np.abs(aspect[i] - aspect[j]) <= MAX_ASPECT
        found += zip(i[near].tolist(), j[near].tolist(), strict=True)
    return found


def _thumbnails(signatures: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lightness (n, SIDE^2), colour (n, 2 CHROMA_SIDE^2), in levels as in JPEG, and shape (n,) of pictures."""
    light = np.empty((len(signatures), SIDE * SIDE), np.float32)
    chroma = np.empty((len(signatures), 2 * CHROMA_SIDE**2), np.float32)
    aspect = np.empty(len(signatures), np.int16)
    cells = (CHROMA_SIDE, SIDE // CHROMA_SIDE)
    for start in range(0, len(signatures), 10_000):
        part = slice(start, start + 10_000)
        data = np.frombuffer(b"".join(signatures[part]), np.uint8).reshape(len(light[part]), -1)
        levels = data[:, :-1].astype(np.float32).reshape(len(data), -1, 3) @ YCBCR.T
        light[part], aspect[part] = levels[..., 0], data[:, -1]
        chroma[part] = levels[..., 1:].reshape(-1, *cells, *cells, 2).mean((2, 4)).reshape(len(data), -1)
    return light, chroma, aspect

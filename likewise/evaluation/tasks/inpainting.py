"""Inpainting: fills of holes in images, beside the true content and that of another prompt.

Shapes: N images of (H, W, C) floats in [-1, 1]; `holes` (N, H, W) bool is True where pixels are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import PIL.Image

from likewise.core.known import sample_masks
from likewise.core.options import validated
from likewise.core.ranges import PositiveInt, RowsToCompare, Seed
from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.evaluation.features.image import edge_features
from likewise.evaluation.metrics import agreement
from likewise.evaluation.metrics.estimate import Estimate, bootstrap
from likewise.evaluation.metrics.kid import kid, kid_reference
from likewise.evaluation.reference import encode_images, rng_of
from likewise.modalities.base import Row

HOLE_COLOUR = "salmon"
MAX_TRAIN_ROWS = 1000  # that are candidates too


def known_pixels_equal(filled: np.ndarray, images: np.ndarray, holes: np.ndarray) -> Estimate:
    """The share of the pixels outside the holes that are exactly equal."""
    same = (filled == images).all(-1)[~holes]
    return Estimate(float(same.mean()), n=len(same))


def hole_rmse(
    filled: np.ndarray, truth: np.ndarray, holes: np.ndarray, *, rng: np.random.Generator
) -> Estimate:
    """Root mean square difference of the pixels in the holes, in [0, 1]; the bootstrap is over images.

    >>> a, hole = np.zeros((4, 2, 2, 1)), np.array([[[True, False], [False, False]]] * 4)
    >>> print(hole_rmse(a, a + 0.5, hole, rng=np.random.default_rng(0)))
    0.25 [0.25, 0.25]
    """
    square = np.where(holes, ((filled - truth) ** 2).mean(-1) / 4, 0).sum((1, 2))
    parts = np.stack([square, holes.sum((1, 2))], 1)
    return bootstrap(lambda p: float(np.sqrt(p[:, 0].sum() / max(p[:, 1].sum(), 1))), parts, rng=rng)


def hole_ranks(
    filled: np.ndarray,
    images: np.ndarray,
    truth: np.ndarray,
    pool: np.ndarray,
    candidates: np.ndarray,
    holes: np.ndarray,
) -> np.ndarray:
    """The rank of the true image among candidates, by the content of the hole alone: (N,).

    Each of them, `truth` (N, H, W, C) and rows `candidates` (N, K) of `pool`, is pasted into the hole of
    `images`, so all agree on the known pixels; rank 1 is nearest to the fill, by edges.
    """
    ranks = []
    for fill, image, true, rows, hole in zip(filled, images, truth, candidates, holes, strict=True):
        pasted = np.where(hole[..., None], np.concatenate([true[None], pool[rows]]), image)
        x = edge_features(np.concatenate([fill[None], pasted]))
        ranks.append(agreement.ranks(x[None, :1], x[1:2], x[2:], np.arange(len(rows))[None]))
    return np.concatenate(ranks)


class InpaintingTask:
    """Held-out rows, a hole in each, and for each the text of another row as a second prompt."""

    @validated
    def __init__(
        self,
        table: Table,
        n: RowsToCompare = 300,
        kind: Literal["box", "random"] = "box",
        *,
        seed: Seed = 0,
        candidates: PositiveInt = 100,
        image: str = "image",
        text: str = "text",
        concept: str = "concept",
    ) -> None:
        """`kind`: a box of half the height and width in the middle, or a mask of training, by (seed, row).

        Ranks are among `candidates` rows, held out or of training, with another concept (or else text) than
        both rows. Raises ValueError for fewer than 4 rows and where all are of one concept, TableError for a
        column that is not there.
        """
        for name in (image, text):
            table.column(name)
        if n < 4:
            raise ValueError(f"n={n}: an evaluation of holes needs at least 4 rows")
        table.require_heldout(4, "an evaluation of holes")
        test = np.sort(rng_of("rows", seed).permutation(len(table.test))[:n])
        self.table, self.image, self.seed = table, image, seed
        self.rows: list[Row] = [table.test[int(i)] for i in test]
        self.images = encode_images(table, image, [row[image] for row in self.rows])
        train = self._rng("train").permutation(len(table.train))[:MAX_TRAIN_ROWS]
        values = table.train.column(image)
        self.pool = np.concatenate(
            [self.images, encode_images(table, image, [values[int(i)] for i in train])]
        )
        self.holes = _centre_boxes(self.images.shape[:3]) if kind == "box" else self._random_masks(test)
        concept = concept if concept in table.kinds else text
        own, other = (
            np.array([str(values[int(i)]) for i in rows], object)
            for values, rows in ((table.test.column(concept), test), (table.train.column(concept), train))
        )
        same = np.equal.outer(own, own)
        if same.all(1).any():
            raise ValueError(
                f"no row can have another's {text}, as all {len(test)} are of one "
                f"{concept}; hold more rows out"
            )
        self.other = agreement.choose_candidates(same, 1, rng=self._rng("other"))[:, 0]
        self.texts = [row[text] for row in self.rows]
        self.other_texts = [self.texts[i] for i in self.other]
        pool = np.concatenate([own, other])
        forbidden = np.equal.outer(own, pool) | np.equal.outer(own[self.other], pool)
        self.candidates = agreement.choose_candidates(forbidden, candidates, rng=self._rng("candidates"))

    def metrics(self, own: Sequence[Any], other: Sequence[Any]) -> dict[str, Estimate]:
        """Of images filled for the rows' own texts, and for the other rows' texts."""
        a, b = (encode_images(self.table, self.image, filled) for filled in (own, other))
        truth = self.images[self.other]
        known = [known_pixels_equal(filled, self.images, self.holes) for filled in (a, b)]
        return {
            "known pixels equal": Estimate(min(k.value for k in known), n=sum(k.n for k in known)),
            "RMSE, own text": hole_rmse(a, self.images, self.holes, rng=self._rng("error")),
            "RMSE, other text": hole_rmse(b, self.images, self.holes, rng=self._rng("error")),
            "KID, own text": self._kid(a),
            "KID, other text": self._kid(b),
            "rank of own, own text": self._rank(a, self.images),
            "rank of other, other text": self._rank(b, truth),
            "rank of other, own text": self._rank(a, truth),
        }

    def real(self) -> dict[str, Estimate]:
        """The real-data reference of the metrics, of training rows, and chance for ranks."""
        n = len(self.rows)
        reference = kid_reference(
            edge_features(self.pool[n:]), edge_features(self.images), n, rng=self._rng("kid")
        )
        median = Estimate(agreement.chance(self.candidates.shape[1])["median rank"])
        return {
            "KID, own text": reference,
            "KID, other text": reference,
            "rank of own, own text": median,
            "rank of other, other text": median,
            "rank of other, own text": median,
        }

    def thumbnails(self, i: int) -> list[PIL.Image.Image]:
        """The image of row i at the size of the column, and the same with its hole in one colour."""
        column = self.table.columns[self.image]
        image = column.decode(column.encode(self.rows[i][self.image])).convert("RGB")
        colour = PIL.Image.new("RGB", image.size, HOLE_COLOUR)
        return [image, PIL.Image.composite(colour, image, PIL.Image.fromarray(self.holes[i]))]

    def _kid(self, filled: np.ndarray) -> Estimate:
        return kid(edge_features(filled), edge_features(self.images), rng=self._rng("kid"), paired=True)

    def _rank(self, filled: np.ndarray, truth: np.ndarray) -> Estimate:
        ranks = hole_ranks(filled, self.images, truth, self.pool, self.candidates, self.holes)
        return bootstrap(np.median, ranks, rng=self._rng("ranks"))

    def _random_masks(self, rows: np.ndarray) -> np.ndarray:
        spec = self.table.columns[self.image].spec
        known = sample_masks({"": spec}, 1.0, Rng(rows.tolist(), "holes", self.seed))[""]
        return ~known.view(-1, *spec.grid).numpy()

    def _rng(self, *key: str) -> np.random.Generator:
        return rng_of("holes", *key, self.seed)


def _centre_boxes(shape: tuple[int, ...]) -> np.ndarray:
    """(N, H, W) bool: a box of half the height and width in the middle."""
    n, height, width = shape
    y, x = np.mgrid[:height, :width]
    inside = (abs(2 * y - height + 1) < height / 2) & (abs(2 * x - width + 1) < width / 2)
    return np.broadcast_to(inside, (n, height, width))

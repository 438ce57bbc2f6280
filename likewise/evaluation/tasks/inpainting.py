"""Infilling: what a model draws into the hole of a picture, beside what was there, or what was asked for.

Legend: N pictures of (H, W, C) floats in [-1, 1]; `holes` (N, H, W) bool is True where was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import PIL.Image

from likewise.core.known import sample_masks
from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.evaluation.features.image import edge_features
from likewise.evaluation.metrics import agreement
from likewise.evaluation.metrics.estimate import Estimate, bootstrap
from likewise.evaluation.metrics.kid import kid, kid_floor
from likewise.evaluation.reference import pictures_of, rng_of
from likewise.modalities.base import Row

PAINT = "salmon"  # of a hole that is shown
TRAIN = 1000  # training rows, at most, that are candidates as well


def kept(filled: np.ndarray, given: np.ndarray, holes: np.ndarray) -> Estimate:
    """The share of the pixels outside the holes that are as they were given, to the last digit."""
    same = (filled == given).all(-1)[~holes]
    return Estimate(float(same.mean()), n=len(same))


def error(filled: np.ndarray, truth: np.ndarray, holes: np.ndarray, *, rng: np.random.Generator) -> Estimate:
    """Root mean square difference of the pixels in the holes, in [0, 1]; the bootstrap is over pictures.

    >>> a, hole = np.zeros((4, 2, 2, 1)), np.array([[[True, False], [False, False]]] * 4)
    >>> print(error(a, a + 0.5, hole, rng=np.random.default_rng(0)))
    0.25 [0.25, 0.25]
    """
    square = np.where(holes, ((filled - truth) ** 2).mean(-1) / 4, 0).sum((1, 2))
    parts = np.stack([square, holes.sum((1, 2))], 1)
    return bootstrap(lambda p: float(np.sqrt(p[:, 0].sum() / max(p[:, 1].sum(), 1))), parts, rng=rng)


def ranks(
    filled: np.ndarray,
    given: np.ndarray,
    asked: np.ndarray,
    pool: np.ndarray,
    candidates: np.ndarray,
    holes: np.ndarray,
) -> np.ndarray:
    """The place of the picture that was asked for among candidates, seen from the hole alone: (N,).

    Each picture, `asked` (N, H, W, C) and rows `candidates` (N, K) of `pool`, is put into the hole of what is
    given, so all of them agree on what was known; the nearest to what was filled in, by edges, is at 1.
    """
    found = []
    for fill, own, true, rows, hole in zip(filled, given, asked, candidates, holes, strict=True):
        shown = np.where(hole[..., None], np.concatenate([true[None], pool[rows]]), own)
        x = edge_features(np.concatenate([fill[None], shown]))
        found.append(agreement.ranks(x[None, :1], x[1:2], x[2:], np.arange(len(rows))[None]))
    return np.concatenate(found)


class Holes:
    """Rows held out, a hole in each, and for each the text of another row that is to be asked for as well."""

    def __init__(
        self,
        table: Table,
        n: int = 300,
        kind: Literal["box", "random"] = "box",
        *,
        seed: int = 0,
        candidates: int = 100,
        picture: str = "image",
        text: str = "text",
        concept: str = "concept",
    ) -> None:
        """`kind`: the middle of half the height and width, or what `masks.draw_masks` hides, by (seed, row).

        Ranks are among `candidates` rows, held out or of training, none of the concept (or else the text) of
        the two that are asked for. Raises ValueError for fewer than 4 rows and where all are of one concept,
        TableError for a column that is not there.
        """
        for name in (picture, text):
            table.column(name)
        if min(n, len(table.test)) < 4:
            raise ValueError(
                f"the table holds out {len(table.test)} rows, n={n}, and holes need at least 4; "
                "open it with a larger holdout, or bring more rows"
            )
        chosen = np.sort(rng_of("rows", seed).permutation(len(table.test))[:n])
        self.table, self.picture, self.seed = table, picture, seed
        self.rows: list[Row] = [table.test[int(i)] for i in chosen]
        self.given = pictures_of(table, picture, [row[picture] for row in self.rows])
        few = self._rng("train").permutation(len(table.train))[:TRAIN]
        train = table.train.column(picture)
        self.pool = np.concatenate([self.given, pictures_of(table, picture, [train[int(i)] for i in few])])
        self.holes = _middle(self.given.shape[:3]) if kind == "box" else self._random(chosen)
        named = concept if concept in table.kinds else text
        about, others = (
            np.array([str(values[int(i)]) for i in rows], object)
            for values, rows in ((table.test.column(named), chosen), (table.train.column(named), few))
        )
        same = np.equal.outer(about, about)
        if same.all(1).any():
            raise ValueError(
                f"no row can be asked for another's {text}, as all {len(chosen)} are of one "
                f"{named}; hold more rows out"
            )
        self.other = agreement.choose_candidates(same, 1, rng=self._rng("other"))[:, 0]
        self.texts = [row[text] for row in self.rows]
        self.other_texts = [self.texts[i] for i in self.other]
        every = np.concatenate([about, others])
        forbidden = np.equal.outer(about, every) | np.equal.outer(about[self.other], every)
        self.candidates = agreement.choose_candidates(forbidden, candidates, rng=self._rng("candidates"))

    def measures(self, own: Sequence[Any], other: Sequence[Any]) -> dict[str, Estimate]:
        """Of pictures filled in for the rows' own texts, and for the other rows' texts."""
        a, b = (pictures_of(self.table, self.picture, drawn) for drawn in (own, other))
        asked = self.given[self.other]
        known = [kept(filled, self.given, self.holes) for filled in (a, b)]
        return {
            "known pixels equal": Estimate(min(k.value for k in known), n=sum(k.n for k in known)),
            "RMSE, own text": error(a, self.given, self.holes, rng=self._rng("error")),
            "RMSE, other text": error(b, self.given, self.holes, rng=self._rng("error")),
            "KID, own text": self._kid(a),
            "KID, other text": self._kid(b),
            "rank of own, own text": self._rank(a, self.given),
            "rank of other, other text": self._rank(b, asked),
            "rank of other, own text": self._rank(a, asked),
        }

    def before(self, i: int) -> list[PIL.Image.Image]:
        """Row i as the model sees it, and the same with its hole painted."""
        column = self.table.columns[self.picture]
        whole = column.decode(column.encode(self.rows[i][self.picture])).convert("RGB")
        paint = PIL.Image.new("RGB", whole.size, PAINT)
        return [whole, PIL.Image.composite(paint, whole, PIL.Image.fromarray(self.holes[i]))]

    def real(self) -> dict[str, Estimate]:
        """What the measures are of training rows as they are, and by chance."""
        n = len(self.rows)
        floor = kid_floor(edge_features(self.pool[n:]), edge_features(self.given), n, rng=self._rng("kid"))
        middle = Estimate(agreement.chance(self.candidates.shape[1])["median rank"])
        return {
            "KID, own text": floor,
            "KID, other text": floor,
            "rank of own, own text": middle,
            "rank of other, other text": middle,
            "rank of other, own text": middle,
        }

    def _kid(self, filled: np.ndarray) -> Estimate:
        return kid(edge_features(filled), edge_features(self.given), rng=self._rng("kid"), paired=True)

    def _rank(self, filled: np.ndarray, asked: np.ndarray) -> Estimate:
        found = ranks(filled, self.given, asked, self.pool, self.candidates, self.holes)
        return bootstrap(np.median, found, rng=self._rng("ranks"))

    def _random(self, chosen: np.ndarray) -> np.ndarray:
        spec = self.table.columns[self.picture].spec
        known = sample_masks({"": spec}, 1.0, Rng(chosen.tolist(), "holes", self.seed))[""]
        return ~known.view(-1, *spec.grid).numpy()

    def _rng(self, *key: str) -> np.random.Generator:
        return rng_of("holes", *key, self.seed)


def _middle(shape: tuple[int, ...]) -> np.ndarray:
    """(N, H, W) bool: a box of half the height and width in the middle."""
    n, height, width = shape
    y, x = np.mgrid[:height, :width]
    inside = (abs(2 * y - height + 1) < height / 2) & (abs(2 * x - width + 1) < width / 2)
    return np.broadcast_to(inside, (n, height, width))

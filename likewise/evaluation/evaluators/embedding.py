"""Alignment: a model that embeds columns, put to rows held out; and the same as a judge of samples."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from likewise.core.formula import View
from likewise.data.table import Table
from likewise.evaluation.metrics import retrieval
from likewise.evaluation.metrics.estimate import Estimate
from likewise.evaluation.reference import ReferenceSet, rng_of
from likewise.evaluation.report import MetricResult, Report
from likewise.modalities.base import Row
from likewise.modalities.latent import is_embedding
from likewise.models.model import Model
from likewise.training.loss import heldout_loss


def evaluate_embedding(
    model: Model, table: Table, *, n: int = 500, seed: int = 0, concept: str = "concept"
) -> Report:
    """Retrieval between the columns of a model on at most `n` rows of `table.test`, and classification.

    Rows of one `concept`, where the table has such a column, are right answers for one another. Raises
    ValueError if fewer than 2 rows are held out.
    """
    if n < 2 or len(table.test) < 2:
        raise ValueError(
            f"the table holds out {len(table.test)} rows, n={n}, and evaluation needs at least "
            "2; open it with a larger holdout, or bring more rows"
        )
    ground = ReferenceSet.choose(table, model.formula, n, 1, seed)
    held = {c: ground.test_values(c) for c in model.targets}
    side = EmbeddedRows(
        model, held, np.array(ground.test_values(concept)) if concept in table.kinds else None, seed
    )
    count = len(ground.rows)
    loss = Estimate(heldout_loss(model, table, rows=count, seed=seed), n=count)
    lines = [
        MetricResult(
            "held-out loss",
            loss,
            note="comparable between models of one formula and objective only, "
            "on as many rows: the wrong answers of a row are the rows beside it",
        )
    ]
    labels = [c for c in model.targets if table.columns[c].role == "class"]
    for asked, wanted in itertools.permutations(model.targets, 2):
        if wanted in labels:
            lines.append(side.classification(asked, wanted))
        elif asked not in labels:
            lines += side.retrieved(asked, wanted)
    lines += [side.cosine(a, b) for a, b in itertools.combinations(model.targets, 2)]
    notes = [f"from {c} nothing is retrieved, as a class has many rows" for c in labels]
    return Report(
        formula=str(model.formula),
        data=table.source,
        n=count,
        draws=0,
        seed=seed,
        sampling_options={},
        results=tuple(lines),
        notes=tuple(notes),
    )


class EmbeddedRows:
    """Rows as a model embeds them, each different value of a column once."""

    def __init__(
        self, model: Model, rows: dict[str, Sequence[object]], concepts: np.ndarray | None, seed: int
    ) -> None:
        """`rows` column -> N values; `concepts` (N,), if any, says which rows are about the same."""
        self.model, self.rows, self.seed = model, rows, seed
        tokens = {c: model.encode(c, v) for c, v in rows.items()}
        self.u = {c: model.embed(c, x).numpy() for c, x in tokens.items()}
        self.ids = {c: distinct(x) for c, x in tokens.items()}
        count = len(next(iter(self.ids.values())))
        self.about = None if concepts is None else np.unique(concepts, return_inverse=True)[1]
        self.link = np.arange(count) if self.about is None else self.about

    def right(self, a: str, b: str) -> np.ndarray:
        """Which values of b belong to which of a, by a row or by a concept that has both: (Q, M) bool."""
        of = []
        for c in (a, b):
            table = np.zeros((self.ids[c].max() + 1, self.link.max() + 1), np.float32)
            table[self.ids[c], self.link] = 1
            of.append(table)
        return of[0] @ of[1].T > 0

    def retrieved(self, a: str, b: str) -> list[MetricResult]:
        """Values of b, found from those of a."""
        right, (first, other) = self.right(a, b), (self._first(c) for c in (a, b))
        found = retrieval.ranks(self.u[a][first], self.u[b][other], right)
        groups = (self.ids[b] if self.about is None else self.about)[first]
        blind = retrieval.chance(right)
        note = (
            f"from each different {a}, of {len(first):,}, the nearest right {b} among the wrong ones of "
            f"{len(other):,} different; on average {right.sum(1).mean():.3g} are right"
        )
        return [
            MetricResult(
                f"{b} from {a}: {metric}",
                value,
                chance=blind[metric],
                better="lower" if "rank" in metric else "higher",
                note=note if metric == "median rank" else "",
            )
            for metric, value in retrieval.summarise(found, groups, rng=self._rng(a, b)).items()
        ]

    def classification(self, a: str, label: str) -> MetricResult:
        """The class whose vector is nearest to each row's in column a."""
        classes = self.model.columns[label].classes
        said = retrieval.classified(self.u[a], self.model.embed(label, classes).numpy())
        number = {name: i for i, name in enumerate(classes)}
        true = np.array([number[str(v)] for v in self.rows[label]])
        often = float(np.bincount(true).max() / len(true))
        return MetricResult(
            f"{label} from {a}: accuracy",
            retrieval.accuracy(said == true, self.link, rng=self._rng(a, label)),
            chance=often,
            better="higher",
            note=f"how often the nearest of {len(classes)} classes is the "
            f"row's own; chance: the most frequent {label}",
        )

    def cosine(self, a: str, b: str) -> MetricResult:
        """Of two columns of one row."""
        value = retrieval.clip_score(self.u[a], self.u[b], self.link, rng=self._rng("cosine", a, b))
        return MetricResult(
            f"{a}, {b}: cosine",
            value,
            chance=self.floor(a, b),
            better="higher",
            note="of two columns of a row; chance: of different rows",
        )

    def floor(self, a: str, b: str) -> float | None:
        """The mean cosine of values of a and b that do not belong together, if there are any."""
        return retrieval.clip_floor(self.u[a], self.u[b], self.right(a, b)[self.ids[a]][:, self.ids[b]])

    def _first(self, column: str) -> np.ndarray:
        """The first row that has each different value."""
        return np.unique(self.ids[column], return_index=True)[1]

    def _rng(self, *key: str) -> np.random.Generator:
        return rng_of(*key, self.seed)


class ClipScores:
    """How near to each other a contrastive model places the columns of a sample, and those of real rows."""

    def __init__(self, clip: Model, ground: ReferenceSet) -> None:
        """Raises ValueError if `clip` embeds nothing, or no target beside another column of the formula."""
        clip.require_embedding()
        self.clip, self.reference = clip, ground
        self.names = {c: name for c in clip.targets if (name := _shown(c, ground)) is not None}
        every = itertools.combinations(self.names, 2)
        self.pairs = [pair for pair in every if {self.names[c] for c in pair} & set(ground.targets)]
        if not self.pairs:
            raise ValueError(
                f"a clip model of {str(clip.formula)!r} says nothing of "
                f"{str(ground.formula)!r}: it must align a target with another column"
            )
        self.real = EmbeddedRows(
            clip, {c: self._real(name) for c, name in self.names.items()}, None, ground.seed
        )

    def results(self, drawn: Sequence[Row]) -> list[MetricResult]:
        """Of samples, `draws` for each row held out, beside real rows and samples for other rows."""
        rows = np.repeat(np.arange(len(self.reference.rows)), self.reference.draws)
        values = {c: [row[name] for row in drawn] for c, name in self.names.items()}
        ours = EmbeddedRows(self.clip, values, rows, self.reference.seed)
        return [
            MetricResult(
                f"{self.names[a]}, {self.names[b]}: CLIP score",
                ours.cosine(a, b).value,
                self.real.cosine(a, b).value,
                chance=ours.floor(a, b),
                better="higher",
                heading="CLIP score",
                note=f"cosine of {a} and {b} as a contrastive model embeds them; chance: of different rows",
            )
            for a, b in self.pairs
        ]

    def _real(self, name: str) -> list[object]:
        """The values of real rows, of a size that is drawn at that size."""
        values, column = self.reference.test_values(name), self.reference.table.columns[name]
        return column.decode_all(column.encode_all(values)) if View.parse(name).options else list(values)


def overlap_notes(clip: Mapping[str, Any], table: Table) -> list[str]:
    """What a reader should know of the rows that a clip model learned from, by the `data` of its run."""
    own = {**(table.reopen_args() if table.source else {"source": None}), "fingerprint": table.fingerprint}
    for name in ("source", "fingerprint", "holdout", "by", "pairs"):
        if clip.get(name) != own.get(name):
            return [
                f"the clip model was trained with {name} {clip.get(name)} and the rows here have "
                f"{own.get(name)}, so it may have learned from rows that are held out here"
            ]
    return []


def _shown(column: str, ground: ReferenceSet) -> str | None:
    """The target, else the source, whose values are those of a column: itself, or a view of it."""
    own, known = View.parse(column).column, ground.table.columns
    return next(
        (
            name
            for name in (*ground.targets, *ground.sources)
            if View.parse(name).column == own and not is_embedding(known[name])
        ),
        None,
    )


def distinct(tokens: Tensor) -> np.ndarray:
    """Numbers (N,) that are equal where encoded values (N, T, ...) are."""
    return np.unique(tokens.cpu().flatten(1).numpy(), axis=0, return_inverse=True)[1].reshape(-1)

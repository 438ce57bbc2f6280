"""Metrics of models that embed columns, and CLIP scores: such a model as a metric of samples."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from likewise.core.options import validated
from likewise.core.ranges import RowsToCompare, Seed
from likewise.data.table import Table
from likewise.evaluation.metrics import retrieval
from likewise.evaluation.metrics.estimate import Estimate
from likewise.evaluation.reference import ReferenceSet, class_ids, class_names, rng_of
from likewise.evaluation.report import MetricResult, Report
from likewise.modalities.base import Row
from likewise.modalities.latent import is_embedding
from likewise.models.model import Model
from likewise.training.loss import heldout_loss


@validated
def evaluate_embedding(
    model: Model, table: Table, *, n: RowsToCompare = 500, seed: Seed = 0, concept: str = "concept"
) -> Report:
    """Retrieval between the columns of a model on at most `n` rows of `table.test`, and classification.

    Rows of the same `concept`, where the table has such a column, are relevant to one another. Raises
    ValueError if fewer than 2 rows are held out.
    """
    table.require_heldout(2, "evaluation")
    table = table.with_values(model.formula.columns)
    reference = ReferenceSet.choose(table, model.formula, n, 1, seed)
    values = {c: reference.test_values(c) for c in model.targets}
    concepts = np.array(reference.test_values(concept)) if concept in table.kinds else None
    rows = EmbeddedRows(model, values, concepts, seed)
    count = len(reference.test_indices)
    loss = Estimate(heldout_loss(model, table, rows=count, seed=seed), n=count)
    results = [
        MetricResult(
            "held-out loss",
            loss,
            note="comparable between models of one formula and objective only, "
            "on as many rows: the negatives of a row are the rows of its batch",
        )
    ]
    classes = [c for c in model.targets if table.columns[c].role == "class"]
    for query, target in itertools.permutations(model.targets, 2):
        if target in classes:
            results.append(rows.classification(query, target))
        elif query not in classes:
            results += rows.retrieval(query, target)
    results += [rows.cosine(a, b) for a, b in itertools.combinations(model.targets, 2)]
    return Report(
        formula=str(model.formula),
        data=table.source,
        n=count,
        draws=0,
        seed=seed,
        sampling_options={},
        results=tuple(results),
        notes=tuple(f"retrieval from {c} is not measured, as a class has many rows" for c in classes),
    )


class EmbeddedRows:
    """Rows as a model embeds them; equal values of a column are one query and one candidate."""

    def __init__(
        self, model: Model, rows: Mapping[str, Sequence[Any]], concepts: np.ndarray | None, seed: int
    ) -> None:
        """`rows` column -> N values; `concepts` (N,), if any: equal ones are relevant to one another."""
        self.model, self.rows, self.seed = model, rows, seed
        tokens = {c: model.encode(c, v) for c, v in rows.items()}
        self.vectors = {c: model.embed(c, x).numpy() for c, x in tokens.items()}
        self.ids = {c: unique_ids(x) for c, x in tokens.items()}
        count = len(next(iter(self.ids.values())))
        self.concepts = None if concepts is None else np.unique(concepts, return_inverse=True)[1]
        self.groups = np.arange(count) if self.concepts is None else self.concepts

    def relevant(self, a: str, b: str) -> np.ndarray:
        """Which values of b belong to which of a, by a row or a concept that has both: (Q, M) bool."""
        tables = []
        for c in (a, b):
            table = np.zeros((self.ids[c].max() + 1, self.groups.max() + 1), np.float32)
            table[self.ids[c], self.groups] = 1
            tables.append(table)
        return tables[0] @ tables[1].T > 0

    def retrieval(self, a: str, b: str) -> list[MetricResult]:
        """Values of b retrieved by those of a."""
        relevant, (queries, candidates) = self.relevant(a, b), (self._unique_rows(c) for c in (a, b))
        ranks = retrieval.ranks(self.vectors[a][queries], self.vectors[b][candidates], relevant)
        groups = (self.ids[b] if self.concepts is None else self.concepts)[queries]
        chance = retrieval.chance(relevant)
        note = (
            f"for each distinct {a}, of {len(queries):,}, the nearest relevant {b} among the others of "
            f"{len(candidates):,} distinct; on average {relevant.sum(1).mean():.3g} are relevant"
        )
        return [
            MetricResult(
                f"{b} from {a}: {metric}",
                value,
                chance=chance[metric],
                better="lower" if "rank" in metric else "higher",
                note=note if metric == "median rank" else "",
            )
            for metric, value in retrieval.summarise(ranks, groups, rng=self._rng(a, b)).items()
        ]

    def classification(self, a: str, label: str) -> MetricResult:
        """The class whose vector is nearest to that of each row in column a."""
        column = self.model.columns[label]
        classes = class_names(column)
        predicted = retrieval.nearest_class(self.vectors[a], self.model.embed(label, classes).numpy())
        truth = class_ids(column, self.rows[label])
        return MetricResult(
            f"{label} from {a}: accuracy",
            retrieval.accuracy(predicted == truth, self.groups, rng=self._rng(a, label)),
            chance=float(np.bincount(truth).max() / len(truth)),
            better="higher",
            note=f"how often the nearest of {len(classes)} classes is the "
            f"true one; chance: the most frequent {label}",
        )

    def cosine(self, a: str, b: str) -> MetricResult:
        """Of two columns of one row."""
        rng = self._rng("cosine", a, b)
        return MetricResult(
            f"{a}, {b}: cosine",
            retrieval.clip_score(self.vectors[a], self.vectors[b], self.groups, rng=rng),
            chance=self.cosine_chance(a, b),
            better="higher",
            note="of two columns of a row; chance: of different rows",
        )

    def cosine_chance(self, a: str, b: str) -> float | None:
        """The mean cosine of values of a and b that do not belong together, if there are any."""
        relevant = self.relevant(a, b)[self.ids[a]][:, self.ids[b]]
        return retrieval.clip_score_chance(self.vectors[a], self.vectors[b], relevant)

    def _unique_rows(self, column: str) -> np.ndarray:
        """The first row of each distinct value."""
        return np.unique(self.ids[column], return_index=True)[1]

    def _rng(self, *key: str) -> np.random.Generator:
        return rng_of(*key, self.seed)


class ClipScores:
    """The similarity of the columns of a sample in the space of a contrastive model, beside real rows."""

    def __init__(self, clip: Model, reference: ReferenceSet) -> None:
        """Raises ValueError if `clip` embeds nothing, or no target together with another column of the formula."""
        clip.require_embedding()
        self.clip, self.reference = clip, reference
        self.names = {
            c: name
            for c in clip.targets
            if (name := _matching_column(clip.formula.view(c).column, reference)) is not None
        }
        pairs = itertools.combinations(self.names, 2)
        self.pairs = [pair for pair in pairs if {self.names[c] for c in pair} & set(reference.targets)]
        if not self.pairs:
            raise ValueError(
                f"a clip model of {str(clip.formula)!r} does not measure "
                f"{str(reference.formula)!r}: it must align a target with another column"
            )
        values = {c: self._real_values(name) for c, name in self.names.items()}
        self.real = EmbeddedRows(clip, values, None, reference.seed)

    def results(self, samples: Sequence[Row]) -> list[MetricResult]:
        """Of samples, `draws` for each test row, beside real rows and samples for other rows."""
        groups = np.repeat(np.arange(len(self.reference.test_indices)), self.reference.draws)
        values = {c: [row[name] for row in samples] for c, name in self.names.items()}
        rows = EmbeddedRows(self.clip, values, groups, self.reference.seed)
        return [
            MetricResult(
                f"{self.names[a]}, {self.names[b]}: CLIP score",
                rows.cosine(a, b).value,
                self.real.cosine(a, b).value,
                chance=rows.cosine_chance(a, b),
                better="higher",
                heading="CLIP score",
                note=f"cosine of {a} and {b} as a contrastive model embeds them; chance: of different rows",
            )
            for a, b in self.pairs
        ]

    def _real_values(self, name: str) -> list[Any]:
        """The values of real rows, at the size of the samples if the column is a view of another size."""
        values, column = self.reference.test_values(name), self.reference.table.columns[name]
        return (
            column.decode_all(column.encode_all(values))
            if self.reference.formula.view(name).options
            else list(values)
        )


def overlap_notes(clip: Mapping[str, Any], table: Table) -> list[str]:
    """Notes on whether a clip model may have been trained on test rows, by the `data` of its run."""
    data = {**(table.reopen_args() if table.source else {"source": None}), "fingerprint": table.fingerprint}
    for name in ("source", "fingerprint", "holdout", "by", "pairs", "near_copies"):
        if clip.get(name) != data.get(name):
            return [
                f"the clip model was trained with {name} {clip.get(name)} and the rows here have "
                f"{data.get(name)}, so its training rows may include rows that are held out here"
            ]
    return []


def _matching_column(column: str, reference: ReferenceSet) -> str | None:
    """The target, else the source, with the values of a column: itself, or a view of it."""
    names = (view.name for view in reference.formula.views if view.column == column)
    return next((name for name in names if not is_embedding(reference.table.columns[name])), None)


def unique_ids(tokens: Tensor) -> np.ndarray:
    """Numbers (N,) that are equal where encoded values (N, T, ...) are."""
    return np.unique(tokens.cpu().flatten(1).numpy(), axis=0, return_inverse=True)[1].reshape(-1)

"""ImageMetrics: one column of images, by features, by a classifier of its labels, by the rank for its texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likewise.evaluation.evaluators.base import copy_metrics
from likewise.evaluation.features.image import edge_features, pixel_features, random_conv_features
from likewise.evaluation.features.values import copy_distance
from likewise.evaluation.metrics import agreement
from likewise.evaluation.metrics.estimate import Estimate, share
from likewise.evaluation.reference import FeatureSpace, ReferenceSet, measured, pair, pictures_of
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row
from likewise.modalities.latent import base_of


class ImageMetrics:
    """One column of pictures."""

    def __init__(
        self, ground: ReferenceSet, column: str, candidates: int, concept: str, *, main: bool, alone: bool
    ) -> None:
        """`main`: its lines have heads; `alone`: so has its two-sample test, as there is no joint one."""
        self.reference, self.column, self.main, self.alone = ground, column, main, alone
        self.notes: list[str] = []
        self.pixels = base_of(ground.table.columns[column])
        if len(ground.reference) < len(ground.table.train):
            self.notes.append(
                f"{column} is held against {len(ground.reference)} training rows of {len(ground.table.train)}"
            )
        train = self.train = pictures_of(ground.table, column, ground.train_values(column))  # (M, H, W, C)
        test = self.test = pictures_of(ground.table, column, ground.test_values(column))  # (N, H, W, C)
        self.spaces = {
            space: FeatureSpace(f"{column} {space.__name__}", ground, space(train), space(test))
            for space in (edge_features, random_conv_features, pixel_features)
        }
        others = [c for c in ground.columns if c != column]
        kinds, columns = ground.table.kinds, ground.table.columns
        self.labels = [LabelAccuracy(self, c) for c in others if columns[c].role == "class"]
        concept = concept if concept in kinds else ""
        told = [c for c in others if columns[c].role == "prompt" and c in ground.sources]
        self.texts = [TextRank(self, c, candidates, concept or c) for c in told]
        self.notes += [
            f"the agreement of {column} with {c} ({kinds[c]}) is not measured"
            for c in others
            if columns[c].role != "class" and c not in told
        ]

    @property
    def real(self) -> np.ndarray:
        return self.spaces[edge_features].test

    def features(self, drawn: Sequence[Row]) -> np.ndarray:
        return edge_features(self._encoded(drawn))

    def _encoded(self, drawn: Sequence[Row]) -> np.ndarray:
        return pictures_of(self.reference.table, self.column, [row[self.column] for row in drawn])

    def results(self, drawn: Sequence[Row]) -> list[MetricResult]:
        images = self._encoded(drawn)
        first, name = images[:: self.reference.draws], self.column
        found = {space: space(first) for space in self.spaces}
        lines = []
        for space in (edge_features, random_conv_features):
            lines += measured(self.spaces[space], found[space], name, f" of {space.__name__}", self.main)
        lines += pair(self.spaces[edge_features], found[edge_features], name, self.main)
        value, real = self.spaces[pixel_features].c2st(found[pixel_features])
        lines.append(
            MetricResult(
                f"{name}: C2ST",
                value,
                real,
                chance=0.5,
                heading="C2ST" * (self.main and self.alone),
                note="how often boosted trees take a sample, and not a real row, for the sample",
            )
        )
        lines += copy_metrics(
            self.spaces[pixel_features], found[pixel_features], name, self.main, copy_distance(self.pixels)
        )
        for reader in self.labels:
            lines.append(reader.line(first, drawn[:: self.reference.draws]))
        for finder in self.texts:
            lines += finder.results(images)
        return lines


class LabelAccuracy:
    """How often a classifier sees in a sample the label that it was drawn for, or with."""

    def __init__(self, images: ImageMetrics, label: str) -> None:
        self.images, self.label = images, label
        ground = images.reference
        self.names = ground.table.columns[label].classes
        kept, true = (self._numbers(v) for v in (ground.train_values(label), ground.test_values(label)))
        self.classify = agreement.Classifier(images.train, kept, len(self.names), seed=ground.seed)
        self.real = share(self.classify(images.test) == true)

    def line(self, first: np.ndarray, drawn: Sequence[Row]) -> MetricResult:
        """The line for images (N, H, W, C) and their rows."""
        said = self._numbers([row[self.label] for row in drawn])
        often = float(np.bincount(said).max() / len(said))
        return MetricResult(
            f"{self.images.column} ~ {self.label}: accuracy",
            share(self.classify(first) == said),
            self.real,
            None,
            often,
            "higher",
            f"of a classifier that learned from training rows; chance: the most frequent {self.label}",
            heading=f"{self.label} read" * self.images.main,
        )

    def _numbers(self, labels: Sequence[object]) -> np.ndarray:
        number = {name: i for i, name in enumerate(self.names)}
        return np.array([number[str(label)] for label in labels])


class TextRank:
    """The rank of the true image, seen from the samples for its text, and from the baseline's image."""

    def __init__(self, images: ImageMetrics, text: str, candidates: int, concept: str) -> None:
        self.images, self.text, self.concept = images, text, concept
        ground, self.name = images.reference, f"{images.column} ~ {text}"
        (asked, told), (own, others) = self._strings(text), self._strings(concept)
        kept = told[: len(images.train)]
        shown = agreement.nearest_caption(asked, kept, rng=ground.rng(self.name, "baseline"))
        forbidden = np.equal.outer(asked, told) | np.equal.outer(own, others)
        forbidden[np.arange(len(shown)), shown] = True  # else the baseline would rank what it shows first
        rng = ground.rng(self.name, "candidates")
        self.rivals = agreement.choose_candidates(forbidden, candidates, rng=rng)
        space = images.spaces[edge_features]
        self.truth, self.pool = space.test, np.concatenate([space.train, space.test])
        if self.rivals.shape[1]:
            self.baseline = self._summary(self.pool[shown, None])
        else:
            images.notes.append(
                f"the agreement of {self.name} is not measured: no image is of another {concept}"
            )

    def results(self, drawn: np.ndarray) -> list[MetricResult]:
        """The lines for images (N * draws, H, W, C)."""
        count = self.rivals.shape[1]
        if not count:
            return []
        ours = self._summary(edge_features(drawn).reshape(len(self.truth), self.images.reference.draws, -1))
        blind = agreement.chance(count)
        note = (
            f"of the true image among {count:,} others, training and held-out, none of its own "
            f"{self.concept}, by distance of edges to the sample; baseline: the training image whose "
            f"{self.text} shares most words"
        )
        return [
            MetricResult(
                f"{self.name}: {metric}",
                ours[metric],
                None,
                self.baseline[metric],
                blind[metric],
                "lower" if "rank" in metric else "higher",
                note if metric == "mean rank" else "",
                heading="true one in top 10" * (self.images.main and metric == "in top 10"),
            )
            for metric in ours
        ]

    def _summary(self, drawn: np.ndarray) -> dict[str, Estimate]:
        ranks = agreement.ranks(drawn, self.truth, self.pool, self.rivals)
        return agreement.summarise(ranks, rng=self.images.reference.rng(self.name))

    def _strings(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """The values of the rows, (N,), and of all at hand, training rows first, (M + N,); as strings."""
        held, kept = (
            [str(v) for v in values]
            for values in (
                self.images.reference.test_values(column),
                self.images.reference.train_values(column),
            )
        )
        return np.array(held, object), np.array(kept + held, object)

"""ImageMetrics: a column of images, by features, by a classifier of labels, by the rank for texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from likewise.evaluation.evaluators.base import (
    c2st_result,
    copy_results,
    density_coverage_results,
    distance_results,
)
from likewise.evaluation.features.image import edge_features, pixel_features, random_conv_features
from likewise.evaluation.features.values import copy_distance
from likewise.evaluation.metrics import agreement
from likewise.evaluation.metrics.estimate import Estimate, share
from likewise.evaluation.reference import FeatureSpace, ReferenceSet, class_ids, encode_images
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row
from likewise.modalities.latent import base_of

FEATURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "edges": edge_features,
    "random_conv": random_conv_features,
    "pixels": pixel_features,
}


class ImageMetrics:
    """The metrics of one column of images."""

    def __init__(
        self, reference: ReferenceSet, column: str, candidates: int, concept: str, *, main: bool, alone: bool
    ) -> None:
        """`main`: its results have headings; `alone`: its C2ST has one too, as there is no joint one."""
        self.reference, self.column, self.main, self.alone = reference, column, main, alone
        self.notes: list[str] = []
        table = reference.table
        if len(reference.train_indices) < len(table.train):
            self.notes.append(
                f"{column} is compared with {len(reference.train_indices)} of {len(table.train)} training rows"
            )
        train = self.train = self._encode(reference.train_values(column))  # (M, H, W, C)
        test = self.test = self._encode(reference.test_values(column))  # (N, H, W, C)
        self.spaces = {
            name: FeatureSpace(f"{column} {name}", reference, features(train), features(test))
            for name, features in FEATURES.items()
        }
        roles = {c: table.columns[c].role for c in reference.columns if c != column}
        prompts = [c for c in roles if roles[c] == "prompt" and c in reference.sources]
        concept = concept if concept in table.kinds else ""
        self.labels = [LabelAccuracy(self, c) for c in roles if roles[c] == "class"]
        self.texts = [TextRank(self, c, candidates, concept or c) for c in prompts]
        self.notes += [
            f"the agreement of {column} with {c} ({table.kinds[c]}) is not measured"
            for c in roles
            if roles[c] != "class" and c not in prompts
        ]

    @property
    def real(self) -> np.ndarray:
        return self.spaces["edges"].test

    def features(self, samples: Sequence[Row]) -> np.ndarray:
        return edge_features(self._encode([row[self.column] for row in samples]))

    def results(self, samples: Sequence[Row]) -> list[MetricResult]:
        images = self._encode([row[self.column] for row in samples])
        first, name = images[:: self.reference.draws], self.column
        x = {space: features(first) for space, features in FEATURES.items()}
        results = []
        for space in ("edges", "random_conv"):
            results += distance_results(self.spaces[space], x[space], name, self.main, f" of {space}")
        results += density_coverage_results(self.spaces["edges"], x["edges"], name, self.main)
        pixels = self.spaces["pixels"]
        results.append(c2st_result(pixels.c2st(x["pixels"]), name, self.main and self.alone))
        threshold = copy_distance(base_of(self.reference.table.columns[name]))
        results += copy_results(pixels, x["pixels"], name, self.main, threshold)
        results += [label.result(first, samples[:: self.reference.draws]) for label in self.labels]
        return results + [result for text in self.texts for result in text.results(images)]

    def _encode(self, values: Sequence[object]) -> np.ndarray:
        return encode_images(self.reference.table, self.column, values)


class LabelAccuracy:
    """How often a classifier predicts the label of a sample."""

    def __init__(self, images: ImageMetrics, label: str) -> None:
        self.images, self.label = images, label
        reference = images.reference
        self.modality = base_of(reference.table.columns[label])
        train, test = (
            class_ids(self.modality, values)
            for values in (reference.train_values(label), reference.test_values(label))
        )
        classes = self.modality.spec.classes or 0
        self.classifier = agreement.Classifier(images.train, train, classes, seed=reference.seed)
        self.real = share(self.classifier(images.test) == test)

    def result(self, images: np.ndarray, rows: Sequence[Row]) -> MetricResult:
        """The accuracy on images (N, H, W, C), samples of `rows`."""
        labels = class_ids(self.modality, [row[self.label] for row in rows])
        return MetricResult(
            f"{self.images.column} ~ {self.label}: accuracy",
            share(self.classifier(images) == labels),
            self.real,
            chance=float(np.bincount(labels).max() / len(labels)),
            better="higher",
            note=f"of a classifier trained on training rows; chance: the most frequent {self.label}",
            heading=f"{self.label} read" * self.images.main,
        )


class TextRank:
    """The rank of the true image by distance to the samples for its text, and that of the baseline's image."""

    def __init__(self, images: ImageMetrics, text: str, candidates: int, concept: str) -> None:
        self.images, self.text, self.concept = images, text, concept
        reference, self.name = images.reference, f"{images.column} ~ {text}"
        (texts, pool_texts), (concepts, pool_concepts) = self._strings(text), self._strings(concept)
        train_texts = pool_texts[: len(images.train)]
        rng = reference.rng(self.name, "baseline")
        nearest = agreement.nearest_caption(texts.tolist(), train_texts.tolist(), rng=rng)
        forbidden = np.equal.outer(texts, pool_texts) | np.equal.outer(concepts, pool_concepts)
        forbidden[np.arange(len(nearest)), nearest] = True  # else the baseline's own image is a candidate
        rng = reference.rng(self.name, "candidates")
        self.candidates = agreement.choose_candidates(forbidden, candidates, rng=rng)
        space = images.spaces["edges"]
        self.truth, self.pool = space.test, np.concatenate([space.train, space.test])
        if self.candidates.shape[1]:
            self.baseline = self._summary(self.pool[nearest, None])
        else:
            images.notes.append(
                f"the agreement of {self.name} is not measured: no image is of another {concept}"
            )

    def results(self, images: np.ndarray) -> list[MetricResult]:
        """The metrics of samples (N * draws, H, W, C)."""
        count = self.candidates.shape[1]
        if not count:
            return []
        x = edge_features(images).reshape(len(self.truth), self.images.reference.draws, -1)
        summary, chance = self._summary(x), agreement.chance(count)
        note = (
            f"of the true image among {count:,} others, training and held-out, none of its own "
            f"{self.concept}, by distance of edges to the sample; baseline: the training image whose "
            f"{self.text} has most words in common"
        )
        return [
            MetricResult(
                f"{self.name}: {metric}",
                value,
                baseline=self.baseline[metric],
                chance=chance[metric],
                better="lower" if "rank" in metric else "higher",
                note=note if metric == "mean rank" else "",
                heading="true one in top 10" * (self.images.main and metric == "in top 10"),
            )
            for metric, value in summary.items()
        ]

    def _summary(self, samples: np.ndarray) -> dict[str, Estimate]:
        ranks = agreement.ranks(samples, self.truth, self.pool, self.candidates)
        return agreement.summarise(ranks, rng=self.images.reference.rng(self.name))

    def _strings(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Values of the test rows, (N,), and of the pool: training, then test rows, (M + N,); as strings."""
        reference = self.images.reference
        test = [str(v) for v in reference.test_values(column)]
        train = [str(v) for v in reference.train_values(column)]
        return np.array(test, object), np.array(train + test, object)

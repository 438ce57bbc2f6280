"""Judges: each turns the samples of some columns into lines of a report; its real rows are prepared once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from likewise.evaluation import agreement, features
from likewise.evaluation.copies import copies
from likewise.evaluation.estimate import Estimate, share
from likewise.evaluation.ground import Ground, Space, measured, pair, pictures_of
from likewise.evaluation.report import Line
from likewise.modalities import Row

VALUES = ("label", "number", "text", "document")  # kinds that `features.values` knows
SAME = 1e-6, "of the length and the groups of letters of a training row"
COPY = {
    "text": SAME,
    "document": SAME,  # kind -> how near a copy is to a training row, and what that says
    "image": (0.05, "within 2.5 % of the pixels' range of a training row"),
}


class Judge(Protocol):
    """One for each thing that is looked at."""

    notes: list[str]
    real: np.ndarray  # features of the rows held out, in which samples may be held against each other

    def features(self, drawn: Sequence[Row]) -> np.ndarray:
        """The same of samples, (N * draws, F)."""

    def lines(self, drawn: Sequence[Row]) -> list[Line]:
        """What it says of samples, `draws` for each row held out, one after the other."""


def judges(ground: Ground, candidates: int, concept: str) -> tuple[list[Judge], list[str]]:
    """All that can judge the targets of a formula, and of which columns nobody can say anything."""
    kinds = ground.table.kinds
    images = [c for c in ground.targets if kinds[c] == "image"]
    rest = [c for c in ground.targets if kinds[c] in VALUES]
    known = [c for c in ground.columns if kinds[c] in ("image", *VALUES)]
    groups = len(images) + bool(rest)
    joint = groups > 1 or (groups and len(known) > len(ground.targets))
    found: list[Judge] = [
        Images(ground, c, candidates, concept, main=not i, alone=not joint) for i, c in enumerate(images)
    ]
    if rest:
        found.append(Values(ground, rest, main=not images, alone=not joint))
    if joint:
        found.append(Joint(ground, known))
    lost = [c for c in ground.columns if c not in known]
    return found, [f"of {c} ({kinds[c]}) nothing is measured" for c in lost]


class Images:
    """One column of pictures."""

    def __init__(
        self, ground: Ground, column: str, candidates: int, concept: str, *, main: bool, alone: bool
    ) -> None:
        """`main`: its lines have heads; `alone`: so has its two-sample test, as there is no joint one."""
        self.ground, self.column, self.main, self.alone = ground, column, main, alone
        self.notes: list[str] = []
        if len(ground.reference) < len(ground.table.train):
            self.notes.append(
                f"{column} is held against {len(ground.reference)} training rows of {len(ground.table.train)}"
            )
        train = self.train = pictures_of(ground.table, column, ground.kept(column))  # (M, H, W, C)
        test = self.test = pictures_of(ground.table, column, ground.held(column))  # (N, H, W, C)
        self.spaces = {
            space: Space(f"{column} {space.__name__}", ground, space(train), space(test))
            for space in (features.edges, features.random_conv, features.pixels)
        }
        others = [c for c in ground.columns if c != column]
        kinds = ground.table.kinds
        self.labels = [_Reader(self, c) for c in others if kinds[c] == "label"]
        concept = concept if concept in kinds else ""
        told = [c for c in others if kinds[c] == "text" and c in ground.sources]
        self.texts = [_Finder(self, c, candidates, concept or c) for c in told]
        self.notes += [
            f"the agreement of {column} with {c} ({kinds[c]}) is not measured"
            for c in others
            if kinds[c] != "label" and c not in told
        ]

    @property
    def real(self) -> np.ndarray:
        return self.spaces[features.edges].test

    def features(self, drawn: Sequence[Row]) -> np.ndarray:
        return features.edges(self._encoded(drawn))

    def _encoded(self, drawn: Sequence[Row]) -> np.ndarray:
        return pictures_of(self.ground.table, self.column, [row[self.column] for row in drawn])

    def lines(self, drawn: Sequence[Row]) -> list[Line]:
        images = self._encoded(drawn)
        first, name = images[:: self.ground.draws], self.column
        found = {space: space(first) for space in self.spaces}
        lines = []
        for space in (features.edges, features.random_conv):
            lines += measured(self.spaces[space], found[space], name, f" of {space.__name__}", self.main)
        lines += pair(self.spaces[features.edges], found[features.edges], name, self.main)
        value, real = self.spaces[features.pixels].c2st(found[features.pixels])
        lines.append(
            Line(
                f"{name}: C2ST",
                value,
                real,
                chance=0.5,
                head="C2ST" * (self.main and self.alone),
                note="how often boosted trees take a sample, and not a real row, for the sample",
            )
        )
        lines += copied(self.spaces[features.pixels], found[features.pixels], name, self.main)
        for reader in self.labels:
            lines.append(reader.line(first, drawn[:: self.ground.draws]))
        for finder in self.texts:
            lines += finder.lines(images)
        return lines


class _Reader:
    """How often a classifier sees in a sample the label that it was drawn for, or with."""

    def __init__(self, images: Images, label: str) -> None:
        self.images, self.label = images, label
        ground = images.ground
        self.names = ground.table.columns[label].classes
        kept, true = (self._numbers(v) for v in (ground.kept(label), ground.held(label)))
        self.classify = agreement.Classifier(images.train, kept, len(self.names), seed=ground.seed)
        self.real = share(self.classify(images.test) == true)

    def line(self, first: np.ndarray, drawn: Sequence[Row]) -> Line:
        """The line for images (N, H, W, C) and their rows."""
        said = self._numbers([row[self.label] for row in drawn])
        often = float(np.bincount(said).max() / len(said))
        return Line(
            f"{self.images.column} ~ {self.label}: accuracy",
            share(self.classify(first) == said),
            self.real,
            None,
            often,
            "higher",
            f"of a classifier that learned from training rows; chance: the most frequent {self.label}",
            head=f"{self.label} read" * self.images.main,
        )

    def _numbers(self, labels: Sequence[object]) -> np.ndarray:
        number = {name: i for i, name in enumerate(self.names)}
        return np.array([number[str(label)] for label in labels])


class _Finder:
    """The rank of the true image, seen from the samples for its text, and from the baseline's image."""

    def __init__(self, images: Images, text: str, candidates: int, concept: str) -> None:
        self.images, self.text, self.concept = images, text, concept
        ground, self.name = images.ground, f"{images.column} ~ {text}"
        (asked, told), (own, others) = self._strings(text), self._strings(concept)
        kept = told[: len(images.train)]
        shown = agreement.nearest_caption(asked, kept, rng=ground.rng(self.name, "baseline"))
        forbidden = np.equal.outer(asked, told) | np.equal.outer(own, others)
        forbidden[np.arange(len(shown)), shown] = True  # else the baseline would rank what it shows first
        rng = ground.rng(self.name, "candidates")
        self.rivals = agreement.choose_candidates(forbidden, candidates, rng=rng)
        space = images.spaces[features.edges]
        self.truth, self.pool = space.test, np.concatenate([space.train, space.test])
        if self.rivals.shape[1]:
            self.baseline = self._summary(self.pool[shown, None])
        else:
            images.notes.append(
                f"the agreement of {self.name} is not measured: no image is of another {concept}"
            )

    def lines(self, drawn: np.ndarray) -> list[Line]:
        """The lines for images (N * draws, H, W, C)."""
        count = self.rivals.shape[1]
        if not count:
            return []
        ours = self._summary(features.edges(drawn).reshape(len(self.truth), self.images.ground.draws, -1))
        blind = agreement.chance(count)
        note = (
            f"of the true image among {count:,} others, training and held-out, none of its own "
            f"{self.concept}, by distance of edges to the sample; baseline: the training image whose "
            f"{self.text} shares most words"
        )
        return [
            Line(
                f"{self.name}: {metric}",
                ours[metric],
                None,
                self.baseline[metric],
                blind[metric],
                "lower" if "rank" in metric else "higher",
                note if metric == "mean rank" else "",
                head="true one in top 10" * (self.images.main and metric == "in top 10"),
            )
            for metric in ours
        ]

    def _summary(self, drawn: np.ndarray) -> dict[str, Estimate]:
        ranks = agreement.ranks(drawn, self.truth, self.pool, self.rivals)
        return agreement.summarise(ranks, rng=self.images.ground.rng(self.name))

    def _strings(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """The values of the rows, (N,), and of all at hand, training rows first, (M + N,); as strings."""
        held, kept = (
            [str(v) for v in values]
            for values in (self.images.ground.held(column), self.images.ground.kept(column))
        )
        return np.array(held, object), np.array(kept + held, object)


class Values:
    """All targets that are labels, numbers or texts, as one row of features."""

    def __init__(self, ground: Ground, columns: Sequence[str], *, main: bool, alone: bool) -> None:
        self.ground, self.columns, self.main, self.alone = ground, list(columns), main, alone
        self.notes: list[str] = []
        kept, held = (
            [dict(zip(columns, row, strict=True)) for row in zip(*map(of, columns), strict=True)]
            for of in (ground.kept, ground.held)
        )
        self.name = ", ".join(columns)
        self.space = Space(self.name, ground, self.features(kept), self.features(held))
        if not self.space.has_balls:
            self.notes.append(
                f"of {self.name} density, coverage and copies are not measured, as most rows have twins"
            )

    @property
    def real(self) -> np.ndarray:
        return self.space.test

    def lines(self, drawn: Sequence[Row]) -> list[Line]:
        x, name, main = self.features(drawn[:: self.ground.draws]), self.name, self.main
        lines = measured(self.space, x, name, "", main)
        if self.space.has_balls:
            lines += pair(self.space, x, name, main)
        value, real = self.space.c2st(x)
        lines.append(
            Line(
                f"{name}: C2ST",
                value,
                real,
                chance=0.5,
                head="C2ST" * (main and self.alone),
                note="how often boosted trees take a sample, and not a real row, for the sample",
            )
        )
        return lines + (copied(self.space, x, name, main) if self.space.has_balls else [])

    def features(self, rows: Sequence[Row]) -> np.ndarray:
        known = self.ground.table.columns
        parts = [features.values(known[c], [row[c] for row in rows]) for c in self.columns]
        return np.concatenate(parts, 1)


class Joint:
    """Targets and sources together: do they belong to each other as in real rows?"""

    def __init__(self, ground: Ground, columns: Sequence[str]) -> None:
        self.ground, self.columns, self.name = ground, list(columns), ", ".join(columns)
        self.notes: list[str] = []
        kept = {c: self._features(c, ground.kept(c)) for c in columns}
        # one by one, so that a column of few numbers is not lost among pixels
        self.reduced = {c: features.Reduced(x) for c, x in kept.items()}
        held = {c: self._features(c, ground.held(c)) for c in columns}
        self.space = Space(self.name, ground, self._joined(kept), self._joined(held))

    @property
    def real(self) -> np.ndarray:
        return self.space.test

    def features(self, drawn: Sequence[Row]) -> np.ndarray:
        return self._joined({c: self._features(c, [row[c] for row in drawn]) for c in self.columns})

    def lines(self, drawn: Sequence[Row]) -> list[Line]:
        x = self.features(drawn[:: self.ground.draws])
        value, real = self.space.c2st(x, reduce=False)
        return [
            Line(
                f"{self.name}: C2ST",
                value,
                real,
                chance=0.5,
                head="C2ST",
                note="the same of targets and sources together: they must also belong to each other",
            )
        ]

    def _features(self, column: str, values: Sequence[object]) -> np.ndarray:
        table = self.ground.table
        if table.kinds[column] == "image":
            return features.pixels(pictures_of(table, column, values))
        return features.values(table.columns[column], values)

    def _joined(self, parts: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([self.reduced[c](x) for c, x in parts.items()], 1)


def copied(space: Space, x: np.ndarray, name: str, heads: bool) -> list[Line]:
    """Whether samples x (N, F) are training rows, as lines."""
    kind = space.ground.table.kinds.get(name)
    exact, within = COPY.get(kind, (0.05, "within 0.05 standard deviations of a training row"))
    found = copies(
        x, space.train, space.test, rng=space.ground.rng("copies"), paired=space.ground.paired, exact=exact
    )
    n = len(space.test)
    heads = heads and found.exact_real.value < 0.5  # else there is hardly room for new rows
    return [
        Line(
            f"{name}: distance to train",
            found.ratio,
            Estimate(1.0, n=n),
            better="as real",
            note="of samples to the nearest training row, median, over the same of real rows",
        ),
        Line(
            f"{name}: closer than 1 %",
            found.closer,
            Estimate(0.01, n=n),
            better="as real",
            note="share of samples closer to a training row than 99 % of real rows are",
        ),
        Line(
            f"{name}: copies",
            found.exact,
            found.exact_real,
            better="as real",
            head="copies" * heads,
            note=f"share {within}",
        ),
        Line(
            f"{name}: closer to train than test",
            found.nearer,
            chance=0.5,
            better="lower",
            note="share of samples closer to training rows than to as many held-out ones",
        ),
    ]

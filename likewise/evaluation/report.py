"""evaluate: a model on rows held out, each number beside what real rows, a baseline and chance score."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from likewise.evaluation import agreement, features
from likewise.evaluation.copies import copies
from likewise.evaluation.estimate import Estimate, share, short
from likewise.evaluation.fidelity import kid, kid_floor
from likewise.formula import Formula
from likewise.rng import seed_of
from likewise.table import Row, Table

REFERENCE_ROWS = 20_000         # training rows, at most, that samples are held against
REFERENCE_BYTES = 2**29         # of their encoded images, at most


class Sampler(Protocol):
    """What `evaluate` asks of a model."""

    formula: Formula

    def sample(self, rows: Sequence[Row], *, seed: int = 0, **knobs: Any) -> list[Row]:
        """One draw for each row of sources."""


@dataclass(frozen=True)
class Line:
    """One metric: of the model, of real rows in the place of its samples, of a baseline, and of chance."""

    name: str
    value: Estimate
    real: Estimate | None = None
    baseline: Estimate | None = None
    chance: float | None = None
    better: Literal["lower", "higher", "as real"] = "lower"
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What `evaluate` found: `str` of it is a table to read, `to_json` the same as JSON values."""

    formula: str
    data: str | None
    n: int
    draws: int
    seed: int
    knobs: dict[str, Any]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Line:
        """The line of a metric. Raises KeyError that names those there are."""
        for line in self.lines:
            if line.name == name:
                return line
        raise KeyError(f"no metric {name!r}; there are: {', '.join(line.name for line in self.lines)}")

    def to_json(self) -> dict[str, Any]:
        """JSON values; an estimate is {value, low, high, n}."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        knobs = {"draws": self.draws, "seed": self.seed, **self.knobs}
        title = (f"P({self.formula}){f', {self.data}' if self.data else ''}: {self.n} rows held out, "
                 + ", ".join(f"{name} {value}" for name, value in knobs.items()))
        rows = [("", "model", "real rows", "baseline", "chance", "better")]
        for line in self.lines:
            others = ("" if e is None else str(e) for e in (line.real, line.baseline))
            rows.append((line.name, str(line.value), *others,
                         "" if line.chance is None else short(line.chance), line.better))
        columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
        padded = ([cell.ljust(max(map(len, column))) for cell in column] for column in columns)
        table = ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]
        notes = [*(f"{line.name}: {line.note}" for line in self.lines if line.note), *self.notes]
        notes = [textwrap.fill(note, 110, subsequent_indent="    ") for note in notes]
        return "\n".join([title, "", *table, "", *notes])


def evaluate(model: Sampler, table: Table, *, n: int = 500, seed: int = 0, draws: int = 1,
             candidates: int = 1000, concept: str = "concept", **knobs: Any) -> Report:
    """Judge a model on rows of `table.test`, held against `table.train`. Intervals are 95 %.

    n            rows held out that are drawn for, at most
    seed         of the choice of rows and of candidates, of the samples and of the judges
    draws        samples for each row: the nearest one counts for the rank, the first for all else
    candidates   other images that the true one is ranked among
    concept      column of what a row is about: no candidate is of the same (default "concept", else its text)

    Knobs go to `model.sample`. Raises ValueError if fewer than 2 rows are held out, and for numbers below 1.
    """
    from likewise.training import heldout_loss

    if n < 2 or draws < 1 or candidates < 1:
        raise ValueError(f"evaluate needs n of at least 2 and draws and candidates of at least 1, not n={n}, "
                         f"draws={draws}, candidates={candidates}")
    if len(table.test) < 2:
        raise ValueError(f"the table holds out {len(table.test)} rows and evaluation needs at least 2; open "
                         "it with a larger holdout, or bring more rows")
    targets, sources = ([v.column for v in views] for views in (model.formula.targets, model.formula.sources))
    images = [c for c in targets if table.kinds[c] == "image"]
    lines: list[Line] = []
    notes: list[str] = []
    rows = np.sort(_rng("rows", seed).permutation(len(table.test))[:n])
    if images:
        given = {c: table.test.column(c) for c in sources}
        asked = [{c: values[int(i)] for c, values in given.items()} for i in rows for _ in range(draws)]
        drawn = model.sample(asked, seed=seed, **knobs)
        for column in images:
            judge = _Judge(table, column, rows, drawn, bool(sources), seed)
            lines += [*judge.fidelity(), *judge.copies()]
            for other in (c for c in (*targets, *sources) if c != column):
                kind = table.kinds[other]
                if kind == "label":
                    lines += judge.label(other)
                elif kind == "text" and other in sources:
                    lines += judge.text(other, candidates, concept if concept in table.kinds else other)
                else:
                    notes.append(f"the agreement of {column} with {other} ({kind}) is not measured")
            notes += judge.notes
    if rest := [c for c in targets if c not in images]:
        notes.append(f"of {', '.join(rest)} only the loss is measured; the other metrics are of images")
    loss = Line("held-out loss", Estimate(heldout_loss(model, table, rows=n, seed=seed), n=len(rows)),
                note="comparable between models of one family and formula only")
    return Report(formula=str(model.formula), data=table.source, n=len(rows), draws=draws, seed=seed,
                  knobs=knobs, lines=(loss, *lines), notes=tuple(notes))


class _Judge:
    """The metrics of one column of images, drawn for `rows` of table.test."""

    def __init__(self, table: Table, column: str, rows: np.ndarray, drawn: Sequence[Row], paired: bool,
                 seed: int) -> None:
        self.table, self.column, self.rows, self.drawn = table, column, rows, drawn
        self.paired, self.seed = paired, seed
        self.notes: list[str] = []
        spec = table.columns[column].spec
        most = max(2, min(REFERENCE_ROWS, REFERENCE_BYTES // (4 * spec.tokens * spec.width)))
        self.reference = np.sort(_rng("reference", seed).permutation(len(table.train))[:most])
        if most < len(table.train):
            self.notes.append(f"{column} is held against {most} training rows of {len(table.train)}")
        kept, held = table.train.column(column), table.test.column(column)
        self.train = self._encoded(kept[i] for i in self.reference)             # (M, H, W, C)
        self.test = self._encoded(held[i] for i in rows)                        # (N, H, W, C)
        self.samples = self._encoded(row[column] for row in drawn)              # (N * draws, H, W, C)
        self.draws = len(drawn) // len(rows)
        self.first = self.samples[::self.draws]

    def fidelity(self) -> list[Line]:
        lines = []
        for space in (features.edges, features.random_conv):
            train, test, first = map(space, (self.train, self.test, self.first))
            name = f"{self.column}: KID of {space.__name__}"
            lines.append(Line(name, kid(first, test, rng=_rng(name, self.seed), paired=self.paired),
                              real=kid_floor(train, test, len(test), rng=_rng(name, "floor", self.seed))))
        return lines

    def copies(self) -> list[Line]:
        first, train, test = map(features.pixels, (self.first, self.train, self.test))
        found = copies(first, train, test, rng=_rng("copies", self.seed), paired=self.paired)
        name = f"{self.column}: "
        return [Line(name + "distance to train", found.ratio, Estimate(1.0, n=len(test)), better="as real",
                     note="of samples to the nearest training row, median, over the same of real rows"),
                Line(name + "closer than 1 %", found.closer, Estimate(0.01, n=len(test)), better="as real",
                     note="share of samples closer to a training row than 99 % of real rows are"),
                Line(name + "copies", found.exact, found.exact_real, better="as real",
                     note="share within 2.5 % of the pixels' range of a training row"),
                Line(name + "closer to train than test", found.nearer, chance=0.5,
                     note="share of samples closer to training rows than to as many held-out ones")]

    def text(self, text: str, candidates: int, concept: str) -> list[Line]:
        """The rank of the true image, seen from the samples for its text, and from the baseline's image."""
        (asked, told), (own, others) = self._strings(text), self._strings(concept)
        name = f"{self.column} ~ {text}"
        kept = told[:len(self.train)]
        shown = agreement.nearest_caption(asked, kept, rng=_rng(name, "baseline", self.seed))
        forbidden = np.equal.outer(asked, told) | np.equal.outer(own, others)
        forbidden[np.arange(len(shown)), shown] = True      # else the baseline would rank what it shows first
        rivals = agreement.choose_candidates(forbidden, candidates, rng=_rng(name, "candidates", self.seed))
        count = rivals.shape[1]
        if not count:
            self.notes.append(f"the agreement of {name} is not measured: no image is of another {concept}")
            return []
        samples, truth, train = map(features.edges, (self.samples, self.test, self.train))
        samples = samples.reshape(len(truth), self.draws, -1)
        pool = np.concatenate([train, truth])
        found = [agreement.ranks(x, truth, pool, rivals) for x in (samples, pool[shown, None])]
        ours, theirs = (agreement.summarise(r, rng=_rng(name, self.seed)) for r in found)
        blind = agreement.chance(count)
        note = (f"of the true image among {count:,} others, training and held-out, none of its own {concept}"
                ", by distance of edges to the sample; baseline: the training image whose "
                f"{text} shares most words")
        return [Line(f"{name}: {metric}", ours[metric], None, theirs[metric], blind[metric],
                     "lower" if "rank" in metric else "higher", note if metric == "mean rank" else "")
                for metric in ours]

    def label(self, label: str) -> list[Line]:
        """How often a classifier sees in a sample the label that it was drawn for, or with."""
        names = self.table.columns[label].classes
        number = {name: i for i, name in enumerate(names)}
        true, known = (np.array([number[v] for v in values]) for values in self._strings(label))
        said = np.array([number[str(row[label])] for row in self.drawn[::self.draws]])
        classify = agreement.Classifier(self.train, known[:len(self.train)], len(names), seed=self.seed)
        often = float(np.bincount(said).max() / len(said))
        return [Line(f"{self.column} ~ {label}: accuracy", share(classify(self.first) == said),
                     share(classify(self.test) == true), None, often, "higher",
                     f"of a classifier that learned from training rows; chance: the most frequent {label}")]

    def _strings(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """The values of `rows`, (N,), and of all rows at hand, training rows first, (M + N,); as strings."""
        held, kept = self.table.test.column(column), self.table.train.column(column)
        asked = [str(held[i]) for i in self.rows]
        return np.array(asked, object), np.array([str(kept[i]) for i in self.reference] + asked, object)

    def _encoded(self, values: Iterable[Any]) -> np.ndarray:
        """Pictures, as the model sees them: (N, H, W, C) in [-1, 1]."""
        modality = self.table.columns[self.column]
        tokens = np.stack([modality.encode(value).numpy() for value in values])
        return tokens.reshape(len(tokens), *modality.spec.grid, -1)


def _rng(*key: int | str) -> np.random.Generator:
    return np.random.default_rng(seed_of("evaluate", *key))

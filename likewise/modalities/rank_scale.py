"""RankScale: numbers as normal scores of their ranks, on which each value that repeats has an interval of its own.

    z(v) = Phi^-1(F(v)),  F the distribution function of the training values                               (1)

F is piecewise linear between knots, as a histogram whose bars have about as many rows each. A value v on a lattice of
width h stands for all of [v - h/2, v + h/2], and has the interval [z(v - h/2), z(v + h/2)]: one that has at least a
bar's number of rows is a bar by itself. So heaps, zero inflation, bounds and decimals are properties of the scale,
and a distribution over z gives each value an exact probability: the interval's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from scipy.special import ndtri

from likewise.core.normal import middle
from likewise.core.spec import Cells

BAR_ROWS, MAX_BARS = 10, 2000  # rows of a bar at least, and bars of a scale at most
SHARED_BARS = 100  # about so many bars, of all rows, hold values that are rare by themselves
END_SHARE = 0.25  # of a row, beyond the first and the last value
GAP = 1e-5  # of z, between values where no value is known
MAX_DECIMALS = 9
MIN_MULTIPLES = 10  # different values, all of which are multiples of a unit, so that it is no chance
STRETCH = 4.0  # a bar so many times as long as the one inside of it is split into bars that double in length

SMALL, LARGEST = 1e-150, 1e300  # magnitudes beyond which differences may overflow or be subnormal

Bar = tuple[float, float, float]  # first and last value, number of rows


@dataclass(frozen=True)
class RankScale:
    """(1), increasing, in segments: z is linear in v in each of them.

    step     h, the width of the lattice; 0 where values are continuous
    starts   (S,) v at the beginning of each segment, half a step before its first value
    ends     (S,) v at its end, half a step after its last value
    edges    (S + 1,) z at the beginnings, and at the last end
    gaps     segments between values where no value is known; none is sampled there

    >>> scale = RankScale.fit(np.array([0.0] * 60 + [1.5, 2.5] * 20))
    >>> scale.step, scale.values(scale.tokens(np.array([0.0, 2.5]))).tolist()
    (0.1, [0.0, 2.5])
    """

    step: float
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    edges: tuple[float, ...]
    gaps: tuple[int, ...] = ()

    @classmethod
    def fit(cls, values: np.ndarray, missing: int = 0) -> Self:
        """The scale of at least one finite value (n,), beside so many that are missing, whose ranks are the lowest."""
        total, factor = len(values) + missing, _factor(values)
        values = values * factor
        distinct, counts = np.unique(values, return_counts=True)
        step = lattice_step(distinct)
        bars = list(
            _bars(distinct, counts, step, max(BAR_ROWS, total / MAX_BARS), max(BAR_ROWS, total / SHARED_BARS))
        )
        starts, ends, rows = (np.array(part) for part in zip(*_split_long(bars, step), strict=True))
        ranks = (missing + np.concatenate([[0.0], np.cumsum(rows)])) / total
        end = END_SHARE / total
        z = ndtri(np.clip(ranks, end if not missing else 0.0, 1 - end))
        begins, finishes, edges, gaps = _with_gaps(starts, ends, z, step)
        return cls(step, tuple(v / factor for v in begins), tuple(v / factor for v in finishes), edges, gaps)

    def extend(self, low: float, high: float) -> Self:
        """The same, known from `low` to `high` at least: a further segment at each end, where `tokens` has these values."""
        starts, ends, edges, gaps = list(self.starts), list(self.ends), list(self.edges), self.gaps
        first, last = low - self.step / 2, high + self.step / 2
        z_first, z_last = self.tokens(np.array([first, last])).tolist()
        if low < self.low:
            starts, ends, edges = [first, *starts], [starts[0], *ends], [min(z_first, edges[0] - GAP), *edges]
            gaps = tuple(k + 1 for k in gaps)
        if high > self.high:
            starts, ends, edges = [*starts, ends[-1]], [*ends, last], [*edges, max(z_last, edges[-1] + GAP)]
        return replace(self, starts=tuple(starts), ends=tuple(ends), edges=tuple(edges), gaps=gaps)

    # ---- values and tokens

    def tokens(self, values: np.ndarray) -> np.ndarray:
        """z of values (n,): the middle of a value's interval, beyond the known ones further out; (n,) float64."""
        with np.errstate(over="ignore"):
            values = np.clip(values * self._factor, -LARGEST, LARGEST)
        k = np.clip(np.searchsorted(self._starts, values, side="right") - 1, 0, len(self.starts) - 1)
        lengths = self._ends - self._starts
        with np.errstate(over="ignore"):
            share = (values - self._starts[k]) / np.where(lengths > 0, lengths, 1.0)[k]
        share = np.where(lengths[k] > 0, share.clip(0, 1), 0.5)
        z = self._edges[k] + share * (self._edges[k + 1] - self._edges[k])
        z = np.where(self.is_atom[k], self._middles[k], z)
        with np.errstate(over="ignore"):
            below, above = (
                np.minimum(d.clip(min=0) / unit, LARGEST)
                for d, unit in zip(
                    (self._starts[0] - values, values - self._ends[-1]), self._end_units, strict=True
                )
            )
        return np.where(below > 0, self.edges[0] - np.log1p(below), z) + np.where(
            above > 0, np.log1p(above), 0.0
        )

    def values(self, tokens: np.ndarray) -> np.ndarray:
        """The values of any tokens (n,), of the lattice, and none below or above the known ones; (n,) float64."""
        k = self.segment(tokens)
        share = ((tokens - self._edges[k]) / (self._edges[k + 1] - self._edges[k])).clip(0, 1)
        share = np.where(self._is_gap[k], np.where(share < 0.5, 0.0, 1.0), share)
        v = self._starts[k] + share * (self._ends - self._starts)[k]
        if not self.step:
            return v / self._factor
        half = self.step / 2
        first, last = self._starts[k], self._ends[k]  # of a gap these are the ends of its neighbours
        inside = np.where(self._is_gap[k], np.where(share < 0.5, first - half, last + half), v)
        inside = np.where(self._is_gap[k], inside, v.clip(first + half, last - half))
        return np.round(np.round(inside / self.step) * self.step, decimals_of(self.step))

    def segment(self, tokens: np.ndarray) -> np.ndarray:
        """The segment of each token, the first or last one beyond them, (n,) int."""
        return np.clip(np.searchsorted(self._edges, tokens, side="right") - 1, 0, len(self.starts) - 1)

    @property
    def low(self) -> float:
        """The least known value."""
        return self._round(self.starts[0] + self.step / 2)

    @property
    def high(self) -> float:
        """The largest known value."""
        return self._round(self.ends[-1] - self.step / 2)

    def _round(self, value: float) -> float:
        return round(value, decimals_of(self.step)) if self.step else value

    def bounds(
        self, low: float | None, high: float | None, above: bool = False, below: bool = False
    ) -> tuple[float, float] | None:
        """The ends of the tokens of values from `low` to `high`, without these if `above`, `below`; infinite without them.

        None if no known value is among them.
        """
        start, end = -np.inf, np.inf
        if low is not None:
            start = self._lattice_edge(low, 1, above)
        if high is not None:
            end = self._lattice_edge(high, -1, below)
        begins = np.where(self._is_gap, np.inf, np.maximum(self._starts, start))
        ends = np.where(self._is_gap, -np.inf, np.minimum(self._ends, end))
        tolerance = self.step * self._factor * 1e-6
        inside = ends - begins > tolerance if self.step else ends >= begins
        inside &= ~(
            (self._starts == self._ends) & ((above & (self._starts == start)) | (below & (self._ends == end)))
        )
        if not inside.any():
            return None
        k, j = np.flatnonzero(inside)[[0, -1]]
        z_low, z_high = self._at(k, float(begins[k])), self._at(j, float(ends[j]), end=True)
        return (-np.inf if low is None else z_low), (np.inf if high is None else z_high)

    def _lattice_edge(self, value: float, sign: int, strict: bool) -> float:
        """Where the intervals of the values from `value` on begin, upwards (sign 1) or downwards."""
        if not self.step:
            return value * self._factor
        place = value / self.step * sign
        first = np.floor(place + 1e-9) + 1 if strict else np.ceil(place - 1e-9)
        return float((first - 0.5) * sign * self.step)

    def _at(self, k: int, value: float, end: bool = False) -> float:
        """z of a place of a segment; of one without length its beginning, or its end."""
        length = self._ends[k] - self._starts[k]
        share = (value - self._starts[k]) / length if length > 0 else float(end)
        return float(self._edges[k] + share * (self._edges[k + 1] - self._edges[k]))

    # ---- cells

    @cached_property
    def is_atom(self) -> np.ndarray:
        """Which segments are the interval of one value, (S,) bool."""
        atoms = self._ends - self._starts <= self.step * 1.0001
        return atoms & ~self._is_gap

    def cells(self, lowest: float | None = None) -> Cells:
        """The segments for a network; with `lowest`, z of a further one before them, of missing values."""
        lengths = self._ends - self._starts
        widths = np.diff(self._edges) / np.where(lengths > 0, lengths, 1.0)  # of a unit
        widths = np.where(self.is_atom, np.diff(self._edges), widths * self.step)
        first = () if lowest is None else (lowest,)
        atoms = (*([True] * len(first)), *self.is_atom.tolist())
        gone = (*([self.edges[0] - lowest] if lowest is not None else []), *widths.tolist())
        return Cells((*first, *self.edges), atoms, gone)

    def log_slope(self, tokens: np.ndarray) -> np.ndarray:
        """log |dz / dv| of tokens (n,)."""
        lengths = np.maximum(self._ends - self._starts, np.finfo(float).tiny)
        log_slope = (np.log(np.diff(self._edges)) - np.log(lengths))[self.segment(tokens)]
        for unit, beyond in zip(
            self._end_units, (self.edges[0] - tokens, tokens - self.edges[-1]), strict=True
        ):
            log_slope = np.where(beyond > 0, -math.log(unit) - beyond, log_slope)
        return log_slope + math.log(self._factor)

    @cached_property
    def _end_units(self) -> tuple[float, float]:
        """How far below and above the known values z is by log 2 further out: there the slope is that of the last bar."""
        lengths, sizes = self._ends - self._starts, np.diff(self._edges)
        whole = max(float(self._ends[-1] - self._starts[0]), self.step) or max(abs(self._starts[0]), 1e-300)
        first, last = (float(lengths[k] / sizes[k]) or float(whole) for k in (0, -1))
        return first, last

    @cached_property
    def _factor(self) -> float:
        """By which values are multiplied here, so that no difference of them overflows or is subnormal."""
        return _factor(np.array([self.starts[0], self.ends[-1]]))

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array(self.starts) * self._factor

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.array(self.ends) * self._factor

    @cached_property
    def _edges(self) -> np.ndarray:
        return np.array(self.edges)

    @cached_property
    def _middles(self) -> np.ndarray:
        """The middle of each segment by its mass, (S,)."""
        return middle(self._edges[:-1], self._edges[1:])

    @cached_property
    def _is_gap(self) -> np.ndarray:
        gap = np.zeros(len(self.starts), dtype=bool)
        gap[list(self.gaps)] = True
        return gap


def _factor(values: np.ndarray) -> float:
    """A power of two for values of extreme magnitudes, else 1."""
    largest = float(np.abs(values).max())
    return 1.0 if largest == 0 or SMALL < largest < 1 / SMALL else 2.0 ** (-500 if largest > 1 else 500)


def lattice_step(distinct: np.ndarray) -> float:
    """The width of the lattice of sorted different values: a power of ten, or a multiple that many values share; 0
    without one.

    >>> lattice_step(np.array([0.25, 0.3])), lattice_step(np.array([1 / 3, 0.5])), lattice_step(np.arange(0, 100, 5))
    (0.01, 0.0, 5.0)
    """
    tolerance = 4e-15 * np.abs(distinct)
    for decimals in range(MAX_DECIMALS + 1):
        if np.abs(distinct).max(initial=0.0) * 10.0**decimals > 2.0**52:
            return 0.0
        if (np.abs(distinct.round(decimals) - distinct) <= tolerance).all():
            break
    else:
        return 0.0
    if len(distinct) < MIN_MULTIPLES:
        return float(10.0**-decimals) if decimals else 1.0
    whole = np.round(distinct * 10.0**decimals).astype(np.int64)
    unit = int(np.gcd.reduce(whole)) or 1
    return round(unit / 10.0**decimals, decimals)


def decimals_of(step: float) -> int:
    """The decimals of the multiples of a step.

    >>> decimals_of(0.05), decimals_of(5.0)
    (2, 0)
    """
    return next(d for d in range(MAX_DECIMALS + 2) if abs(round(step, d) - step) < 1e-6 * step)


def _bars(
    distinct: np.ndarray, counts: np.ndarray, step: float, least: float, shared: float
) -> Iterator[Bar]:
    """Values of at least so many rows by themselves, others in bars of about `shared` rows, of fewer at both ends."""
    n, low = len(distinct), 0
    heavy = np.flatnonzero(counts >= least)
    for i in [*heavy.tolist(), n]:
        if i > low:
            yield from _light_bars(distinct[low:i], counts[low:i], step, shared)
        if i < n:
            yield distinct[i] - step / 2, distinct[i] + step / 2, float(counts[i])
        low = i + 1


def _light_bars(values: np.ndarray, counts: np.ndarray, step: float, least: float) -> Iterator[Bar]:
    """Bars of neighbouring values, each of which is rare; edges lie between them, in the middle."""
    ends = np.cumsum(counts)
    total = float(ends[-1])
    # 1, 1, 2, 4 ... rows from both ends, and `least` in the middle
    cuts, size, position = [], 1.0, 0.0
    while position + size < total / 2 and size < least:
        position += size
        cuts += [position, total - position]
        size *= 2 if len(cuts) > 2 else 1
    inner = total - 2 * position
    pieces = max(1, round(inner / least))
    cuts += [position + inner * k / pieces for k in range(1, pieces)]
    last = (
        np.unique(np.searchsorted(ends, np.array(sorted(cuts)) - 1e-9)) if cuts else np.array([], dtype=int)
    )
    last = np.append(last[last < len(values) - 1], len(values) - 1).astype(int)
    start, begin = values[0] - step / 2, 0
    for i in last.tolist():
        end = values[-1] + step / 2 if i == len(values) - 1 else _between(values[i], values[i + 1], step)
        yield float(start), float(end), float(counts[begin : i + 1].sum())
        start, begin = end, i + 1


def _between(a: float, b: float, step: float) -> float:
    """The middle of two values, between two places of the lattice."""
    return (a + b) / 2 if not step else a + step * (np.floor((b - a) / step / 2 + 1e-9) + 0.5)


def _split_long(bars: Sequence[Bar], step: float) -> list[Bar]:
    """The bars, in which the outermost ones that are far longer than the next are split, so that lengths double."""
    if len(bars) < 3:
        return list(bars)
    first, *inner, last = bars
    head = [(-b, -a, n) for a, b, n in _doubling((-first[1], -first[0], first[2]), inner[0], step)]
    return [*reversed(head), *inner, *_doubling(last, inner[-1], step)]


def _doubling(bar: Bar, neighbour: Bar, step: float) -> list[Bar]:
    """A bar in pieces that double in length from its start, of equally many rows."""
    start, end, rows = bar
    unit = max(neighbour[1] - neighbour[0], step)
    if not unit or end - start <= STRETCH * unit:
        return [bar]
    edges, length = [start], unit
    while edges[-1] + 2 * length < end:
        edges.append(edges[-1] + length)
        if step:
            edges[-1] = start + step * round((edges[-1] - start) / step)
        length *= 2
    edges.append(end)
    return [(a, b, rows / (len(edges) - 1)) for a, b in itertools.pairwise(edges)]


def _with_gaps(
    starts: np.ndarray, ends: np.ndarray, z: np.ndarray, step: float
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    """The segments of bars with those between them, of almost no width: starts, ends, edges, gaps."""
    new_starts, new_ends, edges, gaps = [float(starts[0])], [float(ends[0])], [float(z[0])], []
    for k in range(1, len(starts)):
        edge = float(z[k])
        if starts[k] - ends[k - 1] > step * 1e-6 and starts[k] > ends[k - 1]:
            gap = min(GAP, (z[k] - edges[-1]) / 4, (z[k + 1] - z[k]) / 4)
            gaps.append(len(new_starts))
            new_starts.append(float(ends[k - 1]))
            new_ends.append(float(starts[k]))
            edges.append(edge - gap)
            edge += gap
        new_starts.append(float(starts[k]))
        new_ends.append(float(ends[k]))
        edges.append(edge)
    return tuple(new_starts), tuple(new_ends), (*edges, float(z[-1])), tuple(gaps)

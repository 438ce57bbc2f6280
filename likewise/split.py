"""Which rows are held out: whole concepts, so that what is measured on them was not seen under another row number."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

SHARE = 0.1         # of the rows, held out by default
MOST = 1_000        # rows, held out by default at most


def held_out(keys: Sequence[str], classes: Sequence[tuple[str, ...]], share: float | None = None) -> list[int]:
    """The numbers of the rows to hold out: groups of equal `keys`, in an order that a hash of the key gives.

    A group goes whole to one side, and stays in training where it is the last with one of its `classes` (the labels of
    each row). Where keys are compositions of words, only those are held out all of whose words still occur in two
    training rows: new compositions of known parts. `share` is the fraction of rows (default 0.1, at most 1,000 rows).

    >>> held_out(["red cube", "red ball", "tin cube", "tin ball"] * 4, [()] * 16, 0.25)
    [2, 6, 10, 14]
    """
    quota = min(round(len(keys) * SHARE), MOST) if share is None else round(len(keys) * share)
    if len(keys) > 10 and share != 0:
        quota = max(quota, 1)
    groups = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    order = sorted(groups, key=lambda key: hashlib.sha256(f"0:{key}".encode()).digest())
    words = {key: set(re.findall(r"\w+", key.lower())) for key in groups}
    needs = [[(c, 1) for c in row] + [(f"word {w}", 2) for w in words[key]] for row, key in zip(classes, keys)]
    composed = [key for key in order if len(words[key]) > 1]
    return (_choose(composed, groups, needs, quota)
            or _choose(order, groups, [[(c, 1) for c in row] for row in classes], quota))


def _choose(order: Iterable[str], groups: dict[str, list[int]], needs: Sequence[list[tuple[str, int]]],
            quota: int) -> list[int]:
    """Rows of groups in `order`, at most `quota` (a first group may be larger), that leave in training enough of every
    part: `needs` has, for each row, its parts with how many training rows must keep them."""
    if quota == 0:
        return []
    kept = Counter(part for row in needs for part, _ in row)
    held: list[int] = []
    for key in order:
        rows = groups[key]
        taken = Counter(need for row in rows for need in needs[row])
        if len(held) + len(rows) > (quota if held else len(needs) // 2):
            continue
        if all(kept[part] - n >= least for (part, least), n in taken.items()):
            held += rows
            kept -= Counter({part: n for (part, _), n in taken.items()})
    return sorted(held)

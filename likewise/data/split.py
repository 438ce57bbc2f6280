"""Which rows are held out: whole concepts, so that nothing measured on them was seen in another row."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from likewise.data.arrow import TableError
from likewise.data.storage import RowStore
from likewise.modalities import KINDS

SHARE = 0.1  # of the rows, held out by default
MOST = 1_000  # rows, held out by default at most
FEW = 20  # documents below which the last part of each is held out

Need = tuple[str, int]  # a part of a row, and how many training rows must keep it


def split_rows(
    rows: RowStore, share: float | None = None, by: str | None = None, pairs: str | None = None
) -> list[int]:
    """The numbers of the rows to hold out of a table; see Table.open."""
    documents = rows.passages and not (by or pairs)
    by = None if documents else grouping_column(rows.kinds, by)
    labels = [name for name, kind in rows.kinds.items() if KINDS[kind].role == "class" and name != by]
    cells = zip(*map(rows.cells, labels), strict=True) if labels else [()] * len(rows)
    classes = [[f"{name} {cell}" for name, cell in zip(labels, row, strict=True)] for row in cells]
    if documents:
        return choose_heldout_documents((rows.passage_keys >> 32).tolist(), rows.copies(), classes, share)
    # without a column to group by, every row alone, rows that are the same together
    keys = [str(cell) for cell in rows.cells(by)] if by else [hash.hex() for hash in rows.survey.digests]
    return choose_heldout(keys, classes, share, [str(cell) for cell in rows.cells(pairs)] if pairs else None)


def grouping_column(kinds: Mapping[str, str], by: str | None = None) -> str | None:
    """The column whose equal values are held out together, unless `by` says it; None if there is no text."""
    texts = [name for name, kind in kinds.items() if KINDS[kind].role == "prompt"]
    return by or ("concept" if "concept" in kinds else next(iter(texts), None))


def choose_heldout(
    keys: Sequence[str],
    classes: Sequence[Sequence[str]],
    share: float | None = None,
    partners: Sequence[str] | None = None,
) -> list[int]:
    """The numbers of the rows to hold out: groups of equal `keys`, in an order that a hash of the key gives.

    A group goes whole to one side, and stays in training where it is the last of one of its `classes` (a
    row's labels). Where keys are compositions of words, only those are held out all of whose words two
    training rows still have: new compositions of known parts. `share` is the fraction of rows (default 0.1,
    at most 1,000 rows).

    With `partners`, a value for each row, half of the rows held out are pairs: all rows of one key and one
    partner, where training rows have the key with another partner and the partner with another key. Raises
    TableError if there is no such pair.

    >>> held_out(["red cube", "red ball", "tin cube", "tin ball"] * 4, [()] * 16, 0.25)
    [0, 4, 8, 12]
    >>> held_out(list("aabbccdd"), [()] * 8, 0.5, ["flat", "round"] * 4)
    [0, 4, 6, 7]
    """
    quota = min(round(len(keys) * SHARE), MOST) if share is None else round(len(keys) * share)
    if len(keys) > 10 and share != 0:
        quota = max(quota, 1)
    groups = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    order = sorted(groups, key=_place)
    words = {key: set(re.findall(r"\w+", key.lower())) for key in groups}
    needs = [[(name, 1) for name in row] for row in classes]
    worded = [need + [(f"word {w}", 2) for w in words[key]] for need, key in zip(needs, keys, strict=True)]
    compositions = [key for key in order if len(words[key]) > 1]
    most = quota if partners is None else quota // 2
    held = _choose(compositions, groups, worded, most) or _choose(order, groups, needs, most)
    if partners is None:
        return held
    found = _pairs(keys, partners, needs, held, quota - most)
    if quota and not found:
        raise TableError(
            "no pair can be held out: none has both of its halves in other rows as well; leave "
            "pairs out, or name another column"
        )
    return sorted(held + found)


def choose_heldout_documents(
    documents: Sequence[int],
    keys: Sequence[str],
    classes: Sequence[Sequence[str]],
    share: float | None = None,
) -> list[int]:
    """The numbers of the passages to hold out, of the document of each and a key that copies of it share.

    Whole documents where there are at least 20 and some are not the last of one of their `classes`; else the
    last passages of each: a tenth of all, or `share`.

    >>> documents_held_out([0] * 10 + [1] * 20, ["a"] * 10 + ["b"] * 20, [()] * 30)
    [9, 28, 29]
    """
    if len(set(keys)) >= FEW and (whole := choose_heldout(keys, classes, share)):
        return whole
    counts, key_of = Counter(documents), dict(zip(documents, keys, strict=True))
    cut: dict[str, int] = {}  # key -> how many of its last passages
    total = 0
    for document, n in counts.items():
        if key_of[document] not in cut:  # what is rounded off one is held out of the next
            total += n
            due = round(total * (SHARE if share is None else share)) - sum(cut.values())
            cut[key_of[document]] = min(due, n - 1)  # something of each is left to learn
    left, out = {d: n - cut[key_of[d]] for d, n in counts.items()}, []
    for row, document in enumerate(documents):
        left[document] -= 1
        if left[document] < 0:
            out.append(row)
    return out


def _pairs(
    keys: Sequence[str],
    partners: Sequence[str],
    needs: Sequence[Sequence[Need]],
    held: Sequence[int],
    quota: int,
) -> list[int]:
    """At most `quota` rows, of whole pairs of a key and a partner, both of which other rows still have."""
    groups, out = defaultdict(list), set(held)
    left: list[list[Need]] = [[] for _ in keys]  # nothing is left of a row that is held already
    for row, pair in enumerate(zip(keys, partners, strict=True)):
        if row not in out:
            groups[repr(pair)].append(row)
            left[row] = [*needs[row], (f"key {pair[0]}", 1), (f"partner {pair[1]}", 1)]
    return _choose(sorted(groups, key=_place), groups, left, quota)


def _choose(
    order: Iterable[str], groups: Mapping[str, list[int]], needs: Sequence[Sequence[Need]], quota: int
) -> list[int]:
    """At most `quota` rows, of whole groups in `order`, that leave the training rows what each row `needs`.

    The first group may be larger than the quota, up to half of the rows.
    """
    kept = Counter(part for row in needs for part, _ in row)
    held: list[int] = []
    for key in order:
        rows = groups[key]
        taken = Counter(need for row in rows for need in needs[row])
        fits = len(held) + len(rows) <= (quota if held else quota and len(needs) // 2)
        if fits and all(kept[part] - count >= least for (part, least), count in taken.items()):
            held += rows
            kept.subtract({part: count for (part, _), count in taken.items()})
    return sorted(held)


def _place(key: str) -> bytes:
    """Where a group stands in the order, which other rows do not change."""
    return hashlib.sha256(f"0:{key}".encode()).digest()

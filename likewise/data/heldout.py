"""Which groups of rows are held out, so that no concept that is measured occurs in training rows."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from likewise.data.arrow import TableError

SHARE = 0.1  # of the rows, held out by default
MAX_ROWS = 1_000  # held out by default
MIN_DOCUMENTS = 20  # of which some are held out whole; of fewer the last part of each is

Requirement = tuple[str, int]  # a property of a row, and the number of training rows that must have it


def choose_heldout(
    keys: Sequence[str],
    classes: Sequence[Sequence[str]],
    share: float | None = None,
    partners: Sequence[str] | None = None,
    near: Sequence[Hashable] | None = None,
) -> list[int]:
    """The numbers of the held-out rows: groups of equal `keys`, in the order of a hash of the key.

    A group is held out as a whole, unless it has the last training row of one of its `classes` (a row's
    labels). Where keys are compositions of words, only those are held out all of whose words two training
    rows still have: new compositions of known parts. `share` is the fraction of rows (default 0.1, at most
    1,000 rows).

    With `near`, a value for each row, groups that have rows of one such value are one group, unless these are so
    large that none could be held out.

    With `partners`, a value for each row, half of the held-out rows are pairs: all rows of one key and one
    partner, where training rows have the key with another partner and the partner with another key. Raises
    TableError if there is no such pair.

    >>> choose_heldout(["red cube", "red ball", "tin cube", "tin ball"] * 4, [()] * 16, 0.25)
    [0, 4, 8, 12]
    >>> choose_heldout(list("aabbccdd"), [()] * 8, 0.5, ["flat", "round"] * 4)
    [0, 4, 6, 7]
    """
    quota = heldout_quota(len(keys), share)
    groups = group_rows(keys, near)
    order = sorted(groups, key=_hash)
    words = {key: set(re.findall(r"\w+", key.lower())) for key in dict.fromkeys(keys)}
    required: list[list[Requirement]] = [[(name, 1) for name in row] for row in classes]
    compositions = [key for key in order if all(len(words[keys[row]]) > 1 for row in groups[key])]
    most = quota if partners is None else quota // 2
    half = len(keys) // 2
    first = half if near is None else min(half, max(most, half // 2))
    heldout: list[int] = []
    if compositions:
        with_words = [
            row + [(f"word {word}", 2) for word in words[key]]
            for row, key in zip(required, keys, strict=True)
        ]
        heldout = _choose(compositions, groups, with_words, most, first)
    heldout = heldout or _choose(order, groups, required, most, first)
    if near is not None and most and not heldout:
        return choose_heldout(keys, classes, share, partners)
    if partners is None:
        return heldout
    pairs = _choose_pairs(keys, partners, required, heldout, quota - most, near)
    if quota and not pairs:
        raise TableError(
            "no pair can be held out: none has both of its values in other rows as well; leave "
            "pairs out, or name another column"
        )
    return sorted(heldout + pairs)


def heldout_quota(rows: int, share: float | None) -> int:
    """The number of rows to hold out, of so many: a share, by default 0.1 of at most 1,000 and at least 1 of 11."""
    quota = min(round(rows * SHARE), MAX_ROWS) if share is None else round(rows * share)
    return max(quota, 1) if rows > 10 and share != 0 else quota


def group_rows(keys: Sequence[str], near: Sequence[Hashable] | None = None) -> dict[str, list[int]]:
    """The rows of each key; those of keys that share a value of `near` are under the key whose hash is first.

    >>> dict(group_rows(["a", "b", "a", "c"], [1, 2, 3, 2]))
    {'a': [0, 2], 'c': [1, 3]}
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    if near is None:
        return groups
    first: dict[Hashable, str] = {}
    root = {key: key for key in groups}
    for key, value in zip(keys, near, strict=True):
        a, b = _root(root, key), _root(root, first.setdefault(value, key))
        if a != b:
            root[max(a, b, key=_hash)] = min(a, b, key=_hash)
    merged: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        merged[_root(root, key)].append(row)
    return merged


def _root(root: dict[str, str], key: str) -> str:
    """The representative of a key; paths are halved on the way (Tarjan and van Leeuwen, 1984)."""
    while root[key] != key:
        root[key] = key = root[root[key]]
    return key


def choose_heldout_documents(
    documents: Sequence[int],
    hashes: Sequence[str],
    classes: Sequence[Sequence[str]],
    share: float | None = None,
) -> list[int]:
    """The numbers of the held-out passages, from each one's document and its hash, which copies share.

    Whole documents, if there are at least 20 and some have no last row of one of their `classes`; else the
    last passages of each: a tenth of all, or `share`.

    >>> choose_heldout_documents([0] * 10 + [1] * 20, ["a"] * 10 + ["b"] * 20, [()] * 30)
    [9, 28, 29]
    """
    if len(set(hashes)) >= MIN_DOCUMENTS and (rows := choose_heldout(hashes, classes, share)):
        return rows
    counts, hash_of = Counter(documents), dict(zip(documents, hashes, strict=True))
    last: dict[str, int] = {}  # hash of a document -> the number of its held-out passages
    total = 0
    for document, count in counts.items():
        if hash_of[document] not in last:  # the rounding error of one is made up for by the next
            total += count
            due = round(total * (SHARE if share is None else share)) - sum(last.values())
            last[hash_of[document]] = min(due, count - 1)  # at least one passage stays in training
    remaining = {document: count - last[hash_of[document]] for document, count in counts.items()}
    heldout = []
    for row, document in enumerate(documents):
        remaining[document] -= 1
        if remaining[document] < 0:
            heldout.append(row)
    return heldout


def _choose_pairs(
    keys: Sequence[str],
    partners: Sequence[str],
    required: Sequence[Sequence[Requirement]],
    heldout: Sequence[int],
    quota: int,
    near: Sequence[Hashable] | None,
) -> list[int]:
    """At most `quota` further rows, of whole pairs of a key and a partner, both of which other rows have."""
    excluded, pairs = set(heldout), [*zip(keys, partners, strict=True)]
    groups = group_rows([repr(pair) for pair in pairs], near)
    groups = {key: rows for key, rows in groups.items() if excluded.isdisjoint(rows)}
    requirements: list[list[Requirement]] = [[] for _ in keys]  # none of rows that are held out already
    for row, pair in enumerate(pairs):
        if row not in excluded:
            requirements[row] = [*required[row], (f"key {pair[0]}", 1), (f"partner {pair[1]}", 1)]
    return _choose(sorted(groups, key=_hash), groups, requirements, quota, len(keys) // 2)


def _choose(
    order: Iterable[str],
    groups: Mapping[str, list[int]],
    required: Sequence[Sequence[Requirement]],
    quota: int,
    first: int,
) -> list[int]:
    """At most `quota` rows, of whole groups in `order`, such that training rows have what each row requires.

    The first group may have up to `first` rows instead.
    """
    left = Counter(name for row in required for name, _ in row)
    heldout: list[int] = []
    for key in order:
        if heldout and len(heldout) >= quota:
            break
        rows = groups[key]
        if len(heldout) + len(rows) > (quota if heldout else quota and first):
            continue
        removed = Counter(requirement for row in rows for requirement in required[row])
        if all(left[name] - count >= least for (name, least), count in removed.items()):
            heldout += rows
            left.subtract({name: count for (name, _), count in removed.items()})
    return sorted(heldout)


def _hash(key: str) -> bytes:
    """The place of a group in the order, which does not depend on other rows."""
    return hashlib.sha256(f"0:{key}".encode()).digest()

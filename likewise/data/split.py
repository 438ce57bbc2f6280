"""Held-out rows: whole groups of rows, so that no concept that is measured occurs in training rows."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from likewise.core.errors import did_you_mean
from likewise.core.options import validate_fields
from likewise.core.ranges import ShareBelowOne
from likewise.data.arrow import TableError
from likewise.data.storage import RowStore
from likewise.modalities import KINDS

SHARE = 0.1  # of the rows, held out by default
MAX_ROWS = 1_000  # held out by default
MIN_DOCUMENTS = 20  # of which some are held out whole; of fewer the last part of each is

Requirement = tuple[str, int]  # a property of a row, and the number of training rows that must have it


@dataclass(frozen=True)
class Holdout:
    """Which rows are held out.

    share  the fraction of rows; None: 0.1, at most 1,000 rows
    by     rows with equal values of this column stay together; None: the column "concept", else the first text
    pairs  half of the held-out rows are pairs of `by` and this column, which training rows have with others
    """

    share: ShareBelowOne | None = None
    by: str | None = None
    pairs: str | None = None

    def __post_init__(self) -> None:
        validate_fields(self)

    def validate(self, kinds: Mapping[str, str]) -> None:
        """Raise TableError for a column that is not there."""
        groupable = [name for name, kind in kinds.items() if KINDS[kind].groupable]
        for name in (self.by, self.pairs):
            if name is not None and name not in groupable:
                raise TableError(did_you_mean("column to hold out by", name, groupable))


def split_rows(rows: RowStore, holdout: Holdout) -> list[int]:
    """The numbers of the held-out rows. Raises TableError if there are no pairs to hold out."""
    whole_documents = rows.has_passages and not (holdout.by or holdout.pairs)
    by = None if whole_documents else grouping_column(rows.kinds, holdout.by)
    labels = [name for name, kind in rows.kinds.items() if KINDS[kind].role == "class" and name != by]
    cells = zip(*map(rows.cells, labels), strict=True) if labels else [()] * len(rows)
    classes = [[f"{name} {cell}" for name, cell in zip(labels, row, strict=True)] for row in cells]
    if whole_documents:
        documents = (rows.passage_keys >> 32).tolist()
        return choose_heldout_documents(documents, rows.document_hashes(), classes, holdout.share)
    # without a column to group by, equal rows are a group
    keys = [str(cell) for cell in rows.cells(by)] if by else [digest.hex() for digest in rows.report.digests]
    partners = [str(cell) for cell in rows.cells(holdout.pairs)] if holdout.pairs else None
    return choose_heldout(keys, classes, holdout.share, partners)


def grouping_column(kinds: Mapping[str, str], by: str | None = None) -> str | None:
    """The column whose equal values are held out together: `by`, else "concept", else the first text."""
    texts = [name for name, kind in kinds.items() if KINDS[kind].role == "prompt"]
    return by or ("concept" if "concept" in kinds else next(iter(texts), None))


def choose_heldout(
    keys: Sequence[str],
    classes: Sequence[Sequence[str]],
    share: float | None = None,
    partners: Sequence[str] | None = None,
) -> list[int]:
    """The numbers of the held-out rows: groups of equal `keys`, in the order of a hash of the key.

    A group is held out as a whole, unless it has the last training row of one of its `classes` (a row's
    labels). Where keys are compositions of words, only those are held out all of whose words two training
    rows still have: new compositions of known parts. `share` is the fraction of rows (default 0.1, at most
    1,000 rows).

    With `partners`, a value for each row, half of the held-out rows are pairs: all rows of one key and one
    partner, where training rows have the key with another partner and the partner with another key. Raises
    TableError if there is no such pair.

    >>> choose_heldout(["red cube", "red ball", "tin cube", "tin ball"] * 4, [()] * 16, 0.25)
    [0, 4, 8, 12]
    >>> choose_heldout(list("aabbccdd"), [()] * 8, 0.5, ["flat", "round"] * 4)
    [0, 4, 6, 7]
    """
    quota = min(round(len(keys) * SHARE), MAX_ROWS) if share is None else round(len(keys) * share)
    if len(keys) > 10 and share != 0:
        quota = max(quota, 1)
    groups: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    order = sorted(groups, key=_hash)
    words = {key: set(re.findall(r"\w+", key.lower())) for key in groups}
    required: list[list[Requirement]] = [[(name, 1) for name in row] for row in classes]
    with_words = [
        row + [(f"word {word}", 2) for word in words[key]] for row, key in zip(required, keys, strict=True)
    ]
    compositions = [key for key in order if len(words[key]) > 1]
    most = quota if partners is None else quota // 2
    heldout = _choose(compositions, groups, with_words, most) or _choose(order, groups, required, most)
    if partners is None:
        return heldout
    pairs = _choose_pairs(keys, partners, required, heldout, quota - most)
    if quota and not pairs:
        raise TableError(
            "no pair can be held out: none has both of its values in other rows as well; leave "
            "pairs out, or name another column"
        )
    return sorted(heldout + pairs)


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
) -> list[int]:
    """At most `quota` further rows, of whole pairs of a key and a partner, both of which other rows have."""
    groups, excluded = defaultdict(list), set(heldout)
    requirements: list[list[Requirement]] = [[] for _ in keys]  # none of rows that are held out already
    for row, pair in enumerate(zip(keys, partners, strict=True)):
        if row not in excluded:
            groups[repr(pair)].append(row)
            requirements[row] = [*required[row], (f"key {pair[0]}", 1), (f"partner {pair[1]}", 1)]
    return _choose(sorted(groups, key=_hash), groups, requirements, quota)


def _choose(
    order: Iterable[str],
    groups: Mapping[str, list[int]],
    required: Sequence[Sequence[Requirement]],
    quota: int,
) -> list[int]:
    """At most `quota` rows, of whole groups in `order`, such that training rows have what each row requires.

    The first group may be larger than the quota, up to half of the rows.
    """
    left = Counter(name for row in required for name, _ in row)
    heldout: list[int] = []
    for key in order:
        rows = groups[key]
        removed = Counter(requirement for row in rows for requirement in required[row])
        fits = len(heldout) + len(rows) <= (quota if heldout else quota and len(required) // 2)
        if fits and all(left[name] - count >= least for (name, least), count in removed.items()):
            heldout += rows
            left.subtract({name: count for (name, _), count in removed.items()})
    return sorted(heldout)


def _hash(key: str) -> bytes:
    """The place of a group in the order, which does not depend on other rows."""
    return hashlib.sha256(f"0:{key}".encode()).digest()

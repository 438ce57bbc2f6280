"""The split of a table into training rows and held-out rows: which, by what, and what is odd about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from likewise.core.errors import did_you_mean
from likewise.core.option_names import option_text
from likewise.core.options import validate_fields
from likewise.core.ranges import ShareBelowOne
from likewise.data.arrow import TableError
from likewise.data.heldout import choose_heldout, choose_heldout_documents, heldout_quota
from likewise.data.storage import RowStore
from likewise.modalities import KINDS

TRAINING_PARTS = frozenset({"train", "training"})  # names of parts of a given split, in small letters
HELDOUT_PARTS = frozenset(
    {"test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation", "heldout", "held_out"}
)
MAX_NAMED = 5  # classes in a note
NOTHING = "no rows are held out"
LARGER_SHARES = (0.15, 0.2, 0.25, 0.3, 0.4, 0.5)  # that are advised where too few rows are held out


@dataclass(frozen=True)
class Holdout:
    """Which rows are held out.

    holdout      the fraction of rows; None: 0.1, at most 1,000 rows
    by           rows with equal values of this column stay together; None: the column "concept", else the first text
    pairs        half of the held-out rows are pairs of `by` and this column, which training rows have with others
    near_copies  whether rows that are near copies of each other stay together; None: yes. False is the rule of runs
                 of earlier versions, which held out nothing where no group could be held out

    Parts that a source has, such as folders train and test, are the split, unless one of the first three is given.
    """

    holdout: ShareBelowOne | None = None
    by: str | None = None
    pairs: str | None = None
    near_copies: bool | None = None

    def __post_init__(self) -> None:
        validate_fields(self)

    def validate(self, kinds: Mapping[str, str]) -> None:
        """Raise TableError for a column that is not there."""
        groupable = [name for name, kind in kinds.items() if KINDS[kind].groupable]
        for name in (self.by, self.pairs):
            if name is not None and name not in groupable:
                raise TableError(did_you_mean("column to hold out by", name, groupable))

    def given(self) -> list[str]:
        """Which of the first three are given."""
        return [name for name in ("holdout", "by", "pairs") if getattr(self, name) is not None]


DEFAULT_HOLDOUT = Holdout()


@dataclass(frozen=True)
class Split:
    """The result of `split_rows`.

    heldout  the numbers of the held-out rows
    how      by what they are held out: "by equal values of caption"
    notes    what a user may not expect of it
    """

    heldout: list[int]
    how: str
    notes: tuple[str, ...] = ()


def split_rows(rows: RowStore, holdout: Holdout) -> Split:
    """The held-out rows. Raises TableError if there are no pairs to hold out."""
    parts, given = rows.parts, holdout.given()
    notes: tuple[str, ...] = ()
    if parts and {*parts} & HELDOUT_PARTS and {*parts} - HELDOUT_PARTS:
        names = " and ".join(sorted({*parts} & HELDOUT_PARTS))
        if not given:
            return Split(
                [i for i, part in enumerate(parts) if part in HELDOUT_PARTS], f"the part {names} of the data"
            )
        notes = (
            f"rows are held out anew by {', '.join(given)}, and not as the parts of the data say ({names})",
        )
    if rows.has_passages and not (holdout.by or holdout.pairs):
        documents = (rows.passage_keys >> 32).tolist()
        heldout = choose_heldout_documents(
            documents, rows.document_hashes(), _classes(rows, None), holdout.holdout
        )
        return Split(heldout, "by documents", notes)
    split = _split_by_values(rows, holdout)
    return replace(split, notes=(*notes, *split.notes))


def _split_by_values(rows: RowStore, holdout: Holdout) -> Split:
    """Rows with equal values of a column are held out together, or row by row where that cannot be."""
    by = grouping_column(rows.kinds, holdout.by)
    near = rows.near_copies if holdout.near_copies is not False else None
    partners = [str(cell) for cell in rows.cells(holdout.pairs)] if holdout.pairs else None
    # without a column to group by, equal rows are a group
    digests = [digest.hex() for digest in rows.report.digests]
    keys = [str(cell) for cell in rows.cells(by)] if by else digests
    heldout = choose_heldout(keys, _classes(rows, by), holdout.holdout, partners, near)
    how = f"by equal values of {by}" if by else "equal rows together"
    if heldout or not heldout_quota(len(rows), holdout.holdout):
        return Split(heldout, how + (f", and by pairs with {holdout.pairs}" if holdout.pairs else ""))
    reason = (
        f"all rows have the same {by}" if len({*keys}) == 1 else f"no group of rows with the same {by} can be"
    )
    if by is None or by == holdout.by:
        return Split([], how, (f"{NOTHING}: {reason if by else _why_none(rows)}",))
    if near is None and holdout.near_copies is False:
        return Split([], how, (f"{NOTHING}: {reason}; with near_copies they are, one by one",))
    heldout = choose_heldout(digests, _classes(rows, None), holdout.holdout, None, near)
    if not heldout:
        return Split([], how, (f"{NOTHING}: {_why_none(rows)}",))
    return Split(heldout, f"row by row, as {reason}", (f"rows are held out one by one, as {reason}",))


def _why_none(rows: RowStore) -> str:
    """Why no row can be held out."""
    if len({*rows.report.digests}) == 1:
        return "all rows are the same"
    labels = [name for name, kind in rows.kinds.items() if KINDS[kind].role == "class"]
    if labels:
        return f"each value of {' and '.join(labels)} needs a training row"
    return "all rows are copies, or near copies, of each other"


def _classes(rows: RowStore, by: str | None) -> list[list[str]]:
    """The labels of each row, of which training rows keep at least one each."""
    labels = [name for name, kind in rows.kinds.items() if KINDS[kind].role == "class" and name != by]
    cells = zip(*map(rows.cells, labels), strict=True) if labels else [()] * len(rows)
    return [
        [f"{name} {cell}" for name, cell in zip(labels, row, strict=True) if cell is not None]
        for row in cells
    ]


def grouping_column(kinds: Mapping[str, str], by: str | None = None) -> str | None:
    """The column whose equal values are held out together: `by`, else "concept", else the first text."""
    texts = [name for name, kind in kinds.items() if KINDS[kind].role == "prompt"]
    return by or ("concept" if "concept" in kinds else next(iter(texts), None))


def class_notes(rows: RowStore, split: Split) -> list[str]:
    """The classes that only held-out rows of a given split have."""
    notes, heldout = [], set(split.heldout)
    for name in (n for n, kind in rows.kinds.items() if rows.parts and KINDS[kind].role == "class"):
        counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for row, cell in enumerate(rows.cells(name)):
            counts[row in heldout][str(cell)] += cell is not None
        if unseen := [value for value in counts[1] if value not in counts[0]]:
            of = "class" if len(unseen) == 1 else f"{len(unseen)} classes"
            first = ", ".join(unseen[:MAX_NAMED]) + (", ..." if len(unseen) > MAX_NAMED else "")
            number = sum(counts[1][value] for value in unseen)
            notes.append(f"{name}: no training row has the {of} {first}, which {number:,} held-out rows have")
    return notes


def copy_notes(rows: RowStore, split: Split) -> list[str]:
    """How many rows are near copies of others, and how many held-out ones are copies, or near copies, of training
    rows."""
    digests, heldout = rows.report.digests, set(split.heldout)
    training = {digest for row, digest in enumerate(digests) if row not in heldout}
    copies = sum(digests[row] in training for row in heldout)
    lines = [f"{copies:,} of {len(heldout):,} held-out rows are copies of training rows"] if copies else []
    groups: dict[object, list[int]] = {}
    for row, key in enumerate(rows.near_copies or ()):
        groups.setdefault(key, []).append(row)
    near = [group for group in groups.values() if len({digests[row] for row in group}) > 1]
    if not near:
        return lines
    leaks = sum(len(heldout.intersection(group)) for group in near if not heldout.issuperset(group))
    end = (
        f"{leaks:,} of them are held out while another is a training row"
        if leaks
        else "each on one side of the split"
    )
    count, where = sum(map(len, near)), "1 group" if len(near) == 1 else f"{len(near):,} groups"
    return [
        *lines,
        f"{count:,} of {len(rows):,} rows are near copies, in {where} of nearly the same picture, {end}",
    ]


def advise(rows: RowStore, holdout: Holdout, minimum: int) -> str:
    """What to do where fewer than `minimum` rows are held out."""
    split = split_rows(rows, holdout)
    if rows.parts and not holdout.given():
        return f"add rows to {split.how}, or give a holdout, such as 0.2"
    for share in LARGER_SHARES:
        split = split_rows(rows, replace(holdout, holdout=share))
        if share > (holdout.holdout or 0) and len(split.heldout) >= minimum:
            return f"open it with a holdout of {share} ({option_text('holdout', share)}, in training too)"
    reasons = "; ".join(note for note in split.notes if note.startswith(NOTHING))
    return f"bring more rows{f' ({reasons})' if reasons else ''}"

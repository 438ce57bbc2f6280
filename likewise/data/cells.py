"""Columns of text cells -> numbers, where the cells are numbers: cell by cell, by evidence, with the reason.

How numbers are written is a matter of the whole file: a decimal comma in one column decides "1,234" in another. What
stays open is kept as written, and a note names the option that decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from likewise.core.formula import quote_name
from likewise.core.option_names import option_text
from likewise.data.arrow import TableError
from likewise.data.styles import NEGATIVE, PLAIN, NumberStyle, WrittenNumber, common_pattern, parse_written

if TYPE_CHECKING:
    import pyarrow as pa

MARKS = (
    "?",
    "-",
    "--",
    ".",
    "#NA",
    "#DIV/0!",
    "#VALUE!",
    "#REF!",
    "#NUM!",
    "#NAME?",
    "#NULL!",
)  # among numbers,
# which are missing values, and said; these are missing values without a word:
MISSING = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A")  # among numbers
BOOLEANS = {"True": True, "False": False}
CODE = r"^[+-]?0[0-9xX]"  # 007: a number would lose the zeros
PLUS = r"^\+[0-9]+$"  # +49...: a telephone number, unless a cell of the column is SIGNED
SIGNED = r"^-|[.,]"
LONG = r"^[+-]?[0-9]{19}"  # an integer that a computer's does not hold: a name
GROUP = r"^[+-]?[0-9]{1,3}[.][0-9]{3}$"  # 1.234, which is 1234 where the decimal mark is a comma
GROUPED = NumberStyle(",", ".")
MOST = 0.95  # of the cells of a column of numbers are numbers,
MAX_OTHERS = 10  # and so many different ones are none
MIN_CELLS = 10  # of which one may be none
SAMPLE = 1000  # different cells from which a column of texts is told


@dataclass(frozen=True)
class CellColumn:
    """A column as it is read.

    cells   int64, float64, bool or string
    reason  why it has this type, "" for texts
    notes   what a user should know of it
    bad     position -> why that cell cannot be used
    style   how its numbers are written, None where it has none
    pattern  that style as the pattern of a NumberFormat, "" for digits only
    """

    cells: pa.ChunkedArray
    reason: str = ""
    notes: Sequence[str] = ()
    bad: Mapping[int, str] = field(default_factory=dict)
    style: NumberStyle | None = None
    pattern: str = ""


def read_cells(
    columns: Mapping[str, pa.ChunkedArray], numeric: Mapping[str, bool], styles: Sequence[NumberStyle]
) -> dict[str, CellColumn]:
    """Columns of strings, null where a cell is empty -> as what they are read.

    numeric  column -> whether it is to be read as numbers; others are judged by their cells
    styles   in which numbers may be written, the plainest first
    """
    cells = {name: _Cells(name, column, numeric.get(name), styles) for name, column in columns.items()}
    decimal = None
    if any(c.plain is None and c.styles for c in cells.values()):  # else all are in the style of computers
        marks = {c.decimal_mark for c in cells.values()} - {None}
        decimal = marks.pop() if len(marks) == 1 else None
    return {name: c.read(decimal) for name, c in cells.items()}


class _Cells:
    """The cells of one column.

    cells   without spaces around them, null where they are missing among numbers
    plain   the numbers, if every cell is one as computers write them
    """

    def __init__(
        self, name: str, written: pa.ChunkedArray, numeric: bool | None, possible: Sequence[NumberStyle]
    ) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.name, self.written, self.numeric, self.possible = name, written, numeric, possible
        stripped = pc.utf8_trim_whitespace(written)
        self.marked = pc.is_in(stripped, pa.array(MARKS))
        missing = pc.or_(self.marked, pc.is_in(stripped, pa.array(MISSING)))
        self.cells = pc.if_else(missing, pa.scalar(None, pa.string()), stripped)
        self.total = 0 if numeric is False else len(written) - self.cells.null_count
        self.plain = self._parse_plain()

    def _parse_plain(self) -> pa.ChunkedArray | None:
        import pyarrow as pa

        dtypes = [pa.int64(), *([pa.float64()] if self.possible[0] == PLAIN else [])]
        for dtype in dtypes if self.total else ():
            try:
                numbers = self.cells.cast(dtype)
            except pa.ArrowInvalid:
                continue
            return None if self._find(CODE) else numbers  # 0x10 is cast, too
        return None

    def _find(self, pattern: str) -> str | None:
        """The first cell in which a pattern occurs."""
        import pyarrow.compute as pc

        matches = pc.match_substring_regex(self.cells, pattern)
        return self.cells.filter(matches)[0].as_py() if pc.any(matches).as_py() else None

    def _code(self) -> str | None:
        """A cell that would lose zeros, signs or digits as a number."""
        plus = self._find(PLUS)
        return self._find(CODE) or self._find(LONG) or (plus if plus and not self._find(SIGNED) else None)

    # ---- the different cells

    @cached_property
    def counts(self) -> dict[str, int]:
        """Each different cell, and how often it occurs."""
        import pyarrow.compute as pc

        counts = pc.value_counts(self.cells.drop_null())
        values, numbers = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
        return dict(zip(values, numbers, strict=True))

    @cached_property
    def numbers(self) -> dict[str, WrittenNumber]:
        """The different cells that may be numbers; those in brackets are negative if others have none."""
        words = bool(self.numeric) or self._word is not None
        numbers = {cell: w for cell in self.counts if (w := parse_written(cell, words=words)) is not None}
        return {} if numbers and all(map(NEGATIVE.fullmatch, numbers)) else numbers

    def _looks_numeric(self) -> bool:
        """Whether half of the different cells may be numbers, or of some of them if there are many."""
        import pyarrow.compute as pc

        values = pc.unique(self.cells.drop_null())
        some = values.take(list(range(0, len(values), max(1, len(values) // SAMPLE)))).to_pylist()
        words = self._word is not None
        return 2 * sum(parse_written(cell, words=words) is not None for cell in some) >= len(some)

    @cached_property
    def styles(self) -> tuple[NumberStyle, ...]:
        """The styles in which most cells are numbers, one for each decimal mark; one if they read the same.

        () for a column of texts.
        """
        if self.plain is not None:
            return (PLAIN, GROUPED) if GROUPED in self.possible and self._has_groups_only() else (PLAIN,)
        if not self.total or not (self.numeric or self._looks_numeric()):
            return ()
        counts: Counter[NumberStyle] = Counter()
        for cell, written in self.numbers.items():
            for style in self.possible:
                if style.value(written) is not None:
                    counts[style.with_unit(written.unit)] += self.counts[cell]
        order = sorted(counts, key=lambda style: (self.possible.index(style.with_unit("")), style.unit))
        best: dict[str, NumberStyle] = {}
        for style in order:
            if counts[style] == max(counts.values()):
                best.setdefault(style.decimal, style)
        styles = tuple(best.values())
        return styles if any(self._differ(styles, cell) for cell in self.numbers) else styles[:1]

    def _differ(self, styles: Sequence[NumberStyle], cell: str) -> bool:
        """Whether a cell with the unit of these styles is not the same number in all of them."""
        written = self.numbers[cell]
        return len({style.value(written) for style in styles if style.unit == written.unit}) > 1

    def _has_groups_only(self) -> bool:
        """Whether every point stands before three digits, so that it may separate thousands."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.plain is None or self.plain.type != pa.float64():
            return False
        points = self.cells.filter(pc.match_substring(self.cells, "."))
        matches = pc.match_substring_regex(points, GROUP)
        return len(points) > 0 and bool(pc.all(matches).as_py())

    @property
    def decimal_mark(self) -> str | None:
        """The decimal mark that the cells of this column decide on, None if they do not."""
        import pyarrow as pa

        if len(self.styles) != 1:
            return None
        if self.plain is not None:
            return "." if self.plain.type == pa.float64() else None
        values = self._values(self.styles[0])
        if sum(self.counts[cell] for cell in values) < MOST * self.total:
            return None
        return self.styles[0].decimal if any(set(cell) & {".", ","} for cell in values) else None

    def _values(self, style: NumberStyle) -> dict[str, int | float]:
        """The different cells that are numbers in a style, and the numbers."""
        values = {cell: style.value(w) for cell, w in self.numbers.items() if w.unit == style.unit}
        return {cell: value for cell, value in values.items() if value is not None}

    # ---- the result

    def read(self, decimal: str | None) -> CellColumn:
        """The column, in a file whose columns decide on this decimal mark; None if they do not."""
        column = self._read(decimal)
        notes = [*column.notes]
        if column.style is not None and (marks := self._marks()):
            notes.append(f"{self.name}: {marks} among numbers: missing values")
        if column.style is not None and (cell := next(filter(NEGATIVE.fullmatch, self._text_counts), None)):
            notes.append(f"{self.name}: numbers in brackets are negative, such as {cell}")
        pattern = self._pattern(column.style) if column.style is not None else ""
        return replace(column, notes=notes, pattern=pattern)

    def _pattern(self, style: NumberStyle) -> str:
        """How most cells write their numbers; of many, some are looked at."""
        import pyarrow.compute as pc

        cells = pc.unique(self.cells.drop_null())
        cells = cells.take(list(range(0, len(cells), max(1, len(cells) // SAMPLE)))).to_pylist()
        return common_pattern(cells, style)

    @property
    def _text_counts(self) -> Mapping[str, int]:
        """The different cells and their counts, none of a column of plain numbers."""
        return {} if self.plain is not None else self.counts

    def _marks(self) -> str:
        """Which of MARKS occur, and how often."""
        import pyarrow.compute as pc

        if not pc.any(self.marked).as_py():
            return ""
        counts = Counter(pc.utf8_trim_whitespace(self.written.filter(self.marked)).to_pylist())
        return ", ".join(f"{count:,} times {mark!r}" for mark, count in counts.most_common())

    @cached_property
    def _word(self) -> str | None:
        """The word that stands behind every number, such as kg; None if there is no such one."""
        import pyarrow.compute as pc

        if not self.total or self.numeric is not None:
            return None
        some = pc.unique(self.cells.slice(0, SAMPLE).drop_null()).to_pylist()
        units = {w.unit if (w := parse_written(cell, words=True)) else "" for cell in some}
        return units.pop() if len(units) == 1 and len(some) > 1 else None

    def _read(self, decimal: str | None) -> CellColumn:
        if self.total and (booleans := self._booleans()):
            return booleans
        if not self.total or not (styles := self.styles):
            if self.numeric and self.total:
                raise self._no_number()
            return CellColumn(self.written)
        if self.numeric is None and (code := self._code()):
            return CellColumn(self.written, f"codes such as {code!r}")
        if len(styles) > 1:
            chosen = [s for s in styles if s.decimal == decimal] or [s for s in styles if s == PLAIN]
            styles = tuple(chosen) or styles
        if len(styles) > 1:
            return self._ambiguous(styles)
        if styles[0].thousands == " " and not self._is_certain(styles[0]):
            note = (
                f"{self.name}: kept as written, as a space may separate thousands or not; "
                f"{option_text('thousands', ' ')} says so"
            )
            return CellColumn(self.written, "", [note])
        if self.plain is not None and styles[0] == PLAIN:
            return CellColumn(self.plain, _reason(self.total, self.total, PLAIN), style=PLAIN)
        return self._numbers(styles[0])

    def _no_number(self) -> TableError:
        example = next(iter(self.counts))
        return TableError(
            f"column {self.name!r} cannot be read as numbers: no cell is one, such as {example!r}"
        )

    def _is_certain(self, style: NumberStyle) -> bool:
        """Whether spaces separate thousands: as said, or by decimals, or as they are those that do not break."""
        said = {style.thousands for style in self.possible} == {"", " "}
        return said or any(
            set(cell) & {".", ",", "\u00a0", "\u202f", "\u2009"} for cell in self._values(style)
        )

    def _booleans(self) -> CellColumn | None:
        """The column as booleans, if its cells are these as Python writes them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        words = pc.unique(self.cells.slice(0, SAMPLE).drop_null()).to_pylist()
        if (
            not set(words) <= BOOLEANS.keys()
            or not pc.all(pc.is_in(self.cells.drop_null(), pa.array(list(BOOLEANS)))).as_py()
        ):
            return None
        return CellColumn(pc.equal(self.cells, "True"), "True and False")

    def _ambiguous(self, styles: Sequence[NumberStyle]) -> CellColumn:
        cell = next(cell for cell in self.numbers if self._differ(styles, cell))
        values = [style.value(self.numbers[cell]) for style in styles[:2]]
        first, second = ("no number" if value is None else f"{value:g}" for value in values)
        note = (
            f"{self.name}: kept as written, as {cell!r} may be {first} or {second}; "
            f"{option_text('decimal', styles[0].decimal)} or {option_text('decimal', styles[1].decimal)} says which"
        )
        return CellColumn(self.written, "", [note])

    def _numbers(self, style: NumberStyle) -> CellColumn:
        import pyarrow as pa

        values = self._values(style)
        others = {cell: count for cell, count in self.counts.items() if cell not in values}
        count = self.total - sum(others.values())
        few = self.total - count <= (1 - MOST) * self.total or (
            self.total - count == 1 and self.total >= MIN_CELLS
        )
        if not self.numeric and not (few and len(others) <= MAX_OTHERS):
            return self._text(count, others)
        whole = all(isinstance(value, int) and abs(value) < 2**63 for value in values.values())
        numbers, bad = [], {}
        for position, cell in enumerate(self.cells.to_pylist()):
            numbers.append(values.get(cell))
            if cell is not None and cell not in values:
                bad[position] = f"{cell!r} is not a number"
        cells = pa.chunked_array([pa.array(numbers, pa.int64() if whole else pa.float64())])
        notes = (
            [
                f"{self.name}: values are numbers without the unit {style.unit}, with which .csv files of samples write them"
            ]
            if style.unit
            else []
        )
        return CellColumn(cells, _reason(count, self.total, style), notes, bad, style)

    def _text(self, count: int, others: Mapping[str, int]) -> CellColumn:
        """The column as written, with a note if most of its cells are numbers."""
        if 2 * count < self.total:
            return CellColumn(self.written)
        some = ", ".join(repr(cell) for cell in list(others)[:3])
        note = (
            f"{self.name}: kept as written: {count:,} of {self.total:,} cells are numbers, and {some} are not; "
            f"{option_text('kind', quote_name(self.name), 'number')} takes them for cells that cannot be used"
        )
        return CellColumn(self.written, "", [note])


def _reason(count: int, total: int, style: NumberStyle) -> str:
    """
    >>> _reason(299, 300, NumberStyle(",", "", "€"))
    "299 of 300 cells are numbers in €, decimal ','"
    """
    unit = f" in {style.unit}" if style.unit else ""
    marks = f", {style.describe()}" if style.with_unit("") != PLAIN else ""
    return f"{count:,} of {total:,} cells are numbers{unit}{marks}"

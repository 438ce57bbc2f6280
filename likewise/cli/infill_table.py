"""Whole files with missing cells: each is sampled given its row, once or several times (multiple imputation)."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from likewise.cli.destination import file_to_write
from likewise.cli.flags import Parser
from likewise.cli.requests import Request
from likewise.cli.sample_table import PART_ROWS, PartSampler
from likewise.cli.tables import print_notes
from likewise.core.printing import align_columns
from likewise.data.arrow import HIDDEN, ROW
from likewise.data.readers import DEFAULT_FORMAT, FileFormat
from likewise.data.readers.source import read_source
from likewise.data.readers.table_file import read_written_cells
from likewise.data.table import Table
from likewise.data.table_writer import (
    ENDINGS,
    SEPARATORS,
    TableColumn,
    Values,
    in_parts,
    is_table_file,
    write_table,
)
from likewise.modalities import KINDS
from likewise.modalities.base import Row
from likewise.models.imputation import Pooled, PooledMeans, fill_missing
from likewise.models.model import Model
from likewise.viz import images

if TYPE_CHECKING:
    import pyarrow as pa

DRAW = "draw"  # the column that numbers imputations


@dataclass(frozen=True)
class SourceFile:
    """A file with missing cells.

    cells    all its rows and columns: as written if the output is a text file too, else with their types
    numbers  the number of each of these rows
    rows     the values of those that a model reads, by their numbers
    """

    cells: pa.Table
    numbers: Sequence[int]
    rows: Mapping[int, Row]
    written: bool


def infill_table(request: Request, parser: Parser, file: str) -> int:
    """Fill all missing targets in a file, --draws times, and print the pooled means of numbers."""
    model, args = request.model, request.args
    if not isinstance(model, Model) or images.visual_columns(model.columns, model.targets):
        raise ValueError(
            f"{args.run} samples pictures, or is a pipeline; a file of rows is filled by a model of values"
        )
    if request.given or args.negative:
        raise ValueError(f"the rows of {file} are what is given; leave --given, --known and --negative out")
    out = _output(args, file)
    source = open_source(model, args, file, FileFormat(**parser.values_of(args, "format")), out)
    targets = {model.formula.view(name).column: name for name in model.targets}
    names = [n for n in source.cells.column_names if n not in HIDDEN]
    names += [column for column in targets if column not in names]
    if args.draws > 1 and DRAW in names:
        raise ValueError(f"{file} has a column {DRAW!r}, which is to number the imputations; rename it")
    columns = [_column(source, model, name, targets) for name in names]
    if args.draws > 1:
        columns = [_draw_column(), *columns]
    total = args.draws * len(source.numbers)
    sampler = PartSampler(model, total)
    means = PooledMeans([n for n in model.targets if KINDS[model.columns[n].kind].numeric])
    filled = dict.fromkeys(model.targets, 0)

    def parts() -> Iterator[Values]:
        for draw in range(args.draws):
            for part in in_parts(len(source.numbers), PART_ROWS):
                new = _impute(request, source, part, draw, sampler)
                means.add(draw, list(new.values()))
                if not draw:
                    for name in filled:
                        filled[name] += sum(source.rows[i].get(name) is None for i in new)
                cells = [_filled_cells(source, part, n, targets.get(n), new, model) for n in names]
                first = [[draw + 1] * len(part)] if args.draws > 1 else []
                yield list(zip(*first, *cells, strict=True))

    about = request.provenance(0, {}, seed=args.seed, data=file, draws=args.draws)
    del about["index"], about["sources"]
    write_table(out, columns, parts(), about, total)
    _print_report(model, source, filled, means.results(), args.draws, out)
    return 0


def _output(args: Namespace, file: str) -> Path:
    """The file that is written. Raises ValueError for a name that is none of a table, or in use."""
    ending = Path(file).suffix.lower()
    default = f"infilled{ending if ending in ENDINGS else '.csv'}"
    if args.out is not None and not is_table_file(args.out):
        raise ValueError(
            f"--out {args.out}: write a name that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
        )
    return file_to_write(args.out, default, args.overwrite)


def open_source(model: Model, args: Namespace, file: str, fmt: FileFormat, out: Path) -> SourceFile:
    """Read a file, whose columns are those of a model. Raises TableError for values that the model cannot read."""
    like = {model.formula.view(n).column: column for n, column in model.columns.items()}
    cells = read_source(file, fmt=fmt).rows.data.table
    there = [n for n in like if n in cells.column_names and cells[n].null_count < len(cells)]
    if not there:
        raise ValueError(f"{file} has no value in any column of the model ({', '.join(like)})")
    options = {} if fmt == DEFAULT_FORMAT else {n: getattr(fmt, n) for n in fmt.given()}
    table = Table.open(
        file, like={n: like[n] for n in there}, columns=there, skip_bad=args.skip_bad, **options
    )
    views = {n: c for n, c in model.columns.items() if model.formula.view(n).column in there}
    table = table.with_views(views, model.formula)
    print_notes(f"not filled: {bad}" for bad in table.skipped[:10])
    rows = {number: table[i] for i, number in enumerate(table.row_numbers())}
    written = read_written_cells(Path(file), fmt) if out.suffix.lower() in SEPARATORS else None
    if written is not None:
        cells = written
    numbers = cells[ROW].to_pylist() if ROW in cells.column_names else list(range(len(cells)))
    return SourceFile(cells, numbers, rows, written is not None)


def _impute(
    request: Request, source: SourceFile, part: range, draw: int, sampler: PartSampler
) -> dict[int, Row]:
    """The filled rows of a part that the model reads, by their numbers."""
    model = request.model
    assert isinstance(model, Model)
    numbers = [source.numbers[i] for i in part if source.numbers[i] in source.rows]
    names = {*model.formula.columns}
    rows = [{n: v for n, v in source.rows[i].items() if n in names} for i in numbers]
    new = fill_missing(
        model,
        rows,
        indices=[(draw << 32) + i for i in numbers],
        seed=request.args.seed,
        sample=sampler.sample,
        **request.sampling_options,
    )
    return dict(zip(numbers, new, strict=True))


def _column(source: SourceFile, model: Model, name: str, targets: Mapping[str, str]) -> TableColumn:
    """A column of the output; new if the file lacks it."""
    import pyarrow as pa

    if name in source.cells.column_names:
        stored = source.cells[name].type
        if not pa.types.is_null(stored):
            return TableColumn(name, _as_cell, lambda value: value, stored)
    column = TableColumn.of(targets[name], model.columns[targets[name]]) if name in targets else None
    return TableColumn(name, _as_cell, lambda value: value, column.type if column else pa.string())


def _as_cell(value: Any) -> str:
    return "" if value is None else str(value)


def _draw_column() -> TableColumn:
    import pyarrow as pa

    return TableColumn(DRAW, str, lambda value: value, pa.int32())


def _filled_cells(
    source: SourceFile, part: range, name: str, target: str | None, new: Mapping[int, Row], model: Model
) -> list[Any]:
    """The cells of a column in some rows, in which those of a target that are missing are filled."""
    import pyarrow as pa

    stored = source.cells[name] if name in source.cells.column_names else None
    cells: list[Any] = (
        [None] * len(part) if stored is None else stored.slice(part.start, len(part)).to_pylist()
    )
    if target is None:
        return cells
    column = model.columns[target]
    for k, i in enumerate(part):
        number = source.numbers[i]
        if number in new and source.rows[number].get(target) is None:
            value = new[number][target]
            if source.written:
                cells[k] = column.format_cell(value)
            elif stored is None or pa.types.is_null(stored.type):
                cells[k] = column.native(value)
            elif pa.types.is_string(stored.type) or pa.types.is_large_string(stored.type):
                cells[k] = column.format_cell(value)
            else:
                cells[k] = pa.scalar(column.native(value)).cast(stored.type, safe=False).as_py()
    return cells


def _print_report(
    model: Model,
    source: SourceFile,
    filled: Mapping[str, int],
    means: Mapping[str, Pooled],
    draws: int,
    out: Path,
) -> None:
    """Print how many cells are filled, and the pooled means of numbers."""
    count = sum(filled.values())
    times = f", each {draws} times" if draws > 1 else ""
    print(f"{out}: {count:,} cells of {len(source.rows):,} rows filled{times}")
    if not count:
        print_notes([f"no cell of {', '.join(model.targets)} is missing"])
        return
    lines = [["column", "filled", "mean", "std. error", "95 % interval", "due to missing"]]
    for name, number in filled.items():
        if number:
            lines.append([name, f"{number:,}", *_describe(means.get(name), draws)])
    if draws == 1:
        lines = [line[:3] for line in lines]
        print(align_columns(lines))
        print("one sample of each; --draws 20 tells how uncertain means are (Rubin's rules)")
    else:
        print(f"means of all rows, pooled over {draws} draws by Rubin's rules:")
        print(align_columns(lines))


def _describe(pooled: Pooled | None, draws: int) -> list[str]:
    if pooled is None:
        return [""] * 4
    digits = f"{pooled.estimate:.6g}"
    if draws == 1:
        return [digits]
    interval = f"{pooled.low:.6g} to {pooled.high:.6g}"
    share = "" if np.isnan(pooled.missing_share) else f"{100 * pooled.missing_share:.2g} %"
    return [digits, f"{pooled.error:.3g}", interval, share]

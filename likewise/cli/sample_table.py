"""Samples as a table in a file: sampled and written in parts, so that memory does not depend on their number."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.cli.destination import file_to_write
from likewise.cli.requests import Request
from likewise.core.errors import receive_warnings, warn
from likewise.data.table_writer import TableColumn, Values, in_parts, is_table_file, write_table
from likewise.modalities.all_columns import is_cell
from likewise.modalities.base import Row
from likewise.modalities.id import Id
from likewise.models.base import TypedDistribution
from likewise.models.model import Model
from likewise.models.requests import Prompt
from likewise.viz import images

PART_ROWS = 8192  # that are sampled before they are written
BATCH = 512  # rows of numbers and labels that are sampled at once


def makes_table(request: Request) -> bool:
    """Whether the samples are to be written as a table: --out names one, and no target is a picture."""
    out, model = request.args.out, request.model
    return bool(out) and is_table_file(out) and not images.visual_columns(model.columns, model.targets)


def sample_table(
    request: Request, prompts: Sequence[Prompt], details: Mapping[str, Any], options: Mapping[str, Any]
) -> int:
    """Sample -n rows for each prompt into the file --out: the targets, and the sources that are given.

    options  keywords of Model.sample; `prompts` of each row
    """
    model, args = request.model, request.args
    out = file_to_write(Path(args.out), args.out, args.overwrite)
    given = dict.fromkeys(name for prompt in prompts for name in prompt.values if name in model.sources)
    names = [*model.targets, *(name for name in given if not model.columns[name].visual)]
    if out.suffix == ".jsonl":  # which has the sources in each line
        names = list(model.targets)
    ids = _ids(model)
    columns = [TableColumn.of(name, column) for name, column in ids.items()]
    columns += [TableColumn.of(name, model.columns[name]) for name in names]
    total, began = args.n * len(prompts), time.perf_counter()

    def about(row: int) -> Row:
        prompt = prompts[row // args.n]
        return request.provenance(row % args.n, prompt.strings, seed=args.seed, **details)

    def parts() -> Iterator[Values]:
        texts = options.get("prompts")
        sampler = PartSampler(model, total)
        fresh = [column.fresh(args.seed) for column in ids.values()]
        for part in in_parts(total, PART_ROWS):
            more = {} if texts is None else {"prompts": texts[part.start : part.stop]}
            rows = sampler.sample(
                [prompts[i // args.n].values for i in part],
                [i % args.n for i in part],
                **{**options, **more, "seed": args.seed, **request.sampling_options},
            )
            yield [[*(next(new) for new in fresh), *(row.get(name) for name in names)] for row in rows]

    def about_all(row: int) -> Row:
        every = {**about(row), "sources": [p.strings for p in prompts], "rows": total}
        return {name: value for name, value in every.items() if name != "index"}

    write_table(out, columns, parts(), about if out.suffix == ".jsonl" else about_all, total)
    seconds = time.perf_counter() - began
    print(f"{args.out}: {total} samples in {seconds:.1f} s, model loaded in {request.load_seconds:.1f} s")
    return 0


def _ids(model: TypedDistribution) -> dict[str, Id]:
    """The columns of which each sample has a new id."""
    ids = model.ids if isinstance(model, Model) else {}
    return {name: column for name, column in ids.items() if isinstance(column, Id)}


class PartSampler:
    """Samples rows in parts; a warning of several parts is given once, and a terminal shows how many rows are done."""

    def __init__(self, model: TypedDistribution, total: int) -> None:
        self._model, self._total, self._done = model, total, 0
        cells = isinstance(model, Model) and all(map(is_cell, model.target_columns.values()))
        self._batch: Row = {"batch": BATCH} if cells else {}
        self._notes: set[str] = set()

    def sample(self, rows: Sequence[Row], indices: Sequence[int], **options: Any) -> list[Row]:
        """A sample of each row, see Model.sample."""
        notes: list[str] = []
        with receive_warnings(notes.append):
            samples = self._model.sample(rows, indices=indices, **self._batch, **options)
        for note in dict.fromkeys(notes):
            if note not in self._notes:
                warn(note)
        self._notes.update(notes)
        self._done += len(rows)
        if self._total > PART_ROWS and sys.stderr.isatty():
            end = "\n" if self._done >= self._total else ""
            print(f"\r{self._done:,} of {self._total:,} rows ", end=end, file=sys.stderr, flush=True)
        return samples

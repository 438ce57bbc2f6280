"""Batches of rows as one table: in memory, or in a memory-mapped file if there are many."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

MAX_BYTES_IN_MEMORY = 2**28  # of a table that is read; a larger one is memory-mapped


def spool(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """The table of all batches; a large one is in a temporary file, which disappears with it."""
    import pyarrow as pa

    parts, size, rest = [], 0, iter(batches)
    for batch in rest:
        parts.append(batch)
        size += batch.nbytes
        if size > MAX_BYTES_IN_MEMORY:
            return memory_map(itertools.chain(parts, rest), schema)
    return pa.Table.from_batches(parts, schema)


def memory_map(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """The table of all batches in a temporary file."""
    import pyarrow as pa

    with tempfile.NamedTemporaryFile(suffix=".arrow") as file:
        with pa.ipc.new_stream(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        return pa.ipc.open_stream(pa.memory_map(file.name)).read_all()

"""Tables of Arrow: files (.parquet, .arrow, .feather) and data frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from likewise.data.arrow import TableError, to_dataset
from likewise.data.readers.base import Reading
from likewise.data.readers.data_file import DataFile
from likewise.data.spool import spool

if TYPE_CHECKING:
    import pyarrow as pa

ARROW = (".parquet", ".arrow", ".feather")
INDEX = "__index_level_0__"  # of a data frame of pandas, without a name


def read_arrow(file: DataFile) -> Reading:
    """The rows of a file. Raises TableError for one that is compressed as a whole, and for equal names of columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix != file.path.suffix.lower():
        raise TableError(f"cannot read {str(file.path)!r}: unpack it, as {file.suffix} is compressed already")
    source = f"{file.path}: "
    if file.suffix == ".parquet":
        with pq.ParquetFile(file.path, memory_map=True) as parquet:
            _require_different(parquet.schema_arrow, source)
            batches = parquet.iter_batches()
            return from_arrow(
                spool(_decode_batches(batches, schema := _plain(parquet.schema_arrow)), schema), source
            )
    stream = pa.memory_map(str(file.path))
    try:
        return from_arrow(pa.ipc.open_file(stream).read_all(), source)
    except pa.ArrowInvalid:
        stream.seek(0)
        return from_arrow(pa.ipc.open_stream(stream).read_all(), source)


def from_arrow(table: pa.Table, source: str = "") -> Reading:
    """The rows of a table, and what is left out of it. `source` precedes the message of a TableError."""
    _require_different(table.schema, source)
    table = _with_types(table, _plain(table.schema))
    unused, left_out = [], {}
    if INDEX in table.column_names:
        table = table.drop_columns(INDEX)
        unused.append(
            "the index of a data frame, which has no name, is left out; reset_index() makes it a column"
        )
    for field in table.schema:
        if not _has_feature(field):
            left_out[field.name] = f"no modality reads {field.type}"
    if left_out:  # the metadata would describe these columns, too
        table = table.drop_columns(list(left_out)).replace_schema_metadata(None)
    return Reading(to_dataset(table), unused=unused, left_out=left_out)


def _require_different(schema: pa.Schema, source: str) -> None:
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise TableError(f"{source}several columns have one name, {name!r}; rename them")


def _plain(schema: pa.Schema) -> pa.Schema:
    """The schema with usual types of texts in place of views and categories, which data sets do not have."""
    import pyarrow as pa

    def plain(dtype: pa.DataType) -> pa.DataType:
        dtype = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
        return {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}.get(dtype, dtype)

    return pa.schema([field.with_type(plain(field.type)) for field in schema], schema.metadata)


def _decode_batches(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for batch in batches:
        yield from _with_types(pa.Table.from_batches([batch]), schema).to_batches()


def _with_types(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the types of `_plain`."""
    import pyarrow as pa

    columns = []
    for column, dtype in zip(table.columns, schema.types, strict=True):
        if pa.types.is_dictionary(column.type):
            values = [chunk.dictionary.cast(dtype).take(chunk.indices) for chunk in column.chunks]
            columns.append(pa.chunked_array(values, dtype))
        else:
            columns.append(column if column.type == dtype else column.cast(dtype))
    return pa.Table.from_arrays(columns, schema=schema)


def _has_feature(field: pa.Field) -> bool:
    """Whether data sets have a type for a column."""
    from datasets.features.features import generate_from_arrow_type

    try:
        generate_from_arrow_type(field.type)
    except (ValueError, TypeError, NotImplementedError):
        return False
    return True

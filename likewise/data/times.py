"""Dates, times and durations of Arrow as the texts that their kinds read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from likewise.modalities.duration_format import write_duration

if TYPE_CHECKING:
    import pyarrow as pa


def written_times(values: pa.ChunkedArray) -> tuple[list[str | None], str]:
    """A column of a temporal type -> texts in ISO 8601 to the resolution that it has, and the name of its zone.

    Time stamps of a zone with a name become local times; those of UTC, or of an offset, end in it. Nanoseconds are
    dropped.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    dtype, zone = values.type, ""
    if pa.types.is_duration(dtype):
        spans = values.cast(pa.duration("us"), safe=False).cast(pa.int64()).to_pylist()
        layout = "%D day(s) %0H:%M:%S" + (".%6f" if any(v and v % 10**6 for v in spans) else "")
        return [None if v is None else write_duration(layout, v) for v in spans], ""
    if pa.types.is_time(dtype):
        micros = values.cast(pa.time64("ns") if dtype.bit_width == 64 else dtype).cast(
            pa.time64("us"), safe=False
        )
        return [None if v is None else v.isoformat() for v in micros.to_pylist()], ""
    if pa.types.is_date(dtype):
        return values.cast(pa.date32()).cast(pa.string()).to_pylist(), ""
    if dtype.tz is not None:
        zone = dtype.tz
        values = pc.local_timestamp(values)
    micros = values.cast(pa.timestamp("us"), safe=False)
    for unit in ("s", "ms", "us"):
        whole = micros.cast(pa.timestamp(unit), safe=False)
        if unit == "us" or pc.all(pc.equal(whole.cast(pa.timestamp("us")), micros), min_count=0).as_py():
            break
    is_offset = zone in ("UTC", "Z", "GMT") or zone[:1] in "+-"
    end = "" if not zone or not is_offset else zone if zone[0] in "+-" else "Z"
    texts = [None if v is None else v.replace(" ", "T") + end for v in whole.cast(pa.string()).to_pylist()]
    return texts, "" if is_offset else zone

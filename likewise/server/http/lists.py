"""Lists in pages, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from likewise.server.http.errors import invalid


def page_json(data: Sequence[dict[str, Any]], more: bool) -> dict[str, Any]:
    """A page of a list."""
    ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": list(data), "has_more": more, "first_id": ends[0], "last_id": ends[1]}


def page_after(data: Sequence[dict[str, Any]], after: str | None, limit: int) -> dict[str, Any]:
    """The page of a whole list that begins after the entry with that id. Raises APIError for an unknown one."""
    start = 0
    if after is not None:
        ids = [entry["id"] for entry in data]
        if after not in ids:
            raise invalid(f"there is no entry {after[:100]!r} in this list", "after")
        start = ids.index(after) + 1
    return page_json(data[start : start + limit], len(data) > start + limit)

"""Drops: which rows of which batches are to be dropped, told from the server to its replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

POLL_SECONDS = 20.0  # after which a replica that waits asks again


class Drops:
    """An actor of the server that replicas wait on. It ends with the server, even if that is killed."""

    def __init__(self) -> None:
        self._rows: dict[str, set[int]] = {}  # by batch
        self._changed = asyncio.Condition()

    async def drop(self, batch: str, rows: Sequence[int]) -> None:
        """Have rows of a batch dropped."""
        async with self._changed:
            self._rows.setdefault(batch, set()).update(rows)
            self._changed.notify_all()

    async def wait(self, batch: str, known: int) -> list[int]:
        """The rows of a batch that are dropped, once they are more than so many, or after a time."""
        async with self._changed:
            more = self._changed.wait_for(lambda: len(self._rows.get(batch, ())) > known)
            with suppress(TimeoutError):
                await asyncio.wait_for(more, POLL_SECONDS)
            return sorted(self._rows.get(batch, ()))

    async def end(self, batch: str) -> None:
        """Forget a batch."""
        self._rows.pop(batch, None)

    async def ping(self) -> None:
        """Return, as a sign that the server is there."""

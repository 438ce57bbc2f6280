"""Replica: a process of a cluster of Ray that samples batches, one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from likewise._version import __version__
from likewise.core.errors import receive_warnings
from likewise.server.catalog.registry import ModelRegistry
from likewise.server.cluster.messages import BatchOrder, Message, SampledBatch, SamplingFailure
from likewise.server.cluster.step_reporter import StepReporter
from likewise.server.http.errors import APIError
from likewise.server.jobs.book import error_json
from likewise.server.settings import ServerSettings

PING_SECONDS = 5.0
log = logging.getLogger("likewise.server")


class Replica:
    """What Ray Serve runs several times, each with models of its own.

    settings  the folder, what models may take, and the threads
    version   of the server
    drops     the actor Drops of the server
    app       the application's name in Serve, which is deleted when the server has gone
    """

    def __init__(self, settings: ServerSettings, version: str, drops: Any, app: str) -> None:
        """Raises ValueError for a replica of another version than the server."""
        if version != __version__:
            raise ValueError(
                f"the server is likewise {version}, and this node has {__version__}; install the same"
            )
        self.registry, self.drops, self.app = ModelRegistry(settings), drops, app
        threads = settings.threads or 1
        self._sampling = ThreadPoolExecutor(1, "sampling", lambda: torch.set_num_threads(threads))

    async def sample(self, order: BatchOrder) -> AsyncGenerator[Message]:
        """Sample a batch: reports of its steps, and last its rows or the error."""
        loop, messages = asyncio.get_running_loop(), asyncio.Queue[Message]()

        def send(message: Message) -> None:
            loop.call_soon_threadsafe(messages.put_nowait, message)

        reporter = StepReporter(order.reports, send)
        listening = asyncio.create_task(self._listen(order.id, reporter))
        running = loop.run_in_executor(self._sampling, self._sample, order, reporter, send)
        try:
            message: Message | None = None
            while not isinstance(message, SampledBatch | SamplingFailure):
                message = await messages.get()
                yield message
            await running
        finally:  # also when the server cancels this call
            reporter.stopped = True
            listening.cancel()

    async def check_health(self) -> None:
        """Called by Serve now and then: put idle models away, and end if the server has gone."""
        self.registry.unload_idle()
        if await self._server_has_ended():
            from ray import serve

            await asyncio.get_running_loop().run_in_executor(None, serve.delete, self.app)

    async def _server_has_ended(self) -> bool:
        from ray.exceptions import ActorDiedError

        try:
            await asyncio.wait_for(self.drops.ping.remote(), PING_SECONDS)
        except ActorDiedError:
            return True
        except Exception:  # it is slow, or the network is
            return False
        return False

    async def _listen(self, batch: str, reporter: StepReporter) -> None:
        """Tell a reporter which rows are dropped; all of them if the server has gone."""
        try:
            while True:
                reporter.dropped.update(await self.drops.wait.remote(batch, len(reporter.dropped)))
        except Exception:
            reporter.stopped = True

    def _sample(self, order: BatchOrder, reporter: StepReporter, send: Callable[[Message], None]) -> None:
        """Sample in the thread for it."""
        notes: list[str] = []
        try:
            self._find(order)
            with self.registry.acquire(order.model) as model, receive_warnings(notes.append):
                rows = model.sample_batch(order.requests, on_step=reporter.on_step)
            reporter.finish()
            send(SampledBatch(rows, notes))
        except BaseException as error:
            if not isinstance(error, ValueError | APIError):
                log.error("sampling", exc_info=error)
            send(SamplingFailure(error_json(error)))
        finally:
            self.registry.unload_idle()

    def _find(self, order: BatchOrder) -> None:
        """See that the model is known as it is now. Raises APIError if it is not there."""
        entry = self.registry.entries().get(order.model)
        if entry is None or entry.created != order.created:
            self.registry.rescan()
        if order.model not in self.registry.entries():
            folder = self.registry.settings.folder
            message = f"a replica finds no model {order.model} in {folder}; every node needs the folder at this path"
            raise APIError(500, message, param="model", code="model_not_found")

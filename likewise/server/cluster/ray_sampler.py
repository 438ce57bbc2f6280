"""RaySampler: batches are computed by replicas on a cluster of Ray."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Any

import torch

from likewise._version import __version__
from likewise.core.errors import warn
from likewise.modalities.base import Row
from likewise.models.sample_request import SamplingProgress
from likewise.server.catalog.registry import AnyModel, ModelRegistry
from likewise.server.cluster.drops import Drops
from likewise.server.cluster.messages import (
    BatchOrder,
    RowReports,
    SampledBatch,
    SamplingFailure,
    StepReport,
)
from likewise.server.cluster.nodes import check_nodes, choose_resources, connect
from likewise.server.cluster.replica import Replica
from likewise.server.http.errors import APIError
from likewise.server.jobs.book import new_id
from likewise.server.jobs.progress import ProgressReporter
from likewise.server.jobs.sampler import Kinds
from likewise.server.jobs.work import Batch, CallWork, SampleWork
from likewise.server.settings import DEFAULT_REPLICAS, ServerSettings

TICK_SECONDS = 0.1  # after which it is looked whether jobs are cancelled
GRACE_SECONDS = 10.0  # for a replica to end a batch of which all rows are dropped
ATTEMPTS = 2  # to sample a batch whose replica ends
QUIET = {"log_level": "WARNING", "enable_access_log": False}
log = logging.getLogger("likewise.server")


class RaySampler:
    """Computes as many batches at once as there are replicas. Calls are done in this process, by a thread of their own."""

    def __init__(self, settings: ServerSettings, registry: ModelRegistry) -> None:
        """Start or join the cluster, and deploy the replicas. Raises ValueError."""
        assert settings.ray is not None
        connect(settings.ray)
        import ray

        self._registry = registry
        self._app = (
            "likewise-" + hashlib.sha256(str(settings.state_folder.resolve()).encode()).hexdigest()[:12]
        )
        replicas = settings.replicas or DEFAULT_REPLICAS
        try:
            self._deploy(settings, replicas)
        except BaseException:
            ray.shutdown()
            raise
        self.lanes: Sequence[Kinds] = [(SampleWork,)] * replicas + [(CallWork,)]

    def _deploy(self, settings: ServerSettings, replicas: int) -> None:
        import ray
        from ray import serve
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        folder = settings.folder.resolve()
        nodes = [node for node in ray.nodes() if node["Alive"]]
        resources = choose_resources(nodes, replicas, settings.threads)
        check_nodes(nodes, folder)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(Drops)
        self._drops = actor.remote()
        served = ServerSettings(
            folder,
            memory_mb=settings.memory_mb,
            keep_alive=settings.keep_alive,
            threads=resources.threads,
        )
        deployment = serve.deployment(Replica).options(
            name="replica",
            num_replicas=replicas,
            max_ongoing_requests=1,
            ray_actor_options={"num_cpus": resources.threads, "num_gpus": resources.gpus},
            graceful_shutdown_timeout_s=GRACE_SECONDS,
            max_constructor_retry_count=2,
        )
        serve.start(proxy_location="Disabled", logging_config=QUIET)
        app = deployment.bind(served, __version__, self._drops, self._app)
        try:
            handle = serve.run(app, name=self._app, route_prefix=None, logging_config=QUIET)
        except RuntimeError as error:
            raise ValueError(f"the replicas do not start: {str(error).strip().splitlines()[-1]}") from error
        self._handle = handle.options(stream=True)

    def close(self) -> None:
        """Remove the replicas, and end the cluster if it was started here."""
        import ray
        from ray import serve

        serve.delete(self._app)
        ray.shutdown()

    def sample(self, batch: Batch, model: AnyModel, reporter: ProgressReporter) -> list[Row | None]:
        """See Sampler. A batch whose replica ends is sampled once more, to the same values."""
        from ray.exceptions import RayError

        for _ in range(ATTEMPTS):
            try:
                sampled = asyncio.run(self._follow(self._order(batch), reporter))
            except RayError as error:
                log.warning("a replica has ended while it sampled: %s", str(error).splitlines()[0])
                continue
            for message in sampled.warnings:
                warn(message)
            return list(sampled.rows)
        raise APIError(
            503,
            f"the process that sampled this has ended {ATTEMPTS} times, so it is given up; it may need more memory than "
            "there is: ask for fewer or smaller samples",
            code="replica_ended",
        )

    def _order(self, batch: Batch) -> BatchOrder:
        entry = self._registry.resolve(batch.rows[0][0].job.model)
        reports = [RowReports(work.previews, work.stream, work.texts) for work, _ in batch.rows]
        return BatchOrder(new_id("batch"), entry.id, entry.created, batch.requests, reports)

    async def _follow(self, order: BatchOrder, reporter: ProgressReporter) -> SampledBatch:
        """Have a replica sample, and report what it says."""
        mirror, dropped_at = BatchMirror(len(order.requests)), None
        response = self._handle.sample.remote(order)
        messages = aiter(response)
        pending = asyncio.ensure_future(anext(messages))
        try:
            while True:
                await asyncio.wait({pending}, timeout=TICK_SECONDS)
                if pending.done():
                    message = pending.result()
                    if isinstance(message, SampledBatch):
                        return message
                    if isinstance(message, SamplingFailure):
                        raise api_error(message)
                    pending = asyncio.ensure_future(anext(messages))
                    progress = mirror.update(message)
                    reporter.on_step(progress)
                else:
                    progress = mirror.progress()
                    reporter.drop_ended(progress)
                if new := mirror.drop(progress):
                    self._drops.drop.remote(order.id, new)
                if len(mirror.dropped) == len(order.requests):
                    dropped_at = dropped_at or time.monotonic()
                    if time.monotonic() - dropped_at > GRACE_SECONDS:
                        return SampledBatch([None] * len(order.requests), [])
        finally:
            if not pending.done():
                response.cancel()
                pending.cancel()
            self._drops.end.remote(order.id)


class BatchMirror:
    """The state of a batch that a replica samples, as its reports tell it."""

    def __init__(self, rows: int) -> None:
        self.dropped: set[int] = set()
        self._report = StepReport(0, 0, range(rows))
        self._texts: dict[int, str] = {}
        self._ids: dict[int, Sequence[int]] = {}

    def update(self, report: StepReport) -> SamplingProgress:
        """Take a report in."""
        self._report = report
        for i, text in report.texts.items():
            self._texts[i] = self._texts.get(i, "") + text
        self._ids.update(report.ids)
        return self.progress()

    def progress(self) -> SamplingProgress:
        """The state, of the rows that are not dropped."""
        report = self._report
        return SamplingProgress(
            report.step,
            report.steps,
            [i for i in report.rows if i not in self.dropped],
            lambda i: report.previews.get(i, {}),
            lambda i: self._texts.get(i, ""),
            lambda i: torch.tensor(self._ids.get(i, ()), dtype=torch.int64),
        )

    def drop(self, progress: SamplingProgress) -> list[int]:
        """Take in which rows were dropped; those that are new."""
        new = sorted(progress.dropped - self.dropped)
        self.dropped |= progress.dropped
        return new


def api_error(failure: SamplingFailure) -> APIError:
    """The error that a replica has reported."""
    error: dict[str, Any] = dict(failure.error)
    return APIError(
        error["status"], error["message"], param=error["param"], code=error["code"], type=error["type"]
    )

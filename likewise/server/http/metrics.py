"""Metrics in the format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
SECONDS_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        of = self.registry
        self.requests = Counter(
            "likewise_requests", "Requests answered", ["method", "route", "status"], registry=of
        )
        self.request_seconds = Histogram(
            "likewise_request_seconds", "Time to answer", ["route"], buckets=SECONDS_BUCKETS, registry=of
        )
        self.jobs = Counter("likewise_jobs", "Jobs that have ended", ["kind", "status"], registry=of)
        self.waiting = Gauge("likewise_queue_length", "Jobs that wait", registry=of)
        self.batch_rows = Histogram(
            "likewise_batch_rows", "Samples of a batch", buckets=BATCH_BUCKETS, registry=of
        )
        self.sampling_seconds = Counter("likewise_sampling_seconds", "Time of sampling", registry=of)
        self.samples = Counter("likewise_samples", "Samples computed", registry=of)
        self.loads = Counter("likewise_model_loads", "Models loaded", ["model"], registry=of)
        self.loaded_bytes = Gauge("likewise_loaded_bytes", "Bytes of loaded models", registry=of)

    def observe_batch(self, rows: int, seconds: float) -> None:
        """Count a batch."""
        self.batch_rows.observe(rows)
        self.samples.inc(rows)
        self.sampling_seconds.inc(seconds)

    def render(self) -> bytes:
        """All metrics as text."""
        return generate_latest(self.registry)

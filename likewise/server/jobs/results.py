"""Results: samples and scores as they are stored, and as they are returned."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

from likewise.core.provenance import provenance
from likewise.modalities.base import Row
from likewise.server.catalog.registry import AnyModel
from likewise.server.jobs.book import Job, JobBook, new_id
from likewise.server.jobs.prepare import Prepared
from likewise.server.jobs.requests import InfillBody, SampleBody
from likewise.server.jobs.store import Store, StoredFile
from likewise.server.jobs.values import encode_value, result_url

SCORE_BATCH = 16  # rows that are scored before a job can be cancelled


class SampleFinisher:
    """Encodes and stores the samples of one request."""

    def __init__(self, store: Store, prepared: Prepared) -> None:
        self.store, self.prepared = store, prepared

    def __call__(self, jobs: JobBook, job: Job, model: AnyModel, index: int, row: Row) -> None:
        sample = self.prepared.requests[index]
        request = {**without_own(job.request), "n": 1, "seed": sample.seed}
        if "rows" in request:
            rows = request.pop("rows")
            request["given"] = rows[index // max(1, len(self.prepared.requests) // len(rows))]
        request = {
            name: request[name]
            for name in SampleBody.model_fields | InfillBody.model_fields
            if name in request
        }
        about = {"seed": sample.seed, "index": sample.index, "request": request}
        store_row(self.store, jobs, job, model, index, row, about)


def store_row(
    store: Store,
    jobs: JobBook,
    job: Job,
    model: AnyModel,
    index: int,
    row: Row,
    about: Mapping[str, Any],
) -> None:
    """Keep the targets of a sampled row as result `index` of a job; `about` is how it was made."""
    values: dict[str, Any] = {}
    files = []
    details = provenance(model=job.model, formula=str(model.formula), **about)
    details.pop("version")
    for name in model.targets:
        encoded = encode_value(model.columns[name], row[name], details)
        if not isinstance(encoded.data, bytes):
            values[name] = encoded.data
            continue
        blob = store.blobs.add(encoded.data)
        file = (blob, len(encoded.data), encoded.media_type, name)
        files.append(file)
        values[name] = {"media_type": encoded.media_type, "url": result_url(job.id, index, name)}
    result = {"index": index, **({"seed": about["seed"]} if "seed" in about else {}), "values": values}
    with job.lock:
        if job.has_ended:
            return
        with store.transaction():
            for blob, size, media_type, name in files:
                id = new_id("file")
                store.add_file_row(
                    StoredFile(id, job.id, f"{index}/{name}", "result", media_type, blob, size, job.created)
                )
            jobs.add_result(job, index, result, row)


def with_media(store: Store, results: list[dict[str, Any]], job: str, media: str) -> list[dict[str, Any]]:
    """Results with their media in base64, or as addresses, or both; see `SamplingBody.media`."""
    if media == "url":
        return results
    filled = []
    for result in results:
        values = {}
        for name, value in result.get("values", {}).items():
            if isinstance(value, dict) and "url" in value:
                file = store.result_file(job, f"{result['index']}/{name}")
                data = base64.b64encode(store.read(file)).decode() if file else None
                value = {"media_type": value["media_type"], "b64_json": data}
                if media == "both":
                    value["url"] = result_url(job, result["index"], name)
            values[name] = value
        filled.append({**result, "values": values} if values else result)
    return filled


class Cancelled(Exception):
    """A job was cancelled, or the server closed, while it was computed."""


def interpolate(store: Store, model: AnyModel, job: Job, jobs: JobBook, arguments: Mapping[str, Any]) -> None:
    """Sample and keep an interpolation; it ends with its next step if the job is cancelled."""

    def on_step(step: int, steps: int) -> None:
        if job.cancelled or jobs.closing:
            raise Cancelled
        jobs.publish_progress(job, {"step": step, "steps": steps})

    try:
        rows = model.interpolate(**arguments, on_step=on_step)
    except Cancelled:
        return
    for i, row in enumerate(rows):
        about = {
            "seeds": arguments["seeds"],
            "share": round(i / (len(rows) - 1), 6),
            "request": without_own(job.request),
        }
        store_row(store, jobs, job, model, i, row, about)


def score(model: AnyModel, job: Job, jobs: JobBook, arguments: Mapping[str, Any]) -> None:
    """Score and keep rows, a few at a time, until the job is cancelled."""
    rows, others = arguments["rows"], {n: v for n, v in arguments.items() if n != "rows"}
    for start in range(0, len(rows), SCORE_BATCH):
        if job.cancelled or jobs.closing:
            return
        part = rows[start : start + SCORE_BATCH]
        indices = list(range(start, start + len(part)))
        scored = model.log_prob(part, indices=indices, **others)  # type: ignore[union-attr]
        nats, bits = scored.nats.double().tolist(), scored.bits_per_dim.double().tolist()
        dims = scored.dims.tolist() if hasattr(scored.dims, "tolist") else [scored.dims] * len(nats)
        for i, p, b, d in zip(indices, nats, bits, dims, strict=True):
            numbers = {n: v if math.isfinite(v) else None for n, v in (("log_prob", p), ("bits_per_dim", b))}
            jobs.add_result(job, i, {"index": i, **numbers, "dims": d, "kind": scored.kind})


def without_own(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request without what does not change its samples."""
    return {name: value for name, value in request.items() if name not in ("previews", "metadata")}

"""The bodies of answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from likewise.server.http.errors import ErrorDetails

JobStatus = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]


class Result(BaseModel):
    """One sample, or one score."""

    model_config = ConfigDict(extra="allow")

    index: int


class SampleAnswer(BaseModel):
    """Samples, or scores."""

    id: str
    object: str
    created: int
    model: str
    formula: str
    data: list[Result]
    warnings: list[str]


class JobAnswer(BaseModel):
    """A job: what a client wants done."""

    id: str
    object: Literal["job"]
    kind: str
    model: str
    status: JobStatus
    background: bool
    created_at: int
    started_at: int | None
    finished_at: int | None
    restarts: int
    position: int | None = Field(description="how many jobs are before it in the queue")
    eta_seconds: float | None
    progress: dict[str, Any] | None
    request: dict[str, Any]
    data: list[dict[str, Any]]
    warnings: list[str]
    error: ErrorDetails | None


class JobList(BaseModel):
    """A page of jobs, newest first."""

    object: Literal["list"]
    data: list[JobAnswer]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Deleted(BaseModel):
    """What was removed."""

    id: str
    object: str
    deleted: bool


class DeletedResult(Deleted):
    """Which result of a job was removed."""

    index: int


class ModelAnswer(BaseModel):
    """A model; `likewise` is what may be asked of it, where one model is asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    likewise: dict[str, Any] | None = None


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"]
    data: list[ModelAnswer]


class Unloaded(BaseModel):
    """Whether a model was put away."""

    id: str
    object: Literal["model"]
    unloaded: bool


class Recalled(BaseModel):
    """The request that made a picture."""

    request: dict[str, Any]
    made_by: dict[str, Any]


class Health(BaseModel):
    """That the server runs."""

    status: Literal["ok"]

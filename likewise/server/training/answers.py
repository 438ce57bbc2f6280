"""The bodies of answers of the routes of files, data, trainings and evaluations, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class FileAnswer(BaseModel):
    """An upload."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]
    expires_at: int | None
    status_details: str | None


class Page(BaseModel):
    """A page of a list, newest first."""

    object: Literal["list"]
    has_more: bool
    first_id: str | None
    last_id: str | None


class FileList(Page):
    """Uploads."""

    data: list[FileAnswer]


class TrainingError(BaseModel):
    """Why a training has failed."""

    code: str | None
    message: str
    param: str | None


class FineTuningJob(BaseModel):
    """A training."""

    id: str
    object: Literal["fine_tuning.job"]
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    model: str
    fine_tuned_model: str | None = Field(description="the new model, as soon as it can be sampled")
    organization_id: str
    status: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
    training_file: str | None
    validation_file: str | None
    hyperparameters: dict[str, Any]
    method: dict[str, Any]
    metadata: dict[str, str]
    integrations: list[Any]
    result_files: list[str]
    trained_tokens: int | None
    seed: int
    user_provided_suffix: str
    error: TrainingError | None
    position: int | None = Field(description="how many trainings are before it in the queue")
    progress: dict[str, Any] | None
    warnings: list[str]


class FineTuningList(Page):
    """Trainings."""

    data: list[FineTuningJob]


class FineTuningEvent(BaseModel):
    """What has happened in a training."""

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class FineTuningEventList(Page):
    """Events."""

    data: list[FineTuningEvent]


class CheckpointMetrics(BaseModel):
    """The losses at a checkpoint."""

    step: int
    train_loss: float | None
    valid_loss: float | None


class Checkpoint(BaseModel):
    """A checkpoint of a training; the weights of the last one are those of the model."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: int
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: CheckpointMetrics


class CheckpointList(Page):
    """Checkpoints."""

    data: list[Checkpoint]


class CurvePoint(BaseModel):
    """Losses at a step: the smoothed one of training, and where it was measured the one on held-out rows."""

    step: int
    loss: float | None
    valid_loss: float | None = None


class CurveAnswer(BaseModel):
    """The losses of a training."""

    object: Literal["list"]
    data: list[CurvePoint]


class FamilyAnswer(BaseModel):
    """A family, with the JSON schema of the options of a training."""

    id: str
    object: Literal["family"]
    description: str
    options: dict[str, Any]


class FamilyList(BaseModel):
    """The families that can be trained."""

    object: Literal["list"]
    data: list[FamilyAnswer]


class DataSet(BaseModel):
    """Something to learn: an upload, or a data set that comes with the package."""

    id: str
    object: Literal["data"]
    name: str
    kind: Literal["bundled", "upload"]
    description: str
    bytes: int | None
    created_at: int | None


class DataList(BaseModel):
    """What there is to learn."""

    object: Literal["list"]
    data: list[DataSet]


class DataReport(BaseModel):
    """What was read, as what, and what cannot be used."""

    model_config = ConfigDict(extra="allow")

    object: Literal["data.report"]
    id: str
    name: str
    rows: int
    columns: list[dict[str, Any]]
    bad_rows: list[dict[str, Any]]
    bad_rows_total: int
    notes: list[str]
    report: list[str]
    preview: list[dict[str, Any]]
    formulas: list[str]


class FormulaPlace(BaseModel):
    """Where something is wrong: characters from `start` to before `end`."""

    start: int
    end: int


class FormulaProblem(BaseModel):
    """What is wrong with a formula."""

    message: str
    position: FormulaPlace | None


class FormulaAnswer(BaseModel):
    """Whether a formula can be read and fits."""

    valid: bool
    formula: str | None
    meaning: str | None
    error: FormulaProblem | None
    completions: list[str]

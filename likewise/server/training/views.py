"""Trainings as clients see them: jobs, events and checkpoints in OpenAI's shape."""

from __future__ import annotations

import time
from typing import Any

from likewise.server.jobs.book import public_error
from likewise.server.jobs.store import ENDED, StoredJob
from likewise.server.training.options import MULTIPLIER, OPENAI
from likewise.server.training.trainings import WEIGHTS, Trainings

LEVELS = {"warning": "warn"}


def training_json(trainings: Trainings, stored: StoredJob) -> dict[str, Any]:
    """A training."""
    request, task = stored.request, trainings.task(stored.id) if stored.status not in ENDED else None
    left = trainings.seconds_left(task) if task is not None else None
    options = request["hyperparameters"]
    names = {ours: theirs for theirs, ours in OPENAI.items()}
    own = {theirs: options.get(theirs, options.get(ours, "auto")) for ours, theirs in names.items()}
    hyperparameters = {**options, **own, MULTIPLIER: options.get(MULTIPLIER, "auto")}
    error = public_error(stored.error)
    if error is not None:
        error = {name: error.get(name) for name in ("code", "message", "param")}
    return {
        "id": stored.id,
        "object": "fine_tuning.job",
        "created_at": int(stored.created),
        "finished_at": None if stored.finished is None else int(stored.finished),
        "estimated_finish": None if left is None else int(time.time() + left),
        "model": request["model"],
        "fine_tuned_model": _model(trainings, stored),
        "organization_id": "likewise",
        "status": stored.status,
        "training_file": request["training_file"],
        "validation_file": None,
        "hyperparameters": hyperparameters,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        "metadata": {
            **({"formula": request["formula"]} if request["formula"] else {}),
            **request["metadata"],
        },
        "integrations": [],
        "result_files": [],
        "trained_tokens": None,
        "seed": int(options.get("seed", 0)),
        "user_provided_suffix": request["suffix"],
        "error": error,
        "position": trainings.supervisor.position(task) if task is not None else None,
        "progress": _progress(trainings, stored),
        "warnings": list(stored.warnings),
    }


def events_json(trainings: Trainings, stored: StoredJob) -> list[dict[str, Any]]:
    """What has happened, newest first."""
    events = trainings.server.store.events(stored.id)
    moments = [stored.created]
    found = []
    for number, name, data in events:
        moment = _moment(stored, name, data, moments[-1])
        moments.append(moment)
        text = _message(name, data)
        if text is None:
            continue
        level = "error" if data.get("error") else LEVELS.get(name, "info")
        found.append(
            {
                "id": f"ftevent-{stored.id}-{number}",
                "object": "fine_tuning.job.event",
                "created_at": int(moment),
                "level": level,
                "message": text,
                "type": "metrics" if name == "metrics" else "message",
                "data": _metrics(data) if name == "metrics" else data,
            }
        )
    return found[::-1]


def checkpoints_json(trainings: Trainings, stored: StoredJob) -> list[dict[str, Any]]:
    """The checkpoints, newest first."""
    run = str(stored.state["run"])
    return [
        {
            "id": f"ftckpt-{stored.id}-{data['step']}",
            "object": "fine_tuning.job.checkpoint",
            "created_at": data["created_at"],
            "fine_tuning_job_id": stored.id,
            "fine_tuned_model_checkpoint": run,
            "step_number": data["step"],
            "metrics": {"step": data["step"], "train_loss": data["loss"], "valid_loss": data["valid_loss"]},
        }
        for _, name, data in reversed(trainings.server.store.events(stored.id))
        if name == "metrics" and data["checkpoint"]
    ]


def _model(trainings: Trainings, stored: StoredJob) -> str | None:
    """The new model, as soon as there are weights."""
    run = str(stored.state["run"])
    return run if (trainings.run_folder(stored) / WEIGHTS).exists() and stored.state.get("begun") else None


def _progress(trainings: Trainings, stored: StoredJob) -> dict[str, Any] | None:
    """Where it is: while it runs from memory, then from its last metrics."""
    task = trainings.task(stored.id) if stored.status not in ENDED else None
    if task is not None and task.curve.last:
        return task.progress
    progress: dict[str, Any] | None = stored.state.get("progress")
    return progress


def _moment(stored: StoredJob, name: str, data: dict[str, Any], before: float) -> float:
    """When an event was, as far as it is known: not before the one that precedes it."""
    known = {
        "metrics": data.get("created_at"),
        "done": stored.finished,
        "status": stored.started if data.get("status") == "running" else None,
    }
    return max(before, float(known.get(name) or before))


def _message(name: str, data: dict[str, Any]) -> str | None:
    if name == "metrics":
        heldout = "" if data["valid_loss"] is None else f", held-out loss {data['valid_loss']:.4f}"
        return f"Step {data['step']:,}: loss {data['loss']:.4f}{heldout}"
    if name == "status":
        return f"The training is {data['status']}"
    if name == "warning":
        return str(data["message"])
    if name == "done":
        error = data.get("error")
        return f"The training has {data['status']}" + (f": {error['message']}" if error else "")
    return None


def _metrics(data: dict[str, Any]) -> dict[str, Any]:
    names = {
        "step": "step",
        "train_loss": "loss",
        "valid_loss": "valid_loss",
        "share": "share",
        "elapsed": "elapsed",
    }
    return {theirs: data.get(ours) for theirs, ours in names.items()}

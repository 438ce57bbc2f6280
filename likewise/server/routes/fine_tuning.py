"""Trainings, in the shape of OpenAI's fine-tuning jobs, with the losses and samples of each."""

from __future__ import annotations

import asyncio
import inspect
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from likewise.core.signatures import parameter_descriptions
from likewise.families.registry import FAMILIES, family_class
from likewise.server.catalog.schema import object_schema
from likewise.server.http.errors import not_found
from likewise.server.http.lists import page_after, page_json
from likewise.server.jobs.store import StoredJob
from likewise.server.limits import MAX_LISTED, MAX_NAME
from likewise.server.server import CurrentServer
from likewise.server.services import CurrentServices, Services, install_services
from likewise.server.training import trainings as training
from likewise.server.training.answers import (
    CheckpointList,
    CurveAnswer,
    FamilyList,
    FineTuningEventList,
    FineTuningJob,
    FineTuningList,
)
from likewise.server.training.options import FineTuningBody, parameters_of
from likewise.server.training.request import TrainingReader
from likewise.server.training.views import checkpoints_json, events_json, training_json
from likewise.training.plan import Plan

router = APIRouter(prefix="/v1/fine_tuning", tags=["fine-tuning"])
install = install_services
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED)]
After = Annotated[str | None, Query(max_length=MAX_NAME)]


@router.post("/jobs", response_model=FineTuningJob)
async def create_job(
    body: FineTuningBody, server: CurrentServer, services: CurrentServices
) -> dict[str, Any]:
    """Train a model on this machine: `model` is a family, such as flow, or a model whose weights it begins with."""
    services.supervisor.require_room()
    if body.training_file is not None:
        await services.data.prepare(body.training_file)
    reader = TrainingReader(server.registry, services.data)
    request = await server.in_thread(reader.read, body, services.trainings.names())
    job = services.trainings.add(request)
    return _view(services, job.id)


@router.get("/jobs", response_model=FineTuningList)
def list_trainings(
    server: CurrentServer, services: CurrentServices, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """A page of trainings, newest first."""
    if after is not None:
        _stored(services, after)
    jobs, more = server.store.jobs(limit=limit, after=after, kinds=[training.KIND])
    return page_json([training_json(services.trainings, job) for job in jobs], more)


@router.get("/jobs/{id}", response_model=FineTuningJob)
def get_training(id: str, services: CurrentServices) -> dict[str, Any]:
    """A training."""
    return _view(services, id)


@router.post("/jobs/{id}/cancel", response_model=FineTuningJob)
async def cancel_training(id: str, server: CurrentServer, services: CurrentServices) -> dict[str, Any]:
    """Stop a training; the model is as good as it was at the last checkpoint. One that has ended stays as it is."""
    _stored(services, id)
    await asyncio.to_thread(server.jobs.cancel, id)
    return _view(services, id)


@router.post("/jobs/{id}/pause", response_model=FineTuningJob)
async def pause_training(id: str, services: CurrentServices) -> dict[str, Any]:
    """Save a training and stop it; the answer comes when it is saved."""
    _stored(services, id)
    await services.trainings.pause(id)
    return _view(services, id)


@router.post("/jobs/{id}/resume", response_model=FineTuningJob)
async def resume_training(id: str, services: CurrentServices) -> dict[str, Any]:
    """Go on with a training that is paused."""
    _stored(services, id)
    await asyncio.to_thread(services.trainings.resume, id)
    return _view(services, id)


@router.get("/jobs/{id}/events", response_model=FineTuningEventList)
def list_events(id: str, services: CurrentServices, limit: Limit = 20, after: After = None) -> dict[str, Any]:
    """A page of what has happened, newest first; /v1/jobs/ID/events streams it."""
    return page_after(events_json(services.trainings, _stored(services, id)), after, limit)


@router.get("/jobs/{id}/checkpoints", response_model=CheckpointList)
def list_checkpoints(
    id: str, services: CurrentServices, limit: Limit = 10, after: After = None
) -> dict[str, Any]:
    """A page of checkpoints, newest first; the weights of the newest are those of the model."""
    return page_after(checkpoints_json(services.trainings, _stored(services, id)), after, limit)


@router.get("/jobs/{id}/curve", response_model=CurveAnswer)
def get_curve(id: str, services: CurrentServices) -> dict[str, Any]:
    """The losses over the steps, smoothed; of many steps only some."""
    return {"object": "list", "data": services.trainings.curve(_stored(services, id)).points()}


@router.get(
    "/jobs/{id}/samples.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
)
def get_samples(id: str, services: CurrentServices) -> Response:
    """A sheet of samples of the last checkpoint; 404 before the first one, and of columns that are no pictures."""
    try:
        data = (services.trainings.run_folder(_stored(services, id)) / training.SAMPLES).read_bytes()
    except OSError:
        raise not_found("sheet of samples", id) from None
    return Response(data, media_type="image/png", headers={"cache-control": "no-cache"})


@router.get("/families", response_model=FamilyList)
def list_families() -> dict[str, Any]:
    """The families that can be trained, with the JSON schema of the options of each and of its training."""
    return {"object": "list", "data": [_family_json(name) for name in FAMILIES]}


def _family_json(name: str) -> dict[str, Any]:
    cls = family_class(name)
    parameters = {**parameters_of(Plan), **parameters_of(cls.__init__)}
    described = [
        parameter_descriptions(doc or "", parameters) for doc in (Plan.__doc__, cls.__init__.__doc__)
    ]
    schema = object_schema(parameters, described[0] | described[1])
    description = (inspect.getdoc(cls) or "").partition("\n")[0]
    return {"id": name, "object": "family", "description": description, "options": schema}


def _stored(services: Services, id: str) -> StoredJob:
    """The training of that id. Raises APIError with status 404."""
    stored = services.trainings.server.store.job(id)
    if stored is None or stored.kind != training.KIND:
        raise not_found("fine-tuning job", id)
    return stored


def _view(services: Services, id: str) -> dict[str, Any]:
    return training_json(services.trainings, _stored(services, id))

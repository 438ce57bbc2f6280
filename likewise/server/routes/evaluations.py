"""Evaluations: jobs of kind evaluate, and their reports."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from likewise.server.http.errors import APIError
from likewise.server.jobs.answers import JobAnswer
from likewise.server.routes.native import view
from likewise.server.server import CurrentServer
from likewise.server.services import CurrentServices
from likewise.server.training.evaluations import KIND, EvaluationBody, report_page

router = APIRouter(prefix="/v1", tags=["evaluations"])
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)


@router.post("/evaluations", response_model=JobAnswer, status_code=202)
async def evaluate(body: EvaluationBody, server: CurrentServer, services: CurrentServices) -> dict[str, Any]:
    """Measure a model on held-out rows, beside real rows, a baseline and chance."""
    job = await server.in_thread(services.evaluations.add, body)
    return view(server, job)


@router.get(
    "/jobs/{id}/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
def get_report(id: str, server: CurrentServer) -> Response:
    """The report of an evaluation that has succeeded, as a page that stands alone."""
    stored = server.jobs.stored(id)
    results = server.jobs.results(id)
    if stored.kind != KIND or not results:
        raise APIError(
            404, f"{id} has no report: it is {stored.kind}, {stored.status}", code="report_not_found"
        )
    page = report_page(stored.model, results[0])
    return Response(page, media_type="text/html", headers={"content-security-policy": POLICY})

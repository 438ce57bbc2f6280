"""Random requests made from our own OpenAPI document: no answer is a 5xx, and each is as the document says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from conftest import LiveServer, live
from hypothesis import HealthCheck, Phase, given, settings
from openai_runs import save_runs
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from likewise.server.settings import ServerSettings

CASES, ALL_CASES = 100, 2000
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MOST = {"n": 3, "max_tokens": 4, "best_of": 4, "max_completion_tokens": 4, "partial_images": 3, "previews": 3}
MODELS = ["pictures", "book", "answers", "pairs", "joint", "words", "noise"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = save_runs(tmp_path_factory.mktemp("runs"))
    with live(ServerSettings(folder, state=tmp_path_factory.mktemp("state"), threads=1)) as running:
        yield running


def adapt(case: Any, number: int) -> None:
    """Name a model that there is in most cases, and ask for little of it."""
    body = case.body
    if not isinstance(body, dict):
        return
    for name, most in MOST.items():
        if isinstance(body.get(name), int) and not isinstance(body[name], bool):
            body[name] = min(body[name], most)
    if number % 4 and isinstance(body.get("model"), str | None):
        suits = {"/completions": "book", "/images": "pictures", "/embeddings": "pairs", "/chat": "answers"}
        found = next((m for part, m in suits.items() if part in case.path), MODELS[number % len(MODELS)])
        body["model"] = found


def run_cases(server: LiveServer, count: int) -> int:
    """Call every operation, in all about `count` times. The number of calls."""
    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    each, calls = max(1, round(count / len(operations))), [0]
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=each,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            adapt(case, calls[0])
            calls[0] += 1
            case.call_and_validate(checks=CHECKS, timeout=60)

        check()
    return calls[0]


def test_random_requests_get_answers_as_documented(server: LiveServer) -> None:
    assert run_cases(server, CASES) >= CASES / 2


@pytest.mark.full
def test_many_random_requests_get_answers_as_documented(server: LiveServer, tmp_path: Path) -> None:
    assert run_cases(server, ALL_CASES) >= ALL_CASES / 2

"""A folder of small models with random weights, and servers of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
import uvicorn
from fastapi.testclient import TestClient

from likewise.core.categorical import sample_categorical
from likewise.data.table import Table
from likewise.generation.sequence import decoding
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.server.app import create_app
from likewise.server.run import bind
from likewise.server.server import Server
from likewise.server.settings import ServerSettings

LOCALHOST = "http://localhost"
SLOW = {"steps": 10_000}  # many seconds of a tiny model


def table() -> Table:
    """The toy world, with a colour for each row."""
    return toy.table(64)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of tiny models: pictures, joint, words, numbers, and a pipeline."""
    folder, columns = tmp_path_factory.mktemp("runs"), table().columns
    small: dict[str, Any] = {"width": 16, "depth": 1}
    models = {
        "pictures": Model("image | text, label", columns, "flow", **small),
        "joint": Model("image, number, label", columns, "flow", **small),
        "words": Model("text | label", columns, "autoregressive", **small),
        "numbers": Model("number | label", columns, "flow", **small),
        "deep/labels": Model("label | text", columns, "autoregressive", **small),
    }
    generator = torch.Generator().manual_seed(0)
    for name, model in models.items():
        with torch.no_grad():
            for weight in model.family.parameters():  # so that samples depend on what is given
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
        model.save(folder / name)
    Pipeline({"label": models["deep/labels"], "image": models["pictures"]}).save(folder / "chain")
    return folder


@pytest.fixture
def endless_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No text of a server in this process ends before it is as long as was requested."""

    def sample(logits: torch.Tensor, *args: Any) -> torch.Tensor:
        return sample_categorical(logits.index_fill(1, torch.tensor([0]), -torch.inf), *args)

    monkeypatch.setattr(decoding, "sample_categorical", sample)


MakeClient = Callable[..., TestClient]


@pytest.fixture(scope="module")
def make_client(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeClient]:
    """Makes clients of servers with settings; the servers are stopped at the end of the module."""
    made: list[TestClient] = []

    def make(**settings: Any) -> TestClient:
        state = settings.pop("state", None) or tmp_path_factory.mktemp("state")
        app = create_app(ServerSettings(settings.pop("folder", runs), state=state, threads=1, **settings))
        client = TestClient(app, base_url=LOCALHOST, raise_server_exceptions=True)
        client.__enter__()
        made.append(client)
        return client

    yield make
    for client in made:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def client(make_client: MakeClient) -> TestClient:
    """A client of a server of the runs."""
    return make_client()


def server_of(client: TestClient) -> Server:
    """The server behind a test client."""
    server: Server = client.app.state.server  # type: ignore[attr-defined]
    return server


def wait_for(condition: Callable[[], Any], seconds: float = 60.0, every: float = 0.01) -> Any:
    """The first true value of a condition."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it has not come true"
        time.sleep(every)
    return value


@dataclass(frozen=True)
class LiveServer:
    """A server in a thread that listens on loopback."""

    server: Server
    address: str


@contextmanager
def live(settings: ServerSettings) -> Iterator[LiveServer]:
    """Run a server on a free port."""
    listener = bind("127.0.0.1", 0)
    app = create_app(replace(settings, port=listener.getsockname()[1]))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=2
    )
    uvicorn_server = uvicorn.Server(config)
    thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_for(lambda: uvicorn_server.started)
        yield LiveServer(app.state.server, f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        uvicorn_server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def live_server(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of the runs that listens on loopback."""
    with live(ServerSettings(runs, state=tmp_path_factory.mktemp("live"), threads=1)) as server:
        yield server


@contextmanager
def process(folder: Path, state: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`likewise serve` in a process of its own, and its address."""
    command = [sys.executable, "-m", "likewise", "serve", str(folder), "--state", str(state), "--port", "0"]
    running = subprocess.Popen(
        [*command, "--threads", "1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        match = re.search(r"http://[\d.:]+", line)
        assert match, f"it did not start: {line}"
        yield running, match[0]
    finally:
        running.kill()
        running.wait()


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream: id, event, data."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            events.append({**fields, "data": json.loads(fields["data"])})
    return events

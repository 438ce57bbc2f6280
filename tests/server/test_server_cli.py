"""The commands serve and studio."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for

from likewise.cli.commands import serve as command
from likewise.cli.main import main
from likewise.server import run as running
from likewise.server.jobs.store import Store
from likewise.server.server import MAX_RESTARTS
from likewise.server.settings import ServerSettings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ServerSettings, bool]]:
    """What is served, in place of doing so."""
    calls: list[tuple[ServerSettings, bool]] = []
    monkeypatch.setattr(command, "serve", lambda settings, open_page: calls.append((settings, open_page)))
    return calls


def test_options_become_settings(served: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--port", "0", "--token", "a-long-token", "--host", "0.0.0.0", "--alias", "dall-e-3=emoji"]
    options += [
        "--allow-host",
        "studio.example",
        "--cors-origin",
        "http://localhost:5173",
        "--keep-alive",
        "5",
    ]
    assert main(["serve", str(tmp_path), *options]) == 0
    monkeypatch.setenv("LIKEWISE_TOKEN", "from-the-environment")
    assert main(["studio", str(tmp_path), "--state", str(tmp_path / "state"), "--max-batch", "4"]) == 0
    (first, opened), (second, opened_second) = served
    assert (first.port, first.token, first.aliases) == (0, "a-long-token", {"dall-e-3": "emoji"})
    assert first.allowed_hosts == ("studio.example",) and first.keep_alive == 5.0 and not opened
    assert first.state_folder == tmp_path / ".server" and second.state_folder == tmp_path / "state"
    assert second.token == "from-the-environment" and second.max_batch == 4 and opened_second
    assert "token" not in str(first.describe()).lower()


@pytest.mark.parametrize(
    ("options", "status", "word"),
    [
        (["--port", "70000"], 2, "65,535"),
        (["--host", "0.0.0.0"], 1, "--token"),
        (["--alias", "a"], 1, "--alias"),
        (["--queu-size", "3"], 2, "--queue-size"),
        (["--cors-origin", "*"], 1, "origin"),
    ],
)
def test_wrong_options(
    served: list[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    status: int,
    word: str,
) -> None:
    try:
        result = main(["serve", str(tmp_path), *options])
    except SystemExit as error:
        result = int(error.code or 0)
    assert result == status and word in capsys.readouterr().err and not served


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port}.*--port"):
            running.serve(ServerSettings(tmp_path, port=port))


def test_a_job_that_ends_the_server_again_and_again_is_given_up(
    make_client: Any, runs: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    body = {"model": "numbers", "options": {"steps": 1}, "seed": 1}
    for id, restarts in (("job_a", MAX_RESTARTS), ("job_b", MAX_RESTARTS - 1)):
        store.add_job(id, "sample", "numbers", True, body)
        store.set_status(id, "running")
        with store.transaction() as db:
            db.execute("UPDATE jobs SET restarts = ? WHERE id = ?", (restarts, id))
    store.add_job("job_c", "sample", "numbers", False, body)
    store.add_job("job_d", "sample", "gone", True, {**body, "model": "gone"})
    store.close()
    client = make_client(state=tmp_path)
    ids = ("job_a", "job_b", "job_c", "job_d")
    for id in ids:
        wait_for(lambda id=id: client.get(f"/v1/jobs/{id}").json()["status"] not in ("queued", "running"))
    jobs = {id: client.get(f"/v1/jobs/{id}").json() for id in ids}
    assert [jobs[id]["status"] for id in jobs] == ["failed", "succeeded", "cancelled", "failed"]
    assert "given up" in jobs["job_a"]["error"]["message"]
    assert (
        jobs["job_c"]["error"]["code"] == "restarted" and jobs["job_d"]["error"]["code"] == "model_not_found"
    )

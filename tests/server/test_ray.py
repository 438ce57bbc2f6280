"""Sampling by replicas on a cluster of Ray: the same values as in one process, side by side, also after a kill."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeClient, events_of, server_of, wait_for
from fastapi.testclient import TestClient

from likewise.models.checkpoint import WEIGHTS
from likewise.models.sample_request import SamplingProgress
from likewise.server.cluster.messages import RowReports, StepReport
from likewise.server.cluster.nodes import choose_resources, connect
from likewise.server.cluster.ray_sampler import BatchMirror
from likewise.server.cluster.step_reporter import StepReporter
from likewise.server.settings import ServerSettings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray Serve itself

LONG = {"steps": 200}  # some seconds of a tiny model, if it is computed alone


@pytest.fixture(scope="module")
def folder(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the runs, one of which can be damaged."""
    copy = tmp_path_factory.mktemp("ray") / "runs"
    shutil.copytree(runs, copy)
    return copy


@pytest.fixture(scope="module")
def cluster(folder: Path, make_client: MakeClient) -> TestClient:
    """A client of a server with two replicas."""
    if find_spec("ray") is None:
        pytest.skip("needs ray")
    return make_client(folder=folder, ray="local", replicas=2)


def replicas(client: TestClient) -> list[int]:
    """The ids of the processes of the replicas."""
    app, found = server_of(client).queue.sampler._app, []  # type: ignore[attr-defined]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if app in path.read_text("utf-8", errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return sorted(found)


def queue(client: TestClient, **body: Any) -> str:
    answer = client.post("/v1/sample", json={"background": True, **body})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def job(client: TestClient, id: str) -> dict[str, Any]:
    return client.get(f"/v1/jobs/{id}").json()


def ended(client: TestClient, id: str) -> dict[str, Any]:
    wait_for(lambda: job(client, id)["status"] in ("succeeded", "failed", "cancelled"))
    return job(client, id)


def step(client: TestClient, id: str) -> int:
    return (job(client, id)["progress"] or {}).get("step", 0)


def content(client: TestClient, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The values of results; of pictures their compressed pixels, as the rest names the job."""

    def plain(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        encoded = value.get("b64_json")
        data = base64.b64decode(encoded) if encoded else client.get(value["url"]).content
        return data.split(b"IDAT")[1]

    return [{name: plain(value) for name, value in result["values"].items()} for result in results]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "joint", "n": 5, "options": {"steps": 3}},
        {"model": "pictures", "given": {"label": "1"}, "n": 2, "options": {"steps": 3}},
        {"model": "chain", "n": 2, "options": {"image": {"steps": 2}}},
        {"model": "words", "n": 3, "prompt": "re", "stop": ["x"]},
        {"model": "words", "constraint": {"text": {"kind": "regex", "value": "[a-c]{3}"}}},
        {"model": "numbers", "known": {}, "n": 2, "options": {"steps": 2}},
    ],
    ids=lambda body: body["model"],
)
def test_replicas_sample_what_one_process_does(
    cluster: TestClient, client: TestClient, body: dict[str, Any]
) -> None:
    answers = [c.post("/v1/sample", json={"seed": 7, **body}) for c in (cluster, client)]
    assert [a.status_code for a in answers] == [200, 200], answers[0].text + answers[1].text
    first, second = (content(c, a.json()["data"]) for c, a in zip((cluster, client), answers, strict=True))
    assert first == second and len(first) == body.get("n", 1)
    assert answers[0].json()["warnings"] == answers[1].json()["warnings"]


def test_two_replicas_sample_at_once_and_a_cancel_frees_them(cluster: TestClient) -> None:
    assert len(replicas(cluster)) == 2
    ids = [queue(cluster, model="joint", seed=i, options={"steps": 9000 + i}) for i in range(2)]
    wait_for(lambda: all(step(cluster, id) > 0 for id in ids))  # a replica has one batch at a time
    assert cluster.post("/v1/score", json={"model": "words", "rows": [{"text": "red", "label": "1"}]}).json()[
        "data"
    ]
    for id in ids:
        cluster.post(f"/v1/jobs/{id}/cancel")
    assert [ended(cluster, id)["status"] for id in ids] == ["cancelled", "cancelled"]
    ids = [queue(cluster, model="joint", seed=i, options={"steps": 4 + i}) for i in range(2)]
    assert [ended(cluster, id)["status"] for id in ids] == ["succeeded", "succeeded"]


def test_a_row_of_a_batch_is_dropped_and_the_others_stay(cluster: TestClient, client: TestClient) -> None:
    body = {"model": "joint", "given": {}, "n": 2, "seed": 3, "options": LONG}
    kept, gone = queue(cluster, **body), queue(cluster, **{**body, "seed": 8, "n": 3})
    wait_for(lambda: step(cluster, gone) > 0)
    cluster.post(f"/v1/jobs/{gone}/cancel")
    assert ended(cluster, gone)["status"] == "cancelled"
    assert content(cluster, ended(cluster, kept)["data"]) == content(
        client, ended(client, queue(client, **body))["data"]
    )


def test_steps_previews_and_texts_are_events(cluster: TestClient, client: TestClient) -> None:
    id = queue(cluster, model="joint", previews=2, options=LONG)
    ended(cluster, id)
    names = [event["event"] for event in events_of(cluster.get(f"/v1/jobs/{id}/events").text)]
    assert "preview" in names and names[-1] == "done"
    streams = [
        events_of(c.post("/v1/sample", json={"model": "words", "seed": 2, "stream": True}).text)
        for c in (cluster, client)
    ]
    texts = [
        "".join(event["data"]["delta"] for event in events if event["event"] == "text") for events in streams
    ]
    assert texts[0] == texts[1] and texts[0]
    results = [
        [event["data"]["values"] for event in events if event["event"] == "result"] for events in streams
    ]
    assert results[0] == results[1] and len(results[0]) == 1
    assert any(event["event"] == "progress" for event in streams[0])


def test_a_model_that_a_replica_cannot_load(cluster: TestClient, folder: Path) -> None:
    assert cluster.get("/v1/models/deep/labels").status_code == 200  # the server has it in memory
    weights = folder / "deep/labels" / WEIGHTS
    before, data = weights.stat(), weights.read_bytes()
    weights.write_bytes(data[:50])
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    answer = cluster.post("/v1/sample", json={"model": "deep/labels", "given": {"text": "red"}})
    weights.write_bytes(data)
    error = answer.json()["error"]
    assert (
        answer.status_code == 500 and error["code"] == "model_damaged" and str(folder) not in error["message"]
    )


def test_a_batch_of_a_killed_replica_is_sampled_again(cluster: TestClient, client: TestClient) -> None:
    bodies = [{"model": "joint", "seed": i, "options": {"steps": 250 + i}} for i in range(2)]
    ids = [queue(cluster, **body) for body in bodies]
    wait_for(lambda: all(step(cluster, id) > 0 for id in ids))
    os.kill(replicas(cluster)[0], signal.SIGKILL)
    for id, body in zip(ids, bodies, strict=True):
        done = ended(cluster, id)
        assert done["status"] == "succeeded", done["error"]
        alone = ended(client, queue(client, **body))
        assert content(cluster, done["data"]) == content(client, alone["data"])


# ---- without a cluster


def test_reports_of_a_replica_add_up_to_what_it_has_sampled() -> None:
    sent: list[StepReport] = []
    reporter = StepReporter([RowReports(text=True, ids=True), RowReports(previews=3)], sent.append)
    mirror = BatchMirror(2)
    text = "abcdefgh"
    for i in range(1, 9):
        rows = [0, 1] if i < 6 else [1]  # the text has ended before
        progress = SamplingProgress(
            i,
            8,
            rows,
            lambda row, i=i: {"image": (row, i)},
            lambda row, i=i: text[:i],
            lambda row, i=i: torch.arange(i),
        )
        reporter.on_step(progress)
    reporter.finish()
    for report in sent:
        progress = mirror.update(report)
    assert len(sent) < 8 and (progress.step, progress.steps) == (8, 8)
    assert progress.text(0) == text[:5] and progress.ids(0).tolist() == [0, 1, 2, 3, 4]
    assert [report.previews for report in sent if report.previews] == [
        {1: {"image": (1, i)}} for i in (2, 4, 6)
    ]
    progress.drop(1)
    assert mirror.drop(progress) == [1] and mirror.drop(mirror.progress()) == []
    assert 1 not in mirror.progress().rows


def test_rows_are_dropped_with_the_next_step() -> None:
    reporter = StepReporter([RowReports()] * 3, lambda report: None)
    progress = SamplingProgress(1, 9, [0, 1, 2], dict, str, torch.tensor)  # type: ignore[arg-type]
    reporter.dropped.add(1)
    reporter.on_step(progress)
    assert progress.dropped == {1}
    reporter.stopped = True
    reporter.on_step(progress)
    assert progress.dropped == {0, 1, 2}


def test_replicas_that_do_not_fit() -> None:
    nodes = [{"Resources": {"CPU": 4.0}}, {"Resources": {"CPU": 3.0, "GPU": 2.0}}, {"Resources": {}}]
    assert choose_resources(nodes, 2, None).threads == 3
    assert choose_resources(nodes, 3, 2).gpus == 0.5
    with pytest.raises(ValueError, match="4 replicas of 2 threads do not fit on nodes of 4, 3, 0 cores"):
        choose_resources(nodes, 4, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicas": 2}, "--ray"),
        ({"ray": "runs/"}, "'runs/' is no address.*HOST:PORT"),
        ({"ray": "ray://head:10001"}, "is no address"),
        ({"ray": "local", "replicas": 0}, "replicas"),
    ],
)
def test_wrong_settings(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServerSettings(tmp_path, **options)


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "kept")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ValueError, match=r"ray.*pip install 'likewise\[cluster\]'"):
        connect("local")

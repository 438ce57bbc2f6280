"""The queue: batches, turns, bounds, cancelling, clients that go, events that are replayed."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import LOCALHOST, SLOW, LiveServer, MakeClient, events_of, server_of, wait_for
from fastapi.testclient import TestClient

from likewise.server.app import create_app
from likewise.server.jobs.book import Job
from likewise.server.jobs.progress import ProgressReporter, is_due
from likewise.server.jobs.sampler import LocalSampler
from likewise.server.jobs.store import Store
from likewise.server.jobs.work import Batch, CallWork, SampleWork
from likewise.server.settings import ServerSettings

FAST = {"steps": 2}


def queue(client: TestClient, **body: Any) -> dict[str, Any]:
    """Queue a request in the background."""
    answer = client.post("/v1/sample", json={"background": True, **body})
    assert answer.status_code == 202, answer.text
    return answer.json()


def job(client: TestClient, id: str) -> dict[str, Any]:
    return client.get(f"/v1/jobs/{id}").json()


def wait_for_end(client: TestClient, id: str) -> dict[str, Any]:
    wait_for(lambda: job(client, id)["status"] in ("succeeded", "failed", "cancelled"))
    return job(client, id)


class Blocked:
    """Keeps the sampling thread of a server busy, so that requests wait."""

    def __init__(self, client: TestClient) -> None:
        self.server, self.go, self.begun = server_of(client), threading.Event(), threading.Event()

    def __enter__(self) -> Blocked:
        def wait(model: Any, job: Job, jobs: Any) -> None:
            self.begun.set()
            assert self.go.wait(60)

        job = self.server.jobs.add("block", "words", {}, background=True)
        self.server.queue.put(CallWork(job, "block", wait), force=True)
        assert self.begun.wait(30)
        return self

    def __exit__(self, *error: object) -> None:
        self.go.set()


def test_requests_that_wait_share_batches_and_give_the_same(make_client: MakeClient) -> None:
    client = make_client(max_batch=8)
    metrics = server_of(client).metrics
    bodies = [
        {"model": "joint", "seed": seed, "given": {"label": str(seed % 4)}, "options": {"steps": 3}}
        for seed in range(8)
    ]
    alone = [client.post("/v1/sample", json=body).json()["data"][0]["values"] for body in bodies]
    before = metrics.batch_rows._sum.get(), sum(bucket.get() for bucket in metrics.batch_rows._buckets)
    with Blocked(client):
        jobs = [queue(client, **body) for body in bodies]
        other = queue(client, model="joint", options={"steps": 4})
    together = [wait_for_end(client, one["id"]) for one in jobs]
    wait_for_end(client, other["id"])
    batches = sum(bucket.get() for bucket in metrics.batch_rows._buckets) - before[1]
    assert batches == 2 and metrics.batch_rows._sum.get() - before[0] == 9
    for one, two in zip(alone, together, strict=True):
        url = two["data"][0]["values"]["image"]["url"]
        values = two["data"][0]["values"]
        assert one["number"] == values["number"] and one["label"] == values["label"]
        pixels = [client.get(u).content.split(b"IDAT")[1] for u in (one["image"]["url"], url)]
        assert pixels[0] == pixels[1]


def test_clients_take_turns_and_long_jobs_give_way(make_client: MakeClient) -> None:
    client = make_client(max_batch=4)
    server = server_of(client)
    order: list[str] = []
    with Blocked(client):
        for name, owner in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("c1", "c")):
            one = server.jobs.add("call", "words", {}, background=True)
            call = CallWork(one, owner, lambda model, job, jobs, name=name: order.append(name))
            server.queue.put(call)
            last = one
        assert server.queue.position(last)[0] == 2
    wait_for(lambda: len(order) == 5)
    assert order == ["a1", "b1", "c1", "a2", "a3"]
    with Blocked(client):
        long = queue(client, model="joint", n=9, options=FAST)
        short = queue(client, model="joint", n=1, options={"steps": 3})
    times = [wait_for_end(client, one["id"]) for one in (long, short)]
    events = server.store.events(long["id"])
    assert sum(name == "result" for _, name, _ in events) == 9 == len(times[0]["data"])
    finished = [server.store.job(one["id"]).finished for one in (long, short)]  # type: ignore[union-attr]
    assert finished[1] < finished[0]


class TwoPlaces(LocalSampler):
    """Computes two batches at once, one in each thread, and notes their sizes."""

    lanes = ((SampleWork,), (SampleWork,), (CallWork,))

    def __init__(self) -> None:
        self.sizes: dict[str, list[int]] = {}
        self.both, self.lock = threading.Barrier(2, timeout=30), threading.Lock()

    def sample(self, batch: Batch, model: Any, reporter: ProgressReporter) -> list[Any]:
        self.sizes.setdefault(threading.current_thread().name, []).append(len(batch.rows))
        self.both.wait()
        with self.lock:
            return super().sample(batch, model, reporter)


def test_what_waits_is_shared_out_among_idle_places(
    client: TestClient, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("likewise.server.server.LocalSampler", TwoPlaces)
    two = make_client(max_batch=16)
    body = {"model": "joint", "seed": 1, "n": 7, "options": FAST}
    with Blocked(two):  # calls have a thread of their own
        answers = [c.post("/v1/sample", json=body).json()["data"] for c in (two, client)]
    sampler = server_of(two).queue.sampler
    assert isinstance(sampler, TwoPlaces)
    assert sorted(sampler.sizes.values()) == [[3], [4]]
    numbers = [[result["values"]["number"] for result in data] for data in answers]
    assert numbers[0] == numbers[1] and len(numbers[0]) == 7


def test_a_job_that_fails_in_one_place_is_dropped_in_the_other(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OneFails(TwoPlaces):
        def sample(self, batch: Batch, model: Any, reporter: ProgressReporter) -> list[Any]:
            self.both.wait()
            if any(index == 0 for _, index in batch.rows):
                raise ValueError("the first one cannot be sampled")
            return LocalSampler.sample(self, batch, model, reporter)

    monkeypatch.setattr("likewise.server.server.LocalSampler", OneFails)
    client = make_client()
    answer = client.post("/v1/sample", json={"model": "joint", "n": 2, "options": SLOW})
    assert answer.status_code == 400 and "the first one" in answer.json()["error"]["message"]
    wait_for(lambda: not server_of(client).queue._running, seconds=30)  # the other is not sampled to its end


def test_a_full_queue_refuses(make_client: MakeClient) -> None:
    client = make_client(queue_size=2)
    with Blocked(client):
        jobs = [queue(client, model="words", seed=i) for i in range(2)]
        for _ in range(2):
            answer = client.post("/v1/sample", json={"model": "words"})
            assert answer.status_code == 429 and 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.json()["error"]["code"] == "queue_full"
        assert [job(client, one["id"])["position"] for one in jobs] == [0, 1]
    assert all(wait_for_end(client, one["id"])["status"] == "succeeded" for one in jobs)
    assert client.post("/v1/sample", json={"model": "words"}).status_code == 200


def test_jobs_that_wait_and_jobs_that_run_are_cancelled(client: TestClient) -> None:
    running = queue(client, model="joint", options=SLOW)
    wait_for(lambda: (job(client, running["id"])["progress"] or {}).get("step", 0) > 2)
    waiting = queue(client, model="joint", options=SLOW)
    assert client.post(f"/v1/jobs/{waiting['id']}/cancel").json()["status"] == "cancelled"
    assert job(client, running["id"])["status"] == "running"
    client.post(f"/v1/jobs/{running['id']}/cancel")
    assert wait_for_end(client, running["id"])["status"] == "cancelled"
    assert client.post(f"/v1/jobs/{running['id']}/cancel").json()["status"] == "cancelled"
    events = events_of(client.get(f"/v1/jobs/{running['id']}/events").text)
    assert [event["event"] for event in events][-1] == "done" and events[-1]["data"]["status"] == "cancelled"


def test_one_of_a_batch_is_cancelled_and_the_other_is_what_it_would_have_been(
    make_client: MakeClient,
) -> None:
    client = make_client()
    body = {"model": "joint", "options": {"steps": 80}}
    alone = client.post("/v1/sample", json={**body, "seed": 2}).json()["data"][0]["values"]
    with Blocked(client):
        jobs = [queue(client, **body, seed=seed) for seed in (1, 2)]
    wait_for(lambda: (job(client, jobs[0]["id"])["progress"] or {}).get("step", 0) > 0)
    client.post(f"/v1/jobs/{jobs[0]['id']}/cancel")
    other = wait_for_end(client, jobs[1]["id"])
    assert job(client, jobs[0]["id"])["status"] == "cancelled"
    assert other["status"] == "succeeded" and other["data"][0]["values"]["number"] == alone["number"]


def test_a_cancel_frees_the_thread_within_two_steps(make_client: MakeClient) -> None:
    client = make_client()
    server = server_of(client)
    with Blocked(client):
        one = queue(client, model="joint", options={"steps": 200})
        [work] = [work for works in server.queue._waiting.values() for work in works]
        assert isinstance(work, SampleWork)
        work.steps = Steps(3, lambda: server.jobs.cancel(one["id"]))
    assert wait_for_end(client, one["id"])["status"] == "cancelled"
    assert 3 <= work.steps.last <= 5


class Steps(dict[int, tuple[int, int]]):
    """The steps of a work, which calls a function at one of them."""

    def __init__(self, step: int, call: Callable[[], None]) -> None:
        super().__init__()
        self.step, self.call, self.last = step, call, 0

    def __setitem__(self, index: int, value: tuple[int, int]) -> None:
        super().__setitem__(index, value)
        self.last = value[0]
        if self.last == self.step:
            self.call()


def test_a_server_stops_at_once(runs: Path, tmp_path: Path) -> None:
    app = create_app(ServerSettings(runs, state=tmp_path, threads=1))
    with TestClient(app, base_url=LOCALHOST) as client:
        body = {"model": "pictures", "seeds": [1, 2], "options": SLOW, "background": True}
        ids = [queue(client, model="joint", options=SLOW)["id"]]
        ids.append(client.post("/v1/interpolate", json=body).json()["id"])
        wait_for(lambda: job(client, ids[0])["status"] == "running")
        client.delete(f"/v1/jobs/{ids.pop(0)}")
        wait_for(lambda: (job(client, ids[0])["progress"] or {}).get("step", 0) > 0)
    store = Store(tmp_path)
    assert [stored.status for stored in store.unfinished()] == ["running"]
    store.close()


def test_a_deleted_job_is_gone(client: TestClient) -> None:
    running = queue(client, model="joint", options=SLOW)
    done = queue(client, model="joint", given={}, options=FAST)
    wait_for(lambda: job(client, running["id"])["status"] == "running")
    assert client.delete(f"/v1/jobs/{running['id']}").json()["deleted"]
    final = wait_for_end(client, done["id"])
    url = final["data"][0]["values"]["image"]["url"]
    store = server_of(client).store
    blob = store.result_file(done["id"], "0/image")
    assert blob is not None and client.get(url).status_code == 200 and store.blobs.path(blob.blob).exists()
    client.delete(f"/v1/jobs/{done['id']}")
    assert not store.blobs.path(blob.blob).exists()
    for one in (running, done):
        assert client.get(f"/v1/jobs/{one['id']}").status_code == 404
    assert client.get(url).status_code == 404


def test_one_result_of_a_job_is_removed(client: TestClient) -> None:
    """Its files, previews and values are gone, the job and the others stay, and its event says so."""
    store = server_of(client).store
    with Blocked(client):
        id = queue(client, model="joint", n=11, previews=3, options={"steps": 20})["id"]
        assert client.delete(f"/v1/jobs/{id}/results/1").status_code == 409
    before = wait_for_end(client, id)
    blobs = {i: store.result_file(id, f"{i}/image").blob for i in (1, 2, 10)}
    assert client.delete(f"/v1/jobs/{id}/results/1").json() == {
        "id": id,
        "index": 1,
        "object": "job.result.deleted",
        "deleted": True,
    }
    after = job(client, id)
    assert after["data"] == [result for result in before["data"] if result["index"] != 1]
    assert {**after, "data": None} == {**before, "data": None}
    assert not store.blobs.path(blobs[1]).exists()
    assert store.blobs.path(blobs[2]).exists() and store.blobs.path(blobs[10]).exists()
    assert client.get(before["data"][1]["values"]["image"]["url"]).status_code == 404
    events = events_of(client.get(f"/v1/jobs/{id}/events").text)
    of_one = [event for event in events if event["data"].get("index") == 1]
    assert [(event["event"], event["data"]) for event in of_one] == [
        ("result", {"index": 1, "removed": True})
    ]
    assert sum(event["event"] == "result" for event in events) == 11 and events[-1]["event"] == "done"
    found = client.delete(f"/v1/jobs/{id}/results/1")
    assert found.status_code == 404 and found.json()["error"]["code"] == "result_not_found"
    assert client.delete("/v1/jobs/job_0/results/0").json()["error"]["code"] == "job_not_found"
    assert client.delete(f"/v1/jobs/{id}/results/{2**64}").status_code == 400


def test_a_wrong_request_does_not_fail_its_neighbours(client: TestClient) -> None:
    server = server_of(client)
    with Blocked(client):
        good, bad = (queue(client, model="joint", seed=i, options=FAST) for i in range(2))
        for queue_of in server.queue._waiting.values():
            for work in queue_of:
                if work.job.id == bad["id"]:
                    assert isinstance(work, SampleWork)
                    work.requests[0] = work.requests[0].__class__({"label": "none of these"}, options=FAST)
    assert wait_for_end(client, good["id"])["status"] == "succeeded"
    final = wait_for_end(client, bad["id"])
    assert final["status"] == "failed" and "none of these" in final["error"]["message"]


def test_events_are_replayed(client: TestClient) -> None:
    one = queue(client, model="joint", n=2, previews=3, options={"steps": 40})
    wait_for_end(client, one["id"])
    events = events_of(client.get(f"/v1/jobs/{one['id']}/events").text)
    names = [event["event"] for event in events]
    assert names[0] == "status" and names[-1] == "done" and names.count("result") == 2
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(set(ids))
    for headers, query in (({"last-event-id": str(ids[2])}, ""), ({}, f"?after={ids[2]}")):
        rest = events_of(client.get(f"/v1/jobs/{one['id']}/events{query}", headers=headers).text)
        assert rest == events[3:]
    results = [event["data"] for event in events if event["event"] == "result"]
    assert results == job(client, one["id"])["data"]


def test_previews(client: TestClient) -> None:
    assert [step for step in range(1, 13) if is_due(step, 12, 2)] == [4, 8]
    one = queue(client, model="pictures", previews=2, seed=1, options={"steps": 30})
    wait_for_end(client, one["id"])
    events = events_of(client.get(f"/v1/jobs/{one['id']}/events").text)
    previews = [event["data"] for event in events if event["event"] == "preview"]
    assert 1 <= len(previews) <= 2 and all(p["column"] == "image" and p["b64_json"] for p in previews)
    first = next(i for i, event in enumerate(events) if event["event"] == "result")
    assert all(event["event"] != "preview" for event in events[first + 1 :])


def test_the_list_of_jobs(make_client: MakeClient) -> None:
    client = make_client()
    ids = [queue(client, model="words", seed=i)["id"] for i in range(5)]
    client.post("/v1/score", json={"model": "words", "rows": [{"text": "box"}]})
    page = client.get("/v1/jobs", params={"limit": 2, "kind": "sample"}).json()
    assert [one["id"] for one in page["data"]] == ids[:2:-1] and page["has_more"]
    rest = client.get("/v1/jobs", params={"after": page["last_id"], "kind": "sample,train"}).json()
    assert [one["id"] for one in rest["data"]] == ids[2::-1] and not rest["has_more"]
    assert len(client.get("/v1/jobs", params={"background": False}).json()["data"]) == 1
    wait_for(lambda: len(client.get("/v1/jobs", params={"status": "succeeded"}).json()["data"]) == 6)
    assert client.get("/v1/jobs", params={"after": "job_x"}).status_code == 404


# ---- clients that are on the line


def test_a_client_that_goes_cancels_its_request_and_no_job_of_the_background(live_server: LiveServer) -> None:
    server = live_server.server
    with httpx.Client(base_url=live_server.address) as client:
        background = client.post(
            "/v1/sample", json={"model": "joint", "options": SLOW, "background": True}
        ).json()
        for stream in (False, True):
            body = json.dumps({"model": "joint", "options": SLOW, "stream": stream}).encode()
            host, port = live_server.address.removeprefix("http://").split(":")
            connection = http.client.HTTPConnection(host, int(port))
            connection.request("POST", "/v1/sample", body, {"Content-Type": "application/json"})
            one = wait_for(lambda: [job for job in server.jobs.active.values() if not job.background])[0]
            wait_for(lambda one=one: one.status == "running" or server.queue.position(one)[0] is not None)
            assert isinstance(connection.sock, socket.socket)
            connection.sock.close()
            wait_for(lambda one=one: one.has_ended)
            assert one.status == "cancelled"
        with client.stream("GET", f"/v1/jobs/{background['id']}/events") as watched:
            next(watched.iter_lines())
        assert client.get(f"/v1/jobs/{background['id']}").json()["status"] == "running"
        client.delete(f"/v1/jobs/{background['id']}")
        assert client.post("/v1/sample", json={"model": "joint", "options": FAST}).status_code == 200


@pytest.mark.parametrize("count", [50, pytest.param(200, marks=pytest.mark.full)])
def test_many_clients(live_server: LiveServer, count: int) -> None:
    """Quick ones, slow readers, and those that leave: all are answered or refused, and nothing stays behind."""
    server = live_server.server

    async def one(client: httpx.AsyncClient, i: int) -> int:
        body = {"model": "joint", "seed": i, "given": {"label": str(i % 4)}, "options": FAST}
        if i % 5 == 4:  # leaves
            try:
                await client.post("/v1/sample", json={**body, "options": SLOW}, timeout=0.3)
            except httpx.TimeoutException:
                return 0
        if i % 5 == 3:  # reads slowly
            async with client.stream("POST", "/v1/sample", json=body) as answer:
                async for _ in answer.aiter_bytes(1000):
                    await asyncio.sleep(0.01)
                return answer.status_code
        answer = await client.post("/v1/sample", json=body, timeout=120)
        if answer.status_code == 200:
            assert answer.json()["data"][0]["seed"] == i
        return answer.status_code

    async def all_of_them() -> list[int]:
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(base_url=live_server.address, limits=limits, timeout=120) as client:
            return await asyncio.gather(*(one(client, i) for i in range(count)))

    statuses = asyncio.run(all_of_them())
    assert set(statuses) <= {0, 200, 429}, statuses
    assert statuses.count(200) >= count // 2
    wait_for(lambda: not server.jobs.active)
    assert server.queue.length() == 0
    with httpx.Client(base_url=live_server.address) as client:
        assert client.post("/v1/sample", json={"model": "joint", "options": FAST}).status_code == 200


def test_the_event_loop_answers_while_a_batch_is_sampled(live_server: LiveServer) -> None:
    with httpx.Client(base_url=live_server.address) as client, ThreadPoolExecutor(1) as pool:
        body = {"model": "joint", "n": 4, "options": {"steps": 60}}
        answer = pool.submit(client.post, "/v1/sample", json=body, timeout=60)
        count = 0
        while not answer.done():
            assert httpx.get(live_server.address + "/health", timeout=10).status_code == 200
            count += 1
            time.sleep(0.01)
        assert answer.result().status_code == 200 and count > 3

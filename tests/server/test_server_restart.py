"""A server that is killed loses nothing and does nothing twice."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
from conftest import SLOW, process, wait_for

from likewise.server.store import Store

FAST = {"steps": 2}


def test_kill_and_restart(runs: Path, tmp_path: Path) -> None:
    with process(runs, tmp_path) as (running, address), httpx.Client(base_url=address, timeout=60) as client:

        def add(**body: object) -> str:
            body = {"model": "joint", "background": True, **body}
            return str(client.post("/v1/sample", json=body).json()["id"])

        done = add(seed=1, options=FAST)
        wait_for(lambda: client.get(f"/v1/jobs/{done}").json()["status"] == "succeeded")
        picture = client.get(f"/v1/jobs/{done}/results/0/image").content
        slow = add(seed=2, options={"steps": 300})
        waiting = [add(seed=3 + i, options=FAST) for i in range(2)]
        cancelled = add(options=SLOW)
        client.post(f"/v1/jobs/{cancelled}/cancel")
        foreground = None
        try:
            client.post("/v1/sample", json={"model": "joint", "options": SLOW}, timeout=0.5)
        except httpx.TimeoutException:
            foreground = True
        wait_for(lambda: client.get(f"/v1/jobs/{slow}").json()["status"] == "running")
        statuses = [client.get(f"/v1/jobs/{id}").json()["status"] for id in waiting]
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert foreground and statuses == ["queued", "queued"]

    with process(runs, tmp_path) as (running, address), httpx.Client(base_url=address, timeout=60) as client:
        assert client.get(f"/v1/jobs/{done}/results/0/image").content == picture
        for id in (slow, *waiting):
            wait_for(lambda id=id: client.get(f"/v1/jobs/{id}").json()["status"] == "succeeded", 60)
        jobs = {job["id"]: job for job in client.get("/v1/jobs").json()["data"]}
        assert [jobs[id]["restarts"] for id in (done, slow, *waiting)] == [0, 1, 0, 0]
        assert all(len(jobs[id]["data"]) == 1 for id in (done, slow, *waiting))
        assert jobs[cancelled]["status"] == "cancelled"
        assert [jobs[id]["data"][0]["seed"] for id in (slow, *waiting)] == [2, 3, 4]
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) in (0, 143, -signal.SIGTERM)

    store = Store(tmp_path)
    try:
        for id in (done, slow, *waiting):
            names = [name for _, name, _ in store.events(id)]
            assert names.count("done") == names.count("result") == 1 and names[-1] == "done"
            numbers = [number for number, _, _ in store.events(id)]
            assert numbers == sorted(set(numbers))
        assert not store.unfinished()
    finally:
        store.close()

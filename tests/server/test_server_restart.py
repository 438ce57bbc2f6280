"""A server that is killed loses nothing and does nothing twice."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
from conftest import SLOW, MakeClient, process, server_of, wait_for

FAST = {"steps": 2}


def test_kill_and_restart(make_client: MakeClient, runs: Path, tmp_path: Path) -> None:
    with process(runs, tmp_path) as (running, address), httpx.Client(base_url=address, timeout=60) as client:

        def add(**body: object) -> str:
            body = {"model": "numbers", "background": True, **body}
            return str(client.post("/v1/sample", json=body).json()["id"])

        def status(id: str) -> str:
            return str(client.get(f"/v1/jobs/{id}").json()["status"])

        done = add(model="pictures", seed=1, options=FAST)
        wait_for(lambda: status(done) == "succeeded", every=0.1)
        picture = client.get(f"/v1/jobs/{done}/results/0/image").content
        slow = add(seed=2, options={"steps": 1000})
        waiting = [add(seed=3 + i, options=FAST) for i in range(2)]
        cancelled = add(options=SLOW)
        client.post(f"/v1/jobs/{cancelled}/cancel")
        wait_for(lambda: status(slow) == "running")
        statuses = [status(id) for id in (slow, *waiting)]
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert statuses == ["running", "queued", "queued"]

    client = make_client(state=tmp_path)
    assert client.get(f"/v1/jobs/{done}/results/0/image").content == picture
    for id in (slow, *waiting):
        wait_for(lambda id=id: client.get(f"/v1/jobs/{id}").json()["status"] == "succeeded", 60)
    jobs = {job["id"]: job for job in client.get("/v1/jobs").json()["data"]}
    assert [jobs[id]["restarts"] for id in (done, slow, *waiting)] == [0, 1, 0, 0]
    assert jobs[cancelled]["status"] == "cancelled"
    assert [[result["seed"] for result in jobs[id]["data"]] for id in (done, slow, *waiting)] == [
        [1],
        [2],
        [3],
        [4],
    ]
    store = server_of(client).store
    for id in (done, slow, *waiting):
        numbers, names, _ = zip(*store.events(id), strict=True)
        assert names.count("done") == names.count("result") == 1 and names[-1] == "done"
        assert list(numbers) == sorted(set(numbers))
    assert not store.unfinished()

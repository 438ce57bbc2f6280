"""The server under load: CPU-seconds a picture, one client at a time and many, beside a server of diffusers.

    python benchmarks/serving.py                             # emoji: one client and sixteen, page, memory, 200 clients
    python benchmarks/serving.py --peer                      # and the example server of diffusers with a network of its size
    python benchmarks/serving.py --ray 2                     # and likewise with one and with two replicas on Ray
    python benchmarks/serving.py --pictures 8 --crowd 20     # does it run?

Every server is a process of its own on loopback with --threads threads for sampling; its processor time is that of
the process and of those that it has started (utime and stime in /proc), without the clients'. A picture is 32 x 32, 8 guided steps, as base64 PNG.
The ratio of one client to many is what batching gains.

The peer is what diffusers' example of a server does: FastAPI, a pipeline a request that shares the weights, run by an
executor of threads; its pipeline is a PixArtTransformer2DModel of the size of emoji, with random weights, which cost
as much as trained ones. It needs `pip install diffusers`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROMPTS = (
    "a red apple, flat style",
    "a house",
    "a blue heart",
    "a cat face",
    "a green tree",
    "sun",
    "car",
    "cake",
)
STEPS, GUIDANCE = 8, 2.0
SIDE, WIDTH, LAYERS = 32, 192, 8  # of the peer
STARTUP = 120.0  # seconds, at most
LEAVING = 0.3  # share of the crowd that goes away before it is answered


# ---- processes


def process_times() -> dict[int, tuple[int, float]]:
    """Of each process its parent, and the processor time of its threads."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("utf-8").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        found[int(path.parent.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
    return found


def process_tree(pid: int, times: Mapping[int, tuple[int, float]]) -> list[int]:
    """A process and those that it has started, and these."""
    children = [child for child, (parent, _) in times.items() if parent == pid]
    return [pid, *(found for child in children for found in process_tree(child, times))]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of those that it has started."""
    times = process_times()
    return sum(times[one][1] for one in process_tree(pid, times))


def memory_mb(pid: int) -> float:
    """Memory in RAM of a process and of those that it has started; what they share counts for each."""
    pages = 0
    for one in process_tree(pid, process_times()):
        pages += int(Path(f"/proc/{one}/statm").read_text("utf-8").split()[1])
    return pages * PAGE / 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], port: int, threads: int) -> Iterator[int]:
    """A server's process id, once it answers."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            end = time.monotonic() + STARTUP
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).raise_for_status()
                    break
                except httpx.HTTPError:
                    if process.poll() is not None or time.monotonic() > end:
                        log.seek(0)
                        sys.exit(f"the server does not start: {log.read().decode()[-2000:]}")
                    time.sleep(0.2)
            yield process.pid
        finally:
            process.terminate()
            process.wait()


# ---- clients


def body(i: int) -> dict[str, Any]:
    return {
        "model": "emoji",
        "prompt": PROMPTS[i % len(PROMPTS)],
        "seed": i,
        "steps": STEPS,
        "guidance": GUIDANCE,
        "response_format": "b64_json",
    }


async def draw(client: httpx.AsyncClient, i: int) -> int:
    """The status of a request for a picture."""
    answer = await client.post("/v1/images/generations", json=body(i))
    if answer.status_code == 200:
        assert answer.json()["data"][0]["b64_json"]
    return answer.status_code


async def clients(port: int, pictures: int, count: int) -> list[int]:
    """The statuses of so many pictures, by `count` clients that each ask for the next one when they have one."""
    numbers, statuses = iter(range(pictures)), []

    async def work(client: httpx.AsyncClient) -> None:
        for i in numbers:
            statuses.append(await draw(client, i))

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
        await asyncio.gather(*(work(client) for _ in range(count)))
    return statuses


async def crowd(port: int, count: int) -> dict[str, int]:
    """So many clients at once, some of which leave: how many were answered, refused, and left."""
    rng, outcomes = random.Random(0), {"answered": 0, "refused": 0, "left": 0, "failed": 0}

    async def work(client: httpx.AsyncClient, i: int) -> None:
        leaves = rng.random() < LEAVING
        request = draw(client, i)
        try:
            status = await (asyncio.wait_for(request, 0.05 + rng.random()) if leaves else request)
            outcomes["answered" if status == 200 else "refused" if status == 429 else "failed"] += 1
        except (TimeoutError, httpx.HTTPError):
            outcomes["left" if leaves else "failed"] += 1

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, limits=limits) as client:
        await asyncio.gather(*(work(client, i) for i in range(count)))
    return outcomes


def timed(pid: int, work: Callable[[], Awaitable[Any]]) -> tuple[Any, float, float]:
    """The result of work, the processor seconds of the server, and seconds."""
    cpu, start = cpu_seconds(pid), time.perf_counter()
    result = asyncio.run(work())  # type: ignore[arg-type]
    return result, cpu_seconds(pid) - cpu, time.perf_counter() - start


def measure_pictures(pid: int, port: int, args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of the processor a picture, of one client and of many."""
    timed(pid, lambda: clients(port, 2, 1))  # load and warm up
    cells: dict[str, Any] = {}
    for count in (1, args.clients):
        statuses, cpu, seconds = timed(pid, lambda count=count: clients(port, args.pictures, count))
        assert set(statuses) == {200}, statuses
        cells[f"{count} at a time"] = {
            "cpu_ms": 1000 * cpu / args.pictures,
            "pictures/s": args.pictures / seconds,
        }
    one, many = (cells[f"{count} at a time"]["cpu_ms"] for count in (1, args.clients))
    return {**cells, "gain": one / many, "memory_mb": memory_mb(pid)}


def measure_likewise(args: argparse.Namespace) -> dict[str, Any]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "likewise", "serve", folder, "--port", str(port)]
        with serving([*command, "--threads", str(args.threads)], port, args.threads) as pid:
            start = {"startup_cpu_s": cpu_seconds(pid), "idle_mb": memory_mb(pid)}
            result = {**start, **measure_pictures(pid, port, args), "page": page_weight(port)}
            asyncio.run(crowd(port, args.crowd))  # the first crowd opens threads and connections
            before = memory_mb(pid)
            outcomes, cpu, seconds = timed(pid, lambda: crowd(port, args.crowd))
            time.sleep(2)
            after = memory_mb(pid)
            return {**result, "crowd": {**outcomes, "cpu_s": cpu, "s": seconds, "mb": [before, after]}}


def measure_replicas(args: argparse.Namespace, replicas: int) -> dict[str, Any]:
    """Of a server with so many replicas on a cluster of Ray of this machine."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "likewise", "serve", folder, "--port", str(port), "--ray"]
        options = ["--replicas", str(replicas), "--threads", str(args.threads)]
        with serving([*command, *options], port, args.threads) as pid:
            start = {"startup_cpu_s": cpu_seconds(pid), "idle_mb": memory_mb(pid)}
            asyncio.run(clients(port, 4 * replicas, 2 * replicas))  # each replica loads the model
            return {**start, **measure_pictures(pid, port, args)}


def page_weight(port: int) -> dict[str, Any]:
    """Files and bytes of the studio as a browser loads it, uncompressed."""
    seen: dict[str, int] = {}
    queue = ["/"]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        while queue:
            url = queue.pop()
            if url in seen:
                continue
            answer = client.get(url)
            answer.raise_for_status()
            seen[url] = len(answer.content)
            if "html" in answer.headers["content-type"]:
                queue += [str(httpx.URL(url).join(u)) for u in links(answer.text, ('src="', 'href="'))]
            elif "javascript" in answer.headers["content-type"]:
                queue += [str(httpx.URL(url).join(u)) for u in links(answer.text, ('from "', 'import "'))]
    return {"files": len(seen), "bytes": sum(seen.values())}


def links(text: str, before: Sequence[str]) -> Iterator[str]:
    """What stands in quotes after one of these, without anchors."""
    for mark in before:
        for part in text.split(mark)[1:]:
            link = part.partition('"')[0]
            if not link.startswith(("#", "data:")):
                yield link


# ---- the peer


def make_pipeline() -> Any:
    """A pipeline of diffusers, text to image by flow matching with guidance, of random weights."""
    import torch
    from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, PixArtTransformer2DModel
    from diffusers.image_processor import VaeImageProcessor

    class Pipeline(DiffusionPipeline):
        def __init__(self, transformer: Any, scheduler: Any) -> None:
            super().__init__()
            self.register_modules(transformer=transformer, scheduler=scheduler)
            self.image_processor = VaeImageProcessor()

        @torch.no_grad()
        def __call__(
            self, prompt: str, generator: Any, num_inference_steps: int, guidance_scale: float
        ) -> Any:
            ids = torch.tensor([[ord(c) % 256 for c in prompt.ljust(12)[:12]]])
            text = torch.nn.functional.one_hot(torch.cat([ids, 0 * ids]), WIDTH + 64).float()[..., :WIDTH]
            self.scheduler.set_timesteps(num_inference_steps)
            x = torch.randn(1, 3, SIDE, SIDE, generator=generator)
            for t in self.scheduler.timesteps:
                predicted = self.transformer(
                    x.repeat(2, 1, 1, 1), timestep=t.expand(2), encoder_hidden_states=text
                ).sample
                with_text, without = predicted.chunk(2)
                x = self.scheduler.step(without + guidance_scale * (with_text - without), t, x).prev_sample
            return self.image_processor.postprocess(x, output_type="pil")

    network = PixArtTransformer2DModel(
        sample_size=SIDE,
        patch_size=2,
        in_channels=3,
        out_channels=3,
        num_layers=LAYERS,
        num_attention_heads=WIDTH // 64,
        attention_head_dim=64,
        cross_attention_dim=WIDTH,
        caption_channels=WIDTH,
        use_additional_conditions=False,
    )
    return Pipeline(network.eval(), FlowMatchEulerDiscreteScheduler())


def serve_peer(port: int, threads: int) -> None:
    """A server in the manner of diffusers' example."""
    import base64
    import io

    import torch
    import uvicorn
    from fastapi import FastAPI

    torch.set_num_threads(threads)
    shared, app = make_pipeline(), FastAPI()
    print(f"{sum(p.numel() for p in shared.transformer.parameters()):,} parameters", flush=True)

    def run(request: Mapping[str, Any]) -> str:
        pipeline = type(shared)(shared.transformer, shared.scheduler.from_config(shared.scheduler.config))
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(request["seed"])
        [image] = pipeline(request["prompt"], generator, request["steps"], request["guidance"])
        stream = io.BytesIO()
        image.save(stream, "png")
        return base64.b64encode(stream.getvalue()).decode()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/images/generations")
    async def generate(request: dict[str, Any]) -> dict[str, Any]:
        b64 = await asyncio.get_running_loop().run_in_executor(None, run, request)
        return {"data": [{"b64_json": b64}]}

    uvicorn.run(app, port=port, log_level="warning")


def measure_peer(args: argparse.Namespace) -> dict[str, Any]:
    port = free_port()
    command = [sys.executable, __file__, "--serve-peer", str(port), "--threads", str(args.threads)]
    with serving(command, port, args.threads) as pid:
        return {
            "startup_cpu_s": cpu_seconds(pid),
            "idle_mb": memory_mb(pid),
            **measure_pictures(pid, port, args),
        }


def print_result(name: str, result: Mapping[str, Any]) -> None:
    print(f"\n{name}")
    for key, value in result.items():
        if isinstance(value, Mapping):
            value = ", ".join(
                f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in value.items()
            )
        print(f"  {key:16} {value:.2f}" if isinstance(value, float) else f"  {key:16} {value}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=64, help="of each measurement (default 64)")
    parser.add_argument("--clients", type=int, default=16, help="at the same time (default 16)")
    parser.add_argument(
        "--crowd", type=int, default=200, help="clients at once, some of which leave (default 200)"
    )
    parser.add_argument("--threads", type=int, default=1, help="of the processor, for sampling (default 1)")
    parser.add_argument("--peer", action="store_true", help="measure the server of diffusers too")
    parser.add_argument("--ray", type=int, default=0, metavar="N", help="measure 1 to N replicas on Ray too")
    parser.add_argument("--serve-peer", type=int, metavar="PORT", help="be the server of diffusers")
    parser.add_argument("--out", type=Path, default=Path("runs/serving.json"))
    args = parser.parse_args()
    if args.serve_peer:
        serve_peer(args.serve_peer, args.threads)
        return
    results = {"likewise": measure_likewise(args)}
    print_result("likewise", results["likewise"])
    if args.peer:
        results["diffusers"] = measure_peer(args)
        print_result("diffusers", results["diffusers"])
    for replicas in range(1, args.ray + 1):
        name = f"replicas: {replicas}"
        results[name] = measure_replicas(args, replicas)
        print_result(name, results[name])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=2), "utf-8")


if __name__ == "__main__":
    main()

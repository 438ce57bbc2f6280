"""Nodes of a cluster of Ray: connecting to it, and whether the replicas can run there."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likewise._version import __version__
from likewise.server.settings import LOCAL_RAY

CHECK_SECONDS = 120.0  # for the nodes to answer


@dataclass(frozen=True)
class ReplicaResources:
    """What each replica takes: threads of the processor, and a share of a GPU."""

    threads: int
    gpus: float


def connect(address: str) -> None:
    """Connect to a cluster, or start one of this machine. Raises ValueError.

    One that is started asks for a token that is made for it, as its ports are not on loopback alone. Neither sends
    statistics of its use.
    """
    local = address == LOCAL_RAY
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if local and "ray" not in sys.modules:  # the import reads them
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
        import ray.serve  # noqa: F401  # of the package ray[serve]
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--ray needs {error.name}, which is not there: pip install 'likewise[cluster]'"
        ) from None
    options: dict[str, Any] = {"include_dashboard": False} if local else {}
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, logging_level=logging.WARNING, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"cannot connect to the cluster of Ray at {address}: {str(error).splitlines()[0]}; run `ray start` on this "
            "machine too, which must be a node of the cluster"
        ) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)  # Ray's would end this process with a status of its own


def choose_resources(nodes: Sequence[dict[str, Any]], replicas: int, threads: int | None) -> ReplicaResources:
    """What each of so many replicas takes of nodes as `ray.nodes()` describes them. Raises ValueError.

    Without `threads` as many as fit; GPUs, if there are any, are shared among the replicas.

    >>> choose_resources([{"Resources": {"CPU": 8.0, "GPU": 1.0}}, {"Resources": {"CPU": 4.0}}], 3, None)
    ReplicaResources(threads=4, gpus=0.3333)
    """
    cores = [int(node["Resources"].get("CPU", 0)) for node in nodes]
    gpus = sum(int(node["Resources"].get("GPU", 0)) for node in nodes)

    def fit(count: int) -> bool:
        return sum(core // count for core in cores) >= replicas

    chosen = threads or next((count for count in range(max(cores, default=0), 0, -1) if fit(count)), 1)
    if not fit(chosen):
        raise ValueError(
            f"{replicas} replicas of {chosen} threads do not fit on nodes of {', '.join(map(str, cores)) or 'no'} cores; "
            "give fewer --replicas or --threads"
        )
    share = math.floor(1e4 / math.ceil(replicas / gpus)) / 1e4 if gpus else 0.0  # Ray counts four digits
    return ReplicaResources(chosen, share)


def check_nodes(nodes: Sequence[dict[str, Any]], folder: Path) -> None:
    """Raise ValueError unless each node but this one has the folder, and the same version of likewise."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    own = ray.get_runtime_context().get_node_id()
    others = [node for node in nodes if node["NodeID"] != own and node["Resources"].get("CPU")]
    describe = ray.remote(num_cpus=0)(describe_node)
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in others]
    answers = [describe.options(scheduling_strategy=place).remote(str(folder)) for place in places]
    for node, answer in zip(others, answers, strict=True):
        name = node["NodeManagerHostname"]
        try:
            version, there = ray.get(answer, timeout=CHECK_SECONDS)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"the node {name} cannot run likewise: {reason}; install 'likewise[cluster]' there"
            ) from None
        if version != __version__:
            raise ValueError(
                f"the node {name} has likewise {version}; install {__version__}, as on this machine"
            )
        if not there:
            raise ValueError(f"the node {name} has no folder {folder}; mount it there at the same path")


def describe_node(folder: str) -> tuple[str, bool]:
    """The version of likewise on the node that runs this, and whether it has a folder."""
    return __version__, Path(folder).is_dir()

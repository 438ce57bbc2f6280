"""Settings of the server, checked like all options."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from likewise.core.options import validate_fields
from likewise.core.ranges import NonNegativeInt, PositiveInt

Port = Annotated[int, Interval(ge=0, le=65_535)]  # 0: any free one
Seconds = Annotated[float, Interval(ge=0, le=1e6)]
Milliseconds = Annotated[float, Interval(ge=0, le=1000)]
QueueSize = Annotated[int, Interval(ge=1, le=100_000)]
SamplingBatch = Annotated[int, Interval(ge=1, le=1024)]
Threads = Annotated[int, Interval(ge=1, le=1024)]
NumReplicas = Annotated[int, Interval(ge=1, le=1024)]
NumTrainings = Annotated[int, Interval(ge=1, le=64)]

STATE = ".server"  # in the folder of runs
MIN_TOKEN = 8  # characters
LOCAL_RAY = "local"  # a cluster of Ray of this machine alone
DEFAULT_REPLICAS = 2
_RAY_ADDRESS = re.compile(r"local|auto|[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")


@dataclass(frozen=True)
class ServerSettings:
    """What a server serves, to whom, and within which limits.

    folder         of runs and pipelines, or one of these; new runs are written here
    state          folder of jobs, results and uploads (default: .server in `folder`)
    host           address to listen at
    port           port to listen at; 0 takes a free one
    token          what every request must bring as `Authorization: Bearer TOKEN`
    allowed_hosts  further names by which clients may call the server
    cors_origins   origins of other pages whose scripts may call it, such as http://localhost:5173
    aliases        further names of models, for clients with names of their own
    memory_mb      of models that are loaded at the same time, in megabytes
    uploads_mb     that uploads may take together, in megabytes, with what archives among them hold
    free_mb        of the disk that no upload takes, in megabytes
    keep_alive     seconds after which a model that is not used is unloaded; 0: after each batch
    queue_size     jobs that may wait
    max_batch      samples that are computed at once
    batch_wait     milliseconds to wait for further requests of a batch
    threads        of the processor, for sampling; of each replica
    ray            cluster of Ray whose replicas sample: its address, host:port, "auto" for the one of this machine, or
                   "local" to start one
    replicas       processes that sample, on a cluster (default 2)
    trainings      that run at the same time; others wait
    """

    folder: Path
    state: Path | None = None
    host: str = "127.0.0.1"
    port: Port = 8000
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    memory_mb: PositiveInt = 2048
    uploads_mb: PositiveInt = 10_000
    free_mb: NonNegativeInt = 1000
    keep_alive: Seconds = 600.0
    queue_size: QueueSize = 256
    max_batch: SamplingBatch = 16
    batch_wait: Milliseconds = 4.0
    threads: Threads | None = None
    ray: str | None = None
    replicas: NumReplicas | None = None
    trainings: NumTrainings = 1

    def __post_init__(self) -> None:
        validate_fields(self)
        object.__setattr__(self, "folder", Path(self.folder))
        if not self.folder.is_dir():
            raise ValueError(f"there is no folder {self.folder}; name the folder of your runs, or make it")
        if self.token is not None and len(self.token) < MIN_TOKEN:
            raise ValueError(f"the token has {len(self.token)} characters; take at least {MIN_TOKEN}")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise ValueError("the token must be of printable ASCII characters")
        if self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"at {self.host} other machines can reach the server; give --token, or leave --host out"
            )
        if self.ray is None and self.replicas is not None:
            raise ValueError("replicas are those of a cluster of Ray; add --ray, or leave --replicas out")
        if self.ray is not None and not _RAY_ADDRESS.fullmatch(self.ray):
            raise ValueError(
                f"{self.ray!r} is no address of a cluster of Ray; write HOST:PORT or auto after --ray, or nothing for a "
                "cluster of this machine, and the folder before it"
            )
        for origin in self.cors_origins:
            scheme, _, rest = origin.partition("://")
            if "*" in origin or scheme not in ("http", "https") or not rest or "/" in rest:
                raise ValueError(
                    f"{origin!r} is no origin; write one such as http://localhost:5173, without a path and without *"
                )

    @property
    def state_folder(self) -> Path:
        """The folder of jobs, results and uploads."""
        return self.state or self.folder / STATE

    def describe(self) -> dict[str, str | int | float | None]:
        """The settings for a log, without the token."""
        shown = {n: v for n, v in vars(self).items() if n not in ("token", "aliases")}
        return {n: v if isinstance(v, str | int | float | None) else str(v) for n, v in shown.items()}


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

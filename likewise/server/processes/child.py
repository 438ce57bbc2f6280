"""What a process of the server runs: a module as `python -m` does, with limits, a lock and an exit status on disk.

    python -m likewise.server.processes.child FOLDER LIMITS MODULE [ARGUMENT ...]

FOLDER gets `pid` at the beginning, `progress` from time to time, and `status` at the end. A process that is killed leaves no status, so whoever finds
the folder later can tell how it ended, parent or not.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from likewise.core.option_names import as_field, write_options
from likewise.core.progress import receive_progress

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PID, PROGRESS, STATUS = "pid", "progress", "status"
INTERRUPTED, CRASHED = 128 + signal.SIGINT, 70


def main(arguments: Sequence[str]) -> int:
    """Run the module, whose messages are for those who send requests; the exit status."""
    folder, limits, module, *rest = arguments
    for name in (
        "SIGINT",
        "SIGTERM",
        "SIGHUP",
    ):  # a server under nohup ignores some, and children inherit that
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = CRASHED
    try:
        write(Path(folder) / PID, os.getpid())
        apply_limits(json.loads(limits))
        progress = Path(folder) / PROGRESS
        with write_options(as_field), receive_progress(lambda p: write(progress, json.dumps(vars(p)))):
            status = run(module, rest)
    except KeyboardInterrupt:
        status = INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        write(Path(folder) / STATUS, status)
    return status


def run(module: str, arguments: Sequence[str]) -> int:
    """Run a module as the main one; the status with which it ends."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code is None:
            return 0
        return error.code if isinstance(error.code, int) else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException:
        traceback.print_exc()
        return CRASHED
    return 0


def apply_limits(limits: Mapping[str, int]) -> None:
    """Lower the priority by `nice`, and limit bytes of memory, bytes of a written file, and seconds of the processor."""
    if hasattr(os, "nice"):
        os.nice(limits.get("nice", 0))
    with suppress(OSError):  # Linux: of all processes this one is ended first when memory is short
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    if resource is None:
        return
    kinds = {
        "memory": resource.RLIMIT_DATA,
        "file_bytes": resource.RLIMIT_FSIZE,
        "cpu_seconds": resource.RLIMIT_CPU,
    }
    for name, kind in kinds.items():
        if name in limits:
            _, hard = resource.getrlimit(kind)
            limit = limits[name] if hard == resource.RLIM_INFINITY else min(limits[name], hard)
            resource.setrlimit(kind, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def write(path: Path, content: int | str) -> None:
    """Write a file that is complete or not there."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(f"{content}\n", encoding="ascii")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""ChildProcess: a process of the server, which outlives it and is found again by its folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from likewise.core.locks import FolderLock
from likewise.modalities.files import ROOT
from likewise.server.processes.child import PID, PROGRESS, STATUS

CHILD = "likewise.server.processes.child"
LOCK, LOG = "lock", "log.txt"
SECRETS = ("LIKEWISE_TOKEN",)  # of the environment, which no child needs
OFFLINE = {
    "LIKEWISE_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
LOG_TAIL = 16_384  # bytes at the end of a log, among which the error is


@dataclass
class ChildProcess:
    """A process with a folder of its own: log.txt, pid, status, and a lock that it holds while it runs.

    The lock is inherited when the process starts, so there is no moment in which it runs and nobody can tell.
    """

    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def start(
        cls,
        folder: Path,
        module: str,
        arguments: Sequence[str],
        *,
        threads: int,
        limits: Mapping[str, int] | None = None,
        files: Path | None = None,
    ) -> ChildProcess:
        """Run `python -m MODULE ARGUMENTS` with so many threads. Raises ValueError if one of the folder still runs.

        files  the folder of the files that a table may name; any unless given
        """
        try:
            lock = FolderLock(folder, LOCK)
        except BlockingIOError:
            raise ValueError("its process still runs") from None
        with lock:
            for name in (PID, PROGRESS, STATUS):
                (folder / name).unlink(missing_ok=True)
            temporary = folder / "tmp"
            temporary.mkdir(exist_ok=True)
            environment = {
                **{name: value for name, value in os.environ.items() if name not in SECRETS},
                **dict.fromkeys(THREADS, str(threads)),
                **OFFLINE,
                **({} if files is None else {ROOT: str(files)}),
                "TMPDIR": str(temporary),
                "TOKENIZERS_PARALLELISM": "false",
                "PYTHONUNBUFFERED": "1",
            }
            command = [sys.executable, "-m", CHILD, str(folder), json.dumps(dict(limits or {})), module]
            with open(folder / LOG, "ab") as log:
                process = subprocess.Popen(
                    [*command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,  # Ctrl-C in the terminal of the server is not for it
                    pass_fds=lock.descriptors,
                )
        return cls(folder, process)

    @property
    def running(self) -> bool:
        """Whether it runs. Without locks only one that this process has started is known to."""
        if self._process is not None:
            return self._process.poll() is None
        if not (self.folder / LOCK).exists():
            return False
        try:
            FolderLock(self.folder, LOCK).release()
        except BlockingIOError:
            return True
        return False

    @property
    def status(self) -> int | None:
        """Its exit status when it has ended; None if it was killed."""
        with suppress(OSError, ValueError):
            return int((self.folder / STATUS).read_text())
        return None

    @property
    def progress(self) -> dict[str, Any] | None:
        """What it has reported last: the fields of Progress."""
        with suppress(OSError, ValueError):
            progress: dict[str, Any] = json.loads((self.folder / PROGRESS).read_text())
            return progress
        return None

    def signal(self, number: int = signal.SIGINT) -> None:
        """Send a signal, unless it has ended, or is so young that it has not said its number."""
        if not self.running:
            return
        pid = self._process.pid if self._process is not None else self._pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether a process that this one has started ends within so many seconds."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.running

    def kill(self) -> None:
        """End it at once."""
        self.signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def log_tail(self) -> str:
        """The end of what it has printed."""
        with suppress(OSError), open(self.folder / LOG, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL))
            return log.read().decode(errors="replace")
        return ""

    def remove(self) -> None:
        """Remove the folder of a process that has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pid(self) -> int | None:
        with suppress(OSError, ValueError):
            return int((self.folder / PID).read_text())
        return None


def share_of_cores(share: float = 0.5) -> int:
    """The threads of a process that is to leave the other cores to the rest."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(share * cores))

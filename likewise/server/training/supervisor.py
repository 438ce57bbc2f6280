"""Jobs that are processes: a queue for each kind, pause, resume and cancel, and finding them after a restart."""

from __future__ import annotations

import logging
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from likewise.core.device import default_device
from likewise.server.http.errors import APIError, invalid
from likewise.server.jobs.book import Job, JobBook
from likewise.server.limits import MAX_TRAININGS, PAUSE_SECONDS
from likewise.server.processes.child import INTERRUPTED
from likewise.server.processes.start import ChildProcess, share_of_cores
from likewise.training.memory import available_bytes

TICK = 0.25  # seconds between two looks at the processes
REPEAT = 10.0  # seconds after which a signal is sent again
NICE = 10
CORES = 0.5  # share of the cores that the processes of a kind have together
MODULE = "likewise"  # `python -m likewise COMMAND`
ENDED_BY_SIGNAL = (INTERRUPTED, 128 + signal.SIGTERM, 129, None)  # None: killed
Wanted = Literal["run", "pause", "cancel"]
log = logging.getLogger("likewise.server")


class ProcessTask(ABC):
    """A job that `python -m likewise COMMAND` does.

    wanted  what is to become of its process
    """

    kind: str
    can_pause = False

    def __init__(self, job: Job, jobs: JobBook, folder: Path) -> None:
        self.job, self.jobs = job, jobs
        self.child = ChildProcess(folder)
        self.wanted: Wanted = "run"
        self.signalled = 0.0

    @abstractmethod
    def arguments(self) -> list[str]:
        """The command and its words; called when the process is to start. Raises ValueError if it cannot."""

    @abstractmethod
    def files(self) -> Path | None:
        """The folder of the files that its data may name; None for any."""

    @abstractmethod
    def watch(self) -> None:
        """Tell what is new; called every TICK while it runs, and once after its end."""

    @abstractmethod
    def end(self, status: int | None) -> None:
        """End the job, or pause it, by the status of its process; None if that was killed."""

    def set_wanted(self, wanted: Wanted) -> None:
        """Keep what is wanted, also for the next server."""
        self.wanted = wanted
        self.jobs.store.set_state(self.job.id, wanted=wanted)


class Supervisor:
    """Starts processes of tasks, so many of a kind at a time, and looks after them in a thread."""

    def __init__(self, jobs: JobBook, at_once: Mapping[str, int]) -> None:
        """`at_once`: processes of each kind of job that may run at the same time."""
        self.jobs, self.at_once = jobs, dict(at_once)
        self.tasks: dict[str, ProcessTask] = {}  # by job, all that have not ended
        self._waiting: list[ProcessTask] = []
        self._running: list[ProcessTask] = []
        self._condition = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to look after processes."""
        self._thread.start()

    def abandon(self) -> None:
        """Stop looking after processes; they go on, and the next server finds them."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def close(self) -> None:
        """Pause what runs, and wait until it is saved; what takes too long goes on, and is found by the next server."""
        self.abandon()
        running = list(self._running)
        for task in running:
            if task.can_pause:
                task.set_wanted("pause" if task.wanted == "run" else task.wanted)
                task.child.signal()
            else:
                task.child.kill()  # it is begun anew
        end = time.monotonic() + PAUSE_SECONDS
        while any(task.child.running for task in running) and time.monotonic() < end:
            time.sleep(0.05)
        for task in running:
            if task.can_pause and not task.child.running:
                self._end(task)

    # ---- requests

    def require_room(self) -> None:
        """Raise APIError with status 429 if too many have not ended."""
        if len(self.tasks) >= MAX_TRAININGS:
            raise APIError(
                429,
                f"{len(self.tasks)} trainings and evaluations have not ended, which is the most; cancel some",
                code="queue_full",
                headers={"Retry-After": "60"},
            )

    def put(self, task: ProcessTask) -> None:
        """Queue a task."""
        task.job.on_cancel = lambda: self.cancel(task)
        with self._condition:
            self.tasks[task.job.id] = task
            self._waiting.append(task)
            self._condition.notify_all()

    def recover(self, task: ProcessTask, wanted: Wanted) -> None:
        """Take over a task of an earlier server: its process may run, have ended meanwhile, or have been killed."""
        task.wanted = wanted
        task.job.on_cancel = lambda: self.cancel(task)
        with self._condition:
            self.tasks[task.job.id] = task
            if task.child.running:
                self.jobs.set_status(task.job, "running")
                self._running.append(task)
            elif task.job.status == "running":
                self._end(task)
            elif task.job.status == "queued":
                self._waiting.append(task)
            elif task.wanted == "cancel":
                self._forget(task)
                self.jobs.finish(task.job, "cancelled")
            self._condition.notify_all()

    def pause(self, task: ProcessTask) -> None:
        """Have a task saved and stopped; one that waits is put aside. Raises APIError for one that cannot be paused."""
        with self._condition:
            if not task.can_pause or task.wanted == "cancel" or task.job.has_ended:
                raise invalid(f"{task.job.id} cannot be paused", code="invalid_state")
            if task.job.status == "paused":
                return
            task.set_wanted("pause")
            if task in self._waiting:
                self._waiting.remove(task)
                self.jobs.set_status(task.job, "paused")
            else:
                self._signal(task)

    def resume(self, task: ProcessTask) -> None:
        """Queue a task that is paused. Raises APIError for another one."""
        with self._condition:
            if task.job.status != "paused":
                message = f"{task.job.id} is {task.job.status}; only what is paused is resumed"
                raise invalid(message, code="invalid_state")
            task.set_wanted("run")
            self.jobs.set_status(task.job, "queued")
            self._waiting.append(task)
            self._condition.notify_all()

    def cancel(self, task: ProcessTask) -> None:
        """End a task as soon as possible."""
        with self._condition:
            if task.job.has_ended:
                return
            task.set_wanted("cancel")
            if task in self._running:
                self._signal(task)
                return
            if task in self._waiting:
                self._waiting.remove(task)
            self._forget(task)
        self.jobs.finish(task.job, "cancelled")

    def position(self, task: ProcessTask) -> int | None:
        """How many of the same kind are before it; None if it neither waits nor runs."""
        with self._condition:
            if task in self._running:
                return 0
            same = [other for other in self._waiting if other.kind == task.kind]
            running = sum(other.kind == task.kind for other in self._running)
            return same.index(task) + running if task in same else None

    def of_kind(self, kind: str) -> list[ProcessTask]:
        """The tasks that run, and then those that wait, in order."""
        with self._condition:
            return [task for task in (*self._running, *self._waiting) if task.kind == kind]

    # ---- the thread

    def _loop(self) -> None:
        while True:
            with self._condition:
                if self._closing:
                    return
                self._start_waiting()
                running = list(self._running)
            for task in running:
                try:
                    self._look_at(task)
                except Exception:  # nothing may end this thread
                    log.exception("job %s", task.job.id)
            with self._condition:
                if not self._closing:
                    self._condition.wait(TICK if self._running or self._waiting else None)

    def _start_waiting(self) -> None:
        for task in list(self._waiting):
            if sum(other.kind == task.kind for other in self._running) < self.at_once[task.kind]:
                self._waiting.remove(task)
                self._start(task)

    def _start(self, task: ProcessTask) -> None:
        try:
            words: Sequence[str] = task.arguments()
            folder = task.child.folder
            threads = share_of_cores(CORES / self.at_once[task.kind])
            task.child = ChildProcess.start(
                folder, MODULE, words, threads=threads, limits=limits(), files=task.files()
            )
        except (ValueError, OSError) as error:
            log.warning("job %s cannot start: %s", task.job.id, error)
            self._forget(task)
            self.jobs.fail(task.job, error if isinstance(error, ValueError) else APIError(500, str(error)))
            return
        self._running.append(task)
        self.jobs.set_status(task.job, "running")

    def _look_at(self, task: ProcessTask) -> None:
        running = task.child.running  # before what it has written is read
        task.watch()
        if not running:
            with self._condition:
                if task in self._running:
                    self._running.remove(task)
            self._end(task)
        elif task.wanted != "run" and time.monotonic() - task.signalled > REPEAT:
            self._signal(task)

    def _end(self, task: ProcessTask) -> None:
        """The process of a task has ended."""
        status = task.child.status
        if task.wanted == "cancel":
            self._forget(task)
            self.jobs.finish(task.job, "cancelled")
        else:
            task.end(status)
            if task.job.has_ended:
                self._forget(task)
        if task.job.has_ended and task.job.status != "failed":  # then its log tells more
            task.child.remove()

    def _forget(self, task: ProcessTask) -> None:
        self.tasks.pop(task.job.id, None)

    def _signal(self, task: ProcessTask) -> None:
        task.signalled = time.monotonic()
        task.child.signal()


def limits() -> dict[str, int]:
    """Low priority, and the memory that is free now, so that a hostile data set does not take that of others.

    Where there is a GPU its libraries reserve more addresses than memory, so there is no such limit.
    """
    cpu = torch.device("cpu")
    free = available_bytes(cpu) if default_device() == cpu else None
    return {"nice": NICE, **({} if free is None else {"memory": free})}

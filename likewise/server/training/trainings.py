"""Trainings: processes of `likewise train`, with their progress, samples and warnings as events of jobs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from likewise.models.checkpoint import RunError, is_pipeline, is_run, load_pipeline_state, load_state
from likewise.server.data.data_files import DataFiles, error_of
from likewise.server.http.errors import APIError, not_found
from likewise.server.jobs.book import Job, JobBook, new_id
from likewise.server.jobs.store import StoredJob
from likewise.server.limits import PAUSE_SECONDS
from likewise.server.server import Server
from likewise.server.training.request import TrainingRequest
from likewise.server.training.run_metrics import Curve, MetricsTail, read_curve
from likewise.server.training.supervisor import ENDED_BY_SIGNAL, ProcessTask, Supervisor, Wanted

KIND = "train"
WEIGHTS, SAMPLES = "weights.safetensors", "samples.png"
PROGRESS_SECONDS = 0.5  # between two events of progress
METRICS_SECONDS = 15.0  # between two events of metrics that are kept, beside those of checkpoints
NOTE = "note: "
MAX_NOTES = 50
OUT_OF_MEMORY = (
    "can't allocate memory",
    "MemoryError",
    "out of memory",
)  # in the log of one that has crashed


class TrainingTask(ProcessTask):
    """A job of kind "train".

    run         the folder of the new model
    on_weights  called when it has new weights
    """

    kind, can_pause = KIND, True

    def __init__(
        self, job: Job, jobs: JobBook, data: DataFiles, root: Path, state: Mapping[str, Any]
    ) -> None:
        super().__init__(job, jobs, jobs.store.folder / "trainings" / job.id)
        self.data, self.name = data, str(state["run"])
        self.run = (root / self.name).resolve()
        self.words, self.begun = list(state["words"]), bool(state.get("begun"))
        self.curve, self._tail = Curve(), MetricsTail(self.run)
        stored = [event.data for event in job.events if event.name == "metrics"]
        self._kept_step = max((data["step"] for data in stored), default=0)
        self._kept_at, self._told_at, self._log_read = time.monotonic(), 0.0, 0
        self.on_weights: Callable[[], None] = lambda: None
        self._weights, self._samples = _mtime(self.run / WEIGHTS), 0.0

    # ---- the process

    def arguments(self) -> list[str]:
        """`likewise train`, which goes on if it has begun before."""
        if self.begun and is_run(self.run):
            return ["train", "--resume", f"--out={self.run}"]
        if self.run.exists() and not self.begun:
            raise RunError(f"there is a model {self.name} already; train again with another suffix")
        request = self.job.request
        data = request["training_file"]
        named = [] if data is None else [self.data.source(data)]
        named += [] if request["formula"] is None else [request["formula"]]
        self.begun = True
        self.jobs.store.set_state(self.job.id, begun=True)
        return ["train", *named, *self.words, f"--out={self.run}"]

    def files(self) -> Path | None:
        """The folder of the upload, if it learns one."""
        data = self.job.request["training_file"]
        first = next((w.partition("=")[2] for w in self.words if w.startswith("--from=")), None)
        source = self.data.source(data) if data is not None else first and data_source(Path(first))
        return self.data.root(source)

    def watch(self) -> None:
        """Publish progress, metrics, samples and notes."""
        records, anew = self._tail.read()
        if anew:
            self.curve = Curve()
        for record in records:
            self.curve.add(record)
        now = time.monotonic()
        if records and now - self._told_at > PROGRESS_SECONDS:
            self._told_at = now
            self.jobs.publish(self.job, "progress", self.progress, keep=False)
        weights = _mtime(self.run / WEIGHTS)
        if weights != self._weights:
            self._weights = weights
            self.on_weights()
            self._keep_metrics(self.curve.checkpoint or self.curve.last, checkpoint=True)
        elif records and now - self._kept_at > METRICS_SECONDS:
            self._keep_metrics(self.curve.last, checkpoint=False)
        self._tell_samples()
        self._tell_notes()

    def end(self, status: int | None) -> None:
        """Succeeded, failed with the message of the command, or paused if a signal has ended it."""
        if not self.curve.last:  # it has ended while no server was there
            self.curve = read_curve(self.run)
        if status == 0:
            last = {"step": self.curve.last.get("step"), "loss": self.curve.loss}
            self.jobs.add_result(self.job, 0, {"index": 0, "model": self.name, **last})
            self.jobs.finish(self.job, "succeeded")
        elif status in ENDED_BY_SIGNAL:
            if self.wanted != "pause":
                self.jobs.warn(
                    self.job,
                    "the process of the training was ended from outside, or with the server; resume goes on from "
                    f"step {self.curve.checkpoint.get('step', 0):,}",
                )
            self.jobs.set_status(self.job, "paused")
        else:
            self.jobs.fail(self.job, self.error())

    def error(self) -> APIError:
        """Why it has failed, as the command line says it."""
        log = self.child.log_tail()
        message = self._shown(error_of(log))
        if any(word in log for word in OUT_OF_MEMORY):
            message = "there is not enough memory for this training; take fewer rows of a step (batch), or a smaller model"
        return APIError(400, message, code="training_failed")

    # ---- what is told

    @property
    def progress(self) -> dict[str, Any]:
        """Where the training is."""
        last, share = self.curve.last, float(self.curve.last.get("progress", 0.0))
        return {
            "step": last.get("step", 0),
            "steps": round(last["step"] / share) if share > 0 else None,
            "share": share,
            "loss": self.curve.loss,
            "valid_loss": self.curve.checkpoint.get("heldout"),
            "rows_per_second": last.get("rows_per_second"),
            "elapsed": last.get("elapsed"),
            "eta_seconds": last.get("eta"),
        }

    def seconds_left(self) -> float | None:
        """Until its end, if it runs now; None if that cannot be told."""
        if self.curve.last:
            return float(self.curve.last.get("eta", 0.0))
        minutes = next((w.partition("=")[2] for w in self.words if w.startswith("--minutes=")), None)
        return None if minutes is None else 60 * float(minutes)

    def _keep_metrics(self, record: Mapping[str, Any], *, checkpoint: bool) -> None:
        if not record or record["step"] <= self._kept_step:
            return
        self._kept_step, self._kept_at = record["step"], time.monotonic()
        data = {
            "step": record["step"],
            "loss": self.curve.loss,
            "valid_loss": record.get("heldout"),
            "share": record.get("progress"),
            "elapsed": record.get("elapsed"),
            "checkpoint": checkpoint,
            "created_at": int(time.time()),
        }
        self.jobs.publish(self.job, "metrics", data)
        self.jobs.store.set_state(self.job.id, progress=self.progress)

    def _tell_samples(self) -> None:
        made = _mtime(self.run / SAMPLES)
        if made != self._samples:
            self._samples = made
            url = f"/v1/fine_tuning/jobs/{self.job.id}/samples.png?step={self.curve.last.get('step', 0)}"
            data = {"index": 0, "column": "samples", "media_type": "image/png", "url": url}
            self.jobs.publish(self.job, "preview", data, keep=False)

    def _tell_notes(self) -> None:
        """The notes of the command become warnings."""
        with suppress(OSError), open(self.child.folder / "log.txt", "rb") as file:
            file.seek(self._log_read)
            complete, newline, _ = file.read(2**16).rpartition(b"\n")
            self._log_read += len(complete) + len(newline)
            for line in complete.decode(errors="replace").splitlines():
                if line.startswith(NOTE) and len(self.job.warnings) < MAX_NOTES:
                    self.jobs.warn(self.job, self._shown(line.removeprefix(NOTE)))

    def _shown(self, text: str) -> str:
        """A text of the command without paths of this machine."""
        data = self.job.request["training_file"]
        with suppress(APIError, OSError, ValueError):
            if data is not None:
                text = self.data.hide_paths(data)(text)
        return text.replace(str(self.run), self.name).replace(f"{self.run.parent}/", "")


def data_source(run: Path) -> str | None:
    """The source of the data that a run or pipeline was trained on. Raises RunError."""
    state = load_pipeline_state(run) if is_pipeline(run) else load_state(run)
    source: str | None = state.get("data", {}).get("source")
    return source


class Trainings:
    """The trainings of a server."""

    def __init__(self, server: Server, data: DataFiles, supervisor: Supervisor) -> None:
        self.server, self.data, self.supervisor = server, data, supervisor
        server.restarts[KIND], server.positions[KIND] = self.recover, self.position

    def position(self, job: Job) -> tuple[int | None, float | None]:
        """How many trainings are before one, and the seconds to its end."""
        task = self.supervisor.tasks.get(job.id)
        if not isinstance(task, TrainingTask):
            return None, None
        return self.supervisor.position(task), self.seconds_left(task)

    def names(self) -> list[str]:
        """Of the runs that trainings write, or will."""
        return [task.name for task in self.tasks()]

    def tasks(self) -> list[TrainingTask]:
        """All that have not ended."""
        return [task for task in list(self.supervisor.tasks.values()) if isinstance(task, TrainingTask)]

    def add(self, request: TrainingRequest) -> Job:
        """Queue a training whose data is prepared."""
        state = {"run": request.run, "words": list(request.words)}
        with self.server.store.transaction():
            job = self.server.jobs.add(
                KIND, request.model, request.request, background=True, id=new_id("ftjob")
            )
            self.server.store.set_state(job.id, **state)
        for note in request.notes:
            self.server.jobs.warn(job, note)
        self.supervisor.put(self._task(job, state))
        return job

    def recover(self, stored: StoredJob) -> None:
        """A training of an earlier server."""
        wanted: Wanted = stored.state.get("wanted", "run")
        self.supervisor.recover(self._task(self.server.jobs.reopen(stored), stored.state), wanted)

    def task(self, id: str) -> TrainingTask | None:
        """The training of that id, unless it has ended. Raises APIError with status 404 if there was none."""
        task = self.supervisor.tasks.get(id)
        if isinstance(task, TrainingTask):
            return task
        if self.server.jobs.stored(id).kind != KIND:
            raise not_found("fine-tuning job", id)
        return None

    async def pause(self, id: str) -> None:
        """Pause a training, and return when it is saved. Raises APIError for one that has ended."""
        self.supervisor.pause(self._open_task(id))
        end = time.monotonic() + PAUSE_SECONDS
        job = self.server.jobs.active.get(id)
        while job is not None and not job.has_ended and job.status != "paused" and time.monotonic() < end:
            await asyncio.sleep(0.05)

    def resume(self, id: str) -> None:
        """Resume a training that is paused. Raises APIError for another one."""
        self.supervisor.resume(self._open_task(id))

    def _open_task(self, id: str) -> TrainingTask:
        if (task := self.task(id)) is None:
            status = self.server.jobs.stored(id).status
            raise APIError(409, f"{id} has ended: it has {status}", code="invalid_state")
        return task

    def run_folder(self, stored: StoredJob) -> Path:
        """The folder of the run of a training."""
        return (self.server.settings.folder / str(stored.state["run"])).resolve()

    def curve(self, stored: StoredJob) -> Curve:
        """The losses of a training; reads a file, so not on the event loop."""
        task = self.task(stored.id)
        return task.curve if task is not None and task.curve.last else read_curve(self.run_folder(stored))

    def seconds_left(self, task: TrainingTask) -> float | None:
        """Until a training ends, with those before it; None if that cannot be told."""
        total = 0.0
        for other in self.supervisor.of_kind(KIND):
            assert isinstance(other, TrainingTask)
            if (left := other.seconds_left()) is None:
                return None
            total += left
            if other is task:
                return total
        return None

    def _task(self, job: Job, state: Mapping[str, Any]) -> TrainingTask:
        task = TrainingTask(job, self.server.jobs, self.data, self.server.settings.folder, state)
        task.on_weights = self.server.registry.rescan
        return task


def _mtime(path: Path) -> float:
    """When a file was changed, 0 if it is not there."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0

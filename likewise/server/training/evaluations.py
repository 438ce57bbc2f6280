"""Evaluations: processes of `likewise evaluate`, with their reports as JSON and as a page that stands alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field

from likewise.core.options import validate_options
from likewise.core.ranges import MAX_SEED
from likewise.evaluation.metrics.estimate import short
from likewise.families.registry import family_class
from likewise.models.checkpoint import family_names
from likewise.server.data.data_files import DataFiles, error_of
from likewise.server.http.bodies import StrictBody
from likewise.server.http.errors import APIError, invalid
from likewise.server.jobs.book import Job, JobBook
from likewise.server.jobs.requests import ModelId, Options
from likewise.server.jobs.store import StoredJob
from likewise.server.limits import MAX_MEDIA_BYTES, MAX_NAME
from likewise.server.server import Server
from likewise.server.training.options import option_words
from likewise.server.training.supervisor import ProcessTask, Supervisor
from likewise.server.training.trainings import data_source

KIND = "evaluate"
REPORT = "report.json"
UPLOAD = re.compile(r"file-[0-9a-f]+")
OWN_OPTIONS = ("n", "seed", "draws", "candidates", "concept", "likelihood_rows")


class EvaluationBody(StrictBody):
    """POST /v1/evaluations: options as those of `likewise evaluate`."""

    model: ModelId
    n: int | None = Field(default=None, ge=2, le=1_000_000, description="held-out rows, at most")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    draws: int | None = Field(default=None, ge=1, le=10_000, description="samples for each row")
    candidates: int | None = Field(default=None, ge=1, le=1_000_000_000)
    concept: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = None
    likelihood_rows: int | None = Field(default=None, ge=0, le=1_000_000_000)
    options: Options = Field(default={})


class EvaluationTask(ProcessTask):
    """A job of kind "evaluate"; it cannot be paused, and is begun anew after a restart."""

    kind = KIND

    def __init__(self, job: Job, jobs: JobBook, data: DataFiles, state: Mapping[str, Any]) -> None:
        super().__init__(job, jobs, jobs.store.folder / "evaluations" / job.id)
        self.data, self.run, self.words = data, Path(state["run"]), list(state["words"])

    @property
    def out(self) -> Path:
        """Where the command writes its report."""
        return self.child.folder / REPORT

    def arguments(self) -> list[str]:
        """`likewise evaluate`."""
        return ["evaluate", str(self.run), f"--out={self.out}", "--overwrite", *self.words]

    def files(self) -> Path | None:
        """The folder of the upload that the run has learned, if it has."""
        return self.data.root(data_source(self.run))

    def watch(self) -> None:
        """Publish which of the metrics is computed."""
        progress = self.child.progress
        if progress is not None and progress != self.job.progress:
            self.jobs.publish(self.job, "progress", progress, keep=False)

    def end(self, status: int | None) -> None:
        """Store the report, fail with the message of the command, or begin anew if the server has ended it."""
        if status == 0:
            try:
                report = self._report()
            except (OSError, ValueError) as error:
                self.jobs.fail(self.job, error)
                return
            self.jobs.add_result(self.job, 0, {"index": 0, "metrics": metrics_of(report), "report": report})
            self.jobs.finish(self.job, "succeeded")
            return
        message = error_of(self.child.log_tail()).replace(str(self.run), self.job.model)
        if status is None:
            message = "the process of the evaluation was ended from outside; evaluate again, perhaps with a smaller n"
        self.jobs.fail(self.job, APIError(400, message, code="evaluation_failed"))

    def _report(self) -> dict[str, Any]:
        if self.out.stat().st_size > MAX_MEDIA_BYTES:
            raise ValueError("the report is too large")
        report: dict[str, Any] = finite(json.loads(self.out.read_text("utf-8")))
        report.pop("likewise", None)  # it names a path of this machine
        report["data"] = self._data_name(report.get("data"))
        return report

    def _data_name(self, source: Any) -> str | None:
        """The data as a client knows it."""
        if not isinstance(source, str):
            return None
        upload = UPLOAD.search(source)
        file = self.data.store.file(upload[0]) if upload else None
        return file.name if file else Path(source).name


class Evaluations:
    """The evaluations of a server."""

    def __init__(self, server: Server, data: DataFiles, supervisor: Supervisor) -> None:
        self.server, self.data, self.supervisor = server, data, supervisor
        server.restarts[KIND], server.positions[KIND] = self.recover, self.position

    def position(self, job: Job) -> tuple[int | None, float | None]:
        """How many evaluations are before one."""
        task = self.supervisor.tasks.get(job.id)
        return (None if task is None else self.supervisor.position(task)), None

    def add(self, body: EvaluationBody) -> Job:
        """Check a request and queue it; looks at files of the run. Raises APIError."""
        self.supervisor.require_room()
        entry = self.server.registry.resolve(body.model)
        known: dict[str, Any] = {}
        for name in family_names(entry.folder):
            known |= family_class(name).sampling_options()
        try:
            options = validate_options(body.options, known, "sampling option")
        except ValueError as error:
            raise invalid(error, "options") from None
        own = {name: value for name in OWN_OPTIONS if (value := getattr(body, name)) is not None}
        words = [word for name, value in {**own, **options}.items() for word in option_words(name, value)]
        state = {"run": str(entry.folder.resolve()), "words": words}
        request = {"model": entry.id, **own, "options": options}
        with self.server.store.transaction():
            job = self.server.jobs.add(KIND, entry.id, request, background=True)
            self.server.store.set_state(job.id, **state)
        self.supervisor.put(EvaluationTask(job, self.server.jobs, self.data, state))
        return job

    def recover(self, stored: StoredJob) -> None:
        """An evaluation of an earlier server, done anew unless its process still runs, or has ended well."""
        job = self.server.jobs.reopen(stored)
        task = EvaluationTask(job, self.server.jobs, self.data, stored.state)
        if task.child.running or task.child.status == 0 or stored.state.get("wanted") == "cancel":
            self.supervisor.recover(task, stored.state.get("wanted", "run"))
        else:
            self.server.jobs.set_status(job, "queued")
            self.supervisor.put(task)


def metrics_of(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metrics of a report, each with its value, interval, and the values that it is compared with."""
    return [
        {
            "name": result["name"],
            "value": result["value"]["value"],
            "interval": _interval(result["value"]),
            "real": (result.get("real") or {}).get("value"),
            "baseline": (result.get("baseline") or {}).get("value"),
            **{name: result.get(name) for name in ("chance", "better", "kind", "note", "column")},
        }
        for result in report["results"]
    ]


def _interval(estimate: Mapping[str, Any]) -> list[float] | None:
    low, high = estimate.get("low"), estimate.get("high")
    return None if low is None or high is None else [low, high]


def finite(value: Any) -> Any:
    """JSON values in which numbers that are not finite are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list) else value


def report_page(model: str, result: Mapping[str, Any]) -> str:
    """The page of a report: no script, and nothing is fetched."""
    report = result["report"]
    environment = Environment(
        loader=PackageLoader("likewise.server"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    style = (files("likewise.evaluation.comparison") / "templates" / "style.css").read_text("utf-8")
    options = {"draws": report["draws"], "seed": report["seed"], **report["sampling_options"]}
    return environment.get_template("report.html").render(
        title=f"{model}: P({report['formula']})",
        description=f"{report['data'] or 'rows in memory'}: {report['n']} held-out rows, "
        + ", ".join(f"{name} {value}" for name, value in options.items()),
        metrics=[{**metric, **_shown(metric)} for metric in result["metrics"]],
        notes=report["notes"],
        style=style,
    )


def _shown(metric: Mapping[str, Any]) -> dict[str, str]:
    words = {
        f"shown_{name}": "" if metric[name] is None else short(metric[name])
        for name in ("real", "baseline", "chance")
    }
    interval = metric["interval"]
    return {
        **words,
        "shown": "" if metric["value"] is None else short(metric["value"]),
        "shown_interval": "" if interval is None else f"{short(interval[0])} to {short(interval[1])}",
    }

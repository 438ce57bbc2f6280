"""What the server and its replicas send each other: plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from likewise.modalities.base import Row
from likewise.models.sample_request import SampleRequest


@dataclass(frozen=True)
class RowReports:
    """What is reported of a row while it is sampled: so many previews, and whether its text and its ids."""

    previews: int = 0
    text: bool = False
    ids: bool = False


@dataclass(frozen=True)
class BatchOrder:
    """A batch to be sampled.

    id       of the batch, by which its rows are dropped
    model    its id
    created  time of the last change of the model, as the server knows it
    reports  for each request
    """

    id: str
    model: str
    created: float
    requests: Sequence[SampleRequest]
    reports: Sequence[RowReports]


@dataclass(frozen=True)
class StepReport:
    """The state after a step.

    rows      those that are there, or have been there since the last report
    texts     what is new of each text
    ids       all ids of each text
    previews  those that are due
    """

    step: int
    steps: int
    rows: Sequence[int]
    texts: Mapping[int, str] = field(default_factory=dict)
    ids: Mapping[int, Sequence[int]] = field(default_factory=dict)
    previews: Mapping[int, Row] = field(default_factory=dict)


@dataclass(frozen=True)
class SampledBatch:
    """The rows of a batch, None for those that were dropped, and the warnings."""

    rows: Sequence[Row | None]
    warnings: Sequence[str]


@dataclass(frozen=True)
class SamplingFailure:
    """The error by which a batch has ended, see `book.error_json`."""

    error: Mapping[str, Any]


Message = StepReport | SampledBatch | SamplingFailure

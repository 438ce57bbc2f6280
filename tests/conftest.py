"""One thread, no progress bars, and the toy world, made once."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = (
    "1"  # here and in the processes of tests: models far too small to be shared by cores
)

import datasets
import pytest
import torch
import toy
from sklearn.ensemble import HistGradientBoostingClassifier

from likewise.data.table import Table
from likewise.evaluation.metrics.agreement import Classifier


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)
    datasets.disable_progress_bars()


@pytest.fixture
def short_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifiers of `evaluate` learn for a moment: for tests that need no good ones."""
    monkeypatch.setitem(Classifier.__init__.__kwdefaults__, "steps", 10)
    monkeypatch.setitem(HistGradientBoostingClassifier.__init__.__kwdefaults__, "max_iter", 10)


@pytest.fixture(scope="session")
def world() -> Table:
    """The toy world, 256 rows, none held out."""
    return toy.table()

"""Runs saved in format 1 still load, and draw what they drew on the day they were saved.

runs_v1/ holds tiny run folders (widths 16 and 32) that the last version to write format 1 made: one of every
family, a pipeline, a flow on the codes of an autoencoder, and two language models, one of them a Llama. Each
was trained for 3 steps of 8 rows on 32 rows of toy.table, the language models on "abcdefgh" repeated 700
times, from weights that had been moved by 0.05 N(0, 1); model.json and weights.safetensors were kept.
expected.json holds what the same version then said of them with `precision="float32"` and the arguments
below: pictures as grey levels, log-probabilities in nats. Neither is ever to be made anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import toy

import likewise

RUNS = Path(__file__).parent / "runs_v1"
EXPECTED: dict[str, dict[str, Any]] = json.loads((RUNS / "expected.json").read_text())
SOURCES = {"label": "2", "text": "box", "number": -1.2, "image": toy.rows(1)[0]["image"]}
DOCUMENTS = ("document", "llama")
NUMBERS = 1e-3  # how far a number may be off, and a share of the log-probabilities
LEVELS = 2  # of 255, by which a pixel may be off


def compare(value: Any, expected: Any) -> None:
    """A value of a sample against what it was: pictures and numbers nearly, ids and texts exactly."""
    if isinstance(value, PIL.Image.Image):
        apart = np.asarray(value, dtype=int) - np.asarray(expected)
        assert value.size == (10, 10) and np.abs(apart).max() <= LEVELS
    elif isinstance(value, float):
        assert value == pytest.approx(expected, abs=NUMBERS)
    else:
        assert value == expected


def of_kind(kind: str) -> list[str]:
    """The runs of which `kind` ("samples", "nats", "embeddings") was recorded."""
    return [name for name, record in EXPECTED.items() if kind in record]


def test_every_run_has_a_record_and_is_of_format_1() -> None:
    folders = sorted(path.name for path in RUNS.iterdir() if path.is_dir())
    assert folders == sorted(EXPECTED)
    files = [*RUNS.rglob("model.json"), *RUNS.rglob("chain.json")]
    assert len(files) == len(folders) + 3  # two parts of the pipeline, one view
    assert all(json.loads(file.read_text())["format"] == 1 for file in files)


@pytest.mark.parametrize("name", of_kind("samples"))
def test_samples_are_what_they_were(name: str) -> None:
    model = likewise.load(RUNS / name)
    sources = {source: SOURCES[source] for source in model.sources}
    length = {"tokens": 24} if name in DOCUMENTS else {}
    rows = model.given(**sources).sample(2, seed=5, precision="float32", **length)
    expected = EXPECTED[name]["samples"]
    assert len(rows) == len(expected) == 2
    for row, record in zip(rows, expected, strict=True):
        assert list(record) == list(model.targets)
        for column, value in record.items():
            compare(row[column], value)


@pytest.mark.parametrize("name", of_kind("nats"))
def test_log_probabilities_are_what_they_were(name: str) -> None:
    model = likewise.load(RUNS / name)
    rows = [{"text": "abcdefgh" * 2}] if name in DOCUMENTS else toy.rows(2)
    columns = [*model.targets, *model.sources]
    score = model.log_prob([{column: row[column] for column in columns} for row in rows], seed=1)
    assert score.nats.tolist() == pytest.approx(EXPECTED[name]["nats"], rel=NUMBERS, abs=NUMBERS)


@pytest.mark.parametrize("name", of_kind("embeddings"))
def test_embeddings_are_what_they_were(name: str) -> None:
    model = likewise.load(RUNS / name)
    for column, values in {"text": ["box", "ring"], "image": [SOURCES["image"]]}.items():
        vectors = np.asarray(model.embed(column, values))
        assert np.abs(vectors - EXPECTED[name]["embeddings"][column]).max() < NUMBERS

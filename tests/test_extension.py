"""A modality from outside of the package: one class and `register`, and everything else works with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
import torch
from torch import Tensor

from likewise import Model, Plan, Table, evaluate, load, train
from likewise.cli.main import main
from likewise.core.spec import Spec
from likewise.modalities import KINDS, Modality, register
from likewise.modalities.columns import ColumnSummary

LENGTH = 24


@dataclass(frozen=True)
class Wave(Modality):
    """A signal of `length` numbers, scaled by their largest magnitude."""

    length: int
    scale: float

    kind = "wave"
    media_type = "application/json"
    suffix = ".json"
    dtypes = frozenset({"list"})
    value_type = np.ndarray
    groupable = False
    visual = True

    @classmethod
    def fit(cls, values: Sequence[np.ndarray], *, length: int | None = None) -> Self:
        return cls(length or len(values[0]), float(max(np.abs(v).max() for v in values)))

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        return 2 if column.dtype == "list" else 0

    @classmethod
    def to_cell(cls, value: np.ndarray) -> list[float]:
        return value.tolist()

    @classmethod
    def from_cell(cls, cell: list[float]) -> np.ndarray:
        return np.asarray(cell, np.float32)

    @property
    def spec(self) -> Spec:
        return Spec((self.length,), axes=("time",))

    def check(self, value: Any) -> str | None:
        return None if np.shape(value) == (self.length,) else f"not {self.length} numbers"

    def encode(self, value: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(value, np.float32) / self.scale)[:, None]

    def decode(self, tokens: Tensor) -> np.ndarray:
        return tokens[:, 0].cpu().numpy() * self.scale

    def restore_known(self, sample: np.ndarray, value: np.ndarray, mask: Tensor) -> np.ndarray:
        return np.where(mask.numpy(), value, sample)

    def load(self, data: bytes) -> np.ndarray:
        return np.asarray(json.loads(data), np.float32)

    def dump(self, value: np.ndarray, metadata: Mapping[str, Any] | None = None) -> bytes:
        return json.dumps(np.asarray(value).tolist()).encode()

    def thumbnail(self, value: np.ndarray) -> PIL.Image.Image:
        image = PIL.Image.new("L", (self.length, 16), 255)
        points = [(x, 8 - 7 * float(y) / self.scale) for x, y in enumerate(value)]
        PIL.ImageDraw.Draw(image).line(points, fill=0)
        return image


def waves(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """One period up or down, with a phase that varies a little."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(count):
        sign = 1 if i % 2 else -1
        time = np.arange(LENGTH) / LENGTH + 0.03 * rng.normal()
        noise = 0.05 * rng.normal(size=LENGTH)
        rows.append({"wave": sign * np.sin(2 * np.pi * time) + noise, "label": "up" if i % 2 else "down"})
    return rows


@pytest.fixture(scope="module")
def kinds() -> Iterator[None]:
    register(Wave)
    yield
    del KINDS["wave"]


@pytest.fixture(scope="module")
def table(kinds: None) -> Table:
    return Table.from_rows(waves(256), holdout=0.2)


@pytest.fixture(scope="module")
def run(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flow, trained for some seconds, as a run folder."""
    folder = tmp_path_factory.mktemp("wave") / "run"
    model = Model("wave | label", table.columns, width=48, depth=2, infill=0.3)
    for _ in train(model, table, Plan(steps=150, batch=32, precision="float32"), folder):
        pass
    return folder


def test_a_name_is_given_once(kinds: None) -> None:
    with pytest.raises(ValueError, match="there is a kind 'wave' already"):
        register(type("Other", (Wave,), {}))


def test_its_columns_are_recognised_stored_and_described(table: Table) -> None:
    assert table.kinds == {"wave": "wave", "label": "label"}
    assert isinstance(table[0]["wave"], np.ndarray) and table.columns["wave"].spec.sampled
    assert table.columns["wave"].describe() == "24 tokens of 1 floats"
    assert next(table.train.batches(["wave"], 8))["wave"].shape == (8, LENGTH, 1)


def test_a_saved_model_of_it_samples_what_it_is_asked(run: Path) -> None:
    model = load(run)
    for label, sign in (("up", 1), ("down", -1)):
        samples = np.stack([row["wave"] for row in model.given(label=label).sample(16, seed=1)])
        template = sign * np.sin(2 * np.pi * np.arange(LENGTH) / LENGTH)
        assert np.corrcoef(samples.mean(0), template)[0, 1] > 0.9


def test_its_unknown_part_is_filled_in(run: Path) -> None:
    model, row = load(run), waves(2, seed=5)[1]
    mask = torch.arange(LENGTH) < LENGTH // 2
    [sample] = model.given().sample(1, known={"wave": (row["wave"], mask)})
    assert np.array_equal(sample["wave"][: LENGTH // 2], row["wave"][: LENGTH // 2])
    assert np.corrcoef(sample["wave"][LENGTH // 2 :], row["wave"][LENGTH // 2 :])[0, 1] > 0.7


@pytest.mark.usefixtures("short_classifier")
def test_it_is_evaluated_by_its_tokens(run: Path, table: Table) -> None:
    report = evaluate(load(run), table, n=40, likelihood_rows=0)
    assert {"wave: KID", "wave: C2ST", "wave, label: C2ST"} <= {line.name for line in report.results}
    assert 0.0 <= report["wave: C2ST"].value.value <= 1.0


def test_the_command_line_writes_its_files_and_pictures(run: Path, tmp_path: Path) -> None:
    folder, sheet = tmp_path / "samples", tmp_path / "sheet.png"
    assert main(["sample", str(run), "--given", "label=up", "-n", "2", "--out", f"{folder}/"]) == 0
    files = sorted(folder.glob("*.json"))
    assert len(files) == 2 and len(json.loads(files[0].read_text())) == LENGTH
    assert main(["sample", str(run), "--given", "label=up", "-n", "2", "--out", str(sheet)]) == 0
    assert PIL.Image.open(sheet).width > 2 * LENGTH

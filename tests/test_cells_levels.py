"""Labels of many levels: each is kept, also the rare ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.data.table import Table
from likewise.modalities import Label
from likewise.models.model import Model


def shops(levels: int, rows: int) -> list[str]:
    """Names of which a few are frequent, and each occurs twice at least."""
    often = np.random.default_rng(0).zipf(1.5, rows - 2 * levels) % levels
    return [f"shop {i:04d}" for i in [*range(levels), *range(levels), *often.tolist()]]


def test_thousands_of_levels_are_labels() -> None:
    names = shops(3000, 8000)
    table = Table.from_rows([{"shop": name, "x": (i * 37 % 101) / 4} for i, name in enumerate(names)])
    column = table.columns["shop"]
    assert isinstance(column, Label) and len(column.classes) == 3000
    assert set(table.train.column("shop")) == set(names)  # no level is in held-out rows only
    assert column.decode_all(column.encode_all(names[:3000])) == names[:3000]
    assert column.check("shop 2999") is None
    assert "did you mean 'shop 0012'" in (column.check("shop 00012") or "")
    model = Model("shop, x", table.columns, width=16, depth=1)
    assert {row["shop"] for row in model.sample([{}] * 20)} <= set(names)
    with pytest.raises(ValueError, match="did you mean 'shop 0012'"):
        model.sample([{"shop": "shop 00012"}])
    nats = model.log_prob([{"shop": name, "x": 2.5} for name in names[:4]]).nats
    assert torch.isfinite(nats).all()


def test_sentences_that_repeat_are_texts() -> None:
    sentences = [f"this is the sentence number {i} of them" for i in range(400)]
    rows = [{"said": sentences[i % 400], "x": i / 7} for i in range(1200)]
    assert Table.from_rows(rows).kinds["said"] == "text"
    assert Table.from_rows(rows, kinds={"said": "label"}).kinds["said"] == "label"

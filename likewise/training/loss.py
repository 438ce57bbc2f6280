"""The loss of rows, in training and on held-out rows."""

from __future__ import annotations

import torch

from likewise.core.batch import Batch, Context
from likewise.core.options import validated
from likewise.core.ranges import PositiveInt, Seed
from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.models.model import Model


def split_batch(model: Model, batch: Batch) -> tuple[Batch, Context]:
    """Encoded columns of some rows -> the targets, and all sources as context, on the model's device."""
    batch = {name: column.to(model.device) for name, column in batch.items()}
    sources = {name: batch[name] for name in model.sources}
    rows = len(next(iter(batch.values())))
    return {name: batch[name] for name in model.targets}, Context.full(sources, rows).to(model.device)


@torch.no_grad()
@validated
def heldout_loss(
    model: Model, table: Table, *, rows: PositiveInt = 512, seed: Seed = 0, batch: PositiveInt = 128
) -> float:
    """The mean loss of at most `rows` held-out rows (table.test), given all sources, `batch` rows at a time.

    Noise and noise levels depend on the seed alone; the losses of several phases are summed. Raises
    ValueError if the table has no held-out rows.
    """
    count = min(rows, len(table.test))
    if not count:
        raise ValueError("the table has no held-out rows; open it with holdout above 0")
    table = table.with_views(model.columns, model.formula)
    indices = (torch.arange(count) * len(table.test) // count).tolist()  # rows are in the order of the file
    columns = {name: table.test.encoded(name, indices) for name in model.formula.columns}
    total = 0.0
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        x, c = split_batch(model, {name: v[start : start + batch] for name, v in columns.items()})
        for phase in model.family.phases:
            rng = Rng(numbers, "heldout", seed, device=model.device)
            total += float(model.family.loss(x, c, phase, rng).sum())
    return total / count

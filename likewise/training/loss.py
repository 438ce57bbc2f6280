"""TODO training.loss."""

from __future__ import annotations

import torch

from likewise.core.batch import Context
from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.models.model import Model


@torch.no_grad()
def heldout_loss(model: Model, table: Table, *, rows: int = 512, seed: int = 0, batch: int = 128) -> float:
    """The mean loss of at most `rows` rows of table.test, with every source given.

    Noise and times are always the same; the losses of several phases are summed. Raises ValueError if the
    table holds nothing out.
    """
    count = min(rows, len(table.test))
    if not count:
        raise ValueError("the table holds no rows out; open it with holdout above 0")
    table = table.with_views(model.columns)
    spread = torch.arange(count) * len(table.test) // count  # rows lie in the order of the file
    data = {name: table.test.encoded(name, spread.tolist()) for name in model.formula.columns}
    total = 0.0
    for start in range(0, count, batch):
        part = {n: v[start : start + batch].to(model.device) for n, v in data.items()}
        index = range(start, min(start + batch, count))
        x = {n: part[n] for n in model.targets}
        c = Context.full({n: part[n] for n in model.sources}, len(index)).to(model.device)
        for phase in model.family.phases:
            rng = Rng(index, "heldout", seed, device=model.device)
            total += float(model.family.loss(x, c, phase, rng).sum())
    return total / count

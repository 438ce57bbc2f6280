"""The loss of rows, in training and on held-out rows."""

from __future__ import annotations

import torch

from likewise.core.batch import Batch, Context, EncodedRows
from likewise.core.options import validated
from likewise.core.ranges import PositiveInt, Seed
from likewise.core.rng import Rng
from likewise.data.arrow import TableError
from likewise.data.table import Table
from likewise.models.model import Model


def split_batch(model: Model, batch: EncodedRows) -> tuple[Batch, Context]:
    """Encoded columns of some rows -> the targets, and the sources as context, on the model's device.

    A source is absent in the rows in which it is missing.
    """
    columns = {name: column.to(model.device) for name, column in batch.items()}
    rows = len(next(iter(columns.values())))
    sources = Context.full({name: columns[name] for name in model.sources}, rows)
    for k, name in enumerate(sources.values):
        if name in batch.present:
            sources.present[:, k] = batch.present[name]
    return {name: columns[name] for name in model.targets}, sources.to(model.device)


def require_targets(model: Model, table: Table) -> None:
    """Raise TableError if a row has no value of a target."""
    for name in model.targets:
        present = table.present(name)
        if present is not None:
            count = int((~present).sum())
            raise TableError(
                f"{count:,} of {len(table):,} rows have no value of the target {name}; leave these rows out with "
                f"complete=[{name!r}] and skip_bad=True (--skip-bad), or take the column out of the targets"
            )


@torch.no_grad()
@validated
def heldout_loss(
    model: Model, table: Table, *, rows: PositiveInt = 512, seed: Seed = 0, batch: PositiveInt = 128
) -> float:
    """The mean loss of at most `rows` held-out rows (table.test), given all sources, `batch` rows at a time.

    Noise and noise levels depend on the seed alone; the losses of several phases are summed. Raises
    ValueError if the table has no held-out rows.
    """
    table.require_heldout(1, "the loss of held-out rows")
    count = min(rows, len(table.test))
    table = table.with_views(model.columns, model.formula)
    indices = (torch.arange(count) * len(table.test) // count).tolist()  # rows are in the order of the file
    columns = table.test.encoded_rows(model.formula.columns, indices)
    total = 0.0
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        x, c = split_batch(model, columns.slice(start, start + batch))
        for phase in model.family.phases:
            rng = Rng(numbers, "heldout", seed, device=model.device)
            total += float(model.family.loss(x, c, phase, rng).sum())
    return total / count

"""The loss of rows, in training and on held-out rows."""

from __future__ import annotations

import torch

from likewise.core.batch import Batch, Context, EncodedRows
from likewise.core.options import validated
from likewise.core.ranges import PositiveInt, Seed
from likewise.core.rng import Rng
from likewise.data.arrow import TableError
from likewise.data.table import Table
from likewise.families.registry import FAMILIES, family_class
from likewise.models.model import Model


def split_batch(model: Model, batch: EncodedRows) -> tuple[Batch, Context]:
    """Encoded columns of some rows -> the targets, and the sources as context, on the model's device.

    A source is absent in the rows in which it is missing. Targets are EncodedRows if a value of them is missing.
    """
    columns = {name: column.to(model.device) for name, column in batch.items()}
    rows = len(next(iter(columns.values())))
    sources = Context.full({name: columns[name] for name in model.sources}, rows)
    for k, name in enumerate(sources.values):
        if name in batch.present:
            sources.present[:, k] = batch.present[name]
    targets = {name: columns[name] for name in model.learned.target_names}
    present = {name: batch.present[name].to(model.device) for name in targets if name in batch.present}
    gaps = any(not mask.all() for mask in present.values())
    return EncodedRows(targets, present) if gaps else targets, sources.to(model.device)


def rows_to_learn(model: Model, table: Table) -> Table:
    """The table without the rows of whose targets the model can learn nothing; the same one if there are none.

    These lack all targets, or one of them where the family cannot learn a row in part. Raises TableError if no
    training row is left.
    """
    viewed = table.with_views(model.columns, model.formula)
    learned = viewed.with_values(model.learned.target_names, every=not model.family.learns_gaps)
    if learned is viewed:
        return table
    if len(table.train) and not len(learned.train):
        raise TableError(
            f"each training row lacks {left_out_reason(model)}; "
            "take columns with many missing values out of the targets, or another family"
        )
    return learned


def left_out_reason(model: Model) -> str:
    """What rows lack that `rows_to_learn` leaves out."""
    names = ", ".join(model.learned.target_names)
    if len(model.learned.target_names) == 1:
        return f"a value of the target {names}"
    if model.family.learns_gaps:
        return f"all of the targets {names}"
    return (
        f"a value of one of the targets {names}, and the family {model.family_name} cannot learn a row in part "
        f"({', '.join(n for n in FAMILIES if family_class(n).learns_gaps)} can)"
    )


def gap_note(model: Model, table: Table) -> str | None:
    """How many rows of a table `rows_to_learn` leaves out, and why; None if it leaves none out."""
    learned = rows_to_learn(model, table)
    if learned is table:
        return None
    before, after = (len(t.train) + len(t.test) for t in (table, learned))
    count = "1 row is" if before - after == 1 else f"{before - after:,} of {before:,} rows are"
    return f"{count} left out for want of {left_out_reason(model)}"


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
    table = rows_to_learn(model, table.with_views(model.columns, model.formula))
    table.require_heldout(1, f"the loss of held-out rows with {' or '.join(model.learned.target_names)}")
    count = min(rows, len(table.test))
    indices = (torch.arange(count) * len(table.test) // count).tolist()  # rows are in the order of the file
    columns = table.test.encoded_rows(model.learned.columns, indices)
    total = 0.0
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        x, c = split_batch(model, columns.slice(start, start + batch))
        for phase in model.family.phases:
            rng = Rng(numbers, "heldout", seed, device=model.device)
            total += float(model.family.loss(x, c, phase, rng).sum())
    return total / count

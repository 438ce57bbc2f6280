"""TODO models.io."""

from __future__ import annotations

from pathlib import Path

from likewise.models import checkpoint
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline


def load(run: str | Path) -> Model | Pipeline:
    """The model, or the chain, in a folder, or one that comes with the package, such as "emoji".

    Raises RunError.
    """
    folder = checkpoint.resolve_run(run)
    return (Pipeline if checkpoint.is_chain(folder) else Model).load(folder)

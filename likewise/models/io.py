"""Loading of run folders, whichever class has written them."""

from __future__ import annotations

from pathlib import Path

from likewise.models import checkpoint
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline


def load(run: str | Path) -> Model | Pipeline:
    """The model or pipeline in a run folder, or a pretrained one by name, such as "emoji".

    Raises RunError if there is no such run, or if it cannot be read.
    """
    folder = checkpoint.resolve_run(run)
    return (Pipeline if checkpoint.is_pipeline(folder) else Model).load(folder)


def load_unfinished(folder: Path) -> Model:
    """The model of a run that is to be trained further; before its first checkpoint with its initial weights.

    Raises RunError if the run cannot be read.
    """
    if (folder / checkpoint.WEIGHTS).exists():
        return Model.load(folder)
    state = checkpoint.load_state(folder)
    return Model.from_json(
        state, checkpoint.load_views(folder, state, Model.load), seed=state["plan"]["seed"]
    )

"""likewise: write the distribution you want, point it at your data, draw from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from likewise._lazy import lazy_exports
from likewise._version import __version__ as __version__

if TYPE_CHECKING:
    from likewise.core.formula import Formula
    from likewise.data.table import Table
    from likewise.evaluation.comparison.families import compare
    from likewise.evaluation.evaluator import evaluate
    from likewise.models.bayes import Bayes
    from likewise.models.io import load
    from likewise.models.model import Model
    from likewise.models.pipeline import Pipeline
    from likewise.training.loss import heldout_loss
    from likewise.training.plan import Plan
    from likewise.training.trainer import train

__all__ = [
    "Bayes",
    "Formula",
    "Model",
    "Pipeline",
    "Plan",
    "Table",
    "compare",
    "evaluate",
    "heldout_loss",
    "load",
    "train",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Bayes": "models.bayes",
        "Formula": "core.formula",
        "Model": "models.model",
        "Pipeline": "models.pipeline",
        "Plan": "training.plan",
        "Table": "data.table",
        "compare": "evaluation.comparison.families",
        "evaluate": "evaluation.evaluator",
        "heldout_loss": "training.loss",
        "load": "models.io",
        "train": "training.trainer",
    },
)

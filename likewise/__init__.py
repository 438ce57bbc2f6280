"""likewise: write the distribution you want, point it at your data, draw from it."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "Bayes",
    "Chain",
    "Formula",
    "Model",
    "Plan",
    "Table",
    "compare",
    "evaluate",
    "heldout_loss",
    "load",
    "train",
]

_HOME = {
    "Bayes": "bayes",
    "Chain": "chain",
    "Formula": "formula",
    "Model": "model",
    "Plan": "training",
    "Table": "table",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "heldout_loss": "training",
    "load": "chain",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import likewise` and `likewise --help` do not wait for PyTorch."""
    if name not in _HOME:
        raise AttributeError(f"module 'likewise' has no attribute {name!r}")
    return getattr(importlib.import_module(f"likewise.{_HOME[name]}"), name)

"""likewise: write the distribution you want, point it at your data, draw from it."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {"Formula": "formula", "Table": "table", "Model": "model", "Plan": "training", "train": "training",
           "heldout_loss": "training", "evaluate": "evaluation"}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import likewise` and `likewise --help` do not wait for PyTorch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'likewise' has no attribute {name!r}")
    return getattr(importlib.import_module(f"likewise.{_PUBLIC[name]}"), name)

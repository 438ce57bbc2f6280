"""Language models that compute exactly what models of transformers compute: one file per architecture.

Each has a map of the names in transformers, so that export and import only rename weights. To add one, write a
file for it and add it to registry.py.
"""

from __future__ import annotations

from likewise.nets.compat.base import CompatBackbone
from likewise.nets.compat.registry import COMPAT

__all__ = ["COMPAT", "CompatBackbone"]

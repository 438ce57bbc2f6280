"""Language models whose operations are exactly those of models in transformers: a file an architecture.

Each has a table of what transformers calls its parts, so that export and import only rename weights. Add one
in a file of its own and in registry.py.
"""

from __future__ import annotations

from likewise.nets.compat.base import CompatBackbone
from likewise.nets.compat.registry import COMPAT

__all__ = ["COMPAT", "CompatBackbone"]

"""Data sets in packages that package managers download, which need no data hub: a function each.

Add one as a function that returns a `datasets.Dataset`, named in registry.py.
"""

from __future__ import annotations

from likewise.data.datasets.download import DatasetError, Package
from likewise.data.datasets.registry import DATASETS

__all__ = ["DATASETS", "DatasetError", "Package"]

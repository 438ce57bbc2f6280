"""Data sets that package managers bring, which work where no data hub is reached: a function each.

To add one, write a function that returns a `datasets.Dataset` and name it in registry.py.
"""

from __future__ import annotations

from likewise.data.datasets.download import DatasetError, Package
from likewise.data.datasets.registry import DATASETS

__all__ = ["DATASETS", "DatasetError", "Package"]

"""Any source of rows -> typed, checked, split rows -> batches.

`Table` is the entry point. Add a file format as a reader in readers/, a data set as a function in datasets/, a
released model that columns are seen through as an encoder in encoders.py.
"""

from __future__ import annotations

from likewise.data.arrow import TableError
from likewise.data.datasets import DATASETS
from likewise.data.table import Table

__all__ = ["DATASETS", "Table", "TableError"]

"""Any source of rows -> typed, checked, split rows -> batches.

`Table` is the way in. To read another format, add a reader in sources.py; to bring a data set, a function in
datasets/; to see a column through a released model, an encoder in encoders.py.
"""

from __future__ import annotations

from likewise.data.arrow import TableError
from likewise.data.datasets import DATASETS
from likewise.data.table import Table

__all__ = ["DATASETS", "Table", "TableError"]

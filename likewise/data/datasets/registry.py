"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from likewise.data.datasets.images import digits, emoji, icons
from likewise.data.datasets.texts import crystals, dialects, molecules, proteins, python, shakespeare, sql

if TYPE_CHECKING:
    from datasets import Dataset

DATASETS: dict[str, Callable[..., Dataset]] = {
    dataset.__name__: dataset
    for dataset in (digits, icons, emoji, shakespeare, python, sql, dialects, proteins, molecules, crystals)
}

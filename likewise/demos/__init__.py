"""Demo data, brought by package managers, which work where no data hub is reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from likewise.demos.packages import DemoError, Package, cache
from likewise.demos.pictures import DIGITS, NAMES, TONES, digits, emoji, icons
from likewise.demos.texts import crystals, dialects, molecules, proteins, python, shakespeare, sql

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["DEMOS", "DIGITS", "NAMES", "TONES", "DemoError", "Package", "cache", "emoji"]

DEMOS: dict[str, Callable[..., Dataset]] = {
    demo.__name__: demo
    for demo in (digits, icons, emoji, shakespeare, python, sql, dialects, proteins, molecules, crystals)
}

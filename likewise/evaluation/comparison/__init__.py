"""Results side by side: families, classifiers, values of an option; as a table, a picture and a page."""

from __future__ import annotations

from likewise.evaluation.comparison.results import Comparison

__all__ = ["Comparison"]

"""Figures of comparisons, as the bytes of PNG files."""

from __future__ import annotations

from likewise.evaluation.comparison.figures.classifiers import classifier_figure
from likewise.evaluation.comparison.figures.families import comparison_figure
from likewise.evaluation.comparison.figures.sweep import sweep_figure

__all__ = ["classifier_figure", "comparison_figure", "sweep_figure"]

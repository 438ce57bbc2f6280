"""Evaluation: metrics are functions over arrays; `evaluate` puts them to a model and a table."""

from __future__ import annotations

from likewise.evaluation.compare import Comparison, compare
from likewise.evaluation.estimate import Estimate
from likewise.evaluation.exam import Exam, evaluate
from likewise.evaluation.report import Line, Report
from likewise.evaluation.sweep import Sweep, sweep

__all__ = ["Comparison", "Estimate", "Exam", "Line", "Report", "Sweep", "compare", "evaluate", "sweep"]

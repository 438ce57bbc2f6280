"""Evaluation: metrics are functions over arrays; `evaluate` puts them to a model and a table."""

from __future__ import annotations

from likewise.evaluation.estimate import Estimate
from likewise.evaluation.report import Line, Report, evaluate

__all__ = ["Estimate", "Line", "Report", "evaluate"]

"""Evaluators: each measures the samples of one modality, or of columns together, against real rows.

Add one in a file of its own and register it for its kind of column in registry.py.
"""

from __future__ import annotations

from likewise.evaluation.evaluators.base import MetricGroup
from likewise.evaluation.evaluators.registry import metric_groups

__all__ = ["MetricGroup", "metric_groups"]

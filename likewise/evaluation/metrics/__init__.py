"""Metrics: functions over arrays of features, ranks or probabilities, a file a metric, each with its interval."""

from __future__ import annotations

from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share

__all__ = ["Estimate", "bootstrap", "share"]

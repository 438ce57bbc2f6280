"""Metrics: functions over arrays of features, ranks or probabilities, one file each, with intervals.

Add one as a function that returns an `Estimate`; an evaluator calls it.
"""

from __future__ import annotations

from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share

__all__ = ["Estimate", "bootstrap", "share"]

"""Metrics of models: `evaluate` a model, `compare` families, `sweep` an option.

metrics/ are functions over arrays; evaluators/ apply them to the samples of a modality; domains/ check texts
of a domain by an independent tool; comparison/ puts results side by side. Add to the one that fits.
"""

from __future__ import annotations

from likewise.evaluation.comparison.families import compare
from likewise.evaluation.comparison.results import Comparison
from likewise.evaluation.comparison.sweep import Sweep, sweep
from likewise.evaluation.evaluator import Evaluator, evaluate
from likewise.evaluation.metrics.estimate import Estimate
from likewise.evaluation.report import MetricResult, Report

__all__ = [
    "Comparison",
    "Estimate",
    "Evaluator",
    "MetricResult",
    "Report",
    "Sweep",
    "compare",
    "evaluate",
    "sweep",
]

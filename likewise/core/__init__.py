"""What every package shares: formula, spec, batch, random numbers, scores. No data, no network.

Nothing here depends on a modality, a family or a file; add only what two packages need. Names are imported on first use, so that the command line
answers without waiting for PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from likewise._lazy import lazy_exports

if TYPE_CHECKING:
    from likewise.core.batch import Batch, Context, Layout
    from likewise.core.errors import did_you_mean
    from likewise.core.formula import Formula, FormulaError, View
    from likewise.core.known import KnownParts
    from likewise.core.rng import Rng, seed_of
    from likewise.core.score import Score
    from likewise.core.spec import Spec

__all__ = [
    "Batch",
    "Context",
    "Formula",
    "FormulaError",
    "KnownParts",
    "Layout",
    "Rng",
    "Score",
    "Spec",
    "View",
    "did_you_mean",
    "seed_of",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Batch": "batch",
        "Context": "batch",
        "Formula": "formula",
        "FormulaError": "formula",
        "KnownParts": "known",
        "Layout": "batch",
        "Rng": "rng",
        "Score": "score",
        "Spec": "spec",
        "View": "formula",
        "did_you_mean": "errors",
        "seed_of": "rng",
    },
)

"""A formula + the modalities of its columns + a family = `Model`; combinations by rules of probability.

`Pipeline` is the product rule, `Bayes` is Bayes' rule; each implements `Distribution` (base.py), as does
whatever else can be sampled. checkpoint.py reads and writes run folders, requests.py reads what a person
asks of a model on a command line or over HTTP.
"""

from __future__ import annotations

from likewise.models.bayes import Bayes
from likewise.models.checkpoint import RunError
from likewise.models.conditional import Conditional
from likewise.models.io import load
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline

__all__ = ["Bayes", "Conditional", "Model", "Pipeline", "RunError", "load"]

"""A formula + the modalities of its columns + a family = `Model`; combinations by rules of probability.

`Pipeline` is the product rule, `Bayes` is Bayes' rule; add other rules beside them. Each implements `Distribution`
(base.py). checkpoint.py reads and writes run folders, migrations.py converts those of earlier formats, requests.py
parses the requests of a command line or a server.
"""

from __future__ import annotations

from likewise.models.bayes import Bayes
from likewise.models.checkpoint import RunError
from likewise.models.conditional import Conditional
from likewise.models.io import load
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline

__all__ = ["Bayes", "Conditional", "Model", "Pipeline", "RunError", "load"]

"""Checks of texts of a domain by an independent tool: code, SQL, molecules, plays, proteins, crystals.

Add one as a subclass of `DomainCheck` in a file of its own and register it in evaluators/text.py.
"""

from __future__ import annotations

from likewise.evaluation.domains.base import DomainCheck, RowMetric, ToolError

__all__ = ["DomainCheck", "RowMetric", "ToolError"]

"""The families of models, one file each; no family imports another or knows a modality.

To add one, subclass `Family` (base.py) in a file of its own and name it in registry.py. A family's file is
imported when it is first used.
"""

from __future__ import annotations

from likewise.families.base import Family
from likewise.families.registry import FAMILIES, family_class, sampling_families

__all__ = ["FAMILIES", "Family", "family_class", "sampling_families"]

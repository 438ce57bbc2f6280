"""Mixtures of Gaussians and categoricals: densities and their fit by expectation-maximisation."""

from __future__ import annotations

from likewise.generation.mixtures.em import EMFit
from likewise.generation.mixtures.gaussians import Components

__all__ = ["Components", "EMFit"]

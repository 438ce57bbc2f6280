"""Models that predict clean data from noisy data: paths, the denoiser, samplers, guidance, few-step sampling.

To add a sampler, write one step of it in samplers.py and list it in SAMPLERS.
"""

from __future__ import annotations

from likewise.generation.denoising.denoiser import Denoiser
from likewise.generation.denoising.guidance import classifier_free_guidance
from likewise.generation.denoising.samplers import SAMPLERS, Denoise

__all__ = ["SAMPLERS", "Denoise", "Denoiser", "classifier_free_guidance"]

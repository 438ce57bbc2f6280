"""What several families share to learn and to sample, in four packages, and the controls of sampling.

denoising (flow, diffusion), sequence (autoregressive), latents (autoencoder, VAE) and mixtures. A sampler is
a function over a `Denoise`; a bottleneck is a module; a constraint is a mask of ids. No family is known here.
"""

from __future__ import annotations

from likewise.generation.controls import Init, InterpolateTo

__all__ = ["Init", "InterpolateTo"]

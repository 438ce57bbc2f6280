"""Codes of columns: encoders and decoders, bottlenecks, the decoder's likelihood, priors over codes.

To add a bottleneck, write it in bottlenecks.py and name it in `make_bottleneck`.
"""

from __future__ import annotations

from likewise.generation.latents.bottlenecks import FSQ, ResidualVQ, make_bottleneck
from likewise.generation.latents.codec import Codec, MultiColumnCodec
from likewise.generation.latents.decoder_likelihood import DecoderLikelihood
from likewise.generation.latents.priors import Prior

__all__ = ["FSQ", "Codec", "DecoderLikelihood", "MultiColumnCodec", "Prior", "ResidualVQ", "make_bottleneck"]

"""Layers and networks. They know columns by their `Spec` only: no probability, no modality, no data.

To add one: a layer that several networks use goes into layers.py, a stem for other axes into
stems/, an architecture that another library defines into compat/. Legend of shapes: B batch, T tokens,
C floats a token, D width, S source tokens, K classes.
"""

from __future__ import annotations

from likewise.nets.attention import Attention, Block, KVCache
from likewise.nets.causal import CausalTransformer
from likewise.nets.compat.registry import COMPAT
from likewise.nets.conditioning import ContextEncoder, EncodedContext
from likewise.nets.heads import CategoricalHead, MixtureHead
from likewise.nets.stems.registry import make_stem
from likewise.nets.transformer import DenoisingTransformer

__all__ = [
    "COMPAT",
    "Attention",
    "Block",
    "CategoricalHead",
    "CausalTransformer",
    "ContextEncoder",
    "DenoisingTransformer",
    "EncodedContext",
    "KVCache",
    "MixtureHead",
    "make_stem",
]

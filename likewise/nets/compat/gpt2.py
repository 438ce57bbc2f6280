"""GPT-2's trunk (Radford et al., 2019).

    n(x) = (x - mean x) / sqrt(var x + eps) * weight + bias,   mlp(h) = down(gelu(up h))                (1)

Gelu is the approximation by tanh (Hendrycks & Gimpel, 2016). Each place has a vector of its own, which is
added to its token, so there are no more places than a window has, and every window begins at the first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.attention import zero_init
from likewise.nets.compat.base import Block, CompatBackbone, HFNameMap

STD = 0.02  # of places at first


class GPT2Block(Block):
    """Of (1)."""

    norm, biased = nn.LayerNorm, True

    def __init__(self, width: int, heads: int, mlp_width: int, norm_eps: float) -> None:
        super().__init__(width, heads, mlp_width, norm_eps)
        self.up, self.down = nn.Linear(width, mlp_width), zero_init(nn.Linear(mlp_width, width))

    def mlp(self, h: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(h), approximate="tanh"))


class GPT2(CompatBackbone):
    """Places are learned; everything but the head has a bias."""

    block = GPT2Block
    name_map = HFNameMap(
        called="GPT-2",
        kind="gpt2",
        model="GPT2LMHeadModel",
        fields={
            "width": "n_embd",
            "depth": "n_layer",
            "heads": "n_head",
            "mlp_width": "n_inner",
            "norm_eps": "layer_norm_epsilon",
            "tie_embeddings": "tie_word_embeddings",
            "length": "n_positions",
        },
        absent={
            "n_inner": None,
            "layer_norm_epsilon": 1e-5,
            "tie_word_embeddings": True,
            "n_positions": 1024,
        },
        only={
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
        prefix="transformer.",
        layers="h",
        outside={
            "embedding.weight": "wte.weight",
            "place": "wpe.weight",
            "last.weight": "ln_f.weight",
            "last.bias": "ln_f.bias",
        },
        inside={
            "before": ["ln_1"],
            "between": ["ln_2"],
            "attention.qkv": ["attn.c_attn"],
            "attention.out": ["attn.c_proj"],
            "up": ["mlp.c_fc"],
            "down": ["mlp.c_proj"],
        },
        flipped=("c_attn.weight", "c_proj.weight", "c_fc.weight"),
        idle=(".attn.bias", ".attn.masked_bias"),
    )

    def __init__(
        self,
        spec: Spec,
        width: int,
        depth: int,
        *,
        heads: int | None,
        mlp_width: int | None,
        norm_eps: float,
        tie_embeddings: bool | None,
    ) -> None:
        """mlp_width: default 4 times the width; tie_embeddings: default yes."""
        super().__init__(
            spec,
            width,
            depth,
            heads=heads,
            mlp_width=mlp_width or 4 * width,
            norm_eps=norm_eps,
            tie_embeddings=tie_embeddings is None or tie_embeddings,
        )
        self.place = nn.Parameter(STD * torch.randn(spec.tokens, width))

    def _rotation_at(self, spots: Tensor) -> Tensor:
        return self._no_rotation(len(spots), spots.device)

    def _embed_at(self, tokens: Tensor, spots: Tensor | slice) -> Tensor:
        return tokens + self.place[spots]

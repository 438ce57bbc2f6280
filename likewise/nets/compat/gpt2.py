"""GPT-2 (Radford et al., 2019).

    n(x) = (x - mean x) / sqrt(var x + eps) * weight + bias,   mlp(h) = down(gelu(up h))                (1)

Gelu is the approximation by tanh (Hendrycks & Gimpel, 2016). Positions are learned embeddings, so there are as
many as a window has tokens, and every window begins at the first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.attention import identity_rotation
from likewise.nets.column_weights import Axis, Part
from likewise.nets.compat.base import CompatBackbone, CompatBlock, HFNameMap
from likewise.nets.layers import Linear, zero_init

STD = 0.02  # of position embeddings at the start


class GPT2Block(CompatBlock):
    """A block with the norm and the mlp of (1)."""

    norm, biased = nn.LayerNorm, True

    def __init__(self, width: int, heads: int, mlp_width: int, norm_eps: float) -> None:
        super().__init__(width, heads, mlp_width, norm_eps)
        self.up, self.down = Linear(width, mlp_width), zero_init(Linear(mlp_width, width))

    def mlp(self, h: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(h), approximate="tanh"))


class GPT2(CompatBackbone):
    """Learned positions; every layer but the head has a bias."""

    block = GPT2Block
    name_map = HFNameMap(
        display_name="GPT-2",
        model_type="gpt2",
        model_class="GPT2LMHeadModel",
        fields={
            "width": "n_embd",
            "depth": "n_layer",
            "heads": "n_head",
            "mlp_width": "n_inner",
            "norm_eps": "layer_norm_epsilon",
            "tie_embeddings": "tie_word_embeddings",
            "length": "n_positions",
        },
        defaults={
            "n_inner": None,
            "layer_norm_epsilon": 1e-5,
            "tie_word_embeddings": True,
            "n_positions": 1024,
        },
        supported={
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
        prefix="transformer.",
        layers="h",
        weights={
            "embedding.weight": "wte.weight",
            "position_embedding": "wpe.weight",
            "output_norm.weight": "ln_f.weight",
            "output_norm.bias": "ln_f.bias",
        },
        block_weights={
            "attention_norm": ["ln_1"],
            "mlp_norm": ["ln_2"],
            "attention.qkv": ["attn.c_attn"],
            "attention.out": ["attn.c_proj"],
            "up": ["mlp.c_fc"],
            "down": ["mlp.c_proj"],
        },
        transposed=("c_attn.weight", "c_proj.weight", "c_fc.weight"),
        ignored=(".attn.bias", ".attn.masked_bias"),
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
        self.position_embedding = nn.Parameter(STD * torch.randn(spec.tokens, width))
        self.column_axes = {"position_embedding": Axis(0, (Part(0, spec.tokens, "append"),))}

    def rotation(self, positions: Tensor) -> Tensor:
        return identity_rotation(len(positions), self.head_dim, positions.device)

    def add_positions(self, tokens: Tensor, positions: Tensor | slice) -> Tensor:
        return tokens + self.position_embedding[positions]

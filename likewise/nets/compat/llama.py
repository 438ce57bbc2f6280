"""Llama (Touvron et al., 2023).

    n(x) = x / sqrt(mean x^2 + eps) * weight,   mlp(h) = down(silu(gate h) * up h)                      (1)

Positions are rotary (Su et al., 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.attention import rotary
from likewise.nets.compat.base import CompatBackbone, CompatBlock, HFNameMap, config_mismatch
from likewise.nets.layers import Linear, zero_init

ROPE_THETA = 1e4  # of wavelengths, by default


class LlamaBlock(CompatBlock):
    """A block with the norm and the mlp of (1)."""

    norm, biased = nn.RMSNorm, False

    def __init__(self, width: int, heads: int, mlp_width: int, norm_eps: float) -> None:
        super().__init__(width, heads, mlp_width, norm_eps)
        self.up = Linear(width, 2 * mlp_width, bias=False)  # gate and up of (1)
        self.down = zero_init(Linear(mlp_width, width, bias=False))

    def mlp(self, h: Tensor) -> Tensor:
        gate, up = self.up(h).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Llama(CompatBackbone):
    """Rotary positions; no layer has a bias."""

    block = LlamaBlock
    name_map = HFNameMap(
        display_name="Llama",
        model_type="llama",
        model_class="LlamaForCausalLM",
        fields={
            "width": "hidden_size",
            "depth": "num_hidden_layers",
            "heads": "num_attention_heads",
            "mlp_width": "intermediate_size",
            "rope_theta": "rope_theta",
            "norm_eps": "rms_norm_eps",
            "tie_embeddings": "tie_word_embeddings",
            "length": "max_position_embeddings",
        },
        defaults={
            "rope_theta": 1e4,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
            "max_position_embeddings": 2048,
        },
        supported={"hidden_act": ("silu",), "attention_bias": (False, None), "mlp_bias": (False, None)},
        prefix="model.",
        layers="layers",
        weights={"embedding.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"},
        block_weights={
            "attention_norm": ["input_layernorm"],
            "mlp_norm": ["post_attention_layernorm"],
            "attention.qkv": [f"self_attn.{x}_proj" for x in "qkv"],
            "attention.out": ["self_attn.o_proj"],
            "up": ["mlp.gate_proj", "mlp.up_proj"],
            "down": ["mlp.down_proj"],
        },
        grouped=("k_proj.weight", "v_proj.weight"),
        ignored=("rotary_emb.inv_freq",),
    )

    def __init__(
        self,
        spec: Spec,
        width: int,
        depth: int,
        *,
        heads: int | None,
        mlp_width: int | None,
        rope_theta: float,
        norm_eps: float,
        tie_embeddings: bool | None,
    ) -> None:
        """mlp_width: default 8/3 of the width, rounded up to a multiple of 16; tie_embeddings: default no.

        Raises ValueError for a width that is not divisible by twice the heads.
        """
        super().__init__(
            spec,
            width,
            depth,
            heads=heads,
            mlp_width=mlp_width or 16 * math.ceil(width / 6),
            norm_eps=norm_eps,
            tie_embeddings=bool(tie_embeddings),
        )
        if self.head_dim % 2:
            raise ValueError(
                f"width={width} is no multiple of twice heads={self.options['heads']}: rotary positions "
                "rotate pairs of floats of each head"
            )
        self.options["rope_theta"] = rope_theta

    def rotation(self, positions: Tensor) -> Tensor:
        return rotary(positions[:, None].float(), self.head_dim, self.options["rope_theta"])

    @classmethod
    def options_from_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        options = super().options_from_config(config)
        for field in ("rope_scaling", "rope_parameters"):
            rope = config.get(field) or {}
            if rope.get("rope_type", rope.get("type", "default")) != "default":
                raise config_mismatch(config, field, "scaled rotary positions are not supported")
            options["rope_theta"] = float(rope.get("rope_theta", options["rope_theta"]))
        width, heads = options["width"], options["heads"]
        if (config.get("head_dim") or width // heads) * heads != width:
            raise config_mismatch(
                config,
                "head_dim",
                f"only hidden_size / num_attention_heads = {width}/{heads} is supported",
            )
        return options

    def config(self) -> dict[str, Any]:
        return {
            **super().config(),
            "num_key_value_heads": self.options["heads"],
            "head_dim": self.head_dim,
            "rope_scaling": None,
        }

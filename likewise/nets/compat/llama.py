"""Llama's trunk (Touvron et al., 2023).

    n(x) = x / sqrt(mean x^2 + eps) * weight,   mlp(h) = down(silu(gate h) * up h)                      (1)

Queries and keys are turned by their places (Su et al., 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.attention import rotary, zero_init
from likewise.nets.compat.base import Block, CompatBackbone, HFNameMap, config_mismatch

BASE = 1e4  # of wavelengths, unless options say otherwise


class LlamaBlock(Block):
    """Of (1)."""

    norm, biased = nn.RMSNorm, False

    def __init__(self, width: int, heads: int, mlp_width: int, norm_eps: float) -> None:
        super().__init__(width, heads, mlp_width, norm_eps)
        self.up = nn.Linear(width, 2 * mlp_width, bias=False)  # gate and up of (1)
        self.down = zero_init(nn.Linear(mlp_width, width, bias=False))

    def mlp(self, h: Tensor) -> Tensor:
        gate, up = self.up(h).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Llama(CompatBackbone):
    """Places turn queries and keys; nothing has a bias."""

    block = LlamaBlock
    name_map = HFNameMap(
        called="Llama",
        kind="llama",
        model="LlamaForCausalLM",
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
        absent={
            "rope_theta": 1e4,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
            "max_position_embeddings": 2048,
        },
        only={"hidden_act": ("silu",), "attention_bias": (False, None), "mlp_bias": (False, None)},
        prefix="model.",
        layers="layers",
        outside={"embedding.weight": "embed_tokens.weight", "last.weight": "norm.weight"},
        inside={
            "before": ["input_layernorm"],
            "between": ["post_attention_layernorm"],
            "attention.qkv": [f"self_attn.{x}_proj" for x in "qkv"],
            "attention.out": ["self_attn.o_proj"],
            "up": ["mlp.gate_proj", "mlp.up_proj"],
            "down": ["mlp.down_proj"],
        },
        grouped=("k_proj.weight", "v_proj.weight"),
        idle=("rotary_emb.inv_freq",),
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
        """mlp_width: default 8/3 of the width, in sixteens; tie_embeddings: default no.

        Raises ValueError for a width that heads cannot share in even parts.
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
        if self.head % 2:
            raise ValueError(
                f"width={width} is no multiple of twice heads={self.options['heads']}: the "
                "place of a token turns pairs of floats of each head"
            )
        self.options["rope_theta"] = rope_theta

    def _rotation_at(self, spots: Tensor) -> Tensor:
        return rotary(spots[:, None].float(), self.head, self.options["rope_theta"])

    @classmethod
    def asked(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        found = super().asked(config)
        for field in ("rope_scaling", "rope_parameters"):
            rope = config.get(field) or {}
            if rope.get("rope_type", rope.get("type", "default")) != "default":
                raise config_mismatch(config, field, "places are not scaled here")
            found["rope_theta"] = float(rope.get("rope_theta", found["rope_theta"]))
        width, heads = found["width"], found["heads"]
        if (config.get("head_dim") or width // heads) * heads != width:
            raise config_mismatch(
                config,
                "head_dim",
                f"heads of likewise share the width, hidden_size / num_attention_heads = {width}/{heads}",
            )
        return found

    def config(self) -> dict[str, Any]:
        return {
            **super().config(),
            "num_key_value_heads": self.options["heads"],
            "head_dim": self.head,
            "rope_scaling": None,
        }

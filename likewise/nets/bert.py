"""BERT (Devlin et al., 2019), the encoder of sentence embeddings, with weights in Hugging Face's format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"


class Bert(nn.Module):
    """Embeddings of tokens, positions and segment, then the post-norm encoder of PyTorch.

    Legend: B batch, T tokens, C width.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` is the content of Hugging Face's config.json."""
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.tokens = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.segments = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, eps)
        layer = nn.TransformerEncoderLayer(
            width,
            config["num_attention_heads"],
            config["intermediate_size"],
            0.0,
            "gelu",
            eps,
            batch_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, config["num_hidden_layers"], enable_nested_tensor=False)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """ids (B, T), attention_mask (B, T) bool, False at padding -> hidden states (B, T, C)."""
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]] + self.segments.weight[0]
        return self.encoder(self.norm(x), src_key_padding_mask=~attention_mask)

    @classmethod
    def load(cls, folder: Path) -> Bert:
        """Load config.json and model.safetensors of a Hugging Face BertModel, for inference."""
        with torch.random.fork_rng(devices=[]):  # the random initial weights must not advance the generator
            net = cls(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        net.load_state_dict(convert_hf_state_dict(load_file(folder / WEIGHTS)))
        return net.eval().requires_grad_(False)


HF_NAMES = {
    "embeddings.word_embeddings.": "tokens.",
    "embeddings.position_embeddings.": "positions.",
    "embeddings.token_type_embeddings.": "segments.",
    "embeddings.LayerNorm.": "norm.",
    "attention.output.dense.": "self_attn.out_proj.",
    "attention.output.LayerNorm.": "norm1.",
    "intermediate.dense.": "linear1.",
    "output.dense.": "linear2.",
    "output.LayerNorm.": "norm2.",
}


def convert_hf_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a Hugging Face BertModel to those of `Bert`; query, key and value become one matrix.

    The pooler, which only classifiers use, is left out.
    """
    state: dict[str, Tensor] = {}
    for name, value in weights.items():
        ours = name.replace("encoder.layer.", "encoder.layers.")
        if part := next((part for part in HF_NAMES if part in name), None):
            state[ours.replace(part, HF_NAMES[part])] = value
        elif "attention.self.query." in name:
            parts = [weights[name.replace("query", part)] for part in ("query", "key", "value")]
            state[ours.replace("attention.self.query.", "self_attn.in_proj_")] = torch.cat(parts)
    return state

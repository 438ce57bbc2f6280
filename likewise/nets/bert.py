"""TODO nets.bert."""

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
    """(1): embeddings of pieces, places and type, then post-norm blocks, as PyTorch has them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` is Hugging Face's."""
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.places = nn.Embedding(config["max_position_embeddings"], width)
        self.types = nn.Embedding(config["type_vocab_size"], width)
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

    def forward(self, ids: Tensor, used: Tensor) -> Tensor:
        """ids (B, T), used (B, T) bool -> (B, T, C); what is not used is seen by nobody."""
        x = self.words(ids) + self.places.weight[: ids.shape[1]] + self.types.weight[0]
        return self.encoder(self.norm(x), src_key_padding_mask=~used)

    @classmethod
    def load(cls, folder: Path) -> Bert:
        """From config.json and model.safetensors as Hugging Face's BertModel writes them."""
        with torch.random.fork_rng(devices=[]):  # of the weights that PyTorch begins with
            net = cls(json.loads((folder / CONFIG).read_text()))
        net.load_state_dict(convert_hf_state_dict(load_file(folder / WEIGHTS)))
        return net.eval().requires_grad_(False)


HF_NAMES = {
    "embeddings.word_embeddings.": "words.",
    "embeddings.position_embeddings.": "places.",
    "embeddings.token_type_embeddings.": "types.",
    "embeddings.LayerNorm.": "norm.",
    "attention.output.dense.": "self_attn.out_proj.",
    "attention.output.LayerNorm.": "norm1.",
    "intermediate.dense.": "linear1.",
    "output.dense.": "linear2.",
    "output.LayerNorm.": "norm2.",
}


def convert_hf_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by Hugging Face's names -> by those of `Bert`; query, key and value become one matrix.

    The pooler, which only classifiers use, is left out.
    """
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        ours = name.replace("encoder.layer.", "encoder.layers.")
        if part := next((part for part in HF_NAMES if part in name), None):
            found[ours.replace(part, HF_NAMES[part])] = value
        elif "attention.self.query." in name:
            parts = [weights[name.replace("query", part)] for part in ("query", "key", "value")]
            found[ours.replace("attention.self.query.", "self_attn.in_proj_")] = torch.cat(parts)
    return found

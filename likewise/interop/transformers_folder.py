"""What export and import share: the files of a transformers model, its names of weights, and its tokenizer.

Nothing of transformers is imported.
"""

from __future__ import annotations

import shlex
from typing import Any

from likewise.modalities.text import Text
from likewise.models.model import Model
from likewise.nets.compat.base import CompatBackbone
from likewise.nets.compat.registry import COMPAT

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
HEAD, HF_HEAD = "heads.0.out.weight", "lm_head.weight"
EMBEDDING, POSITIONS = "causal.embedding.weight", "causal.position_embedding"
PLURAL = {"normalizer": "normalizers", "decoder": "decoders"}  # key of the parts of a sequence of them


def language_model(model: Model) -> tuple[CompatBackbone, Text]:
    """The backbone and the column of a model that transformers has too.

    Raises ValueError, which names the option to train with, for other models.
    """
    if model.family_name != "autoregressive":
        raise ValueError(
            f"transformers has no equivalent of the family {model.family_name}; it has one of a language "
            "model, trained with likewise train DATA text --compat llama"
        )
    backbone, column = model.family.causal, next(iter(model.target_columns.values()))
    if not isinstance(backbone, CompatBackbone) or not isinstance(column, Text):
        raise ValueError(
            f"transformers has no equivalent of this backbone, compat={model.options['compat']}; train one "
            f"that it has ({', '.join(COMPAT)}): likewise train DATA {shlex.quote(str(model.formula))} "
            "--compat llama"
        )
    return backbone, column


def weight_names(model: Model) -> dict[str, list[str]]:
    """Name of a weight of model.family -> the names in transformers of the parts of which it is made.

    The parts are stacked along the first axis, in this order.
    """
    state, (backbone, _) = model.family.state_dict(), language_model(model)
    hf = backbone.name_map
    names = {HEAD: [HF_HEAD]}
    names |= {f"causal.{own}": [hf.prefix + name] for own, name in hf.weights.items()}
    for i in range(len(backbone.blocks)):
        names |= {
            f"causal.blocks.{i}.{own}.{kind}": [f"{hf.prefix}{hf.layers}.{i}.{part}.{kind}" for part in parts]
            for own, parts in hf.block_weights.items()
            for kind in ("weight", "bias")
        }
    return {own: parts for own, parts in names.items() if own in state}


def special_token(index: int, content: str) -> dict[str, Any]:
    """An entry of "added_tokens" in tokenizer.json, for a token that no text contains."""
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    return {"id": index, "content": content, **dict.fromkeys(flags, False), "special": True}


def prefix_steps(prefix: str) -> dict[str, dict[str, Any]]:
    """The normalizer that prepends a character to a text, and the decoder that removes it again."""
    return {
        "normalizer": {"type": "Prepend", "prepend": prefix},
        "decoder": {"type": "Strip", "content": prefix, "start": 1, "stop": 0},
    }

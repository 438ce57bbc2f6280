"""Export: a language model as a folder that transformers reads.

config.json, model.safetensors              as the backbone's name_map has them (nets/compat/base.py)
tokenizer.json, tokenizer_config.json       ids are the model's; id 0 ends a text and is put before it
generation_config.json, README.md           defaults of sampling, and a model card
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from likewise.core.files import atomic_write, check_writable
from likewise.core.provenance import HTML_MARK
from likewise.interop.transformers_folder import (
    CONFIG,
    PLURAL,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    language_model,
    prefix_steps,
    special_token,
    weight_names,
)
from likewise.modalities.text import Text
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.nets.compat.base import CompatBackbone

END = "<|end|>"
CARD, GENERATION_CONFIG = "README.md", "generation_config.json"


def to_transformers(model: Model, folder: str | Path, *, name: str = "a model") -> list[Path]:
    """Write the model into a folder, under `name` in its card. Returns the files.

    Raises ValueError for a model without `compat`, RunError for a folder that has a model already.
    """
    folder = Path(folder)
    backbone, column = language_model(model)
    if (folder / CONFIG).exists():
        raise RunError(f"{folder} holds a model already; give another --out")
    for name_of_file in (WEIGHTS, TOKENIZER, TOKENIZER_CONFIG, GENERATION_CONFIG, CARD):
        if (folder / name_of_file).exists():
            raise RunError(f"{folder} has a file {name_of_file}, which would be replaced; give another --out")
    check_writable(folder / CONFIG)
    tokenizer, end = tokenizer_json(column)
    state, transposed = model.family.state_dict(), backbone.name_map.transposed
    weights = {
        name: (part.T if name.endswith(transposed) else part).contiguous()
        for own, names in weight_names(model).items()
        for name, part in zip(names, state[own].cpu().chunk(len(names)), strict=True)
    }
    atomic_write(folder / WEIGHTS, lambda path: save_file(weights, path, {"format": "pt"}))
    files = {
        CONFIG: config_json(backbone, column),
        TOKENIZER: tokenizer,
        TOKENIZER_CONFIG: tokenizer_config_json(column, end),
        GENERATION_CONFIG: generation_config_json(column),
    }
    for file, value in files.items():
        _write_text(folder / file, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    _write_text(folder / CARD, model_card(model, name))
    return [folder / file for file in (WEIGHTS, *files, CARD)]


def _write_text(path: Path, text: str) -> None:
    atomic_write(path, text.encode())


def config_json(backbone: CompatBackbone, column: Text) -> dict[str, Any]:
    """The architecture, the size of the vocabulary and the number of positions."""
    hf = backbone.name_map
    return {
        "architectures": [hf.model_class],
        "model_type": hf.model_type,
        **backbone.config(),
        "vocab_size": column.spec.classes,
        hf.fields["length"]: column.length,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
        "torch_dtype": "float32",
    }


def generation_config_json(column: Text) -> dict[str, Any]:
    """Sampling from the whole distribution: without it, generate() may keep only the 50 most likely ids."""
    return {
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "do_sample": True,
        "top_k": 0,
        "max_length": column.length + 1,
    }


# ---- the tokenizer


def tokenizer_config_json(column: Text, end: str) -> dict[str, Any]:
    """The class of the tokenizer, and its token that ends a text, which also pads.

    Padding is on the left, so that what is generated follows each prompt of a batch.
    """
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "pad_token": end,
        "padding_side": "left",
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": column.length,
    }


def tokenizer_json(column: Text) -> tuple[dict[str, Any], str]:
    """The tokenizer with the model's ids, and its token for id 0, which it puts before each text.

    Its normalizer prepends `column.prefix` to every text, and its decoder removes it.
    """
    state = json.loads(column.tokenizer)
    pairs = state["model"]["vocab"]
    vocabulary = dict(zip(pairs, column.vocabulary.to_internal_ids([*pairs.values()]), strict=True))
    added = [
        {**token, "id": new}
        for token in state["added_tokens"]
        for new in column.vocabulary.to_internal_ids([token["id"]])
    ]
    vocabulary |= {token["content"]: token["id"] for token in added}
    end = next((word for word, i in vocabulary.items() if i == 0), None)
    if end is None:
        candidates = (END[:-2] + "_" * n + END[-2:] for n in itertools.count())
        end = next(word for word in candidates if word not in vocabulary)
    if not any(token["id"] == 0 for token in added):
        added.append(special_token(0, end))
    vocabulary[end] = 0
    state["model"]["vocab"] = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    state["added_tokens"] = sorted(added, key=lambda token: token["id"])
    first, text, second = {"SpecialToken": {"id": end, "type_id": 0}}, _sequence("A"), _sequence("B")
    state["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, second],
        "special_tokens": {end: {"id": end, "ids": [0], "tokens": [end]}},
    }
    if column.prefix:
        steps = prefix_steps(column.prefix)
        state["normalizer"] = _joined("normalizer", steps["normalizer"], state["normalizer"])
        state["decoder"] = _joined("decoder", state["decoder"], steps["decoder"])
    return state, end


def _sequence(name: str) -> dict[str, Any]:
    """A text in a template of the post-processor."""
    return {"Sequence": {"id": name, "type_id": 0}}


def _joined(kind: str, *parts: dict[str, Any] | None) -> dict[str, Any]:
    """Normalizers or decoders in sequence; a part may be None, or a sequence itself."""
    steps = [step for part in parts if part for step in part.get(PLURAL[kind], [part])]
    return {"type": "Sequence", PLURAL[kind]: steps}


# ---- the model card


def model_card(model: Model, name: str) -> str:
    """README.md, with the lines of Python that load the model."""
    backbone, column = language_model(model)
    count = sum(p.numel() for p in model.family.parameters())
    prefix = (
        " The tokenizer puts a space before a text and removes one from the beginning of what it decodes: "
        "decode whole texts."
        if column.prefix
        else ""
    )
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
{HTML_MARK}

# {name}

A {backbone.name_map.display_name} of {count:,} parameters that generates `{model.formula}`, trained and exported by likewise.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = (cls.from_pretrained("FOLDER") for cls in (AutoModelForCausalLM, AutoTokenizer))
inputs = tokenizer(["", "It was"], padding=True, return_tensors="pt")
texts = model.generate(**inputs, max_new_tokens={max(1, column.length // 2)})
print(tokenizer.batch_decode(texts, skip_special_tokens=True))
```

Id 0 ends a text, pads a batch on the left, and stands before each text: the tokenizer puts it there. The model was trained on
windows of {column.length} tokens.{prefix}
"""

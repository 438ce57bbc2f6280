"""Export: a model of text as a folder that transformers reads; nothing of transformers is imported.

    config.json, model.safetensors              as the trunk's `theirs` has them (trunks/base.py)
    tokenizer.json, tokenizer_config.json       ids are the model's: 0 is the end, which stands first as well
    generation_config.json, README.md           how it is drawn from

What the names of the weights are is here for both ways, export and import (adopt.py).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from likewise.modalities.text import Text
from likewise.models.checkpoint import RunError, atomic_write
from likewise.models.model import Model
from likewise.nets.compat.registry import COMPAT

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
END = "<|end|>"
OUR_HEAD, HEAD = "heads.0.out.weight", "lm_head.weight"


def names(model: Model) -> dict[str, list[str]]:
    """The names of the family's weights -> of transformers' that lie in each, one below the other."""
    state, trunk = model.family.state_dict(), model.family.causal
    theirs, found = trunk.name_map, {OUR_HEAD: [HEAD]}
    found |= {f"causal.{ours}": [theirs.prefix + name] for ours, name in theirs.outside.items()}
    for i in range(len(trunk.blocks)):
        found |= {
            f"causal.blocks.{i}.{ours}.{kind}": [
                f"{theirs.prefix}{theirs.layers}.{i}.{name}.{kind}" for name in parts
            ]
            for ours, parts in theirs.inside.items()
            for kind in ("weight", "bias")
        }
    return {ours: parts for ours, parts in found.items() if ours in state}


def to_transformers(model: Model, folder: str | Path, *, name: str = "a model") -> list[Path]:
    """Write the files into the folder; they are returned. `name` is what the card calls it.

    Raises ValueError for a model without `compat`, RunError for a folder that has one already.
    """
    folder = Path(folder)
    check(model)
    if (folder / CONFIG).exists():
        raise RunError(f"{folder} holds a model already; give another --out")
    folder.mkdir(parents=True, exist_ok=True)
    [column] = model.target_columns.values()
    tokenizer, end = tokenizer_json(column)
    state, flipped = model.family.state_dict(), model.family.causal.name_map.flipped
    weights = {
        name: (part.T if name.endswith(flipped) else part).contiguous()
        for ours, parts in names(model).items()
        for name, part in zip(parts, state[ours].cpu().chunk(len(parts)), strict=True)
    }
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "clean_up_tokenization_spaces": False,
        "model_max_length": column.length,
    }
    drawn = {
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "do_sample": True,
        "top_k": 0,
        "max_length": column.length + 1,
    }  # left to itself it may draw the 50 likeliest alone
    atomic_write(folder / WEIGHTS, lambda path: save_file(weights, path, {"format": "pt"}))
    files = {
        CONFIG: config_json(model),
        TOKENIZER: tokenizer,
        "tokenizer_config.json": about,
        "generation_config.json": drawn,
    }
    texts = {file: json.dumps(value, indent=1, ensure_ascii=False) + "\n" for file, value in files.items()}
    for file, text in {**texts, "README.md": card(model, name)}.items():
        atomic_write(folder / file, lambda path, text=text: path.write_text(text))
    return [folder / file for file in (WEIGHTS, *texts, "README.md")]


def check(model: Model) -> None:
    """Raise ValueError that names the option unless transformers has an equivalent."""
    if model.family_name != "autoregressive":
        raise ValueError(
            f"transformers has no equivalent of the family {model.family_name}; it has one of a "
            "model of text, trained with likewise train DATA text --compat llama"
        )
    if (compat := model.options["compat"]) not in COMPAT:
        raise ValueError(
            f"transformers has no equivalent of this trunk, compat={compat}; train one that it "
            f"has ({', '.join(COMPAT)}): likewise train DATA "
            f"{json.dumps(str(model.formula))} --compat llama"
        )


def config_json(model: Model) -> dict[str, Any]:
    """The trunk's config, the vocabulary and the places."""
    [column], trunk = model.target_columns.values(), model.family.causal
    theirs = trunk.name_map
    return {
        "architectures": [theirs.model],
        "model_type": theirs.kind,
        **trunk.config(),
        "vocab_size": column.spec.classes,
        theirs.fields["length"]: column.length,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
        "torch_dtype": "float32",
    }


def tokenizer_json(column: Text) -> tuple[dict[str, Any], str]:
    """The tokenizer with our ids, which puts the end first, and what it calls the end.

    The letters before a text (Text.opening) are put there by its normalizer, however it begins, and taken off
    by its decoder.
    """
    state = json.loads(column.tokenizer)
    added = [
        {**token, "id": new}
        for token in state["added_tokens"]
        for new in column.to_internal_ids([token["id"]])
    ]
    vocabulary = dict(_renamed(state["model"]["vocab"], column)) | {t["content"]: t["id"] for t in added}
    end = next((word for word, i in vocabulary.items() if i == 0), None)
    if end is None:
        spelt = (END[:-2] + "_" * n + END[-2:] for n in itertools.count())
        end = next(word for word in spelt if word not in vocabulary)
    if not any(token["id"] == 0 for token in added):
        added.append(
            {
                "id": 0,
                "content": end,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        )
    vocabulary[end] = 0
    state["model"]["vocab"] = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    state["added_tokens"] = sorted(added, key=lambda token: token["id"])
    first, text, other = {"SpecialToken": {"id": end, "type_id": 0}}, _sequence("A"), _sequence("B")
    state["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, other],
        "special_tokens": {end: {"id": end, "ids": [0], "tokens": [end]}},
    }
    if column.prefix:
        prepend, strip = spaced(column.prefix)
        state["normalizer"] = _joined("normalizers", prepend, state["normalizer"])
        state["decoder"] = _joined("decoders", state["decoder"], strip)
    return state, end


def card(model: Model, name: str) -> str:
    """README.md, with the lines that load it."""
    [column], count = model.target_columns.values(), sum(p.numel() for p in model.family.parameters())
    called = model.family.causal.name_map.called
    space = (
        " The tokenizer puts a space before a text and takes one off the beginning of what it decodes: "
        "decode whole texts."
        if column.prefix
        else ""
    )
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# {name}

A {called} of {count:,} parameters that writes `{model.targets[0]}`, trained and exported by likewise.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = (cls.from_pretrained("FOLDER") for cls in (AutoModelForCausalLM, AutoTokenizer))
inputs = tokenizer("", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))
```

Id 0 ends a text, and stands before each: the tokenizer puts it there. It was trained on {column.length}
tokens at once.{space}
"""


def _renamed(vocabulary: Mapping[str, int], column: Text) -> Iterator[tuple[str, int]]:
    return zip(vocabulary, column.to_internal_ids([*vocabulary.values()]), strict=True)


def _sequence(which: str) -> dict[str, Any]:
    return {"Sequence": {"id": which, "type_id": 0}}


def spaced(before: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What puts a letter before a text, and what takes it off what is decoded."""
    return (
        {"type": "Prepend", "prepend": before},
        {"type": "Strip", "content": before, "start": 1, "stop": 0},
    )


def _joined(plural: str, *parts: dict[str, Any] | None) -> dict[str, Any]:
    """Normalizers or decoders one after the other; a part may be several already, or none."""
    flat = [one for part in parts if part for one in part.get(plural, [part])]
    return {"type": "Sequence", plural: flat}

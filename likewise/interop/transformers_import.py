"""Import: a language model that transformers has saved.

Its architecture must be one of likewise/nets/compat. Keys and values that heads share (grouped-query
attention) are repeated. Rows of the embedding of ids that the tokenizer lacks, and positions beyond the
window, are left out.

Id 0 of the model is the tokenizer's end (eos). It ends a text and, in slot 0, stands before it; nothing reads
what follows an end, so the two uses never meet. The embedding of id 0 is that of the token before a text
(bos), which may differ from the end; GPT-2's <|endoftext|> is both. If they differ, a head that is tied to
the embedding becomes a copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from likewise.core.formula import Formula, View
from likewise.core.options import validated
from likewise.core.ranges import WindowLength
from likewise.interop.transformers_folder import (
    CONFIG,
    EMBEDDING,
    HEAD,
    HF_HEAD,
    PLURAL,
    POSITIONS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    language_model,
    prefix_steps,
    special_token,
    weight_names,
)
from likewise.modalities.document import Document
from likewise.modalities.text import Text
from likewise.models import checkpoint
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.nets.compat.base import CompatBackbone, HFNameMap, config_mismatch
from likewise.nets.compat.registry import COMPAT

INDEX = "model.safetensors.index.json"
WINDOW = 1024  # tokens, at most, unless a length is given
UNSUPPORTED = ("sliding_window", "quantization_config")  # fields that must be absent or false
SAMPLES = (
    "one  two",
    " before",
    "after ",
    "a\n\n\tb",
    "naïve 日本 🙂",
    "3.14 + x_1 = 'don't'",
    "In CAPITALS",
    "nai\u0308ve",
)


@validated
def from_transformers(
    folder: str | Path, *, column: str = "text", length: WindowLength | None = None
) -> Model:
    """The model in a folder, of one document called `column`, to be trained on in windows of `length` tokens.

    The column is a text where the tokenizer prepends a space, as the export of a text does. Without `length`:
    the number of positions, at most 1,024. Raises ValueError, which names the field of config.json, for what
    is not supported, and RunError for files that are missing or damaged.
    """
    folder = Path(folder)
    config, backbone = _read_config(folder)
    options = backbone.options_from_config(config)
    text, start = _read_column(folder, config, backbone.name_map, length)
    if start != text.end:
        options["tie_embeddings"] = False
    weights = _read_weights(folder)
    formula = Formula((View(column),))
    model = Model(formula, {column: text}, "autoregressive", compat=backbone.name_map.model_type, **options)
    renamed = _convert_weights(weights, config, model, start)
    checkpoint.load_weights_into(model.family, model.family.state_dict() | renamed, folder)
    model.fresh = frozenset()
    return model


def _read_config(folder: Path) -> tuple[dict[str, Any], type[CompatBackbone]]:
    """config.json with its defaults, and the class of its backbone. Raises ValueError and RunError."""
    config = _read_json(folder / CONFIG)
    if (kind := config.get("model_type")) not in COMPAT:
        raise ValueError(f"{CONFIG} has model_type={kind!r}; {' and '.join(COMPAT)} alone can be imported")
    config = {**COMPAT[kind].name_map.defaults, **config}
    for field in UNSUPPORTED:
        if config.get(field):
            raise config_mismatch(config, field, "likewise has none")
    if missing := [field for field in COMPAT[kind].name_map.fields.values() if field not in config]:
        raise RunError(f"{folder / CONFIG} lacks {missing[0]}; copy it again")
    return config, COMPAT[kind]


# ---- weights


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, from one file or from several. Raises RunError."""
    if (folder / INDEX).exists():
        files = sorted({*_read_json(folder / INDEX)["weight_map"].values()})
    elif (folder / WEIGHTS).exists():
        files = [WEIGHTS]
    else:
        raise RunError(
            f"{folder} has no {WEIGHTS}, and other files of weights are not read, since they can "
            "run code; write one with transformers: model.save_pretrained(FOLDER)"
        )
    weights: dict[str, Tensor] = {}
    for file in files:
        try:
            weights |= load_file(folder / file)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{folder / file} is missing or damaged ({error}); copy it again") from error
    return weights


def _convert_weights(
    weights: Mapping[str, Tensor], config: Mapping[str, Any], model: Model, start: int
) -> dict[str, Tensor]:
    """Weights by the names of model.family, float32, rows of ids in the model's order.

    The embedding of id 0 is that of the tokenizer's id `start`.
    """
    backbone, text = language_model(model)
    hf, names = backbone.name_map, weight_names(model)
    embedding = hf.prefix + hf.weights["embedding.weight"]
    weights = {
        name if name.startswith((hf.prefix, HF_HEAD)) else hf.prefix + name: v
        for name, v in weights.items()
        if not name.endswith(hf.ignored)
    }
    if config[hf.fields["tie_embeddings"]] and embedding in weights:
        weights[HF_HEAD] = weights[embedding]
    required = [name for parts in names.values() for name in parts]
    if missing := [name for name in required if name not in weights]:
        raise RunError(f"the weights lack {missing[0]}; it is no whole model of the class {hf.model_class}")
    if unknown := sorted(weights.keys() - {*required, HF_HEAD}):
        raise ValueError(f"the weights have {unknown[0]}, which the {hf.display_name} of likewise has not")
    heads = backbone.options["heads"]
    group = heads // (config.get("num_key_value_heads") or heads)  # query heads that share keys and values

    def convert(name: str) -> Tensor:
        v = weights[name].float()
        if name.endswith(hf.grouped):
            v = v.unflatten(0, (-1, backbone.head_dim)).repeat_interleave(group, 0).flatten(0, 1)
        return v.T if name.endswith(hf.transposed) else v

    converted = {own: torch.cat([convert(part) for part in parts]) for own, parts in names.items()}
    ids = torch.tensor(text.vocabulary.to_tokenizer_ids(range(text.vocabulary.size)))
    for name in {HEAD, EMBEDDING} & converted.keys():
        converted[name] = converted[name][ids]
    if POSITIONS in converted:
        converted[POSITIONS] = converted[POSITIONS][: text.length]
    converted[EMBEDDING][0] = weights[embedding][start].float()
    return converted


# ---- the tokenizer


def _read_column(
    folder: Path, config: Mapping[str, Any], name_map: HFNameMap, length: int | None
) -> tuple[Text, int]:
    """The column with the folder's tokenizer, and the tokenizer's id of the token before a text."""
    field = name_map.fields["length"]
    positions = config[field]
    if length is not None and not 1 < length <= positions:
        raise ValueError(f"length={length}: give 2 to {positions}, the {field} of {CONFIG}")
    state = _read_json(folder / TOKENIZER)
    words = _read_vocabulary(folder, state, config)
    end, start = _end_and_start(folder, config, {word: i for i, word in words.items()})
    # The end alone is special, which no text contains; texts may contain the others, such as those of chats.
    added = [{**token, "special": False} for token in state["added_tokens"] if token["id"] != end]
    added = sorted([*added, special_token(end, words[end])], key=lambda token: token["id"])
    bare = {"truncation": None, "padding": None, "post_processor": None}
    column, state = _without_prefix({**state, **bare, "added_tokens": added})
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(state, ensure_ascii=False))
    text = column(tokenizer.to_str(), length or min(positions, WINDOW), end=end)
    _check_lossless(text, folder, words[end])
    return text, start


def _read_vocabulary(folder: Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> dict[int, str]:
    """The tokens by their ids. Raises ValueError for other tokenizers than byte-pair encodings of all ids."""
    path, model = folder / TOKENIZER, state["model"]
    kind = model.get("type", "BPE" if "merges" in model else None)  # old files have no type
    if kind != "BPE":
        raise ValueError(f"{path} is of the type {kind}; likewise takes BPE over bytes alone")
    words = {i: word for word, i in model["vocab"].items()}
    words |= {token["id"]: token["content"] for token in state["added_tokens"]}
    size = len(words)
    if max(words) != size - 1:
        raise ValueError(
            f"{path} has {size} ids, the last of which is {max(words)}: likewise needs all from 0 on"
        )
    if size > config["vocab_size"]:
        raise ValueError(
            f"{CONFIG} has vocab_size={config['vocab_size']}, and the tokenizer {size} ids; "
            "resize the model's embedding with transformers"
        )
    return words


def _end_and_start(folder: Path, config: Mapping[str, Any], ids: Mapping[str, int]) -> tuple[int, int]:
    """The ids of the tokens after a text (eos) and before it (bos, if there is none: eos)."""
    path = folder / TOKENIZER_CONFIG
    settings = _read_json(path) if path.exists() else {}
    end, start = (_special_id(name, settings, config, ids) for name in ("eos", "bos"))
    if end is None or not 0 <= end < len(ids):
        raise ValueError(
            f"{folder} has no token that ends a text: give {path.name} an eos_token, or "
            f"{CONFIG} an eos_token_id"
        )
    return end, end if start is None else start


def _special_id(
    name: str, settings: Mapping[str, Any], config: Mapping[str, Any], ids: Mapping[str, int]
) -> int | None:
    """The id of the token "eos" or "bos", by tokenizer_config.json, else by config.json."""
    token = settings.get(f"{name}_token")
    content = token["content"] if isinstance(token, dict) else token
    if isinstance(content, str) and content in ids:
        return ids[content]
    index = config.get(f"{name}_token_id")
    return index[0] if isinstance(index, list) else index


def _without_prefix(state: Mapping[str, Any]) -> tuple[type[Text], dict[str, Any]]:
    """The kind of column, and the tokenizer without the space that it prepends to a text, if it does."""
    steps, expected = {}, prefix_steps(Text.prefix)
    for kind, plural in PLURAL.items():
        part = state[kind]
        steps[kind] = part.get(plural, [part]) if part else [None]
    if steps["normalizer"][0] != expected["normalizer"] or steps["decoder"][-1] != expected["decoder"]:
        return Document, dict(state)
    steps = {"normalizer": steps["normalizer"][1:], "decoder": steps["decoder"][:-1]}
    rest = {kind: {"type": "Sequence", PLURAL[kind]: part} if part else None for kind, part in steps.items()}
    return Text, {**state, **rest}


def _check_lossless(text: Text, folder: Path, end: str) -> None:
    """Raise ValueError unless texts are decoded as they were, whole and in pieces, and none contains the end."""
    message = f"{folder / TOKENIZER}: likewise takes BPE over bytes alone, and with this tokenizer"
    for sample in SAMPLES:
        ids, whole = text.ids(sample).tolist(), text.prefix + sample
        decode = text.vocabulary.decode
        decoded, pieces = decode(ids), "".join(decode([i]) for i in ids)
        if decoded != whole or (sample.isascii() and pieces != whole):
            raise ValueError(f"{message} {whole!r} comes back as {decoded!r}, in pieces {pieces!r}")
    if 0 in text.ids(end):
        raise ValueError(f"{message} a text can spell the end, {end!r}")


def _read_json(path: Path) -> dict[str, Any]:
    """A file of JSON. Raises RunError."""
    if not path.exists():
        raise RunError(
            f"{path.parent} has no {path.name}; it is no folder that transformers has saved a "
            "model and its tokenizer in"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); copy it again") from error

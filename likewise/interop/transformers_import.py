"""Adopt: a model of text that transformers has saved. Nothing of transformers is imported.

What it must be is a trunk as likewise/trunks has it. Keys and values that heads share are repeated, and rows
of what is looked up are left out: of ids that the tokenizer has not, of places beyond the window.

Our id 0 is their end (eos). It ends a text and, in slot 0, stands before it: the two never meet, since
nothing is read after an end. So the embedding of id 0 is that of what they put first (bos), which need not be
the end; GPT-2's <|endoftext|> is both. Where it is another, a head that is the embedding is copied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from likewise.interop.transformers_export import CONFIG, HEAD, OUR_HEAD, TOKENIZER, WEIGHTS, names, spaced
from likewise.modalities.document import Document
from likewise.modalities.text import Text
from likewise.models import checkpoint
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.nets.compat.base import CompatBackbone, HFNameMap, config_mismatch
from likewise.nets.compat.registry import COMPAT

INDEX = "model.safetensors.index.json"
WINDOW = 1024  # tokens, at most, unless a length is asked for
PLAIN = ("sliding_window", "quantization_config")  # must be absent or false
OUR_EMBEDDING = "causal.embedding.weight"
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


def from_transformers(folder: str | Path, *, column: str = "text", length: int | None = None) -> Model:
    """The model in a folder, of one document called `column`, learned on in windows of `length` tokens.

    It is a text where the tokenizer puts a space before each, as export does with one. Without `length`: as
    many tokens as it has places, at most 1,024. Raises ValueError that names the field of config.json for
    what the trunk has not, RunError for files that are missing or damaged.
    """
    folder = Path(folder)
    config, trunk = _config(folder)
    options = trunk.asked(config)
    text, first = _document(folder, config, trunk.name_map, length)
    if first != text.end:
        options["tie_embeddings"] = False
    weights = _weights(folder)
    model = Model(column, {column: text}, "autoregressive", compat=trunk.name_map.kind, **options)
    named = _named(weights, config, model, text, first)
    checkpoint.load_weights_into(model.family, model.family.state_dict() | named, folder)
    model.untrained = False
    return model


def _config(folder: Path) -> tuple[dict[str, Any], type[CompatBackbone]]:
    """What config.json says, and the trunk. Raises ValueError that names the field for another one."""
    config = _json(folder / CONFIG)
    if (kind := config.get("model_type")) not in COMPAT:
        raise ValueError(f"{CONFIG} has model_type={kind!r}; {' and '.join(COMPAT)} alone can be imported")
    config = {**COMPAT[kind].name_map.absent, **config}
    for field in PLAIN:
        if config.get(field):
            raise config_mismatch(config, field, "likewise has none")
    if lacks := [field for field in COMPAT[kind].name_map.fields.values() if field not in config]:
        raise RunError(f"{folder / CONFIG} lacks {lacks[0]}; copy it again")
    return config, COMPAT[kind]


# ---- weights


def _weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, of one file or of several."""
    if (folder / INDEX).exists():
        files = sorted({*_json(folder / INDEX)["weight_map"].values()})
    elif (folder / WEIGHTS).exists():
        files = [WEIGHTS]
    else:
        raise RunError(
            f"{folder} has no {WEIGHTS}, and other files of weights are not read, since they can "
            "run code; write one with transformers: model.save_pretrained(FOLDER)"
        )
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            found |= load_file(folder / file)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{folder / file} is missing or damaged ({error}); copy it again") from error
    return found


def _named(
    weights: Mapping[str, Tensor], config: Mapping[str, Any], model: Model, text: Text, first: int
) -> dict[str, Tensor]:
    """Weights by our names, float32, rows of ids in our order; id 0 is read as their id `first`."""
    theirs, ours = model.family.causal.name_map, names(model)
    embedding, asked = theirs.prefix + theirs.outside["embedding.weight"], [*chain(*ours.values())]
    kept = {
        name if name.startswith((theirs.prefix, HEAD)) else theirs.prefix + name: v
        for name, v in weights.items()
        if not name.endswith(theirs.idle)
    }
    if config[theirs.fields["tie_embeddings"]]:
        kept[HEAD] = kept.get(embedding)
    if lacks := [name for name in asked if kept.get(name) is None]:
        raise RunError(f"the weights lack {lacks[0]}; it is no whole model of the class {theirs.model}")
    if more := sorted(kept.keys() - {*asked, HEAD}):
        raise ValueError(f"the weights have {more[0]}, which the {theirs.called} of likewise has not")
    heads, size = model.family.causal.options["heads"], model.family.causal.head_dim
    shared = heads // (config.get("num_key_value_heads") or heads)

    def read(name: str) -> Tensor:
        v = kept[name].float()
        if name.endswith(theirs.grouped):
            v = v.unflatten(0, (-1, size)).repeat_interleave(shared, 0).flatten(0, 1)
        return v.T if name.endswith(theirs.flipped) else v

    found = {name: torch.cat([read(part) for part in parts]) for name, parts in ours.items()}
    order = torch.tensor(text.to_tokenizer_ids(range(text.spec.classes)))
    rows = {OUR_EMBEDDING: order, OUR_HEAD: order, "causal.place": slice(text.length)}
    for name in rows.keys() & found.keys():
        found[name] = found[name][rows[name]]
    found[OUR_EMBEDDING][0] = kept[embedding][first].float()
    return found


# ---- the tokenizer


def _document(
    folder: Path, config: Mapping[str, Any], theirs: HFNameMap, length: int | None
) -> tuple[Text, int]:
    """The column with their tokenizer, and the id in it of what stands before a text."""
    places = config[theirs.fields["length"]]
    if length is not None and not 1 < length <= places:
        raise ValueError(f"length={length}: give 2 to {places}, the {theirs.fields['length']} of {CONFIG}")
    state = _json(folder / TOKENIZER)
    kind = state["model"].get("type", "BPE" if "merges" in state["model"] else None)  # old files have none
    if kind != "BPE":
        raise ValueError(f"{folder / TOKENIZER} is of the type {kind}; likewise takes BPE over bytes alone")
    words = {i: word for word, i in state["model"]["vocab"].items()}
    words |= {token["id"]: token["content"] for token in state["added_tokens"]}
    size = len(words)
    if max(words) != size - 1:
        raise ValueError(
            f"{folder / TOKENIZER} has {size} ids, the last of which is {max(words)}: likewise "
            "needs all from 0 on"
        )
    if size > config["vocab_size"]:
        raise ValueError(
            f"{CONFIG} has vocab_size={config['vocab_size']}, and the tokenizer {size} ids; "
            "resize the model's embedding with transformers"
        )
    end, first = _ends(folder, config, {word: i for i, word in words.items()})
    bare = {"truncation": None, "padding": None, "post_processor": None}
    # The end alone is special, which no text can spell; the others, such as those of chats, texts may have.
    added = [{**token, "special": False} for token in state["added_tokens"] if token["id"] != end]
    added.append(
        {
            "id": end,
            "content": words[end],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    )
    added.sort(key=lambda token: token["id"])
    kind, state = _unspaced({**state, **bare, "added_tokens": added})
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(state, ensure_ascii=False))
    text = kind(tokenizer.to_str(), length or min(places, WINDOW), end=end)
    _faithful(text, folder, words[end])
    return text, first


def _ends(folder: Path, config: Mapping[str, Any], ids: Mapping[str, int]) -> tuple[int, int]:
    """The ids of what ends a text and of what stands before it: the tokenizer's, else the model's."""
    path = folder / "tokenizer_config.json"
    about, found = _json(path) if path.exists() else {}, []
    for which in ("eos", "bos"):
        word, said = about.get(f"{which}_token"), config.get(f"{which}_token_id")
        word = word["content"] if isinstance(word, dict) else word
        found.append(ids[word] if word in ids else said[0] if isinstance(said, list) else said)
    end, first = found
    if end is None or not 0 <= end < len(ids):
        raise ValueError(
            f"{folder} has no token that ends a text: give {path.name} an eos_token, or "
            f"{CONFIG} an eos_token_id"
        )
    return end, end if first is None else first


def _unspaced(state: Mapping[str, Any]) -> tuple[type[Text], dict[str, Any]]:
    """The kind of column, and the tokenizer without the space that export.spaced puts before a text."""
    both = {"normalizer": "normalizers", "decoder": "decoders"}
    parts = {part: (state[part] or {}).get(plural, [state[part]]) for part, plural in both.items()}
    prepend, strip = spaced(Text.prefix)
    if parts["normalizer"][0] != prepend or parts["decoder"][-1] != strip:
        return Document, dict(state)
    left = {"normalizer": parts["normalizer"][1:], "decoder": parts["decoder"][:-1]}
    return Text, {
        **state,
        **{part: {"type": "Sequence", both[part]: some} if some else None for part, some in left.items()},
    }


def _faithful(text: Text, folder: Path, end: str) -> None:
    """Raise ValueError unless texts come back as they were, whole and in pieces, and none spells the end."""
    what = f"{folder / TOKENIZER}: likewise takes BPE over bytes alone, and with this tokenizer"
    for sample in SAMPLES:
        ids, whole = text.ids(sample).tolist(), text.prefix + sample
        pieces = "".join(text.decode_ids([i]) for i in ids)
        if text.decode_ids(ids) != whole or (sample.isascii() and pieces != whole):
            raise ValueError(f"{what} {whole!r} comes back as {text.decode_ids(ids)!r}, in pieces {pieces!r}")
    if 0 in text.ids(end):
        raise ValueError(f"{what} a text can spell the end, {end!r}")


def _json(path: Path) -> dict[str, Any]:
    """A file of JSON. Raises RunError."""
    if not path.exists():
        raise RunError(
            f"{path.parent} has no {path.name}; it is no folder that transformers has saved a "
            "model and its tokenizer in"
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); copy it again") from error

"""Adopt: a model of text that transformers has saved. Nothing of transformers is imported.

What it must be is Llama as likewise/llama.py has it. Keys and values that heads share are repeated, a head
that is the embedding is copied, and rows of both beyond the tokenizer's ids are left out.

Our id 0 is their end (eos). It ends a text and, in slot 0, stands before it: the two never meet, since
nothing is read after an end. So the embedding of id 0 is that of what they put first (bos), which need not be
the end.
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

from likewise import checkpoint
from likewise.checkpoint import RunError
from likewise.export import CONFIG, TOKENIZER, WEIGHTS, names, spaced
from likewise.modalities import Document, Text
from likewise.model import Model

INDEX = "model.safetensors.index.json"
WINDOW = 1024       # tokens, at most, unless a length is asked for
PLAIN = ("attention_bias", "mlp_bias", "sliding_window", "quantization_config")     # must be absent or false
DEFAULTS = {"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "tie_word_embeddings": False,
            "hidden_act": "silu", "rope_theta": 1e4}    # of LlamaConfig
SAMPLES = ("one  two", " before", "after ", "a\n\n\tb", "naïve 日本 🙂", "3.14 + x_1 = 'don't'")
NUMBERS = ("rotary_emb.inv_freq",)      # in old files, of no use


def from_transformers(folder: str | Path, *, column: str = "text", length: int | None = None) -> Model:
    """The model in a folder, of one document called `column`, learned on in windows of `length` tokens.

    It is a text where the tokenizer puts a space before each, as export does with one. Without `length`: as
    many tokens as it has places, at most 1,024. Raises ValueError that names the field of
    config.json for what Llama has not, RunError for files that are missing or damaged.
    """
    folder = Path(folder)
    config = DEFAULTS | _json(folder / CONFIG)
    options = _options(config)
    text, first = _document(folder, config, length)
    weights = _weights(folder)
    model = Model(column, {column: text}, "autoregressive", compat="llama", **options)
    checkpoint.fill(model.family, model.family.state_dict() | _named(weights, config, text, first), folder)
    model.fresh = False
    return model.eval()


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the family. Raises ValueError that names the field of what there is no option for."""
    def refuse(field: str, why: str) -> ValueError:
        return ValueError(f"{CONFIG} has {field}={config[field]!r}: {why}")

    if config.get("model_type") != "llama":
        raise ValueError(f"{CONFIG} has model_type={config.get('model_type')!r}; llama alone can be imported")
    for field in PLAIN:
        if config.get(field):
            raise refuse(field, "the Llama of likewise has none; leave this model to transformers")
    if config["hidden_act"] != "silu":
        raise refuse("hidden_act", "the Llama of likewise has silu alone")
    base = config["rope_theta"]
    for field in ("rope_scaling", "rope_parameters"):
        rope = config.get(field) or {}
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            raise refuse(field, "places are not scaled here; leave this model to transformers")
        base = rope.get("rope_theta", base)
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if (config.get("head_dim") or width // heads) * heads != width:
        raise refuse("head_dim", f"heads of likewise share the width, hidden_size / num_attention_heads = "
                                 f"{width}/{heads}")
    return {"width": width, "depth": config["num_hidden_layers"], "heads": heads, "base": float(base),
            "hidden": config["intermediate_size"], "eps": config["rms_norm_eps"]}


# ---- weights


def _weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, of one file or of several."""
    if (folder / INDEX).exists():
        files = sorted({*_json(folder / INDEX)["weight_map"].values()})
    elif (folder / WEIGHTS).exists():
        files = [WEIGHTS]
    else:
        raise RunError(f"{folder} has no {WEIGHTS}, and other files of weights are not read, since they can "
                       "run code; write one with transformers: model.save_pretrained(FOLDER)")
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            found |= load_file(folder / file)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{folder / file} is missing or damaged ({error}); copy it again") from error
    return found


def _named(weights: Mapping[str, Tensor], config: Mapping[str, Any], text: Text,
           first: int) -> dict[str, Tensor]:
    """Weights by our names, float32, rows of ids in our order; id 0 is read as their id `first`."""
    theirs = names(config["num_hidden_layers"])
    kept = {name: v for name, v in weights.items() if not name.endswith(NUMBERS)}
    if config["tie_word_embeddings"]:
        kept["lm_head.weight"] = kept.get("model.embed_tokens.weight")
    if lacks := [name for name in theirs.values() if kept.get(name) is None]:
        raise RunError(f"the weights lack {lacks[0]}; it is no whole model of the class LlamaForCausalLM")
    if more := sorted(kept.keys() - {*theirs.values()}):
        raise ValueError(f"the weights have {more[0]}, which the Llama of likewise has not")
    found = {ours: kept[name].float() for ours, name in theirs.items()}
    heads = config["num_attention_heads"]
    shared = heads // (config.get("num_key_value_heads") or heads)
    for name in found:
        if name.endswith(("attention.k.weight", "attention.v.weight")):
            rows = config["hidden_size"] // heads
            found[name] = found[name].unflatten(0, (-1, rows)).repeat_interleave(shared, 0).flatten(0, 1)
    order = torch.tensor(text.theirs(range(text.spec.classes)))
    for name in ("causal.embedding.weight", "heads.0.out.weight"):
        found[name] = found[name][order]
    found["causal.embedding.weight"][0] = kept["model.embed_tokens.weight"][first].float()
    return found


# ---- the tokenizer


def _document(folder: Path, config: Mapping[str, Any], length: int | None) -> tuple[Text, int]:
    """The column with their tokenizer, and the id in it of what stands before a text."""
    places = config["max_position_embeddings"]
    if length is not None and not 1 < length <= places:
        raise ValueError(f"length={length}: give 2 to {places}, the max_position_embeddings of {CONFIG}")
    state = _json(folder / TOKENIZER)
    if state["model"]["type"] != "BPE":
        raise ValueError(f"{folder / TOKENIZER} is of the type {state['model']['type']}, and likewise takes "
                         "BPE over bytes alone")
    words = {i: word for word, i in state["model"]["vocab"].items()}
    words |= {token["id"]: token["content"] for token in state["added_tokens"]}
    size = len(words)
    if max(words) != size - 1:
        raise ValueError(f"{folder / TOKENIZER} has {size} ids, the last of which is {max(words)}: likewise "
                         "needs all from 0 on")
    if size > config["vocab_size"]:
        raise ValueError(f"{CONFIG} has vocab_size={config['vocab_size']}, and the tokenizer {size} ids; "
                         "resize the model's embedding with transformers")
    end, first = _ends(folder, config, {word: i for i, word in words.items()})
    bare = {"truncation": None, "padding": None, "post_processor": None}
    # The end alone is special, which no text can spell; the others, such as those of chats, texts may have.
    added = [{**token, "special": False} for token in state["added_tokens"] if token["id"] != end]
    added.append({"id": end, "content": words[end], "single_word": False, "lstrip": False, "rstrip": False,
                  "normalized": False, "special": True})
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
        raise ValueError(f"{folder} has no token that ends a text: give {path.name} an eos_token, or "
                         f"{CONFIG} an eos_token_id")
    return end, end if first is None else first


def _unspaced(state: Mapping[str, Any]) -> tuple[type[Text], dict[str, Any]]:
    """The kind of column, and the tokenizer without the space that export.spaced puts before a text."""
    both = {"normalizer": "normalizers", "decoder": "decoders"}
    parts = {part: (state[part] or {}).get(plural, [state[part]]) for part, plural in both.items()}
    prepend, strip = spaced(Text.opening)
    if parts["normalizer"][0] != prepend or parts["decoder"][-1] != strip:
        return Document, dict(state)
    left = {"normalizer": parts["normalizer"][1:], "decoder": parts["decoder"][:-1]}
    return Text, {**state, **{part: {"type": "Sequence", both[part]: some} if some else None
                              for part, some in left.items()}}


def _faithful(text: Text, folder: Path, end: str) -> None:
    """Raise ValueError unless texts come back as they were, whole and in pieces, and none spells the end."""
    what = f"{folder / TOKENIZER}: likewise takes BPE over bytes alone, and with this tokenizer"
    for sample in SAMPLES:
        ids, whole = text.ids(sample).tolist(), text.opening + sample
        pieces = "".join(text.letters([i]) for i in ids)
        if text.letters(ids) != whole or (sample.isascii() and pieces != whole):
            raise ValueError(f"{what} {whole!r} comes back as {text.letters(ids)!r}, in pieces {pieces!r}")
    if 0 in text.ids(end):
        raise ValueError(f"{what} a text can spell the end, {end!r}")


def _json(path: Path) -> dict[str, Any]:
    """A file of JSON. Raises RunError."""
    if not path.exists():
        raise RunError(f"{path.parent} has no {path.name}; it is no folder that transformers has saved a "
                       "model and its tokenizer in")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); copy it again") from error

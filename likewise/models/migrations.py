"""Migrations of run folders: what each format changed, so that runs of all earlier formats can be read.

A migration takes the JSON state of a file (model.json, chain.json or the state of resume.safetensors) and the
weights that belong to it, by name, and returns both in the next format. In resume.safetensors the names have the
prefixes "raw." and "ema."; where only the state is read, there are no weights. Names that are new already
stay as they are: a process that is killed while it saves may leave new weights beside an old model.json.

To change the format, add a function and its entry in MIGRATIONS. Entries are never removed or edited.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from likewise.core.formula import Formula, View

State = dict[str, Any]
Weights = dict[str, Tensor]
Migration = Callable[[State, Weights], tuple[State, Weights]]

# ---- 1 to 2: options, fields of the plan and modules have the names that the literature gives them

# family -> old name -> new name
OPTIONS_2: dict[str, dict[str, str]] = {
    "autoencoder": {
        "coarse": "max_grid",
        "floats": "code_dim",
        "codebook": "codebook_size",
        "books": "num_codebooks",
        "settle": "freeze_codes_at",
    },
    "autoregressive": {
        "coarse": "max_grid",
        "codebook": "codebook_size",
        "settle": "freeze_codes_at",
        "floor": "min_std",
        "grams": "hashed_ngrams",
        "hidden": "mlp_width",
        "base": "rope_theta",
        "eps": "norm_eps",
        "tied": "tie_embeddings",
    },
    "contrastive": {"coarse": "max_grid", "floats": "embed_dim"},
    "gan": {"latent": "latent_dim", "penalised": "penalty_fraction"},
    "mixture": {"floor": "min_std", "shrink": "shrinkage", "count": "pseudocount"},
    "vae": {"coarse": "max_grid", "latent": "latent_dim"},
}
PLAN_2 = {  # field of the training plan: old name -> new name
    "muon": "muon_lr",
    "decay": "cooldown",
    "ema": "ema_sigma",
    "drop": "source_dropout",
    "save": "save_seconds",
}

# Family -> regular expression -> replacement, in the names of weights without "raw." and "ema."
CODEC_2 = {
    r"bottleneck\.code$": "bottleneck.codebooks",
    r"bottleneck\.turn$": "bottleneck.projection",
    r"likelihood\.spread$": "likelihood.raw_log_var",
}
WEIGHTS_2: dict[str, dict[str, str]] = {
    "autoencoder": CODEC_2,
    "autoregressive": {
        r"^coders\.": "codecs.",
        r"^embeds\.(\d+)\.enter\.": r"embeddings.\1.linear.",
        r"^embeds\.(\d+)\.marks$": r"embeddings.\1.sentinels",
        r"^embeds\.": "embeddings.",
        r"^grams\.": "hashed_ngrams.",
        r"^causal\.place$": "causal.position_embedding",
        r"^causal\.beyond$": "causal.extra_position_embedding",
        r"^causal\.last\.": "causal.output_norm.",
        r"^(causal\.blocks\.\d+)\.before\.": r"\1.attention_norm.",
        r"^(causal\.blocks\.\d+)\.between\.": r"\1.mlp_norm.",
        **CODEC_2,
    },
    "gan": {
        r"^critic\.views\.": "critic.encoders.",
        r"^generator\.place\.": "generator.latent_tokens.",
        r"^generator\.style\.": "generator.latent_condition.",
    },
    "mixture": {
        r"^factor$": "loadings",
        r"^log_floor$": "log_min_std",
        r"^log_unit$": "log_scale",
        r"^tables\.": "class_logits.",
    },
    "vae": {
        r"^part\.": "partial_posterior_head.",
        r"^prior\.both$": "prior.component_params",
        r"^pseudo\.": "pseudo_inputs.",
        r"^up\.": "latent_proj.",
        r"^whole\.": "posterior_head.",
        **CODEC_2,
    },
}

NETS_2 = {  # of every family, after those above
    r"(^|\.)reader\.": r"\1context_encoder.",
    r"\.told\.": ".extra_conditions.",
    r"\.inside\.": ".proj_in.",
    r"\.outside\.": ".proj_out.",
    r"\.enter\.": ".conv_in.",
    r"\.leave\.": ".conv_out.",
}


def upgrade_1_to_2(state: State, weights: Weights) -> tuple[State, Weights]:
    """Format 1 to 2: renamed options, fields of the plan and modules."""
    family = state.get("family", "")  # a pipeline has none
    state = dict(state)
    for key, names in (("options", OPTIONS_2.get(family, {})), ("plan", PLAN_2)):
        if key in state:
            state[key] = {names.get(name, name): value for name, value in state[key].items()}
    return state, rename_weights(weights, {**WEIGHTS_2.get(family, {}), **NETS_2})


def rename_weights(weights: Weights, patterns: Mapping[str, str]) -> Weights:
    """The weights with every pattern replaced in their names, in order."""
    renamed = {}
    for name, value in weights.items():
        prefix = name[:4] if name.startswith(("raw.", "ema.")) else ""
        name = name.removeprefix(prefix)
        for pattern, replacement in patterns.items():
            name = re.sub(pattern, replacement, name)
        renamed[prefix + name] = value
    return renamed


# ---- 2 to 3: a column of a table may have any name, so views of columns have no place among the arguments of a table


def upgrade_2_to_3(state: State, weights: Weights) -> tuple[State, Weights]:
    """Format 2 to 3: the columns in `data` are those of the table, and no views of them; near copies of rows were held
    out apart from them."""
    data = state.get("data") or {}
    if not data:
        return state, weights
    columns = data.get("columns") and list(dict.fromkeys(View.parse(name).column for name in data["columns"]))
    return {**state, "data": {**data, "columns": columns, "near_copies": False}}, weights


# ---- 3 to 4: the default guidance is that of the run's targets, and stored; columns of one token are packed

GUIDANCE_4 = {
    "flow": 2.0,
    "diffusion": 3.0,
    "autoencoder": 1.5,
}  # family -> its default of every target before
PACKED_4 = {"autoregressive", "flow", "diffusion", "gan", "vae"}  # families with the option pack_columns


def upgrade_3_to_4(state: State, weights: Weights) -> tuple[State, Weights]:
    """Format 3 to 4: the default guidance of each target is stored, and whether columns are packed: not before."""
    family = state.get("family")
    if family in GUIDANCE_4 and "formula" in state:
        targets = Formula.parse(state["formula"]).target_names
        state = {**state, "default_guidance": dict.fromkeys(targets, GUIDANCE_4[family])}
    if family in PACKED_4 and "options" in state:
        state = {**state, "options": {"pack_columns": False, **state["options"]}}
    return state, weights


# ---- 4 to 5: numbers are ranks; those before, on a linear scale, are a kind of their own

KINDS_5 = {"number": "linear"}


def upgrade_4_to_5(state: State, weights: Weights) -> tuple[State, Weights]:
    """Format 4 to 5: columns of the kind number are of the kind linear, and are read from the table as such."""
    columns, data = state.get("columns") or {}, state.get("data") or {}
    renamed = {
        name: KINDS_5[column["kind"]] for name, column in columns.items() if column.get("kind") in KINDS_5
    }
    if not renamed:
        return state, weights
    columns = {n: {**c, "kind": renamed[n]} if n in renamed else c for n, c in columns.items()}
    if data:
        kinds = {Formula.parse(state["formula"]).view(n).column: kind for n, kind in renamed.items()}
        data = {**data, "kinds": {**data.get("kinds", {}), **kinds}}
    return {**state, "columns": columns, **({"data": data} if data else {})}, weights


# format -> the function that leads to the next one
MIGRATIONS: dict[int, Migration] = {
    1: upgrade_1_to_2,
    2: upgrade_2_to_3,
    3: upgrade_3_to_4,
    4: upgrade_4_to_5,
}
FORMAT = max(MIGRATIONS) + 1  # of what is written


def migrate(state: State, weights: Weights | None = None) -> tuple[State, Weights]:
    """State and weights in the present format, by all migrations from state["format"] on, in turn."""
    weights = weights or {}
    while (version := state["format"]) in MIGRATIONS:
        state, weights = MIGRATIONS[version](state, weights)
        state = {**state, "format": version + 1}
    return state, weights

"""The architectures of transformers by name, the option `compat`, and what they do not support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from likewise.core.spec import Spec
from likewise.nets.compat.base import EPS, CompatBackbone
from likewise.nets.compat.gpt2 import GPT2
from likewise.nets.compat.llama import ROPE_THETA, Llama

COMPAT: dict[str, type[CompatBackbone]] = {cls.name_map.model_type: cls for cls in (Llama, GPT2)}
COMPAT_OPTIONS = {  # option that only they have -> default
    "heads": None,
    "mlp_width": None,
    "rope_theta": ROPE_THETA,
    "norm_eps": EPS,
    "tie_embeddings": None,
}


def build(compat: str, spec: Spec, width: int, depth: int, options: Mapping[str, Any]) -> CompatBackbone:
    """The backbone of this name, with those of the options that it has."""
    cls = COMPAT[compat]
    return cls(spec, width, depth, **{name: v for name, v in options.items() if name in cls.name_map.fields})


def why_unsupported(
    targets: Mapping[str, Spec], sources: Mapping[str, Spec], compat: str, options: Mapping[str, Any]
) -> str | None:
    """Why a model cannot have this backbone, or these options without it; None if it can."""
    fields = COMPAT[compat].name_map.fields if compat in COMPAT else ()
    for name, default in COMPAT_OPTIONS.items():
        if options[name] != default and name not in fields:
            owners = " or ".join(kind for kind, cls in COMPAT.items() if name in cls.name_map.fields)
            return f"{name}={options[name]} is an option of compat={owners}; leave it out"
    if compat not in COMPAT:
        return None
    if sources or [s.padded and s.categorical for s in targets.values()] != [True]:
        return (
            f"compat={compat} supports one text or document as the only target, without sources, not "
            f"{', '.join(targets)}{' | ' if sources else ''}{', '.join(sources)}"
        )
    if options["infill"]:
        return f"compat={compat} conditions on preceding tokens only; leave infill out"
    if options["hashed_ngrams"]:
        return f"compat={compat} has no embeddings of n-grams; leave hashed_ngrams out"
    if options["fim"]:
        return f"compat={compat} has no sentinel tokens; leave fim out"
    return None

"""The trunks that transformers has too, by name (the option `compat`), and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from likewise.core.spec import Spec
from likewise.nets.compat.base import EPS, CompatBackbone
from likewise.nets.compat.gpt2 import GPT2
from likewise.nets.compat.llama import BASE, Llama

COMPAT: dict[str, type[CompatBackbone]] = {trunk.name_map.kind: trunk for trunk in (Llama, GPT2)}
COMPAT_OPTIONS = {
    "heads": None,
    "mlp_width": None,
    "rope_theta": BASE,
    "norm_eps": EPS,
    "tie_embeddings": None,
}  # options of trunks alone


def build(compat: str, spec: Spec, width: int, depth: int, options: Mapping[str, Any]) -> CompatBackbone:
    """The trunk of this name, with those of the options that it has."""
    cls = COMPAT[compat]
    return cls(spec, width, depth, **{name: v for name, v in options.items() if name in cls.name_map.fields})


def why_unsupported(
    targets: Mapping[str, Spec], sources: Mapping[str, Spec], compat: str, options: Mapping[str, Any]
) -> str | None:
    """Why a model cannot have this trunk, or options of it without it; None if all is well."""
    has = COMPAT[compat].name_map.fields if compat in COMPAT else ()
    for name, default in COMPAT_OPTIONS.items():
        if options[name] != default and name not in has:
            those = " or ".join(kind for kind, trunk in COMPAT.items() if name in trunk.name_map.fields)
            return f"{name}={options[name]} is an option of compat={those}; leave it out"
    if compat not in COMPAT:
        return None
    if sources or [s.padded and s.categorical for s in targets.values()] != [True]:
        return (
            f"compat={compat} is for one target that is a text or a document, and no sources, not for "
            f"{', '.join(targets)}{' | ' if sources else ''}{', '.join(sources)}"
        )
    if options["infill"]:
        return f"compat={compat} reads nothing but what stands before a place; leave infill out"
    if options["hashed_ngrams"]:
        return f"compat={compat} looks up nothing beside the ids; leave hashed_ngrams out"
    if options["fim"]:
        return f"compat={compat} has no marks beside the ids; leave fim out"
    return None

"""Sampling options that have no effect in some requests, so that whoever gives one is told: no option is ignored silently.

A family lists its rules as `idle_rules`, and `idle_options` applies them; to add one, write an IdleRule here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.core.spec import Spec
from likewise.generation.denoising.denoiser import FEW
from likewise.nets.continuous import CODE_DIM


@dataclass(frozen=True)
class Request:
    """What decides whether an option has an effect.

    options   all sampling options, those that are not given at their defaults
    targets   of the model
    given     whether any row has a source, or negative sources are given
    known     whether parts of the targets are known
    negative  whether negative sources are given
    prompt, suffix  whether the beginning, and the end, of a text is given
    """

    options: Mapping[str, Any]
    targets: Mapping[str, Spec]
    given: bool
    known: bool
    negative: bool = False
    prompt: bool = False
    suffix: bool = False

    @property
    def unguided(self) -> bool:
        """Whether the guidance of every target is 1."""
        scale = self.options["guidance"]
        return set(scale.values() if isinstance(scale, Mapping) else [scale]) == {1}

    def numbers(self) -> int:
        """The numbers of a row as a denoiser sees it: an id is a code of several."""
        return sum(s.tokens * (min(s.classes, CODE_DIM) or s.width) for s in self.targets.values())


@dataclass(frozen=True)
class IdleRule:
    """Options that have no effect where `holds`, and why: "... has no effect: <reason>"."""

    names: tuple[str, ...]
    holds: Callable[[Request], bool]
    reason: str


GUIDANCE = ("guidance", "guidance_from", "guidance_to", "zero_star")

GUIDED = (
    IdleRule(GUIDANCE, lambda r: not r.given, "no source is given"),
    IdleRule(GUIDANCE[1:], lambda r: r.unguided, "guidance is 1, which guides nothing"),
    IdleRule(
        GUIDANCE[1:],
        lambda r: r.options["sampler"] == "jump",
        "the sampler jump is guided as it was trained to be",
    ),
    IdleRule(("eta",), lambda r: r.options["sampler"] != "stochastic", "it is of the sampler stochastic"),
)
DENOISING = (
    *GUIDED,
    IdleRule(("zero_star",), lambda r: r.numbers() <= FEW, f"it applies to rows of more than {FEW} numbers"),
)

AUTOREGRESSIVE = (
    IdleRule(
        ("guidance", "top_p", "min_p"),
        lambda r: not any(s.categorical or s.tokens > 1 for s in r.targets.values()),
        "every target is a number, and it is for ids",
    ),
    IdleRule(("guidance",), lambda r: not r.given, "no source is given"),
    IdleRule(
        ("presence", "frequency"),
        lambda r: not any(s.padded for s in r.targets.values()),
        "no target is a text",
    ),
    IdleRule(
        ("top_p", "min_p"),
        lambda r: r.options["temperature"] == 0,
        "temperature 0 takes the most likely token",
    ),
)

SINGLE_TOKENS = IdleRule(
    ("noise",),
    lambda r: all(s.tokens == 1 for s in r.targets.values()),
    "columns of one token are sampled always",
)
LATENT_VECTOR = (
    SINGLE_TOKENS,
    IdleRule(("candidates",), lambda r: not r.known, "nothing is known"),
)
MIXTURE = (
    IdleRule(
        ("temperature", "noise"),
        lambda r: all(s.categorical for s in r.targets.values()),
        "no target is a number, and it is for numbers",
    ),
)
TREES = (
    IdleRule(("particles",), lambda r: not (r.given or r.known), "nothing is known"),
    IdleRule(("precision",), lambda r: r.options["precision"] == "bfloat16", "trees compute in float32"),
)


def idle_options(rules: Sequence[IdleRule], given: Mapping[str, Any], request: Request) -> dict[str, str]:
    """Those of the options that were given which have no effect, each with the reason.

    Guidance 1 asks for no effect, so it is none of them.
    """
    asked = {n: v for n, v in given.items() if not (n == "guidance" and v == 1)}
    return {
        name: rule.reason
        for rule in reversed(rules)
        for name in rule.names
        if name in asked and rule.holds(request)
    }

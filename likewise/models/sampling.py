"""Draws: rows with their targets drawn by a family, and what leads a draw beside its sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from likewise.core.rng import Rng
from likewise.core.signatures import keyword_parameters, validate_options
from likewise.families.base import Family
from likewise.families.registry import FAMILIES, family_class, sampling_family_class
from likewise.generation.controls import SAMPLING_CONTROLS, Init, InterpolateTo
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.base import Row
from likewise.modalities.text import Text
from likewise.models.processor import RowProcessor
from likewise.models.text_prompt import TextPrompt, TextPrompts
from likewise.models.text_stream import stream_text


class Sampler:
    """Draws that are all led alike: what is known, negative or a start is so in every row.

    Its arguments and those of its methods are as Model has them.
    """

    def __init__(
        self,
        family: Family,
        name: str,
        tokens: RowProcessor,
        knobs: Mapping[str, Any],
        *,
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        start: tuple[Row, float] | None = None,
    ) -> None:
        """`name` is that of the family. Raises ValueError if it does not draw, or lacks a knob."""
        sampling_family_class(name)
        self.knobs = validate_options(knobs, type(family).knobs(), f"knob of the family {name}")
        how = {n: self.knobs.pop(n) for n in keyword_parameters(family.working) if n in self.knobs}
        self.family, self.name, self.tokens = family.working(**how), name, tokens
        self.known, self.negative, self.start = known or {}, negative, start

    def sample(
        self,
        rows: Sequence[Row],
        seed: int,
        indices: Sequence[int],
        prompts: Sequence[TextPrompt] | None,
        stop: Sequence[str],
        constraint: Mapping[str, Constraint],
        batch: int,
    ) -> list[Row]:
        """See Model.sample."""
        if constraint and (prompts is not None or stop or self.knobs.get("tokens")):
            raise ValueError(
                "a constraint holds from a text's beginning to its end; leave prompts, stop and tokens out"
            )
        if prompts is not None and (isinstance(prompts, str) or len(prompts) != len(rows)):
            raise ValueError(f"prompts are a list, one for each of the {len(rows)} rows")
        bound = self._bound(constraint) if constraint else {}
        drawn: list[Row] = []
        for first in range(0, len(rows), batch):
            some = slice(first, first + batch)
            rng = Rng(indices[some], "sample", seed, device=self.tokens.device)
            if prompts is None and not stop:
                drawn += self._drawn(rows[some], rng, bound)
                continue
            writing = self._writing(None if prompts is None else prompts[some], stop)
            found = self._drawn(rows[some], rng, writing.leads)
            drawn += [
                {**row, writing.name: writing.written(row[writing.name], k)} for k, row in enumerate(found)
            ]
        return drawn

    def stream(self, sources: Row, prompt: TextPrompt, stop: Sequence[str], seed: int) -> Iterator[str]:
        """See Model.stream."""
        writing, rng = self._writing([prompt], stop), Rng([0], "sample", seed, device=self.tokens.device)
        return stream_text(
            writing, lambda watch: self._drawn([sources], rng, {**writing.leads, "watch": watch})
        )

    def between(self, firsts: Sequence[Row], lasts: Sequence[Row], seeds: tuple[int, int]) -> list[Row]:
        """See Model.between."""
        n, device = len(firsts), self.tokens.device
        if n < 2:
            raise ValueError(f"an interpolation has two ends, so at least 2 steps, not {n}")
        share, leads = torch.linspace(0, 1, n, dtype=torch.float64), {}
        if any(map(_differ, firsts, lasts)):
            self._can("toward")
            leads["toward"] = InterpolateTo(self.tokens.context(lasts), share.float()[:, None].to(device))
        ends = (Rng([0] * n, "sample", seed, device=device) for seed in seeds)
        return self._drawn(firsts, Rng.between(*ends, share), leads)

    @torch.no_grad()
    def _drawn(self, rows: Sequence[Row], rng: Rng, leads: Mapping[str, Any]) -> list[Row]:
        """The rows with their targets drawn, all at once."""
        c, known = self.tokens.context(rows), self.tokens.known(self.known, len(rows))
        leads = {**self._leads(len(rows)), **leads}
        drawn = self.family.sample(c, known=known, rng=rng, **leads, **self.knobs)
        return self.tokens.decoded(rows, drawn, self.known)

    # ---- leads

    def _can(self, lead: str) -> None:
        """Raise ValueError unless the family's draws can be led so."""
        if lead not in type(self.family).leads():
            able = [name for name in FAMILIES if lead in family_class(name).leads()]
            raise ValueError(
                f"the family {self.name} cannot {SAMPLING_CONTROLS[lead]}; those that can: {', '.join(able)}"
            )

    def _leads(self, rows: int) -> dict[str, Any]:
        """The negative and the start, for so many rows."""
        leads: dict[str, Any] = {}
        if self.negative is not None:
            self._can("against")
            leads["against"] = self.tokens.context([self.tokens.asked(self.negative)] * rows)
        if self.start is not None:
            self._can("start")
            row, strength = self.start
            whole = {n: v for n, v in self.known.items() if not isinstance(v, tuple)}
            begun = self.tokens.known({**whole, **row}, rows)
            lacks = [n for n in self.tokens.formula.learned if begun is None or n not in begun.values]
            if lacks:
                raise ValueError(
                    f"a start needs a value of every target that is not known; {lacks[0]!r} has none"
                )
            leads["start"] = Init(begun.values, strength)
        return leads

    def _writing(self, prompts: Sequence[TextPrompt] | None, stop: Sequence[str]) -> TextPrompts:
        """What is written of the one target, a text."""
        self._can("prompt")
        made = {name: self.tokens.columns[name] for name in self.tokens.formula.learned}
        return TextPrompts(made, prompts, stop, heal=not self.known)

    def _bound(self, constraint: Mapping[str, Constraint]) -> dict[str, Any]:
        """The lead of that name, for the ids of the targets."""
        self._can("constraint")
        bound = {}
        for name, given in constraint.items():
            column = self.tokens.target(name)
            if not isinstance(column, Text):
                raise ValueError(f"{name} is drawn as {column.kind}, and a constraint is for a text")
            if name in self.known:
                raise ValueError(f"{name} is known and constrained; leave out one of the two")
            try:
                bound[name] = given.bind(column.pieces, column.length, column.opening.encode())
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return {"constraint": bound}


def _differ(a: Row, b: Row) -> bool:
    """Whether two rows give other sources; a vector is compared number by number."""
    return a.keys() != b.keys() or any(
        not np.array_equal(a[n], b[n]) if isinstance(a[n], np.ndarray) else a[n] != b[n] for n in a
    )

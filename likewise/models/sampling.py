"""Draws: rows with their targets drawn by a family, and what controls a draw beside its sources."""

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
    """Draws that are all led alike: what is known, negative or an init is so in every row.

    Its arguments and those of its methods are as Model has them.
    """

    def __init__(
        self,
        family: Family,
        name: str,
        tokens: RowProcessor,
        sampling_options: Mapping[str, Any],
        *,
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        init: tuple[Row, float] | None = None,
    ) -> None:
        """`name` is that of the family. Raises ValueError if it does not draw, or lacks a knob."""
        sampling_family_class(name)
        self.sampling_options = validate_options(
            sampling_options, type(family).sampling_options(), f"sampling option of the family {name}"
        )
        how = {
            n: self.sampling_options.pop(n)
            for n in keyword_parameters(family.compute_copy)
            if n in self.sampling_options
        }
        self.family, self.name, self.processor = family.compute_copy(**how), name, tokens
        self.known, self.negative, self.init = known or {}, negative, init

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
        if constraint and (prompts is not None or stop or self.sampling_options.get("tokens")):
            raise ValueError(
                "a constraint holds from a text's beginning to its end; leave prompts, stop and tokens out"
            )
        if prompts is not None and (isinstance(prompts, str) or len(prompts) != len(rows)):
            raise ValueError(f"prompts are a list, one for each of the {len(rows)} rows")
        bound = self._bound(constraint) if constraint else {}
        drawn: list[Row] = []
        for first in range(0, len(rows), batch):
            some = slice(first, first + batch)
            rng = Rng(indices[some], "sample", seed, device=self.processor.device)
            if prompts is None and not stop:
                drawn += self._drawn(rows[some], rng, bound)
                continue
            writing = self._writing(None if prompts is None else prompts[some], stop)
            found = self._drawn(rows[some], rng, writing.controls)
            drawn += [
                {**row, writing.name: writing.truncate_at_stop(row[writing.name], k)}
                for k, row in enumerate(found)
            ]
        return drawn

    def stream(self, sources: Row, prompt: TextPrompt, stop: Sequence[str], seed: int) -> Iterator[str]:
        """See Model.stream."""
        writing, rng = self._writing([prompt], stop), Rng([0], "sample", seed, device=self.processor.device)
        return stream_text(
            writing, lambda stop_fn: self._drawn([sources], rng, {**writing.controls, "stop_fn": stop_fn})
        )

    def interpolate_rows(
        self, firsts: Sequence[Row], lasts: Sequence[Row], seeds: tuple[int, int]
    ) -> list[Row]:
        """See Model.between."""
        n, device = len(firsts), self.processor.device
        if n < 2:
            raise ValueError(f"an interpolation has two ends, so at least 2 steps, not {n}")
        share, controls = torch.linspace(0, 1, n, dtype=torch.float64), {}
        if any(map(_differ, firsts, lasts)):
            self._require("interpolate_to")
            controls["interpolate_to"] = InterpolateTo(
                self.processor.context(lasts), share.float()[:, None].to(device)
            )
        ends = (Rng([0] * n, "sample", seed, device=device) for seed in seeds)
        return self._drawn(firsts, Rng.slerp(*ends, share), controls)

    @torch.no_grad()
    def _drawn(self, rows: Sequence[Row], rng: Rng, controls: Mapping[str, Any]) -> list[Row]:
        """The rows with their targets drawn, all at once."""
        c, known = self.processor.context(rows), self.processor.known(self.known, len(rows))
        controls = {**self._controls(len(rows)), **controls}
        drawn = self.family.sample(c, known=known, rng=rng, **controls, **self.sampling_options)
        return self.processor.decode_rows(rows, drawn, self.known)

    # ---- controls

    def _require(self, lead: str) -> None:
        """Raise ValueError unless the family's draws can be led so."""
        if lead not in type(self.family).sampling_controls():
            able = [name for name in FAMILIES if lead in family_class(name).sampling_controls()]
            raise ValueError(
                f"the family {self.name} cannot {SAMPLING_CONTROLS[lead]}; those that can: {', '.join(able)}"
            )

    def _controls(self, rows: int) -> dict[str, Any]:
        """The negative and the init, for so many rows."""
        controls: dict[str, Any] = {}
        if self.negative is not None:
            self._require("negative")
            controls["negative"] = self.processor.context(
                [self.processor.validate_sources(self.negative)] * rows
            )
        if self.init is not None:
            self._require("init")
            row, strength = self.init
            whole = {n: v for n, v in self.known.items() if not isinstance(v, tuple)}
            begun = self.processor.known({**whole, **row}, rows)
            lacks = [n for n in self.processor.formula.target_names if begun is None or n not in begun.values]
            if lacks:
                raise ValueError(
                    f"init needs a value of every target that is not known; {lacks[0]!r} has none"
                )
            controls["init"] = Init(begun.values, strength)
        return controls

    def _writing(self, prompts: Sequence[TextPrompt] | None, stop: Sequence[str]) -> TextPrompts:
        """What is written of the one target, a text."""
        self._require("prompt")
        made = {name: self.processor.columns[name] for name in self.processor.formula.target_names}
        return TextPrompts(made, prompts, stop, heal=not self.known)

    def _bound(self, constraint: Mapping[str, Constraint]) -> dict[str, Any]:
        """The lead of that name, for the ids of the targets."""
        self._require("constraint")
        bound = {}
        for name, given in constraint.items():
            column = self.processor.target(name)
            if not isinstance(column, Text):
                raise ValueError(f"{name} is drawn as {column.kind}, and a constraint is for a text")
            if name in self.known:
                raise ValueError(f"{name} is known and constrained; leave out one of the two")
            try:
                bound[name] = given.bind(column.vocabulary.token_bytes, column.length, column.prefix.encode())
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return {"constraint": bound}


def _differ(a: Row, b: Row) -> bool:
    """Whether two rows give other sources; a vector is compared number by number."""
    return a.keys() != b.keys() or any(
        not np.array_equal(a[n], b[n]) if isinstance(a[n], np.ndarray) else a[n] != b[n] for n in a
    )

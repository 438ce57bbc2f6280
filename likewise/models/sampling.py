"""Sampling of rows by a family, and the controls of samples beside their sources."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from likewise.core.errors import RequestWarning
from likewise.core.known import KnownParts
from likewise.core.options import validate_options
from likewise.core.rng import Rng
from likewise.core.signatures import keyword_parameters
from likewise.families.base import Family
from likewise.families.capabilities import CanSample
from likewise.families.registry import FAMILIES, family_class, sampling_family_class
from likewise.generation.controls import SAMPLING_CONTROLS, Init, InterpolateTo
from likewise.generation.idle import Request, idle_options
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.base import Row
from likewise.modalities.text import Text
from likewise.models.processor import RowProcessor
from likewise.models.text_prompt import TextPrompt, TextPrompts
from likewise.models.text_stream import stream_text


class Sampler:
    """Samples a family with options and controls that are the same for every row.

    The parameters, and those of the methods, are as in `Model.sample`.
    """

    def __init__(
        self,
        family: Family,
        name: str,
        processor: RowProcessor,
        sampling_options: Mapping[str, Any],
        *,
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        init: tuple[Row, float] | None = None,
    ) -> None:
        """`name` is that of the family. Raises ValueError if it cannot be sampled, or for an unknown option."""
        sampling_family_class(name)
        self.sampling_options = validate_options(
            sampling_options, type(family).sampling_options(), f"sampling option of the family {name}"
        )
        self.warned = False
        compute_options = {
            n: self.sampling_options.pop(n)
            for n in keyword_parameters(family.compute_copy)
            if n in self.sampling_options
        }
        self.family, self.name, self.processor = family.compute_copy(**compute_options), name, processor
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
        """See `Model.sample`."""
        if constraint and (prompts is not None or stop or self.sampling_options.get("tokens")):
            raise ValueError(
                "a constraint holds from a text's beginning to its end; leave prompts, stop and tokens out"
            )
        if prompts is not None and (isinstance(prompts, str) or len(prompts) != len(rows)):
            raise ValueError(f"prompts are a list, one for each of the {len(rows)} rows")
        for name in constraint:
            if name in self.known or any(row.get(name) is not None for row in rows):
                raise ValueError(f"{name} is known and constrained; leave out one of the two")
        controls = self._constraint_controls(constraint) if constraint else {}
        rows, samples = self.processor.truncate_sources(rows), []
        for start in range(0, len(rows), batch):
            part = slice(start, start + batch)
            rng = Rng(indices[part], "sample", seed, device=self.processor.device)
            if prompts is None and not stop:
                samples += self._sample_batch(rows[part], rng, controls)
                continue
            texts = self._text_prompts(None if prompts is None else prompts[part], stop)
            samples += [
                {**row, texts.name: texts.truncate_at_stop(row[texts.name], i)}
                for i, row in enumerate(self._sample_batch(rows[part], rng, texts.controls))
            ]
        return samples

    def stream(self, sources: Row, prompt: TextPrompt, stop: Sequence[str], seed: int) -> Iterator[str]:
        """See `Model.stream`."""
        rows, texts = self.processor.truncate_sources([sources]), self._text_prompts([prompt], stop)
        rng = Rng([0], "sample", seed, device=self.processor.device)
        return stream_text(
            texts, lambda stop_fn: self._sample_batch(rows, rng, {**texts.controls, "stop_fn": stop_fn})
        )

    def interpolate_rows(
        self, first: Sequence[Row], last: Sequence[Row], seeds: tuple[int, int]
    ) -> list[Row]:
        """See `Model.interpolate_rows`."""
        n, device = len(first), self.processor.device
        if n < 2:
            raise ValueError(f"an interpolation has two ends, so at least 2 steps, not {n}")
        first, last = self.processor.truncate_sources(first), self.processor.truncate_sources(last)
        for name in self.processor.formula.target_names:
            if any(_differ(a, b, [name]) for a, b in zip(first, last, strict=True)):
                raise ValueError(
                    f"{name} is a target, and an interpolation is between sources; give it one value"
                )
        weight, controls = torch.linspace(0, 1, n, dtype=torch.float64), {}
        sources = self.processor.formula.source_names
        if any(_differ(a, b, sources) for a, b in zip(first, last, strict=True)):
            self._require("interpolate_to")
            controls["interpolate_to"] = InterpolateTo(
                self.processor.context(last), weight.float()[:, None].to(device)
            )
        a, b = (Rng([0] * n, "sample", seed, device=device) for seed in seeds)
        return self._sample_batch(first, Rng.slerp(a, b, weight), controls)

    @torch.no_grad()
    def _sample_batch(self, rows: Sequence[Row], rng: Rng, controls: Mapping[str, Any]) -> list[Row]:
        """Sample the targets of all rows at once."""
        assert isinstance(self.family, CanSample)  # __init__ has checked its class
        c, known = self.processor.context(rows), self.processor.known(self.known, rows)
        self._warn_of_idle_options(rows, known is not None)
        controls = {**self._row_controls(len(rows), known), **controls}
        samples = self.family.sample(c, known=known, rng=rng, **controls, **self.sampling_options)
        self._warn_of_known(known)
        decoded = self.processor.decode_rows(rows, samples, self.known)
        return decoded if self.init is None else self._restore_residuals(decoded, *self.init)

    def _warn_of_idle_options(self, rows: Sequence[Row], known: bool) -> None:
        """Warn once of options that were given and have no effect on these rows."""
        if self.warned:
            return
        self.warned = True
        names = self.processor.formula.source_names
        given = bool(self.negative) or any(row.get(n) is not None for row in rows for n in names)
        options = {n: p.default for n, p in self.family.sampling_defaults().items()} | self.sampling_options
        request = Request(options, self.family.targets, given, known)
        for name, reason in idle_options(self.family.idle_rules, self.sampling_options, request).items():
            warnings.warn(f"{name} has no effect: {reason}", RequestWarning, stacklevel=1)

    def _restore_residuals(self, rows: Sequence[Row], start: Row, strength: float) -> list[Row]:
        """The variations of the values in `start`, each with what its tokens cannot represent; see Modality."""
        noise = Init({}, strength).noise
        columns = {n: c for n, c in self.processor.target_columns.items() if n in start}
        if math.isinf(noise):  # from scratch
            return list(rows)
        values = {
            n: c.restore_residual([row[n] for row in rows], start[n], noise) for n, c in columns.items()
        }
        return [row | {n: values[n][i] for n in values} for i, row in enumerate(rows)]

    def _warn_of_known(self, known: KnownParts | None) -> None:
        """Report rows without an unknown target, and a model that has not learned to sample what is unknown given these."""
        if known is None:
            return
        names = self.processor.formula.target_names
        if known.masks.keys() >= set(names):
            whole = torch.stack([known.masks[name].all(1) for name in names]).all(0)
            if whole.any():
                warnings.warn(
                    f"every target of {int(whole.sum())} of {len(whole)} rows is known, so nothing is sampled in them",
                    RequestWarning,
                    stacklevel=2,
                )
            if whole.all():
                return
        if self.family.infill == 0:
            warnings.warn(
                "this model was trained without known parts (infill 0): what is known is kept, and the rest is not, or "
                "only loosely, sampled given it; train one with infill, such as --infill 0.5",
                RequestWarning,
                stacklevel=2,
            )

    # ---- controls

    def _require(self, control: str) -> None:
        """Raise ValueError unless the family supports a control."""
        if control not in type(self.family).sampling_controls():
            able = [name for name in FAMILIES if control in family_class(name).sampling_controls()]
            raise ValueError(
                f"the family {self.name} cannot {SAMPLING_CONTROLS[control]}; those that can: {', '.join(able)}"
            )

    def _row_controls(self, rows: int, known: KnownParts | None) -> dict[str, Any]:
        """The controls `negative` and `init`, for so many rows, of which this is known."""
        controls: dict[str, Any] = {}
        if self.negative is not None:
            self._require("negative")
            negative = self.processor.validate_sources(self.negative)
            controls["negative"] = self.processor.context([negative] * rows)
        if self.init is not None:
            self._require("init")
            row, strength = self.init
            start = self.processor.known(row, [{}] * rows)
            values = {} if start is None else start.values
            if known is not None:
                values = {n: v for n, v in known.values.items() if known.masks[n].all()} | values
            for name in self.processor.formula.target_names:
                if name not in values:
                    raise ValueError(
                        f"init needs a value of every target that is not known; {name!r} has none"
                    )
            controls["init"] = Init(values, strength)
        return controls

    def _text_prompts(self, prompts: Sequence[TextPrompt] | None, stop: Sequence[str]) -> TextPrompts:
        """The prompts and stop strings of the one target, a text."""
        self._require("prompt")
        return TextPrompts(self.processor.target_columns, prompts, stop, heal=not self.known)

    def _constraint_controls(self, constraint: Mapping[str, Constraint]) -> dict[str, Any]:
        """The control `constraint`, for the ids of the targets."""
        self._require("constraint")
        token_constraints = {}
        for name, texts in constraint.items():
            column = self.processor.target(name)
            if not isinstance(column, Text):
                raise ValueError(
                    f"{name} is a column of the kind {column.kind}, and a constraint is for a text"
                )
            try:
                token_constraints[name] = texts.bind(
                    column.vocabulary.token_bytes, column.length, column.prefix.encode()
                )
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return {"constraint": token_constraints}


def _differ(a: Row, b: Row, names: Sequence[str]) -> bool:
    """Whether two rows have different values of these columns; vectors are compared by their numbers."""
    return not all(_equal(a.get(n), b.get(n)) for n in names)


def _equal(x: Any, y: Any) -> bool:
    return bool(np.array_equal(x, y) if isinstance(x, np.ndarray) or isinstance(y, np.ndarray) else x == y)

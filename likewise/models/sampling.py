"""Sampling of requests by a family: their checks, and batches of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from likewise.core.errors import receive_warnings, warn
from likewise.core.known import KnownParts
from likewise.core.option_names import option_text
from likewise.core.options import RowValues, validate_options, validate_value
from likewise.core.ranges import Strength
from likewise.core.rng import Rng
from likewise.core.signatures import keyword_parameters
from likewise.data.structure import Presence
from likewise.families.base import Family
from likewise.families.capabilities import CanSample
from likewise.families.registry import FAMILIES, family_class, sampling_family_class
from likewise.generation.controls import SAMPLING_CONTROLS, DependentRange, Init, OnStep, Ranges, Step
from likewise.generation.idle import Request, idle_options
from likewise.modalities.base import Row
from likewise.modalities.conditions import Condition
from likewise.modalities.text import Text
from likewise.models.processor import RowProcessor
from likewise.models.running_batch import RunningBatch
from likewise.models.sample_request import OnProgress, SampleRequest
from likewise.models.text_prompt import TextPrompt, TextPrompts
from likewise.models.text_stream import stream_text
from likewise.nets.layers import MIN_ROWS


@dataclass(frozen=True)
class Sampler:
    """Samples requests by a family.

    family     of a model; name: that of it
    processor  of rows
    compute    options of `Family.compute_copy` -> the family that computes
    """

    family: Family
    name: str
    processor: RowProcessor
    compute: Callable[..., Family]

    def __post_init__(self) -> None:
        """Raises ValueError if the family cannot be sampled."""
        sampling_family_class(self.name)

    # ---- checks

    def key(self, request: SampleRequest, given: Collection[str] = ()) -> Hashable:
        """What requests of one batch share. Raises ValueError for what the family, or the request, does not support.

        given  sources that the request is to have, but has not yet
        """
        options = self._options(request)
        shared = self._defaults | options
        described = self._describe(request, options, given)
        for control in ("negative", "init", "constraint"):
            if getattr(request, control):
                self.require(control)
        if request.within:
            self.require("ranges")
        self._check_conditions(request)
        self._check_constraint(request, options)
        return (
            tuple(sorted((n, v) for n, v in shared.items() if n not in self.family.row_options)),
            self.family.batch_key(described),
            None if request.init is None else validate_value("strength", request.init[1], Strength),
            self._prompt_key(request),
            tuple(sorted(request.constraint.items(), key=lambda item: item[0])),
            tuple(sorted((name, c.excludes_missing_only) for name, c in request.within.items())),
        )

    def keys(self, requests: Sequence[SampleRequest]) -> list[Hashable]:
        """`key` of each request, computed once for those that share everything it depends on."""
        found: dict[Hashable, Hashable] = {}
        keys = []
        for request in requests:
            if request.prompt is not None or request.stop or request.constraint:
                keys.append(self.key(request))
                continue
            alike = self._alike(request)
            if alike not in found:
                found[alike] = self.key(request)
            elif request.within:
                self._check_conditions(request)
            keys.append(found[alike])
        return keys

    def _alike(self, request: SampleRequest) -> Hashable:
        """What `_describe` depends on, of a request without a prompt, of objects by their identity."""
        given = any(request.row.get(n) is not None for n in self._source_names)
        return (
            id(request.options),
            id(request.init),
            id(request.within),
            bool(request.negative),
            given,
            self._has_known(request),
        )

    @cached_property
    def _source_names(self) -> Sequence[str]:
        return self.processor.formula.source_names

    @cached_property
    def _target_names(self) -> Sequence[str]:
        return self.processor.formula.target_names

    def check_values(self, request: SampleRequest) -> None:
        """Raise ValueError for a value of a request that cannot be encoded, or read as it is."""
        processor, row = self.processor, request.row
        names = [*processor.formula.source_names, *processor.formula.target_names]
        for name in names:
            if row.get(name) is not None:
                processor.check(name, row[name])
        processor.known([request.known], [row])
        if request.negative:
            processor.validate_sources(request.negative)
        if request.init is not None:
            self._init([request], processor.known([request.known], [row]))
        if request.constraint:
            self._constraint_controls(request)

    def warn(self, requests: Sequence[SampleRequest], given: Collection[str] = ()) -> None:
        """Warn of what has no effect in any of the requests, and of what is read otherwise than given."""
        if not requests:
            return
        self.processor.truncate_sources([request.row for request in requests])
        self.processor.truncate_sources([request.negative for request in requests if request.negative])
        for message in dict.fromkeys(self._idle(requests, given)):
            warn(message)
        known = [r for r in requests if self._has_known(r)]
        whole = sum(self.processor.is_whole(r.known, r.row) for r in known)
        if whole:
            warn(f"every target of {whole} of {len(requests)} rows is known, so nothing is sampled in them")
        if len(known) > whole and self.family.infill == 0:
            warn(
                "this model was trained without known parts (infill 0): what is known is kept, and the rest is not, or "
                f"only loosely, sampled given it; train one with infill, such as {option_text('infill', 0.5)}"
            )

    def _idle(self, requests: Sequence[SampleRequest], given: Collection[str]) -> Iterator[str]:
        """The messages of options that have no effect in any request that has them."""
        effects: dict[str, list[str | None]] = {}
        for request in requests:
            if not request.options:
                continue
            options = self._options(request)
            described = self._describe(request, options, given)
            reasons = idle_options(self.family.idle_rules, options, described)
            for name in options:
                effects.setdefault(name, []).append(reasons.get(name))
        for name, reasons_of in effects.items():
            if reasons_of[0] is not None and None not in reasons_of:
                yield f"{name} has no effect: {reasons_of[0]}"

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return {n: p.default for n, p in self.family.sampling_defaults().items()}

    @cached_property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        return type(self.family).sampling_options()

    def _options(self, request: SampleRequest) -> dict[str, Any]:
        """The sampling options of a request. Raises ValueError."""
        what = f"sampling option of the family {self.name}"
        return validate_options(request.options, self._parameters, what)

    def _describe(
        self, request: SampleRequest, options: Mapping[str, Any], given: Collection[str]
    ) -> Request:
        """What a request asks of the family."""
        return Request(
            self._defaults | {n: v for n, v in options.items() if v is not None},
            self.family.targets,
            given=bool(request.negative)
            or any(n in given or request.row.get(n) is not None for n in self._source_names),
            known=self._has_known(request),
            negative=bool(request.negative),
            prompt=request.prompt is not None,
            suffix=isinstance(request.prompt, tuple),
        )

    def _has_known(self, request: SampleRequest) -> bool:
        return bool(request.known) or any(request.row.get(n) is not None for n in self._target_names)

    def _prompt_key(self, request: SampleRequest) -> Hashable:
        """The ids of a prompt and of a suffix, how many: texts are processed together up to where they differ."""
        if request.prompt is None and not request.stop:
            return 0, False
        texts = self._text_prompts([request])
        return texts.prompt_length(0), texts.is_infill

    def _check_conditions(self, request: SampleRequest) -> None:
        """Raise ValueError for a condition on a column that is no target, or is known, unless it is not to be missing."""
        for name, condition in request.within.items():
            if name in self.processor.formula.source_names:
                raise ValueError(f"{name} is a source, of which a value is given and no range")
            self.processor.target(name)
            is_known = name in request.known or request.row.get(name) is not None
            if is_known and not condition.excludes_missing_only:
                raise ValueError(f"{name} is known, and has a condition beside it; leave out one of the two")

    def _check_constraint(self, request: SampleRequest, options: Mapping[str, Any]) -> None:
        if not request.constraint:
            return
        if request.prompt is not None or request.stop or options.get("tokens"):
            raise ValueError(
                "a constraint holds from a text's beginning to its end; leave prompts, stop and tokens out"
            )
        for name in request.constraint:
            if name in request.known or request.row.get(name) is not None:
                raise ValueError(f"{name} is known and constrained; leave out one of the two")

    def num_steps(self, request: SampleRequest) -> int:
        """How many steps are reported, at most."""
        return self.family.num_steps(self._defaults | self._options(request))

    def require(self, control: str) -> None:
        """Raise ValueError unless the family supports a control."""
        if control not in type(self.family).sampling_controls():
            able = [name for name in FAMILIES if control in family_class(name).sampling_controls()]
            raise ValueError(
                f"the family {self.name} cannot {SAMPLING_CONTROLS[control]}; those that can: {', '.join(able)}"
            )

    # ---- batches

    def sample(
        self, requests: Sequence[SampleRequest], on_progress: OnProgress | None = None
    ) -> list[Row | None]:
        """A sample of each request of one key; None of those that `on_progress` has dropped."""
        if not requests:
            return []
        with receive_warnings(lambda _: None):  # `warn` has warned of it
            rows = self.processor.truncate_sources([request.row for request in requests])
        prompted = any(r.prompt is not None or r.stop for r in requests)
        texts = self._text_prompts(requests) if prompted else None
        batch = RunningBatch(self.processor, requests, rows, texts)
        reports = "on_step" in type(self.family).sampling_controls()
        more = max(0, MIN_ROWS * torch.get_num_threads() - len(requests)) if self.family.pads_rows else 0
        every, rows = [*requests, *[requests[0]] * more], [*rows, *[rows[0]] * more]
        keys: list[tuple[str | int, ...]] = [
            ("sample", r.seed, r.index, *([r.attempt] if r.attempt else [])) for r in every
        ]
        rng = Rng.of_keys(keys, device=self.processor.device)
        samples = self.sample_encoded(every, rows, rng, batch.controls(on_progress, reports))
        if on_progress is not None and not batch.reported:  # a family of one step
            batch.report(Step(1, 1, lambda: samples), on_progress)
        return batch.finish(samples)

    @torch.inference_mode()
    def sample_encoded(
        self, requests: Sequence[SampleRequest], rows: Sequence[Row], rng: Rng, controls: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """The encoded targets of requests, whose rows are these, with further controls of the family."""
        options = self._options_of_batch(requests)
        compute = {n: options.pop(n) for n in keyword_parameters(self.family.compute_copy) if n in options}
        family = self.compute(**compute)
        assert isinstance(family, CanSample)  # __post_init__ has checked its class
        c, known = self.processor.context(rows), self.processor.known([r.known for r in requests], rows)
        controls = {**self._row_controls(requests, known), **controls}
        return family.sample(c, known=known, rng=rng, **controls, **options)

    def _options_of_batch(self, requests: Sequence[SampleRequest]) -> dict[str, Any]:
        """The options of all rows, with RowValues where rows differ."""
        every = [self._options(request) for request in requests]
        options: dict[str, Any] = {}
        for name in dict.fromkeys(name for own in every for name in own):
            values = tuple(own.get(name, self._parameters[name].default) for own in every)
            alike = all(value == values[0] for value in values)
            options[name] = values[0] if alike or name not in self.family.row_options else RowValues(values)
        return options

    def _row_controls(self, requests: Sequence[SampleRequest], known: KnownParts | None) -> dict[str, Any]:
        """The controls `negative`, `init` and `constraint`, of requests of which this is known."""
        controls: dict[str, Any] = {}
        if any(request.negative for request in requests):
            with receive_warnings(lambda _: None):
                negative = [self.processor.validate_sources(request.negative or {}) for request in requests]
            controls["negative"] = self.processor.context(negative)
        if requests[0].init is not None:
            controls["init"] = self._init(requests, known)
        if requests[0].constraint:
            controls |= self._constraint_controls(requests[0])
        if requests[0].within or self._presence:
            ranges = self._ranges(requests)
            controls["ranges"] = replace(ranges, dependent=self._presence)
        return controls

    @cached_property
    def _presence(self) -> dict[str, DependentRange]:
        """The targets that have a value only where another one says so, if the family can sample them so."""
        rules = self.processor.rules.structure.of(Presence)
        if "ranges" not in type(self.family).sampling_controls():
            return {}
        columns, device = self.processor.target_columns, self.processor.device
        found = {}
        for rule in rules:
            if rule.column in columns and rule.by in columns and columns[rule.column].has_missing:
                condition = Condition(values=rule.classes or ())
                leader = columns[rule.by].tokens_within(condition).to(device)
                there = columns[rule.column].tokens_within(Condition()).to(device)
                found[rule.column] = DependentRange(rule.by, leader, there, rule.present)
        return found

    def _ranges(self, requests: Sequence[SampleRequest]) -> Ranges:
        """The conditions of requests of one key, which are on the same targets."""
        allowed, weighed = {}, set()
        for name, first in requests[0].within.items():
            column, found = self.processor.columns[name], {}
            for condition in {request.within[name] for request in requests}:
                try:
                    found[condition] = column.tokens_within(condition)
                except (ValueError, TypeError) as error:
                    raise ValueError(f"{name}: {error}") from None
            rows = [found[request.within[name]] for request in requests]
            allowed[name] = torch.stack(rows).to(self.processor.device)
            weighed |= set() if first.excludes_missing_only else {name}
        return Ranges(allowed, frozenset(weighed))

    def _init(self, requests: Sequence[SampleRequest], known: KnownParts | None) -> Init:
        """Where requests start, with the values that are known of all of a target."""
        starts = [request.init or ({}, 1.0) for request in requests]
        start = self.processor.known([row for row, _ in starts], [{}] * len(starts))
        values = {} if start is None else dict(start.values)
        for name in self.processor.formula.target_names:
            for i, (row, _) in enumerate(starts):
                if name in row:
                    continue
                if known is None or name not in known.masks or not known.masks[name][i].all():
                    raise ValueError(
                        f"init needs a value of every target that is not known; {name!r} has none"
                    )
                values.setdefault(name, torch.zeros_like(known.values[name]))[i] = known.values[name][i]
        return Init(values, starts[0][1])

    def _text_prompts(self, requests: Sequence[SampleRequest], prompts: bool = True) -> TextPrompts:
        """The prompts and stop strings of the one target, a text."""
        self.require("prompt")
        texts: list[TextPrompt] | None = [r.prompt or "" for r in requests]
        if not prompts or all(r.prompt is None for r in requests):
            texts = None
        heal = not any(request.known for request in requests)
        return TextPrompts(self.processor.target_columns, texts, _stops(requests), heal=heal)

    def _constraint_controls(self, request: SampleRequest) -> dict[str, Any]:
        """The control `constraint`, for the ids of the targets."""
        token_constraints = {}
        for name, texts in request.constraint.items():
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

    # ---- streams

    def stream(self, request: SampleRequest) -> Iterator[str]:
        """See `Model.stream`."""
        self.key(request)
        self.warn([request])
        rows, texts = self.processor.truncate_sources([request.row]), self._text_prompts([request])
        rng = Rng([0], "sample", request.seed, device=self.processor.device)

        def sample(on_step: OnStep) -> Any:
            return self.sample_encoded([request], rows, rng, {**texts.controls, "on_step": on_step})

        return stream_text(texts, sample)


def _stops(requests: Sequence[SampleRequest]) -> Sequence[Sequence[str]]:
    for request in requests:
        if isinstance(request.stop, str):
            raise ValueError(f"stop is a list of texts; write [{request.stop!r}]")
    return [request.stop for request in requests] if any(r.stop for r in requests) else ()

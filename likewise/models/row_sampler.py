"""RowSampler: the part of a model that samples rows."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from likewise.core.errors import receive_warnings
from likewise.core.options import validated
from likewise.core.ranges import InterpolationSteps, PositiveInt, Seed, Strength
from likewise.data.structure import Pattern
from likewise.families.base import Family
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.base import Modality, Row
from likewise.modalities.conditions import Condition
from likewise.modalities.text import Text
from likewise.models.column_encoder import ColumnEncoder
from likewise.models.conditional import Conditional
from likewise.models.interpolation import OnInterpolation, interpolate_rows
from likewise.models.redraws import Redraws
from likewise.models.sample_request import OnProgress, SampleRequest, sample_by_key
from likewise.models.sampling import Sampler
from likewise.models.text_prompt import TextPrompt
from likewise.models.working_copy import WorkingCopy


class RowSampler(ColumnEncoder):
    """P(targets | sources) as samples of a family: of rows, of batches of requests, of texts as a stream."""

    def __init__(self) -> None:
        super().__init__()
        self._working_copy = WorkingCopy()

    @property
    def target_columns(self) -> dict[str, Modality]:
        """The columns that are sampled, or computed from those that are."""
        return {name: self.columns[name] for name in self.targets}

    def sampling_options(self) -> dict[str, inspect.Parameter]:
        """The options of `sample` that depend on the family, with types and defaults."""
        return self.family.sampling_defaults()

    def validate_sources(self, sources: Row) -> Row:
        """The sources as they are read: texts are cut to the room that there is, which a RequestWarning says.

        Raises ValueError for a name that is no source, and for a value that cannot be encoded.
        """
        return self.processor.validate_sources(sources)

    def validate_values(self, values: Row) -> Row:
        """The same for values of sources and targets."""
        return self.processor.validate_values(values)

    def given(self, /, **values: Any) -> Conditional:
        """P(other targets | these values), of any subset of the sources and targets; the other sources are absent.

        A source that is too long is cut, see `validate_sources`. Raises ValueError for a name that is neither a source
        nor a target, and for a value that cannot be encoded.
        """
        return Conditional(self, self.validate_values(values))

    @validated
    def sample(
        self,
        rows: Sequence[Row],
        *,
        seed: Seed = 0,
        indices: Sequence[int] | None = None,
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        init: tuple[Row, Strength] | None = None,
        prompts: Sequence[TextPrompt] | None = None,
        stop: Sequence[str] = (),
        constraint: Mapping[str, Any] | None = None,
        batch: PositiveInt = 64,
        **sampling_options: Any,
    ) -> list[Row]:
        """One sample of the targets for each row; a row has values of any subset of the sources and targets.

        The targets that a row has are known, and the others are sampled given them. A text among the sources that is
        longer than any in training is cut to the room that there is, which a RequestWarning says.

        seed, indices  sample i depends on (seed, indices[i]) only, not on the other rows, up to rounding, which
                       in bfloat16 may change a token and the text after it: the option precision="float32"
                       avoids that. `indices` are 0, 1, 2, ... by default
        known       target -> its value, or (value, mask) with a mask of bool over the column's grid, True where
                    the value is known; the rest is sampled (inpainting)
        negative    sources that guidance moves away from, in place of none (negative prompt)
        init        values of all targets that are not known, and a strength in (0, 1]: sample variations of
                    them (SDEdit). Near 0 the values come back, 1 samples from scratch
        prompts     for models whose one target is a text: the beginning of each row's text, or pairs (prefix,
                    suffix) of the text around a gap, which is filled
        stop        strings at which such a text ends; they are left out
        constraint  target that is a text -> the Constraint that all of it must satisfy; other target -> (low, high),
                    either of which may be None, a set of values, or a Condition: the samples are those of the
                    distribution given that all of these hold
        batch       rows that are sampled at once

        Other keywords are those of `sampling_options`. Returns the rows with the targets added. Raises
        ValueError for what the family does not support.
        """
        if prompts is not None and (isinstance(prompts, str) or len(prompts) != len(rows)):
            raise ValueError(f"prompts are a list, one for each of the {len(rows)} rows")
        shared: dict[str, Any] = {"known": known or {}, "negative": negative, "init": init, "stop": stop}
        texts = {name: v for name, v in (constraint or {}).items() if isinstance(v, Constraint)}
        within = {name: Condition.of(v) for name, v in (constraint or {}).items() if name not in texts}
        shared |= {"constraint": texts, "within": within, "options": sampling_options}
        places = range(len(rows)) if indices is None else indices
        beginnings = [None] * len(rows) if prompts is None else prompts
        requests = [
            SampleRequest(row, seed, i, prompt=prompt, **shared)
            for row, i, prompt in zip(rows, places, beginnings, strict=True)
        ]
        return self.sample_requests(requests, batch)

    def sample_requests(self, requests: Sequence[SampleRequest], batch: int = 64) -> list[Row]:
        """A sample of each request, of any keys, at most `batch` at once; the same errors and warnings as `sample`."""
        sampler, redraws = self._sampler, Redraws(self.processor.rules)
        requests = self._resolve_all(requests)
        sampler.warn(requests)

        def draw(requests: Sequence[SampleRequest]) -> list[Row]:
            keys = sampler.keys(requests)
            return sample_by_key(requests, keys, lambda part: self._sample_fit(part, redraws), batch)

        rows = redraws.unique(requests, draw(requests), draw)
        redraws.warn()
        return rows

    def _resolve_all(self, requests: Sequence[SampleRequest]) -> Sequence[SampleRequest]:
        """Requests in which what is given of computed columns is given of those that these are computed from."""
        return list(map(self._resolve, requests)) if self.structure else requests

    def _resolve(self, request: SampleRequest) -> SampleRequest:
        known = {
            n: v for n, v in request.known.items() if isinstance(v, tuple) or n not in self.target_columns
        }
        whole = {n: v for n, v in request.known.items() if n not in known}
        if twice := [name for name in whole if request.row.get(name) is not None]:
            raise ValueError(f"{twice[0]} is given twice, as known and in the rows; give it once")
        row, within = self.processor.rules.resolve({**request.row, **whole}, request.within)
        patterns = {rule.column: rule.pattern for rule in self.structure.of(Pattern)}
        texts = {
            name: Constraint.regex(pattern)
            for name, pattern in patterns.items()
            if isinstance(self.columns[name], Text) and name not in {*row, *known} and request.prompt is None
        }
        constraint = {**(texts if self._supports_constraints else {}), **request.constraint}
        return replace(request, row=row, known=known, within=within, constraint=constraint)

    @property
    def _supports_constraints(self) -> bool:
        return "constraint" in type(self.family).sampling_controls()

    def _sample_fit(
        self, requests: Sequence[SampleRequest], redraws: Redraws, on_step: OnProgress | None = None
    ) -> list[Row | None]:
        """A sample of each request of one key that satisfies the rules."""
        sampler = self._sampler
        rows = sampler.sample(requests, on_step)
        return redraws.sample(requests, rows, sampler.sample) if self.structure else rows

    def batch_key(self, request: SampleRequest, *, given: Sequence[str] = ()) -> Hashable:
        """What requests of one batch have in common: those with equal keys may be given to `sample_batch` together.

        Requests of one key may differ in rows, seeds, known parts, negatives, values of init, stop strings, and the
        sampling options that `Family.row_options` names. Prompts of one key have as many tokens; some families keep
        requests with and without known parts apart.

        This checks a request. Raises ValueError for what cannot be sampled, and gives a RequestWarning for what has no
        effect or is read otherwise than given. `given` are sources that the row is going to have.
        """
        [request] = self._resolve_all([request])
        key = self.key_of(request, given=given)
        self.warn_of([request], given=given)
        with receive_warnings(lambda _: None):
            self._sampler.check_values(request)
        return key

    def key_of(self, request: SampleRequest, *, given: Sequence[str] = ()) -> Hashable:
        """`batch_key` without warnings, and without a check of the values."""
        return self._sampler.key(self._resolve_all([request])[0], given)

    def warn_of(self, requests: Sequence[SampleRequest], *, given: Sequence[str] = ()) -> None:
        """The warnings of `batch_key` for several requests together."""
        self._sampler.warn(self._resolve_all(requests), given)

    def num_steps(self, request: SampleRequest) -> int:
        """How many steps `sample_batch` reports, at most."""
        return self._sampler.num_steps(self._resolve_all([request])[0])

    def sample_batch(
        self, requests: Sequence[SampleRequest], *, on_step: OnProgress | None = None
    ) -> list[Row | None]:
        """A sample of each request: its row with the targets added; None of those that `on_step` has dropped.

        Requests have one `batch_key`, or ValueError is raised. On a CPU in float32 each sample is the same, to the
        last bit, in any batch of any rows, dropped ones among them, as long as the number of threads is the same; in
        bfloat16, and on a GPU, as far as the kernels of the processor round rows alike whatever their number.
        `on_step` is called after each step of the sampler, or token of a text, once for families of one step.
        """
        requests = self._resolve_all(requests)
        if len(set(self._sampler.keys(requests))) > 1:
            raise ValueError("requests with different batch keys cannot be sampled as one batch")
        return self._sample_fit(requests, Redraws(self.processor.rules), on_step)

    @validated
    def stream(
        self,
        sources: Row | None = None,
        *,
        prompt: TextPrompt = "",
        stop: Sequence[str] = (),
        seed: Seed = 0,
        **sampling_options: Any,
    ) -> Iterator[str]:
        """The text that `sample` generates after a prompt, in pieces, as they are generated.

        For a pair (prefix, suffix) it is the text between them. Closing the iterator ends sampling. Raises
        ValueError unless the one target is a text and the family generates it from left to right.
        """
        request = SampleRequest(sources or {}, seed, prompt=prompt, stop=stop, options=sampling_options)
        return self._sampler.stream(request)

    @validated
    def interpolate(
        self,
        first: Row,
        last: Row,
        n: InterpolationSteps = 7,
        *,
        seeds: tuple[Seed, Seed] = (0, 0),
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        on_step: OnInterpolation | None = None,
        **sampling_options: Any,
    ) -> list[Row]:
        """n samples from P(targets | first) to P(targets | last), and from the noise of one seed to another's.

        Both ends are what `sample` returns for one row with that seed. Sources are interpolated by the family,
        which not every one supports, noise by `Rng.slerp`. Raises ValueError for n < 2, and where the family
        does not support it. `on_step` is called with the number of each step and of all; what it raises ends sampling.
        """
        shared = {"known": known, "negative": negative, "on_step": on_step, **sampling_options}
        return self.interpolate_rows([first] * n, [last] * n, seeds=seeds, **shared)

    @validated
    def interpolate_rows(
        self,
        first: Sequence[Row],
        last: Sequence[Row],
        *,
        seeds: tuple[Seed, Seed],
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        on_step: OnInterpolation | None = None,
        **sampling_options: Any,
    ) -> list[Row]:
        """The same with sources of both ends for each of the n steps."""
        shared: dict[str, Any] = {"known": known or {}, "negative": negative, "options": sampling_options}
        ends = [self._resolve_all([SampleRequest(row, **shared) for row in rows]) for rows in (first, last)]
        return interpolate_rows(self._sampler, ends[0], ends[1], seeds, on_step)

    @property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.family_name, self.processor, self._compute_copy)

    def _compute_copy(self, **options: Any) -> Family:
        return self._working_copy.of(self.family, **options)

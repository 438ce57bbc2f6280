"""Pipeline: models one after another, by the product rule; what lies between is marginalised by sampling it.

    P(b | c) = int P(b | a, c) P(a | c) da:   a ~ P(a | c), then b ~ P(b | a, c)                           (1)

So are systems of the literature built: an embedding from a text and an image from the embedding (Ramesh et al.,
2022), or a small image and then a larger one from it (Ho et al., 2022).
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula
from likewise.core.options import validated
from likewise.core.ranges import InterpolationSteps, Seed, Strength
from likewise.families.registry import sampling_family_class
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.base import Modality, Row
from likewise.models import checkpoint
from likewise.models.checkpoint import LINKS
from likewise.models.conditional import Conditional
from likewise.models.connections import connect
from likewise.models.interpolation import OnInterpolation
from likewise.models.link_progress import LinkProgress
from likewise.models.link_requests import LinkRequests, link_seed, whole_values
from likewise.models.model import Model
from likewise.models.sample_request import OnProgress, SampleRequest, sample_by_key


class Pipeline:
    """P(targets of the last link | sources that no link samples); it is sampled like a `Model`.

    links        models by name, in the order in which they are sampled
    connections  link -> source -> the target of an earlier link that is its value
    formula      of the whole

    A pipeline has no `log_prob`, since (1) has no closed form.
    """

    def __init__(self, links: Mapping[str, Model]) -> None:
        """Raises FormulaError where the links do not fit together, see `connect`."""
        self.links = dict(links)
        for link in self.links.values():
            sampling_family_class(link.family_name)
        self.connections = connect(self.links)
        free = dict.fromkeys(
            view
            for name, link in self.links.items()
            for view in link.formula.sources
            if view.name not in self.connections[name]
        )
        self.formula = Formula(self._last.formula.targets, tuple(free))
        self._requests = LinkRequests(self.links, self.connections, self.formula)

    @property
    def _last(self) -> Model:
        return list(self.links.values())[-1]

    @property
    def targets(self) -> list[str]:
        """The names of the targets, those of the last link."""
        return self.formula.target_names

    @property
    def sources(self) -> list[str]:
        """The names of the sources, those of all links that no link samples."""
        return self.formula.source_names

    @property
    def columns(self) -> dict[str, Modality]:
        """The columns of the formula; a source has the modality of the first link that reads it."""
        columns = {name: self._last.columns[name] for name in self.targets}
        for link in self.links.values():
            columns |= {s: link.columns[s] for s in link.sources if s in self.sources and s not in columns}
        return columns

    @property
    def target_columns(self) -> dict[str, Modality]:
        """The targets of all links, in their order."""
        return {name: link.columns[name] for link in self.links.values() for name in link.targets}

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self._last.device

    def to(self, device: torch.device | str) -> Self:
        """Move the weights to a device, in place."""
        for link in self.links.values():
            link.to(device)
        return self

    # ---- sampling

    def sampling_options(self) -> dict[str, inspect.Parameter]:
        """The options of `sample` that depend on the families, of all links."""
        return self._requests.sampling_options()

    def validate_sources(self, sources: Row) -> Row:
        """The sources as the links read them; see `Model.validate_sources`."""
        self._check_names("source", sources, self.sources)
        for link in self.links.values():
            sources = sources | link.validate_sources({n: sources[n] for n in link.sources if n in sources})
        return sources

    def validate_values(self, values: Row) -> Row:
        """The same for values of sources, and of targets of any link."""
        self._check_names("column", values, [*self.sources, *self.target_columns])
        for name, value in values.items():
            if name in self.target_columns and (reason := self.target_columns[name].check(value)):
                raise ValueError(f"{name}: {reason}")
        return values | self.validate_sources({n: v for n, v in values.items() if n in self.sources})

    def given(self, /, **values: Any) -> Conditional:
        """P(other targets | these values); see `Model.given`. Targets may be those of any link."""
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
        constraint: Mapping[str, Constraint] | None = None,
        **sampling_options: Any,
    ) -> list[Row]:
        """One sample for each row, by (1): the row with the targets of all links; see `Model.sample`.

        A row may also have values of targets of any link, which are known; a link of which all targets are is not
        sampled. A sampling option holds for every link that has it; the name of a link as a keyword, with a
        dictionary, gives options of that link only. `known` and `constraint` may name targets of any link, and `negative`
        holds for every link with such a source. `init` has values of targets of the pipeline: every link that
        samples the same column starts there, so in a cascade a small image and a large one; an embedding of
        it, which is computed from the value, is known, and in the row as a vector. The first link is sampled with
        `seed`, as by itself.
        """
        shared: dict[str, Any] = {"known": known or {}, "negative": negative, "init": init}
        shared |= {"constraint": constraint or {}, "options": sampling_options}
        places = range(len(rows)) if indices is None else indices
        return self.sample_requests(
            [SampleRequest(row, seed, i, **shared) for row, i in zip(rows, places, strict=True)]
        )

    def sample_requests(self, requests: Sequence[SampleRequest], batch: int = 64) -> list[Row]:
        """A sample of each request, of any keys, at most `batch` at once; see `Model.sample_requests`."""
        keys = [self._key(request) for request in requests]
        for name, link in self.links.items():
            links = [r for request in requests if (r := self._requests.of_link(name, request)) is not None]
            link.warn_of(links, given=list(self.connections[name]))
        return sample_by_key(requests, keys, self.sample_batch, batch)

    def batch_key(self, request: SampleRequest) -> Hashable:
        """What requests of one batch have in common; it checks a request, see `Model.batch_key`."""
        key = self._key(request)
        for name, link in self.links.items():
            given = list(self.connections[name])
            if (of_link := self._requests.of_link(name, request)) is not None:
                link.batch_key(of_link, given=given)
        return key

    def sample_batch(
        self, requests: Sequence[SampleRequest], *, on_step: OnProgress | None = None
    ) -> list[Row | None]:
        """A sample of each request, with the targets of all links; see `Model.sample_batch`.

        Steps are those of all links, and a preview has the targets of the links so far.
        """
        if len({self._key(request) for request in requests}) > 1:
            raise ValueError("requests with different batch keys cannot be sampled as one batch")
        rows: list[Row | None] = list(self._requests.known_rows(requests))
        progress = LinkProgress(on_step, [self._num_steps(name, requests) for name in self.links])
        for i, (name, link) in enumerate(self.links.items()):
            left = [k for k, row in enumerate(rows) if row is not None]
            of_link = {k: self._requests.of_link(name, requests[k], rows[k]) for k in left}
            sampled = {k: request for k, request in of_link.items() if request is not None}
            if not sampled:
                continue
            before = {k: row for k in sampled if (row := rows[k]) is not None}
            reports = progress.of_link(i, before, link.targets)
            samples = link.sample_batch(list(sampled.values()), on_step=reports)
            for (k, row), new in zip(before.items(), samples, strict=True):
                rows[k] = None if new is None else {**row, **{n: new[n] for n in link.targets}}
        return rows

    def _key(self, request: SampleRequest) -> Hashable:
        """The keys of all links, None of one that is not sampled. Raises ValueError."""
        start = request.init[0] if request.init else {}
        self._check_names("target", start, self.targets)
        self._check_names("target", request.constraint, self.target_columns)
        self._check_names("source", request.negative or {}, self.sources)
        self._check_names("target", request.known, self.target_columns)
        if request.prompt is not None or request.stop:
            raise ValueError("a prompt and stop strings are for a single model, and this is a pipeline")
        if twice := [n for n in whole_values(request.known) if request.row.get(n) is not None]:
            raise ValueError(f"{twice[0]} is given twice, as known and in the rows; give it once")
        keys: list[Hashable] = []
        for name, link in self.links.items():
            if (of_link := self._requests.of_link(name, request)) is None:
                values = self._requests.known_values(request)
                for n in link.targets:
                    link.processor.check(n, values[n])
                keys.append(None)
            else:
                keys.append(link.key_of(of_link, given=list(self.connections[name])))
        return tuple(keys)

    def _num_steps(self, name: str, requests: Sequence[SampleRequest]) -> int:
        """The steps of a link, at most."""
        of_link = self._requests.of_link(name, requests[0]) if requests else None
        return 0 if of_link is None else self.links[name].num_steps(of_link)

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
        """n samples from P(targets | first) to P(targets | last); see `Model.interpolate` and `sample`.

        Every link interpolates between the ends, with the samples of the links before it at each step.
        """

        whole = whole_values(known or {})
        shared: dict[str, Any] = {"known": known or {}, "negative": negative, "options": sampling_options}
        for row in (first, last):
            self._key(SampleRequest(row, **shared))
        ends = [[{**row, **whole} for _ in range(n)] for row in (first, last)]
        for i, (name, link) in enumerate(self.links.items()):
            if self._requests.of_link(name, SampleRequest(ends[0][0], **(shared | {"known": {}}))) is None:
                continue
            samples = link.interpolate_rows(
                *([self._requests.row_of_link(name, row) for row in rows] for rows in ends),
                seeds=(link_seed(i, seeds[0]), link_seed(i, seeds[1])),
                known={n: v for n, v in (known or {}).items() if n in link.targets and n not in whole},
                negative={n: v for n, v in (negative or {}).items() if n in link.sources} or None,
                on_step=on_step,
                **self._requests.options_of_links(sampling_options)[name],
            )
            ends = [
                [{**row, **{n: new[n] for n in link.targets}} for row, new in zip(rows, samples, strict=True)]
                for rows in ends
            ]
        return list(ends[0])

    def _check_names(self, what: str, names: Collection[str], valid: Collection[str]) -> None:
        for name in names:
            if name not in valid:
                raise ValueError(did_you_mean(what, name, valid))

    def embed_targets(self, values: Row) -> Row:
        """Values of targets of the pipeline -> those targets of all links that are embeddings of them."""
        return self._requests.embed_targets(values)

    def views_of(self, column: str) -> dict[str, Modality]:
        """The targets of all links that are a column or a view of it."""
        return {
            view.name: link.columns[view.name]
            for link in self.links.values()
            for view in link.formula.targets
            if view.column == column
        }

    def sources_from_known(self, known: Collection[str]) -> list[str]:
        """The sources that have an effect where some targets are known: those of links with another target."""
        sampled = [link for link in self.links.values() if set(link.targets) - set(known)]
        return [s for s in self.sources if any(s in link.sources for link in sampled)]

    # ---- folders

    def save(self, folder: str | Path, **more: Any) -> None:
        """Write chain.json, with further JSON values `more`, and every link as a run folder links/NAME."""
        for name, link in self.links.items():
            link.save(Path(folder) / LINKS / name)
        state = {"formula": str(self.formula), "links": list(self.links), **more}
        checkpoint.save_state(Path(folder), state, checkpoint.PIPELINE)

    @classmethod
    def load(cls, folder: str | Path) -> Pipeline:
        """Read the folder of a pipeline. Raises RunError if it cannot be read."""
        names = checkpoint.load_pipeline_state(Path(folder))["links"]
        return cls({name: Model.load(Path(folder) / LINKS / name) for name in names})

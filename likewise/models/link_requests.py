"""LinkRequests: what a request of a pipeline asks of each of its links."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula
from likewise.core.options import validate_options
from likewise.core.rng import seed_of
from likewise.modalities.base import Row
from likewise.modalities.latent import is_embedding
from likewise.models.model import Model
from likewise.models.sample_request import SampleRequest


class LinkRequests:
    """Requests of a pipeline -> those of its links.

    links, connections, formula  of the pipeline
    """

    def __init__(
        self, links: dict[str, Model], connections: Mapping[str, Mapping[str, str]], formula: Formula
    ) -> None:
        self.links, self.connections, self.formula = links, connections, formula

    def of_link(self, name: str, request: SampleRequest, row: Row | None = None) -> SampleRequest | None:
        """What is to be sampled of a link, given a row with the targets of those before; None if all of it is known."""
        link = self.links[name]
        row = self.known_values(request) if row is None else row
        if all(row.get(n) is not None for n in link.targets):
            return None
        start, strength = request.init or ({}, 1.0)
        values = {
            n: v for n, v in self._views(start, link).items() if row.get(n) is None and n not in request.known
        }
        whole = whole_values(request.known)
        return SampleRequest(
            self.row_of_link(name, row),
            link_seed(list(self.links).index(name), request.seed),
            request.index,
            known={n: v for n, v in request.known.items() if n in link.targets and n not in whole},
            negative={n: v for n, v in (request.negative or {}).items() if n in link.sources} or None,
            init=(values, strength) if values else None,
            constraint={n: c for n, c in request.constraint.items() if n in link.targets},
            options=self.options_of_links(request.options)[name],
        )

    def row_of_link(self, name: str, row: Row) -> Row:
        """The sources of a link, and those of its targets that are known, from a row of sources and earlier targets."""
        link, connections = self.links[name], self.connections[name]
        sources = {s: row.get(connections.get(s, s)) for s in link.sources}
        return sources | {n: row[n] for n in link.targets if row.get(n) is not None}

    # ---- what is known before any link is sampled

    def known_values(self, request: SampleRequest) -> Row:
        """The row of a request with what is known of targets of any link: as known, or as embeddings of its init."""
        start = request.init[0] if request.init else {}
        given = {**{n: v for n, v in request.row.items() if v is not None}, **whole_values(request.known)}
        embeddings = {n: v for n, v in self.embed_targets(start).items() if n not in request.known}
        return {**request.row, **embeddings, **given}

    def known_rows(self, requests: Sequence[SampleRequest]) -> list[Row]:
        """The same for each request, with the embeddings of an init as vectors; of one init they are computed once."""
        vectors: dict[tuple[str, int], Any] = {}
        rows = []
        for request in requests:
            row = self.known_values(request)
            for n, value in self.embed_targets(request.init[0] if request.init else {}).items():
                if row.get(n) is value:
                    if (key := (n, id(value))) not in vectors:
                        vectors[key] = self._vector(n, value)
                    row[n] = vectors[key]
            rows.append(row)
        return rows

    def _vector(self, name: str, value: Any) -> Any:
        column = next(link.columns[name] for link in self.links.values() if name in link.targets)
        return column.decode(column.encode(value))

    def embed_targets(self, values: Row) -> Row:
        """Values of targets of the pipeline -> those targets of all links that are embeddings of them."""
        return {
            n: v
            for link in self.links.values()
            for n, v in self._views(values, link).items()
            if is_embedding(link.columns[n])
        }

    def _views(self, values: Row, link: Model) -> Row:
        """Values of targets of the pipeline -> those targets of a link that are views of the same columns."""
        by_column = {self.formula.view(name).column: value for name, value in values.items()}
        return {v.name: by_column[v.column] for v in link.formula.targets if v.column in by_column}

    # ---- options

    def sampling_options(self) -> dict[str, inspect.Parameter]:
        """The sampling options of all links."""
        return {n: p for link in reversed(self.links.values()) for n, p in link.sampling_options().items()}

    def options_of_links(self, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The sampling options of each link: those that it shares, and its own, which are under its name.

        Raises ValueError for an unknown option, and for a value out of its range, before any link is sampled.
        """
        shared = {name: value for name, value in options.items() if name not in self.links}
        for name in shared:
            if name not in (known := self.sampling_options()):
                raise ValueError(
                    did_you_mean("sampling option of this pipeline", name, [*known, *self.links])
                )
        options_of = {}
        for name, link in self.links.items():
            known, own = link.sampling_options(), options.get(name, {})
            if not isinstance(own, Mapping):
                raise ValueError(
                    f"{name} is a link of the pipeline; give it a dictionary of options, not {own!r}"
                )
            every = {n: v for n, v in shared.items() if n in known} | dict(own)
            options_of[name] = validate_options(every, known, f"sampling option of the link {name}")
        return options_of


def link_seed(i: int, seed: int) -> int:
    """The seed of the i-th link."""
    return seed_of("link", i, seed) if i else seed


def whole_values(known: Mapping[str, Any]) -> Row:
    """The values that are known as a whole, without a mask."""
    return {n: v for n, v in known.items() if not isinstance(v, tuple)}

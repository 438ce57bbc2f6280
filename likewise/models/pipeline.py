"""Chain: models one after another, by the product rule; what lies between is summed out by drawing it.

    P(b | c) = int P(b | a, c) P(a | c) da:   a ~ P(a | c), then b ~ P(b | a, c)                           (1)

The named systems are chains: an embedding from a text and a picture from the embedding (Ramesh et al.,
2022), or a small picture and then a larger one from it (Ho et al., 2022).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, FormulaError, View
from likewise.core.rng import seed_of
from likewise.families.registry import sampling_family_class
from likewise.modalities.base import Modality, Row
from likewise.modalities.latent import is_embedding
from likewise.models import checkpoint
from likewise.models.checkpoint import LINKS
from likewise.models.conditional import Conditional
from likewise.models.model import Model


class Pipeline:
    """P(targets of the last link | sources that no link makes), which draws like a Model.

    links   models by name, in the order in which they draw
    wires   link -> source -> the target of an earlier link that it is, of those that are made
    """

    def __init__(self, links: Mapping[str, Model]) -> None:
        """Raises FormulaError where links do not fit: see `wired`."""
        self.links = dict(links)
        for link in self.links.values():
            sampling_family_class(link.family_name)
        self.connections = connect(self.links)
        free = dict.fromkeys(
            s for name, link in self.links.items() for s in link.sources if s not in self.connections[name]
        )
        last = list(self.links.values())[-1]
        self.formula = Formula(last.formula.targets, tuple(map(View.parse, free)))

    @property
    def targets(self) -> list[str]:
        return self.formula.target_names

    @property
    def sources(self) -> list[str]:
        return self.formula.source_names

    @property
    def columns(self) -> dict[str, Modality]:
        """Of the formula: a source as the first link has it that reads it."""
        last = list(self.links.values())[-1]
        found = {name: last.columns[name] for name in self.targets}
        for link in self.links.values():
            found |= {s: link.columns[s] for s in link.sources if s in self.sources and s not in found}
        return found

    @property
    def target_columns(self) -> dict[str, Modality]:
        """What the links make, in their order."""
        return {name: link.columns[name] for link in self.links.values() for name in link.targets}

    @property
    def device(self) -> torch.device:
        return next(iter(self.links.values())).device

    def to(self, device: torch.device | str) -> Self:
        for link in self.links.values():
            link.to(device)
        return self

    def sampling_options(self) -> dict[str, inspect.Parameter]:
        """What may be turned while drawing: the knobs of all links."""
        return {n: p for link in reversed(self.links.values()) for n, p in link.sampling_options().items()}

    def given(self, **sources: Any) -> Conditional:
        """The distribution of the targets with these sources known; see Model.given."""
        for name in sources:
            if name not in self.sources:
                raise ValueError(did_you_mean("source", name, self.sources))
        for link in self.links.values():
            link.given(**{n: v for n, v in sources.items() if n in link.sources})
        return Conditional(self, sources)

    def sample(
        self,
        rows: Sequence[Row],
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        init: tuple[Row, float] | None = None,
        constraint: Mapping[str, Any] | None = None,
        **sampling_options: Any,
    ) -> list[Row]:
        """The rows with what every link makes, by (1); see Model.sample.

        A knob is for every link that has it; a link's name as a keyword, with a dictionary, is for that
        link alone. `known` may have values of what any link makes, `constraint` constraints of it, and what
        is `negative` is for every link with such a source. A `init` of a target is one of all that is made
        of the same column: a small picture and a large one both start at it, and an embedding, which says
        what it shows, is its own. The first link draws as it does by itself with this seed.
        """
        for name in init[0] if init else ():
            if name not in self.targets:
                raise ValueError(did_you_mean("target", name, self.targets))
        for name in constraint or {}:
            if name not in self.target_columns:
                raise ValueError(did_you_mean("target", name, self.target_columns))
        known = {**self.embed_targets(init[0]), **(known or {})} if init else known

        def draw(link: Model, i: int, asked: Sequence[Row], **more: Any) -> list[Row]:
            views = self._views(init[0], link).items() if init else ()
            begun = {n: v for n, v in views if n not in more["known"]}
            return link.sample(
                asked,
                seed=_seed(i, seed),
                indices=indices,
                init=(begun, init[1]) if begun else None,
                constraint={n: c for n, c in (constraint or {}).items() if n in link.targets},
                **more,
            )

        return self._through([rows], draw, known, negative, sampling_options)

    def interpolate(
        self,
        first: Row,
        last: Row,
        n: int = 7,
        *,
        seeds: tuple[int, int] = (0, 0),
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        **sampling_options: Any,
    ) -> list[Row]:
        """n draws from P(targets | first) to P(targets | last); see Model.interpolate and `sample`.

        Every link goes between the ends, with what the links before it made for each step.
        """

        def draw(link: Model, i: int, firsts: Sequence[Row], lasts: Sequence[Row], **more: Any) -> list[Row]:
            return link.interpolate_rows(
                firsts, lasts, seeds=(_seed(i, seeds[0]), _seed(i, seeds[1])), **more
            )

        return self._through([[first] * n, [last] * n], draw, known, negative, sampling_options)

    def _through(
        self,
        ends: Sequence[Sequence[Row]],
        draw: Callable[..., list[Row]],
        known: Mapping[str, Any] | None,
        negative: Row | None,
        sampling_options: Row,
    ) -> list[Row]:
        """Every link draws for the rows of each of `ends`, and these go on with it: those of the first."""
        for name in negative or {}:
            if name not in self.sources:
                raise ValueError(did_you_mean("source", name, self.sources))
        for name in known or {}:
            if name not in self.target_columns:
                raise ValueError(did_you_mean("target", name, self.target_columns))
        knows = self.sampling_options()
        own = {name: dict(sampling_options.pop(name)) for name in self.links if name in sampling_options}
        for name in sampling_options:
            if name not in knows:
                raise ValueError(
                    did_you_mean("sampling option of this pipeline", name, [*knows, *self.links])
                )
        for i, (name, link) in enumerate(self.links.items()):
            mine = {n: v for n, v in sampling_options.items() if n in link.sampling_options()} | own.get(
                name, {}
            )
            asked = [
                [{s: row.get(self.connections[name].get(s, s)) for s in link.sources} for row in rows]
                for rows in ends
            ]
            fixed = {n: v for n, v in (known or {}).items() if n in link.targets}
            against = {n: v for n, v in (negative or {}).items() if n in link.sources} or None
            found = draw(link, i, *asked, known=fixed, negative=against, **mine)
            ends = [
                [{**row, **{n: new[n] for n in link.targets}} for row, new in zip(rows, found, strict=True)]
                for rows in ends
            ]
        return list(ends[0])

    def _views(self, values: Row, link: Model) -> Row:
        """What a link makes of the columns of some targets -> the values of these."""
        of = {View.parse(name).column: value for name, value in values.items()}
        return {n: of[View.parse(n).column] for n in link.targets if View.parse(n).column in of}

    def embed_targets(self, values: Row) -> Row:
        """The embeddings that links make of the columns of some targets -> the values of these."""
        return {
            n: v
            for link in self.links.values()
            for n, v in self._views(values, link).items()
            if is_embedding(link.columns[n])
        }

    def sources_from_known(self, known: Collection[str]) -> list[str]:
        """The sources that matter where some targets are known: those of links that make another."""
        draws = [link for link in self.links.values() if set(link.targets) - set(known)]
        return [s for s in self.sources if any(s in link.sources for link in draws)]

    # ---- folders

    def save(self, folder: str | Path, **more: Any) -> None:
        """Write chain.json, and every link into links/NAME; `more` are JSON values for chain.json."""
        for name, link in self.links.items():
            link.save(Path(folder) / LINKS / name)
        checkpoint.save_chain(Path(folder), {"formula": str(self.formula), "links": list(self.links), **more})

    @classmethod
    def load(cls, folder: str | Path) -> Pipeline:
        """Read what `save` wrote. Raises RunError that says what is wrong with it."""
        names = checkpoint.load_chain(Path(folder))["links"]
        return cls({name: Model.load(Path(folder) / LINKS / name) for name in names})


def _seed(i: int, seed: int) -> int:
    """Of the i-th link."""
    return seed_of("link", i, seed) if i else seed


def connect(links: Mapping[str, Model]) -> dict[str, dict[str, str]]:
    """Link -> source -> the target of an earlier link that it is: of the same name, else of the same column.

    Raises FormulaError for fewer than two links, a source that is made later only, a link whose targets
    nobody after it reads, a target that is made twice, and codes of two different models under one name.
    """
    if len(links) < 2:
        raise FormulaError("a chain has two links or more; one model draws by itself")
    made: dict[str, str] = {}  # target -> the link that makes it
    wires: dict[str, dict[str, str]] = {}
    read: set[str] = set()
    for name, link in links.items():
        wires[name] = {}
        for source in link.sources:
            target = _maker(source, link, made, links)
            if target is not None:
                wires[name][source] = target
                read.add(made[target])
        for target in link.targets:
            if target in made:
                raise FormulaError(f"the links {made[target]} and {name} both make {target}; leave one out")
            made[target] = name
    order = list(links)
    for name, link in links.items():
        for source in link.sources:
            if source not in wires[name] and source in made:
                raise FormulaError(
                    f"the link {name}, {link.formula}, needs {source}, which the link "
                    f"{made[source]} makes after it; put {made[source]} before {name}"
                )
    for name in order[:-1]:
        if name not in read:
            needs = "; ".join(
                f"{n} needs {', '.join(links[n].sources) or 'nothing'}"
                for n in order[order.index(name) + 1 :]
            )
            raise FormulaError(
                f"no link after {name} reads what it makes, "
                f"{', '.join(links[name].targets)}: {needs}; put a link between that does, or "
                f"leave {name} out"
            )
    return wires


def _maker(source: str, link: Model, made: Mapping[str, str], links: Mapping[str, Model]) -> str | None:
    """The target that a source is: of that name, else the last one made of its column and kind."""
    column, wanted = View.parse(source).column, link.columns[source]
    for target in [t for t in made if t == source] or list(made)[::-1]:
        found = links[made[target]].columns[target]
        if View.parse(target).column != column or found.kind != wanted.kind:
            continue
        if (
            is_embedding(found)
            and is_embedding(wanted)
            and wanted.coder.fingerprint != found.coder.fingerprint
        ):
            raise FormulaError(
                f"{source}: {made[target]} makes codes of one model, and they are read as "
                "codes of another; train both links with the same one"
            )
        return target
    return None

"""Chain: models one after another, by the product rule; what lies between is summed out by drawing it.

    P(b | c) = int P(b | a, c) P(a | c) da:   a ~ P(a | c), then b ~ P(b | a, c)                           (1)

The named systems are chains: an embedding from a text and a picture from the embedding (Ramesh et al.,
2022), or a small picture and then a larger one from it (Ho et al., 2022).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from likewise import checkpoint
from likewise.checkpoint import LINKS
from likewise.formula import Formula, FormulaError, View, unknown
from likewise.latent import Latent
from likewise.modalities.base import Modality
from likewise.model import Conditional, Model, Row
from likewise.rng import seed_of


class Chain:
    """P(targets of the last link | sources that no link makes), which draws like a Model.

    links   models by name, in the order in which they draw
    wires   link -> source -> the target of an earlier link that it is, of those that are made
    """

    def __init__(self, links: Mapping[str, Model]) -> None:
        """Raises FormulaError where links do not fit: see `wired`."""
        self.links = dict(links)
        self.wires = wired(self.links)
        free = dict.fromkeys(s for name, link in self.links.items() for s in link.sources
                             if s not in self.wires[name])
        last = list(self.links.values())[-1]
        self.formula = Formula(last.formula.targets, tuple(map(View.parse, free)))

    @property
    def targets(self) -> list[str]:
        return self.formula.learned

    @property
    def sources(self) -> list[str]:
        return self.formula.given

    @property
    def columns(self) -> dict[str, Modality]:
        """Of the formula: a source as the first link has it that reads it."""
        last = list(self.links.values())[-1]
        found = {name: last.columns[name] for name in self.targets}
        for link in self.links.values():
            found |= {s: link.columns[s] for s in link.sources if s in self.sources and s not in found}
        return found

    @property
    def device(self) -> torch.device:
        return next(iter(self.links.values())).device

    def to(self, device: torch.device | str) -> Self:
        for link in self.links.values():
            link.to(device)
        return self

    def knobs(self) -> dict[str, inspect.Parameter]:
        """What may be turned while drawing: the knobs of all links."""
        return {n: p for link in reversed(self.links.values()) for n, p in link.knobs().items()}

    def given(self, **sources: Any) -> Conditional:
        """The distribution of the targets with these sources known; see Model.given."""
        for name in sources:
            if name not in self.sources:
                raise ValueError(unknown("source", name, self.sources))
        for link in self.links.values():
            link.given(**{n: v for n, v in sources.items() if n in link.sources})
        return Conditional(self, sources)

    def sample(self, rows: Sequence[Row], *, seed: int = 0, indices: Sequence[int] | None = None,
               known: Mapping[str, Any] | None = None, negative: Row | None = None,
               **knobs: Any) -> list[Row]:
        """The rows with what every link makes, by (1); see Model.sample.

        A knob is for every link that has it; a link's name as a keyword, with a dictionary, is for that link
        alone. `known` may have values of what any link makes, and what is `negative` is for every link with
        such a source. The first link draws as it does by itself with this seed.
        """
        made = [n for link in self.links.values() for n in link.targets]
        for name in negative or {}:
            if name not in self.sources:
                raise ValueError(unknown("source", name, self.sources))
        for name in known or {}:
            if name not in made:
                raise ValueError(unknown("target", name, made))
        knows = self.knobs()
        own = {name: dict(knobs.pop(name)) for name in self.links if name in knobs}
        for name in knobs:
            if name not in knows:
                raise ValueError(unknown("knob of this chain", name, [*knows, *self.links]))
        drawn = [dict(row) for row in rows]
        for i, (name, link) in enumerate(self.links.items()):
            mine = {n: v for n, v in knobs.items() if n in link.knobs()} | own.get(name, {})
            asked = [{s: row.get(self.wires[name].get(s, s)) for s in link.sources} for row in drawn]
            fixed = {n: v for n, v in (known or {}).items() if n in link.targets}
            against = {n: v for n, v in (negative or {}).items() if n in link.sources} or None
            found = link.sample(asked, seed=seed_of("link", i, seed) if i else seed, indices=indices,
                                known=fixed, negative=against, **mine)
            drawn = [{**row, **{n: new[n] for n in link.targets}}
                     for row, new in zip(drawn, found, strict=True)]
        return drawn

    # ---- folders

    def save(self, folder: str | Path, **more: Any) -> None:
        """Write chain.json, and every link into links/NAME; `more` are JSON values for chain.json."""
        for name, link in self.links.items():
            link.save(Path(folder) / LINKS / name)
        checkpoint.save_chain(Path(folder), {"formula": str(self.formula), "links": list(self.links), **more})

    @classmethod
    def load(cls, folder: str | Path) -> Chain:
        """Read what `save` wrote. Raises RunError that says what is wrong with it."""
        names = checkpoint.load_chain(Path(folder))["links"]
        return cls({name: Model.load(Path(folder) / LINKS / name) for name in names})


def load(run: str | Path) -> Model | Chain:
    """The model, or the chain, in a folder, or one that comes with the package, such as "emoji".

    Raises RunError.
    """
    folder = checkpoint.located(run)
    return (Chain if checkpoint.is_chain(folder) else Model).load(folder)


def wired(links: Mapping[str, Model]) -> dict[str, dict[str, str]]:
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
                raise FormulaError(f"the link {name}, {link.formula}, needs {source}, which the link "
                                   f"{made[source]} makes after it; put {made[source]} before {name}")
    for name in order[:-1]:
        if name not in read:
            needs = "; ".join(f"{n} needs {', '.join(links[n].sources) or 'nothing'}"
                              for n in order[order.index(name) + 1 :])
            raise FormulaError(f"no link after {name} reads what it makes, "
                               f"{', '.join(links[name].targets)}: {needs}")
    return wires


def _maker(source: str, link: Model, made: Mapping[str, str], links: Mapping[str, Model]) -> str | None:
    """The target that a source is: of that name, else the last one made of its column and kind."""
    column, wanted = View.parse(source).column, link.columns[source]
    for target in [t for t in made if t == source] or list(made)[::-1]:
        found = links[made[target]].columns[target]
        if View.parse(target).column != column or found.kind != wanted.kind:
            continue
        vectors = isinstance(found, Latent) and isinstance(wanted, Latent) and found.kind == "vector"
        if vectors and wanted.coder.fingerprint != found.coder.fingerprint:
            raise FormulaError(f"{source}: {made[target]} makes codes of one model, and they are read as "
                               "codes of another; train both links with the same one")
        return target
    return None

"""How the links of a pipeline are connected: which sources of a link are targets of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping

from likewise.core.formula import FormulaError
from likewise.modalities.base import Modality
from likewise.modalities.latent import Latent
from likewise.models.model import Model


def connect(links: Mapping[str, Model]) -> dict[str, dict[str, str]]:
    """Link -> source -> the target of an earlier link that is its value: of the same name, else the same column.

    Raises FormulaError for fewer than two links, a source that only a later link samples, a link whose targets
    no later one reads, a target of two links, and codes of two different models under one name.
    """
    if len(links) < 2:
        raise FormulaError("a pipeline has two links or more; a single model is sampled as it is")
    connections: dict[str, dict[str, str]] = {}
    link_of: dict[str, str] = {}  # target -> the link that samples it
    connected: set[str] = set()  # links whose targets are sources of later ones
    for name, link in links.items():
        connections[name] = {}
        for source in link.sources:
            target = _matching_target(source, link, link_of, links)
            if target is not None:
                connections[name][source] = target
                connected.add(link_of[target])
        for target in link.targets:
            if target in link_of:
                raise FormulaError(
                    f"the links {link_of[target]} and {name} both have the target {target}; leave one out"
                )
            link_of[target] = name
    _check_order(links, connections, link_of)
    _check_all_connected(links, connected)
    return connections


def _matching_target(
    source: str, link: Model, link_of: Mapping[str, str], links: Mapping[str, Model]
) -> str | None:
    """The target with the name of a source, else the last one of the same column and kind."""
    column = link.columns[source]
    for target in [t for t in link_of if t == source] or list(link_of)[::-1]:
        other = links[link_of[target]].columns[target]
        same_column = links[link_of[target]].formula.view(target).column == link.formula.view(source).column
        if not same_column or other.kind != column.kind:
            continue
        if _embedding_model(column) != _embedding_model(other):
            raise FormulaError(
                f"{source}: {link_of[target]} samples codes of one model, and {link.formula} reads codes of "
                "another; train both links with the same one"
            )
        return target
    return None


def _embedding_model(column: Modality) -> str | None:
    """The fingerprint of the model whose embeddings a column has; None if its values are no embeddings."""
    return column.coder.fingerprint if isinstance(column, Latent) and column.vectors else None


def _check_order(
    links: Mapping[str, Model], connections: Mapping[str, Mapping[str, str]], link_of: Mapping[str, str]
) -> None:
    """Raise FormulaError for a source that only a later link samples."""
    for name, link in links.items():
        for source in link.sources:
            if source not in connections[name] and source in link_of:
                raise FormulaError(
                    f"the link {name}, {link.formula}, needs {source}, which the link {link_of[source]} samples "
                    f"after it; put {link_of[source]} before {name}"
                )


def _check_all_connected(links: Mapping[str, Model], connected: set[str]) -> None:
    """Raise FormulaError for a link, other than the last one, whose targets no later link reads."""
    names = list(links)
    for i, name in enumerate(names[:-1]):
        if name not in connected:
            needs = "; ".join(f"{n} needs {', '.join(links[n].sources) or 'nothing'}" for n in names[i + 1 :])
            raise FormulaError(
                f"no link after {name} reads its targets, {', '.join(links[name].targets)}: {needs}; put a link "
                f"between that does, or leave {name} out"
            )

"""HTML pages of comparisons that stand alone: images as data, no script, nothing is fetched.

The pages are Jinja2 templates in templates/, which share a layout and a stylesheet.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from likewise.core.formula import Formula, distinct_columns
from likewise.core.provenance import HTML_MARK
from likewise.evaluation.comparison.classifier_results import ClassifierComparison
from likewise.evaluation.comparison.figures.families import distribution_figure, value_text
from likewise.evaluation.comparison.results import Comparison
from likewise.modalities.base import Row
from likewise.modalities.picture_files import write
from likewise.viz.images import visual_columns


@dataclass(frozen=True)
class Picture:
    """An image as a URL of data, and its caption."""

    url: str
    caption: str


@dataclass(frozen=True)
class Strip:
    """The examples of a family, or the `panel` of its distribution."""

    name: str
    pictures: list[Picture]
    panel: str = ""


def comparison_page(comparison: Comparison) -> str:
    """The page of a comparison of families."""
    return render(
        "families.html",
        comparison=comparison,
        title=comparison.title,
        description=comparison.description,
        columns=comparison.columns,
        rows=list(zip(comparison.entries, comparison.cells(), strict=True)),
        strips=_strips(comparison),
    )


def classifier_page(comparison: ClassifierComparison, figure: bytes) -> str:
    """The page of a comparison of classifiers, with its figure (PNG)."""
    title = f"Generative or discriminative: P({comparison.formula})"
    return render(
        "classifiers.html",
        comparison=comparison,
        title=title,
        description=comparison.description,
        figure=data_url(figure),
    )


def render(template: str, **values: object) -> str:
    """A page of a template, which needs a title and a description."""
    environment = Environment(
        loader=PackageLoader("likewise.evaluation.comparison"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values, mark=Markup(HTML_MARK))


def _strips(comparison: Comparison) -> list[Strip]:
    """Of real rows and of each family that was measured."""
    image = next(iter(visual_columns(comparison.table.columns, comparison.targets)), None)
    families = [entry for entry in comparison.entries if entry.reports]
    if image is not None:
        rows = [("real rows", comparison.examples), *((e.family, e.examples) for e in families)]
        return [Strip(name, _pictures(comparison, image, examples)) for name, examples in rows]
    real = Strip("real rows", [], data_url(distribution_figure(comparison, None)))
    return [
        real,
        *(Strip(e.family, [], data_url(distribution_figure(comparison, e.samples))) for e in families),
    ]


def _pictures(comparison: Comparison, image: str, rows: Sequence[Row]) -> list[Picture]:
    """The values of a visual column, captioned by the others."""
    columns = comparison.table.columns
    names = (*distinct_columns(Formula.parse(comparison.formula).sources), *comparison.targets)
    captions = [c for c in names if not columns[c].visual]
    return [
        Picture(
            data_url(write(columns[image].thumbnail(row[image]))),
            ", ".join(value_text(row[c]) for c in captions if row.get(c) is not None),
        )
        for row in rows
    ]


def data_url(png: bytes) -> str:
    """A PNG within a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()

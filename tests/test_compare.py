"""compare and sweep, on families whose truth is known: Gaussians that learn in no time, and one that refuses."""

from __future__ import annotations

import inspect
import json
import math
import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image
import pytest
import torch
import toy
from torch import Tensor, nn

from likewise.core.score import Score
from likewise.data.table import Table
from likewise.evaluation.comparison.families import compare
from likewise.evaluation.comparison.results import Column, highlights
from likewise.evaluation.comparison.sweep import parse_values, sweep, trial_values
from likewise.evaluation.metrics.estimate import Estimate
from likewise.families.base import Family
from likewise.families.registry import FAMILIES
from likewise.models.checkpoint import RunError
from likewise.models.model import Model

MINUTES = 0.002


class Gauss(Family):
    """A Gaussian for each label: P(number | label) of the toy world, but for rows without a label."""

    uses_muon = False

    def __init__(self, targets, sources, *, off: float = 0.0) -> None:
        super().__init__(targets, sources)
        if set(targets) != {"number"}:
            raise ValueError(f"gauss learns numbers only, not {', '.join(targets)}")
        self.off = off
        self.mean = nn.Parameter(torch.zeros(4))
        self.spread = nn.Parameter(torch.ones(()), requires_grad=False)
        self.unused = nn.Parameter(torch.zeros(()))

    def init_from_data(self, x, c, rng) -> None:
        number, label = x["number"].flatten(), c.values["label"].flatten()
        with torch.no_grad():
            for k in range(4):
                self.mean[k] = number[label == k].mean() + self.off
            self.spread.copy_((number - self.mean[label] + self.off).std())

    def loss(self, x, c, phase, rng) -> Tensor:
        return (
            (x["number"].flatten() - self._mean(c).detach()).square() + 0 * self.unused + 0 * self.mean.sum()
        )

    def sample(
        self,
        c,
        *,
        known,
        rng,
        temperature: float = 1.0,
        twice: bool = False,
        way: Literal["one", "other"] = "one",
        odd: str | None = None,
    ):
        return {"number": (self._mean(c) + temperature * self.spread * rng.normal()).view(-1, 1, 1)}

    def log_prob(self, x, c, *, rng) -> Score:
        z = (x["number"].flatten() - self._mean(c)) / self.spread
        return Score(-0.5 * z.square() - self.spread.log() - 0.5 * math.log(2 * math.pi), "exact", 1)

    def _mean(self, c) -> Tensor:
        return self.mean[c.values["label"].flatten()]


class Off(Gauss):
    """The same with means that are wrong by half a deviation, and no density."""

    def __init__(self, targets, sources, *, off: float = 0.5) -> None:
        super().__init__(targets, sources, off=off)

    def log_prob(self, x, c, *, rng) -> Score:
        raise ValueError("the family off has no density")


class Refuses(Family):
    """Learns nothing."""

    def __init__(self, targets, sources) -> None:
        raise ValueError("refuses <everything> & more")

    def loss(self, x, c, phase, rng):
        return None

    def sample(self, c, *, known, rng):
        return None


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    """These three as the families that there are."""
    for name in list(FAMILIES):
        monkeypatch.delitem(FAMILIES, name)
    for cls in (Gauss, Off, Refuses):
        name = cls.__name__.lower()
        monkeypatch.setitem(FAMILIES, name, cls.__name__)
        monkeypatch.setitem(
            sys.modules, f"likewise.families.{name}", types.SimpleNamespace(**{cls.__name__: cls})
        )


@pytest.fixture(scope="module")
def numbers() -> Table:
    """With numbers on a linear scale, on which Gauss is right."""
    kinds = {"image": "image", "label": "label", "text": "text", "number": "linear"}
    return Table.from_rows(toy.rows(480), kinds, holdout=0.4, by="number")


class Watch:
    """Which runs were trained, and from which step on."""

    def __init__(self, stop: int | None = None) -> None:
        self.first: dict[str, int] = {}
        self.stop = stop

    def __call__(self, run: str, step) -> None:
        self.first.setdefault(run, step.step)
        if step.step == self.stop:
            raise KeyboardInterrupt


class Reader(HTMLParser):
    """Tags that are not closed, and what is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.fetched += [v for k, v in attrs if k in ("src", "href") and not v.startswith("data:")]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_compare_ranks_families_and_says_why_one_is_not_there(families, numbers, tmp_path: Path) -> None:
    found = compare("number | label", numbers, minutes=MINUTES, folder=tmp_path, n=150)
    assert [e.family for e in found.entries] == ["gauss", "off", "refuses"]
    heads = [c.heading for c in found.columns]
    assert heads == [
        "bits/dim",
        "KID",
        "FD∞",
        "density",
        "coverage",
        "C2ST",
        "s per 1,000",
        "parameters",
        "steps",
    ]
    cells = dict(zip([e.family for e in found.entries], found.cells(), strict=True))
    table = {name: dict(zip(heads, row, strict=True)) for name, row in cells.items() if row}
    truth = math.log2(toy.SPREAD * math.sqrt(2 * math.pi * math.e))
    assert abs(table["gauss"]["bits/dim"].value.value - truth) < 0.25
    assert table["gauss"]["bits/dim"].text.endswith(" exact") and table["off"]["bits/dim"].text == "none"
    assert table["gauss"]["C2ST"].highlight == "best" and table["off"]["C2ST"].value.low > 0.6
    assert table["gauss"]["FD∞"].highlight == "best" and table["off"]["C2ST"].highlight == ""
    real = {c.heading: c.real for c in found.columns}
    assert abs(real["C2ST"].value - 0.5) < 0.12 and real["coverage"].value > 0.9
    assert cells["refuses"] == [] and "refuses <everything> & more" in str(found)
    assert "off: no held-out likelihood: the family off has no density" in str(found)
    assert table["gauss"]["parameters"].text == "6" and all(e.examples for e in found.entries[:2])


@pytest.mark.usefixtures("short_classifier")
def test_the_reports_stand_alone(families, numbers, tmp_path: Path) -> None:
    compare("number | label", numbers, ["gauss", "refuses"], minutes=MINUTES, folder=tmp_path, n=40)
    html = (tmp_path / "report.html").read_text()
    reader = Reader()
    reader.feed(html)
    assert not reader.open and not reader.fetched
    assert (
        "<script" not in html
        and toy.outside_links(html) == []
        and "refuses &lt;everything&gt; &amp; more" in html
    )
    assert html.count("data:image/png;base64,") == 2 and "viewport" in html
    assert PIL.Image.open(tmp_path / "report.png").width > 1000
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["entries"][0]["table"]["KID"]["value"]["n"] == 40 and told["entries"][1]["reason"]


@pytest.mark.usefixtures("short_classifier")
def test_pictures_are_shown_for_the_same_sources(numbers, tmp_path: Path) -> None:
    tiny = {"flow": {"width": 32, "depth": 1}}
    found = compare(
        "image, number | label",
        numbers,
        ["flow"],
        minutes=MINUTES,
        folder=tmp_path,
        n=12,
        likelihood_rows=0,
        options=tiny,
    )
    entry = found.entries[0]
    labels = [row["label"] for row in found.examples]
    assert labels[:4] == ["0", "1", "2", "3"] and [row["label"] for row in entry.examples] == labels
    html = (tmp_path / "report.html").read_text()
    assert html.count("<figure>") == 2 * len(labels)
    assert {"KID edges", "FD∞ random conv", "label read", "C2ST"} <= {c.heading for c in found.columns}
    assert PIL.Image.open(tmp_path / "report.png").height > 500
    with pytest.raises(RunError, match="with width 32, not 64"):
        compare(
            "image, number | label",
            numbers,
            ["flow"],
            minutes=MINUTES,
            folder=tmp_path,
            n=12,
            options={"flow": {"width": 64}},
        )


@pytest.mark.usefixtures("short_classifier")
def test_what_is_finished_is_loaded_and_what_was_stopped_goes_on(families, numbers, tmp_path: Path) -> None:
    def again(on_step: Watch, **more: float):
        return compare(
            "number | label",
            numbers,
            ["gauss", "off"],
            folder=tmp_path,
            n=40,
            on_step=on_step,
            **{"minutes": 0.005, **more},
        )

    with pytest.raises(KeyboardInterrupt):
        again(Watch(stop=3))
    second, third = Watch(), Watch()
    first = again(second)
    assert second.first == {"gauss": 4, "off": 1}
    assert again(third).cells()[0][1] == first.cells()[0][1] and not third.first
    with pytest.raises(RunError, match="with minutes 0.005, not 0.006; choose another --out"):
        again(Watch(), minutes=0.006)
    with pytest.raises(RunError, match="with seed 0, not 1"):
        again(Watch(), seeds=[1])


@pytest.mark.usefixtures("short_classifier")
def test_seeds_give_a_mean_and_a_range(families, numbers, tmp_path: Path) -> None:
    found = compare(
        "number | label", numbers, ["gauss"], minutes=MINUTES, folder=tmp_path, n=40, seeds=[0, 1]
    )
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"gauss-seed0", "gauss-seed1"}
    kids = [report["number: KID"].value.value for report in found.entries[0].reports]
    value = found.cells()[0][1].value
    assert (value.value, value.low, value.high) == (pytest.approx(np.mean(kids)), min(kids), max(kids))
    assert "mean and range of 2 seeds" in str(found)


@pytest.mark.usefixtures("short_classifier")
def test_the_draws_of_all_families_are_asked_alike(families, numbers, tmp_path: Path) -> None:
    found = compare("number | label", numbers, ["gauss", "off"], minutes=MINUTES, folder=tmp_path, n=40)
    one, other = (np.array([row["number"] for row in e.examples]) for e in found.entries)
    deviation = numbers.columns["number"].std
    assert np.allclose(other - one, 0.5 * deviation, atol=0.1 * deviation)  # the same noise, other means


def test_compare_says_what_it_cannot_do(families, numbers, tmp_path: Path) -> None:
    for more, expected in (
        ({"families": ["gaus"]}, "did you mean 'gauss'"),
        ({"minutes": 0}, "minutes must be a number above 0"),
        ({"formula": "nmber"}, "did you mean 'number'"),
        ({"seeds": ()}, "at least 1 seed"),
    ):
        given = {"formula": "number | label", "families": None, "minutes": 1, **more}
        with pytest.raises(ValueError, match=expected):
            compare(given.pop("formula"), numbers, given.pop("families"), folder=tmp_path, **given)


def test_highlights() -> None:
    a, b, c, none = (
        Estimate(1, 0.5, 1.5),
        Estimate(2, 1.4, 2.6),
        Estimate(3, 2.5, 3.5),
        Estimate(float("nan")),
    )
    assert highlights([c, b, a], Column("", "higher")) == ["best", "near", ""]
    assert highlights([a, c, none], Column("", "as real", Estimate(2.8))) == ["", "best", ""]
    assert highlights([a, c], Column("parameters")) == ["", ""] and highlights(
        [a, None], Column("", "lower")
    ) == [
        "",
        "",
    ]


# ---- sweep


@pytest.fixture
def gauss(families, numbers) -> Model:
    model = Model("number | label", numbers.columns, "gauss")
    values = numbers.train.encoded("number").flatten(), numbers.train.encoded("label").flatten()
    with torch.no_grad():
        for k in range(4):
            model.family.mean[k] = values[0][values[1] == k].mean()
        model.family.spread.fill_(toy.SPREAD / numbers.columns["number"].std)
    return model


def test_a_sweep_trades_diversity_for_fidelity(gauss: Model, numbers: Table) -> None:
    found = sweep(gauss, numbers, "temperature", [0.05, 1.0, 6.0], n=150)
    cold, right, hot = found.points
    assert cold.coverage.high < right.coverage.low and right.density.low > hot.density.high
    assert cold.spread < right.spread < hot.spread and abs(right.spread - 1) < 0.1
    best = found.best("distance")
    assert (
        best in (cold, right) and hot.distance.low > best.distance.value and found.best("agreement") is None
    )
    assert f"best by number: KID: temperature {best.label}" in str(found) and "real rows" in str(found)
    assert json.loads(json.dumps(found.to_json()))["best"] == {"distance": best.value}
    with pytest.raises(ValueError, match="unknown sampling option 'temprature': did you mean"):
        sweep(gauss, numbers, "temprature")


def test_values_to_try(families) -> None:
    sampling_options = Gauss.sampling_options()
    assert trial_values("temperature", sampling_options["temperature"])[0] < 1 and trial_values(
        "twice", sampling_options["twice"]
    ) == [
        False,
        True,
    ]
    assert trial_values("way", sampling_options["way"]) == ["one", "other"]
    other = inspect.Parameter("noise", inspect.Parameter.KEYWORD_ONLY, default=0.8, annotation=float)
    assert trial_values("noise", other) == [0.2, 0.4, 0.8, 1.6, 3.2]
    with pytest.raises(ValueError, match="--sweep odd=V1,V2"):
        trial_values("odd", sampling_options["odd"])
    assert parse_values("1, 0.5", sampling_options["temperature"]) == [1.0, 0.5]
    assert parse_values("one,other", sampling_options["way"]) == ["one", "other"]
    with pytest.raises(ValueError, match="temperature must be a finite number, not 'cold'"):
        parse_values("cold", sampling_options["temperature"])


def test_a_link_to_another_host_is_found() -> None:
    page = '<img src="https://a.org/x.png"><a href=//b.org>b</a><style>i { background: url(http://c.org/d) }</style>'
    assert toy.outside_links(page) == ["https://a.org/x.png", "//b.org", "http://c.org/d"]
    assert toy.outside_links('<img src="data:image/png;base64,AAhttp//x"><a href="#top">http</a>') == []

"""Requests: what a sample depends on is its own, whatever is beside it, and rows can be dropped half-way."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import toy

import likewise
from likewise.core.errors import RequestWarning, receive_warnings, warn
from likewise.core.options import RowValues, validate_value
from likewise.core.ranges import GuidanceScale
from likewise.data.table import Table
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.models.sample_request import SampleRequest, SamplingProgress

SMALL: dict[str, Any] = {"width": 32, "depth": 2}


@pytest.fixture(scope="module")
def world() -> Table:
    return toy.table(64)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def shaken(formula: str, columns: Any, family: str | None = None, **options: Any) -> Model:
    """A model with weights that all matter."""
    options = options if family == "mixture" else {**SMALL, **options}
    model = Model(formula, {n: columns[n] for n in columns}, family, **options)
    with torch.no_grad():
        for k, p in enumerate(model.family.parameters()):
            draw = torch.Generator().manual_seed(k)
            p.add_(0.1 * torch.randn(p.shape, generator=draw))
    return model


def sampled(model: Model, requests: list[SampleRequest], on_step: Any = None) -> list[list[bytes] | None]:
    """The targets of the samples of a batch, to the last bit."""
    rows = model.sample_batch(requests, on_step=on_step)
    return [None if row is None else [exact(row[n]) for n in model.targets] for row in rows]


def exact(value: Any) -> bytes:
    if hasattr(value, "tobytes"):
        return np.asarray(value).tobytes()
    return repr(value).encode()


def requests_of(model: Model, n: int, **options: Any) -> list[SampleRequest]:
    """Requests that differ in what is given and in their seeds."""
    rows = toy.rows(n)
    given = [{s: row[s] for k, s in enumerate(model.sources) if (i + k) % 3} for i, row in enumerate(rows)]
    return [SampleRequest(row, seed=100 + i % 5, index=i % 3, options=options) for i, row in enumerate(given)]


MODELS: dict[str, tuple[str, str | None, dict[str, Any], dict[str, Any]]] = {
    "flow of a picture": ("image | label, text", "flow", {}, {"steps": 3}),
    "flow of numbers": ("number, label | text", "flow", {}, {"steps": 4, "guidance": 3.0}),
    "one number": ("number | label", "flow", {}, {"steps": 4}),
    "joint flow": ("image, number, label | text", "flow", {}, {"steps": 3, "guidance": 2.0}),
    "diffusion": ("image, number | label, text", "diffusion", {}, {"steps": 3}),
    "autoencoder": ("image | label, text", "autoencoder", {}, {"steps": 3}),
    "autoregressive row": ("number, label | text", "autoregressive", {}, {}),
    "autoregressive picture": ("image | label, text", "autoregressive", {}, {}),
    "text": ("text | label, number", "autoregressive", {}, {}),
    "vae": ("image, number | text", "vae", {}, {}),
    "gan": ("image, label | text", "gan", {}, {}),
    "mixture": ("number, label | text", "mixture", {}, {}),
}


def by_key(model: Model, requests: list[SampleRequest]) -> list[list[SampleRequest]]:
    groups: dict[Any, list[SampleRequest]] = {}
    for request in requests:
        groups.setdefault(model.batch_key(request), []).append(request)
    return list(groups.values())


@pytest.mark.parametrize("name", MODELS)
def test_a_sample_is_the_same_in_any_batch(world: Table, threads: int, name: str) -> None:
    """To the last bit in float32, whatever is beside it, and however many threads compute."""
    formula, family, options, sampling = MODELS[name]
    model = shaken(formula, world.columns, family, **options)
    for group in by_key(model, requests_of(model, 9, precision="float32", **sampling)):
        together = sampled(model, group)
        assert len({repr(value) for value in together}) > len(group) / 2
        for size in (1, 2, 4):
            for i in range(0, len(group), size):
                assert sampled(model, group[i : i + size]) == together[i : i + size], (size, i)


@pytest.mark.parametrize("name", ["flow of a picture", "diffusion", "text", "autoregressive row"])
def test_what_is_dropped_changes_no_other(world: Table, name: str) -> None:
    formula, family, options, sampling = MODELS[name]
    model = shaken(formula, world.columns, family, **options)
    group = by_key(model, requests_of(model, 5, precision="float32", **sampling))[0]
    reports: list[list[int]] = []

    def drop(progress: SamplingProgress) -> None:
        reports.append(progress.rows)
        if progress.step == 2:
            progress.drop(1)

    some = sampled(model, group, drop)
    assert some[1] is None and 1 in reports[1] and all(1 not in rows for rows in reports[2:])
    assert [v for i, v in enumerate(some) if i != 1] == [
        v for i, v in enumerate(sampled(model, group)) if i != 1
    ]


@pytest.mark.parametrize("sampler", ["euler", "heun", "ab2", "dpmpp_2m", "stochastic"])
def test_a_sampler_is_stopped_at_once(world: Table, sampler: str) -> None:
    model = shaken("image | label", world.columns, "flow")
    steps: list[int] = []

    def stop(progress: SamplingProgress) -> None:
        steps.append(progress.step)
        assert progress.steps == 200
        if progress.step == 3:
            progress.stop()

    request = SampleRequest({"label": "1"}, options={"steps": 200, "sampler": sampler})
    assert model.sample_batch([request] * 3, on_step=stop) == [None] * 3 and steps == [1, 2, 3]


@pytest.mark.parametrize("sampler", ["euler", "heun", "ab2", "dpmpp_2m", "stochastic"])
def test_rows_leave_every_sampler(world: Table, sampler: str) -> None:
    """What multistep samplers remember, noise, guidance, known parts and starts go with their rows."""
    model = shaken("image, number | label", world.columns, "flow", infill=0.5)
    half = torch.zeros(10, 10, dtype=torch.bool)
    half[:5] = True
    picture = toy.rows(1)[0]["image"]
    requests = [
        SampleRequest(
            {"label": str(i % 3)} if i else {},
            seed=i,
            known={"image": (picture, half)} if i % 2 else {},
            negative={"label": "0"} if i == 3 else None,
            options={"steps": 4, "sampler": sampler, "guidance": 1.0 if i == 1 else 2.0 + i, "eta": i / 8},
        )
        for i in range(6)
    ]
    assert len(by_key(model, requests)) == 1
    alone = [sampled(model, [request])[0] for request in requests]

    def drop(progress: SamplingProgress) -> None:
        if progress.step < 3:
            progress.drop(progress.rows[progress.step - 1])

    left = sampled(model, requests, drop)
    assert [i for i, value in enumerate(left) if value is None] == [0, 2]
    pictures = [(a[0], b[0]) for a, b in zip(left, alone, strict=True) if a and b]
    assert all(a == b for a, b in pictures)


def test_previews_come_nearer_and_cost_nothing_unasked(world: Table) -> None:
    model = shaken("image | label", world.columns, "flow")
    request = SampleRequest({"label": "1"}, options={"steps": 5})
    previews: list[Any] = []
    [row] = model.sample_batch([request], on_step=lambda p: previews.append(p.preview(0)))
    assert len(previews) == 5 and previews[0]["label"] == "1"
    assert exact(previews[-1]["image"]) == exact(row["image"]) != exact(previews[0]["image"])
    assert sampled(model, [request]) == [[exact(row["image"])]]


@pytest.mark.parametrize("name", ["vae", "gan", "mixture"])
def test_families_of_one_step_report_once(world: Table, name: str) -> None:
    formula, family, options, _ = MODELS[name]
    model = shaken(formula, world.columns, family, **options)
    seen: list[tuple[int, int]] = []

    def drop(progress: SamplingProgress) -> None:
        seen.append((progress.step, progress.steps))
        assert progress.preview(0).keys() >= set(model.targets)
        progress.drop(0)

    rows = model.sample_batch(requests_of(model, 2), on_step=drop)
    assert seen == [(1, 1)] and rows[0] is None and rows[1] is not None


def test_texts_are_reported_as_they_grow(world: Table) -> None:
    model = shaken("text", world.columns, "autoregressive")
    requests = [
        SampleRequest({}, seed=i, stop=["e"] if i else (), options={"temperature": 1.0 + i}) for i in range(3)
    ]
    assert len(by_key(model, requests)) == 1
    texts: dict[int, list[str]] = {0: [], 1: [], 2: []}

    def report(progress: SamplingProgress) -> None:
        for i in progress.rows:
            texts[i].append(progress.text(i))

    rows = model.sample_batch(requests, on_step=report)
    for i, row in enumerate(rows):
        assert row is not None and row["text"].startswith(texts[i][-1])
        assert all(b.startswith(a) for a, b in zip(texts[i], texts[i][1:], strict=False))
        assert model.sample_batch([requests[i]]) == [row]


def test_options_of_rows_are_those_of_each_alone(world: Table) -> None:
    model = shaken("text | label", world.columns, "autoregressive")
    options = [{}, {"temperature": 0.0}, {"top_p": 0.5}, {"min_p": 0.3}, {"tokens": 2}, {"presence": 2.0}]
    requests = [SampleRequest({"label": "1"}, seed=4, options=own) for own in options]
    assert len(by_key(model, requests)) == 1
    assert model.sample_batch(requests) == [model.sample_batch([request])[0] for request in requests]


def test_requests_of_different_kinds_do_not_share(world: Table) -> None:
    model = shaken("image | label", world.columns, "flow", few_step=True)
    row, picture = {"label": "1"}, toy.rows(1)[0]["image"]
    base = model.batch_key(SampleRequest(row))
    assert base == model.batch_key(SampleRequest({}, seed=5, index=2, negative={"label": "2"}))
    for other in (
        {"options": {"steps": 9}},
        {"options": {"sampler": "euler"}},
        {"init": ({"image": picture}, 0.5)},
        {"options": {"precision": "bfloat16"}},
    ):
        assert model.batch_key(SampleRequest(row, **other)) != base
    jump = {"steps": 2}
    keys = {
        model.batch_key(SampleRequest(row, options=jump | {"guidance": 2.0})),
        model.batch_key(SampleRequest(row, options=jump | {"guidance": 9.0})),  # which no jump has learned
    }
    assert len(keys) == 2
    with pytest.raises(ValueError, match="different batch keys"):
        model.sample_batch([SampleRequest(row), SampleRequest(row, options={"steps": 9})])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"row": {"label": "7"}}, "label"),
        ({"options": {"stepz": 3}}, "did you mean 'steps'"),
        ({"options": {"steps": 0}}, "steps must be"),
        ({"known": {"sound": 1}}, "unknown target"),
        ({"init": ({}, 0.5)}, "init needs a value"),
        ({"init": ({}, 2.0)}, "strength must be"),
        ({"negative": {"label": "1"}, "options": {"guidance": 1.0}}, "a negative has no effect"),
        ({"prompt": "a"}, "continue a prompt"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_a_request_is_checked_before_it_is_sampled(world: Table, wrong: dict[str, Any], reason: str) -> None:
    model = shaken("image | label", world.columns, "flow")
    with pytest.raises(ValueError, match=reason):
        model.batch_key(SampleRequest(**{"row": {}, **wrong}))


def test_a_key_says_what_has_no_effect(world: Table) -> None:
    model = shaken("image | label", world.columns, "flow", infill=0.0)
    notes: list[str] = []
    with receive_warnings(notes.append):
        model.batch_key(SampleRequest({}, options={"guidance": 4.0}))
        model.batch_key(SampleRequest({"image": toy.rows(1)[0]["image"]}))
    assert notes[0] == "guidance has no effect: no source is given" and "is known" in notes[1]
    with receive_warnings(notes.append):
        model.sample_batch([SampleRequest({}, options={"guidance": 4.0})])
    assert len(notes) == 2


def test_pipelines_sample_batches(world: Table) -> None:
    first, second = (
        shaken("label | number", world.columns, "flow"),
        shaken("image | label", world.columns, "flow"),
    )
    pipeline = Pipeline({"a": first, "b": second})
    options = {"steps": 4}
    requests = [SampleRequest({"number": float(i)}, seed=i, options=options) for i in range(4)]
    requests.append(SampleRequest({"label": "2"}, options=options))
    assert len({pipeline.batch_key(r) for r in requests[:4]}) == 1
    assert pipeline.batch_key(requests[4]) != pipeline.batch_key(requests[0])
    reports: list[tuple[int, int]] = []

    def drop(progress: SamplingProgress) -> None:
        reports.append((progress.step, progress.steps))
        row = progress.preview(0)
        assert ("image" in row) == (progress.step > 4) and "label" in row
        if progress.step in (2, 6):
            progress.drop(progress.step // 2)

    rows = pipeline.sample_batch(requests[:4], on_step=drop)
    assert reports == [(i, 8) for i in range(1, 9)] and rows[1] is rows[3] is None
    for i in (0, 2):
        [alone] = pipeline.sample([requests[i].row], seed=i, **options)
        assert rows[i] is not None and exact(rows[i]["image"]) == exact(alone["image"])
        assert rows[i]["label"] == alone["label"]
    assert pipeline.sample([requests[4].row], **options)[0]["label"] == "2"


def test_the_working_copy_is_kept_until_weights_change(world: Table) -> None:
    model = shaken("image | label", world.columns, "flow")
    request = SampleRequest({"label": "1"}, options={"precision": "bfloat16", "steps": 1})

    def copy_used() -> Any:
        sampled(model, [request])
        return model._working_copy._copy

    first, picture = copy_used(), sampled(model, [request])
    assert first is not None and copy_used() is first and sampled(model, [request]) == picture
    assert not any("working" in key for key in model.state_dict())
    with torch.no_grad():
        next(iter(model.family.parameters())).mul_(1.5)
    second = copy_used()
    assert second is not first and copy_used() is second and sampled(model, [request]) != picture
    model.family.load_state_dict({n: 2 * v for n, v in model.family.state_dict().items()})
    third = copy_used()
    assert third is not second
    model.family.default_guidance = {"image": 5.0}
    assert copy_used() is third and third.default_guidance == {"image": 5.0}
    assert copy.deepcopy(model)._working_copy._copy is None


def test_warnings_go_to_the_receiver_of_their_context() -> None:
    notes: list[str] = []
    with receive_warnings(notes.append):
        warn("one")
        with receive_warnings(lambda _: None):
            warn("two")
    assert notes == ["one"]
    with pytest.warns(RequestWarning, match="three"):
        warn("three")


def test_values_of_rows_are_checked_each() -> None:
    assert validate_value("guidance", RowValues((1, 2.5)), GuidanceScale) == RowValues((1.0, 2.5))
    with pytest.raises(ValueError, match="guidance must be a number from 0 to 100, not -1"):
        validate_value("guidance", RowValues((1.0, -1.0)), GuidanceScale)


@pytest.mark.full
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pictures_of_the_emoji_model_are_the_same_in_any_batch(threads: int, precision: str) -> None:
    model = likewise.load("emoji")
    texts = ["a red apple", "car", "cat face", "a house with a red roof and a very tall tree beside it"]
    requests = [
        SampleRequest({"text": text}, seed=seed, options={"precision": precision})
        for text in texts
        for seed in range(4)
    ]
    whole = sampled(model, requests)
    for size in (1, 2, 4, 8):
        for i in range(0, 16, size):
            assert sampled(model, requests[i : i + size]) == whole[i : i + size], (size, i)

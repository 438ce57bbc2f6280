"""Every number that somebody can set has a finite range, which Python and the command line enforce and --help shows."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import json
import math
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from annotated_types import Interval
from matrix import ROW_FAMILIES, mainly
from toy import table as toy_table

import likewise
from likewise.cli.progress import is_first_process
from likewise.core import options, ranges
from likewise.core.formula import FormulaError, View
from likewise.core.options import (
    OptionType,
    parameter_annotations,
    parse_option,
    stored_values,
    validate_fields,
    validate_options,
    validate_value,
    validated,
)
from likewise.core.rng import Rng
from likewise.core.signatures import keyword_parameters
from likewise.data.datasets import DATASETS
from likewise.data.split import Holdout
from likewise.data.table import Table
from likewise.data.views import view_options
from likewise.evaluation.comparison.classifier_plan import ClassifierPlan
from likewise.evaluation.comparison.sweep import parse_values, sweep, trial_values
from likewise.evaluation.evaluator import Evaluator
from likewise.evaluation.evaluators.embedding import evaluate_embedding
from likewise.evaluation.evaluators.text import check_texts
from likewise.evaluation.tasks.inpainting import InpaintingTask
from likewise.evaluation.tasks.variations import variations
from likewise.families.registry import FAMILIES, family_class
from likewise.generation.controls import Init
from likewise.generation.denoising.guidance import Guidance
from likewise.interop.transformers_import import from_transformers
from likewise.modalities import KINDS
from likewise.models.bayes import Bayes, Posterior
from likewise.models.checkpoint import RunError
from likewise.models.conditional import Conditional
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.testing import CASES, ROWS, Subject
from likewise.training.plan import Plan

NOT_NUMBERS = (math.nan, math.inf, -math.inf)

# ---- all numbers that can be set


def family_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions of families whose keywords are options."""
    for name in FAMILIES:
        cls = family_class(name)
        yield f"{name}.__init__", cls.__init__
        for method in ("sample", "log_prob", "compute_copy"):
            if hasattr(cls, method):
                yield f"{name}.{method}", getattr(cls, method)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **dict(family_functions()),
    **{f"{name}.fit": kind.fit for name, kind in KINDS.items()},
    **{f"dataset {name}": dataset for name, dataset in DATASETS.items()},
    **{f"Table.{name}": getattr(Table, name) for name in ("open", "from_rows", "batches")},
    **{
        f"{cls.__name__}.{name}": getattr(cls, name)
        for cls in (Model, Pipeline, Conditional, Bayes, Posterior)
        for name in (
            *("__init__", "sample", "stream", "interpolate", "interpolate_rows", "log_prob", "embed"),
            *("likelihoods", "from_json", "load", "adapt"),
        )
        if hasattr(cls, name)
    },
    "heldout_loss": likewise.heldout_loss,
    "evaluate": likewise.evaluate,
    "compare": likewise.compare,
    "train": likewise.train,
    "sweep": sweep,
    "Evaluator.__init__": Evaluator.__init__,
    "Evaluator.report": Evaluator.report,
    "evaluate_embedding": evaluate_embedding,
    "check_texts": check_texts,
    "InpaintingTask.__init__": InpaintingTask.__init__,
    "variations": variations,
    "from_transformers": from_transformers,
    "Plan": Plan.__init__,
    "ClassifierPlan": ClassifierPlan.__init__,
    "Holdout": Holdout.__init__,
    "Init": Init.__init__,
}
NOT_OPTIONS = {"indices", "values"}  # numbers of rows, which may be any, and values of a column


def numbers(annotation: Any) -> Iterator[Any]:
    """The types of an annotation that are numbers, alone, in a union or in a sequence; not in a mapping."""
    if annotation in (int, float) or typing.get_origin(annotation) is Annotated:
        yield annotation
    elif typing.get_origin(annotation) is not Literal and not is_mapping(annotation):
        for part in typing.get_args(annotation):
            yield from numbers(part)


def is_mapping(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, typing.Mapping)


NUMBERS = {  # (function, parameter) -> annotation
    (name, parameter): annotation
    for name, function in FUNCTIONS.items()
    for parameter, annotation in parameter_annotations(function).items()
    if parameter not in NOT_OPTIONS and any(True for _ in numbers(annotation))
}


def test_the_list_of_numbers_has_those_that_users_know() -> None:
    known = {
        ("flow.__init__", "width"),
        ("flow.sample", "guidance"),
        ("flow.sample", "shift"),
        ("diffusion.sample", "eta"),
        ("autoregressive.sample", "top_p"),
        ("mixture.__init__", "components"),
        ("vae.log_prob", "samples"),
        ("image.fit", "size"),
        ("dataset icons", "size"),
        ("Table.open", "holdout"),
        ("Model.sample", "batch"),
        ("Model.interpolate", "seeds"),
        ("evaluate", "n"),
        ("compare", "seeds"),
        ("Plan", "warmup"),
        ("ClassifierPlan", "sizes"),
    }
    assert known <= NUMBERS.keys() and len(NUMBERS) > 150


def test_every_number_has_a_finite_range() -> None:
    endless = [
        (*names, kind)
        for names, annotation in NUMBERS.items()
        for kind in map(OptionType.of, numbers(annotation))
        if bound(kind, "ge", "gt") is None or bound(kind, "le", "lt") is None
    ]
    assert not endless


def bound(kind: OptionType, *names: str) -> float | None:
    return next((b for name in names if (b := kind.bound(name)) is not None), None)


def is_sequence(annotation: Any) -> bool:
    return bool(options._element(annotation))


@pytest.mark.parametrize("function", dict.fromkeys(function for function, _ in NUMBERS))
def test_numbers_out_of_range_are_refused_and_the_ends_are_not(function: str) -> None:
    for parameter, annotation in ((p, a) for (name, p), a in NUMBERS.items() if name == function):
        check_range(parameter, annotation)


def check_range(parameter: str, annotation: Any) -> None:
    """The ends of a range are taken, and what is beyond them or no number is refused by name."""
    if parameter == "init":  # a row and a strength: Init checks it
        parameter, annotation = "strength", parameter_annotations(Init.__init__)["strength"]
    wrap = (lambda value: [value]) if is_sequence(annotation) else lambda value: value
    kind = OptionType.of(next(numbers(annotation)))
    wrong: list[Any] = [*NOT_NUMBERS, True, "1", b"1", [1], 1j]
    if kind.type is int:
        wrong += [2.0, 2.5]
    for name, refused, inside in (("ge", -1, 0), ("gt", 0, 1), ("le", 1, 0), ("lt", 0, -1)):
        if (end := kind.bound(name)) is None:
            continue
        step = kind.bound("multiple_of") or 1 if kind.type is int else max(1e-6, abs(end) * 1e-9)
        wrong.append(kind.type(end + refused * step))
        right = kind.type(end + inside * step)
        assert validate_value(parameter, wrap(right), annotation) == wrap(right), parameter
    for value in wrong:
        with pytest.raises(ValueError, match=rf"\b{parameter} must be "):
            validate_value(parameter, wrap(value), annotation)
            pytest.fail(f"{parameter} may be {value!r}")


def test_defaults_are_in_their_ranges() -> None:
    for (name, parameter), annotation in NUMBERS.items():
        default = inspect.signature(FUNCTIONS[name]).parameters[parameter].default
        if default is not inspect.Parameter.empty:
            assert validate_value(parameter, default, annotation) == default


@pytest.mark.parametrize("cls", [Plan, ClassifierPlan, Guidance, Holdout, Init])
def test_every_field_of_a_group_is_checked(cls: type) -> None:
    """The same of every dataclass whose fields are options, which families make their signatures of."""
    assert "validate_fields(self)" in inspect.getsource(cls.__post_init__)


def test_groups_of_options_check_their_fields() -> None:
    """Also where a family is not given the options by a model."""
    for name in FAMILIES:
        for function in (family_class(name).__init__, getattr(family_class(name), "sample", None)):
            inner = getattr(function, "__wrapped__", function)
            while inner is not None and hasattr(inner, "__wrapped__"):
                inner = inner.__wrapped__
            for parameter in inspect.signature(inner).parameters.values() if inner else ():
                if dataclasses.is_dataclass(default := parameter.default):
                    annotations = typing.get_type_hints(type(default), include_extras=True)
                    if any(True for a in annotations.values() for _ in numbers(a)):
                        assert "validate_fields(self)" in inspect.getsource(type(default).__post_init__)


# ---- enforced in Python


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_refuses_what_is_out_of_range(name: str) -> None:
    cls, case = family_class(name), CASES["several" if name == "contrastive" else "number"]
    for option, parameter in cls.options().items():
        if any(True for _ in numbers(parameter.annotation)):
            for value in (*NOT_NUMBERS, -1e30):
                with pytest.raises(ValueError, match=f"^{option} must be "):
                    cls(case.targets, case.sources, **{option: value})
    subject = Subject(cls, case, {})
    for option, parameter in cls.sampling_options().items():
        if any(True for _ in numbers(parameter.annotation)):
            with pytest.raises(ValueError, match=f"^{option} must be "):
                cls.sample(subject.family, subject.c, known=None, rng=None, **{option: math.nan})


@pytest.fixture(scope="module")
def data() -> Table:
    return toy_table(64, holdout=0.2)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "contrastive"])
def test_a_model_refuses_what_is_out_of_range(name: str, data: Table) -> None:
    small = {n: v for n, v in {"width": 32, "depth": 1}.items() if n in family_class(name).options()}
    model = Model("number | label", data.columns, name, **small)
    for option, parameter in model.options.items():
        if isinstance(parameter, int | float) and not isinstance(parameter, bool):
            with pytest.raises(ValueError, match=f"^{option} must be "):
                Model("number | label", data.columns, name, **{**small, option: math.nan})
    for option, parameter in model.sampling_options().items():
        if any(True for _ in numbers(parameter.annotation)):
            for value in (*NOT_NUMBERS, -1e30):
                with pytest.raises(ValueError, match=f"^{option} must be "):
                    model.sample([{}], **{option: value})
    if hasattr(model.family, "log_prob"):
        for option, parameter in model.scoring_options().items():
            if any(True for _ in numbers(parameter.annotation)):
                with pytest.raises(ValueError, match=f"^{option} must be "):
                    model.log_prob([data[0]], **{option: math.inf})


def test_the_arguments_of_a_model_are_checked(data: Table) -> None:
    model = Model("number | label", data.columns, "flow", width=32, depth=1)
    for message, call in {
        "seed must be": lambda: model.sample([{}], seed=-1),
        "batch must be": lambda: model.sample([{}], batch=0),
        "n must be a whole number from 2": lambda: model.interpolate({}, {}, 1),
        "each of seeds must be": lambda: model.interpolate({}, {}, seeds=(0, math.nan)),
        "n must be a whole number from 0": lambda: model.given().sample(-1),
        "strength must be a number above 0 and at most 1, not nan": lambda: model.sample(
            [{}], init=({"number": 0.5}, math.nan)
        ),
        "batch must be ": lambda: model.log_prob([data[0]], batch=0),
        "temperature must be": lambda: Bayes(model, temperature=math.nan),
        "draws must be": lambda: Bayes(model).probabilities([data[0]], draws=0),
        "seed must be ": lambda: Model("number", data.columns, seed=1.5),
    }.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            call()


def test_numbers_of_data_are_checked(data: Table) -> None:
    rows = [{"x": i / 7, "label": "ab"[i % 2]} for i in range(40)]
    for holdout in (*NOT_NUMBERS, 1.0, -0.1, True):
        with pytest.raises(ValueError, match="^holdout must be a number from 0 to below 1, not"):
            Table.from_rows(rows, holdout=holdout)
    pictures = [{"image": row["image"]} for row in (data[0], data[1])]
    for value in (math.nan, 0, 10**9, "8", 8.0):
        with pytest.raises(ValueError, match="^size must be a whole number from 1 to 4,096, not"):
            Table.from_rows(pictures, options={"size": value})
    with pytest.raises(ValueError, match="^channels must be one of 1, 3, not 2"):
        Table.from_rows(pictures, options={"channels": 2})
    with pytest.raises(ValueError, match="^size must be"):
        Table.open("icons", options={"size": math.nan})
    assert next(data.batches(["number"], 3))["number"].shape[0] == 3
    with pytest.raises(ValueError, match="^size must be"):
        data.batches(["number"], 0)


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-8", "8.5", "1e3", "many", "99999999"])
def test_options_of_views_are_checked(value: str) -> None:
    with pytest.raises(
        FormulaError, match=r"^image\[size=.*\]: size must be a whole number from 1 to 4,096, not"
    ):
        view_options(View.parse(f"image[size={value}]"), "image")


def test_guidance_is_within_an_interval() -> None:
    assert Guidance(2.0, 0.5, 0.5).guidance_to == 0.5
    with pytest.raises(
        ValueError, match="guidance_from=0.9 is above guidance_to=0.1, so no noise level is guided"
    ):
        Guidance(2.0, 0.9, 0.1)
    with pytest.raises(ValueError, match="guidance_from=0.95 is above guidance_to=0.9"):
        Guidance(2.0, guidance_from=0.95)


def test_a_plan_has_ranges_and_one_length() -> None:
    for wrong in (
        {"warmup": -3},
        {"lr": math.nan},
        {"cooldown": 1.0},
        {"ema_sigma": 1e-200},
        {"save_seconds": 0},
    ):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be "):
            Plan(steps=3, **wrong)
    for minutes in (math.nan, math.inf, 0, -1):
        with pytest.raises(ValueError, match="^minutes must be "):
            Plan(minutes=minutes)
    with pytest.raises(ValueError, match="precision must be one of auto, bfloat16, float32, not 'half'"):
        Plan(steps=3, precision="half")
    with pytest.raises(ValueError, match="compile must be true or false, not 1"):
        Plan(steps=3, compile=1)
    for both in ({}, {"steps": 1, "minutes": 1.0}):
        with pytest.raises(ValueError, match="either minutes or steps"):
            Plan(**both)
    plan = Plan(steps=4, warmup=0, cooldown=0.0)
    assert [plan.lr_factor(step, step / 4) for step in range(4)] == [1.0] * 4


def test_all_links_are_checked_before_the_first_is_sampled(
    data: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"width": 32, "depth": 1}
    first = Model("number | label", data.columns, "flow", **small)
    last = Model("text | number", data.columns, "autoregressive", **small)
    pipeline = Pipeline({"first": first, "last": last})
    monkeypatch.setattr(Model, "sample", lambda *_, **__: pytest.fail("a link was sampled"))
    for wrong in ({"steps": 0}, {"last": {"top_p": math.nan}}, {"guidance": -1.0}):
        with pytest.raises(ValueError, match=" must be "):
            pipeline.sample([{}], **wrong)
    with pytest.raises(
        ValueError, match="first is a link of the pipeline; give it a dictionary of options, not 3"
    ):
        pipeline.sample([{}], first=3)


# ---- what is in range can be built


BUILT = [  # family, option: the least value of every option, and of the width the next ones
    (name, option)
    for name in FAMILIES
    for option, parameter in family_class(name).options().items()
    if any(True for _ in numbers(parameter.annotation))
]


@pytest.mark.parametrize(("name", "option"), BUILT)
def test_the_least_value_of_every_option_can_be_trained_and_sampled(name: str, option: str) -> None:
    cls = family_class(name)
    kind = OptionType.of(next(numbers(cls.options()[option].annotation)))
    low = kind.bound("ge") if kind.bound("ge") is not None else kind.bound("gt") + 1e-6
    for case in supported_cases(name, option):
        check_works(name, case, {option: kind.type(low), **companions(option)})


@pytest.mark.parametrize(("name", "option"), BUILT)
def test_the_greatest_share_can_be_trained_and_sampled(name: str, option: str) -> None:
    kind = OptionType.of(next(numbers(family_class(name).options()[option].annotation)))
    if kind.type is float and (high := bound(kind, "le", "lt")) is not None:
        for case in supported_cases(name, option):
            value = min(high, 10.0) if kind.bound("lt") is None else high - 1e-6
            check_works(name, case, {option: value, **companions(option)}, finite=high <= 1)


def supported_cases(name: str, option: str) -> list[str]:
    """Cases of testing.py in which the option has an effect."""
    if name == "contrastive":
        return ["captioned"]
    if name in ROW_FAMILIES:
        return ["row_of_row"]
    if option in ("fim", "hashed_ngrams", "dropout", "heads", "mlp_width", "rope_theta", "norm_eps"):
        return ["text"]
    return ["colour_of_all" if option == "source_noise" else "several_of_all"]


def companions(option: str) -> dict[str, Any]:
    """Other options that one has an effect with."""
    compat = option in ("heads", "mlp_width", "rope_theta", "norm_eps")
    others = {"compat": "llama"} if compat else {}
    if option in ("codebook_size", "num_codebooks", "code_dim"):
        return {"bottleneck": "rvq"}
    return others


def check_works(name: str, case: str, given: dict[str, Any], finite: bool = True) -> None:
    """The losses are finite, and so are samples; options that a family lacks are left out."""
    cls = family_class(name)
    given = {n: v for n, v in given.items() if n in cls.options()}
    if given.get("compat") == "llama" and "text" not in case:
        return
    subject = Subject(cls, CASES[case], given)
    subject.family.init_from_data(subject.x, subject.c, Rng(range(ROWS), "check"))
    for phase in subject.family.phases:
        loss = subject.loss(phase)
        assert loss.isfinite().all() or not finite
    if subject.draws:
        for value in subject.sample().values():
            assert value.isfinite().all() or not finite


WIDTHS = (34, 130, 200)  # even numbers that 64 does not divide


WIDE = [name for name in FAMILIES if "width" in family_class(name).options()]


@pytest.mark.parametrize("name", mainly(["flow", "autoregressive"], WIDE))
def test_every_even_width_can_be_trained_and_sampled(name: str) -> None:
    case = "several" if name == "contrastive" else "several_of_all"
    for width in WIDTHS:
        check_works(name, case, {"width": width})
    for odd in (1, 31, 33, 63, 65, 8193, 8194):
        with pytest.raises(ValueError, match=f"width must be a multiple of 2 from 2 to 8,192, not {odd}"):
            Subject(family_class(name), CASES[case], {"width": odd})


@pytest.mark.parametrize("name", mainly([], WIDE))
def test_the_greatest_width_can_be_built(name: str) -> None:
    """Without memory for its weights."""
    case = CASES["captioned" if name == "contrastive" else "grey_of_all"]
    with torch.device("meta"), contextlib.suppress(NotImplementedError):
        family = family_class(name)(case.targets, case.sources, width=8192, depth=1)
        assert sum(p.numel() for p in family.parameters()) > 8192**2


# ---- the checks themselves


def test_values_are_converted_as_their_type_says() -> None:
    share, count = ranges.Share, ranges.PositiveInt
    for value, annotation, expected in (
        (1, share, 1.0),
        (np.float32(0.5), share, 0.5),
        (np.int64(3), count, 3),
        (np.int64(1), share, 1.0),
        (None, share | None, None),
        ("euler", Literal["euler", "heun"], "euler"),
        (3, Literal[1, 3], 3),
    ):
        converted = validate_value("x", value, annotation)
        assert converted == expected and type(converted) is type(expected)
    for value, annotation in (
        (np.bool_(True), count),
        (None, share),
        (10**400, share),
        (torch.tensor(0.5), share),
        ("Euler", Literal["euler"]),
        (1.0, Literal[1, 3]),
        (["euler"], Literal["euler"]),
        (0, bool),
        (3, str),
    ):
        with pytest.raises(ValueError, match="^x must be "):
            validate_value("x", value, annotation)
    with pytest.raises(ValueError, match="^x must be a finite number, not nan"):
        validate_value("x", math.nan, float)
    assert validate_value("x", object, Path | str | None) is object  # a union of several types is not checked


def test_options_are_read_from_strings() -> None:
    assert parse_option("n", "8", ranges.PositiveInt) == 8
    assert [parse_option("x", word, bool) for word in ("yes", "no", "True", "0")] == [
        True,
        False,
        True,
        False,
    ]
    assert parse_option("channels", "3", Literal[1, 3]) == 3
    for word, annotation in (
        ("8.0", int),
        ("", int),
        ("one", float),
        ("nan", float),
        ("maybe", bool),
        ("2", Literal[1, 3]),
    ):
        with pytest.raises(ValueError, match=f"^x must be .*, not '?{word}'?$"):
            parse_option("x", word, annotation)


def test_options_of_names_and_values() -> None:
    known = keyword_parameters(likewise.evaluate)
    assert validate_options({"n": np.int64(5)}, known, "option") == {"n": 5}
    with pytest.raises(ValueError, match="unknown option 'nn': did you mean 'n'"):
        validate_options({"nn": 5}, known, "option")


def test_a_decorated_function_says_what_is_missing_as_before() -> None:
    @validated
    def area(width: ranges.PositiveFloat, *, height: ranges.PositiveFloat = 1.0, **more: Any) -> float:
        return width * height

    assert area(2, height=3) == 6.0 and list(keyword_parameters(area)) == ["height"]
    with pytest.raises(TypeError, match=r"area\(\) missing 1 required positional argument: 'width'"):
        area(height=3)
    with pytest.raises(ValueError, match="^width must be a number above 0 and at most 1,000,000,000, not 0"):
        area(0.0)


def test_stored_values_may_be_out_of_range_but_must_be_finite() -> None:
    with stored_values():
        assert validate_value("infill", 2, ranges.Share) == 2.0 and Plan(steps=1, warmup=-3).warmup == -3
        with pytest.raises(ValueError, match="infill must be"):
            validate_value("infill", math.nan, ranges.Share)
    with pytest.raises(ValueError, match="infill must be"):
        validate_value("infill", 2, ranges.Share)


def test_a_run_with_an_option_that_is_out_of_range_today_is_loaded(data: Table, tmp_path: Path) -> None:
    with stored_values():
        model = Model("number | label", data.columns, "flow", width=32, depth=1, infill=2.0, t_std=-1.0)
    model.save(tmp_path, data={}, plan={}, step=0)
    loaded = Model.load(tmp_path)
    assert loaded.options["infill"] == 2.0 and loaded.sample([{}], seed=1) == model.sample([{}], seed=1)
    with pytest.raises(ValueError, match="^infill must be a number from 0 to 1, not 3"):
        Model.load(tmp_path, infill=3.0)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("options", "t_mean"), math.nan, "t_mean must be a number from -10 to 10, not nan"),
        (("options", "depth"), "two", "depth must be a whole number from 1 to 256, not 'two'"),
        (("options", "depth"), 1.5, "depth must be a whole number"),
        (("columns", "number", "step"), math.nan, "step must be a finite number, not nan"),
        (("columns", "number", "missing"), None, "missing must be"),
        (("columns", "image", "height"), math.inf, "height must be a whole number"),
        (("columns", "image", "height"), 0, "height must be a whole number from 1 to 4,096, not 0"),
        (("columns", "image", "channels"), 2, "channels must be one of 1, 3, not 2"),
        (
            ("default_guidance", "number"),
            math.nan,
            "guidance of number must be a number from 0 to 100, not nan",
        ),
    ],
)
def test_a_number_of_a_run_folder_that_cannot_be_is_named(
    data: Table, tmp_path: Path, place: tuple[str, ...], value: Any, reason: str
) -> None:
    Model("number | image", data.columns, "flow", width=32, depth=1).save(tmp_path, data={}, plan={}, step=0)
    state = json.loads((tmp_path / "model.json").read_text())
    *path, last = place
    inner = functools.reduce(lambda values, key: values[key], path, state)
    assert last in inner
    inner[last] = value
    (tmp_path / "model.json").write_text(json.dumps(state))
    with pytest.raises(RunError, match=rf"model.json is damaged \(.*{reason}.*\); train again or restore it"):
        Model.load(tmp_path)


def test_numbers_of_the_environment_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("first", "-1", "nan"):
        monkeypatch.setenv("RANK", value)
        with pytest.raises(ValueError, match=f"^RANK must be a whole number from 0 .*, not '?{value}"):
            is_first_process()
    monkeypatch.setenv("RANK", "1")
    assert not is_first_process()


def test_pydantic_reads_the_same_ranges() -> None:
    pydantic = pytest.importorskip("pydantic")
    for annotation, right, wrong in (
        (ranges.Share, 0.5, math.nan),
        (ranges.ShareBelowOne, 0.0, 1.0),
        (ranges.Width, 64, 65),
        (ranges.SamplingSteps, 8, 0),
        (ranges.Seed, 0, -1),
    ):
        adapter = pydantic.TypeAdapter(annotation)
        assert adapter.validate_python(right) == right
        with pytest.raises(pydantic.ValidationError):
            adapter.validate_python(wrong)


# ---- sweeps


def test_values_of_a_sweep_are_read_and_checked() -> None:
    sampling = family_class("flow").sampling_options()
    assert parse_values("1, 2.5", sampling["guidance"]) == [1.0, 2.5]
    assert parse_values("yes,no", sampling["zero_star"]) == [True, False]
    for option, words in (
        ("guidance", "1,nan"),
        ("steps", "2,0"),
        ("sampler", "euler,eular"),
        ("zero_star", "maybe"),
    ):
        with pytest.raises(ValueError, match=f"^{option} must be "):
            parse_values(words, sampling[option])


@pytest.mark.parametrize("name", FAMILIES)
def test_values_that_a_sweep_tries_are_in_range(name: str) -> None:
    for option, parameter in family_class(name).sampling_options().items():
        with contextlib.suppress(ValueError):  # one without values to try
            for value in trial_values(option, parameter):
                assert validate_value(option, value, parameter.annotation) == value


def test_a_sweep_is_checked_before_it_begins(data: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model("number | label", data.columns, "flow", width=32, depth=1)
    monkeypatch.setattr(Evaluator, "sample", lambda *_, **__: pytest.fail("it was sampled"))
    with pytest.raises(ValueError, match="^guidance must be .*, not nan"):
        sweep(model, data, "guidance", [1.0, math.nan])


def test_intervals_are_said_in_words() -> None:
    for interval, words in {
        Interval(ge=0, le=1): "from 0 to 1",
        Interval(ge=0, lt=1): "from 0 to below 1",
        Interval(gt=0, le=1): "above 0 and at most 1",
        Interval(gt=0, lt=0.28): "above 0 and below 0.28",
        Interval(ge=1): "at least 1",
        Interval(gt=0): "above 0",
        Interval(le=5): "at most 5",
    }.items():
        assert OptionType.of(Annotated[float, interval]).range == words


def test_fields_are_converted() -> None:
    @dataclasses.dataclass(frozen=True)
    class Pair:
        a: ranges.Share
        b: int = 2

        def __post_init__(self) -> None:
            validate_fields(self)

    pair = Pair(1, np.int32(3))
    assert (pair.a, pair.b) == (1.0, 3) and type(pair.a) is float and type(pair.b) is int

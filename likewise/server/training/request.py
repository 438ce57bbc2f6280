"""Requests for trainings -> command lines of `likewise train`, checked as that command checks them.

Nothing of a request is a word of its own on the command line but the name of a data set and a formula that was parsed:
values are written as --option=value, in a list that no shell sees.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, FormulaError, quote_name
from likewise.data.encoders import ENCODERS
from likewise.families.registry import FAMILIES, family_class
from likewise.modalities import KINDS
from likewise.models.checkpoint import is_run, load_state
from likewise.server.catalog.registry import ModelEntry, ModelRegistry
from likewise.server.data.data_files import DataFiles
from likewise.server.data.formulas import check_columns
from likewise.server.http.errors import APIError, invalid
from likewise.server.training.options import (
    MINUTES,
    MULTIPLIER,
    OPENAI,
    FineTuningBody,
    checked_option,
    known_options,
    learning_rate_words,
    option_words,
    parameters_of,
    read_options,
    refuse_unsupported,
    seconds_between_checkpoints,
)
from likewise.training.plan import Plan

NEW = ("auto", "new")  # in place of a family: the one that suits the formula
DEFAULT_FAMILIES = ("flow", "autoregressive", "any_order")  # of which the command takes one without --family
MAPS = {"kinds": "--kind", "views": "--view", "map": "--map"}  # options that are objects
NEAR = 0.75  # likeness of a word of metadata to an option, from which on that is said
RUN_NAME = re.compile(r"\w[\w.-]{0,63}")


@dataclass(frozen=True)
class TrainingRequest:
    """A training that has been checked.

    model      that it begins with, or a family, as the client calls it
    run        the name of the new run
    data       id of an upload, or name of a data set; None for the data of the run that it begins with
    formula    as it is parsed; None for that of the run
    options    as the client gives them, checked
    words      of the command line, beside the data and the formula
    metadata   of the client
    notes      what the client should know
    """

    model: str
    run: str
    data: str | None
    formula: str | None
    options: Mapping[str, Any]
    words: Sequence[str]
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def request(self) -> dict[str, Any]:
        """What is shown of it."""
        return {
            "model": self.model,
            "training_file": self.data,
            "formula": self.formula,
            "suffix": self.run,
            "hyperparameters": dict(self.options),
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True)
class Begin:
    """What a training begins with: the weights of a model, or none, and the family."""

    family: str | None
    entry: ModelEntry | None = None

    @property
    def families(self) -> tuple[str, ...]:
        """The families whose options may be given."""
        return DEFAULT_FAMILIES if self.family is None else (self.family,)


class TrainingReader:
    """Reads requests for trainings. It looks at files of runs, so not on the event loop."""

    def __init__(self, registry: ModelRegistry, data: DataFiles) -> None:
        self.registry, self.data = registry, data

    def read(self, body: FineTuningBody, taken: Collection[str]) -> TrainingRequest:
        """Check a request; `taken` are names of runs that are not there yet. Raises APIError."""
        refuse_unsupported(body)
        options, where, metadata_words = read_options(body)
        if body.seed is not None:
            options["seed"], where["seed"] = body.seed, "seed"
        family = options.pop("family", None)
        begin = self._begin(body.model, family, where)
        try:
            written = str(options.pop("formula", None) or "")
            formula = self._formula(written, body.training_file, options) if written else None
        except FormulaError as error:
            raise invalid(error, where.get("formula", "formula"), "invalid_formula") from None
        if formula is None and begin.entry is None:
            raise invalid(
                'formula is missing: write in hyperparameters or metadata what to learn, such as "image | text"',
                "formula",
                "missing_required_parameter",
            )
        if body.training_file is None and (begin.entry is None or formula is not None):
            raise invalid("training_file is missing", "training_file", "missing_required_parameter")
        words, notes = self._words(options, where, begin), []
        for word in metadata_words:
            if near := difflib.get_close_matches(word, known_options(begin.families), 1, NEAR):
                notes.append(f"metadata.{word[:64]} is no option; if it is to be one, write {near[0]}")
        data = body.training_file
        run = self._run_name(body.suffix, data if data is None else self.data.name(data), taken)
        return TrainingRequest(
            body.model,
            run,
            data,
            None if formula is None else str(formula),
            {**options, **({"family": family} if family else {})},
            [*self._begin_words(begin), *words, *self._view_words(formula, options)],
            body.metadata or {},
            notes,
        )

    # ---- parts of a request

    def _begin(self, model: str, family: str | None, where: Mapping[str, str]) -> Begin:
        """A family, or the weights of a model."""
        if family is not None and family not in (*FAMILIES, *NEW):
            raise invalid(did_you_mean("family", family[:100], FAMILIES), where["family"])
        family = None if family in NEW else family
        if model in NEW or (model in FAMILIES and model not in self.registry.entries()):
            named = None if model in NEW else model
            if named is not None and family not in (None, named):
                raise invalid(
                    f"model is the family {named}, and family is {family}; give one of them", "model"
                )
            return Begin(named or family)
        try:
            entry = self.registry.resolve(model)
        except APIError:
            known = [*FAMILIES, *self.registry.entries()]
            raise APIError(
                404, did_you_mean("model", model[:100], known), param="model", code="model_not_found"
            ) from None
        if entry.pipeline:
            raise invalid(f"{model} is a pipeline; begin with one of its models, or with a family", "model")
        own = str(load_state(entry.folder)["family"])
        if family not in (None, own):
            message = (
                f"{model} is of the family {own}, and weights of another one do not fit; leave family out"
            )
            raise invalid(message, where["family"])
        return Begin(own, entry)

    def _formula(self, text: str, data: str | None, options: Mapping[str, Any]) -> Formula:
        """The formula, checked against the columns as far as these are known. Raises FormulaError."""
        formula = Formula.parse(text)
        report = self.data.known_report(data) if data is not None else None
        columns = {c["name"]: c["kind"] for c in report["columns"]} if report else {}
        kinds = options.get("kinds")
        columns |= {n: k for n, k in kinds.items() if n in columns} if isinstance(kinds, dict) else {}
        views = options.get("views")
        names = list(views) if isinstance(views, dict) else []
        check_columns(formula, columns, lambda: [*names, *view_names(self.registry)])
        return formula

    def _words(self, options: Mapping[str, Any], where: Mapping[str, str], begin: Begin) -> list[str]:
        """The options as words of the command line. Raises APIError for one that does not exist or does not fit."""
        known, words = known_options(begin.families), []
        values = dict(options)
        multiplier = values.pop(MULTIPLIER, None)
        for name, value in values.items():
            if name in MAPS:
                words += self._map_words(name, value, where[name])
                continue
            option = OPENAI.get(name, name)
            if option != name and option in values:
                raise invalid(f"{name} and {option} are the same; give one of them", where[name])
            if option not in known:
                message = did_you_mean("option", name[:100], [*sorted(known), *MAPS])
                raise invalid(message, where[name], "unknown_parameter")
            words += option_words(option, checked_option(name, value, known[option], where[name]))
        words += learning_rate_words(multiplier, values, where)
        self._check_plan(values, where)
        if not values.keys() & {"minutes", "steps", "epochs", "n_epochs"}:
            words.append(f"--minutes={MINUTES}")
        if "save_seconds" not in values:
            words.append(f"--save-seconds={seconds_between_checkpoints(values)}")
        return words

    def _check_plan(self, values: Mapping[str, Any], where: Mapping[str, str]) -> None:
        """Raise APIError for values that contradict each other."""
        names = parameters_of(Plan)
        plan = {OPENAI.get(n, n): v for n, v in values.items() if OPENAI.get(n, n) in names}
        try:
            if plan.keys() & {"minutes", "steps", "epochs"}:
                Plan(**plan)
        except ValueError as error:
            first = next((where[n] for n in values if n in ("epochs", "n_epochs", "steps", "minutes")), None)
            raise invalid(error, first) from None

    def _map_words(self, name: str, value: Any, where: str) -> list[str]:
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise invalid(
                f"{name} must be an object of texts, such as {{NAME: VALUE}}", where, "invalid_type"
            )
        if name == "views":
            return []  # of those that the formula names
        if name == "kinds":
            for kind in value.values():
                if kind not in KINDS:
                    raise invalid(did_you_mean("kind of column", kind[:100], KINDS), where)
        return [f"{MAPS[name]}={quote_name(key)}={text}" for key, text in value.items()]

    def _begin_words(self, begin: Begin) -> list[str]:
        if begin.entry is not None:
            return [f"--from={begin.entry.folder.resolve()}"]
        return [] if begin.family is None else [f"--family={begin.family}"]

    def _view_words(self, formula: Formula | None, options: Mapping[str, Any]) -> list[str]:
        """The runs that the formula sees columns through: those that `views` names, or of the name in the formula."""
        views = dict(options.get("views", {}))
        through = dict.fromkeys(v.through for v in (formula.views if formula else ()) if v.through)
        if unused := next((name for name in views if name not in through), None):
            raise invalid(did_you_mean("view of the formula", unused[:100], through), f"views.{unused[:100]}")
        words = []
        for name in through:
            if name in ENCODERS and name not in views:
                continue
            entry = self.registry.resolve(views.get(name, name), f"views.{name}")
            words.append(f"--view={name}={entry.folder.resolve()}")
        return words

    def _run_name(self, suffix: str | None, data: str | None, taken: Collection[str]) -> str:
        """The name of the new run: `suffix`, or one after the data with a number if that is in use."""
        root = self.registry.settings.folder
        if is_run(root):
            message = "this server serves one run; start it with a folder of runs to train further ones"
            raise APIError(409, message, code="no_folder")
        used = {*taken, *self.registry.entries(), *FAMILIES, *NEW}
        if suffix is not None:
            name = run_name(suffix)
            if name in used or (root / name).exists():
                raise APIError(
                    409,
                    f"there is a model {name} already; give another suffix",
                    param="suffix",
                    code="name_in_use",
                )
            return name
        stem = run_name(Path(data or "model").name.partition(".")[0] or "model")
        names = (stem if i == 1 else f"{stem}-{i}" for i in range(1, 10_000))
        return next(name for name in names if name not in used and not (root / name).exists())


def run_name(text: str) -> str:
    """A name for a folder: spaces and signs become "-". Raises APIError if nothing is left.

    >>> run_name("My cats (2)"), run_name("../../etc"), run_name("Straße.v2")
    ('My-cats-2', 'etc', 'Straße.v2')
    """
    name = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", text))
    name = re.sub(r"-{2,}", "-", re.sub(r"\.{2,}", ".", name)).strip("-._")[:64].rstrip("-._")
    while len(name.encode()) > 200:
        name = name[:-1]
    if not RUN_NAME.fullmatch(name):
        raise invalid(f"{text[:100]!r} is no name of a model; use letters and digits", "suffix")
    return name


def view_names(registry: ModelRegistry) -> list[str]:
    """The models that a formula may see columns through, by the names that it can write."""
    found = []
    for id, entry in registry.entries().items():
        if not entry.pipeline and re.fullmatch(r"[^\W\d][\w.-]*", id):
            try:
                family = load_state(entry.folder)["family"]
            except ValueError:  # a damaged one
                continue
            if family in FAMILIES and hasattr(family_class(family), "code_spec"):
                found.append(id)
    return found

"""Model: a formula, the modalities of its columns, and a family that learns the distribution."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from likewise.core.errors import warn
from likewise.core.formula import Formula, FormulaError, quote_name
from likewise.core.option_names import option_text
from likewise.core.options import stored_values, validate_options, validate_value, validated
from likewise.core.ranges import GuidanceScale, PositiveInt, Seed
from likewise.core.score import Score
from likewise.core.signatures import keyword_parameters
from likewise.data.encoders import FrozenEncoder
from likewise.data.structure import Structure
from likewise.data.table import Table
from likewise.families.base import Family
from likewise.families.capabilities import CanScore, CanScoreTokens
from likewise.families.registry import family_class
from likewise.modalities import modality_from_json
from likewise.modalities.all_columns import expand_formula
from likewise.modalities.base import Modality, Row
from likewise.modalities.latent import Coder, Latent
from likewise.modalities.learned_columns import columns_of
from likewise.models import checkpoint, scoring
from likewise.models.adaptation import (
    Adaptation,
    changes,
    explain_inherited,
    inherited_structure,
    match_table,
    resized,
    transfer_family,
)
from likewise.models.row_sampler import RowSampler


class Model(RowSampler):
    """P(targets | sources) over typed columns, learned by a family.

    A new model has random weights; `likewise.train` trains it, and `likewise.load` reads one from a run folder.

    formula    of the distribution
    columns    modality of each column of the formula, fitted to training values: `Table.columns`
    family     the network, or the mixture, that learns the distribution
    options    of the family, defaults included
    fresh      the names of the weights of the family that are still random: all of them in a new model
    adaptation  of a model that `adapt` has made: what it begins with

    >>> from likewise.modalities import Label, Number
    >>> columns = {"price": Number.fit([1.0, 2.0, 4.0]), "kind": Label.fit(["a", "b"])}
    >>> model = Model("price | kind", columns, width=64, depth=1)
    >>> rows = model.given(kind="a").sample(2, seed=0)
    >>> sorted(rows[0]), len(rows)
    (['kind', 'price'], 2)
    """

    @validated
    def __init__(
        self,
        formula: str | Formula,
        columns: Mapping[str, Modality],
        family: str | None = None,
        *,
        seed: Seed = 0,
        structure: Structure | None = None,
        **options: Any,
    ) -> None:
        """Initialise a model with random weights, which depend on `seed`.

        `*` in the formula stands for all columns that it does not name and that can be used. `family` is a name in
        FAMILIES: by default any_order for numbers and labels, autoregressive for texts, else flow. `options` are those of
        the family, the keyword-only parameters of its `__init__`. By the rules of `structure`, such as those of
        `Table.structure`, targets are computed from other columns instead of learned; samples satisfy all of them.

        Raises FormulaError for columns that do not fit the formula, ValueError for an unknown family or option.
        """
        super().__init__()
        formula = Formula.parse(formula) if isinstance(formula, str) else formula
        self.formula = expand_formula(formula, columns)
        self.formula.check(columns)
        for view in self.formula.targets:
            if (spec := columns[view.name].spec).padded and not spec.categorical:
                raise FormulaError(
                    f"{view} can be a source only, as its codes cannot be decoded; "
                    f"write {quote_name(view.column)} for the target, and {view} after the bar"
                )
        rules = structure or Structure()
        self.structure = rules.restrict(self.formula.target_names, self.formula.columns)
        self.learned = self.structure.learned_formula(self.formula)
        defaults = {columns[n].default_family for n in self.targets}
        family = family or (defaults.pop() if len(defaults) == 1 else "flow")
        self.family_name = family
        cls = family_class(family)
        self.columns = columns_of(self.formula, columns, cls.learns_cells)
        if any(self.columns[n].spec.windowed for n in self.targets) and not issubclass(cls, CanScoreTokens):
            raise FormulaError(
                f"the family {family} cannot learn a document, which is learned in windows that begin anywhere; "
                "take the family autoregressive, or, if all documents are short, "
                f"{option_text('kind', 'COLUMN', 'text')}"
            )
        options = validate_options(options, cls.options(), f"option of the family {family}")
        defaults_of_family = {n: p.default for n, p in cls.options().items()}
        self.options = defaults_of_family | options  # saved too, as defaults may change in later versions
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            targets = {n: self.columns[n].spec for n in self.learned.target_names}
            sources = {n: self.columns[n].spec for n in self.sources}
            self.family: Family = cls(targets, sources, **self.options)
        self.fresh = frozenset(self.family.state_dict())
        self.ids: Mapping[str, Modality] = {}  # columns of the table of which tables of samples have new ids
        self.adaptation: Adaptation | None = None
        self.coders = nn.ModuleList(view for view in self.views.values() if isinstance(view, nn.Module))
        self.eval()  # the trainer trains a copy

    @property
    def untrained(self) -> bool:
        """Whether all weights are still random."""
        return self.fresh.issuperset(self.family.state_dict())

    # ---- log-probabilities

    @validated
    def log_prob(
        self,
        rows: Sequence[Row],
        *,
        seed: Seed = 0,
        indices: Sequence[int] | None = None,
        observed: Mapping[str, Any] | None = None,
        batch: PositiveInt = 64,
        **scoring_options: Any,
    ) -> Score:
        """log P(targets | sources) of each row, in nats, in the units of the values.

        A number has a density in its own unit; an image the probability of its 8-bit levels, by uniform
        dequantisation. Of columns that are computed it is 0, and -inf in a row that violates a rule of the structure, see
        `violations`. A document may have any length: it is scored in windows that overlap by half, so that
        each token but the first ones is conditioned on half a window at least; `Score.dims` are its bytes.

        seed, indices  noise of row i depends on (seed, indices[i]) only: rows that share an index share their
                       noise, which cancels in differences of their scores
        observed    target -> mask of bool over its grid, or a bool: log P of the parts where it is True, for families that
                    can marginalise the others; they leave out the targets that a row lacks
        batch       rows that are scored at once

        Other keywords are those of `scoring_options`. Raises ValueError if the family has no such density, and for a
        row without a target that the family cannot leave out.
        """
        family, options = self._scoring_family(), self.scoring_options()
        if observed and "observed" not in options:
            raise ValueError(f"the family {self.family_name} has no density of a part of its targets")
        for i, row in enumerate(rows):
            if reason := self.why_unscored(row):
                raise ValueError(f"row {i}: {reason}")
        options.pop("observed", None)
        scoring_options = validate_options(
            scoring_options, options, f"option of log_prob of the family {self.family_name}"
        )
        if isinstance(self.family, CanScoreTokens) and self.columns[self.targets[0]].spec.windowed:
            return scoring.score_documents(self.family, self.processor, rows, batch)
        indices = range(len(rows)) if indices is None else indices
        some = {n: mask for n, mask in (observed or {}).items() if n not in self.structure.computed}
        score = scoring.score_rows(family, self.processor, rows, seed, indices, some, batch, scoring_options)
        if not self.structure or observed:
            return score
        nats = torch.from_numpy(self.processor.rules.log_prob(rows)).to(score.nats)
        return Score(score.nats + nats, score.kind, score.dims)

    def why_unscored(self, row: Row) -> str | None:
        """Why a row has no `log_prob`, as it lacks all targets or the family cannot leave one out; None if it has."""
        learned = self.learned.target_names
        lacking = [name for name in learned if self.processor.lacks(name, row)]
        if lacking and len(lacking) == len(learned):
            return f"it has no value of {' or '.join(lacking)}"
        if lacking and "observed" not in self.scoring_options():
            return (
                f"it has no value of {', '.join(lacking)}, and the family {self.family_name} has no density of a part "
                "of its targets"
            )
        return None

    def violations(self, rows: Sequence[Row]) -> list[list[str]]:
        """The rules of the structure that each row violates, as text."""
        return self.processor.rules.violations(rows)

    def scoring_options(self) -> dict[str, inspect.Parameter]:
        """The options of `log_prob` that depend on the family. Raises ValueError if it has no density."""
        parameters = keyword_parameters(type(self._scoring_family()).log_prob)
        return {n: p for n, p in parameters.items() if n != "rng"}

    def _scoring_family(self) -> CanScore:
        if not isinstance(self.family, CanScore):
            raise ValueError(f"the family {self.family_name} has no density")
        return self.family

    # ---- folders

    def to_json(self) -> dict[str, Any]:
        """The architecture as JSON values: everything except the weights."""
        state: dict[str, Any] = {
            "formula": str(self.formula),
            "family": self.family_name,
            "options": self.options,
            "columns": {name: column.to_json() for name, column in self.columns.items()},
            "default_guidance": self.family.default_guidance,
        }
        frozen = {
            name: {"name": view.name, "fingerprint": view.fingerprint}
            for name, view in self.views.items()
            if isinstance(view, FrozenEncoder)
        }
        state |= {"structure": self.structure.to_json()} if self.structure else {}
        state |= {"ids": {name: column.to_json() for name, column in self.ids.items()}} if self.ids else {}
        return {**state, "frozen": frozen} if frozen else state

    @classmethod
    def from_json(
        cls, state: Mapping[str, Any], views: Mapping[str, Coder] | None = None, *, seed: Seed = 0
    ) -> Model:
        """The inverse of `to_json`, with random weights; `views` are the encoders that columns are seen through."""
        views, formula, columns = views or {}, Formula.parse(state["formula"]), {}
        for name, column in state["columns"].items():
            through = formula.view(name).through
            columns[name] = (
                Latent.from_json(column, views[through]) if through else modality_from_json(column)
            )
        with stored_values():
            structure = Structure.from_json(state.get("structure", []))
            model = cls(formula, columns, state["family"], seed=seed, structure=structure, **state["options"])
        model.ids = {name: modality_from_json(column) for name, column in state.get("ids", {}).items()}
        before = {
            name: validate_value(f"the default guidance of {name}", scale, GuidanceScale)
            for name, scale in state.get("default_guidance", model.family.default_guidance).items()
        }
        if formula.sources and before != model.family.default_guidance:
            warn(
                f"{str(formula)!r} was trained by an earlier version, whose default guidance is kept for it: "
                f"{_per_column(before)}; of a new run it is {_per_column(model.family.default_guidance)}"
            )
            model.family.default_guidance = dict(before)
        return model

    def save(self, folder: str | Path, **more: Any) -> None:
        """Write a run folder: model.json, with further JSON values `more`, and weights.safetensors.

        Models that columns are seen through are saved in views/NAME, so that the folder stands on its own; of a
        frozen encoder only the name and a fingerprint are saved.
        """
        self._save_views(Path(folder))
        checkpoint.save_weights(Path(folder), {**self.to_json(), **more}, self.family.state_dict())

    def save_without_weights(self, folder: str | Path, **more: Any) -> None:
        """Write what `save` does except for the weights, at the beginning of a training."""
        self._save_views(Path(folder))
        checkpoint.save_state(Path(folder), {**self.to_json(), **more})

    def _save_views(self, folder: Path) -> None:
        for name, view in self.views.items():
            if isinstance(view, Model):
                view.save(folder / checkpoint.VIEWS / name)

    @classmethod
    def load(cls, folder: str | Path, **options: Any) -> Model:
        """Read a run folder.

        `options` of the family replace those of the run, for further training: see `adapt`. Raises RunError if
        there is no such run, if it cannot be read, or if its weights do not fit.
        """
        folder = checkpoint.resolve_run(folder)
        state, weights = checkpoint.load_weights(folder)
        views = checkpoint.load_views(folder, state, cls.load)
        try:
            model = cls.from_json(state, views)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise checkpoint.damaged(folder / checkpoint.MODEL, error) from error
        checkpoint.load_weights_into(model.family, weights, folder)
        model.fresh = frozenset()
        return model.adapt(**options) if options else model

    # ---- further training

    @validated
    def adapt(
        self,
        table: Table | None = None,
        formula: str | Formula | None = None,
        *,
        names: Mapping[str, str] | None = None,
        seed: Seed = 0,
        **options: Any,
    ) -> Model:
        """A new model that begins with the weights of this one, to be trained on another table (fine-tuning).

        table    the rows that it is to learn, with the views of the formula; by default those of this model
        formula  of the new model; by default that of this one over the columns of the table, without the sources
                 that the table lacks: this model has learned never to be given them
        names    column of the table -> column of this model that it stands for, where neither names nor kinds tell:
                 see Reference
        seed     of the weights that are fresh

        `options` of the family replace those of this model. A column that stands for one of this model keeps its
        vocabulary, classes, size and scale, extended where the table needs it (Modality.refit). Weights are taken
        over by name, shape and column, the others are fresh, and `adaptation` tells which: until it is trained,
        the new model samples what this one does when it is given the same.

        Raises FormulaError for columns that do not match or fit, RunError for weights that do not fit.
        """
        matching, columns = match_table(self, table, formula, names or {})
        family = type(self.family)
        options = validate_options(options, family.options(), f"option of the family {self.family_name}")
        inherited = {name: value for name, value in self.options.items() if name not in options}
        with stored_values(), explain_inherited(inherited, family.options()):
            structure = inherited_structure(self.structure, table, matching)
            model = Model(
                matching.formula,
                columns,
                self.family_name,
                seed=seed,
                structure=structure,
                **inherited,
                **options,
            )
        transfer = transfer_family(model.family, self.family, matching)
        model.fresh = frozenset(name for name, taken in transfer.tensors.items() if not taken)
        model.adaptation = Adaptation(
            matching,
            transfer,
            changes(model.columns, self.columns, matching),
            resized(table, model.columns, matching),
        )
        return model


def _per_column(guidance: Mapping[str, float]) -> str:
    """
    >>> _per_column({"image": 2.0, "price": 1.0})
    '2 of image, 1 of price'
    """
    return ", ".join(f"{scale:g} of {name}" for name, scale in guidance.items())

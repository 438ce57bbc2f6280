"""Model: a formula, the modalities of its columns, and a family that learns the distribution."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likewise.core.batch import Context
from likewise.core.formula import Formula, FormulaError, View
from likewise.core.score import Score
from likewise.core.signatures import keyword_parameters, validate_options
from likewise.core.spec import Spec
from likewise.data.encoders import FrozenEncoder
from likewise.families.base import Family
from likewise.families.registry import family_class
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities import modality_from_json
from likewise.modalities.base import Modality, Row
from likewise.modalities.latent import Coder, Latent
from likewise.models import checkpoint, scoring
from likewise.models.conditional import Conditional
from likewise.models.processor import RowProcessor
from likewise.models.sampling import Sampler
from likewise.models.text_prompt import TextPrompt


class Model(nn.Module):
    """P(targets | sources) over typed columns.

    >>> from likewise.modalities import Label, Number
    >>> columns = {"price": Number.fit([1.0, 2.0, 4.0]), "kind": Label.fit(["a", "b"])}
    >>> model = Model("price | kind", columns, width=64, depth=1)
    >>> rows = model.given(kind="a").sample(2, seed=0)
    >>> sorted(rows[0]), len(rows)
    (['kind', 'price'], 2)
    """

    def __init__(
        self,
        formula: str | Formula,
        columns: Mapping[str, Modality],
        family: str | None = None,
        *,
        seed: int = 0,
        **options: Any,
    ) -> None:
        """`options` are those of the family (its `__init__`), which is autoregressive for texts, else flow.

        Raises FormulaError where the columns cannot serve the formula, ValueError, with the nearest name, for
        a family or an option that is not there.
        """
        super().__init__()
        self.formula = Formula.parse(formula) if isinstance(formula, str) else formula
        self.formula.check(columns)
        self.columns = {name: columns[name] for name in self.formula.columns}
        for view in self.formula.targets:
            if (spec := columns[str(view)].spec).padded and not spec.categorical:
                raise FormulaError(
                    f"{view} can be a source only, as nothing leads from it back to a value; "
                    f"write {view.column!r} for the target, and {view} after the bar"
                )
        defaults = {self.columns[n].default_family for n in self.targets}
        self.family_name = family = family or (defaults.pop() if len(defaults) == 1 else "flow")
        cls = family_class(family)
        if any(self.columns[n].spec.windowed for n in self.targets) and not hasattr(cls, "token_log_prob"):
            raise FormulaError(
                f"the family {family} cannot learn a document, of which it would see windows "
                "that begin anywhere; take the family autoregressive, or, if all are short, "
                "--kind COLUMN=text"
            )
        given = validate_options(options, cls.options(), f"option of the family {family}")
        self.options = {n: p.default for n, p in cls.options().items()} | given  # defaults may change one day
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            targets = {n: self.columns[n].spec for n in self.targets}
            sources = {n: self.columns[n].spec for n in self.sources}
            self.family: Family = cls(targets, sources, **self.options)
        self.untrained = True  # nothing is learned yet
        self.coders = nn.ModuleList(view for view in self.views.values() if isinstance(view, nn.Module))
        self.eval()  # what a trainer changes is a copy

    @property
    def targets(self) -> list[str]:
        return self.formula.target_names

    @property
    def sources(self) -> list[str]:
        return self.formula.source_names

    @property
    def target_columns(self) -> dict[str, Modality]:
        """What is drawn."""
        return {name: self.columns[name] for name in self.targets}

    @property
    def views(self) -> dict[str, Any]:
        """The models that columns are seen through, by the names that the formula gives them."""
        return {View.parse(n).through: c.coder for n, c in self.columns.items() if isinstance(c, Latent)}

    @property
    def device(self) -> torch.device:
        return next(self.family.parameters()).device

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        state = self.family.state_dict()
        parts = (
            f"{n} {v.dtype} {tuple(v.shape)}".encode()
            + v.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            for n, v in sorted(state.items())
        )
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]

    @property
    def processor(self) -> RowProcessor:
        """What is between the values of rows and the family."""
        return RowProcessor(self.formula, self.columns, self.device)

    def encode(self, name: str, values: Sequence[Any]) -> Tensor:
        """Values of a column -> (B, T, C) or (B, T) on the model's device. Raises ValueError."""
        return self.processor.encode(name, values)

    def context(self, rows: Sequence[Row]) -> Context:
        """The sources of rows: one that a row lacks, or that is None, is not given."""
        return self.processor.context(rows)

    # ---- drawing

    def sampling_options(self) -> dict[str, inspect.Parameter]:
        """What may be turned while drawing: the family's knobs."""
        return type(self.family).sampling_options()

    def given(self, **sources: Any) -> Conditional:
        """The distribution of the targets with these sources known; any subset of them may be given.

        Raises ValueError for a column that is no source, or a value that its modality cannot take.
        """
        return Conditional(self, self.processor.validate_sources(sources))

    def sample(
        self,
        rows: Sequence[Row],
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        init: tuple[Row, float] | None = None,
        prompts: Sequence[TextPrompt] | None = None,
        stop: Sequence[str] = (),
        constraint: Mapping[str, Constraint] | None = None,
        batch: int = 64,
        **sampling_options: Any,
    ) -> list[Row]:
        """The rows with their targets drawn; a row may give any subset of the sources.

        The draw of row i depends on (seed, indices[i]) alone, not on the rows it was drawn with, but for
        rounding, by which bf16 may turn a token, and the text after it: the knob `precision` has float32.
        `indices` are 0, 1, 2 ... unless given. `known` maps a target to its value, or to (value, mask) with a
        mask of bool over the column's grid, True where the value holds. Guidance goes away from the sources
        `negative` rather than from none. `init` is a value of every target that is not known, and a strength
        in (0, 1]: draws are variations of it, near 0 it comes back, 1 is from scratch. `prompts` are what the
        one target that is a text begins with, one a row, or pairs of what stands before and after a gap that
        is filled; what is drawn ends where one of `stop` comes in it, which is left out. `constraint` maps a
        target of texts to what they must obey, from their beginning to their end. Knobs are the family's (its
        `sample`). Raises ValueError for what the family cannot do.
        """
        draws = self._sampler(sampling_options, known=known, negative=negative, init=init)
        indices = range(len(rows)) if indices is None else indices
        return draws.sample(rows, seed, indices, prompts, stop, constraint or {}, batch)

    def stream(
        self,
        sources: Row | None = None,
        *,
        prompt: TextPrompt = "",
        stop: Sequence[str] = (),
        seed: int = 0,
        **sampling_options: Any,
    ) -> Iterator[str]:
        """What `sample` writes after one prompt, piece by piece as it is drawn; closing it stops the draw.

        Of a pair it is what stands between. Raises ValueError unless the one target is a text and the family
        writes it from left to right.
        """
        return self._sampler(sampling_options).stream(sources or {}, prompt, stop, seed)

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
        """n draws from P(targets | first) to P(targets | last), and from one seed's noise to the other's.

        Both ends are what `sample` draws of one row with that seed. Sources are mixed as Denoiser does, which
        not every family can; noise as Rng.between does. Raises ValueError where the family cannot, or n < 2.
        """
        return self.interpolate_rows(
            [first] * n, [last] * n, seeds=seeds, known=known, negative=negative, **sampling_options
        )

    def interpolate_rows(
        self,
        firsts: Sequence[Row],
        lasts: Sequence[Row],
        *,
        seeds: tuple[int, int],
        known: Mapping[str, Any] | None = None,
        negative: Row | None = None,
        **sampling_options: Any,
    ) -> list[Row]:
        """The same where the two sources are others at each of the steps, of which there are at least 2."""
        return self._sampler(sampling_options, known=known, negative=negative).interpolate_rows(
            firsts, lasts, seeds
        )

    def _sampler(self, sampling_options: Mapping[str, Any], **leads: Any) -> Sampler:
        return Sampler(self.family, self.family_name, self.processor, sampling_options, **leads)

    # ---- scoring

    def log_prob(
        self,
        rows: Sequence[Row],
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        observed: Mapping[str, Any] | None = None,
        batch: int = 64,
        **sampling_options: Any,
    ) -> Score:
        """log P(targets | sources) of each row, in nats of the values' own units.

        A number is a density in its unit; an image is the probability of its 8-bit levels, under uniform
        dequantisation. The noise of row i depends on (seed, indices[i]) alone: rows that share an index share
        their noise, which cancels in their difference. `observed` maps a target to a mask of bool over its
        grid: then it is log P of the parts where it is True, for families that can sum over the others. A
        document may have any length: windows of it overlap by half, so that all but the first tokens are
        told from half a window at least; its `dims` are bytes, (N,). Knobs are keywords of the family's
        log_prob. Raises ValueError if the family has no such density.
        """
        known = self.scoring_options()
        if observed and "observed" not in known:
            raise ValueError(f"the family {self.family_name} has no density of a part of its targets")
        known = {n: p for n, p in known.items() if n != "observed"}
        sampling_options = validate_options(
            sampling_options, known, f"option of log_prob of the family {self.family_name}"
        )
        if self.columns[self.targets[0]].spec.windowed:
            return scoring.score_documents(self.family, self.processor, rows, batch)
        indices = range(len(rows)) if indices is None else indices
        return scoring.score_rows(
            self.family, self.processor, rows, seed, indices, observed or {}, batch, sampling_options
        )

    def scoring_options(self) -> dict[str, inspect.Parameter]:
        """The keywords of the family's log_prob, less `rng`. Raises ValueError if it has no density."""
        if not hasattr(self.family, "log_prob"):
            raise ValueError(f"the family {self.family_name} has no density")
        return {n: p for n, p in keyword_parameters(type(self.family).log_prob).items() if n != "rng"}

    def embed(self, name: str, values: Sequence[Any] | Tensor, *, batch: int = 256) -> Tensor:
        """Values of a column -> unit vectors (N, floats) on the CPU, near where values belong together.

        A tensor is taken for values that are encoded already.

        Raises ValueError if the family has no embedding, or none of this column.
        """
        self.require_embedding()
        self.processor.target(name)
        with torch.no_grad():
            parts = (values[i : i + batch] for i in range(0, len(values), batch))
            return torch.cat(
                [
                    self.family.embed(
                        name, part if isinstance(part, Tensor) else self.encode(name, part)
                    ).cpu()
                    for part in parts
                ]
            )

    def require_embedding(self) -> None:
        """Raise ValueError unless the family has an embedding."""
        if not hasattr(type(self.family), "embed"):  # not a module of that name
            raise ValueError(
                f"the family {self.family_name} has no embedding; train one of the family contrastive"
            )

    # ---- a column seen through this model

    @property
    def has_decoder(self) -> bool:
        """Whether there is a way back from codes to values."""
        return hasattr(self.family, "from_codes")

    def view(self, column: str, values: Sequence[Any]) -> Latent:
        """The column as this model's codes, scaled by training values. Raises ValueError if it has none."""
        return Latent.fit(values, coder=self, column=column)

    def modality_of(self, column: str) -> Modality:
        """Of the target that is `column`, or a view of it. Raises ValueError unless it has codes."""
        return self.columns[self._target(column)]

    def code_spec(self, column: str) -> Spec:
        """The shape of the codes of a column."""
        name = self._target(column)
        return self.family.code_spec(name)

    def to_codes(self, column: str, values: Sequence[Any]) -> Tensor:
        """Values of a column -> codes, (N, T, C) float32 or (N, T) int64."""
        name = self._target(column)
        return self.family.to_codes(name, self.encode(name, values)).cpu()

    def from_codes(self, column: str, codes: Tensor) -> list[Any]:
        """Codes -> values."""
        name = self._target(column)
        return self.columns[name].decode_all(self.family.from_codes(name, codes.to(self.device)).cpu())

    def _target(self, column: str) -> str:
        if not hasattr(self.family, "code_spec"):
            raise ValueError(
                f"{column} cannot be seen through a model of the family {self.family_name}, "
                "which has no codes; train one of the family autoencoder, vae or contrastive"
            )
        for name in self.targets:
            if View.parse(name).column == column:
                return name
        raise ValueError(
            f"{column} cannot be seen through a model of P({self.formula}), which has no such target"
        )

    # ---- folders

    def to_json(self) -> dict[str, Any]:
        """All that is needed to build the same model again, less its weights."""
        found = {
            "formula": str(self.formula),
            "family": self.family_name,
            "options": self.options,
            "columns": {name: column.to_json() for name, column in self.columns.items()},
        }
        kept = {
            name: {"name": view.name, "fingerprint": view.fingerprint}
            for name, view in self.views.items()
            if isinstance(view, FrozenEncoder)
        }
        return {**found, "frozen": kept} if kept else found

    @classmethod
    def from_json(cls, state: Mapping[str, Any], views: Mapping[str, Coder] | None = None) -> Model:
        """The inverse of `to_json`; `views` are the models that its columns are seen through."""
        columns: dict[str, Modality] = {}
        for name, column in state["columns"].items():
            latent = column["kind"] == "latent"
            columns[name] = (
                Latent.from_json(column, views[View.parse(name).through])
                if latent
                else modality_from_json(column)
            )
        return cls(state["formula"], columns, state["family"], **state["options"])

    def save(self, folder: str | Path, **more: Any) -> None:
        """Write model.json and weights.safetensors; `more` are JSON values that go into model.json.

        The models that columns are seen through go into views/NAME: a run is one folder, wherever it goes. Of
        a frozen encoder it keeps the name and a fingerprint.
        """
        for name, view in self.views.items():
            if not isinstance(view, FrozenEncoder):
                view.save(Path(folder) / checkpoint.VIEWS / name)
        checkpoint.save_weights(Path(folder), {**self.to_json(), **more}, self.family.state_dict())

    @classmethod
    def load(cls, folder: str | Path, **options: Any) -> Model:
        """Read a run folder. Raises RunError that says what is wrong with it.

        With `options` of the family the model has these instead of its own, to be trained on: weights that
        only they ask for begin anew. Raises ValueError if the weights that are there do not fit them.
        """
        folder = Path(folder)
        state, weights = checkpoint.load_weights(folder)
        views = checkpoint.load_views(folder, state, cls.load)
        model = cls.from_json({**state, "options": state["options"] | options}, views)
        if options:
            weights = {n: v for n, v in model.family.state_dict().items() if n not in weights} | weights
        checkpoint.load_weights_into(model.family, weights, folder)
        model.untrained = False
        return model

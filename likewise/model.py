"""Model: a formula, the modalities of its columns, and a family that learns the distribution."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from likewise import checkpoint
from likewise.checkpoint import RunError
from likewise.constraints import Constraint
from likewise.families import FAMILIES, drawing, family_class
from likewise.families.base import LEADS, Family, Known, Score, keywords
from likewise.formula import Formula, FormulaError, View, unknown
from likewise.frozen import Frozen, again
from likewise.latent import Coder, Latent
from likewise.layout import Batch, Context
from likewise.leads import Start, Toward
from likewise.masks import blank
from likewise.modalities import Text, modality_from_json
from likewise.modalities.base import Modality
from likewise.rng import Rng
from likewise.spec import Spec
from likewise.writing import Prompt, Writing, streamed, windows

VIEWS = "views"  # folder, in that of a run, of the models that columns are seen through
Row = dict[str, Any]  # column -> a value a person can look at


class Model(nn.Module):
    """P(targets | sources) over typed columns.

    >>> from likewise.modalities import Label, Number
    >>> columns = {"price": Number.fit([1.0, 2.0, 4.0]), "kind": Label.fit(["a", "b"])}
    >>> model = Model("price | kind", columns, width=64, depth=1)
    >>> rows = model.given(kind="a").sample(2, seed=0)
    >>> sorted(rows[0]), len(rows)
    (['kind', 'price'], 2)
    """

    def __init__(self, formula: str | Formula, columns: Mapping[str, Modality],
                 family: str | None = None, *, seed: int = 0, **options: Any) -> None:
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
                raise FormulaError(f"{view} can be a source only, as nothing leads from it back to a value; "
                                   f"write {view.column!r} for the target, and {view} after the bar")
        written = all(isinstance(self.columns[n], Text) for n in self.targets)
        self.family_name = family = family or ("autoregressive" if written else "flow")
        cls = family_class(family)
        if any(self.columns[n].spec.running for n in self.targets) and not hasattr(cls, "token_log_prob"):
            raise FormulaError(f"the family {family} cannot learn a document, of which it would see windows "
                               "that begin anywhere; take the family autoregressive, or, if all are short, "
                               "--kind COLUMN=text")
        given = checked(options, cls.options(), f"option of the family {family}")
        self.options = {n: p.default for n, p in cls.options().items()} | given  # defaults may change one day
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            targets = {n: self.columns[n].spec for n in self.targets}
            sources = {n: self.columns[n].spec for n in self.sources}
            self.family: Family = cls(targets, sources, **self.options)
        self.eval()     # what a trainer learns is a copy
        self.fresh = True   # nothing is learned yet
        self.coders = nn.ModuleList(view for view in self.views.values() if isinstance(view, nn.Module))

    @property
    def targets(self) -> list[str]:
        return self.formula.learned

    @property
    def sources(self) -> list[str]:
        return self.formula.given

    @property
    def made(self) -> dict[str, Modality]:
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
        parts = (f"{n} {v.dtype} {tuple(v.shape)}".encode() + v.cpu().contiguous().view(-1).view(torch.uint8)
                 .numpy().tobytes() for n, v in sorted(state.items()))
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]

    def knobs(self) -> dict[str, inspect.Parameter]:
        """What may be turned while drawing: the family's knobs."""
        return type(self.family).knobs()

    # ---- drawing and scoring

    def given(self, **sources: Any) -> Conditional:
        """The distribution of the targets with these sources known; any subset of them may be given.

        Raises ValueError for a column that is no source, or a value that its modality cannot take.
        """
        for name, value in sources.items():
            if name not in self.sources:
                raise ValueError(unknown("source", name, self.sources))
            self._check(name, value)
        return Conditional(self, sources)

    def sample(self, rows: Sequence[Row], *, seed: int = 0, indices: Sequence[int] | None = None,
               known: Mapping[str, Any] | None = None, negative: Row | None = None,
               start: tuple[Row, float] | None = None, prompts: Sequence[Prompt] | None = None,
               stop: Sequence[str] = (), constraint: Mapping[str, Constraint] | None = None, batch: int = 64,
               **knobs: Any) -> list[Row]:
        """The rows with their targets drawn; a row may give any subset of the sources.

        The draw of row i depends on (seed, indices[i]) alone, not on the rows it was drawn with; `indices`
        are 0, 1, 2 ... unless given. `known` maps a target to its value, or to (value, mask) with a mask of
        bool over the column's grid, True where the value holds. Guidance goes away from the sources
        `negative` rather than from none. `start` is a value of every target that is not known, and a strength
        in (0, 1]: draws are variations of it, near 0 it comes back, 1 is from scratch. `prompts` are what the
        one target that is a text begins with, one a row, or pairs of what stands before and after a gap that
        is filled; what is drawn ends where one of `stop` comes in it, which is left out. `constraint` maps a
        target of texts to what they must obey, from their beginning to their end. Knobs are the family's (its
        `sample`). Raises ValueError for what the family cannot do.
        """
        indices = range(len(rows)) if indices is None else indices
        drawn: list[Row] = []
        if constraint and (prompts is not None or stop or knobs.get("tokens")):
            raise ValueError("a constraint holds from a text's beginning to its end; leave prompts, stop and "
                             "tokens out")
        bound = self._bound(constraint, known)
        if prompts is not None and (isinstance(prompts, str) or len(prompts) != len(rows)):
            raise ValueError(f"prompts are a list, one for each of the {len(rows)} rows")
        for first in range(0, len(rows), batch):
            part, some = rows[first : first + batch], slice(first, first + batch)
            rng = Rng(indices[some], "sample", seed, device=self.device)
            leads = {**self._leads(len(part), known, negative, start), **bound}
            writing = None
            if prompts is not None or stop:
                self._can("prompt")
                writing = Writing(self.made, None if prompts is None else prompts[some], stop, heal=not known)
                leads |= writing.leads
            found = self._drawn(part, rng, known, leads, knobs)
            for k, row in enumerate(found if writing else ()):
                row[writing.name] = writing.written(row[writing.name], k)
            drawn += found
        return drawn

    def stream(self, sources: Row | None = None, *, prompt: Prompt = "", stop: Sequence[str] = (),
               seed: int = 0, **knobs: Any) -> Iterator[str]:
        """What `sample` writes after one prompt, piece by piece as it is drawn; closing it stops the draw.

        Of a pair it is what stands between. Raises ValueError unless the one target is a text and the family
        writes it from left to right.
        """
        self._can("prompt")
        writing = Writing(self.made, [prompt], stop)
        rng = Rng([0], "sample", seed, device=self.device)
        return streamed(writing, lambda watch: self._drawn([sources or {}], rng, None,
                                                           {**writing.leads, "watch": watch}, knobs))

    def interpolate(self, first: Row, last: Row, n: int = 7, *, seeds: tuple[int, int] = (0, 0),
                    known: Mapping[str, Any] | None = None, negative: Row | None = None,
                    **knobs: Any) -> list[Row]:
        """n draws from P(targets | first) to P(targets | last), and from one seed's noise to the other's.

        Both ends are what `sample` draws of one row with that seed. Sources are mixed as Denoiser does, which
        not every family can; noise as Rng.between does. Raises ValueError where the family cannot, or n < 2.
        """
        return self.between([first] * n, [last] * n, seeds=seeds, known=known, negative=negative, **knobs)

    def between(self, firsts: Sequence[Row], lasts: Sequence[Row], *, seeds: tuple[int, int],
                known: Mapping[str, Any] | None = None, negative: Row | None = None,
                **knobs: Any) -> list[Row]:
        """The same where the two sources are others at each of the steps, of which there are at least 2."""
        n = len(firsts)
        if n < 2:
            raise ValueError(f"an interpolation has two ends, so at least 2 steps, not {n}")
        share = torch.linspace(0, 1, n, dtype=torch.float64)
        rngs = [Rng([0] * n, "sample", seed, device=self.device) for seed in seeds]
        leads = self._leads(n, known, negative, None)
        if any(map(_differ, firsts, lasts)):
            self._can("toward")
            leads["toward"] = Toward(self.context(lasts), share.float()[:, None].to(self.device))
        return self._drawn(firsts, Rng.between(*rngs, share), known, leads, knobs)

    def _drawn(self, rows: Sequence[Row], rng: Rng, known: Mapping[str, Any] | None, leads: Mapping[str, Any],
               knobs: Mapping[str, Any]) -> list[Row]:
        """The rows with their targets drawn, all at once."""
        drawing(self.family_name)
        knobs = checked(knobs, self.knobs(), f"knob of the family {self.family_name}")
        with torch.no_grad():
            c, fixed = self.context(rows), self._known(known, len(rows))
            out = self.family.sample(c, known=fixed, rng=rng, **leads, **knobs)
        values = {n: self.columns[n].decode_all(out[n].cpu()) for n in self.targets}
        for name, given in (known or {}).items():
            value, mask = self._held(name, given)
            values[name] = [self.columns[name].keep(drawn, value, mask) for drawn in values[name]]
        return [{**row, **{n: values[n][i] for n in values}} for i, row in enumerate(rows)]

    def _leads(self, rows: int, known: Mapping[str, Any] | None, negative: Row | None,
               start: tuple[Row, float] | None) -> dict[str, Any]:
        """What leads a draw of so many rows beside their sources."""
        leads: dict[str, Any] = {}
        if negative is not None:
            self._can("against")
            leads["against"] = self.context([self.given(**negative).sources] * rows)
        if start is not None:
            self._can("start")
            whole = {n: v for n, v in (known or {}).items() if not isinstance(v, tuple)}
            given = self._known({**whole, **start[0]}, rows)
            if lacks := [n for n in self.targets if given is None or n not in given.values]:
                raise ValueError(f"a start needs a value of every target that is not known; {lacks[0]!r} has "
                                 "none")
            leads["start"] = Start(given.values, start[1])
        return leads

    def _bound(self, constraint: Mapping[str, Constraint] | None, known: Mapping[str, Any] | None) -> Row:
        """The lead of that name, for the ids of the targets; nothing without constraints."""
        if not constraint:
            return {}
        self._can("constraint")
        bound = {}
        for name, given in constraint.items():
            if name not in self.targets:
                raise ValueError(unknown("target", name, self.targets))
            column = self.columns[name]
            if not isinstance(column, Text):
                raise ValueError(f"{name} is drawn as {column.kind}, and a constraint is for a text")
            if name in (known or {}):
                raise ValueError(f"{name} is known and constrained; leave out one of the two")
            try:
                bound[name] = given.bind(column.pieces, column.length, column.opening.encode())
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return {"constraint": bound}

    def _can(self, lead: str) -> None:
        """Raise ValueError unless the family's draws can be led so."""
        if lead not in type(self.family).leads():
            able = [name for name in FAMILIES if lead in family_class(name).leads()]
            raise ValueError(f"the family {self.family_name} cannot {LEADS[lead]}; those that can: "
                             f"{', '.join(able)}")

    def log_prob(self, rows: Sequence[Row], *, seed: int = 0, indices: Sequence[int] | None = None,
                 observed: Mapping[str, Any] | None = None, batch: int = 64, **knobs: Any) -> Score:
        """log P(targets | sources) of each row, in nats of the values' own units.

        A number is a density in its unit; an image is the probability of its 8-bit levels, under uniform
        dequantisation. The noise of row i depends on (seed, indices[i]) alone: rows that share an index share
        their noise, which cancels in their difference. `observed` maps a target to a mask of bool over its
        grid: then it is log P of the parts where it is True, for families that can sum over the others. A
        document may have any length: windows of it overlap by half, so that all but the first tokens are
        told from half a window at least; its `dims` are bytes, (N,). Knobs are keywords of the family's
        log_prob. Raises ValueError if the family has no such density.
        """
        known = self.scoring()
        if observed and "observed" not in known:
            raise ValueError(f"the family {self.family_name} has no density of a part of its targets")
        known = {n: p for n, p in known.items() if n != "observed"}
        knobs = checked(knobs, known, f"knob of log_prob of the family {self.family_name}")
        if self.columns[self.targets[0]].spec.running:
            return self._document(rows, batch)
        indices = range(len(rows)) if indices is None else indices
        specs, masks = self.family.targets, {n: self.mask_of(n, mask) for n, mask in (observed or {}).items()}
        if masks:  # then of every target
            masks = {n: torch.ones(s.tokens, dtype=torch.bool, device=self.device)
                     for n, s in specs.items()} | masks
        parts = []
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            rng = Rng(indices[start : start + batch], "score", seed, device=self.device)
            x = {n: self._dequantised(n, self.encode(n, [r[n] for r in part]), rng) for n in self.targets}
            if masks:
                knobs["observed"] = {n: mask.expand(len(part), -1) for n, mask in masks.items()}
            with torch.no_grad():
                parts.append(self.family.log_prob(x, self.context(part), rng=rng, **knobs))
        dims = {n: (int(masks[n].sum()) if masks else s.tokens) * s.width for n, s in specs.items()}
        scale = sum(count * self.columns[n].log_scale for n, count in dims.items())
        return Score(torch.cat([p.nats for p in parts]) + scale, parts[0].kind, sum(dims.values()))

    def _document(self, rows: Sequence[Row], batch: int) -> Score:
        """log P of documents, of any length."""
        [name] = self.targets
        column = self.columns[name]
        for row in rows:
            self._check(name, row[name])
        cuts = ((k, *cut) for k, row in enumerate(rows)
                for cut in windows(column.ids(row[name]), column.length))
        nats = torch.zeros(len(rows), dtype=torch.float64, device=self.device)  # of millions of tokens
        while some := list(itertools.islice(cuts, batch)):
            which, ids, fresh = zip(*some, strict=True)
            with torch.no_grad():
                told = self.family.token_log_prob({name: torch.stack(ids).to(self.device)},
                                                  self.context([rows[k] for k in which]))[name]
            nats.index_add_(0, torch.tensor(which, device=self.device),
                            (told * torch.stack(fresh).to(self.device)).sum(1).double())
        sizes = [len(row[name].encode()) for row in rows]
        return Score(nats.float(), "exact", torch.tensor(sizes, device=self.device))

    def scoring(self) -> dict[str, inspect.Parameter]:
        """The keywords of the family's log_prob, less `rng`. Raises ValueError if it has no density."""
        if not hasattr(self.family, "log_prob"):
            raise ValueError(f"the family {self.family_name} has no density")
        return {n: p for n, p in keywords(type(self.family).log_prob).items() if n != "rng"}

    def embed(self, name: str, values: Sequence[Any] | Tensor, *, batch: int = 256) -> Tensor:
        """Values of a column -> unit vectors (N, floats) on the CPU, near where values belong together.

        A tensor is taken for values that are encoded already.

        Raises ValueError if the family has no embedding, or none of this column.
        """
        self.embeds()
        if name not in self.targets:
            raise ValueError(unknown("target", name, self.targets))
        with torch.no_grad():
            parts = (values[i : i + batch] for i in range(0, len(values), batch))
            return torch.cat([self.family.embed(name, part if isinstance(part, Tensor)
                                                else self.encode(name, part)).cpu() for part in parts])

    def embeds(self) -> None:
        """Raise ValueError unless the family has an embedding."""
        if not hasattr(type(self.family), "embed"):  # not a module of that name
            raise ValueError(f"the family {self.family_name} has no embedding; "
                             "train one of the family contrastive")

    # ---- values <-> tokens

    def encode(self, name: str, values: Sequence[Any]) -> Tensor:
        """Values of a column -> (B, T, C) or (B, T) on the model's device."""
        for value in values:
            self._check(name, value)
        return self.columns[name].encode_all(values).to(self.device)

    def context(self, rows: Sequence[Row]) -> Context:
        """Rows -> Context: a source that a row lacks, or that is None, is not given."""
        values: Batch = {}
        for name in self.sources:
            values[name] = blank(self.columns[name].spec, len(rows), self.device)
            given = [i for i, row in enumerate(rows) if row.get(name) is not None]
            if given:
                values[name][given] = self.encode(name, [rows[i][name] for i in given])
        present = [[row.get(name) is not None for name in self.sources] for row in rows]
        flags = torch.tensor(present, dtype=torch.bool).view(len(rows), len(self.sources))
        return Context(values, flags).to(self.device)

    def _check(self, name: str, value: Any) -> None:
        reason = self.columns[name].check(value)
        if reason:
            raise ValueError(f"{name}: {reason}")

    def _known(self, known: Mapping[str, Any] | None, rows: int) -> Known | None:
        if not known:
            return None
        values, masks = {}, {}
        for name, value in known.items():
            if name not in self.targets:
                raise ValueError(unknown("target", name, self.targets))
            value, mask = self._held(name, value)
            spec = self.columns[name].spec
            masks[name] = self.mask_of(name, mask).expand(rows, -1)
            values[name] = self.encode(name, [value]).expand(rows, *[-1] * (1 + (not spec.categorical)))
        return Known(values, masks)

    def _held(self, name: str, given: Any) -> tuple[Any, Tensor]:
        """A value, or (value, mask), -> both; without a mask all of it holds."""
        whole = torch.ones(self.columns[name].spec.tokens, dtype=torch.bool)
        value, mask = given if isinstance(given, tuple) else (given, whole)
        return value, torch.as_tensor(mask).bool()

    def mask_of(self, name: str, mask: Any) -> Tensor:
        """A mask over the grid of a target -> (T,) bool on the model's device. Raises ValueError."""
        if name not in self.targets:
            raise ValueError(unknown("target", name, self.targets))
        try:
            return self.columns[name].places(torch.as_tensor(mask).bool()).to(self.device)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _dequantised(self, name: str, x: Tensor, rng: Rng) -> Tensor:
        cell = self.columns[name].cell
        return x + cell * (rng.uniform(*x.shape[1:]) - 0.5) if cell else x

    # ---- a column seen through this model

    @property
    def decodes(self) -> bool:
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
            raise ValueError(f"{column} cannot be seen through a model of the family {self.family_name}, "
                             "which has no codes; train one of the family autoencoder, vae or contrastive")
        for name in self.targets:
            if View.parse(name).column == column:
                return name
        raise ValueError(f"{column} cannot be seen through a model of P({self.formula}), which has no such "
                         "target")

    # ---- folders

    def to_json(self) -> dict[str, Any]:
        """All that is needed to build the same model again, less its weights."""
        found = {"formula": str(self.formula), "family": self.family_name, "options": self.options,
                 "columns": {name: column.to_json() for name, column in self.columns.items()}}
        kept = {name: {"name": view.name, "fingerprint": view.fingerprint}
                for name, view in self.views.items() if isinstance(view, Frozen)}
        return {**found, "frozen": kept} if kept else found

    @classmethod
    def from_json(cls, state: Mapping[str, Any], views: Mapping[str, Coder] | None = None) -> Model:
        """The inverse of `to_json`; `views` are the models that its columns are seen through."""
        columns: dict[str, Modality] = {}
        for name, column in state["columns"].items():
            latent = column["kind"] == "latent"
            columns[name] = (Latent.from_json(column, views[View.parse(name).through]) if latent
                             else modality_from_json(column))
        return cls(state["formula"], columns, state["family"], **state["options"])

    def save(self, folder: str | Path, **more: Any) -> None:
        """Write model.json and weights.safetensors; `more` are JSON values that go into model.json.

        The models that columns are seen through go into views/NAME: a run is one folder, wherever it goes. Of
        a frozen encoder it keeps the name and a fingerprint.
        """
        for name, view in self.views.items():
            if not isinstance(view, Frozen):
                view.save(Path(folder) / VIEWS / name)
        checkpoint.save_weights(Path(folder), {**self.to_json(), **more}, self.family.state_dict())

    @classmethod
    def load(cls, folder: str | Path, **options: Any) -> Model:
        """Read a run folder. Raises RunError that says what is wrong with it.

        With `options` of the family the model has these instead of its own, to be trained on: weights that
        only they ask for begin anew. Raises ValueError if the weights that are there do not fit them.
        """
        folder = Path(folder)
        state, weights = checkpoint.load_weights(folder)
        through = sorted({view.through for name in state["columns"] if (view := View.parse(name)).through})
        state = {**state, "options": state["options"] | options}
        model = cls.from_json(state, {name: cls._view(folder, name, state) for name in through})
        if options:
            weights = {n: v for n, v in model.family.state_dict().items() if n not in weights} | weights
        checkpoint.fill(model.family, weights, folder)
        model.fresh = False
        return model.eval()

    @classmethod
    def _view(cls, folder: Path, name: str, state: Mapping[str, Any]) -> Coder:
        """What columns are seen through under that name. Raises RunError."""
        if name in state.get("frozen", {}):
            try:
                return again(**state["frozen"][name])
            except ValueError as error:
                raise RunError(f"{folder} cannot be read: {error}") from None
        if not (folder / VIEWS / name).is_dir():
            raise RunError(f"{folder} lacks {VIEWS}/{name}, the model that it sees a column through; "
                           "copy it there, or restore the folder")
        return cls.load(folder / VIEWS / name)


@dataclass(frozen=True)
class Conditional:
    """A model with some of its sources given: P(targets | these)."""

    model: Model
    sources: Row

    def sample(self, n: int = 1, *, seed: int = 0, known: Mapping[str, Any] | None = None,
               **knobs: Any) -> list[Row]:
        """n draws; see Model.sample."""
        return self.model.sample([self.sources] * n, seed=seed, known=known, **knobs)

    def log_prob(self, *, seed: int = 0, **given: Any) -> Score:
        """log P(targets | sources), one row: a value of every target, and knobs; see Model.log_prob."""
        missing = [n for n in self.model.targets if n not in given]
        if missing:
            raise ValueError(f"log_prob needs a value of every target; {missing[0]!r} has none")
        targets = {n: given.pop(n) for n in self.model.targets}
        return self.model.log_prob([{**self.sources, **targets}], seed=seed, **given)


def _differ(a: Row, b: Row) -> bool:
    """Whether two rows give other sources; a vector is compared number by number."""
    return a.keys() != b.keys() or any(
        not np.array_equal(a[n], b[n]) if isinstance(a[n], np.ndarray) else a[n] != b[n] for n in a)


def checked(given: Mapping[str, Any], known: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`given`, if every name in it is in `known` and every choice one of its Literal's. Raises ValueError."""
    for name, value in given.items():
        if name not in known:
            raise ValueError(unknown(what, name, known))
        choices = typing.get_args(known[name].annotation)
        if typing.get_origin(known[name].annotation) is typing.Literal and value not in choices:
            raise ValueError(f"{name} is one of {', '.join(map(str, choices))}, not {value!r}")
    return dict(given)

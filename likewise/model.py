"""Model: a formula, the modalities of its columns, and a family that learns the distribution."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likewise import checkpoint
from likewise.families import drawing, family_class
from likewise.families.base import Family, Known, Score, keywords
from likewise.formula import Formula, unknown
from likewise.layout import Batch, Context
from likewise.modalities import modality_from_json
from likewise.modalities.base import Modality
from likewise.rng import Rng

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

    def __init__(self, formula: str | Formula, columns: Mapping[str, Modality], family: str = "flow", *,
                 seed: int = 0, **options: Any) -> None:
        """`options` are those of the family (its `__init__`).

        Raises FormulaError where the columns cannot serve the formula, ValueError, with the nearest name, for
        a family or an option that is not there.
        """
        super().__init__()
        self.formula = Formula.parse(formula) if isinstance(formula, str) else formula
        self.formula.check(columns)
        self.columns = {name: columns[name] for name in self.formula.columns}
        self.family_name = family
        cls = family_class(family)
        given = checked(options, cls.options(), f"option of the family {family}")
        self.options = {n: p.default for n, p in cls.options().items()} | given  # defaults may change one day
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            targets = {n: self.columns[n].spec for n in self.targets}
            sources = {n: self.columns[n].spec for n in self.sources}
            self.family: Family = cls(targets, sources, **self.options)

    @property
    def targets(self) -> list[str]:
        return self.formula.learned

    @property
    def sources(self) -> list[str]:
        return self.formula.given

    @property
    def device(self) -> torch.device:
        return next(self.family.parameters()).device

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
               known: Mapping[str, Any] | None = None, batch: int = 64, **knobs: Any) -> list[Row]:
        """The rows with their targets drawn; a row may give any subset of the sources.

        The draw of row i depends on (seed, indices[i]) alone, not on the rows it was drawn with; `indices`
        are 0, 1, 2 ... unless given. `known` maps a target to its value, or to (value, mask) with a mask of
        bool over the column's grid, True where the value holds. Knobs are the family's (its `sample`).
        Raises ValueError if the family draws nothing.
        """
        knobs = checked(knobs, drawing(self.family_name).knobs(), f"knob of the family {self.family_name}")
        indices = range(len(rows)) if indices is None else indices
        drawn: list[Row] = []
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            rng = Rng(indices[start : start + batch], "sample", seed, device=self.device)
            with torch.no_grad():
                c, fixed = self.context(part), self._known(known, len(part))
                out = self.family.sample(c, known=fixed, rng=rng, **knobs)
            for i, row in enumerate(part):
                drawn.append({**row, **{n: self.columns[n].decode(out[n][i].cpu()) for n in self.targets}})
        return drawn

    def log_prob(self, rows: Sequence[Row], *, seed: int = 0, indices: Sequence[int] | None = None,
                 observed: Mapping[str, Any] | None = None, batch: int = 64, **knobs: Any) -> Score:
        """log P(targets | sources) of each row, in nats of the values' own units.

        A number is a density in its unit; an image is the probability of its 8-bit levels, under uniform
        dequantisation. The noise of row i depends on (seed, indices[i]) alone: rows that share an index share
        their noise, which cancels in their difference. `observed` maps a target to a mask of bool over its
        grid: then it is log P of the parts where it is True, for families that can sum over the others. Knobs
        are keywords of the family's log_prob. Raises ValueError if the family has no such density.
        """
        known = self.scoring()
        if observed and "observed" not in known:
            raise ValueError(f"the family {self.family_name} has no density of a part of its targets")
        known = {n: p for n, p in known.items() if n != "observed"}
        knobs = checked(knobs, known, f"knob of log_prob of the family {self.family_name}")
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

    def scoring(self) -> dict[str, inspect.Parameter]:
        """The keywords of the family's log_prob, less `rng`. Raises ValueError if it has no density."""
        if not hasattr(self.family, "log_prob"):
            raise ValueError(f"the family {self.family_name} has no density")
        return {n: p for n, p in keywords(type(self.family).log_prob).items() if n != "rng"}

    def embed(self, name: str, values: Sequence[Any], *, batch: int = 256) -> Tensor:
        """Values of a column -> unit vectors (N, floats) on the CPU, near where values belong together.

        Raises ValueError if the family has no embedding, or none of this column.
        """
        if not hasattr(type(self.family), "embed"):  # not a module of that name
            raise ValueError(f"the family {self.family_name} has no embedding; "
                             "train one of the family contrastive")
        if name not in self.targets:
            raise ValueError(unknown("target", name, self.targets))
        with torch.no_grad():
            parts = [self.family.embed(name, self.encode(name, values[i : i + batch])).cpu()
                     for i in range(0, len(values), batch)]
        return torch.cat(parts)

    # ---- values <-> tokens

    def encode(self, name: str, values: Sequence[Any]) -> Tensor:
        """Values of a column -> (B, T, C) or (B, T) on the model's device."""
        for value in values:
            self._check(name, value)
        return torch.stack([self.columns[name].encode(v) for v in values]).to(self.device)

    def context(self, rows: Sequence[Row]) -> Context:
        """Rows -> Context: a source that a row lacks, or that is None, is not given."""
        values: Batch = {}
        for name in self.sources:
            spec = self.columns[name].spec
            if spec.categorical:
                blank = torch.zeros(spec.tokens, dtype=torch.int64)
            else:
                blank = torch.zeros(spec.tokens, spec.width)
            given = [row.get(name) for row in rows]
            tokens = [blank if v is None else self.encode(name, [v])[0].cpu() for v in given]
            values[name] = torch.stack(tokens)
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
            value, mask = value if isinstance(value, tuple) else (value, None)
            spec = self.columns[name].spec
            mask = torch.ones(spec.tokens, dtype=torch.bool) if mask is None else mask
            masks[name] = self.mask_of(name, mask).expand(rows, -1)
            values[name] = self.encode(name, [value]).expand(rows, *[-1] * (1 + (not spec.categorical)))
        return Known(values, masks)

    def mask_of(self, name: str, mask: Any) -> Tensor:
        """A mask over the grid of a target -> (T,) bool on the model's device. Raises ValueError."""
        if name not in self.targets:
            raise ValueError(unknown("target", name, self.targets))
        mask, spec = torch.as_tensor(mask).bool(), self.columns[name].spec
        if mask.numel() != spec.tokens:
            raise ValueError(f"{name}: the mask has {mask.numel()} places, "
                             f"the column {spec.tokens} ({spec.grid})")
        return mask.flatten().to(self.device)

    def _dequantised(self, name: str, x: Tensor, rng: Rng) -> Tensor:
        cell = self.columns[name].cell
        return x + cell * (rng.uniform(*x.shape[1:]) - 0.5) if cell else x

    # ---- folders

    def to_json(self) -> dict[str, Any]:
        """All that is needed to build the same model again, less its weights."""
        return {"formula": str(self.formula), "family": self.family_name, "options": self.options,
                "columns": {name: column.to_json() for name, column in self.columns.items()}}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Model:
        columns = {name: modality_from_json(column) for name, column in state["columns"].items()}
        return cls(state["formula"], columns, state["family"], **state["options"])

    def save(self, folder: str | Path, **more: Any) -> None:
        """Write model.json and weights.safetensors; `more` are JSON values that go into model.json."""
        checkpoint.save_weights(Path(folder), {**self.to_json(), **more}, self.family.state_dict())

    @classmethod
    def load(cls, folder: str | Path) -> Model:
        """Read a run folder. Raises RunError that says what is wrong with it."""
        state, weights = checkpoint.load_weights(Path(folder))
        model = cls.from_json(state)
        checkpoint.fill(model.family, weights, Path(folder))
        return model.eval()


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


def checked(given: Mapping[str, Any], known: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`given`, if every name in it is in `known` and every choice one of its Literal's. Raises ValueError."""
    for name, value in given.items():
        if name not in known:
            raise ValueError(unknown(what, name, known))
        choices = typing.get_args(known[name].annotation)
        if typing.get_origin(known[name].annotation) is typing.Literal and value not in choices:
            raise ValueError(f"{name} is one of {', '.join(map(str, choices))}, not {value!r}")
    return dict(given)

"""What every family must do, as checks that any family can be run through, ours or yours:

    from likewise.testing import check_family
    check_family(MyFamily)

A check is a function of a Subject, a family on one choice of targets and sources. It yields conditions, each
with what is wrong where it does not hold, and says what it needs of a family and of a case: where these do
not meet the needs it does not apply, and where it applies at least one condition is looked at.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context, EncodedRows
from likewise.core.known import KnownParts, where_known
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.spec import IMAGE, Spec
from likewise.families.base import Family
from likewise.nets.column_weights import transfer_weights

CLOSE = 1e-4  # how far two computations of one number may differ, in the units of tokens
ROWS = 6  # of the batch that the checks use
FITTED_ROWS = 60  # of random values, for families that are fitted to rows at once

TARGETS: dict[str, dict[str, Spec]] = {
    "label": {"label": Spec((1,), classes=4)},
    "number": {"number": Spec((1,))},
    "grey": {"image": Spec((12, 12), axes=IMAGE)},
    "colour": {"image": Spec((9, 13), width=3, axes=IMAGE)},
    "text": {"text": Spec((6,), classes=40, padded=True)},
    "several": {"image": Spec((12, 12), axes=IMAGE), "label": Spec((1,), classes=4), "number": Spec((1,))},
    "row": {"label": Spec((1,), classes=4), "number": Spec((1,)), "other": Spec((1,), classes=2)},
}
SOURCES: dict[str, dict[str, Spec]] = {
    "of_label": {"from_label": Spec((1,), classes=3)},
    "of_number": {"from_number": Spec((1,))},
    "of_image": {"from_image": Spec((9, 10), width=3, axes=IMAGE)},
    "of_text": {"from_text": Spec((7,), classes=11, padded=True)},
    "of_features": {"from_features": Spec((5,), width=4, padded=True)},
}
_ALL = {name: spec for part in SOURCES.values() for name, spec in part.items()}


@dataclass(frozen=True)
class Case:
    """Targets and sources to try a family on."""

    targets: Mapping[str, Spec]
    sources: Mapping[str, Spec] = field(default_factory=dict)


CASES: dict[str, Case] = {
    **{name: Case(targets) for name, targets in TARGETS.items()},
    **{f"{name}_of_all": Case(targets, _ALL) for name, targets in TARGETS.items()},
    **{f"number_{name}": Case(TARGETS["number"], sources) for name, sources in SOURCES.items()},
    "captioned": Case({**TARGETS["colour"], **TARGETS["text"]}),
    "row_of_vector": Case(TARGETS["row"], {"from_vector": Spec((1,), width=5)}),
    "row_of_row": Case(TARGETS["row"], SOURCES["of_label"] | SOURCES["of_number"]),
}


class Subject:
    """A small family on a case, every weight moved off its starting point, and a batch of rows for it.

    Row i gives every source but the one whose turn it is, and the last row none: each is given in some rows and
    missing in others.
    """

    def __init__(self, cls: type[Family], case: Case, options: Mapping[str, Any]) -> None:
        small = {n: v for n, v in {"width": 32, "depth": 1}.items() if n in cls.options()}
        self.cls, self.case, self.options = cls, case, {**small, **options}
        self.sampling_options = {"steps": 3} if "steps" in cls.sampling_options() else {}
        self.draws, self.embeds = hasattr(cls, "sample"), hasattr(cls, "embed")
        self.family = self.make(0)
        draw = torch.Generator().manual_seed(1)
        self.x = {n: values(s, draw) for n, s in case.targets.items()}
        given = {n: values(s, draw) for n, s in case.sources.items()}
        missing = torch.arange(ROWS)[:, None] % (1 + len(given)) == torch.arange(len(given))
        missing[-1] = True
        self.c = Context(given, ~missing)

    def make(self, seed: int) -> Family:
        """A family with weights from `seed`, none of them zero: that would hide what flows through them."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            family = self.cls(self.case.targets, self.case.sources, **self.options)
            with torch.no_grad():
                for p in family.parameters():
                    p.add_(0.1 * torch.randn_like(p))
        if not family.learns_by_gradients:
            fit_to_random_rows(family, seed)
        return family.eval()

    def like(self, targets: Mapping[str, Spec], sources: Mapping[str, Spec]) -> Subject:
        """The same family with other weights, on another case."""
        other = Subject(self.cls, Case(targets, sources), self.options)
        other.family = other.make(3)
        return other

    def loss(self, phase: str, *, x: Batch | None = None, c: Context | None = None, seed: int = 0) -> Tensor:
        rng = Rng(range(ROWS), "check", seed)
        return self.family.loss(self.x if x is None else x, self.c if c is None else c, phase, rng)

    def sample(
        self,
        *,
        c: Context | None = None,
        known: KnownParts | None = None,
        rows: Iterable[int] = range(ROWS),
        seed: int = 0,
        family: Family | None = None,
    ) -> Batch:
        rng = Rng(rows, "check", seed)
        family, c = family or self.family, self.c if c is None else c
        with torch.no_grad():
            return method(family, "sample")(c, known=known, rng=rng, **self.sampling_options)

    def embed(self, *, rows: Iterable[int] = range(ROWS), family: Family | None = None) -> Batch:
        family, rows = family or self.family, list(rows)
        with torch.no_grad():
            return {n: method(family, "embed")(n, v[rows]) for n, v in self.x.items()}


def fit_to_random_rows(family: Family, seed: int) -> None:
    """Let a family that learns without gradients see FITTED_ROWS random rows."""
    draw = torch.Generator().manual_seed(seed)
    x, given = (
        {n: values(s, draw, FITTED_ROWS) for n, s in specs.items()}
        for specs in (family.targets, family.sources)
    )
    family.init_from_data(x, Context.full(given, FITTED_ROWS), Rng(range(FITTED_ROWS), "begin", seed))


def method(family: Family | type[Family], name: str) -> Callable[..., Any]:
    """A method that only some families have."""
    return getattr(family, name)


def values(spec: Spec, draw: torch.Generator, rows: int = ROWS) -> Tensor:
    """Some values of a column, as a modality would encode them; padded ones have different lengths."""
    if spec.categorical:
        tokens = torch.randint(1 if spec.padded else 0, spec.classes, (rows, spec.tokens), generator=draw)
    else:
        tokens = torch.randn(rows, spec.tokens, spec.width, generator=draw).clamp(-1, 1)
    if not spec.padded:
        return tokens
    used = torch.arange(spec.tokens) < 1 + torch.arange(rows)[:, None] % spec.tokens
    if spec.categorical:
        return tokens * used
    tokens[..., -1] = 1.0
    return tokens * used[..., None]


def rows_of(c: Context, rows: list[int]) -> Context:
    """The context of some of the rows."""
    return Context({n: v[rows] for n, v in c.values.items()}, c.present[rows])


def differ(a: Batch, b: Batch) -> float:
    """The largest difference between two batches, over all columns."""
    return max(float((a[n].double() - b[n].double()).abs().max()) for n in a)


# ---- the checks


@dataclass(frozen=True)
class Requirement:
    """What a check needs of a family and a case: `met` tells, `otherwise` is the reason where it is not."""

    met: Callable[[type[Family], Case], bool]
    otherwise: str


SAMPLES = Requirement(lambda cls, case: hasattr(cls, "sample"), "the family draws no samples")
EMBEDS = Requirement(lambda cls, case: hasattr(cls, "embed"), "the family has no embeddings")
SAMPLES_OR_EMBEDS = Requirement(
    lambda cls, case: hasattr(cls, "sample") or hasattr(cls, "embed"),
    "the family neither draws samples nor has embeddings",
)
SCORES = Requirement(lambda cls, case: hasattr(cls, "log_prob"), "the family has no density")
ROWWISE = Requirement(lambda cls, case: cls.rowwise_loss, "the loss of a row depends on the batch by design")
GRADIENTS = Requirement(lambda cls, case: cls.learns_by_gradients, "the family is fitted to rows at once")
LEARNS_GAPS = Requirement(lambda cls, case: cls.learns_gaps, "the family learns complete rows only")
SEVERAL = Requirement(lambda cls, case: len(case.targets) > 1, "the case has one target")
SOURCES_GIVEN = Requirement(lambda cls, case: bool(case.sources), "the case has no sources")

Condition = tuple[bool | Tensor, str]  # what must hold, and what is wrong where it does not


@dataclass(frozen=True)
class Check:
    """A rule: `conditions` yields what must hold of a subject, for families and cases that meet `needs`."""

    conditions: Callable[[Subject], Iterator[Condition]]
    needs: tuple[Requirement, ...]

    def inapplicable(self, cls: type[Family], case: Case) -> str | None:
        """Why the rule says nothing about a family on a case; None where it applies."""
        return next((need.otherwise for need in self.needs if not need.met(cls, case)), None)


CHECKS: dict[str, Check] = {}


def _check(*needs: Requirement) -> Callable[[Callable[[Subject], Iterator[Condition]]], Check]:
    """Register a function that yields conditions as the check of its name."""

    def register(conditions: Callable[[Subject], Iterator[Condition]]) -> Check:
        CHECKS[conditions.__name__] = Check(conditions, needs)
        return CHECKS[conditions.__name__]

    return register


@_check()
def schema(s: Subject) -> Iterator[Condition]:
    """Options of families and of sampling have types, and defaults that JSON can hold.

    No keyword is swallowed, for the signature is the schema.
    """
    for name, parameter in {**s.cls.options(), **s.cls.sampling_options()}.items():
        default = parameter.default
        yield default is not parameter.empty, f"{name} has no default"
        yield parameter.annotation is not parameter.empty, f"{name} has no type"
        yield json.loads(json.dumps(default)) == default, f"the default of {name} is no JSON value"
    for function in (s.cls.__init__, *([method(s.cls, "sample")] if s.draws else [])):
        for p in inspect.signature(function).parameters.values():
            swallows = p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            yield not swallows, f"{function.__name__} swallows keywords"


@_check()
def phases(s: Subject) -> Iterator[Condition]:
    """The parameters of the phases are a partition of all parameters."""
    ids = [id(p) for phase in s.family.phases for _, p in s.family.parameters_of(phase)]
    yield len(ids) == len(set(ids)), "a parameter belongs to two phases"
    yield set(ids) == {id(p) for p in s.family.parameters()}, "a parameter belongs to no phase"


@_check()
def losses(s: Subject) -> Iterator[Condition]:
    """The loss is (B,), finite, the same again for the same rng, and leaves the global generator alone."""
    for phase in s.family.phases:
        before = torch.get_rng_state()
        loss = s.loss(phase)
        yield loss.shape == (ROWS,), f"loss of phase {phase} has shape {tuple(loss.shape)}, not ({ROWS},)"
        yield loss.isfinite().all(), f"loss of phase {phase} is not finite"
        yield torch.equal(loss, s.loss(phase)), f"loss of phase {phase} is another for the same rng"
        yield torch.equal(before, torch.get_rng_state()), "the loss draws from the global generator"


@_check(ROWWISE)
def loss_by_row(s: Subject) -> Iterator[Condition]:
    """The loss of a row does not depend on the rows beside it, for several processes share a batch."""
    rows = [1, 3, 4]
    part, c = {n: v[rows] for n, v in s.x.items()}, rows_of(s.c, rows)
    for phase in s.family.phases:
        whole, some = s.loss(phase)[rows], s.family.loss(part, c, phase, Rng(rows, "check", 0))
        apart = float(((whole - some).abs() / (1 + whole.abs())).detach().max())
        yield apart < CLOSE, f"loss of phase {phase} of rows {rows} alone differs by {apart:.2g}"


@_check(LEARNS_GAPS, SEVERAL)
def missing_targets(s: Subject) -> Iterator[Condition]:
    """What stands in the place of a missing target has no effect on the loss, and complete rows are learned as before."""
    for k, (name, value) in enumerate(s.x.items()):
        lacks = torch.arange(ROWS) % 2 == k % 2
        other = where_known(value, value.roll(1, 0).flip(1), lacks)
        for phase in s.family.phases:
            gaps = [EncodedRows({**s.x, name: v}, {name: ~lacks}) for v in (value, other)]
            first, second = (s.loss(phase, x=x) for x in gaps)
            yield first.isfinite().all(), f"loss of phase {phase} is not finite where {name} is missing"
            apart = float((first - second).detach().abs().max())
            yield (
                apart < CLOSE,
                f"loss of phase {phase} differs by {apart:.2g} with what stands for a missing {name}",
            )
            apart = float((first - s.loss(phase))[~lacks].detach().abs().max())
            yield (
                apart < CLOSE,
                f"loss of phase {phase} of complete rows differs by {apart:.2g} beside a missing {name}",
            )


@_check(GRADIENTS)
def gradients(s: Subject) -> Iterator[Condition]:
    """Every parameter that a phase trains gets a finite gradient from that phase's loss."""
    for phase in s.family.phases:
        s.family.zero_grad()
        for seed in range(
            8
        ):  # what is known or dropped is random: a parameter may rest in one batch, not all
            s.loss(phase, seed=seed).mean().backward()
        trained = [(name, p) for name, p in s.family.parameters_of(phase) if p.requires_grad]
        yield bool(trained), f"phase {phase} trains nothing"
        for name, p in trained:
            gradient = torch.full((1,), torch.nan) if p.grad is None else p.grad
            yield gradient.isfinite().all(), f"{name} gets no finite gradient in phase {phase}"
            yield gradient.abs().max() > 0, f"{name} gets a gradient of zero in phase {phase}"
    s.family.zero_grad()


@_check()
def half_precision(s: Subject) -> Iterator[Condition]:
    """A bfloat16 copy, as a trainer makes it, has about the same loss and samples of the same types."""
    exact = [s.loss(phase).mean() for phase in s.family.phases]
    samples = s.sample() if s.draws else {}
    s.family = s.family.compute_copy(precision="bfloat16")
    for phase, right in zip(s.family.phases, exact, strict=True):
        loss = s.loss(phase).float().mean()
        about = abs(loss - right) < 0.2 * abs(right) + 0.05  # a class that is all but even may fall elsewhere
        yield about, f"loss of phase {phase} is {loss:.4f} in bfloat16, {right:.4f} in float32"
    for name, value in (s.sample() if s.draws else {}).items():
        kind = (samples[name].dtype, samples[name].shape[0])
        yield (value.dtype, value.shape[0]) == kind, f"{name} is sampled as {value.dtype} in bfloat16"
        yield value.isfinite().all(), f"{name} is not finite when sampled in bfloat16"


@_check(SOURCES_GIVEN, GRADIENTS)
def sources_count(s: Subject) -> Iterator[Condition]:
    """Each source changes the loss of the rows that give it, and of no other."""
    for i, (name, value) in enumerate(s.c.values.items()):
        turned, given = value.roll(1, 0), s.c.present[:, i]
        other = Context({**s.c.values, name: turned}, s.c.present)
        pairs = [
            (s.loss(phase, seed=seed), s.loss(phase, c=other, seed=seed))
            for phase in s.family.phases
            for seed in range(4)
        ]
        change = torch.stack([(a - b).abs().detach() for a, b in pairs]).sum(0)
        matters = given & (value != turned).flatten(1).any(1)
        yield (change[matters] > 0).all(), f"the loss does not depend on the source {name}"
        yield (change[~given] < CLOSE).all(), f"the loss depends on a source that is not given: {name}"


@_check(SAMPLES)
def samples(s: Subject) -> Iterator[Condition]:
    """A sample has its columns' shapes and types, follows the seed, and leaves the global generator alone."""
    before = torch.get_rng_state()
    batch = s.sample()
    yield list(batch) == list(s.case.targets), f"the sample has columns {list(batch)}"
    for name, spec in s.case.targets.items():
        value, like = batch[name], s.x[name]
        yield value.shape == like.shape, f"{name} has shape {tuple(value.shape)}, not {tuple(like.shape)}"
        yield value.dtype == like.dtype, f"{name} has type {value.dtype}"
        if spec.categorical:
            yield value.min() >= 0 and value.max() < spec.classes, f"{name} holds ids that are none"
        else:
            yield value.isfinite().all(), f"{name} is not finite"
    yield differ(batch, s.sample()) == 0, "the same seed draws another sample"
    others = (s.sample(seed=seed) for seed in range(1, 9))
    yield any(differ(batch, other) > CLOSE for other in others), "every seed draws the same sample"
    yield torch.equal(before, torch.get_rng_state()), "sampling draws from the global generator"


@_check(SAMPLES)
def row_by_row(s: Subject) -> Iterator[Condition]:
    """Sample i depends on (seed, i) and its own sources, not on the rows it is drawn with."""
    whole = s.sample()
    for rows in ([0], [ROWS - 1], [1, 3, 4]):
        alone = s.sample(c=rows_of(s.c, rows), rows=rows)
        apart = differ(alone, {n: v[rows] for n, v in whole.items()})
        yield apart < CLOSE, f"rows {rows} alone differ by {apart:.2g} from the same rows in a batch"


@_check(SAMPLES, SOURCES_GIVEN)
def any_sources(s: Subject) -> Iterator[Condition]:
    """Any subset of the sources may be given, and nobody looks at the values of the others."""
    for keep in (*range(len(s.case.sources)), None):  # each source alone, then none
        present = torch.zeros_like(s.c.present)
        if keep is not None:
            present[:, keep] = True
        batch = s.sample(c=Context(s.c.values, present))
        junk = {n: v if keep == i else v.flip(0) for i, (n, v) in enumerate(s.c.values.items())}
        apart = differ(batch, s.sample(c=Context(junk, present)))
        yield apart < CLOSE, "the sample depends on a source that is not given"
        yield all(v.isfinite().all() for v in batch.values()), "the sample is not finite"


@_check(SAMPLES)
def known_parts(s: Subject) -> Iterator[Condition]:
    """What is known comes back as it was: whole columns, and parts of one."""
    masks = {n: torch.ones(ROWS, spec.tokens, dtype=torch.bool) for n, spec in s.case.targets.items()}
    for name, spec in s.case.targets.items():
        parts = [masks[name]]
        if spec.tokens > 1:
            parts.append(torch.arange(spec.tokens).expand(ROWS, -1) % 3 == torch.arange(ROWS)[:, None] % 3)
        for mask in parts:
            value = s.sample(known=KnownParts({name: s.x[name]}, {name: mask}))[name]
            near = (value == s.x[name]) if spec.categorical else (value - s.x[name]).abs() < CLOSE
            same = near.reshape(ROWS, spec.tokens, -1).all(-1)  # (B, T)
            yield (same | ~mask).all(), f"known parts of {name} are changed"
            if not mask.all() and not spec.categorical:
                yield not same[~mask].all(), f"unknown parts of {name} are copied"


@_check(SAMPLES_OR_EMBEDS)
def weights(s: Subject) -> Iterator[Condition]:
    """The state dict is all there is: another instance with the same weights says the same."""
    outputs: list[Callable[..., Batch]] = (
        [partial(s.sample, seed=seed) for seed in range(4)] if s.draws else []
    )
    outputs += [s.embed] if s.embeds else []
    other, before = s.make(7), [output() for output in outputs]
    apart = [differ(a, output(family=other)) for a, output in zip(before, outputs, strict=True)]
    yield max(apart) > 0, "the weights do not matter"
    other.load_state_dict(s.family.state_dict())
    apart = [differ(a, output(family=other)) for a, output in zip(before, outputs, strict=True)]
    yield max(apart) < CLOSE, "a family with the same weights says something else"


@_check(EMBEDS)
def embeddings(s: Subject) -> Iterator[Condition]:
    """An embedding is a unit vector a row that does not depend on the other rows."""
    whole = s.embed()
    yield len({v.shape[1:] for v in whole.values()}) == 1, "the columns are not embedded in one space"
    for name, u in whole.items():
        yield u.ndim == 2 and len(u) == ROWS, f"the embedding of {name} has shape {tuple(u.shape)}"
        yield u.dtype == torch.float32, f"the embedding of {name} has type {u.dtype}"
        yield ((u.norm(dim=1) - 1).abs() < CLOSE).all(), f"the embedding of {name} is no unit vector"
    for rows in ([0], [ROWS - 1], [1, 3, 4]):
        apart = differ(s.embed(rows=rows), {n: u[rows] for n, u in whole.items()})
        yield apart < CLOSE, f"embeddings of rows {rows} alone differ by {apart:.2g}"


@_check(SCORES)
def scores(s: Subject) -> Iterator[Condition]:
    """A density is one finite number a row that does not depend on the other rows.

    A family may have none over categorical targets: then ValueError names one and says that it is the reason.
    """
    log_prob = method(s.family, "log_prob")
    steps = {"steps": 2} if "steps" in inspect.signature(log_prob).parameters else {}
    row = {n: v[2:3] for n, v in s.x.items()}
    try:
        with torch.no_grad():
            score = log_prob(s.x, s.c, rng=Rng(range(ROWS), "score"), **steps)
            alone = log_prob(row, rows_of(s.c, [2]), rng=Rng([2], "score"), **steps)
    except ValueError as error:
        names = [repr(n) for n, spec in s.case.targets.items() if spec.categorical]
        reason = "categorical" in str(error) and any(name in str(error) for name in names)
        yield reason, f"log_prob raises what names no categorical target as the reason: {error}"
        return
    yield isinstance(score, Score) and score.kind in ("exact", "bound", "estimate"), f"not a score: {score}"
    nats, dims = score.nats, sum(spec.tokens * spec.width for spec in s.case.targets.values())
    yield nats.shape == (ROWS,) and nats.isfinite().all(), "log_prob is not one finite number a row"
    yield score.dims == dims, f"dims is {score.dims}"
    apart = float((alone.nats - nats[2]).abs())
    yield apart < 1e-3 * (1 + abs(float(nats[2]))), f"log_prob of a row alone differs by {apart:.2g}"


@_check(GRADIENTS)
def columns_of_weights(s: Subject) -> Iterator[Condition]:
    """Weights belong to columns (Family.column_axes): a family of other names and orders begins with them.

    With renamed columns, and the sources in another order, the loss is the same; with the targets in another
    order, the weights come back when they are taken over a second time.
    """
    targets, sources = s.case.targets, s.case.sources
    old_names = {f"other {n}": n for n in (*targets, *sources)}
    new_names = {old: new for new, old in old_names.items()}
    renamed = s.like(_renamed(targets), _renamed(sources, list(sources)[::-1]))
    transfer = transfer_weights(renamed.family, s.family, old_names)
    yield transfer.complete, f"of renamed columns only {transfer} are taken over"
    x = {new_names[n]: v for n, v in s.x.items()}
    c = Context(
        {new_names[n]: s.c.values[n] for n in list(sources)[::-1]},
        s.c.present[:, list(range(len(sources)))[::-1]],
    )
    for phase in s.cls.phases:
        losses = s.loss(phase).detach(), renamed.loss(phase, x=x, c=c).detach()
        apart = float((losses[0] - losses[1]).abs().max())
        yield apart < CLOSE, f"with renamed columns the loss of {phase} differs by {apart:.2g}"
    first, last = (
        list(targets)[:-1],
        list(targets)[-1:],
    )  # the last one may be the input of no other: nothing is kept
    order = first[::-1] + last if len(first) > 1 else last + first
    reordered = s.like(_renamed(targets, order), _renamed(sources))
    transfer_weights(reordered.family, s.family, old_names)
    back = s.make(2)
    transfer_weights(back, reordered.family, new_names)
    state = s.family.state_dict()
    moved = [name for name, v in back.state_dict().items() if not torch.equal(v, state[name])]
    yield not moved, f"with the targets in another order and back, these weights differ: {', '.join(moved)}"


def _renamed(specs: Mapping[str, Spec], order: Iterable[str] | None = None) -> dict[str, Spec]:
    return {f"other {name}": specs[name] for name in (specs if order is None else order)}


def check_family(
    cls: type[Family],
    *,
    cases: Iterable[str] = tuple(CASES),
    checks: Iterable[str] | None = None,
    **options: Any,
) -> None:
    """Run a family through checks on every one of `cases`; `options` go to the family.

    checks  by name; without them all that apply to the family and the case

    Raises AssertionError that names the case, the check and what is wrong, and ValueError for a named check
    that does not apply. A family that cannot learn some kind of target raises ValueError when it is made;
    leave those cases out.

    >>> from likewise.families.flow import Flow
    >>> check_family(Flow, cases=["number_of_label"], checks=["losses", "row_by_row"])
    """
    names = None if checks is None else list(checks)
    for case in cases:
        applicable = [n for n, check in CHECKS.items() if not check.inapplicable(cls, CASES[case])]
        for name in applicable if names is None else names:
            run_check(cls, case, name, **options)


def run_check(cls: type[Family], case: str, check: str, **options: Any) -> int:
    """One check of a family on one case, see check_family; the number of conditions that were looked at."""
    where, rule = f"{cls.__name__}, case {case}, check {check}", CHECKS[check]
    if reason := rule.inapplicable(cls, CASES[case]):
        raise ValueError(f"{where}: does not apply, for {reason}")
    count = 0
    for holds, message in rule.conditions(Subject(cls, CASES[case], options)):
        if not holds:
            raise AssertionError(f"{where}: {message}")
        count += 1
    if not count:
        raise AssertionError(f"{where}: no condition was looked at")
    return count

"""Family: a way to learn P(targets | sources) and to sample from it.

One file a family; no family imports another or knows a modality.
"""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.device import preferred_dtype
from likewise.core.options import validate_fields, validated
from likewise.core.ranges import Share
from likewise.core.rng import Rng
from likewise.core.signatures import keyword_parameters
from likewise.core.spec import Spec
from likewise.generation.controls import SAMPLING_CONTROLS
from likewise.generation.idle import IdleRule, Request


@dataclass(frozen=True)
class ColumnOptions:
    """How families of networks treat columns; the fields are options of theirs.

    infill        share of training rows with known parts (default 0.1, or 0.5 for several targets)
    pack_columns  whether columns of one token are one token of the network
    """

    infill: Share | None = None
    pack_columns: bool = True

    def __post_init__(self) -> None:
        validate_fields(self)

    def infill_share(self, targets: Mapping[str, Spec]) -> float:
        """`infill`, or its default for these targets."""
        return (0.5 if len(targets) > 1 else 0.1) if self.infill is None else self.infill


COLUMNS = ColumnOptions()
ROW_BATCH = 384  # rows of a step where a row is one token: the optimizer costs as much for any number of rows


class Family(nn.Module, ABC):
    """The interface that the trainer, the model and the tests use. Subclasses are final.

    The keyword-only parameters of a subclass's `__init__` are its options, those of its `sample` and of
    `compute_copy` its sampling options: command line, checkpoints and server read them from the signatures.
    `core.signatures.expand_dataclasses` groups them where there are many. Numbers have a range (core/ranges.py).

    What a family can do beside learning, such as `sample` and `log_prob`, it has as the methods of the protocols in
    capabilities.py.
    """

    phases: tuple[str, ...] = ("model",)  # of a training step, each with its own optimiser
    betas: ClassVar[tuple[float, float]] = (0.9, 0.99)  # of AdamW
    lr_scale: ClassVar[float] = 1.0  # factor of the learning rates of the plan
    uses_muon: ClassVar[bool] = True  # whether Muon trains the matrices of blocks
    needs_float32: ClassVar[bool] = False  # whether "auto" must not take bfloat16
    rowwise_loss: ClassVar[bool] = True  # whether the loss of a row depends on that row only
    learns_by_gradients: ClassVar[bool] = True  # whether there are steps of training after `init_from_data`
    learns_cells: ClassVar[bool] = (
        False  # whether it gives probabilities to the intervals of values (Spec.cells)
    )
    learns_gaps: ClassVar[bool] = False  # whether rows may lack values of some targets: EncodedRows
    separable: ClassVar[bool] = True  # whether the weights of some columns are of use beside other columns
    infill: float = (
        1.0  # share of training rows with known parts; 1 where a family needs no training for them
    )
    idle_rules: ClassVar[Sequence[IdleRule]] = ()  # when sampling options have no effect
    pads_rows: ClassVar[bool] = (
        False  # whether small batches are sampled with further rows, as in nets/layers.py
    )
    row_options: ClassVar[frozenset[str]] = frozenset()  # sampling options that may be RowValues
    init_rows: int = 4096  # training rows, at most, that `init_from_data` gets
    batch: int = 96  # rows of a training step, unless a plan says otherwise
    weight_decay: float = 0.0  # of the matrices that Muon trains

    def __init_subclass__(cls, **options: Any) -> None:
        """The options of a subclass are checked where it is used without a Model, too."""
        super().__init_subclass__(**options)
        for name in ("__init__", "sample", "log_prob"):
            if name in vars(cls):
                setattr(cls, name, validated(vars(cls)[name]))

    def __init__(self, targets: Mapping[str, Spec], sources: Mapping[str, Spec]) -> None:
        super().__init__()
        self.targets, self.sources = dict(targets), dict(sources)
        # The trainer sets these two before each step.
        self.progress = 1.0  # of training, from 0 to 1
        self.epochs = 0.0  # passes through the training rows
        self.default_guidance: dict[
            str, float
        ] = {}  # of each target that guidance applies to; saved with a run
        self.loss_terms: dict[str, Tensor] = {}  # terms of the last loss, means over rows, which are logged

    def init_from_data(self, x: Batch, c: Context, rng: Rng) -> None:
        """Initialise parameters from some training rows, `init_rows` at most, before the first step.

        Without `learns_by_gradients` this is the whole training.
        """

    @abstractmethod
    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """The loss of each row, (B,).

        With `learns_gaps` x may be EncodedRows: the loss is that of the values which a row has.
        """

    def forward(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """The same as `loss`, where PyTorch's wrappers look for it."""
        return self.loss(x, c, phase, rng)

    def parameters_of(self, phase: str) -> list[tuple[str, nn.Parameter]]:
        """The parameters that a phase trains; the phases partition all parameters."""
        return list(self.named_parameters())

    def compute_copy(self, *, precision: Literal["auto", "bfloat16", "float32"] = "auto") -> Self:
        """The copy that computes in training and sampling: the family itself in float32, else a copy.

        precision  of the network: "auto" is bfloat16 where the processor is fast at it and a row has many
                   numbers, unless the family needs float32
        """
        if precision == "auto":
            numbers = sum(spec.tokens for spec in self.targets.values())
            on = next(self.parameters()).device
            dtype = torch.float32 if self.needs_float32 else preferred_dtype(numbers, on)
        else:
            dtype = getattr(torch, precision)
        return self if dtype == torch.float32 else copy.deepcopy(self).to(dtype)

    @classmethod
    def options(cls) -> dict[str, inspect.Parameter]:
        """The family's own configuration: keyword-only parameters of its `__init__`."""
        return keyword_parameters(cls.__init__)

    @classmethod
    def sampling_options(cls) -> dict[str, inspect.Parameter]:
        """Keywords of its `sample`, if any, that are no SAMPLING_CONTROLS, and of `compute_copy`."""
        if not hasattr(cls, "sample"):
            return {}
        own = {
            n: p
            for n, p in keyword_parameters(cls.sample).items()
            if n not in ("known", "rng", *SAMPLING_CONTROLS)
        }
        return own | keyword_parameters(cls.compute_copy)

    def sampling_defaults(self) -> dict[str, inspect.Parameter]:
        """`sampling_options` with the defaults that these targets have."""
        options = self.sampling_options()
        if default := self.default_guidance:
            values = set(default.values())
            shared = values.pop() if len(values) == 1 else dict(default)
            options["guidance"] = options["guidance"].replace(default=shared)
        return options

    def batch_key(self, request: Request) -> Hashable:
        """What requests must share, beside all sampling options but `row_options`, to be sampled as one batch.

        Raises ValueError for what the family does not support.
        """
        return request.known

    def num_steps(self, options: Mapping[str, Any]) -> int:
        """How many steps `sample` reports with these sampling options, at most; 1 where it reports none."""
        return int(options.get("steps", 1))

    @classmethod
    def sampling_controls(cls) -> list[str]:
        """The SAMPLING_CONTROLS that its `sample` has."""
        return (
            [n for n in keyword_parameters(cls.sample) if n in SAMPLING_CONTROLS]
            if hasattr(cls, "sample")
            else []
        )


def require_single_target(name: str, targets: Mapping[str, Spec]) -> None:
    """Raise ValueError unless `name` is the only target: joint codes belong to no single target."""
    if list(targets) != [name]:
        raise ValueError(
            f"{name} cannot be seen through a model of {', '.join(targets)}: train one of {name} alone"
        )

"""Weights by column: which parts of a network's weights belong to which columns, and a network that begins from another.

A module that holds weights of several columns says so in `column_axes`, by the name of a parameter or of a list of
modules below it. Everything else belongs to all columns, and is the same weight in two networks if it has the same
name and shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.known import known_name

Label = Hashable  # the name of a column, a number, or a tuple or frozenset of labels
Resize = Literal["fixed", "append", "inputs", "outputs"]
Columns = Mapping[str, str | None]  # column of the new network -> that of the old one, None without one


@dataclass(frozen=True)
class Attribute:
    """The name of an attribute, in the place of a module or weight; it is no column."""

    name: str


Key = tuple[Label, ...]  # the place of a module or weight: Attributes, and labels where a list has an Axis


@dataclass(frozen=True)
class Part:
    """A stretch of an axis of a weight.

    label   the column that it belongs to; numbers tell the parts of one column apart
    size    places of the stretch
    resize  what becomes of another size: "fixed": nothing is taken over; "append": the first places are the same,
            such as classes and positions; "inputs", "outputs": channels of a picture, of which one, grey, stands for
            several
    grid    of the places where they are positions: on several axes they are resampled
    """

    label: Label
    size: int = 1
    resize: Resize = "fixed"
    grid: tuple[int, ...] = ()


@dataclass(frozen=True)
class Axis:
    """An axis of a weight, or the elements of a list of modules or parameters, and its parts in order."""

    axis: int
    parts: tuple[Part, ...]

    def offsets(self) -> Iterator[tuple[Part, int]]:
        """Each part and where it begins."""
        yield from zip(
            self.parts, itertools.accumulate((p.size for p in self.parts), initial=0), strict=False
        )


def by_column(names: Iterable[Label], axis: int = 0) -> Axis:
    """An axis with one place for each column."""
    return Axis(axis, tuple(Part(name) for name in names))


def classes_axis(classes: int) -> Axis:
    """The first axis of a weight with a row for each class."""
    return Axis(0, (Part(0, classes, "append"),))


class Adopting(nn.Module):
    """A module that takes over more of an old network's than weights of the same name and shape."""

    def adopt(self, old: nn.Module, columns: Columns) -> None:
        """Take over what the module of an old network in the same place, of the same class, means for these columns."""
        raise NotImplementedError


class OptionalBuffers(Adopting):
    """A module some of whose buffers have a default, and are saved only where they have been set."""

    optional: tuple[str, ...] = ()

    def set_optional(self, name: str, value: Tensor) -> None:
        """Give a buffer a value of its own, which is saved with the weights."""
        self.register_buffer(name, value.to(getattr(self, name)))

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *rest: object) -> None:
        for name in self.optional:
            if prefix + name in state_dict:
                self.register_buffer(name, getattr(self, name))  # persistent from now on
        super()._load_from_state_dict(state_dict, prefix, *rest)


@dataclass
class Transfer:
    """What of a network's weights was taken over from another one.

    taken, numbers  the numbers that were, and all
    tensors         all tensors by name, and whether each was taken over, at least in part
    fresh           the columns of which nothing was, "parts of" others, and other parts of the network
    shared          whether matrices that belong to no column were taken over, or there are none
    """

    taken: int
    numbers: int
    tensors: dict[str, bool]
    fresh: list[str]
    shared: bool = True

    @property
    def complete(self) -> bool:
        """Whether every number was taken over."""
        return self.taken == self.numbers

    def __str__(self) -> str:
        """
        >>> str(Transfer(3_100_000, 3_200_000, {"a": True, "b": False}, ["style"]))
        '1 of 2 tensors (3.1 of 3.2 million numbers); fresh: style'
        """
        unit, name = (1e6, " million") if self.numbers >= 1e6 else (1.0, "")
        taken, numbers = (f"{n / unit:,.1f}" if name else f"{n:,}" for n in (self.taken, self.numbers))
        text = f"{sum(self.tensors.values())} of {len(self.tensors)} tensors ({taken} of {numbers}{name} numbers)"
        return text + (f"; fresh: {', '.join(self.fresh)}" if self.fresh else "")


@dataclass(frozen=True)
class _Piece:
    """A weight, or the part of one that belongs to a column: the column, if any, and how many numbers were copied."""

    weight: str
    column: str | None
    copied: int


@torch.no_grad()
def transfer_weights(new: nn.Module, old: nn.Module, columns: Columns) -> Transfer:
    """Copy into `new` the weights of `old` that it has too, by name, shape and column.

    Columns that are in neither keys nor values of `columns` are internal ones, of the same name in both.
    """
    columns = {**columns, **{known_name(n): o and known_name(o) for n, o in columns.items()}}
    ours, theirs = _Weights(new), _Weights(old)
    pieces: list[_Piece] = []
    for name, key in ours.keys.items():
        other = theirs.names.get(_renamed_key(key, columns))
        old_tensor, old_axis = (
            (None, None) if other is None else (theirs.tensors[other], theirs.axes.get(other))
        )
        column = next((label for label in reversed(key) if isinstance(label, str)), None)
        for label, copied in _copy(ours.tensors[name], old_tensor, ours.axes.get(name), old_axis, columns):
            pieces.append(_Piece(name, label if isinstance(label, str) else column, copied))
    for key, module in ours.modules.items():
        counterpart = theirs.modules.get(_renamed_key(key, columns))
        if isinstance(module, Adopting) and isinstance(counterpart, type(module)):
            module.adopt(counterpart, columns)
    taken = {p.weight: False for p in pieces} | {p.weight: True for p in pieces if p.copied}
    matrices = [p for p in pieces if p.column is None and ours.tensors[p.weight].ndim > 1]
    return Transfer(
        sum(p.copied for p in pieces),
        sum(v.numel() for v in ours.tensors.values()),
        {n: some or not ours.tensors[n].numel() for n, some in taken.items()},
        _fresh_parts(ours.keys, pieces),
        any(p.copied for p in matrices) or not matrices,
    )


class _Weights:
    """The tensors and modules of a network, each with its key, and the axes of tensors that have parts."""

    def __init__(self, network: nn.Module) -> None:
        optional = {
            f"{prefix}.{name}".removeprefix(".")
            for prefix, module in network.named_modules()
            if isinstance(module, OptionalBuffers)
            for name in module.optional
        }
        self.tensors = {n: v for n, v in network.state_dict().items() if n not in optional}
        self.axes: dict[str, Axis] = {}
        self.keys: dict[str, Key] = {}
        self.modules: dict[Key, nn.Module] = {}
        self._walk(network, "", ())
        self.names = {key: name for name, key in self.keys.items()}

    def _walk(self, module: nn.Module, prefix: str, key: Key) -> None:
        for path, axis in getattr(module, "column_axes", {}).items():
            self.axes.setdefault(prefix + path, axis)  # that of the outer module counts
        self.modules[key] = module
        labels = self.axes.get(prefix.removesuffix("."))

        def child_key(position: int, name: str) -> Key:
            return (*key, labels.parts[position].label if labels else Attribute(name))

        own = [n for n in (*module._parameters, *module._buffers) if prefix + n in self.tensors]
        for position, name in enumerate(own):
            self.keys[prefix + name] = child_key(position, name)
        for position, (name, child) in enumerate(module.named_children()):
            self._walk(child, f"{prefix}{name}.", child_key(position, name))


def _renamed(label: Label, columns: Columns) -> Label:
    """A label of the new network -> that of the old one, with None for columns that it lacks."""
    if isinstance(label, str):
        return columns.get(label, label)
    if isinstance(label, tuple):
        return tuple(_renamed(part, columns) for part in label)
    return frozenset(_renamed(part, columns) for part in label) if isinstance(label, frozenset) else label


def _renamed_key(key: Key, columns: Columns) -> Key:
    return tuple(_renamed(label, columns) for label in key)


def _copy(
    new: Tensor, old: Tensor | None, axis: Axis | None, old_axis: Axis | None, columns: Columns
) -> list[tuple[Label, int]]:
    """Copy what fits of a weight; the label of each of its parts, None for the whole, and the numbers copied."""
    if axis is None or old_axis is None:
        fits = old is not None and new.shape == old.shape
        if old is not None and fits:
            new.copy_(old)
        labels = [part.label for part in axis.parts] if axis else [None]
        return [(label, new.numel() // len(labels) if fits else 0) for label in labels]
    assert old is not None
    new, old = new.movedim(axis.axis, 0), old.movedim(old_axis.axis, 0)
    theirs = {part.label: (part, start) for part, start in old_axis.offsets()}
    copies: list[tuple[Label, int]] = []
    for part, start in axis.offsets():
        values = None
        if (
            new.shape[1:] == old.shape[1:]
            and (found := theirs.get(_renamed(part.label, columns))) is not None
        ):
            was, old_start = found
            values = _resized(old[old_start : old_start + was.size], was, part)
        if values is not None:
            new[start : start + len(values)].copy_(values)
        copies.append((part.label, 0 if values is None else values.numel()))
    return copies


def _resized(old: Tensor, was: Part, part: Part) -> Tensor | None:
    """The values of a part, (n, ...), for its new size, of at most as many places; None if they do not fit."""
    if max(len(was.grid), len(part.grid)) > 1 and was.grid != part.grid:
        return _resampled(old, was.grid, part.grid) if len(was.grid) == len(part.grid) == 2 else None
    if was.size == part.size:
        return old
    if part.resize == "append":
        return old[: part.size]
    if part.resize in ("inputs", "outputs") and 1 in (was.size, part.size):
        # grey is the mean of the channels: on a grey picture the network computes the same
        total = old.sum(0, keepdim=True)
        mean = total / (part.size if part.resize == "inputs" else was.size)
        return mean.expand(part.size, *old.shape[1:])
    return None


def _resampled(old: Tensor, grid: Sequence[int], new_grid: Sequence[int]) -> Tensor:
    """Values at positions on a grid of two axes, (n, ...) -> those at the positions of another, linearly."""
    flat = old.reshape(1, *grid, -1).movedim(-1, 1).float()
    size = [int(n) for n in new_grid]
    values = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return values.movedim(1, -1).reshape(math.prod(size), *old.shape[1:]).to(old)


def _fresh_parts(keys: Mapping[str, Key], pieces: Sequence[_Piece]) -> list[str]:
    """The columns of which nothing was taken over, "parts of" others, and the outermost of the other parts."""
    taken = {p.weight for p in pieces if p.copied}
    known = {p.column for p in pieces if p.copied}
    used = {keys[name][:i] for name in taken for i in range(len(keys[name]) + 1)}
    fresh: dict[str, None] = {}
    for piece in pieces:
        if piece.copied:
            continue
        if piece.column is not None:
            column = piece.column.removeprefix(known_name(""))
            fresh[f"parts of {column}" if {column, piece.column} & known else column] = None
        elif piece.weight not in taken:
            key = keys[piece.weight]
            outermost = next((i for i in range(len(key)) if key[: i + 1] not in used), len(key) - 1)
            names = [
                a.name for a in key[: outermost + 1] if isinstance(a, Attribute) and not a.name.isdigit()
            ]
            fresh |= dict.fromkeys(names[-1:])
    return list(fresh)

"""ColumnStems: the stems of several columns, with one for all columns of one token where they are packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from likewise.core.batch import Batch
from likewise.core.spec import Spec
from likewise.nets.column_weights import Attribute, Axis, Label
from likewise.nets.layers import ModuleList
from likewise.nets.stems.base import Channels, Stem

ColumnChannels = Mapping[str, Channels]
MakeStem = Callable[[Spec, int | None, int | None], Stem]  # of a grid, with C_in and C_out


def group_columns(specs: Mapping[str, Spec], pack: bool) -> list[tuple[str, ...]]:
    """The columns that share a stem: with `pack` all of one token, each other one by itself.

    >>> group_columns({"a": Spec((1,)), "image": Spec((8, 8)), "b": Spec((1,), classes=3)}, pack=True)
    [('a', 'b'), ('image',)]
    """
    packed = tuple(n for n, s in specs.items() if pack and s.tokens == 1 and not s.axes)
    groups = [packed if n in packed else (n,) for n in specs]
    return list(dict.fromkeys(groups))


def group_labels(groups: Sequence[tuple[str, ...]]) -> list[Label]:
    """What weights of each group belong to: its column, or the row."""
    return [group[0] if len(group) == 1 else Attribute("row") for group in groups]


def _floats(channels: Mapping[str, int] | None, group: Sequence[str]) -> int | None:
    """The floats a token of all columns of a group."""
    return None if channels is None else sum(channels[name] for name in group)


class ColumnStems(ModuleList[Stem]):
    """A stem for each group of columns; a packed group is one token, which holds the floats of all its columns.

    So the blocks of a transformer cost as much for a table of any width as for one column.

    groups  of columns, one a stem
    """

    def __init__(
        self,
        specs: Mapping[str, Spec],
        c_in: Mapping[str, int] | None,
        c_out: Mapping[str, int] | None,
        make: MakeStem,
        *,
        pack: bool,
    ) -> None:
        """`c_in`, `c_out`: column -> floats a token; without one of them the stems only decode, or encode."""
        self.groups = group_columns(specs, pack)
        self.c_out = dict(c_out or {})
        super().__init__(
            make(specs[group[0]], _floats(c_in, group), _floats(c_out, group)) for group in self.groups
        )

    @property
    def grids(self) -> list[tuple[int, ...]]:
        """The coarse grid of each group."""
        return [stem.grid for stem in self]

    @property
    def labels(self) -> list[Label]:
        """What weights of each group belong to."""
        return group_labels(self.groups)

    def encode(self, channels: Batch, e: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Column -> (B, T, C_in), with the condition e (B, G, D) of each group -> tokens (B, n, D) and skips."""
        tokens, skips = [], []
        for i, (group, stem) in enumerate(zip(self.groups, self, strict=True)):
            x = channels[group[0]] if len(group) == 1 else torch.cat([channels[n] for n in group], dim=-1)
            encoded, skip = stem.encode(x, e[:, i])
            tokens.append(encoded)
            skips.append(skip)
        return tokens, skips

    def decode(self, parts: Sequence[Tensor], skips: Sequence[list[Tensor]], e: Tensor) -> Batch:
        """Tokens of each group (B, n, D) and skips -> column -> (B, T, C_out) float32."""
        out: Batch = {}
        for i, (group, stem, part, skip) in enumerate(zip(self.groups, self, parts, skips, strict=True)):
            x = stem.decode(part, skip, e[:, i]).float()
            out |= zip(group, x.split([self.c_out[n] for n in group], dim=-1), strict=True)
        return out

    def axes(self, path: str, channels: ColumnChannels) -> dict[str, Axis]:
        """The axes of the stems' weights, with the stems in the list `path`, by the channels of each column."""
        axes: dict[str, Axis] = {}
        for i, (group, stem) in enumerate(zip(self.groups, self, strict=True)):
            inputs, outputs = (
                [
                    p if len(group) == 1 else replace(p, label=(n, p.label))
                    for n in group
                    for p in channels[n][side]
                ]
                for side in (0, 1)
            )
            axes |= {f"{path}.{i}.{name}": axis for name, axis in stem.weight_axes(inputs, outputs).items()}
        return axes

"""ContinuousCodes: categorical tokens as fixed vectors, so that all columns are floats."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch
from likewise.core.rng import seed_of
from likewise.core.spec import Spec
from likewise.nets.column_weights import Columns, OptionalBuffers
from likewise.nets.layers import linear

CODE_DIM = 32  # floats of the code of a categorical token, at most


class ContinuousCodes(OptionalBuffers):
    """Columns of ids and floats <-> columns of floats only.

    For a categorical token a network predicts K logits, of which `mean` computes the expected code (Dieleman et
    al., 2022, "CDCD").

    specs    column -> Spec of its floats
    outputs  column -> outputs of a network per token: its floats, or K logits
    """

    def __init__(self, targets: Mapping[str, Spec]) -> None:
        super().__init__()
        self.categorical = [n for n, s in targets.items() if s.categorical]
        self.specs = {
            n: s.with_floats(min(s.classes, CODE_DIM) if s.classes else s.width) for n, s in targets.items()
        }
        self.outputs = {n: s.classes or s.width for n, s in targets.items()}
        for name in self.categorical:
            codes = fixed_codes(targets[name].classes, self.specs[name].width, name)
            self.register_buffer(f"code_{name}", codes, persistent=False)
        self.optional = tuple(f"code_{name}" for name in self.categorical)

    def adopt(self, old: nn.Module, columns: Columns) -> None:
        """Classes that both have keep their codes, and further ones get others of the same norm."""
        assert isinstance(old, ContinuousCodes)
        for name in self.categorical:
            before, codes = columns.get(name, name), self.codes(name)
            if before in old.categorical and not torch.equal(codes, old.codes(before).to(codes)):
                self.set_optional(f"code_{name}", extended_codes(old.codes(before).to(codes), codes))

    def codes(self, name: str) -> Tensor:
        """The codes of the classes of a categorical column, (K, d)."""
        return getattr(self, f"code_{name}")

    def encode(self, x: Batch) -> Batch:
        """Encoded columns, ids (B, T) or floats (B, T, C) -> floats (B, T, C)."""
        return {n: self.codes(n)[x[n]] if n in self.categorical else x[n] for n in self.specs}

    def mean(self, out: Batch) -> Batch:
        """Outputs of a network -> floats: of logits (B, T, K) the expected code."""
        return {
            n: linear(v.softmax(-1), self.codes(n).to(v).T) if n in self.categorical else v
            for n, v in out.items()
        }

    def decode(self, floats: Batch) -> Batch:
        """Floats -> encoded columns: for a categorical token, the class of the nearest code.

        All codes have the same norm, so the nearest has the largest inner product.
        """
        return {
            n: linear(v, self.codes(n).to(v)).argmax(-1) if n in self.categorical else v
            for n, v in floats.items()
        }


def fixed_codes(classes: int, floats: int, name: str) -> Tensor:
    """K fixed vectors of unit mean square, (K, d): orthogonal where they fit, else random."""
    codes = torch.randn(classes, floats, generator=torch.Generator().manual_seed(seed_of("codes", name)))
    if classes <= floats:
        return torch.linalg.qr(codes)[0] * math.sqrt(floats)
    return F.normalize(codes, dim=1) * math.sqrt(floats)


def extended_codes(old: Tensor, fresh: Tensor) -> Tensor:
    """Codes (K', d') of K' classes, of which the first are those of `old` (K, d).

    The others have the same norm; they are orthogonal to these and to each other where that is possible, else
    those of `fresh` (K', d').
    """
    (k, d), (classes, floats) = old.shape, fresh.shape
    new = F.normalize(fresh, dim=1)
    if classes <= floats:
        new[k:] = torch.eye(floats)[d : d + classes - k].to(new)
    new *= old.norm(dim=1).mean()
    new[:k] = F.pad(old, (0, floats - d))[:classes]
    return new

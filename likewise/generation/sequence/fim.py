"""Fill-in-the-middle: texts rearranged so that the middle comes last (Bavarian et al., 2022, "FIM").

    PRE prefix SUF suffix MID middle END                                                                (1)

Legend: B batch, L ids of a window or a text, K ids of the vocabulary, D width.

PRE replaces the start embedding, so a sequence is (1) without it, in L + 3 positions. END is id 0. The
sentinels PRE, SUF and MID are ids K, K + 1 and K + 2: they are embedded, but no head predicts them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SENTINELS = 3
PRE, SUF, MID = range(SENTINELS)


class EmbeddingWithSentinels(nn.Embedding):
    """Embeddings of K ids and of the sentinels."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__(classes, width)
        self.sentinels = nn.Parameter(torch.randn(SENTINELS, width))

    def forward(self, ids: Tensor) -> Tensor:
        """(B, n) -> (B, n, D)."""
        over = (ids - self.num_embeddings)[..., None]
        which = (over == torch.arange(SENTINELS, device=ids.device)).to(self.sentinels)
        return super().forward(ids.clamp(max=self.num_embeddings - 1)) * (over < 0) + which @ self.sentinels


def to_psm(ids: Tensor, u: Tensor, classes: int) -> Tensor:
    """(1) without PRE of ids (B, L), which 0 fills up, cut at two places: (B, L + 3), filled up with 0.

    The places are uniform over those between the ids, the ends among them, by u (B, 2) in [0, 1). With u
    (B, 3) there is a third, and what comes after it is left out: in windows, which are all of one length, the
    middle would else be as long as the other two leave, whatever they say.
    """
    used = (ids != 0).sum(1, keepdim=True)
    first, last, *end = (u * (used + 1)).long().minimum(used).sort(1).values.split(1, dim=1)
    place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    over = place >= (end[0] if end else used)
    ids = ids.masked_fill(over, 0)
    part = 2 * (place >= last).long() + 4 * ((place >= first) & (place < last)) + 3 * over
    marks = ids.new_tensor([[classes + SUF, classes + MID, 0]]).expand(len(ids), -1)
    order = marks.new_tensor([[1, 3, 5]]).expand(len(ids), -1)  # prefix 0, suffix 2, middle 4, rest 5
    return _ordered(torch.cat([ids, marks], dim=1), torch.cat([part, order], dim=1))


def from_psm(ids: Tensor, classes: int) -> Tensor:
    """The inverse of `to_psm`, also of a sequence without END: (B, n) -> (B, n), filled up with 0."""
    after = [(ids == classes + mark).cumsum(1) > 0 for mark in (SUF, MID)]
    part = torch.where(after[1], 1, 2 * after[0].long())
    dropped = (ids >= classes) | (ids == 0)
    return _ordered(ids.masked_fill(dropped, 0), part.masked_fill(dropped, 3))


def psm_prompt(prefix: Tensor, suffix: Tensor, classes: int) -> Tensor:
    """(1) from after PRE to MID, of ids (B, P) and (B, S) that 0 fills up: (B, P + S + 2), filled up."""
    parts = [F.pad(prefix, (0, 1), value=classes + SUF), F.pad(suffix, (0, 1), value=classes + MID)]
    ids = torch.cat(parts, dim=1)
    return _ordered(ids, (ids == 0).long())


def _ordered(ids: Tensor, part: Tensor) -> Tensor:
    """The ids (B, n) by the number of their part, (B, n), in each part as they were."""
    return ids.gather(1, part.argsort(dim=1, stable=True))

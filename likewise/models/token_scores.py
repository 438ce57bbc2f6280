"""Log-probabilities of the tokens of a text, one by one, with the most likely alternatives of each.

Legend: n ids of a text, K ids of the vocabulary, k alternatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.families.capabilities import CanScoreTokens
from likewise.modalities.base import Row
from likewise.modalities.text import Text
from likewise.models.column_encoder import ColumnEncoder
from likewise.models.scoring import windows

MAX_LOG_PROBS = 2**24  # in memory at once
ANY_ID = 1  # stands after the last id, so that its place has log-probabilities too


@dataclass(frozen=True)
class TokenScores:
    """log p of the ids of a text, each given those before it, in nats.

    ids        (n,) int64
    log_probs  (n,) float32
    top_ids    the most likely ids of each place and of the one after the last, (n + 1, k) or fewer; and their
    top_log_probs  log p, in falling order
    after      log p of every id in the place after the last, (K,): `after[0]` is that of the end; None where a text
               has no room for another token
    """

    ids: Tensor
    log_probs: Tensor
    top_ids: Tensor
    top_log_probs: Tensor
    after: Tensor | None


def text_column(model: ColumnEncoder) -> tuple[str, Text]:
    """The one target of a model, a text. Raises ValueError for another model."""
    columns = [(name, model.columns[name]) for name in model.targets]
    if len(columns) == 1 and isinstance(columns[0][1], Text):
        return columns[0][0], columns[0][1]
    raise ValueError(
        f"{str(model.formula)!r} does not sample one text alone, so it has no probabilities of tokens"
    )


@torch.no_grad()
def score_ids(
    model: ColumnEncoder, rows: Sequence[Row], ids: Sequence[Tensor], *, alternatives: int = 0
) -> list[TokenScores]:
    """The scores of texts given by their ids, (n,) each, without an end; the rows have values of sources.

    A document may have any length: it is read in windows, as in `Model.log_prob`, so that the sum of `log_probs` is
    that of the document; of a text it is so with `after[0]`. Raises ValueError for ids for which there is no room,
    and a family without probabilities of tokens.
    """
    (name, column), family = text_column(model), model.family
    if not isinstance(family, CanScoreTokens):
        raise ValueError(f"the family {model.family_name} has no probabilities of tokens")
    size, length = column.spec.classes, column.length
    cuts: list[tuple[int, Tensor, Tensor]] = []
    for i, text in enumerate(ids):
        if not column.spec.windowed and len(text) > length:
            raise ValueError(f"the text has {len(text)} tokens, and there is room for {length}")
        longer = F.pad(text, (0, 1), value=ANY_ID)
        parts = windows(longer if column.spec.windowed else longer[:length], length)
        cuts += [(i, window, new) for window, new in parts]
    places: list[list[Tensor]] = [[] for _ in ids]
    batch, device = max(1, MAX_LOG_PROBS // (size * length)), model.processor.device
    for start in range(0, len(cuts), batch):
        numbers, part, new = zip(*cuts[start : start + batch], strict=True)
        context = model.processor.context([rows[i] for i in numbers])
        log_probs = family.id_log_probs({name: torch.stack(part).to(device)}, context)[name].cpu()
        for i, of_window, mask in zip(numbers, log_probs, new, strict=True):
            places[i].append(of_window[mask[: len(of_window)]])
    return [_scores(text, torch.cat(found), alternatives) for text, found in zip(ids, places, strict=True)]


def _scores(ids: Tensor, log_probs: Tensor, alternatives: int) -> TokenScores:
    """The scores of ids (n,) from log p of every id in each place, (n, K) or (n + 1, K)."""
    top = log_probs.topk(min(alternatives, log_probs.shape[1]), dim=1)
    own = log_probs[: len(ids)].gather(1, ids[:, None])[:, 0]
    after = log_probs[-1] if len(log_probs) > len(ids) else None
    return TokenScores(ids, own, top.indices, top.values, after)

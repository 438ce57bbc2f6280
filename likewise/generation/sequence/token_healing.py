"""Token healing: the last ids of a prompt are sampled again, as training may have had others (guidance, 2023).

Legend: B rows, K ids of a column, n ids so far, w the bytes of the ids that are taken back.

A prompt that ends inside of what is one id of a text ("It was " of " the") has ids that never preceded its
continuation in training. So its last ids are taken back, as many as some longer id begins with. In their place
come ids whose bytes begin with w, which completes healing, or the first of those taken back, after which the
rest of w remains. Other ids that spell a part of w would be likely for the sake of other texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likewise.modalities.tokenizer import ByteBPE


def backtrack(vocabulary: ByteBPE, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The ids of a prompt (n,) that stay, and those that are taken back: none of a vocabulary of bytes."""
    for at in range(max(0, len(ids) - vocabulary.max_token_bytes), len(ids)):
        w = vocabulary.ids_to_bytes(ids[at:].tolist())
        if any(len(vocabulary.token_bytes[i]) > len(w) for i in vocabulary.ids_with_prefix(w)):
            return ids[:at], ids[at:]
    return ids, ids[:0]


class HealingMask:
    """The ids that are taken back from each of B prompts, and the ids allowed in their place."""

    def __init__(self, vocabulary: ByteBPE, ids: Sequence[Tensor]) -> None:
        self.vocabulary, self.ids = vocabulary, [removed.tolist() for removed in ids]
        self.counts = torch.tensor([*map(len, self.ids)])

    def allowed_ids(self, out: Tensor, prompt_lengths: Tensor) -> Tensor | None:
        """The ids that may follow those so far, (B, n), of which the first `prompt_lengths`, (B,), are prompts.

        (B, K) bool, or None where nothing remains to be healed.
        """
        n = out.shape[1]
        remaining: dict[int, list[int]] = {}
        for row, (removed, at) in enumerate(zip(self.ids, prompt_lengths.tolist(), strict=True)):
            if at <= n < at + len(removed) and out[row, at:].tolist() == removed[: n - at]:
                remaining[row] = removed[n - at :]
        if not remaining:
            return None
        masks = torch.ones(len(out), self.vocabulary.size, dtype=torch.bool)
        for row, ids in remaining.items():
            masks[row] = False
            masks[row, [ids[0], *self.vocabulary.ids_with_prefix(self.vocabulary.ids_to_bytes(ids))]] = True
        return masks.to(out.device)

"""The likelihood of a sequence of columns as the product of those of its tokens.

    log p(x) = sum_i log p(x_i | x_1, ..., x_{i-1}), each by a head on a hidden state of causal.py       (1)

Legend: B rows, T tokens of a column, n up to the last valid one, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch
from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.generation.sequence.fim import PRE, SENTINELS, EmbeddingWithSentinels, to_psm
from likewise.nets.causal import CausalBackbone
from likewise.nets.conditioning import EncodedContext
from likewise.nets.embeddings import HashedNGrams
from likewise.nets.heads import CategoricalHead, MixtureHead


@dataclass(frozen=True)
class SequenceLikelihood:
    """(1), with the embeddings, backbone and heads of a network.

    specs    of the tokens of each column, in their order
    causal   the backbone between embeddings and heads
    embeddings   tokens of a column -> (B, n, D); the last column may have none, if it is no input
    heads    of each column
    hashed_ngrams  added to the embeddings of the ids of a text
    dropout  share of the tokens whose embedding is zeroed
    """

    specs: Mapping[str, Spec]
    causal: CausalBackbone
    embeddings: Sequence[nn.Module]
    heads: Sequence[CategoricalHead | MixtureHead]
    hashed_ngrams: HashedNGrams | None
    dropout: float

    def embed(self, k: int, tokens: Tensor) -> Tensor:
        """Tokens of column k, (B, n, ...) -> (B, n, D); the last of all, where it has no embedding, as 0."""
        if k < len(self.embeddings):
            e = self.embeddings[k](tokens)
            return e if self.hashed_ngrams is None else e + self.hashed_ngrams(tokens)
        return self.causal.start_embedding.new_zeros(*tokens.shape[:2], self.causal.width)

    def token_log_probs(
        self, z: Batch, context: EncodedContext, rng: Rng | None = None, present: Batch | None = None
    ) -> Batch:
        """log p of each token, (B, n) with n up to the last valid one; with `rng`, with dropout.

        present  column -> (B, 1) bool: where a value is missing, later tokens read 0 in place of its embeddings
        """
        slots = self._hidden_states(z, context, rng, present)
        return {
            name: head.log_prob(h, z[name][:, : used.shape[1]]) * used
            for (name, (h, used)), head in zip(slots.items(), self.heads, strict=True)
        }

    def id_log_probs(self, z: Batch, context: EncodedContext) -> Batch:
        """log p of every id in each place, given the tokens before it: of columns of ids, (B, n, K)."""
        slots = self._hidden_states(z, context)
        return {
            name: head(h).log_softmax(-1)
            for (name, (h, _)), head in zip(slots.items(), self.heads, strict=True)
            if isinstance(head, CategoricalHead)
        }

    def _hidden_states(
        self, z: Batch, context: EncodedContext, rng: Rng | None = None, present: Batch | None = None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """What the heads of each column read, (B, n, D), and which tokens are no padding, (B, n)."""
        used = {n: valid_mask(z[n], spec) for n, spec in self.specs.items()}
        lengths = {n: max(1, int(u.any(0).sum())) for n, u in used.items()}
        parts = [
            self._embed_with_dropout(k, z[n][:, : lengths[n]], spec.tokens, rng)
            for k, (n, spec) in enumerate(self.specs.items())
        ]
        if present:
            parts = [part * present[n][..., None] for n, part in zip(self.specs, parts, strict=True)]
        seen = torch.cat([used[n][:, : lengths[n]] for n in self.specs], dim=1)
        slots = self.causal(parts, seen, context)
        return {n: (h, used[n][:, :length]) for (n, length), h in zip(lengths.items(), slots, strict=True)}

    def fim_log_prob(self, z: Batch, context: EncodedContext, share: float, rng: Rng) -> Tensor:
        """log p of the tokens of a text, (B, 1), rearranged in a share of the rows; sentinels are not scored."""
        [ids], [spec] = z.values(), self.specs.values()
        u = rng.uniform(1 + (3 if spec.windowed else 2))
        rearranged, psm = u[:, :1] < share, to_psm(ids, u[:, 1:], spec.classes)
        used = torch.where(rearranged, valid_mask(psm, spec), F.pad(valid_mask(ids, spec), (0, SENTINELS)))
        n = max(1, int(used.any(0).sum()))
        used, ids = used[:, :n], torch.where(rearranged, psm, F.pad(ids, (0, SENTINELS)))[:, :n]
        start = torch.where(rearranged[..., None], self._sentinels()[PRE], self.causal.start_embedding)
        [h] = self.causal(
            [self._embed_with_dropout(0, ids, spec.tokens + SENTINELS, rng)], used, context, start
        )
        counts = used & (ids < spec.classes)
        return (self.heads[0].log_prob(h, ids * counts) * counts).sum(1, keepdim=True)

    def _sentinels(self) -> Tensor:
        embedding = self.embeddings[0]
        assert isinstance(embedding, EmbeddingWithSentinels)
        return embedding.sentinels

    def _embed_with_dropout(self, k: int, tokens: Tensor, size: int, rng: Rng | None) -> Tensor:
        """Embeddings (B, n, D) of tokens of a column of that size, with word dropout (Bowman et al., 2016).

        Sentinels are never dropped.
        """
        part = self.embed(k, tokens)
        if rng is None or not self.dropout:
            return part
        keep = rng.uniform(size)[:, : part.shape[1]] >= self.dropout
        spec = list(self.specs.values())[k]
        if spec.categorical:
            keep = keep | (tokens >= spec.classes)
        return part * keep[..., None]


def valid_mask(x: Tensor, spec: Spec) -> Tensor:
    """Which tokens of x, (B, T, ...), are no padding, (B, T) bool: up to the first 0 of a padded column."""
    if not spec.padded:
        return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    return (x == 0).long().cumsum(1) - (x == 0).long() == 0

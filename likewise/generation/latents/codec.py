"""Codec: columns -> few codes -> columns. An autoencoder, shared by whoever learns a distribution of codes.

    codes = bottleneck(Linear(Encoder(x))),   x ~ p(x | Decoder(Linear(codes)))                          (1)
    loss = -log p(x | codes), the mean over the numbers of a column, summed, + what codes cost           (2)

It describes x, whatever the sources. Codes are vectors, or ids (quantise.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from likewise.core.batch import Batch, take
from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.generation.latents.bottlenecks import make_bottleneck
from likewise.generation.latents.decoder_likelihood import DecoderLikelihood
from likewise.nets.continuous import ContinuousCodes
from likewise.nets.stems.base import norm
from likewise.nets.transformer import Decoder, Encoder

SEEN = 512  # rows that `begin` looks at
LATER = 0.25  # of the rows, on which decoders go on learning when codes stand still


class Codec(nn.Module):
    """(1) over the target columns.

    spec    of the codes: n vectors of floats, or n ids
    places  P, of codes; there are `books` ids at each where codes are ids
    grid    of the places: that of one target, or all of several in a line
    terms   what the last loss was made of
    """

    def __init__(
        self,
        targets: Mapping[str, Spec],
        *,
        bottleneck: str = "continuous",
        width: int = 128,
        depth: int = 1,
        stem: str = "conv",
        max_grid: int = 4,
        code_dim: int = 8,
        codebook_size: int = 1000,
        num_codebooks: int = 4,
    ) -> None:
        """`floats` of a code, `size` of a codebook and `books` as `quantise.bottleneck` takes them."""
        super().__init__()
        self.column_codes = ContinuousCodes(targets)
        self.encoder = Encoder(self.column_codes.specs, width=width, depth=depth, stem=stem, coarse=max_grid)
        self.bottleneck = make_bottleneck(bottleneck, code_dim, codebook_size, num_codebooks)
        self.down = nn.Linear(width, self.bottleneck.code_dim)
        self.up = nn.Linear(self.bottleneck.code_dim, width)
        self.likelihood = DecoderLikelihood(targets)
        self.decoder = Decoder(
            self.column_codes.specs,
            self.likelihood.outputs,
            width=width,
            depth=depth,
            stem=stem,
            coarse=max_grid,
        )
        self.places, self.discrete = self.encoder.tokens, self.bottleneck.num_codebooks > 0
        one = next(iter(targets.values())) if len(targets) == 1 else None
        self.grid = self.encoder.stems[0].grid if one else (self.places,)
        self.vector_spec = Spec(self.grid, width=self.bottleneck.code_dim, axes=one.axes if one else ())
        self.spec = self._id_spec() if self.discrete else self.vector_spec
        self.loss_terms: dict[str, Tensor] = {}

    def _id_spec(self) -> Spec:
        """Ids on the grid, with an axis for the codebooks if there are several."""
        several = self.bottleneck.num_codebooks > 1
        axes = self.vector_spec.axes
        return Spec(
            (*self.grid, self.bottleneck.num_codebooks) if several else self.grid,
            classes=self.bottleneck.codebook_size,
            axes=(*axes, "codebook") if several and axes else axes,
        )

    @torch.no_grad()
    def init_from_data(self, x: Batch) -> None:
        """Start codes as principal components of unit variance of what the encoder says of some rows.

        An encoder says almost the same of every row at first, so that all would have one code, and a decoder
        that learns without looking at it would leave them so.
        """
        few = {name: value[:SEEN] for name, value in x.items()}
        h = norm(self.encoder(self.column_codes.encode(few))).flatten(0, 1).double()
        mean = h.mean(0)
        variance, axes = torch.linalg.eigh((h - mean).T @ (h - mean) / len(h))  # in increasing order
        weight = (axes / variance.clamp(min=1e-8).sqrt())[:, -len(self.down.weight) :].T.flip(0)
        self.down.weight.copy_(weight)
        self.down.bias.copy_(-weight @ mean)

    def loss(self, x: Batch, rng: Rng, still: bool = False) -> Tensor:
        """(2), (B,); where codes stand `still`, of the decoder alone, in some rows."""
        if still:
            return self._polished(x, rng)
        v, cost = self.bottleneck(self._encoded(x), rng)
        error = -self.likelihood.mean_log_prob(x, self.decode_params(v))
        self.loss_terms = {"reconstruction": error.detach().mean(), "codes": cost.detach().mean()}
        return error + cost

    def _polished(self, x: Batch, rng: Rng) -> Tensor:
        rows = (rng.uniform(1)[:, 0] < LATER).nonzero()[:, 0]
        loss = torch.zeros(len(rng), device=rng.device) + 0 * self.up.bias.sum()
        if len(rows):
            some = take(x, rows)
            with torch.no_grad():
                v, _ = self.bottleneck(self._encoded(some), rng.take(rows))
            nats = self.likelihood.mean_log_prob(some, self.decode_params(v))
            loss = loss.index_put((rows,), -nats / LATER)
        self.loss_terms = {"reconstruction": loss.detach().mean()}
        return loss

    def encode(self, x: Batch) -> Tensor:
        """The codes of x without noise: (B, n, d) float32, or ids (B, n) int64."""
        v = self.bottleneck.normalize(self._encoded(x))
        return self.bottleneck.ids(v) if self.discrete else v

    def decode(self, codes: Tensor) -> Batch:
        """Codes -> encoded columns: the mean of numbers, the most likely class."""
        return self.likelihood.mode(self.decode_params(self.vectors(codes)))

    def log_prob(self, x: Batch, codes: Tensor) -> Tensor:
        """log p(x | codes) of the decoder, nats, (B,)."""
        return self.likelihood.log_prob(x, self.decode_params(self.vectors(codes)))

    def vectors(self, codes: Tensor) -> Tensor:
        """Codes -> their vectors, (B, P, d); where codes are vectors, themselves."""
        return self.bottleneck.vectors(codes) if self.discrete else codes

    def codes(self, vectors: Tensor) -> Tensor:
        """Any vectors, (B, P, d) -> the nearest codes."""
        return self.bottleneck.ids(vectors) if self.discrete else vectors

    def decode_params(self, vectors: Tensor) -> Batch:
        """Vectors of codes -> what the decoder says: column -> (B, T, outputs)."""
        return self.decoder(self.up(vectors.to(self.up.weight.dtype)))

    def _encoded(self, x: Batch) -> Tensor:
        return self.down(norm(self.encoder(self.column_codes.encode(x))))


class MultiColumnCodec(nn.ModuleList):
    """A codec for each picture among the columns; the others are codes as they are.

    specs  of the codes of all columns
    named  the codec of each picture
    """

    def __init__(self, targets: Mapping[str, Spec], pictures: Sequence[str], **options: Any) -> None:
        """`options` are those of each Codec."""
        super().__init__(Codec({name: targets[name]}, **options) for name in pictures)
        self.pictures = list(pictures)
        self.specs = dict(targets) | {name: codec.spec for name, codec in self.named.items()}

    @property
    def named(self) -> dict[str, Codec]:
        return dict(zip(self.pictures, self, strict=True))

    def init_from_data(self, x: Batch) -> None:
        """Start the codes of each."""
        for name, codec in self.named.items():
            codec.init_from_data({name: x[name]})

    @torch.no_grad()
    def encode(self, x: Batch) -> Batch:
        """Columns -> codes."""
        named = self.named
        return {n: named[n].encode({n: x[n]}) if n in named else x[n] for n in self.specs}

    def loss(self, x: Batch, rng: Rng, still: bool) -> Tensor:
        """That of each, summed, (B,)."""
        return sum(codec.loss({name: x[name]}, rng, still) for name, codec in self.named.items())


def perplexity(ids: Tensor, classes: int) -> float:
    """exp of the entropy of how often each class comes: how many classes are in use, as it were."""
    share = torch.bincount(ids.flatten(), minlength=classes).double() / ids.numel()
    return float(torch.special.entr(share).sum().exp())

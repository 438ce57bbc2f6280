"""Codec: columns -> few codes -> columns, an autoencoder for families that learn a distribution of codes.

    codes = bottleneck(Linear(Encoder(x))),   x ~ p(x | Decoder(Linear(codes)))                          (1)
    loss = -log p(x | codes), the mean over the numbers of a column, summed, + loss of the bottleneck    (2)

It does not depend on the sources. Codes are vectors, or ids (bottlenecks.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from likewise.core.batch import Batch, take
from likewise.core.known import has_gaps, present_masks
from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.generation.latents.bottlenecks import make_bottleneck
from likewise.generation.latents.decoder_likelihood import DecoderLikelihood
from likewise.nets.continuous import ContinuousCodes
from likewise.nets.layers import Linear, ModuleList, norm
from likewise.nets.transformer import Decoder, Encoder

INIT_ROWS = 512  # rows that `init_from_data` reads
DECODER_SHARE = 0.25  # of the rows, on which decoders go on learning while codes are frozen


class Codec(nn.Module):
    """(1) over the target columns.

    spec        of the codes: n vectors, or n Q ids
    discrete    whether codes are ids
    grid        of the n positions: that of a single target, else (n,)
    loss_terms  the terms of the last loss
    """

    def __init__(
        self,
        targets: Mapping[str, Spec],
        *,
        width: int = 128,
        depth: int = 1,
        stem: str = "conv",
        max_grid: int = 4,
        bottleneck: str = "continuous",
        code_dim: int = 8,
        codebook_size: int = 1000,
        num_codebooks: int = 4,
    ) -> None:
        """An encoder and a decoder of this width, depth and stem; the rest as in `make_bottleneck`.

        max_grid  codes along a side of an image, at most
        """
        super().__init__()
        self.column_codes = ContinuousCodes(targets)
        self.encoder = Encoder(
            self.column_codes.specs, width=width, depth=depth, stem=stem, max_grid=max_grid
        )
        self.bottleneck = make_bottleneck(bottleneck, code_dim, codebook_size, num_codebooks)
        self.down = Linear(width, self.bottleneck.code_dim)
        self.up = Linear(self.bottleneck.code_dim, width)
        self.likelihood = DecoderLikelihood(targets)
        self.decoder = Decoder(
            self.column_codes.specs,
            self.likelihood.outputs,
            width=width,
            depth=depth,
            stem=stem,
            max_grid=max_grid,
        )
        self.discrete = self.bottleneck.num_codebooks > 0
        one = next(iter(targets.values())) if len(targets) == 1 else None
        self.grid: tuple[int, ...] = self.encoder.stems[0].grid if one else (self.encoder.tokens,)
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
        """Make the first codes principal components, of unit variance, of the encoder's outputs for some rows.

        At first an encoder has almost the same output for every row: all rows would have one code, and a
        decoder would learn to ignore it.
        """
        few = {name: value[:INIT_ROWS] for name, value in x.items()}
        h = norm(self.encoder(self.column_codes.encode(few))).flatten(0, 1).double()
        mean = h.mean(0)
        variance, axes = torch.linalg.eigh((h - mean).T @ (h - mean) / len(h))  # in increasing order
        weight = (axes / variance.clamp(min=1e-8).sqrt()).T.flip(0)
        n = min(len(weight), len(self.down.weight))  # a code may have more numbers than there are components
        self.down.weight[:n] = weight[:n].to(self.down.weight)
        self.down.bias[:n] = (-weight[:n] @ mean).to(self.down.bias)

    def loss(self, x: Batch, rng: Rng, frozen: bool = False) -> Tensor:
        """(2), (B,); with codes `frozen`, of the decoder alone, in a share of the rows."""
        if frozen:
            return self._decoder_loss(x, rng)
        v, cost = self.bottleneck(self._encode(x), rng)
        error = -self.likelihood.mean_log_prob(x, self.decode_params(v))
        self.loss_terms = {"reconstruction": error.detach().mean(), "codes": cost.detach().mean()}
        return error + cost

    def _decoder_loss(self, x: Batch, rng: Rng) -> Tensor:
        rows = (rng.uniform(1)[:, 0] < DECODER_SHARE).nonzero()[:, 0]
        loss = torch.zeros(len(rng), device=rng.device) + 0 * self.up.bias.sum()
        if len(rows):
            some = take(x, rows)
            with torch.no_grad():
                v, _ = self.bottleneck(self._encode(some), rng.take(rows))
            nats = self.likelihood.mean_log_prob(some, self.decode_params(v))
            loss = loss.index_put((rows,), -nats / DECODER_SHARE)
        self.loss_terms = {"reconstruction": loss.detach().mean()}
        return loss

    def encode(self, x: Batch) -> Tensor:
        """The codes of x without noise: (B, n, d) float32, or ids (B, n Q) int64."""
        return self.bottleneck.codes(self.bottleneck.normalize(self._encode(x)))

    def decode(self, codes: Tensor) -> Batch:
        """Codes -> encoded columns: the mean of numbers, the most likely class."""
        return self.likelihood.mode(self.decode_params(self.vectors(codes)))

    def log_prob(self, x: Batch, codes: Tensor) -> Tensor:
        """log p(x | codes) of the decoder, nats, (B,)."""
        return self.likelihood.log_prob(x, self.decode_params(self.vectors(codes)))

    def vectors(self, codes: Tensor) -> Tensor:
        """Codes -> their vectors, (B, n, d); where codes are vectors, themselves."""
        return self.bottleneck.vectors(codes)

    def codes(self, vectors: Tensor) -> Tensor:
        """Any vectors, (B, n, d) -> the nearest codes."""
        return self.bottleneck.codes(vectors)

    def decode_params(self, vectors: Tensor) -> Batch:
        """Vectors of codes -> parameters of p(x | codes): column -> (B, T, outputs)."""
        return self.decoder(self.up(vectors.to(self.up.weight.dtype)))

    def _encode(self, x: Batch) -> Tensor:
        return self.down(norm(self.encoder(self.column_codes.encode(x))))


class MultiColumnCodec(ModuleList[Codec]):
    """A codec for each of some columns; tokens of the others are their own codes.

    specs  of the codes of all columns
    named  column -> its codec
    """

    def __init__(self, targets: Mapping[str, Spec], columns: Sequence[str], **options: Any) -> None:
        """`options` are those of each Codec."""
        super().__init__(Codec({name: targets[name]}, **options) for name in columns)
        self.columns = list(columns)
        self.specs = dict(targets) | {name: codec.spec for name, codec in self.named.items()}

    @property
    def named(self) -> dict[str, Codec]:
        return dict(zip(self.columns, self, strict=True))

    def init_from_data(self, x: Batch) -> None:
        """`Codec.init_from_data` of each codec."""
        for name, codec in self.named.items():
            if len(x[name]):
                codec.init_from_data({name: x[name]})

    @torch.no_grad()
    def encode(self, x: Batch) -> Batch:
        """Columns -> codes."""
        named = self.named
        return {n: named[n].encode({n: x[n]}) if n in named else x[n] for n in self.specs}

    def loss(self, x: Batch, rng: Rng, frozen: bool) -> Tensor:
        """The sum of the losses of the codecs, (B,)."""
        losses = [codec.loss({name: x[name]}, rng, frozen) for name, codec in self.named.items()]
        if has_gaps(x):
            present = present_masks(self.specs, x, len(rng), rng.device)
            losses = [loss * present[name][:, 0] for name, loss in zip(self.named, losses, strict=True)]
        return reduce(torch.add, losses)


def perplexity(ids: Tensor, classes: int) -> float:
    """exp of the entropy of the frequencies of ids: the effective number of codes in use."""
    share = torch.bincount(ids.flatten(), minlength=classes).double() / ids.numel()
    return float(torch.special.entr(share).sum().exp())

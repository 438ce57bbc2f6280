"""Autoregressive: one token after another by a causal transformer (Radford et al., 2018, "GPT").

    p(x | c) = prod_i p(x_i | x_1, ..., x_{i-1}, c)                                                     (1)
    ids: softmax of logits;  floats: a mixture of Gaussians (Bishop, 1994)                              (2)
    pictures: codes z of a Codec, then log p(x | c) >= log p(z | c) + log p(x | z),  z = encode(x)      (3)
    drawing: (1) token by token, with guided logits, (1) of ancestral.py
    constrained: of the ids that a constraint allows, (1) of constraints.py
    a middle: the same of a text that is rearranged, (1) of middle.py

The tokens of all targets, in the order of the formula, are one sequence. Sources stand in context before it,
and so do known parts: they are read there as sources, and forced where they stand in the sequence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context, take
from likewise.core.known import (
    KnownParts,
    append_known,
    blank_values,
    fill_unknown,
    known_specs,
    no_masks,
    sample_masks,
    where_known,
)
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.spec import Spec
from likewise.families.base import Family
from likewise.generation.controls import negative_context
from likewise.generation.latents.codec import MultiColumnCodec
from likewise.generation.sequence.constraints import TokenConstraint
from likewise.generation.sequence.decoding import SamplingParams, SequenceSampler, StopFn
from likewise.generation.sequence.fim import PRE, SENTINELS, EmbeddingWithSentinels
from likewise.generation.sequence.likelihood import SequenceLikelihood, valid_mask
from likewise.generation.sequence.token_healing import HealingMask
from likewise.nets.causal import CausalTransformer
from likewise.nets.compat.base import EPS
from likewise.nets.compat.llama import ROPE_THETA
from likewise.nets.compat.registry import build, why_unsupported
from likewise.nets.conditioning import ContextEncoder, EncodedContext
from likewise.nets.continuous import ContinuousCodes
from likewise.nets.embeddings import FourierNumberEmbedding, HashedNGrams
from likewise.nets.heads import CategoricalHead, MixtureHead

READ = 4  # places a side at which a picture is read: every block sees all of them
STEP = 6144  # tokens of a training step, where rows are long texts: more steps are better than larger ones
DROP, DROPPED = 0.04, 0.4  # of the tokens of documents: for each pass through the rows, and at most
GUIDANCE = 2.0  # of pictures
FEW = 64  # tokens of floats up to which they are drawn one by one: a grid of more is coded


class Autoregressive(Family):
    """P(targets | sources) as a product over tokens."""

    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: int | None = None,
        depth: int = 4,
        components: int = 16,
        min_std: float = 0.01,
        codec: Literal["fsq", "vq", "rvq"] = "fsq",
        max_grid: int = 4,
        codebook_size: int = 1000,
        freeze_codes_at: float = 0.4,
        infill: float | None = None,
        hashed_ngrams: int = 0,
        fim: float = 0.0,
        dropout: float | None = None,
        compat: Literal["none", "llama", "gpt2"] = "none",
        heads: int | None = None,
        mlp_width: int | None = None,
        rope_theta: float = ROPE_THETA,
        norm_eps: float = EPS,
        tie_embeddings: bool | None = None,
    ) -> None:
        """Build the network.

        width   floats a token in the trunk (default of documents 256, else 128); depth: blocks of the trunk
        components  Gaussians of a token of floats; floor: least deviation of each
        codec   of pictures: how codes are found; coarse: codes a side; codebook: how many there are
        settle  share of the training that is for codes; then they stand still and sequences are learned
        infill  share of training rows with known parts (default 0.1, of several targets 0.5)
        grams   of a text alone: rows of the tables of pairs and triples of ids that are looked up beside it
        fim     of a text alone: share of the training rows without known parts that are rearranged, so that
                what stands between two parts can be drawn
        dropout  share of the tokens that are read as nothing while training, so that slots learn from more
                than the last few (default 0, of documents 0 in the first pass through the rows and
                0.04 more in each later one, at most 0.4)
        compat  "llama", "gpt2": of a text alone, the trunk that `likewise export` can give to transformers
        heads   of that trunk (default one for every 64 floats); hidden: floats inside of its mlp (default 8/3
                of the width, 4 times it in gpt2); base: of the wavelengths of places in llama; eps: of its
                norms; tied: whether its head has the weights of its embedding (default in gpt2 alone)

        Raises ValueError for a document beside other targets, grams or fim of what is no text, or what
        `compat` has not.
        """
        super().__init__(targets, sources)
        own = {
            "heads": heads,
            "mlp_width": mlp_width,
            "rope_theta": rope_theta,
            "norm_eps": norm_eps,
            "tie_embeddings": tie_embeddings,
        }
        if reason := why_unsupported(
            self.targets,
            self.sources,
            compat,
            {**own, "infill": infill, "hashed_ngrams": hashed_ngrams, "fim": fim},
        ):
            raise ValueError(reason)
        self.windowed = any(s.windowed for s in self.targets.values())
        self.is_text = [s.padded for s in self.targets.values()] == [True]
        if not 0 <= fim <= 1:
            raise ValueError(f"fim={fim:g} is a share of the training rows, from 0 to 1")
        for option, value in {"hashed_ngrams": hashed_ngrams, "fim": fim}.items():
            if value and not self.is_text:
                raise ValueError(f"{option}={value} is for one target that is a text; leave it out")
        width = width or (256 if self.windowed else 128)
        self.weight_decay = 0.1 if self.windowed else 0.0
        self.dropout = 0.0 if dropout is None and not self.windowed else dropout
        if not 0 <= (self.dropout or 0) < 1:
            raise ValueError(f"dropout={self.dropout:g} is a share of the tokens, from 0 to below 1")
        self.fim = fim
        if self.is_text:
            self.batch = max(24, min(self.batch, STEP // sum(s.tokens for s in self.targets.values())))
        if self.windowed and len(self.targets) > 1:
            raise ValueError("a document is drawn alone; give the other targets as sources, after the bar")
        self.coded_targets = [
            n for n, s in self.targets.items() if not s.categorical and len(s.grid) > 1 and s.tokens > FEW
        ]
        self.codecs = MultiColumnCodec(
            self.targets,
            self.coded_targets,
            bottleneck=codec,
            width=min(width, 128),
            max_grid=max_grid,
            codebook_size=codebook_size,
        )
        self.freeze_codes_at = freeze_codes_at
        self.tokens = self.codecs.specs
        self.phases = ("codec", "model") if self.coded_targets else ("model",)  # type: ignore[misc]
        self.sizes = [s.tokens for s in self.tokens.values()]
        specs, self.is_compat = list(self.tokens.values()), compat != "none"
        ids, more = (EmbeddingWithSentinels, SENTINELS) if fim else (nn.Embedding, 0)
        self.causal = (
            build(compat, *specs, width, depth, own)
            if self.is_compat
            else CausalTransformer(specs, width, depth, more)
        )
        last = self.sizes[-1] == 1 and not fim  # that no slot reads
        read = [] if self.is_compat else specs[:-1] if last else specs
        self.embeddings = nn.ModuleList(
            ids(s.classes, width) if s.categorical else FourierNumberEmbedding(s.width, width) for s in read
        )
        self.heads = nn.ModuleList(
            CategoricalHead(width, s.classes, not self.is_compat, self.causal.tied_embedding)
            if s.categorical
            else MixtureHead(width, s.width, components, min_std)
            for s in self.tokens.values()
        )
        self.hashed_ngrams = HashedNGrams(hashed_ngrams, width) if hashed_ngrams else None
        several = len(self.targets) > 1
        self.infill = (0.5 if several else 0.1) if infill is None else infill
        if self.windowed and infill:
            raise ValueError("parts of a document cannot be known; leave infill out")
        if self.windowed or self.is_compat or (not several and next(iter(self.targets.values())).tokens == 1):
            self.infill = 0.0  # known, it leaves nothing to tell
        self.column_codes = ContinuousCodes(self.targets)
        known = known_specs(self.column_codes.specs) if self.infill else {}
        self.context_encoder = ContextEncoder({**self.sources, **known}, width, max_grid=READ)

    def parameters_of(self, phase: str) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.named_parameters() if n.startswith("codecs.") == (phase == "codec")]

    @property
    def product(self) -> SequenceLikelihood:
        """(1) of the sequence."""
        embeds = [self.causal.embedding] if self.is_compat else self.embeddings
        dropout = 0.0
        if self.training:  # what is read for the first time cannot have been learned by heart
            again = min(DROPPED, DROP * max(0.0, self.epochs - 1))
            dropout = again if self.dropout is None else self.dropout
        return SequenceLikelihood(self.tokens, self.causal, embeds, self.heads, self.hashed_ngrams, dropout)

    # ---- learning

    def init_from_data(self, x: Batch, c: Context, rng: Rng) -> None:
        """Heads start at the marginals of their columns, and codes so that pictures have different ones."""
        self.codecs.init_from_data(x)
        for (name, spec), head in zip(self.tokens.items(), self.heads, strict=True):
            if name not in self.coded_targets:
                head.init_from_data(x[name][valid_mask(x[name], spec)])

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """-log p of what is unknown, the mean over each column's tokens, summed over columns: (B,)."""
        if phase == "codec":
            losses = self.codecs.loss(x, rng, still=self.freeze_codes_at < self.progress < 1)
            self.loss_terms = {"codec": losses.detach().mean()}
            return losses
        if (
            len(self.coded_targets) == len(self.targets) and self.progress < self.freeze_codes_at
        ):  # all tokens still move
            return 0 * self.causal.start_embedding.sum() + torch.zeros(len(rng), device=c.present.device)
        rows = len(rng)
        masks = (
            sample_masks(self.targets, self.infill, rng)
            if self.infill
            else no_masks(self.targets, rows, c.present.device)
        )
        z = self.codecs.encode(x)
        some = torch.stack([mask.any(1) for mask in masks.values()]).any(0)
        losses = torch.zeros(rows, len(z), device=c.present.device)
        for known in (True, False):  # a row of which nothing is known has no known parts to read
            if (index := (some == known).nonzero()[:, 0]).numel():
                context = self._read(c.take(index), take(x, index), take(masks, index))
                if self.fim and not known:
                    nats = self.product.rearranged(take(z, index), context, self.fim, rng.take(index))
                else:
                    free = {n: ~self._forced(n, masks[n][index]) for n in z}
                    nats = self._nats(take(z, index), context, free, rng.take(index))
                losses = losses.index_put((index,), -nats / nats.new_tensor(self.sizes))
        self.loss_terms |= {n: loss.detach().mean() for n, loss in zip(z, losses.unbind(1), strict=True)}
        return losses.sum(1)

    def log_prob(self, x: Batch, c: Context, *, rng: Rng) -> Score:
        """(1), exact; a bound by (3) where there are pictures. A padded text ends once, with certainty."""
        masks = no_masks(self.targets, len(rng), c.present.device)
        z = self.codecs.encode(x)
        free = {n: torch.ones_like(valid_mask(v, self.tokens[n])) for n, v in z.items()}
        nats = self._nats(z, self._read(c, x, masks), free).sum(1)
        for name, codec in self.codecs.named.items():
            nats = nats + codec.log_prob({name: x[name]}, z[name])
        return Score(
            nats,
            "bound" if self.coded_targets else "exact",
            sum(s.tokens * s.width for s in self.targets.values()),
        )

    def token_log_prob(self, x: Batch, c: Context) -> Batch:
        """log p of each token given those before it, column -> (B, T) nats, 0 after the end; no pictures."""
        masks = no_masks(self.targets, len(c.present), c.present.device)
        nats = self.product.token_log_probs(x, self._read(c, x, masks))
        return {n: F.pad(v, (0, self.tokens[n].tokens - v.shape[1])) for n, v in nats.items()}

    def _nats(self, z: Batch, context: EncodedContext, free: Batch, rng: Rng | None = None) -> Tensor:
        """log p of each column's tokens that are `free`, (B, K), by (1)."""
        nats = self.product.token_log_probs(z, context, rng)
        return torch.stack([(v * free[n][:, : v.shape[1]]).sum(1) for n, v in nats.items()], dim=1)

    # ---- drawing

    @torch.no_grad()
    def sample(
        self,
        c: Context,
        *,
        known: KnownParts | None,
        rng: Rng,
        negative: Context | None = None,
        prompt: Batch | None = None,
        suffix: Batch | None = None,
        healing: HealingMask | None = None,
        stop_fn: StopFn | None = None,
        constraint: Mapping[str, TokenConstraint] | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        guidance: float | None = None,
        presence: float = 0.0,
        frequency: float = 0.0,
        tokens: int | None = None,
    ) -> Batch:
        """Draw (1) token by token; of each target under a `constraint`, what it allows.

        temperature  below 1, more of what is likely; 0 is the most likely token each time
        top_p      of ids, the fewest that have this probability together
        min_p      of ids, those with at least this share of the most likely one's probability
        guidance   of ids, 1 is the model as it is, more trades diversity for fidelity
                   (default 2 for pictures, 1 for the rest)
        presence   of a text, subtracted from the logit of an id that was drawn already
        frequency  the same for each time that it was drawn
        tokens     of a text, drawn at most; a document may be longer than a window (default: a window)

        `prompt` is the beginning of the one target that is a text, ids (B, P) filled up with 0; with a
        `suffix`, (B, S), what stands between them is drawn. What is `owed` comes first, beside
        the `tokens`. `watch` is told a column's name and its ids so far, (B, n), as they are told, after each
        id of a text, and says which rows end there, (B,) bool.
        Raises ValueError for a negative where nothing is guided, a suffix without `fim`, known parts of a
        document, and a knob out of its range.
        """
        for name, value, fine in (
            ("temperature", temperature, 0 <= temperature < math.inf),
            ("top_p", top_p, 0 < top_p <= 1),
            ("min_p", min_p, 0 <= min_p <= 1),
        ):
            if not fine:
                raise ValueError(
                    f"{name}={value:g}: temperature is 0 or more, top_p is above 0 and at most "
                    "1, min_p is from 0 to 1"
                )
        if known and self.windowed:
            raise ValueError(
                "parts of a document cannot be known, as it has no places of its own; give a "
                "prompt, or a prompt and a suffix to a model that was trained with fim"
            )
        for name, value in {"prompt": prompt, "suffix": suffix, "tokens": tokens}.items():
            if value is not None and not self.is_text:
                raise ValueError(f"{name} is for a model whose one target is a text")
        if self.is_compat and (known or negative or suffix is not None or guidance not in (None, 1.0)):
            raise ValueError(
                "a model with another library's trunk (compat) reads nothing but what stands "
                "before a place: no suffix, no known parts, no guidance, no negative; give it a "
                "prompt, or train one without compat"
            )
        if suffix is not None and (known or not self.fim):
            raise ValueError(
                "known parts and a suffix are two ways to fill in a text; leave one out"
                if known
                else "this model cannot fill in the middle of a text, as it was trained without "
                "fim; train one with it, likewise train ... --fim 0.5, or train this one on: "
                "likewise train --from RUN --fim 0.5 --out ANOTHER"
            )
        if tokens is not None and tokens < 1:
            raise ValueError(f"tokens must be at least 1, not {tokens}")
        rows, device = len(rng), c.present.device
        x, masks = fill_unknown(self.targets, known, rows, device)
        z = (
            self.codecs.encode(x)
            if known
            else {n: blank_values(s, rows, device) for n, s in self.tokens.items()}
        )
        usual = {
            n: GUIDANCE if n in self.coded_targets else 1.0 for n, s in self.tokens.items() if s.categorical
        }
        weight = usual if guidance is None else dict.fromkeys(usual, guidance)
        if negative is not None and not weight:
            raise ValueError(
                "a negative has no effect here: the family autoregressive guides ids, and every "
                "target is a number; take the family flow or diffusion"
            )
        other = negative_context([c], negative, next((w for w in weight.values() if w != 1), 1.0))
        both = torch.arange(rows, device=device).repeat(1 if other is None else 2)
        context = self._read(c if other is None else c + other, take(x, both), take(masks, both))
        start = None if suffix is None else self.embeddings[0].sentinels[PRE]
        drawing = SequenceSampler(self.product, context, rng, start)
        for name, spec in self.tokens.items():
            choice = SamplingParams(temperature, top_p, min_p, weight.get(name, 1.0), presence, frequency)
            forced = self._forced(name, masks[name])
            if spec.padded:
                drawing.text(
                    name,
                    z[name],
                    forced,
                    choice,
                    prompt=(prompt or {}).get(name),
                    suffix=(suffix or {}).get(name),
                    healing=healing,
                    stop_fn=stop_fn,
                    tokens=tokens,
                    bound=(constraint or {}).get(name),
                )
            else:
                drawing.column(name, z[name], forced, choice)
        out = drawing.out
        for name, codec in self.codecs.named.items():
            out[name] = where_known(codec.decode(out[name])[name], x[name], masks[name])
        return out

    # ---- targets, their tokens, and what is known of them

    def _read(self, c: Context, x: Batch, masks: Batch) -> EncodedContext:
        return self.context_encoder(append_known(c, self.column_codes.encode(x), masks) if self.infill else c)

    def _forced(self, name: str, mask: Tensor) -> Tensor:
        """Which tokens of a column are known, (B, n); codes of a picture are if all of it is."""
        if name in self.coded_targets:
            return mask.all(1, keepdim=True).expand(-1, self.tokens[name].tokens)
        return mask

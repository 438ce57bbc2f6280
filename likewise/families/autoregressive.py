"""Autoregressive: one token after another by a causal transformer (Radford et al., 2018, "GPT").

    p(x | c) = prod_i p(x_i | x_1, ..., x_{i-1}, c)                                                     (1)
    ids: softmax of logits;  floats: a mixture of Gaussians (Bishop, 1994)                              (2)
    images: codes z of a Codec, then log p(x | c) >= log p(z | c) + log p(x | z),  z = encode(x)        (3)

Sampling is token by token with guided logits, (1) of decoding.py, under constraints with masks of ids, (1) of
constraints.py; the middle of a text is sampled after it is rearranged, (1) of fim.py.

The tokens of all targets, in the order of the formula, are one sequence. Sources are in its context, and so are
known parts: they are encoded like sources, and forced at their positions in the sequence.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context, take
from likewise.core.known import (
    KnownParts,
    append_known,
    blank_values,
    fill_unknown,
    has_gaps,
    known_specs,
    no_masks,
    present_masks,
    training_masks,
    where_known,
)
from likewise.core.option_names import option_text
from likewise.core.options import RowValues
from likewise.core.ranges import Depth, TextLength, Width
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.signatures import expand_dataclasses
from likewise.core.spec import Spec
from likewise.families.base import COLUMNS, ColumnOptions, Family
from likewise.generation import idle
from likewise.generation.controls import IDLE_NEGATIVE, guided_rows
from likewise.generation.idle import IdleRule, Request
from likewise.generation.latents.codec import MultiColumnCodec
from likewise.generation.sequence.decoding import SamplingParams, SequenceSampler, TextControls
from likewise.generation.sequence.fim import PRE, SENTINELS, EmbeddingWithSentinels
from likewise.generation.sequence.likelihood import SequenceLikelihood, valid_mask
from likewise.generation.sequence.options import CodeOptions, CompatOptions, MixtureOptions, TextOptions
from likewise.nets.causal import CausalBackbone, CausalTransformer
from likewise.nets.column_weights import Axis, Part, by_column, classes_axis
from likewise.nets.compat.base import CompatBackbone
from likewise.nets.compat.registry import build, why_unsupported
from likewise.nets.conditioning import ContextEncoder, EncodedContext
from likewise.nets.continuous import ContinuousCodes
from likewise.nets.embeddings import FourierNumberEmbedding, HashedNGrams
from likewise.nets.heads import CategoricalHead, MixtureHead
from likewise.nets.layers import ModuleList

CONTEXT_GRID = 4  # tokens along a side of an image in context, at most: every block attends to all of them
MAX_TOKENS = 6144  # of a training step on long texts: more steps are better than larger ones
DROPOUT, MAX_DROPOUT = (
    0.04,
    0.4,
)  # of tokens of documents: for each repeated pass through the rows, and at most
IMAGE_GUIDANCE = 2.0
FEW = 64  # tokens of floats up to which they are sampled one by one: a grid of more is coded


MIXTURE, CODES, TEXT, COMPAT = MixtureOptions(), CodeOptions(), TextOptions(), CompatOptions()
PARAMS, CONTROLS = SamplingParams(), TextControls()


class Autoregressive(Family):
    """P(targets | sources) as a product over tokens."""

    learns_gaps: ClassVar[bool] = True
    idle_rules: ClassVar[Sequence[IdleRule]] = idle.AUTOREGRESSIVE
    row_options: ClassVar[frozenset[str]] = frozenset(
        {"temperature", "top_p", "min_p", "guidance", "presence", "frequency", "tokens"}
    )

    @expand_dataclasses
    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: Width | None = None,
        depth: Depth = 4,
        mixture: MixtureOptions = MIXTURE,
        codes: CodeOptions = CODES,
        columns: ColumnOptions = COLUMNS,
        text: TextOptions = TEXT,
        backbone: CompatOptions = COMPAT,
    ) -> None:
        """Build the network.

        width   hidden width (default of documents 256, else 128); depth: blocks of the transformer
        components  of numbers: Gaussians of the mixture of a token; min_std: smallest deviation of one
        codec   of images: quantisation; max_grid: codes along a side, at most; codebook_size: codes
        freeze_codes_at  share of the training for codes; then they are frozen and their sequence is learned
        infill  share of training rows with known parts (default 0.1, of several targets 0.5)
        pack_columns  read all sources and known targets of one token, such as numbers and labels, as one token
        hashed_ngrams  of a text alone: rows of the embedding tables of hashed pairs and triples of ids
        fim     of a text alone: share of the training rows without known parts that are rearranged for
                fill-in-the-middle
        dropout  share of tokens whose embedding is zeroed in training (default 0, of documents 0 in the first
                pass through the rows and 0.04 more in each later one, at most 0.4)
        compat  "llama", "gpt2": of a text alone, a backbone that `likewise export` can give to transformers
        heads   of the compat backbone (default one for every 64 numbers); mlp_width: of the compat backbone
                (default 8/3 of the width, 4 times it in gpt2); rope_theta: base of the rotary wavelengths of
                llama; norm_eps: epsilon of the norms of the compat backbone; tie_embeddings: share the weights
                of head and embedding of the compat backbone (default in gpt2 only)

        Raises ValueError for a document beside other targets, for hashed_ngrams or fim without a text, and for
        what `compat` does not support.
        """
        super().__init__(targets, sources)
        self.windowed = any(s.windowed for s in self.targets.values())
        self.is_text = [s.padded for s in self.targets.values()] == [True]
        self.is_compat = backbone.compat != "none"
        self._check_options(text, backbone, columns.infill)
        width = width or (256 if self.windowed else 128)
        self.weight_decay = 0.1 if self.windowed else 0.0
        self.dropout = 0.0 if text.dropout is None and not self.windowed else text.dropout
        self.fim = text.fim
        if self.is_text:
            self.batch = max(24, min(self.batch, MAX_TOKENS // sum(s.tokens for s in self.targets.values())))
        self.coded_targets = [
            n for n, s in self.targets.items() if not s.categorical and len(s.grid) > 1 and s.tokens > FEW
        ]
        self.codecs = MultiColumnCodec(
            self.targets,
            self.coded_targets,
            bottleneck=codes.codec,
            width=min(width, 128),
            max_grid=codes.max_grid,
            codebook_size=codes.codebook_size,
        )
        self.freeze_codes_at = codes.freeze_codes_at
        self.tokens = self.codecs.specs
        self.default_guidance = {
            n: IMAGE_GUIDANCE if n in self.coded_targets else 1.0
            for n, s in self.tokens.items()
            if s.categorical
        }
        self.phases = ("codec", "model") if self.coded_targets else ("model",)
        self._build_sequence_network(width, depth, mixture, text, backbone)
        several = len(self.targets) > 1
        self.infill = columns.infill_share(targets)
        if self.windowed or self.is_compat or (not several and next(iter(self.targets.values())).tokens == 1):
            self.infill = 0.0  # if it is known, nothing is left to learn
        self.column_codes = ContinuousCodes(self.targets)
        known = known_specs(self.column_codes.specs) if self.infill else {}
        self.context_encoder = ContextEncoder(
            {**self.sources, **known}, width, max_grid=CONTEXT_GRID, pack_columns=columns.pack_columns
        )

    def _check_options(self, text: TextOptions, backbone: CompatOptions, infill: float | None) -> None:
        """Raise ValueError for options that these targets and sources do not support."""
        own = {"infill": infill, "hashed_ngrams": text.hashed_ngrams, "fim": text.fim}
        reason = why_unsupported(self.targets, self.sources, backbone.compat, {**asdict(backbone), **own})
        if reason:
            raise ValueError(reason)
        for option, value in {"hashed_ngrams": text.hashed_ngrams, "fim": text.fim}.items():
            if value and not self.is_text:
                raise ValueError(f"{option}={value} is for one target that is a text; leave it out")
        if self.windowed and len(self.targets) > 1:
            raise ValueError("a document is drawn alone; give the other targets as sources, after the bar")
        if self.windowed and infill:
            raise ValueError("parts of a document cannot be known; leave infill out")

    def _build_sequence_network(
        self, width: int, depth: int, mixture: MixtureOptions, text: TextOptions, backbone: CompatOptions
    ) -> None:
        """Embeddings, backbone and heads of the sequence of all tokens."""
        specs = list(self.tokens.values())
        self.sizes = [s.tokens for s in specs]
        self.causal: CausalBackbone = (
            build(backbone.compat, specs[0], width, depth, asdict(backbone))
            if self.is_compat
            else CausalTransformer(specs, width, depth, SENTINELS if self.fim else 0)
        )
        last = self.sizes[-1] == 1 and not self.fim  # its only token is the input of no later one
        embedded = [] if self.is_compat else specs[:-1] if last else specs
        embedding = EmbeddingWithSentinels if self.fim else nn.Embedding
        self.embeddings: ModuleList[nn.Module] = ModuleList(
            embedding(s.classes, width) if s.categorical else FourierNumberEmbedding(s.width, width)
            for s in embedded
        )
        self.heads: ModuleList[CategoricalHead | MixtureHead] = ModuleList(
            CategoricalHead(width, s.classes, not self.is_compat, self.causal.tied_embedding)
            if s.categorical
            else MixtureHead(width, s.width, mixture.components, mixture.min_std)
            for s in specs
        )
        ngrams = text.hashed_ngrams
        self.hashed_ngrams = HashedNGrams(ngrams, width) if ngrams else None
        self.column_axes = self._column_axes(len(embedded))

    def _column_axes(self, embedded: int) -> dict[str, Axis]:
        """The axes of weights whose parts belong to columns, the first `embedded` of which have embeddings."""
        names = list(self.tokens)
        positions = tuple(Part(n, s.tokens, "append", s.grid) for n, s in self.tokens.items())
        axes = {
            "codecs": by_column(self.coded_targets),
            "embeddings": by_column(names[:embedded]),
            "heads": by_column(names),
        }
        if not self.is_compat:
            axes["causal.position_embedding"] = Axis(0, positions)
        for i, spec in enumerate(self.tokens.values()):
            if spec.categorical:
                weights = (f"embeddings.{i}.weight", f"heads.{i}.out.weight", f"heads.{i}.out.bias")
                axes |= dict.fromkeys(weights, classes_axis(spec.classes))
        return axes

    def parameters_of(self, phase: str) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.named_parameters() if n.startswith("codecs.") == (phase == "codec")]

    @property
    def likelihood(self) -> SequenceLikelihood:
        """(1) of the sequence."""
        embeddings: list[nn.Module] = list(self.embeddings)
        if isinstance(self.causal, CompatBackbone):
            embeddings = [self.causal.embedding]
        dropout = 0.0
        if self.training:  # tokens of the first pass cannot have been memorised
            repeated = min(MAX_DROPOUT, DROPOUT * max(0.0, self.epochs - 1))
            dropout = repeated if self.dropout is None else self.dropout
        return SequenceLikelihood(
            self.tokens, self.causal, embeddings, list(self.heads), self.hashed_ngrams, dropout
        )

    # ---- learning

    def init_from_data(self, x: Batch, c: Context, rng: Rng) -> None:
        """Initialise heads at the marginals of their columns, and codes so that different images have different ones."""
        present = {n: m[:, 0] for n, m in present_masks(self.targets, x, len(rng), rng.device).items()}
        self.codecs.init_from_data({n: x[n][present[n]] for n in self.coded_targets})
        for (name, spec), head in zip(self.tokens.items(), self.heads, strict=True):
            if name not in self.coded_targets and len(value := x[name][present[name]]):
                head.init_from_data(value[valid_mask(value, spec)])

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """-log p of unknown tokens, the mean over the tokens of each column, summed over columns: (B,).

        Tokens of missing values count 0, and later ones read 0 in place of their embeddings.
        """
        if phase == "codec":
            losses = self.codecs.loss(x, rng, frozen=self.freeze_codes_at < self.progress < 1)
            self.loss_terms = {"codec": losses.detach().mean()}
            return losses
        if (
            len(self.coded_targets) == len(self.targets) and self.progress < self.freeze_codes_at
        ):  # codes still change
            return 0 * self.causal.start_embedding.sum() + torch.zeros(len(rng), device=c.present.device)
        rows = len(rng)
        masks, present = training_masks(self.targets, x, self.infill, rng)
        read = {n: m[:, :1] for n, m in present.items()} if has_gaps(x) else {}
        z = self.codecs.encode(x)
        some = torch.stack([mask.any(1) for mask in masks.values()]).any(0)
        losses = torch.zeros(rows, len(z), device=c.present.device)
        for known in (True, False):  # rows without known parts have fewer source tokens
            if (index := (some == known).nonzero()[:, 0]).numel():
                context = self._encode_context(c.take(index), take(x, index), take(masks, index))
                if self.fim and not known:
                    nats = self.likelihood.fim_log_prob(take(z, index), context, self.fim, rng.take(index))
                else:
                    free = {n: ~self._forced(n, masks[n][index]) & present[n][index, :1] for n in z}
                    z_part, seen = take(z, index), take(read, index)
                    nats = self._column_log_probs(z_part, context, free, rng.take(index), seen)
                losses = losses.index_put((index,), -nats / nats.new_tensor(self.sizes))
        self.loss_terms |= {n: loss.detach().mean() for n, loss in zip(z, losses.unbind(1), strict=True)}
        return losses.sum(1)

    def log_prob(self, x: Batch, c: Context, *, rng: Rng) -> Score:
        """(1), exact; a bound by (3) with images. The padding after the end of a text has probability 1."""
        masks = no_masks(self.targets, len(rng), c.present.device)
        z = self.codecs.encode(x)
        free = {n: torch.ones_like(valid_mask(v, self.tokens[n])) for n, v in z.items()}
        nats = self._column_log_probs(z, self._encode_context(c, x, masks), free).sum(1)
        for name, codec in self.codecs.named.items():
            nats = nats + codec.log_prob({name: x[name]}, z[name])
        return Score(
            nats,
            "bound" if self.coded_targets else "exact",
            sum(s.tokens * s.width for s in self.targets.values()),
        )

    def token_log_prob(self, x: Batch, c: Context) -> Batch:
        """log p of each token given those before it, column -> (B, T) nats, 0 after the end; not for images."""
        masks = no_masks(self.targets, len(c.present), c.present.device)
        nats = self.likelihood.token_log_probs(x, self._encode_context(c, x, masks))
        return {n: F.pad(v, (0, self.tokens[n].tokens - v.shape[1])) for n, v in nats.items()}

    def id_log_probs(self, x: Batch, c: Context) -> Batch:
        """log p of every id in each place given those before it, column of ids -> (B, n, K) nats; not for images."""
        masks = no_masks(self.targets, len(c.present), c.present.device)
        return self.likelihood.id_log_probs(x, self._encode_context(c, x, masks))

    def _column_log_probs(
        self,
        z: Batch,
        context: EncodedContext,
        free: Batch,
        rng: Rng | None = None,
        present: Batch | None = None,
    ) -> Tensor:
        """log p of each column's tokens that are `free`, (B, K), by (1)."""
        nats = self.likelihood.token_log_probs(z, context, rng, present)
        return torch.stack([(v * free[n][:, : v.shape[1]]).sum(1) for n, v in nats.items()], dim=1)

    # ---- sampling

    @torch.no_grad()
    @expand_dataclasses
    def sample(
        self,
        c: Context,
        *,
        known: KnownParts | None,
        rng: Rng,
        negative: Context | None = None,
        controls: TextControls = CONTROLS,
        params: SamplingParams = PARAMS,
        tokens: TextLength | None = None,
    ) -> Batch:
        """Sample (1) token by token.

        temperature  below 1 favours likely tokens; 0 takes the most likely token each time
        top_p      of ids, the fewest with this probability together (nucleus sampling)
        min_p      of ids, those with at least this share of the probability of the most likely one
        guidance   scale for ids: 1 leaves the model as it is, more trades diversity for fidelity
                   (default 2 for images, 1 for the rest)
        presence   of a text, subtracted from the logit of an id that occurred already
        frequency  the same for each time that it occurred
        tokens     of a text, at most; a document may be longer than a window (default: a window)

        The controls are those of TextControls. Raises ValueError for a negative where nothing is guided, a
        suffix without `fim`, known parts of a document.
        """
        controlled = (negative, controls.prompt, controls.suffix)
        options = {"guidance": params.guidance, "tokens": tokens}
        self._check(Request(options, self.targets, False, bool(known), *(v is not None for v in controlled)))
        rows, device = len(rng), c.present.device
        x, masks = fill_unknown(self.targets, known, rows, device)
        z = (
            self.codecs.encode(x)
            if known
            else {n: blank_values(s, rows, device) for n, s in self.tokens.items()}
        )
        guidance, guided = self._guidance(params.guidance, c, negative)
        other = None if not guided else c.unconditional() if negative is None else negative
        both = torch.arange(rows, device=device).repeat(1 if other is None else 2)
        context = self._encode_context(c if other is None else c + other, take(x, both), take(masks, both))
        start = None if controls.suffix is None else self._sentinels()[PRE]
        sampler = SequenceSampler(self.likelihood, context, rng, start)
        for name, spec in self.tokens.items():
            column_params = replace(params, guidance=guidance.get(name, 1.0))
            forced = self._forced(name, masks[name])
            if spec.padded:
                sampler.sample_text(name, z[name], forced, column_params, controls, tokens)
            else:
                sampler.sample_column(name, z[name], forced, column_params, controls)
        out = sampler.out
        for name, codec in self.codecs.named.items():
            out[name] = where_known(codec.decode(out[name])[name], x[name], masks[name])
        return out

    def _guidance(
        self, guidance: float | RowValues | None, c: Context, negative: Context | None
    ) -> tuple[dict[str, Any], bool]:
        """The scale of each column of ids, which may be RowValues, and whether any row is guided."""
        default, rows = self.default_guidance, len(c.present)
        own = guidance.values if isinstance(guidance, RowValues) else (guidance,) * rows
        scales = {n: tuple(w if scale is None else scale for scale in own) for n, w in default.items()}
        each = torch.tensor([*scales.values()], device=c.present.device).view(len(scales), rows).T
        guided = bool(scales) and len(guided_rows([c], negative, each)) > 0
        return {n: RowValues(w) if len(set(w)) > 1 else w[0] for n, w in scales.items()}, guided

    def batch_key(self, request: Request) -> Hashable:
        """Whether anything is known, whether rows are guided, as sources are encoded twice then, and a suffix."""
        self._check(request)
        if request.negative and request.unguided:
            raise ValueError(IDLE_NEGATIVE)
        guided = bool(self.default_guidance) and request.given and not request.unguided
        return request.known, guided, request.suffix

    def num_steps(self, options: Mapping[str, Any]) -> int:
        return sum(self.sizes) if options["tokens"] is None else int(options["tokens"])

    def _check(self, request: Request) -> None:
        """Raise ValueError for what this model does not support."""
        tokens = request.options["tokens"]
        if request.known and self.windowed:
            raise ValueError(
                "parts of a document cannot be known, as it has no places of its own; give a "
                "prompt, or a prompt and a suffix to a model that was trained with fim"
            )
        given = {"prompt": request.prompt, "suffix": request.suffix, "tokens": tokens is not None}
        for name, is_given in given.items():
            if is_given and not self.is_text:
                raise ValueError(
                    f"{name} is for a model whose one target is a text, and this one samples {', '.join(self.targets)}"
                )
        guided = request.options["guidance"] is not None and not request.unguided
        if self.is_compat and (request.known or request.negative or request.suffix or guided):
            raise ValueError(
                "a model with another library's trunk (compat) reads nothing but what stands "
                "before a place: no suffix, no known parts, no guidance, no negative; give it a "
                "prompt, or train one without compat"
            )
        if request.negative and not self.default_guidance:
            raise ValueError(
                "a negative has no effect here: the family autoregressive guides ids, and every "
                "target is a number; take the family flow or diffusion"
            )
        if request.suffix and (request.known or not self.fim):
            raise ValueError(
                "known parts and a suffix are two ways to fill in a text; leave one out"
                if request.known
                else "this model cannot fill in the middle of a text, as it was trained without "
                f"fim; train one with {option_text('fim', 0.5)}, or train this one on with that, "
                f"{option_text('from', 'RUN')}"
            )

    def _sentinels(self) -> Tensor:
        embedding = self.embeddings[0]
        assert isinstance(embedding, EmbeddingWithSentinels)
        return embedding.sentinels

    # ---- known parts

    def _encode_context(self, c: Context, x: Batch, masks: Batch) -> EncodedContext:
        return self.context_encoder(append_known(c, self.column_codes.encode(x), masks) if self.infill else c)

    def _forced(self, name: str, mask: Tensor) -> Tensor:
        """Which tokens of a column are known, (B, n); codes of an image are if all of it is."""
        if name in self.coded_targets:
            return mask.all(1, keepdim=True).expand(-1, self.tokens[name].tokens)
        return mask

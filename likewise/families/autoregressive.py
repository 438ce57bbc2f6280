"""Autoregressive: one token after another by a causal transformer (Radford et al., 2018, "GPT").

    p(x | c) = prod_i p(x_i | x_1, ..., x_{i-1}, c)                                                     (1)
    ids: softmax of logits;  floats: a mixture of Gaussians (Bishop, 1994)                              (2)
    pictures: codes z of a Codec, then log p(x | c) >= log p(z | c) + log p(x | z),  z = encode(x)      (3)
    guided logits: l_without + w (l_with - l_without)                                                   (4)
    constrained: of the ids that a constraint allows, (1) of constraints.py
    a middle: the same of a text that is rearranged, (1) of middle.py

The tokens of all targets, in the order of the formula, are one sequence. Sources stand in context before it,
and so do known parts: they are read there as sources, and forced where they stand in the sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.causal import Causal, Decoding, Grams, Numbers
from likewise.codec import Codec
from likewise.constraints import Bound, Obeying
from likewise.families.base import Family, Known, Score
from likewise.floats import Floats
from likewise.heads import Gaussians, Ids, draw_ids, filtered
from likewise.healing import Owed
from likewise.layout import Batch, Context, take
from likewise.leads import opposite
from likewise.masks import blank, completed, draw_masks, known_specs, no_masks, pasted, with_known
from likewise.middle import MARKS, PRE, Marked, asked, rearranged, restored
from likewise.nets import Reader, Reading
from likewise.rng import Rng
from likewise.spec import Spec
from likewise.trunks import BASE, EPS, made, refused

READ = 4   # places a side at which a picture is read: every block sees all of them
STEP = 6144  # tokens of a training step, where rows are long texts: more steps are better than larger ones
LATER = 0.25  # of the rows, on which decoders go on learning when codes stand still
GUIDANCE = 2.0  # of pictures
Watch = Callable[[str, Tensor], Tensor]  # a column's name and its ids so far, (B, n) -> who ends, (B,)
FEW = 64  # tokens of floats up to which they are drawn one by one: a grid of more is coded


class Autoregressive(Family):
    """P(targets | sources) as a product over tokens."""

    def __init__(self, targets: Mapping[str, Spec], sources: Mapping[str, Spec], *, width: int = 128,
                 depth: int = 4, components: int = 16, floor: float = 0.01,
                 codec: Literal["fsq", "vq", "rvq"] = "fsq", coarse: int = 4, codebook: int = 1000,
                 settle: float = 0.4, infill: float | None = None, grams: int = 0,
                 fim: float = 0.0, dropout: float | None = None,
                 compat: Literal["none", "llama", "gpt2"] = "none", heads: int | None = None,
                 hidden: int | None = None, base: float = BASE, eps: float = EPS,
                 tied: bool | None = None) -> None:
        """Build the network.

        width   floats a token in the trunk; depth: blocks of the trunk
        components  Gaussians of a token of floats; floor: least deviation of each
        codec   of pictures: how codes are found; coarse: codes a side; codebook: how many there are
        settle  share of the training that is for codes; then they stand still and sequences are learned
        infill  share of training rows with known parts (default 0.1, of several targets 0.5)
        grams   of a text alone: rows of the tables of pairs and triples of ids that are looked up beside it
        fim     of a text alone: share of the training rows without known parts that are rearranged, so that
                what stands between two parts can be drawn
        dropout  share of the tokens that are read as nothing while training, so that slots learn from more
                than the last few (default of documents 0.2, else 0)
        compat  "llama", "gpt2": of a text alone, the trunk that `likewise export` can give to transformers
        heads   of that trunk (default one for every 64 floats); hidden: floats inside of its mlp (default 8/3
                of the width, 4 times it in gpt2); base: of the wavelengths of places in llama; eps: of its
                norms; tied: whether its head has the weights of its embedding (default in gpt2 alone)

        Raises ValueError for a document beside other targets, grams or fim of what is no text, or what
        `compat` has not.
        """
        super().__init__(targets, sources)
        own = {"heads": heads, "hidden": hidden, "base": base, "eps": eps, "tied": tied}
        if reason := refused(self.targets, self.sources, compat,
                             {**own, "infill": infill, "grams": grams, "fim": fim}):
            raise ValueError(reason)
        self.running = any(s.running for s in self.targets.values())
        self.writes = [s.padded for s in self.targets.values()] == [True]
        if not 0 <= fim <= 1:
            raise ValueError(f"fim={fim:g} is a share of the training rows, from 0 to 1")
        for option, value in {"grams": grams, "fim": fim}.items():
            if value and not self.writes:
                raise ValueError(f"{option}={value} is for one target that is a text; leave it out")
        self.dropout = (0.2 if self.running else 0.0) if dropout is None else dropout
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout:g} is a share of the tokens, from 0 to below 1")
        self.fim = fim
        if self.writes:
            self.batch = max(24, min(self.batch, STEP // sum(s.tokens for s in self.targets.values())))
        if self.running and len(self.targets) > 1:
            raise ValueError("a document is drawn alone; give the other targets as sources, after the bar")
        pictures = {n: s for n, s in self.targets.items()
                    if not s.categorical and len(s.grid) > 1 and s.tokens > FEW}
        self.coders = nn.ModuleList(Codec({n: s}, bottleneck=codec, width=min(width, 128), coarse=coarse,
                                          size=codebook) for n, s in pictures.items())
        self.pictures = list(pictures)
        self.settle = settle
        self.tokens = {n: self.codecs[n].spec if n in self.pictures else s for n, s in self.targets.items()}
        self.phases = ("codec", "model") if self.pictures else ("model",)  # type: ignore[misc]
        self.sizes = [s.tokens for s in self.tokens.values()]
        specs, self.bare = list(self.tokens.values()), compat != "none"
        ids, more = (Marked, MARKS) if fim else (nn.Embedding, 0)
        self.causal = (made(compat, *specs, width, depth, own) if self.bare else
                       Causal(specs, width, depth, more))
        last = self.sizes[-1] == 1 and not fim  # that no slot reads
        read = [] if self.bare else specs[:-1] if last else specs
        self.embeds = nn.ModuleList(ids(s.classes, width) if s.categorical else Numbers(s.width, width)
                                    for s in read)
        self.heads = nn.ModuleList(Ids(width, s.classes, not self.bare, self.causal.shared)
                                   if s.categorical else Gaussians(width, s.width, components, floor)
                                   for s in self.tokens.values())
        self.grams = Grams(grams, width) if grams else None
        several = len(self.targets) > 1
        self.infill = (0.5 if several else 0.1) if infill is None else infill
        if self.running and infill:
            raise ValueError("parts of a document cannot be known; leave infill out")
        if self.running or self.bare or (not several and next(iter(self.targets.values())).tokens == 1):
            self.infill = 0.0  # known, it leaves nothing to tell
        self.floats = Floats(self.targets)
        known = known_specs(self.floats.specs) if self.infill else {}
        self.reader = Reader({**self.sources, **known}, width, coarse=READ)

    def parameters_of(self, phase: str) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.named_parameters() if n.startswith("coders.") == (phase == "codec")]

    @property
    def codecs(self) -> dict[str, Codec]:
        """The codec of each picture."""
        return dict(zip(self.pictures, self.coders, strict=True))

    # ---- learning

    def begin(self, x: Batch, c: Context, rng: Rng) -> None:
        """Heads start at the marginals of their columns, and codes so that pictures have different ones."""
        for name, codec in self.codecs.items():
            codec.begin({name: x[name]})
        for (name, spec), head in zip(self.tokens.items(), self.heads, strict=True):
            if name not in self.pictures:
                head.begin(x[name][_used(x[name], spec)])

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """-log p of what is unknown, the mean over each column's tokens, summed over columns: (B,)."""
        if phase == "codec":
            return self._codec_loss(x, rng)
        if len(self.pictures) == len(self.targets) and self.progress < self.settle:  # all tokens still move
            return 0 * self.causal.start.sum() + torch.zeros(len(rng), device=c.present.device)
        rows = len(rng)
        masks = (draw_masks(self.targets, self.infill, rng) if self.infill
                 else no_masks(self.targets, rows, c.present.device))
        z = self._encode(x)
        some = torch.stack([mask.any(1) for mask in masks.values()]).any(0)
        losses = torch.zeros(rows, len(z), device=c.present.device)
        for known in (True, False):  # a row of which nothing is known has no known parts to read
            if (index := (some == known).nonzero()[:, 0]).numel():
                reading = self._read(c.take(index), take(x, index), take(masks, index))
                if self.fim and not known:
                    nats = self._rearranged_nats(take(z, index), reading, rng.take(index))
                else:
                    free = {n: ~self._forced(n, masks[n][index]) for n in z}
                    nats = self._nats(take(z, index), reading, free, rng.take(index))
                losses = losses.index_put((index,), -nats / nats.new_tensor(self.sizes))
        self.terms |= {n: loss.detach().mean() for n, loss in zip(z, losses.unbind(1), strict=True)}
        return losses.sum(1)

    def _codec_loss(self, x: Batch, rng: Rng) -> Tensor:
        """The codecs' own losses, (B,); once codes stand still, their decoders' alone, of some rows."""
        u = rng.uniform(1)[:, 0]
        some, loss = (u < LATER).nonzero()[:, 0], 0 * u + sum(0 * c.up.bias.sum() for c in self.coders)
        for name, codec in self.codecs.items():
            if not self.settle < self.progress < 1:
                loss = loss + codec.loss({name: x[name]}, rng)
            elif len(some):
                own = {name: x[name][some]}
                vectors = codec.vectors(self._encode(own)[name]).detach()
                nats = codec.likelihood.mean_nats(own, codec.says(vectors))
                loss = loss.index_add(0, some, -nats / LATER)
        self.terms = {"codec": loss.detach().mean()}
        return loss

    def log_prob(self, x: Batch, c: Context, *, rng: Rng) -> Score:
        """(1), exact; a bound by (3) where there are pictures. A padded text ends once, with certainty."""
        masks = no_masks(self.targets, len(rng), c.present.device)
        z = self._encode(x)
        free = {n: torch.ones_like(_used(v, self.tokens[n])) for n, v in z.items()}
        nats = self._nats(z, self._read(c, x, masks), free).sum(1)
        for name, codec in self.codecs.items():
            nats = nats + codec.log_prob({name: x[name]}, z[name])
        return Score(nats, "bound" if self.pictures else "exact",
                     sum(s.tokens * s.width for s in self.targets.values()))

    def token_log_prob(self, x: Batch, c: Context) -> Batch:
        """log p of each token given those before it, column -> (B, T) nats, 0 after the end; no pictures."""
        masks = no_masks(self.targets, len(c.present), c.present.device)
        nats = self._told(x, self._read(c, x, masks))
        return {n: F.pad(v, (0, self.tokens[n].tokens - v.shape[1])) for n, v in nats.items()}

    def _nats(self, z: Batch, reading: Reading, free: Batch, rng: Rng | None = None) -> Tensor:
        """log p of each column's tokens that are `free`, (B, K), by (1)."""
        nats = self._told(z, reading, rng)
        return torch.stack([(v * free[n][:, : v.shape[1]]).sum(1) for n, v in nats.items()], dim=1)

    def _told(self, z: Batch, reading: Reading, rng: Rng | None = None) -> Batch:
        """log p of each token, (B, n) with n up to the last that is used."""
        used = {n: _used(z[n], spec) for n, spec in self.tokens.items()}
        lengths = {n: max(1, int(u.any(0).sum())) for n, u in used.items()}
        parts = [self._dropped(self._embed(k, z[n][:, : lengths[n]]), self.sizes[k], rng)
                 for k, n in enumerate(z)]
        seen = torch.cat([used[n][:, : lengths[n]] for n in z], dim=1)
        told = self.causal(parts, seen, reading)
        return {name: head.log_prob(h, z[name][:, :n]) * used[name][:, :n]
                for (name, n), h, head in zip(lengths.items(), told, self.heads, strict=True)}

    def _rearranged_nats(self, z: Batch, reading: Reading, rng: Rng) -> Tensor:
        """log p of the tokens of a text, (B, 1), in a share `fim` of rows rearranged; marks cost nothing."""
        [ids], [spec] = z.values(), self.tokens.values()
        u = rng.uniform(1 + (3 if spec.running else 2))
        some, other = u[:, :1] < self.fim, rearranged(ids, u[:, 1:], spec.classes)
        used = torch.where(some, _used(other, spec), F.pad(_used(ids, spec), (0, MARKS)))
        n = max(1, int(used.any(0).sum()))
        used, told = used[:, :n], torch.where(some, other, F.pad(ids, (0, MARKS)))[:, :n]
        start = torch.where(some[..., None], self.embeds[0].marks[PRE], self.causal.start)
        [h] = self.causal([self._dropped(self._embed(0, told), self.sizes[0] + MARKS, rng)], used, reading,
                          start)
        counts = used & (told < spec.classes)
        return (self.heads[0].log_prob(h, told * counts) * counts).sum(1, keepdim=True)

    # ---- drawing

    @torch.no_grad()
    def sample(self, c: Context, *, known: Known | None, rng: Rng, against: Context | None = None,
               prompt: Batch | None = None, suffix: Batch | None = None, owed: Owed | None = None,
               watch: Watch | None = None, constraint: Mapping[str, Bound] | None = None,
               temperature: float = 1.0, top_p: float = 1.0, min_p: float = 0.0,
               guidance: float | None = None, presence: float = 0.0, frequency: float = 0.0,
               tokens: int | None = None) -> Batch:
        """Draw (1) token by token; of each target under a `constraint`, what it allows.

        temperature  below 1, more of what is likely; 0 is the most likely token each time
        top_p      of ids, the fewest that have this probability together
        min_p      of ids, those with at least this share of the most likely one's probability
        guidance   of ids, 1 is the model as it is, more trades diversity for fidelity (4)
                   (default 2 for pictures, 1 for the rest)
        presence   of a text, subtracted from the logit of an id that was drawn already
        frequency  the same for each time that it was drawn
        tokens     of a text, drawn at most; a document may be longer than a window (default: a window)

        `prompt` is the beginning of the one target that is a text, ids (B, P) filled up with 0; with a
        `suffix`, (B, S), what stands between them is drawn. What is `owed` comes first, beside
        the `tokens`. `watch` is told a column's name and its ids so far, (B, n), as they are told, after each
        id of a text, and says which rows end there, (B,) bool.
        Raises ValueError for a negative where nothing is guided, and a suffix without `fim`.
        """
        for name, value in {"prompt": prompt, "suffix": suffix, "tokens": tokens}.items():
            if value is not None and not self.writes:
                raise ValueError(f"{name} is for a model whose one target is a text")
        if suffix is not None and (known or not self.fim):
            raise ValueError("known parts and a suffix are two ways to fill in a text; leave one out" if known
                             else "this model cannot fill in the middle of a text, as it was trained without "
                             "fim; train one with it, likewise train ... --fim 0.5, or train this one on: "
                             "likewise train --from RUN --fim 0.5 --out ANOTHER")
        if tokens is not None and tokens < 1:
            raise ValueError(f"tokens must be at least 1, not {tokens}")
        if self.bare and (known or against or guidance not in (None, 1.0)):
            raise ValueError("a model with another library's trunk (compat) reads nothing but what stands "
                             "before a place: no known parts, no guidance, no negative; give it a prompt")
        rows, device = len(rng), c.present.device
        x, masks = completed(self.targets, known, rows, device)
        z = self._encode(x) if known else {n: None for n in self.tokens}
        weight = {n: GUIDANCE if guidance is None and n in self.pictures else guidance or 1.0
                  for n, s in self.tokens.items() if s.categorical}
        if against is not None and not weight:
            raise ValueError("a negative has no effect here: the family autoregressive guides ids, and every "
                             "target is a number; take the family flow or diffusion")
        other = opposite([c], against, next((w for w in weight.values() if w != 1), 1.0))
        both = torch.arange(rows, device=device).repeat(1 if other is None else 2)
        reading = self._read(c if other is None else c + other, take(x, both), take(masks, both))
        state, out = Decoding(self.causal, reading, 0 if suffix is None else MARKS), {}
        if suffix is not None:
            prompt = {n: asked(prompt[n], ids, self.tokens[n].classes) for n, ids in suffix.items()}
            state.push(self.embeds[0].marks[PRE].expand(len(both), -1))
        obeying = {n: bound.begin(rows) for n, bound in (constraint or {}).items()}
        for k, name in enumerate(self.tokens):
            draw = partial(_draw, self.heads[k], temperature=temperature, top_p=top_p, min_p=min_p,
                           guidance=weight.get(name, 1.0))
            if self.tokens[name].padded:
                begin = next(iter((prompt or {}).values()), None)
                out[name] = self._text(k, name, state, z[name], self._forced(name, masks[name]), rng,
                                       partial(draw, presence=presence, frequency=frequency), begin, owed,
                                       watch, tokens, obeying.get(name), suffix is not None)
                if suffix is not None:
                    out[name] = restored(out[name], self.tokens[name].classes)
                if name in obeying:
                    out[name], closed = obeying[name].close(out[name])
                    if closed and k + 1 < len(self.tokens):
                        state = self._decoded(reading, out)
            else:
                out[name] = self._column(k, state, z[name], self._forced(name, masks[name]), rng, draw)
        for name, codec in self.codecs.items():
            out[name] = pasted(codec.decode(out[name])[name], x[name], masks[name])
        return out

    def _column(self, k: int, state: Decoding, value: Tensor | None, forced: Tensor, rng: Rng,
                draw: Callable[..., Tensor]) -> Tensor:
        """Draw the tokens of column k; where `forced`, (B, T), they are those of `value`."""
        spec, first, copies = list(self.tokens.values())[k], sum(self.sizes[:k]), len(state.last) // len(rng)
        value = blank(spec, len(rng), forced.device) if value is None else value
        u = rng.uniform(spec.tokens)
        noise = u if spec.categorical else rng.normal(spec.tokens, spec.width)
        out = torch.zeros_like(value)
        for i in range(spec.tokens):
            token = draw(state.slot(first + i), u[:, i], noise[:, i])
            out[:, i] = token = pasted(token, value[:, i], forced[:, i])
            state.push(self._embed(k, token[:, None])[:, 0].repeat(copies, 1))
        return pasted(out, value, forced)

    def _text(self, k: int, name: str, state: Decoding, value: Tensor | None, forced: Tensor, rng: Rng,
              draw: Callable[..., Tensor], prompt: Tensor | None, owed: Owed | None, watch: Watch | None,
              tokens: int | None, obeying: Obeying | None, between: bool) -> Tensor:
        """Draw the ids of column k up to their end, (B, n); they begin with the prompt, which is fed at once.

        Rows whose prompts are longer than the shortest one are drawn with it and made to follow theirs. A
        running text that fills its window goes on in one that begins with the last half of it: what is drawn
        is told from what log_prob tells it from. What stands `between` has no more room than a window leaves.
        """
        spec, first, copies = self.tokens[name], sum(self.sizes[:k]), len(state.last) // len(rng)
        rows, device = len(rng), forced.device
        value = blank(spec, rows, device) if value is None else value
        begun = torch.zeros(rows, dtype=torch.int64, device=device)
        if prompt is not None:
            prompt = prompt.to(device)
            begun, n = (prompt != 0).sum(1), prompt.shape[1]
            value = torch.cat([prompt, value[:, n:]], dim=1)
            forced = torch.cat([prompt != 0, forced[:, n:]], dim=1)
        last = begun + (spec.tokens if tokens is None else tokens)  # of a row's ids
        if owed:
            last = last + owed.counts.to(device)
        room = spec.tokens + MARKS - 1 if between else int(last.max()) if spec.running else spec.tokens
        value, forced = (F.pad(v, (0, room - v.shape[1])) for v in (value, forced))  # or cut
        u = rng.uniform(room)
        # A text cannot end where a known part of it stands later.
        goes_on, ended = _later(forced & (value != 0)), torch.zeros(rows, dtype=torch.bool, device=device)
        out, counts = torch.zeros_like(value), torch.zeros(rows, spec.classes, device=device)
        fed = max(0, int(begun.min()) - 1)  # the last id of the shortest is left for a slot to read
        if fed:
            out[:, :fed] = value[:, :fed]
            state.feed(self._embed(k, value[:, :fed]).repeat(copies, 1, 1))
        at = 0  # where the window begins
        for i in range(fed, room):
            if ended.all():
                return out[:, : max(i, 1)]
            if i - at == state.window:
                at = i - spec.tokens // 2
                state.again(self._embed(k, out[:, at:i]).repeat(copies, 1, 1))
            h = state.slot(first + i - at, (~ended).repeat(copies))
            allowed = obeying.allowed().to(device) if obeying else owed and owed.allowed(out[:, :i], begun)
            token = draw(h, u[:, i], goes_on=goes_on[:, i], counts=counts, allowed=allowed)
            token = pasted(token, value[:, i], forced[:, i])
            if obeying:
                obeying.push(token)
            token = token.masked_fill(ended | (i >= last), 0)
            drawn = ~forced[:, i, None]     # a mark is not
            counts.scatter_add_(1, token[:, None] * drawn, drawn.to(counts))
            out[:, i] = token
            ended = ended | (token == 0)
            if watch is not None:
                ended = ended | (watch(name, out[:, : i + 1]) & (i + 1 >= begun))
            state.push(self._embed(k, out[:, max(at, i - 2) : i + 1])[:, -1].repeat(copies, 1))
        return pasted(out, value, forced)

    def _decoded(self, reading: Reading, out: Batch) -> Decoding:
        """A sequence that these columns, the first ones, have been drawn in."""
        state, first = Decoding(self.causal, reading), 0
        for k, x in enumerate(out.values()):
            spec, copies = list(self.tokens.values())[k], len(state.last) // len(x)
            used = _used(x, spec)
            for i in range(int(used.any(0).sum())):
                state.slot(first + i, used[:, i].repeat(copies) if spec.padded else None)
                state.push(self._embed(k, x[:, i : i + 1])[:, 0].repeat(copies, 1))
            first += spec.tokens
        return state

    # ---- targets, their tokens, and what is known of them

    def _encode(self, x: Batch) -> Batch:
        """Targets -> tokens of the sequence: pictures by their codes (3)."""
        with torch.no_grad():
            return {n: self.codecs[n].encode({n: x[n]}) if n in self.pictures else x[n]
                    for n in self.targets if n in x}

    def _embed(self, k: int, tokens: Tensor) -> Tensor:
        """Tokens of column k, (B, n, ...) -> (B, n, D); the last of all, where it has no embedding, as 0."""
        if self.bare:
            return self.causal.embedding(tokens)
        if k < len(self.embeds):
            e = self.embeds[k](tokens)
            return e if self.grams is None else e + self.grams(tokens)
        return self.causal.start.new_zeros(*tokens.shape[:2], self.causal.width)

    def _dropped(self, part: Tensor, size: int, rng: Rng | None) -> Tensor:
        """Embedded tokens (B, n, D) of a column of that size, less those that are dropped while training.

        This is word dropout (Bowman et al., 2016).
        """
        if rng is None or not (self.training and self.dropout):
            return part
        return part * (rng.uniform(size)[:, : part.shape[1], None] >= self.dropout)

    def _read(self, c: Context, x: Batch, masks: Batch) -> Reading:
        return self.reader(with_known(c, self.floats.encode(x), masks) if self.infill else c)

    def _forced(self, name: str, mask: Tensor) -> Tensor:
        """Which tokens of a column are known, (B, n); codes of a picture are if all of it is."""
        if name in self.pictures:
            return mask.all(1, keepdim=True).expand(-1, self.tokens[name].tokens)
        return mask


def _draw(head: nn.Module, h: Tensor, u: Tensor, noise: Tensor | None = None, *, temperature: float,
          top_p: float, min_p: float, guidance: float, goes_on: Tensor | None = None,
          counts: Tensor | None = None, presence: float = 0.0, frequency: float = 0.0,
          allowed: Tensor | None = None) -> Tensor:
    """One token a row: h (B, D), or (2 B, D), where the rows without sources come second.

    Of a text also whether it goes on, (B,) bool, how often each id was drawn, (B, K), and which are allowed.
    """
    if isinstance(head, Gaussians):
        return head.draw(h[: len(u)], u, noise, temperature)
    logits = head(h)
    if len(h) > len(u):
        with_sources, without = logits.log_softmax(-1).chunk(2)
        logits = without + guidance * (with_sources - without)  # (4)
    if counts is not None and (presence or frequency):
        logits = logits - presence * (counts > 0) - frequency * counts
    if goes_on is not None:
        logits[:, 0] = logits[:, 0].masked_fill(goes_on, -torch.inf)
    if allowed is not None:     # before what is unlikely is left out, so that something stays
        logits = logits.masked_fill(~allowed, -torch.inf)
    return draw_ids(filtered(logits, temperature, top_p, min_p), u)


def _later(mask: Tensor) -> Tensor:
    """Whether the mask, (B, T), holds there or anywhere after it."""
    return mask.flip(1).cumsum(1).flip(1) > 0


def _used(x: Tensor, spec: Spec) -> Tensor:
    """Which tokens of x, (B, T, ...), say something, (B, T) bool: up to the first 0 of a padded column."""
    if not spec.padded:
        return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    return (x == 0).long().cumsum(1) - (x == 0).long() == 0

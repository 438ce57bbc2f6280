"""What the trunks that transformers has too share: they are of one text, and read nothing beside it.

Legend: B batch, T tokens, D width, H heads, E = D / H.

    h = x + O attention(Q n(x), K n(x), V n(x))                                                         (1)
    x' = h + mlp(n'(h))                                                                                 (2)

Scores are over sqrt(E). Slot 0 reads the embedding of id 0: what ends one text stands before the next. A head
that is tied has the weights of the embedding (Press & Wolf, 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.attention import HEAD_DIM, Attention, KVCache
from likewise.nets.causal import CausalBackbone
from likewise.nets.conditioning import EncodedContext

EPS = 1e-5  # of norms, unless options say otherwise
STD = 0.1  # of embeddings at first: nothing normalises the stream that blocks add to
TIED = 0.02  # of those that are the head too


class Attention(Attention):
    """As in (1): queries and keys are turned and not normalised."""

    qk_norm = False


class Block(nn.Module):
    """(1), then (2). Its branches start at zero through their output projections.

    Subclasses say which `norm` it has, whether its matrices are `biased`, and what its mlp is.
    """

    norm: ClassVar[type[nn.Module]]
    biased: ClassVar[bool]

    def __init__(self, width: int, heads: int, mlp_width: int, norm_eps: float) -> None:
        super().__init__()
        self.before, self.between = self.norm(width, eps=norm_eps), self.norm(width, eps=norm_eps)
        self.attention = Attention(width, heads, self.biased)

    def forward_modulated(
        self, x: Tensor, m: None, table: Tensor, bias: Tensor | None, cache: KVCache | None = None
    ) -> Tensor:
        """The same as nets.Block where nothing modulates: (B, T, D) -> (B, T, D)."""
        x = x + self.attention(self.before(x), table, bias, cache)
        return x + self.mlp(self.between(x))

    def mlp(self, h: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        raise NotImplementedError


@dataclass(frozen=True)
class HFNameMap:
    """What transformers calls a trunk and what it is made of.

    called      its name to a reader; `kind` is its model_type, `model` the class of its models
    fields      option -> the field of config.json; "length" is how many places there are
    absent      what a field says that config.json leaves out
    only        field -> what it may say; the first is what it says where it is left out
    outside     our name of a weight -> theirs, less the `prefix` that theirs have but for the head's
    inside      the same of the parts of blocks, which are in `layers`; several of theirs lie in one of ours,
                one below the other
    grouped     endings of the names of matrices whose heads others may share
    flipped     endings of the names of matrices that are written (inputs, outputs)
    idle        endings of the names of what is no weight, in old files
    """

    called: str
    kind: str
    model: str
    fields: Mapping[str, str]
    absent: Mapping[str, Any]
    only: Mapping[str, Sequence[Any]]
    prefix: str
    layers: str
    outside: Mapping[str, str]
    inside: Mapping[str, Sequence[str]]
    grouped: tuple[str, ...] = ()
    flipped: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()


class CompatBackbone(CausalBackbone):
    """Embedding, blocks, and a last norm with weights, over the ids of one text."""

    block: ClassVar[type[Block]]
    name_map: ClassVar[HFNameMap]

    def __init__(
        self,
        spec: Spec,
        width: int,
        depth: int,
        *,
        heads: int | None,
        mlp_width: int,
        norm_eps: float,
        tie_embeddings: bool,
    ) -> None:
        """heads: default one for every 64 floats; mlp_width: hidden width of the mlp.

        Raises ValueError for a width that heads cannot share.
        """
        heads = heads or max(1, width // HEAD_DIM)
        if width % heads:
            raise ValueError(f"width={width} is no multiple of heads={heads}")
        super().__init__([spec], width, width // heads)
        self.options = {
            "width": width,
            "depth": depth,
            "heads": heads,
            "mlp_width": mlp_width,
            "norm_eps": norm_eps,
            "tie_embeddings": tie_embeddings,
        }
        self.embedding = nn.Embedding(spec.classes, width)
        nn.init.normal_(self.embedding.weight, std=TIED if tie_embeddings else STD)
        self.blocks = nn.ModuleList(self.block(width, heads, mlp_width, norm_eps) for _ in range(depth))
        self.last = self.block.norm(width, eps=norm_eps)

    @property
    def start(self) -> Tensor:
        """The embedding of id 0, (D,)."""
        return self.embedding.weight[0]

    @property
    def shared(self) -> nn.Embedding | None:
        """The embedding, if it is tied."""
        return self.embedding if self.options["tie_embeddings"] else None

    def _embed_at(self, tokens: Tensor, spots: Tensor | slice) -> Tensor:
        return tokens

    def modulation(self, context: EncodedContext, rows: int) -> Sequence[Tensor | None]:
        return [None] * len(self.blocks)

    def final_norm(self, h: Tensor) -> Tensor:
        return self.last(h)

    # ---- config.json of transformers

    @classmethod
    def asked(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """The options that a config.json gives. Raises ValueError as `refusal` has it."""
        for field, may in cls.name_map.only.items():
            if config.get(field, may[0]) not in may:
                raise config_mismatch(
                    config, field, f"the {cls.name_map.called} of likewise has {may[0]!r} alone"
                )
        return {name: config[field] for name, field in cls.name_map.fields.items() if name != "length"}

    def config(self) -> dict[str, Any]:
        """The inverse of `asked`."""
        said = {self.name_map.fields[name]: value for name, value in self.options.items()}
        return said | {field: may[0] for field, may in self.name_map.only.items()}


def config_mismatch(config: Mapping[str, Any], field: str, why: str) -> ValueError:
    """What to raise for a field of config.json that asks for what is not here."""
    what = f"config.json has {field}={config.get(field)!r}"
    return ValueError(f"{what}: {why}; leave this model to transformers")

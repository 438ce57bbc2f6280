"""What the architectures of transformers share: models of one text, without sources.

Legend: B batch, T tokens, D width, H heads, E = D / H.

    h = x + O attention(Q n(x), K n(x), V n(x))                                                         (1)
    x' = h + mlp(n'(h))                                                                                 (2)

Scores are over sqrt(E). Input 0 is the embedding of id 0: the end of one text precedes the next. A tied head has
the weights of the embedding (Press & Wolf, 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.attention import Attention, KVCache, default_heads
from likewise.nets.causal import BlockFn, CausalBackbone
from likewise.nets.conditioning import EncodedContext
from likewise.nets.layers import ModuleList

EPS = 1e-5  # of norms, by default
STD = 0.1  # of embeddings at the start: nothing normalises the residual stream
TIED_STD = 0.02  # of embeddings that are the head too


class CompatBlock(nn.Module):
    """(1), then (2). The residual branches start at zero through their output projections.

    Subclasses define the class of the norms, whether linear layers have biases, and the mlp.
    """

    norm: ClassVar[type[nn.Module]]
    biased: ClassVar[bool]

    def __init__(self, width: int, heads: int, mlp_width: int, norm_eps: float) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = self.norm(width, eps=norm_eps), self.norm(width, eps=norm_eps)
        self.attention = Attention(width, heads, self.biased, qk_norm=False)

    def forward(
        self, x: Tensor, rotation: Tensor, bias: Tensor | None, cache: KVCache | None = None
    ) -> Tensor:
        """One block, (B, T, D) -> (B, T, D); the rest as of Attention."""
        x = x + self.attention(self.attention_norm(x), rotation, bias, cache)
        return x + self.mlp(self.mlp_norm(x))

    def mlp(self, h: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        raise NotImplementedError


@dataclass(frozen=True)
class HFNameMap:
    """The names that transformers gives an architecture, its options and its weights.

    display_name     in messages and model cards
    model_type       of config.json; `model_class` is the first of its architectures
    fields           option -> field of config.json; "length" is the number of positions
    defaults         values of fields that config.json may leave out
    supported        field -> the values that are supported here, the default first
    prefix           of all weights but the head's
    weights          name here -> name there without the prefix
    block_weights    the same of a block, without "weight" and "bias"; several matrices there are stacked in
                     one here. Block i has the prefix "`layers`.i." there
    grouped          suffixes of the matrices that may have fewer heads there (grouped-query attention)
    transposed       suffixes of the matrices that are (inputs, outputs) there
    ignored          suffixes of buffers in old files
    """

    display_name: str
    model_type: str
    model_class: str
    fields: Mapping[str, str]
    defaults: Mapping[str, Any]
    supported: Mapping[str, Sequence[Any]]
    prefix: str
    layers: str
    weights: Mapping[str, str]
    block_weights: Mapping[str, Sequence[str]]
    grouped: tuple[str, ...] = ()
    transposed: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class CompatBackbone(CausalBackbone):
    """Embedding, blocks and a last norm with weights, over the ids of one text."""

    block: ClassVar[type[CompatBlock]]
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

        Raises ValueError for a width that is not divisible by the heads.
        """
        heads = heads or default_heads(width, multiple=1)  # not all architectures rotate pairs
        if width % heads:
            raise ValueError(f"width={width} is no multiple of heads={heads}")
        super().__init__([spec], width, width // heads)
        self.options: dict[str, Any] = {
            "width": width,
            "depth": depth,
            "heads": heads,
            "mlp_width": mlp_width,
            "norm_eps": norm_eps,
            "tie_embeddings": tie_embeddings,
        }
        self.embedding = nn.Embedding(spec.classes, width)
        nn.init.normal_(self.embedding.weight, std=TIED_STD if tie_embeddings else STD)
        self.blocks = ModuleList(self.block(width, heads, mlp_width, norm_eps) for _ in range(depth))
        self.output_norm = self.block.norm(width, eps=norm_eps)

    @property
    def start_embedding(self) -> Tensor:
        """The embedding of id 0, (D,)."""
        return self.embedding.weight[0]

    @property
    def tied_embedding(self) -> nn.Embedding | None:
        return self.embedding if self.options["tie_embeddings"] else None

    def add_positions(self, tokens: Tensor, positions: Tensor | slice) -> Tensor:
        return tokens

    def conditioned_blocks(self, context: EncodedContext) -> list[BlockFn]:
        return [*self.blocks]

    def final_norm(self, h: Tensor) -> Tensor:
        return self.output_norm(h)

    # ---- config.json of transformers

    @classmethod
    def options_from_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a model with this config.json. Raises ValueError by `config_mismatch`."""
        for field, supported in cls.name_map.supported.items():
            if config.get(field, supported[0]) not in supported:
                reason = f"the {cls.name_map.display_name} of likewise supports {supported[0]!r} only"
                raise config_mismatch(config, field, reason)
        return {name: config[field] for name, field in cls.name_map.fields.items() if name != "length"}

    def config(self) -> dict[str, Any]:
        """The fields of config.json: the inverse of `options_from_config`."""
        fields = {self.name_map.fields[name]: value for name, value in self.options.items()}
        return fields | {field: supported[0] for field, supported in self.name_map.supported.items()}


def config_mismatch(config: Mapping[str, Any], field: str, reason: str) -> ValueError:
    """The error for a field of config.json with an unsupported value."""
    return ValueError(
        f"config.json has {field}={config.get(field)!r}: {reason}; use transformers for this model"
    )

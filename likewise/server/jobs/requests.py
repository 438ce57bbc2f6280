"""The bodies of the native routes; OpenAI's routes are translated into these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from likewise.core.ranges import MAX_SEED
from likewise.server.http.bodies import StrictBody
from likewise.server.limits import (
    MAX_METADATA,
    MAX_METADATA_LENGTH,
    MAX_N,
    MAX_NAME,
    MAX_PREVIEWS,
    MAX_ROWS,
    MAX_STOP_LENGTH,
    MAX_STOPS,
    MAX_TEXT,
)

ModelId = Annotated[str, Field(min_length=1, max_length=MAX_NAME, description="id of a model")]
Values = Annotated[dict[str, Any], Field(description="column -> value")]
Options = Annotated[dict[str, Any], Field(description="sampling options, see the schema of the model")]
SeedOrRandom = Annotated[int, Field(ge=-1, le=MAX_SEED, description="-1 for a random one, which is returned")]
Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_LENGTH)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Metadata = Annotated[
    dict[str, Annotated[str, Field(max_length=MAX_METADATA_LENGTH)]], Field(max_length=MAX_METADATA)
]


class InitBody(StrictBody):
    """Values that samples are variations of, and how far they may be from them."""

    values: Values
    strength: float = Field(default=0.5, gt=0, le=1)


class ConstraintBody(StrictBody):
    """What a text must obey: a JSON schema, a regular expression, a list of texts, or a Lark grammar."""

    kind: Literal["json", "regex", "choice", "grammar"]
    value: dict[str, Any] | list[Text] | Text


class KnownBody(StrictBody):
    """A value of a target of which a part is known: the mask is true, or opaque, where it is."""

    value: Any
    mask: Any


class SamplingBody(StrictBody):
    """What all requests for samples have in common."""

    model: ModelId
    n: int = Field(default=1, ge=1, le=MAX_N, description="samples of each row")
    seed: SeedOrRandom = Field(
        default=-1, description="of the first sample; sample i has seed + i; -1 is random"
    )
    index: int = Field(
        default=0, ge=0, le=MAX_SEED, description="of the samples beside the seed, see Model.sample"
    )
    text: Text | None = Field(default=None, description="value of the text source, as on the command line")
    negative: Values | None = Field(default=None, description="sources that guidance moves away from")
    init: InitBody | None = None
    prompt: Text | None = Field(default=None, description="beginning of the sampled text")
    suffix: Text | None = Field(default=None, description="end of the text, of which the middle is sampled")
    stop: list[Stop] = Field(default=[], max_length=MAX_STOPS)
    constraint: dict[str, ConstraintBody] = Field(default={}, description="text target -> what it must obey")
    options: Options = Field(default={})
    previews: int = Field(default=0, ge=0, le=MAX_PREVIEWS, description="of each sample, as events")
    stream: bool = Field(default=False, description="answer with the events of the job")
    background: bool = Field(default=False, description="answer at once, and go on without the client")
    metadata: Metadata = Field(default={}, description="the client's own, kept with the job")
    media: Literal["b64", "url", "both"] | None = Field(default=None, description="how files are returned")


class SampleBody(SamplingBody):
    """POST /v1/sample."""

    given: Values | None = Field(default=None, description="sources, and targets, which are known then")
    rows: list[Values] | None = Field(default=None, min_length=1, max_length=MAX_ROWS)
    known: dict[str, Any] = Field(default={}, description="target -> value, or {value, mask} of a part")


class InfillBody(SamplingBody):
    """POST /v1/infill: the targets of the row that are not masked are kept, those that it lacks are sampled."""

    row: Values
    mask: dict[str, Any] = Field(
        default={},
        description="target -> what to redo: a PNG, transparent there, or a list of booleans, true there",
    )


class InterpolateBody(StrictBody):
    """POST /v1/interpolate."""

    model: ModelId
    first: Values = Field(default={})
    last: Values = Field(default={})
    n: int = Field(default=7, ge=2, le=MAX_N)
    seeds: list[SeedOrRandom] = Field(default=[0, 0], min_length=2, max_length=2)
    negative: Values | None = None
    options: Options = Field(default={})
    background: bool = False
    media: Literal["b64", "url", "both"] | None = None


class ScoreBody(StrictBody):
    """POST /v1/score."""

    model: ModelId
    rows: list[Values] = Field(min_length=1, max_length=MAX_ROWS)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    options: Options = Field(default={})
    background: bool = False

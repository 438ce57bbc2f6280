"""POST /v1/embeddings: values of a target of a contrastive model -> unit vectors."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from likewise.modalities.text import Text
from likewise.server.catalog.registry import AnyModel
from likewise.server.http.errors import APIError, invalid
from likewise.server.jobs.book import Job, JobBook
from likewise.server.jobs.store import Store
from likewise.server.jobs.values import ValueReader
from likewise.server.jobs.work import Call
from likewise.server.openai.bodies import EmbeddingBody
from likewise.server.openai.choice import ChosenModel
from likewise.server.openai.completions import prompts_of
from likewise.server.openai.tokens import prompt_text


def column_of_inputs(chosen: ChosenModel, name: str | None) -> Mapping[str, Any]:
    """The target that inputs are values of: the one of that name, else the text, else the first. Raises APIError."""
    targets = [column for column in chosen.schema["columns"] if column["role"] == "target"]
    if name is None:
        return chosen.column("target", "text/", "text") or targets[0]
    for column in targets:
        if column["name"] == name:
            found: Mapping[str, Any] = column
            return found
    raise invalid(
        f"{chosen.id} has no target {name[:100]!r}; there are {', '.join(c['name'] for c in targets)}",
        "column",
    )


def inputs_of(body: EmbeddingBody) -> list[str | list[int]]:
    """The inputs, one or several."""
    return prompts_of(body.input)


def embed_call(store: Store, column: str, inputs: Sequence[str | list[int]]) -> Call:
    """The work of the sampling thread that embeds values: a result for each, with the number of its tokens."""

    def call(model: AnyModel, job: Job, jobs: JobBook) -> None:
        modality, values = model.columns[column], []
        for i, given in enumerate(inputs):
            where = f"input.{i}"
            if isinstance(given, list):
                if not isinstance(modality, Text):
                    raise invalid(f"{column} has no token ids; send its value", where)
                given = prompt_text(modality, given, where)
            values.append(_read(ValueReader(store), model, column, given, where))
        vectors = model.embed(column, values).tolist()  # type: ignore[union-attr]
        for i, (vector, value) in enumerate(zip(vectors, values, strict=True)):
            jobs.add_result(job, i, {"index": i, "embedding": vector, "tokens": modality.num_tokens(value)})

    return call


def _read(reader: ValueReader, model: AnyModel, column: str, given: str, where: str) -> Any:
    """An input as a value of a column. Raises APIError that names the input."""
    try:
        row, _ = reader.read_row(model, {column: given}, where)
    except APIError as error:
        error.param = where
        raise
    if column not in row:
        raise invalid(f"{where} is empty", where)
    return row[column]


def embeddings_json(model: str, results: Sequence[Mapping[str, Any]], body: EmbeddingBody) -> dict[str, Any]:
    """The answer. Raises APIError for other dimensions than the model has."""
    size = len(results[0]["embedding"])
    if body.dimensions not in (None, size):
        raise invalid(f"the embeddings of {model} have {size} dimensions; leave dimensions out", "dimensions")
    tokens = sum(result["tokens"] for result in results)
    data = [
        {"object": "embedding", "index": i, "embedding": _encoded(result["embedding"], body.encoding_format)}
        for i, result in enumerate(results)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": model, "data": data, "usage": usage}


def _encoded(vector: list[float], form: str) -> list[float] | str:
    """The numbers, or their float32, least significant byte first, in base64."""
    if form == "float":
        return vector
    numbers = array("f", vector)
    return base64.b64encode(numbers.tobytes()).decode()

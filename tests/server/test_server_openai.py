"""OpenAI's routes as its own client sees them: fields, streams, errors; against servers on loopback."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import PIL.Image
import pytest
import toy
from conftest import LiveServer, live, wait_for
from openai_runs import SCHEMA, Sound, Video, save_media, save_runs

import likewise
from likewise.core.provenance import read_png_chunks
from likewise.modalities import KINDS, register
from likewise.models.model import Model
from likewise.server.settings import ServerSettings

FAST: dict[str, Any] = {"steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    aliases = {"gpt-image-1": "pictures", "gpt-4o-mini": "answers", "text-embedding-3-small": "pairs"}
    settings = ServerSettings(folder, state=tmp_path_factory.mktemp("state"), threads=1, aliases=aliases)
    with live(settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: LiveServer) -> openai.OpenAI:
    return client_of(server)


def client_of(server: LiveServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key="any", max_retries=0)


def model_of(folder: Path, name: str) -> Model:
    model = likewise.load(folder / name)
    assert isinstance(model, Model)
    return model


def picture_of(image: Any) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(base64.b64decode(image.b64_json)))


def png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def disc() -> PIL.Image.Image:
    picture = toy.rows(1)[0]["image"]
    assert isinstance(picture, PIL.Image.Image)
    return picture


def post(server: LiveServer, path: str, **body: Any) -> httpx.Response:
    return httpx.post(server.address + path, json=body, timeout=60)


# ---- pictures


def test_pictures_are_those_of_the_model_with_a_seed_each(client: openai.OpenAI, folder: Path) -> None:
    answer = client.images.generate(model="pictures", prompt="ring", n=2, extra_body={"seed": 5, **FAST})
    rows = [
        model_of(folder, "pictures").sample([{"text": "ring"}], seed=seed, indices=[0], steps=2)[0]
        for seed in (5, 6)
    ]
    for image, row, seed in zip(answer.data or [], rows, (5, 6), strict=True):
        assert image.seed == seed  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(picture_of(image)), np.asarray(row["image"]))
    assert answer.size == "10x10" and answer.output_format == "png" and answer.usage is not None
    assert answer.usage.output_tokens == 200 and answer.usage.input_tokens > 0
    assert "request" in read_png_chunks(base64.b64decode(answer.data[0].b64_json or ""))  # type: ignore[index]


def test_a_seed_of_minus_one_is_random_and_returned(client: openai.OpenAI) -> None:
    seeds = {
        client.images.generate(model="pictures", prompt="", extra_body={"seed": seed, **FAST}).data[0].seed  # type: ignore[index, attr-defined]
        for seed in (-1, None)
    }
    assert len(seeds) == 2 and min(seeds) >= 0


def test_names_of_other_programs_and_foreign_keys(client: openai.OpenAI, server: LiveServer) -> None:
    common = {"seed": 1, "negative_prompt": "x"}
    own = client.images.generate(
        model="pictures", prompt="ring", extra_body={**common, "steps": 3, "guidance": 3}
    )
    names = {"num_inference_steps": 3, "guidance_scale": 3}
    other = client.images.generate(model="pictures", prompt="ring", extra_body={**common, **names})
    assert own.data[0].b64_json == other.data[0].b64_json  # type: ignore[index]
    foreign = {
        "quality": "hd",
        "style": "natural",
        "user": "me",
        "sampler_name": "x",
        "n": None,
        "size": None,
    }
    response = post(server, "/v1/images/generations", model="pictures", prompt="ring", **FAST, **foreign)
    assert response.status_code == 200
    notes = response.json()["warnings"]
    assert [note.split()[0] for note in notes] == ["quality", "style", "sampler_name"]
    assert json.loads(response.headers["x-likewise-warnings"]) == notes
    plain = post(server, "/v1/images/generations", model="pictures", prompt="ring", quality="auto", **FAST)
    assert "warnings" not in plain.json() and "x-likewise-warnings" not in plain.headers


def test_sizes_and_formats(client: openai.OpenAI) -> None:
    def sized(**fields: Any) -> PIL.Image.Image:
        extra = {**FAST, **fields.pop("extra", {})}
        answer = client.images.generate(model="pictures", prompt="x", extra_body=extra, **fields)
        return picture_of(answer.data[0])  # type: ignore[index]

    assert sized(size="auto").size == sized(size="10x10").size == (10, 10)
    with pytest.raises(openai.BadRequestError, match="makes pictures of 10x10") as error:
        sized(size="1024x1024")
    assert error.value.param == "size"
    large = sized(size="20x30", extra={"resample": "nearest", "seed": 3})
    assert large.size == (20, 30) and "likewise:request" in large.info
    for name, extra in (("webp", {}), ("jpeg", {"output_compression": 50})):
        assert sized(output_format=name, extra=extra).format == name.upper()
    lossless = sized(output_format="webp", extra={"seed": 3}).convert("L")
    assert np.array_equal(np.asarray(lossless), np.asarray(sized(extra={"seed": 3})))


def test_addresses_of_pictures(client: openai.OpenAI, server: LiveServer) -> None:
    answer = client.images.generate(model="pictures", prompt="x", response_format="url", extra_body=FAST)
    url = answer.data[0].url or ""  # type: ignore[index]
    assert url.startswith(server.address)
    assert PIL.Image.open(io.BytesIO(httpx.get(url).content)).size == (10, 10)
    with pytest.raises(openai.BadRequestError, match="b64_json"):
        client.images.generate(model="pictures", prompt="x", response_format="url", output_format="webp")


def test_a_stream_of_pictures(client: openai.OpenAI) -> None:
    events = list(
        client.images.generate(
            model="pictures",
            prompt="x",
            n=2,
            stream=True,
            partial_images=2,
            extra_body={"steps": 6, "seed": 7},
        )
    )
    assert {event.type for event in events[:-2]} <= {
        "image_generation.partial_image",
        "image_generation.completed",
    }
    done = [event for event in events if event.type == "image_generation.completed"]
    assert [event.seed for event in done] == [7, 8]  # type: ignore[attr-defined]
    whole = client.images.generate(model="pictures", prompt="x", n=2, extra_body={"steps": 6, "seed": 7})
    assert [event.b64_json for event in done] == [image.b64_json for image in whole.data or []]
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    assert all(picture_of(event).size == (10, 10) for event in partial)


@pytest.mark.parametrize(
    ("model", "prompt", "given"),
    [("digits", "2", {"label": "2"}), ("joint", "ring", {"text": "ring"}), ("noise", "", {})],
)
def test_a_prompt_is_the_text_or_else_the_class(
    client: openai.OpenAI, folder: Path, model: str, prompt: str, given: dict[str, Any]
) -> None:
    answer = client.images.generate(model=model, prompt=prompt, extra_body={"seed": 2, **FAST})
    [row] = model_of(folder, model).sample([given], seed=2, indices=[0], steps=2)
    image = answer.data[0]  # type: ignore[index]
    assert np.array_equal(np.asarray(picture_of(image)), np.asarray(row["image"]))
    if model == "joint":
        assert image.values["number"] == pytest.approx(row["number"])  # type: ignore[attr-defined]


def test_a_model_without_sources_reads_no_prompt(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="reads no prompt") as error:
        client.images.generate(model="noise", prompt="ring")
    assert error.value.param == "prompt"
    with pytest.raises(openai.BadRequestError, match="unknown class '7'"):
        client.images.generate(model="digits", prompt="7")


def with_hole(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A mask whose left half is to be redone."""
    mask = PIL.Image.new("RGBA", picture.size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, picture.width // 2, picture.height))
    return mask


def test_edits_redo_what_is_transparent_and_nothing_else(client: openai.OpenAI, server: LiveServer) -> None:
    picture = disc()
    answer = client.images.edit(
        model="pictures",
        image=png(picture),
        mask=png(with_hole(picture)),
        prompt="x",
        n=2,
        extra_body={"steps": 3},
    )
    for image in answer.data or []:
        pixels = np.asarray(picture_of(image))
        assert np.array_equal(pixels[:, 5:], np.asarray(picture)[:, 5:])
        assert not np.array_equal(pixels[:, :5], np.asarray(picture)[:, :5])
    transparent = picture.convert("RGBA")
    transparent.putalpha(with_hole(picture).getchannel("A"))
    own = client.images.edit(model="pictures", image=png(transparent), prompt="x", extra_body={"steps": 3})
    assert np.array_equal(np.asarray(picture_of(own.data[0]))[:, 5:], np.asarray(picture)[:, 5:])  # type: ignore[index]
    uploads = [base64.b64encode(png(p)).decode() for p in (picture, with_hole(picture))]
    urls = [{"image_url": f"data:image/png;base64,{upload}"} for upload in uploads]
    response = post(
        server,
        "/v1/images/edits",
        model="pictures",
        images=urls[:1],
        mask=urls[1],
        prompt="x",
        steps=3,
        seed=4,
    )
    pixels = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(response.json()["data"][0]["b64_json"]))))
    assert np.array_equal(pixels[:, 5:], np.asarray(picture)[:, 5:])


def test_an_edit_without_a_hole_is_a_variation_or_a_source(client: openai.OpenAI, folder: Path) -> None:
    extra = {"strength": 0.3, "seed": 1, "steps": 4}
    answer = client.images.edit(model="pictures", image=png(disc()), prompt="ring", extra_body=extra)
    [row] = model_of(folder, "pictures").sample(
        [{"text": "ring"}], seed=1, indices=[0], steps=4, init=({"image": disc()}, 0.3)
    )
    assert np.array_equal(np.asarray(picture_of(answer.data[0])), np.asarray(row["image"]))  # type: ignore[index]
    redrawn = client.images.edit(model="redraw", image=png(disc()), prompt="", extra_body={"seed": 1, **FAST})
    [row] = model_of(folder, "redraw").sample([{"image2": disc()}], seed=1, indices=[0], steps=2)
    assert np.array_equal(np.asarray(picture_of(redrawn.data[0])), np.asarray(row["image"]))  # type: ignore[index]


def test_variations(client: openai.OpenAI, folder: Path) -> None:
    with pytest.warns(DeprecationWarning):
        answer = client.images.create_variation(
            model="pictures", image=png(disc()), n=2, extra_body={"strength": 0.2, "seed": 3, "steps": 4}
        )
    [row] = model_of(folder, "pictures").sample(
        [{}], seed=4, indices=[0], steps=4, init=({"image": disc()}, 0.2)
    )
    assert np.array_equal(np.asarray(picture_of(answer.data[1])), np.asarray(row["image"]))  # type: ignore[index]


@pytest.mark.parametrize(
    ("files", "fields", "message", "param"),
    [
        ({}, {}, "image is missing", "image"),
        ({"image": b"no picture"}, {}, "is no picture", "image"),
        ({"image": None, "mask": (8, 8)}, {}, "8 x 8 pixels and the picture 10 x 10", "mask"),
        ({"image": None, "markup": (10, 10)}, {}, "markup is not supported", "markup"),
        ({"image": None}, {"strength": "2"}, "less than or equal to 1", "strength"),
        (
            {"image": None},
            {"num_inference_steps": "many"},
            "steps must be a whole number",
            "num_inference_steps",
        ),
        ({"image": None}, {"prompt": ""}, None, None),
    ],
)
def test_what_is_wrong_with_an_edit(
    server: LiveServer, files: dict[str, Any], fields: dict[str, str], message: str | None, param: str | None
) -> None:
    parts = {
        name: png(disc())
        if data is None
        else png(with_hole(disc().resize(data)))
        if isinstance(data, tuple)
        else data
        for name, data in files.items()
    }
    uploads = {name: (f"{name}.png", data) for name, data in parts.items()} or {"other": ("x", b"")}
    data = {"model": "pictures", "prompt": "x", **fields}
    response = httpx.post(f"{server.address}/v1/images/edits", data=data, files=uploads, timeout=60)
    if message is None:
        assert response.status_code == 200
        return
    error = response.json()["error"]
    assert response.status_code == 400 and message in error["message"] and error["param"] == param


# ---- completions


def test_completions_are_those_of_the_model(client: openai.OpenAI, folder: Path) -> None:
    answer = client.completions.create(
        model="book", prompt="9 green", max_tokens=9, seed=3, n=2, temperature=0.7
    )
    model = model_of(folder, "book")
    for choice, seed in zip(answer.choices, (3, 4), strict=True):
        [row] = model.sample([{}], prompts=["9 green"], seed=seed, indices=[0], tokens=9, temperature=0.7)
        assert "9 green" + choice.text == row["text"]
        assert choice.seed == seed and choice.finish_reason == "length"  # type: ignore[attr-defined]
    assert answer.usage is not None
    assert (
        answer.usage.prompt_tokens == len(text_ids(model, "9 green")) and answer.object == "text_completion"
    )


def text_ids(model: Model, text: str) -> list[int]:
    column = model.columns["text"]
    return column.ids(text).tolist()  # type: ignore[attr-defined, no-any-return]


def test_prompts_are_texts_or_ids_one_or_several(client: openai.OpenAI, folder: Path) -> None:
    ids = text_ids(model_of(folder, "book"), "9 green")
    for prompt in (["9 green", "8 bottles"], [ids, [0, *ids]], ids, "", ["", "9"]):
        answer = client.completions.create(model="book", prompt=prompt, max_tokens=2, temperature=0, n=2)  # type: ignore[arg-type]
        count = 1 if isinstance(prompt, str) or isinstance(prompt[0], int) else len(prompt)
        assert [choice.index for choice in answer.choices] == list(range(2 * count))
    same = client.completions.create(model="book", prompt=[ids], max_tokens=5, temperature=0)
    text = client.completions.create(model="book", prompt="9 green", max_tokens=5, temperature=0)
    assert same.choices[0].text == text.choices[0].text and same.usage == text.usage


def test_explicit_nulls_are_fields_that_are_left_out(server: LiveServer) -> None:
    nulls = dict.fromkeys(
        ("suffix", "logprobs", "best_of", "stop", "logit_bias", "user", "stream_options", "n", "seed"), None
    )
    response = post(server, "/v1/completions", model="book", prompt=["9"], max_tokens=1, **nulls)
    assert response.status_code == 200 and "warnings" not in response.json()


@pytest.mark.parametrize("model", ["book", "words"])
@pytest.mark.parametrize("tokens", [0, 1])
def test_echo_and_logprobs_score_a_text(client: openai.OpenAI, folder: Path, model: str, tokens: int) -> None:
    text = "9 green bottles hanging on the wall, é, and 8 green bottles" if model == "book" else "ring"
    answer = client.completions.create(
        model=model, prompt=text, max_tokens=tokens, echo=True, logprobs=2, temperature=0
    )
    loaded = model_of(folder, model)
    [choice] = answer.choices
    assert choice.logprobs is not None
    scores = choice.logprobs
    ids = text_ids(loaded, text)
    lists = (scores.tokens, scores.token_logprobs, scores.top_logprobs, scores.text_offset)
    assert {len(one or []) for one in lists} == {len(ids) + tokens}
    assert (
        choice.text.startswith(text) and answer.usage is not None and answer.usage.prompt_tokens == len(ids)
    )
    log_prob = float(loaded.log_prob([{"text": text}]).nats)
    total = sum((scores.token_logprobs or [])[: len(ids)])
    if model == "book":
        assert total == pytest.approx(log_prob, abs=1e-3)
        shown = [t for t in (scores.tokens or [])[: len(ids)] if not t.startswith("bytes:")]
        assert "".join(shown) == text.replace("é", "")
    for token, log, top in zip(*(list(one or []) for one in lists[:3]), strict=True):
        assert isinstance(top, dict) and top[token] == log and 2 <= len(top) <= 3
        assert log == max(top.values()) or len(top) == 3 or log in top.values()
    offsets = scores.text_offset or []
    assert offsets[0] == 0 and offsets == sorted(offsets) and offsets[-1] <= len(text)


def test_an_id_of_the_end_in_front_stands_for_the_beginning(client: openai.OpenAI, folder: Path) -> None:
    model = model_of(folder, "book")
    ids = text_ids(model, "9 green bottles")
    answer = client.completions.create(
        model="book", prompt=[0, *ids], max_tokens=1, echo=True, logprobs=1, temperature=0
    )
    scores = answer.choices[0].logprobs
    assert scores is not None and scores.token_logprobs is not None
    assert scores.token_logprobs[0] is None and len(scores.token_logprobs) == len(ids) + 2
    log_prob = float(model.log_prob([{"text": "9 green bottles"}]).nats)
    assert sum(scores.token_logprobs[1:-1]) == pytest.approx(log_prob, abs=1e-3)


def test_log_probabilities_of_what_was_written(client: openai.OpenAI, folder: Path) -> None:
    answer = client.completions.create(
        model="words", prompt="ri", max_tokens=3, logprobs=1, seed=1, extra_body={"given": {"label": "2"}}
    )
    [choice] = answer.choices
    assert choice.logprobs is not None and choice.logprobs.tokens is not None
    assert "".join(choice.logprobs.tokens) == choice.text or "bytes:" in "".join(choice.logprobs.tokens)
    if choice.finish_reason == "stop":
        whole = "ri" + choice.text
        model = model_of(folder, "words")
        before = float(model.log_prob([{"label": "2", "text": whole}]).nats)
        assert sum(choice.logprobs.token_logprobs or []) >= before


def test_the_best_are_the_most_likely_for_each_token(client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"model": "book", "prompt": "9 green", "max_tokens": 6, "seed": 0, "logprobs": 0}
    every = client.completions.create(**fields, n=5)
    best = client.completions.create(**fields, n=2, best_of=5)

    def mean(choice: Any) -> float:
        values = choice.logprobs.token_logprobs
        return sum(values) / len(values)

    expected = sorted(every.choices, key=mean, reverse=True)[:2]
    assert [c.text for c in best.choices] == [c.text for c in expected]


def test_a_suffix_is_kept_by_a_model_that_was_trained_for_it(client: openai.OpenAI, folder: Path) -> None:
    answer = client.completions.create(
        model="book", prompt="9 green", suffix=" wall", max_tokens=5, seed=1, echo=True
    )
    [row] = model_of(folder, "book").sample(
        [{}], prompts=[("9 green", " wall")], seed=1, indices=[0], tokens=5
    )
    assert answer.choices[0].text == row["text"]
    with pytest.raises(openai.BadRequestError, match="trained without fim") as error:
        client.completions.create(model="words", prompt="r", suffix="g")
    assert error.value.param == "suffix"
    for scored in ({"logprobs": 1}, {"best_of": 2}):
        with pytest.raises(openai.BadRequestError, match="no log-probabilities of a middle"):
            client.completions.create(model="book", prompt="9", suffix="g", **scored)  # type: ignore[call-overload]


def test_a_text_ends_before_a_stop_string(client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"model": "book", "prompt": "9 green", "max_tokens": 20, "temperature": 0}
    whole = client.completions.create(**fields).choices[0].text
    stop = whole[5:7]
    for given in (stop, [stop, "never"]):
        cut = client.completions.create(**fields, stop=given).choices[0]
        assert cut.text == whole[: whole.index(stop)] and cut.finish_reason == "stop"
    assert client.completions.create(**fields, stop="").choices[0].text == whole


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 2},
        {"logprobs": 1},
        {"stop": ["e"]},
        {"prompt": ["9", "8 g"]},
        {"echo": True},
        {"suffix": " wall"},
        {"suffix": " wall", "echo": True, "n": 2},
    ],
)
def test_a_stream_of_texts_is_the_answer(client: openai.OpenAI, fields: dict[str, Any]) -> None:
    common: dict[str, Any] = {"model": "book", "prompt": "9 green", "max_tokens": 12, "seed": 5, **fields}
    whole = client.completions.create(**common)
    chunks = list(client.completions.create(**common, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    for choice in whole.choices:
        parts = [c.choices[0] for c in chunks[:-1] if c.choices[0].index == choice.index]
        assert "".join(part.text for part in parts) == choice.text
        assert [part.finish_reason for part in parts if part.finish_reason] == [choice.finish_reason]
        assert parts[-1].finish_reason and (parts[-1].logprobs == choice.logprobs)


def test_streams_end_with_done(server: LiveServer) -> None:
    body = {"model": "book", "prompt": "9", "max_tokens": 3, "stream": True}
    lines = post(server, "/v1/completions", **body).text.strip().split("\n\n")
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") for line in lines)
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    assert len({chunk["id"] for chunk in chunks}) == 1 and chunks[-1]["choices"][0]["finish_reason"]


# ---- chat


def test_chat_goes_on_with_the_text_of_messages(client: openai.OpenAI) -> None:
    common: dict[str, Any] = {"model": "book", "max_tokens": 6, "temperature": 0}
    chat = client.chat.completions.create(messages=[{"role": "user", "content": "9 green"}], **common)
    plain = client.completions.create(prompt="9 green", **common)
    assert chat.choices[0].message.content == plain.choices[0].text
    messages: Any = [
        {"role": "system", "content": "sing"},
        {"role": "user", "content": [{"type": "text", "text": "9"}]},
        {"role": "assistant", "content": "8"},
    ]
    both = {
        form: client.chat.completions.create(messages=messages, extra_body={"transcript": form}, **common)
        for form in ("plain", "roles")
    }
    joined = client.completions.create(prompt="sing\n9\n8", **common)
    assert both["plain"].choices[0].message.content == joined.choices[0].text
    named = client.completions.create(
        prompt="system: sing\nuser: 9\nassistant: 8", stop=["\nsystem:", "\nuser:"], **common
    )
    assert (both["roles"].choices[0].message.content or "") == named.choices[0].text.lstrip(" ")


def test_chat_is_the_source_of_a_model_that_reads_a_text(client: openai.OpenAI, folder: Path) -> None:
    messages: Any = [{"role": "user", "content": "how many legs have 3 cats"}]
    answer = client.chat.completions.create(model="answers", messages=messages, seed=1, n=2)
    model = model_of(folder, "answers")
    [row] = model.sample([{"question": "how many legs have 3 cats"}], seed=2, indices=[0])
    assert answer.choices[1].message.content == row["answer"]
    assert answer.usage is not None and answer.usage.prompt_tokens >= len("how many")


@pytest.mark.parametrize("model", ["answers", "book"])
def test_old_messages_are_left_out_where_there_is_no_room(client: openai.OpenAI, model: str) -> None:
    last: Any = [{"role": "user", "content": "how many legs have 3 cats"}]
    common: dict[str, Any] = {"model": model, "seed": 1, "max_tokens": 5}
    old: Any = [{"role": "system", "content": "be brief " * 40}]
    short = client.chat.completions.create(messages=last, **common)
    long = client.chat.completions.create(messages=old + last, **common)
    assert long.choices[0].message.content == short.choices[0].message.content
    assert long.warnings == ["there is no room for all messages, so the oldest are left out: 1"]  # type: ignore[attr-defined]


def test_a_message_may_have_a_picture(client: openai.OpenAI, folder: Path) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png(disc())).decode()}"
    parts: Any = [{"type": "image_url", "image_url": {"url": url}}]
    messages: Any = [{"role": "user", "content": parts}]
    answer = client.chat.completions.create(model="captions", messages=messages, seed=1)
    [row] = model_of(folder, "captions").sample([{"image": disc()}], seed=1, indices=[0])
    assert answer.choices[0].message.content == row["text"]
    with pytest.raises(openai.BadRequestError, match="reads no image"):
        client.chat.completions.create(model="book", messages=messages)
    messages[0]["content"] = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    with pytest.raises(openai.BadRequestError, match="only results of this server") as error:
        client.chat.completions.create(model="captions", messages=messages)
    assert error.value.param == "messages"


@pytest.mark.parametrize("model", ["answers", "book"])
def test_an_answer_may_have_to_be_json(client: openai.OpenAI, model: str) -> None:
    messages: Any = [{"role": "user", "content": "how many? "}]
    form: Any = {"type": "json_schema", "json_schema": {"name": "count", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(
        model=model, messages=messages, response_format=form, n=2, max_tokens=500
    )
    for choice in answer.choices:
        value = json.loads(choice.message.content or "")
        assert set(value) == {"animal", "count"} and 0 <= value["count"] <= 99
        assert choice.finish_reason == "stop"
    assert "max_tokens has no effect" in answer.warnings[0]  # type: ignore[attr-defined]
    free = client.chat.completions.create(
        model=model, messages=messages, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(free.choices[0].message.content or ""), dict)


def test_chat_streams_and_log_probabilities(client: openai.OpenAI) -> None:
    common: dict[str, Any] = {
        "model": "book",
        "messages": [{"role": "user", "content": "9 green"}],
        "max_tokens": 8,
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 2,
    }
    answer = client.chat.completions.create(**common)
    [choice] = answer.choices
    assert choice.logprobs is not None and choice.logprobs.content is not None
    spelled = bytes(b for token in choice.logprobs.content for b in token.bytes or [])
    assert spelled.decode(errors="replace") == choice.message.content
    assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    chunks = list(
        client.chat.completions.create(**common, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == choice.message.content
    assert chunks[-2].choices[0].finish_reason == choice.finish_reason and chunks[-1].usage == answer.usage


@pytest.mark.parametrize(
    ("fields", "message", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools is not supported", "tools"),
        ({"logit_bias": {"5": 1}}, "logit_bias is not supported", "logit_bias"),
        ({"modalities": ["text", "audio"]}, "should be 'text'", "modalities.1"),
        ({"messages": []}, "at least 1 item", "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "valid string", "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x" * 500}]}, "the prompt has", "messages"),
        ({"temperature": -1}, "temperature must be", "temperature"),
        ({"temperature": True}, "valid number", "temperature"),
        ({"presence_penalty": 1000}, "presence must be", "presence_penalty"),
        ({"top_p": 0}, "top_p must be", "top_p"),
        ({"min_p": "x"}, "min_p must be", "min_p"),
        ({"n": "2"}, "valid integer", "n"),
        ({"response_format": {"type": "json_schema"}}, "no json_schema", "response_format"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"type": "?"}},
                }
            },
            "not valid at type",
            "response_format",
        ),
    ],
)
def test_what_is_wrong_with_a_request_for_chat(
    server: LiveServer, fields: dict[str, Any], message: str, param: str
) -> None:
    body = {"model": "book", "messages": [{"role": "user", "content": "9"}], **fields}
    response = post(server, "/v1/chat/completions", **body)
    error = response.json()["error"]
    assert response.status_code == 400 and message in error["message"] and error["param"] == param
    assert error["type"] == "invalid_request_error"


# ---- embeddings


def test_embeddings(client: openai.OpenAI, folder: Path) -> None:
    answer = client.embeddings.create(model="pairs", input=["ring", "x"])
    expected = model_of(folder, "pairs").embed("text", ["ring", "x"])
    got = np.array([item.embedding for item in answer.data], dtype=np.float32)
    assert np.allclose(got, expected.numpy(), atol=1e-6)
    floats = client.embeddings.create(
        model="pairs", input=["ring", "x"], encoding_format="float", dimensions=64
    )
    assert np.array_equal(np.array([item.embedding for item in floats.data], dtype=np.float32), got)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    url = f"data:image/png;base64,{base64.b64encode(png(disc())).decode()}"
    image = client.embeddings.create(model="pairs", input=url, extra_body={"column": "image"})
    expected = model_of(folder, "pairs").embed("image", [disc()])
    assert np.allclose(image.data[0].embedding, expected.numpy()[0], atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message", "param"),
    [
        ({"dimensions": 3}, "have 64 dimensions", "dimensions"),
        ({"input": "x" * 300}, "301 tokens and room for", "input.0"),
        ({"input": ["ring", ""]}, "is empty", "input.1"),
        ({"input": []}, "at least 1 item", "input"),
        ({"input": 3}, "valid string", "input"),
        ({"column": "label"}, "no target 'label'", "column"),
        ({"column": "image"}, "neither a data URL", "input.0"),
    ],
)
def test_what_is_wrong_with_inputs(
    server: LiveServer, fields: dict[str, Any], message: str, param: str
) -> None:
    response = post(server, "/v1/embeddings", **{"model": "pairs", "input": "ring", **fields})
    error = response.json()["error"]
    assert response.status_code == 400 and message in error["message"] and error["param"] == param


# ---- clients that leave


@pytest.mark.usefixtures("endless_texts")
@pytest.mark.parametrize("prompt", ["9 green", ["9 green", "8 bottles"]])
def test_a_client_that_leaves_a_stream_stops_its_texts(
    server: LiveServer, client: openai.OpenAI, prompt: Any
) -> None:
    stream = client.completions.create(model="book", prompt=prompt, max_tokens=30_000, stream=True)
    next(iter(stream))
    running = [job.id for job in server.server.jobs.active.values()]
    assert len(running) == (1 if isinstance(prompt, str) else 2)
    stream.close()
    ended = wait_for(
        lambda: [server.server.store.job(id) for id in running] if not server.server.jobs.active else None
    )
    assert {job.status for job in ended} == {"cancelled"}


@pytest.mark.usefixtures("endless_texts")
def test_a_client_that_leaves_while_it_waits_stops_its_texts(server: LiveServer) -> None:
    body = {"model": "book", "prompt": ["9", "8"], "max_tokens": 30_000}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.address}/v1/completions", json=body, timeout=0.5)
    wait_for(lambda: not server.server.jobs.active)


def test_no_text_holds_up_the_others(server: LiveServer) -> None:
    """Where texts go on beyond the context their length has a limit; elsewhere the context ends them."""
    for route, body, param in (
        ("completions", {"prompt": "9", "max_tokens": 32_769}, "max_tokens"),
        ("sample", {"options": {"tokens": 10**6}}, "options.tokens"),
    ):
        answer = httpx.post(f"{server.address}/v1/{route}", json={"model": "book", **body}, timeout=60)
        error = answer.json()["error"]
        assert answer.status_code == 400 and error["param"] == param
        assert "must be at most 32,768, not " in error["message"]
    body = {"model": "answers", "messages": [{"role": "user", "content": "how many"}], "max_tokens": 10**6}
    assert httpx.post(f"{server.address}/v1/chat/completions", json=body, timeout=60).status_code == 200


# ---- models


def test_names_of_clients_are_aliases(client: openai.OpenAI) -> None:
    answer = client.images.generate(model="gpt-image-1", prompt="x", extra_body=FAST)
    assert answer.model == "pictures"  # type: ignore[attr-defined]
    chat = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "how many"}]
    )
    assert chat.model == "answers"
    assert len(client.embeddings.create(model="text-embedding-3-small", input="x").data) == 1


@pytest.mark.parametrize("name", ["dall-e-3", "book"])
def test_a_model_that_is_not_there_or_does_something_else(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        client.images.generate(model=name, prompt="x")
    assert error.value.code == "model_not_found" and error.value.param == "model"
    hint = "--alias dall-e-3=MODEL" if name == "dall-e-3" else "not one that makes pictures"
    assert hint in error.value.message


def test_without_a_model_the_first_one_that_suits_is_taken(server: LiveServer) -> None:
    assert post(server, "/v1/images/generations", prompt="", **FAST).json()["model"]
    assert post(server, "/v1/completions", prompt="", max_tokens=1).json()["model"] in {
        "book",
        "answers",
        "captions",
        "words",
    }
    assert post(server, "/v1/embeddings", input="ring").json()["model"] == "pairs"


def test_tokenizers(server: LiveServer, folder: Path) -> None:
    ids = text_ids(model_of(folder, "book"), "9 green bottles")
    found = post(server, "/tokenize", model="book", prompt="9 green bottles", add_special_tokens=False).json()
    assert found["tokens"] == ids and found["count"] == len(ids)
    assert (
        post(server, "/detokenize", model="book", tokens=[0, *ids]).json()["prompt"]
        == "<|end|>9 green bottles"
    )
    info = httpx.get(f"{server.address}/tokenizer_info", params={"model": "book"}).json()
    assert post(server, "/tokenize", model="book", prompt=info["eos_token"]).json()["tokens"] == [0, 0]
    assert "name one in model" in post(server, "/tokenize", prompt="x").json()["error"]["message"]


# ---- sound and video


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    register(Sound)
    register(Video)
    folder = save_media(tmp_path_factory.mktemp("media"))
    with live(ServerSettings(folder, state=tmp_path_factory.mktemp("media_state"), threads=1)) as running:
        yield running
    for kind in (Sound.kind, Video.kind):
        del KINDS[kind]


def test_speech_and_transcripts(media: LiveServer) -> None:
    client = client_of(media)
    sound = client.audio.speech.create(
        model="speaker", input="ring", voice="2", extra_body={"seed": 4, **FAST}
    )
    assert len(sound.content) == 4 and sound.response.headers["content-type"] == "audio/wav"
    assert sound.response.headers["x-likewise-seed"] == "4"
    other = client.audio.speech.create(
        model="speaker", input="ring", voice="alloy", extra_body={"seed": 4, **FAST}
    )
    assert "no voice 'alloy'" in other.response.headers["x-likewise-warnings"]
    text = client.audio.transcriptions.create(model="listener", file=("a.wav", sound.content))
    assert isinstance(text.text, str)
    plain = client.audio.translations.create(
        model="listener", file=("a.wav", sound.content), response_format="text"
    )
    assert isinstance(plain, str)
    with pytest.raises(openai.BadRequestError, match="makes wav"):
        client.audio.speech.create(model="speaker", input="ring", voice="2", response_format="mp3")
    with pytest.raises(openai.BadRequestError, match="four bytes") as error:
        client.audio.transcriptions.create(model="listener", file=("a.wav", b"12345"))
    assert error.value.param == "file"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_videos(media: LiveServer) -> None:
    client = client_of(media)
    video = client.videos.create_and_poll(model="director", prompt="ring", poll_interval_ms=20)
    assert video.status == "completed" and video.progress == 100 and video.prompt == "ring"
    assert len(client.videos.download_content(video.id).content) == 4
    remixed = client.videos.remix(video.id, prompt="x")
    assert [v.id for v in client.videos.list()] == [remixed.id, video.id]
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/audio/speech", {"model": "tts-1", "input": "x", "voice": "alloy"}),
        ("POST", "/v1/audio/transcriptions", {"model": "whisper-1"}),
        ("POST", "/v1/audio/translations", {"model": "whisper-1"}),
        ("POST", "/v1/audio/voices", {}),
        ("POST", "/v1/audio/voice_consents", {}),
        ("POST", "/v1/videos", {"prompt": "x"}),
        ("POST", "/v1/videos/edits", {"prompt": "x"}),
        ("POST", "/v1/videos/extensions", {"prompt": "x"}),
    ],
)
def test_without_such_a_model_there_is_none(
    server: LiveServer, method: str, path: str, body: dict[str, Any]
) -> None:
    response = httpx.request(method, server.address + path, json=body)
    error = response.json()["error"]
    assert response.status_code == 404 and error["code"] == "model_not_found" and error["param"] == "model"


def test_things_that_are_not_there(server: LiveServer) -> None:
    for path in ("/v1/videos/video_1", "/v1/videos/video_1/content", "/v1/audio/voices/a", "/v1/videos/../x"):
        response = httpx.get(server.address + path)
        assert response.status_code == 404 and response.json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(f"{server.address}/v1/videos").json()["data"] == []
    assert httpx.get(f"{server.address}/v1/audio/voices").json()["data"] == []


def test_numbers_are_finite(client: openai.OpenAI) -> None:
    """What is very unlikely has a number too, as JSON has no infinity."""
    answer = client.completions.create(
        model="book", prompt="\x00\x01é" * 4, max_tokens=0, echo=True, logprobs=1
    )
    logs = answer.choices[0].logprobs
    assert logs is not None and all(math.isfinite(p) for p in logs.token_logprobs or [])


# ---- docs/openai.md

PAGE = Path(__file__).parents[2] / "docs" / "openai.md"
BLOCK = re.compile(r"(<!-- not run:[^\n]*-->\n)?```(sh|python)\n(.*?)```", re.DOTALL)


def blocks(language: str) -> list[str]:
    """The examples in a language that are run."""
    return [code for skip, kind, code in BLOCK.findall(PAGE.read_text()) if kind == language and not skip]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_examples_in_python(server: LiveServer, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"ADDRESS": server.address}
    assert len(blocks("python")) >= 6
    for code in blocks("python"):
        exec(code, names)
    output = capsys.readouterr().out
    assert "[7, 8]" in output and "image_generation.completed" in output and '"count"' in output
    assert len(names["shown"].data[0].embedding) == 64


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl or jq is not installed")
def test_examples_with_curl(server: LiveServer, tmp_path: Path) -> None:
    for code in blocks("sh"):
        script = f"set -euo pipefail\nADDRESS={server.address}\n{code}"
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
        )
        assert done.returncode == 0 and '"error"' not in done.stdout, done.stdout + done.stderr
    assert PIL.Image.open(tmp_path / "large.png").size == (128, 128)
    assert "bos_token" in (tmp_path / "tokenizer" / "tokenizer_config.json").read_text()

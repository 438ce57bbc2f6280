"""Clients that we did not write, each against a server on loopback: pip install 'likewise[judges]', then -m full."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import LiveServer, live
from openai_runs import SCHEMA, save_runs

import likewise
from likewise.models.model import Model
from likewise.server.settings import ServerSettings

pytestmark = pytest.mark.full
TEXT = "60 green bottles hanging on the wall,\n59 green bottles hanging there, é"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live(ServerSettings(folder, state=tmp_path_factory.mktemp("state"), threads=1)) as running:
        yield running


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of the model `book` alone, as lm-eval names no model when it asks for the tokenizer."""
    one = tmp_path_factory.mktemp("one")
    shutil.copytree(folder / "book", one / "book")
    with live(ServerSettings(one, state=tmp_path_factory.mktemp("alone"), threads=1)) as running:
        yield running


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HF_HUB_OFFLINE",
        "LITELLM_LOCAL_MODEL_COST_MAP",
        "LITELLM_TELEMETRY_DISABLED",
        "DO_NOT_TRACK",
    ):
        monkeypatch.setenv(name, "True" if name.startswith("LITELLM") else "1")
    monkeypatch.setenv("OPENAI_API_KEY", "")  # lm-eval sends an empty Bearer then


def book(folder: Path) -> Model:
    model = likewise.load(folder / "book")
    assert isinstance(model, Model)
    return model


@pytest.mark.parametrize("way", ["ids", "texts", "concurrent", "folder"])
def test_lm_eval_scores_what_the_model_scores(
    alone: LiveServer, folder: Path, tmp_path: Path, way: str
) -> None:
    completions = pytest.importorskip("lm_eval.models.openai_completions")
    from lm_eval.api.instance import Instance

    options: dict[str, Any] = {
        "ids": {"tokenizer_backend": "auto"},
        "texts": {"tokenizer_backend": "remote", "tokenized_requests": False},
        "concurrent": {"tokenizer_backend": "auto", "num_concurrent": 3, "batch_size": 2},
        "folder": {"tokenizer_backend": "huggingface", "tokenizer": str(tmp_path)},
    }
    info = httpx.get(f"{alone.address}/tokenizer_info").json()
    (tmp_path / "tokenizer.json").write_text(json.dumps(info.pop("tokenizer")))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(info))
    address = f"{alone.address}/v1/completions"
    lm = completions.LocalCompletionsAPI(model="book", base_url=address, max_retries=1, **options[way])
    model, before, after = book(folder), "60 green bottles", TEXT.removeprefix("60 green bottles")
    whole, part = (float(model.log_prob([{"text": text}]).nats) for text in (TEXT, before))

    def instance(kind: str, *arguments: Any) -> Any:
        return Instance(kind, {}, arguments, 0)

    [rolling] = lm.loglikelihood_rolling([instance("loglikelihood_rolling", TEXT)])
    assert rolling == pytest.approx(whole, abs=1e-3)
    pairs = [instance("loglikelihood", before, after), instance("loglikelihood", "", TEXT)]
    (given, _), (all_of_it, _) = lm.loglikelihood(pairs)
    assert given == pytest.approx(whole - part, abs=1e-3) and all_of_it == pytest.approx(whole, abs=1e-3)
    [greedy] = model.sample([{}], prompts=["60 green"], temperature=0, tokens=6, precision="float32")
    likely = greedy["text"].removeprefix("60 green")
    if way == "ids" and "\ufffd" not in likely:
        [(_, is_greedy)] = lm.loglikelihood([instance("loglikelihood", "60 green", likely)])
        assert is_greedy
    [written] = lm.generate_until(
        [instance("generate_until", "60 green", {"until": ["\n"], "max_gen_toks": 8})]
    )
    [row] = model.sample([{}], prompts=["60 green"], temperature=0, tokens=8, stop=["\n"])
    assert written == row["text"].removeprefix("60 green").removesuffix("<|end|>")


def test_litellm(server: LiveServer) -> None:
    litellm = pytest.importorskip("litellm")
    common: dict[str, Any] = {"api_base": f"{server.address}/v1", "api_key": "x"}
    messages = [{"role": "user", "content": "9 green"}]
    chat = litellm.completion(model="openai/book", messages=messages, max_tokens=5, temperature=0, **common)
    text = litellm.text_completion(
        model="text-completion-openai/book", prompt="9 green", max_tokens=5, temperature=0, **common
    )
    assert chat.choices[0].message.content == text.choices[0].text and chat.usage.completion_tokens == 5
    chunks = litellm.completion(
        model="openai/book", messages=messages, max_tokens=5, temperature=0, stream=True, **common
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == text.choices[0].text
    embedded = litellm.embedding(model="openai/pairs", input=["ring"], **common)
    assert len(embedded.data[0]["embedding"]) == 64
    pictures = litellm.image_generation(model="openai/pictures", prompt="ring", n=2, **common)
    assert len(pictures.data) == 2 and pictures.data[0].b64_json
    with pytest.raises(litellm.BadRequestError, match="temperature must be"):
        litellm.completion(model="openai/book", messages=messages, temperature=-1, **common)
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(model="openai/gpt-5", messages=messages, **common)


def test_langchain(server: LiveServer) -> None:
    langchain = pytest.importorskip("langchain_openai")
    common: dict[str, Any] = {"base_url": f"{server.address}/v1", "api_key": "x", "max_retries": 0}
    chat = langchain.ChatOpenAI(model="book", max_tokens=5, temperature=0, **common)
    answer = chat.invoke("9 green")
    assert answer.content == langchain.OpenAI(model="book", max_tokens=5, temperature=0, **common).invoke(
        "9 green"
    )
    assert "".join(piece.content for piece in chat.stream("9 green")) == answer.content
    assert [a.content for a in chat.batch(["9 green", "9 green"])] == [answer.content] * 2
    assert asyncio.run(chat.ainvoke("9 green")).content == answer.content
    assert answer.usage_metadata["output_tokens"] == 5
    several = langchain.OpenAI(model="book", max_tokens=3, n=2, best_of=3, **common)
    made = several.generate(["9 green", "8 bottles"])
    assert [len(choices) for choices in made.generations] == [2, 2]
    assert len(list(several.stream("9 green"))) >= 1
    form = {"type": "json_schema", "json_schema": {"name": "count", "schema": SCHEMA}}
    made = chat.bind(response_format=form).invoke("how many? ")
    assert set(json.loads(made.content)) == {"animal", "count"}
    embeddings = langchain.OpenAIEmbeddings(model="pairs", check_embedding_ctx_length=False, **common)
    vectors = embeddings.embed_documents(["ring", "x"])
    assert len(vectors) == 2 and len(vectors[0]) == 64


def test_llm(server: LiveServer, tmp_path: Path) -> None:
    pytest.importorskip("llm")
    home = tmp_path / "llm"
    home.mkdir()
    entry = f"- model_id: mine\n  model_name: book\n  api_base: {server.address}/v1\n  api_key_name: none\n"
    (home / "extra-openai-models.yaml").write_text(
        entry + "- model_id: text\n  completion: true\n" + entry[17:]
    )
    for model, *extra in (("mine",), ("mine", "--no-stream"), ("text",), ("mine", "-s", "sing")):
        command = [
            sys.executable,
            "-m",
            "llm",
            "-m",
            model,
            "-o",
            "max_tokens",
            "5",
            "-o",
            "temperature",
            "0",
        ]
        done = subprocess.run(
            [*command, *extra, "--key", "x", "9 green"],
            capture_output=True,
            env={
                "LLM_USER_PATH": str(home),
                "PATH": "",
                "HOME": str(tmp_path),
                "PYTHONPATH": ":".join(sys.path),
            },
            timeout=120,
            check=False,
        )
        assert done.returncode == 0 and done.stdout.strip(), done.stderr.decode()


@pytest.mark.parametrize("model", ["answers", "book"])
@pytest.mark.parametrize("mode", ["JSON_SCHEMA", "JSON"])
def test_instructor(server: LiveServer, model: str, mode: str) -> None:
    instructor = pytest.importorskip("instructor")
    import openai
    from pydantic import BaseModel, Field

    class Count(BaseModel):
        animal: str = Field(max_length=6)
        count: int = Field(ge=0, le=99)

    if model == "book" and mode == "JSON":
        pytest.skip("its instructions are longer than the model can read")
    client = instructor.from_openai(
        openai.OpenAI(base_url=f"{server.address}/v1", api_key="x"), mode=getattr(instructor.Mode, mode)
    )
    messages = [{"role": "user", "content": "how many? "}]
    if (
        mode == "JSON"
    ):  # any JSON object is allowed, so a model that has learned none fails: it is asked, and told
        with pytest.raises(Exception, match="animal|validation"):
            client.chat.completions.create(
                model=model, response_model=Count, messages=messages, max_retries=1, seed=1
            )
        return
    made = client.chat.completions.create(model=model, response_model=Count, messages=messages, max_retries=1)
    assert isinstance(made, Count) and 0 <= made.count <= 99

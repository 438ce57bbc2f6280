"""Native requests: values in and out, seeds, schemas, errors, recall."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any

import numpy as np
import PIL.Image
import pytest
import toy
from conftest import MakeClient, events_of, server_of, wait_for
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likewise.core.provenance import png_chunks, read_png_chunks
from likewise.modalities.picture_files import write
from likewise.models.io import load
from likewise.models.model import Model
from likewise.server.server import BODIES

FAST = {"steps": 2}


def png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def picture(client: TestClient, answer: dict[str, Any], index: int = 0) -> bytes:
    """The PNG of a sample, in base64 and by its address the same."""
    value = answer["data"][index]["values"]["image"]
    data = base64.b64decode(value["b64_json"])
    fetched = client.get(value["url"])
    assert fetched.content == data and fetched.headers["content-type"] == value["media_type"] == "image/png"
    return data


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(data)))


def sample(client: TestClient, route: str = "sample", **body: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/{route}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def error(client: TestClient, route: str = "sample", status: int = 400, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/{route}", json=body)
    assert answer.status_code == status, answer.text
    details: dict[str, Any] = answer.json()["error"]
    assert set(answer.json()) == {"error"} and set(details) == {"message", "type", "param", "code"}
    return details


def test_models_and_schema(client: TestClient) -> None:
    models = {model["id"]: model for model in client.get("/v1/models").json()["data"]}
    assert set(models) == {"pictures", "joint", "words", "numbers", "deep/labels", "chain", "emoji"}
    assert all(
        set(m) == {"id", "object", "created", "owned_by"} and m["created"] > 0 for m in models.values()
    )
    schema = client.get("/v1/models/pictures").json()["likewise"]
    columns = {column["name"]: column for column in schema["columns"]}
    assert [columns[n]["input"] for n in ("text", "label", "image")] == ["text", "class", "file"]
    assert columns["label"]["classes"] == ["0", "1", "2", "3"] and columns["image"]["role"] == "target"
    assert columns["image"]["shape"] == {"height": 10, "width": 10, "channels": 1}
    steps = schema["options"]["properties"]["steps"]
    assert (steps["type"], steps["minimum"], steps["maximum"]) == ("integer", 1, 10_000) and steps[
        "description"
    ]
    assert {"negative", "init", "known", "score", "interpolate_sources"} <= set(schema["controls"])
    deep = client.get("/v1/models/deep/labels").json()
    assert deep["id"] == "deep/labels" and deep["likewise"]["formula"] == "label | text"
    chain = client.get("/v1/models/chain").json()["likewise"]
    assert chain["kind"] == "pipeline" and "label" in chain["options"]["properties"]
    words = client.get("/v1/models/words").json()["likewise"]
    assert {"prompt", "stream", "constraint"} <= set(words["controls"])


def test_schema_agrees_with_what_is_accepted(client: TestClient) -> None:
    schema = client.get("/v1/models/pictures").json()["likewise"]["options"]["properties"]
    for name, option in schema.items():
        values = option.get("enum", [])
        if isinstance(low := option.get("minimum"), int | float):
            values = [max(low, 1)]
            assert error(client, model="pictures", options={name: low - 1})["param"] == f"options.{name}"
        for value in values:
            answer = client.post(
                "/v1/sample", json={"model": "pictures", "options": {"steps": 2, name: value}}
            )
            assert answer.status_code == 200 or name in answer.json()["error"]["message"]


def test_a_sample_is_that_of_the_model(client: TestClient, runs: Any) -> None:
    body = {"model": "pictures", "given": {"text": "box", "label": 2}, "seed": 7, "n": 3, "options": FAST}
    answer = sample(client, **body)
    assert [result["seed"] for result in answer["data"]] == [7, 8, 9]
    model = load(runs / "pictures")
    for i in range(3):
        [row] = model.sample([{"text": "box", "label": "2"}], seed=7 + i, **FAST)
        assert (pixels(picture(client, answer, i)) == np.asarray(row["image"])).all()
    assert answer["formula"] == "image | text, label" and answer["object"] == "sample"


def test_a_random_seed_is_returned_and_gives_the_same(client: TestClient) -> None:
    first = sample(client, model="pictures", options=FAST)
    second = sample(client, model="pictures", options=FAST)
    seeds = [answer["data"][0]["seed"] for answer in (first, second)]
    assert seeds[0] != seeds[1] and min(seeds) >= 0
    again = sample(client, model="pictures", seed=seeds[0], options=FAST)
    assert (pixels(picture(client, again)) == pixels(picture(client, first))).all()


def test_rows_and_joint_values(client: TestClient) -> None:
    rows = [{"label": "1"}, {"number": 2.5}, {}]
    answer = sample(client, model="joint", rows=rows, n=2, seed=1, options=FAST)
    values = [result["values"] for result in answer["data"]]
    assert len(values) == 6 and all(set(v) == {"image", "number", "label"} for v in values)
    assert [v["label"] for v in values[:2]] == ["1", "1"] and [v["number"] for v in values[2:4]] == [2.5, 2.5]
    assert [result["seed"] for result in answer["data"]] == [1, 2, 1, 2, 1, 2]
    assert all(isinstance(v["number"], float) for v in values)


def test_media_in_every_form(client: TestClient) -> None:
    data = png(toy.rows(1)[0]["image"])
    made = sample(client, model="pictures", seed=3, options=FAST)
    uploaded = server_of(client).store.add_file("file-abc", data, "image/png", "vision")
    url = made["data"][0]["values"]["image"]["url"]
    base = {"model": "joint", "seed": 0, "options": FAST}
    forms = [
        data_url(data),
        {"b64_json": base64.b64encode(data).decode()},
        {"file_id": uploaded.id},
        {"url": url},
    ]
    answers = [sample(client, **base, given={"image": form}) for form in forms]
    payload = {**base, "given": {"image": "mine"}}
    parts = {"payload": (None, json.dumps(payload)), "mine": ("../../x.png", data)}
    form = client.post("/v1/sample", files=parts)
    assert form.status_code == 200, form.text
    results = [answer["data"][0]["values"] for answer in [*answers, form.json()]]
    numbers = [values["number"] for values in results]
    assert numbers[0] == numbers[1] == numbers[2] == numbers[4] != numbers[3]
    assert (pixels(picture(client, answers[0])) == pixels(data)).all()  # what is known is kept
    job = client.get(f"/v1/jobs/{answers[0]['id']}").json()
    kept = job["request"]["given"]["image"]["file_id"]  # so that the request can be made again
    again = sample(client, **base, given={"image": {"file_id": kept}})
    assert again["data"][0]["values"]["number"] == numbers[0]


@pytest.mark.parametrize(
    "value",
    [
        "http://example.org/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        {"url": "/v1/jobs/job_0/results/0/image"},
        {"url": "http://example.org"},
        {"file_id": "../../etc/passwd"},
        {"path": "/etc/passwd"},
        {"b64_json": "%%%"},
        {"b64_json": base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode()},
        {"b64_json": base64.b64encode(b"\x89PNG\r\n\x1a\n broken").decode()},
        [1, 2],
        3,
        True,
    ],
)
def test_what_is_no_picture_is_refused(client: TestClient, value: Any) -> None:
    answer = client.post("/v1/sample", json={"model": "joint", "given": {"image": value}, "options": FAST})
    assert answer.status_code in (400, 404) and answer.json()["error"]["param"] == "given.image", answer.text


def test_infilled_pixels_outside_of_the_mask_are_kept(client: TestClient) -> None:
    data = png(toy.rows(1)[0]["image"])
    hole = PIL.Image.new("RGBA", (10, 10), (0, 0, 0, 255))
    hole.paste((0, 0, 0, 0), (2, 3, 6, 8))
    row = {"image": data_url(data), "label": "0", "number": 1.0}
    body = {"model": "joint", "row": row, "mask": {"image": data_url(png(hole))}, "seed": 2, "options": FAST}
    new = pixels(picture(client, sample(client, "infill", **body)))
    outside = np.ones((10, 10), dtype=bool)
    outside[3:8, 2:6] = False
    assert (new[outside] == pixels(data)[outside]).all() and (new[~outside] != pixels(data)[~outside]).any()
    redo = [[not bool(outside[y, x]) for x in range(10)] for y in range(10)]
    same = pixels(picture(client, sample(client, "infill", **{**body, "mask": {"image": redo}})))
    assert (same == new).all()
    known = {"image": {"value": data_url(data), "mask": [not v for line in redo for v in line]}}
    third = sample(
        client, model="joint", given={"label": "0", "number": 1.0}, known=known, seed=2, options=FAST
    )
    assert (pixels(picture(client, third)) == new).all()


def test_masks_that_do_not_fit_are_refused(client: TestClient) -> None:
    row = {"image": data_url(png(toy.rows(1)[0]["image"]))}
    small = data_url(png(PIL.Image.new("RGBA", (4, 4))))
    for mask in (
        {"image": [True] * 3},
        {"image": [1] * 100},
        {"image": small},
        {"label": [True]},
        {"x": [True]},
    ):
        assert error(client, "infill", model="joint", row=row, mask=mask)["param"].startswith("mask.")
    assert error(client, "infill", model="joint", row={}, mask={})["param"] == "row"


def test_a_variation_and_a_negative(client: TestClient) -> None:
    data = data_url(png(toy.rows(1)[0]["image"]))
    near, far = (
        sample(
            client, model="pictures", init={"values": {"image": data}, "strength": s}, seed=1, options=FAST
        )
        for s in (0.01, 0.9)
    )
    original = pixels(png(toy.rows(1)[0]["image"])).astype(float)
    distances = [abs(pixels(picture(client, a)).astype(float) - original).mean() for a in (near, far)]
    assert distances[0] < distances[1]
    guided = {"steps": 2, "guidance": 3.0}
    sample(client, model="pictures", negative={"text": "x"}, given={"text": "box"}, options=guided)
    assert error(client, model="pictures", negative={"image": data}, options=guided)["param"].startswith(
        "negative"
    )


def test_interpolation_and_score(client: TestClient, runs: Any) -> None:
    ends = {"first": {"text": "box"}, "last": {"text": "ring"}}
    strip = sample(client, "interpolate", model="pictures", **ends, n=3, seeds=[1, 2], options=FAST)
    rows = load(runs / "pictures").interpolate(ends["first"], ends["last"], 3, seeds=(1, 2), **FAST)
    for i, row in enumerate(rows):
        assert (pixels(picture(client, strip, i)) == np.asarray(row["image"])).all()
    scored = sample(client, "score", model="words", rows=[{"text": "box", "label": "1"}, {"text": "ring"}])
    model = load(runs / "words")
    assert isinstance(model, Model)
    nats = model.log_prob([{"text": "box", "label": "1"}, {"text": "ring"}]).nats.tolist()
    assert [result["log_prob"] for result in scored["data"]] == pytest.approx(nats, rel=1e-5)
    assert {"dims", "bits_per_dim", "kind", "index"} == set(scored["data"][0]) - {"log_prob"}
    assert error(client, "score", model="words", rows=[{"label": "1"}])["param"] == "rows.0.text"
    assert error(client, "score", model="chain", rows=[{}])["param"] == "model"


def test_an_interpolation_is_cancelled(client: TestClient) -> None:
    body = {"model": "pictures", "seeds": [1, 2], "options": {"steps": 10_000}, "background": True}
    job = client.post("/v1/interpolate", json=body).json()["id"]
    wait_for(lambda: (client.get(f"/v1/jobs/{job}").json()["progress"] or {}).get("step", 0) > 1)
    client.post(f"/v1/jobs/{job}/cancel")
    wait_for(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "cancelled")


def test_texts_stream(client: TestClient) -> None:
    body = {"model": "words", "seed": 5, "prompt": "b", "options": {"tokens": 8}}
    whole = sample(client, **body)["data"][0]["values"]["text"]
    events = events_of(client.post("/v1/sample", json={**body, "stream": True}).text)
    assert events[-1]["event"] == "done" and events[-1]["data"]["status"] == "succeeded"
    pieces = "".join(event["data"]["delta"] for event in events if event["event"] == "text")
    [result] = [event["data"] for event in events if event["event"] == "result"]
    assert result["values"]["text"] == whole and whole.startswith("b") and whole.startswith("b" + pieces)


def test_constraints(client: TestClient) -> None:
    choice = {"text": {"kind": "choice", "value": ["box", "ring"]}}
    answer = sample(client, model="words", n=4, constraint=choice)
    assert {result["values"]["text"] for result in answer["data"]} <= {"box", "ring"}
    for bad in (
        {"kind": "json", "value": "{}"},
        {"kind": "regex", "value": "("},
        {"kind": "regex", "value": ["a"]},
    ):
        assert error(client, model="words", constraint={"text": bad})["param"].startswith("constraint.text")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"modle": "pictures"}, "modle"),
        ({"n": True}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": 0}, "n"),
        ({"n": 10**9}, "n"),
        ({"seed": -2}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 2**63 - 1, "n": 2}, "seed"),
        ({"options": {"steps": True}}, "options.steps"),
        ({"options": {"steps": 0}}, "options.steps"),
        ({"options": {"guidance": False}}, "options.guidance"),
        ({"options": {"guidence": 2}}, None),
        ({"options": []}, "options"),
        ({"given": {"lable": "1"}}, "given.lable"),
        ({"given": {"label": "9"}}, "given.label"),
        ({"given": {"text": 3}}, "given.text"),
        ({"given": {"text": ["a"]}}, "given.text"),
        ({"rows": []}, "rows"),
        ({"rows": [{}], "given": {}}, "rows"),
        ({"known": {"text": "a"}}, "known.text"),
        ({"init": {"values": {}, "strength": 2}}, "init.strength"),
        ({"stop": "a"}, "stop"),
        ({"prompt": "a"}, None),
        ({"suffix": "a"}, None),
        ({"stream": 1}, "stream"),
        ({"media": "file"}, "media"),
    ],
)
def test_what_is_wrong_is_named(client: TestClient, change: dict[str, Any], param: str | None) -> None:
    details = error(client, **{"model": "pictures", **change})
    assert details["type"] == "invalid_request_error" and len(details["message"]) > 5
    if param is not None:
        assert details["param"] == param


def test_numbers_are_numbers(client: TestClient) -> None:
    for value in ("1", True, [1], 10**400):
        assert error(client, model="joint", given={"number": value})["param"] == "given.number"
    for text in ("NaN", "Infinity", "-Infinity"):
        body = f'{{"model": "joint", "given": {{"number": {text}}}}}'
        answer = client.post("/v1/sample", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_json"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'"a"',
        b"\xff",
        b'{"model": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_bodies_that_are_no_request(client: TestClient, body: bytes) -> None:
    for route in ("sample", "infill", "interpolate", "score"):
        answer = client.post(f"/v1/{route}", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400 and answer.json()["error"]["message"], answer.text


def test_other_types_of_bodies(client: TestClient) -> None:
    assert client.post("/v1/sample", content=b"{}", headers={"content-type": "text/xml"}).status_code == 415
    broken = {"content-type": "multipart/form-data; boundary=x"}
    for body in (
        b"--x\r\n",
        b"--y\r\n\r\n--y--",
        b"",
        b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--",
    ):
        answer = client.post("/v1/sample", content=body, headers=broken)
        assert answer.status_code == 400 and "error" in answer.json()
    many = {f"f{i}": b"x" for i in range(200)} | {"payload": b"{}"}
    assert client.post("/v1/sample", files=many).status_code == 400


NAMES = ("image", "number", "label", "text", "x", "mask", "value", "values", "strength", "kind", "b64_json")
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted(
    {name for cls in BODIES.values() for name in cls.model_fields}
    - {"model", "n", "background", "stream", "options"}
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(BODIES)),
    st.sampled_from(["pictures", "joint", "words", "numbers", "chain", "deep/labels"]),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3),
)
def test_no_values_make_the_server_fail(
    client: TestClient, route: str, model: str, body: dict[str, Any]
) -> None:
    options = {"steps": 1} if model in ("pictures", "joint", "numbers") and route != "score" else {}
    required = {"infill": {"row": {}}, "score": {"rows": [{}]}}.get(route, {})
    known = {name: value for name, value in body.items() if name in BODIES[route].model_fields}
    answer = client.post(f"/v1/{route}", json={"model": model, "options": options, **required, **known})
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code != 200:
        assert answer.json()["error"]["message"]


def test_errors_have_one_shape(client: TestClient) -> None:
    for method, path, status in (
        ("GET", "/nope", 404),
        ("GET", "/v1/jobs/job_0", 404),
        ("GET", "/v1/jobs/job_0/events", 404),
        ("DELETE", "/v1/jobs/job_0", 404),
        ("POST", "/v1/jobs/job_0/cancel", 404),
        ("GET", "/v1/jobs/job_0/results/0/image", 404),
        ("GET", "/v1/jobs?limit=0", 400),
        ("GET", "/v1/jobs?status=x", 400),
        ("GET", "/v1/jobs?limt=3", 400),
        ("GET", "/v1/models?x=1", 400),
        ("GET", "/v1/models/x", 404),
        ("PUT", "/v1/models", 405),
        ("GET", "/v1/sample", 405),
        ("POST", "/v1/recall", 400),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status, (path, answer.text)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert "Traceback" not in answer.text and answer.headers["x-request-id"]
    assert client.put("/v1/models").headers["allow"] == "GET"
    details = error(client, status=404, model="picturs")
    assert (details["param"], details["code"]) == ("model", "model_not_found") and "'pictures'" in details[
        "message"
    ]


def test_warnings_are_those_of_the_request(client: TestClient) -> None:
    answer = sample(client, model="pictures", given={"text": "purple elephant"}, options=FAST)
    assert any("purple" in warning for warning in answer["warnings"])
    assert not sample(client, model="pictures", given={"text": "box"}, options=FAST)["warnings"]


def test_a_picture_recalls_its_request(client: TestClient) -> None:
    made = sample(client, model="pictures", given={"text": "box"}, n=2, seed=4, options=FAST)
    data = picture(client, made, 1)
    recalled = client.post("/v1/recall", files={"image": ("any.png", data)}).json()["request"]
    assert recalled["seed"] == 5 and recalled["given"] == {"text": "box"} and recalled["n"] == 1
    assert picture(client, sample(client, **recalled)) == data  # byte for byte, settings included
    for bad in (png(PIL.Image.new("L", (2, 2))), b"x", b""):
        assert client.post("/v1/recall", files={"image": bad}).status_code == 400


def test_chunks_of_a_png_are_read_back() -> None:
    about = {"seed": 3, "text": "Äpfel 苹果 \\", "sources": {"a": 1}}
    picture = PIL.Image.new("L", (2, 2))
    chunks = read_png_chunks(write(picture, about))
    expected = {name.removeprefix("likewise:"): value for name, value in png_chunks(about).items()}
    assert chunks == {name: value for name, value in expected.items() if name != "version"}
    assert read_png_chunks(write(picture, {"a": "x" * 1000}), longest=100) == {}
    data = write(picture, about)
    assert all(isinstance(read_png_chunks(data[:n]), dict) for n in range(len(data)))


def test_aliases_and_defaults(make_client: MakeClient) -> None:
    client = make_client(aliases={"dall-e-3": "pictures"})
    assert sample(client, model="dall-e-3", options=FAST)["model"] == "pictures"


def test_models_are_put_away(make_client: MakeClient, runs: Any) -> None:
    size = sum((runs / name / "weights.safetensors").stat().st_size for name in ("pictures",))
    client = make_client(memory_mb=max(1, math.ceil(2 * size / 2**20)))
    registry = server_of(client).registry
    registry.settings.__dict__["memory_mb"] = 3 * size / 2**20  # two of them
    for name in ("pictures", "numbers", "words", "pictures"):
        sample(client, model=name)
        assert name in registry.bytes_by_model() and sum(registry.bytes_by_model().values()) <= 3 * size
    assert client.post("/v1/models/pictures/unload").json()["unloaded"]
    assert "pictures" not in registry.bytes_by_model()
    registry.settings.__dict__["keep_alive"] = 0.0
    sample(client, model="words")
    registry.unload_idle()
    assert not registry.bytes_by_model()


def test_the_documents(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    references = {
        text.split('"')[0] for text in json.dumps(document).split('"$ref": "#/components/schemas/')[1:]
    }
    assert references <= set(document["components"]["schemas"])
    assert "422" not in json.dumps(document)
    for path in ("/docs", "/pages/docs.js", "/pages/docs.css"):
        page = client.get(path)
        assert page.status_code == 200 and not toy.outside_links(page.text)
    assert "likewise_samples_total" in client.get("/metrics").text
    assert client.get("/health").json() == {"status": "ok"}

"""What reaches the server and what does not: tokens, hosts, origins, sizes, paths."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from conftest import LiveServer, MakeClient, server_of
from fastapi.testclient import TestClient

from likewise.server import limits
from likewise.server.http import exchange
from likewise.server.http.logs import JSONFormatter
from likewise.server.http.security import access_log, host_name
from likewise.server.jobs.store import Store
from likewise.server.settings import ServerSettings

TOKEN = "a-token-of-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def guarded_client(make_client: MakeClient) -> TestClient:
    return make_client(token=TOKEN, cors_origins=("https://app.example",), allowed_hosts=("studio.example",))


def routes(client: TestClient) -> Iterator[tuple[str, str]]:
    """Every method and path of the application, files and mounted folders included."""
    for path, item in client.get("/openapi.json", headers=BEARER).json()["paths"].items():
        yield from ((method.upper(), path.replace("{", "").replace("}", "")) for method in item)
    yield from (
        ("GET", path) for path in ("/", "/docs", "/openapi.json", "/pages/docs.js", "/studio/", "/nope")
    )


def test_every_route_needs_the_token(guarded_client: TestClient) -> None:
    seen = list(routes(guarded_client))
    assert len(seen) > 20
    for method, path in seen:
        for headers in (
            {},
            {"authorization": "Bearer "},
            {"authorization": "Bearer wrong"},
            {"authorization": TOKEN},
        ):
            answer = guarded_client.request(method, path, headers=headers)
            assert answer.status_code == (200 if path == "/health" else 401), (method, path)
            if answer.status_code == 401:
                assert (
                    answer.json()["error"]["code"] == "invalid_api_key" and answer.headers["www-authenticate"]
                )
    assert guarded_client.get("/v1/models", headers=BEARER).status_code == 200
    assert guarded_client.get("/v1/models", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200


def test_an_empty_bearer_is_no_token(make_client: MakeClient) -> None:
    client = make_client()
    assert client.get("/v1/models", headers={"authorization": "Bearer "}).status_code == 200
    assert client.get("/v1/models", headers={"authorization": "Bearer anything"}).status_code == 200


def test_a_browser_signs_in(guarded_client: TestClient) -> None:
    page = guarded_client.get("/", headers={"accept": "text/html"})
    assert page.status_code == 401 and "<form" in page.text and TOKEN not in page.text
    assert guarded_client.get("/?token=wrong", headers={"accept": "text/html"}).status_code == 401
    answer = guarded_client.get(f"/?token={TOKEN}", follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    with_cookie = {"cookie": cookie.partition(";")[0]}
    guarded_client.cookies.clear()
    assert guarded_client.get("/v1/models", headers=with_cookie).status_code == 200
    assert guarded_client.get("/v1/models", headers={"cookie": "a=b; ;;"}).status_code == 401


def test_other_hosts_are_refused(guarded_client: TestClient) -> None:
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "", "testserver"):
        answer = guarded_client.get("/health", headers={"host": host})
        assert answer.status_code == 403 and answer.json()["error"]["code"] == "unknown_host", host
    for host in (
        "localhost:8000",
        "127.0.0.1:99",
        "[::1]:8000",
        "192.168.1.5",
        "studio.example",
        "LOCALHOST",
    ):
        assert guarded_client.get("/health", headers={"host": host}).status_code == 200, host
    assert host_name("[::1]") == "::1"


def test_pages_of_other_origins_are_refused(guarded_client: TestClient) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "http://localhost:1",
        "https://localhost",
        "https://app.example.evil",
    ):
        for method in ("GET", "POST", "OPTIONS"):
            answer = guarded_client.request(method, "/v1/models", headers={**BEARER, "origin": origin})
            assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers, origin
    own = guarded_client.get("/v1/models", headers={**BEARER, "origin": "http://localhost"})
    assert own.status_code == 200 and "access-control-allow-origin" not in own.headers
    other = guarded_client.get("/v1/models", headers={**BEARER, "origin": "https://app.example"})
    assert other.headers["access-control-allow-origin"] == "https://app.example"
    asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
    preflight = guarded_client.options("/v1/sample", headers=asked)
    assert (
        preflight.status_code == 204
        and preflight.headers["access-control-allow-origin"] == "https://app.example"
    )
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "*" not in json.dumps(dict(preflight.headers))


def test_headers_of_every_answer(guarded_client: TestClient) -> None:
    ids = set()
    for path in ("/health", "/v1/models", "/nope", "/docs"):
        answer = guarded_client.get(path, headers=BEARER)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        ids.add(answer.headers["x-request-id"])
    assert len(ids) == 4


# ---- sizes


def test_bodies_that_are_too_large(guarded_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_JSON_BYTES", 1000)
    monkeypatch.setattr(exchange, "MAX_MULTIPART_BYTES", 2000)
    json_type = {**BEARER, "content-type": "application/json"}
    answer = guarded_client.post("/v1/sample", content=b" " * 1001, headers=json_type)
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "request_too_large"

    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    answer = guarded_client.post("/v1/sample", content=chunks(), headers=json_type)
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "request_too_large"
    answer = guarded_client.post("/v1/sample", files={"payload": b"{}", "a": b"x" * 2000}, headers=BEARER)
    assert answer.status_code == 413
    assert guarded_client.post("/v1/sample", content=b" " * 900, headers=json_type).status_code == 400


def test_a_body_without_an_end_is_cut_off_while_it_comes(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_JSON_BYTES", 100_000)
    monkeypatch.setattr(exchange, "BODY_TIMEOUT", 0.3)
    host, port = live_server.address.removeprefix("http://").split(":")
    head = f"POST /v1/sample HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode())
        sent = 0
        try:
            while sent < 10_000_000:
                connection.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n")
                sent += 10_000
        except OSError:
            pass
        else:
            assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + b"1\r\n \r\n")
        start = time.monotonic()
        assert connection.recv(1000).startswith(b"HTTP/1.1 408") and time.monotonic() - start < 8


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (5000, 5000), (1, 2**30)])
def test_pictures_that_would_fill_the_memory(
    client: TestClient, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PIL.Image.Image, "load", lambda *args, **options: pytest.fail("it was decoded"))
    parts = {"payload": (None, json.dumps({"model": "joint", "given": {"image": "a"}})), "a": bomb(*size)}
    answer = client.post("/v1/sample", files=parts)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "given.image", answer.text
    assert "pixels" in answer.json()["error"]["message"] or "large" in answer.json()["error"]["message"]


def test_texts_in_a_png_are_not_expanded(client: TestClient) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    huge = chunk(b"zTXt", b"likewise:request\0\0" + zlib.compress(b"x" * 50_000_000))
    file = io.BytesIO()
    PIL.Image.new("L", (10, 10)).save(file, "PNG")
    data = file.getvalue()
    data = data[:33] + huge + data[33:]
    parts = {
        "payload": (None, json.dumps({"model": "joint", "given": {"image": "a"}, "options": {"steps": 1}})),
        "a": data,
    }
    assert client.post("/v1/sample", files=parts).status_code == 200
    assert client.post("/v1/recall", files={"image": data}).status_code == 400


@pytest.mark.parametrize(
    "body", [{"stop": ["a"] * 17}, {"rows": [{}] * 1025}, {"n": 257}, {"text": "a" * 1_000_001}]
)
def test_counts_and_lengths(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/v1/sample", json={"model": "words", **body}).status_code == 400
    assert limits.MAX_STOPS == 16 and limits.MAX_ROWS == 1024 and limits.MAX_N == 256


def test_no_path_of_a_client_touches_the_disk(guarded_client: TestClient, runs: Path) -> None:
    secret = runs / "secret.txt"
    secret.write_text("hidden")
    for path in (
        "/pages/../../settings.py",
        "/pages/%2e%2e/settings.py",
        "/pages/..%2fsettings.py",
        "/v1/models/..%2f..%2fsecret.txt",
        f"/v1/models/{runs}/pictures",
        "/v1/jobs/..%2f/results/0/image",
        "/studio/..%2f..%2fsettings.py",
    ):
        answer = guarded_client.get(path, headers=BEARER)
        assert answer.status_code in (404, 405), path
        assert "hidden" not in answer.text and str(runs) not in answer.text.replace(path, "")
    state = server_of(guarded_client).store.folder
    assert {path.name for path in state.iterdir()} <= {
        "server.sqlite",
        "server.sqlite-wal",
        "server.sqlite-shm",
        "lock",
        "blobs",
    }


# ---- settings and logs


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"host": "0.0.0.0"}, "--token"),
        ({"host": "0.0.0.0", "token": "short"}, "8"),
        ({"cors_origins": ("*",)}, "origin"),
        ({"cors_origins": ("https://*.example",)}, "origin"),
        ({"cors_origins": ("https://a.example/path",)}, "origin"),
        ({"port": 70_000}, "port"),
        ({"queue_size": 0}, "queue_size"),
        ({"token": "mit Umläuten"}, "ASCII"),
        ({"folder": Path("nowhere")}, "folder"),
    ],
)
def test_settings_are_checked(runs: Path, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ServerSettings(**{"folder": runs, **options})


def test_two_servers_do_not_share_a_state(client: TestClient, runs: Path) -> None:
    state = server_of(client).store.folder
    with pytest.raises(ValueError, match="another server"):
        Store(state)


def test_logs_are_json_and_hold_no_secret(
    guarded_client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    access_log.propagate = True
    with caplog.at_level("INFO", access_log.name):
        guarded_client.get(f"/?token={TOKEN}", follow_redirects=False)
        answer = guarded_client.get("/v1/models", headers=BEARER)
    lines = [
        json.loads(JSONFormatter().format(record))
        for record in caplog.records
        if record.name == access_log.name
    ]
    assert lines[-1]["status"] == 200 and lines[-1]["path"] == "/v1/models" and lines[-1]["ms"] >= 0
    assert lines[-1]["request_id"] == answer.headers["x-request-id"]
    assert TOKEN not in json.dumps(lines)


def test_a_fault_of_the_server_is_told_without_its_trace(
    guarded_client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(server_of(guarded_client).registry, "entries", fail)
    with caplog.at_level("ERROR", access_log.name):
        answer = guarded_client.get("/v1/models", headers=BEARER)
    assert answer.status_code == 500 and "secret" not in answer.text and "Traceback" not in answer.text
    assert answer.json()["error"]["type"] == "server_error"
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]

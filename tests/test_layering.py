"""The architecture: packages import one way, modules in no circle, families and modalities do not know each other."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import likewise
from likewise.families import FAMILIES
from likewise.modalities import KINDS

ROOT = Path(likewise.__file__).parent
PACKAGES = [  # a package imports from itself and from those before it
    "core",
    "modalities",
    "nets",
    "generation",
    "data",
    "families",
    "viz",
    "models",
    "training",
    "forecasting",
    "interop",
    "evaluation",
    "server",
    "cli",
]
STRANGERS = [
    ("data", "generation"),
    ("data", "nets.transformer"),
    ("families", "data"),
    ("families", "modalities"),
]
TOP = {
    "_lazy": 0,
    "_version": 0,
    "testing": len(PACKAGES),
    "__main__": len(PACKAGES),
}  # modules beside the packages
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text())


def imports(node: ast.AST) -> Iterator[str]:
    """What is imported anywhere below a node: in functions and for type checkers too."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert found.level == 0 and found.module, "write imports in full"
            for alias in found.names:
                whole = f"{found.module}.{alias.name}"
                yield whole if whole.removeprefix("likewise.") in FILES else found.module


def own_imports(name: str) -> set[str]:
    """The modules of likewise that a module imports; the bare package, for its version, is nobody's layer."""
    return {n.removeprefix("likewise.") for n in imports(tree(name)) if n.startswith("likewise.")}


def package(name: str) -> str:
    return name.partition(".")[0]


def rank(name: str) -> int:
    return TOP[name] if name in TOP else PACKAGES.index(package(name))


def within(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def test_every_module_is_in_a_package() -> None:
    assert {package(name) for name in FILES} == {*PACKAGES, *TOP}


def test_packages_import_one_way() -> None:
    wrong = [f"{name} imports {n}" for name in FILES for n in own_imports(name) if rank(n) > rank(name)]
    assert not wrong, "\n".join(wrong)


def test_packages_that_do_not_know_each_other() -> None:
    wrong = [
        f"{name} imports {n}"
        for name in FILES
        for n in own_imports(name)
        for place, stranger in STRANGERS
        if within(name, place) and within(n, stranger)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_family_imports_another() -> None:
    registry = {"families", "families.base", "families.registry"}
    for name in FILES.keys() - registry:
        if within(name, "families"):
            others = {n for n in own_imports(name) if within(n, "families")}
            assert others <= {"families.base"}, f"{name} imports {others}"


def test_core_and_modalities_know_no_network() -> None:
    for name in FILES:
        if package(name) in ("core", "modalities"):
            networks = {n for n in imports(tree(name)) if n == "torch.nn" and package(name) == "modalities"}
            assert not networks, f"{name} imports {networks}"


def test_families_are_files_of_the_folder() -> None:
    files = {name.removeprefix("families.") for name in FILES if name.startswith("families.")}
    assert set(FAMILIES) == files - {"base", "capabilities", "registry"}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: own_imports(name) - {name} for name in FILES}
    while graph:
        free = {name for name, others in graph.items() if not others & graph.keys()}
        assert free, f"these import each other in a circle: {sorted(graph)}"
        graph = {name: others for name, others in graph.items() if name not in free}


def test_every_package_says_what_lives_there_and_what_is_public() -> None:
    for name, path in FILES.items():
        if path.name == "__init__.py":
            doc = ast.get_docstring(tree(name)) or ""
            assert doc and len(doc.splitlines()) <= 7, f"{name}: a docstring of at most seven lines"
            own = f"likewise.{name}"
            code = [n for n in tree(name).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
            assert not code, f"{own} defines {code[0].name}: put it into a module"


def test_nothing_is_unpickled_evaluated_or_seeded() -> None:
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    calls = {"eval", "exec", "compile", "torch.load", "torch.save", "np.load", "numpy.load", "pd.read_pickle"}
    seeds = {"torch.manual_seed", "torch.seed", "torch.cuda.manual_seed_all", "np.random.seed"}
    seeds |= {"random.seed", "torch.set_rng_state"}
    for name in FILES:
        found = {n.partition(".")[0] for n in imports(tree(name))} & banned
        assert not found, f"{name} imports {found}"
        forked = {
            id(inner)
            for node in ast.walk(tree(name))
            if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in calls, f"{name}:{node.lineno} calls {called}"
                assert called not in seeds or id(node) in forked, f"{name}:{node.lineno} seeds globally"


def test_no_kind_of_column_is_compared_by_name_outside_of_modalities() -> None:
    wrong = []
    for name in FILES:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Compare) and package(name) != "modalities":
                constants = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
                if constants & KINDS.keys() and "kind" in ast.unparse(node):
                    wrong.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "ask an attribute of the modality instead:\n" + "\n".join(wrong)


def test_messages_write_options_as_their_reader_does() -> None:
    """What a training, an evaluation or a request may say names options by `option_text`, not as flags."""
    flags = []
    for name in FILES:
        if name.partition(".")[0] not in PACKAGES[: PACKAGES.index("interop")] or ".download" in name:
            continue
        docstrings = {id(node.value) for node in ast.walk(tree(name)) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree(name)):
            if (
                not isinstance(node, ast.Constant)
                or not isinstance(node.value, str)
                or id(node) in docstrings
            ):
                continue
            if re.search(r"(?<![\w-])--[a-z]", node.value) and "likewise train" not in node.value:
                flags.append(f"{name}:{node.lineno}: {node.value}")
    assert [flag for flag in flags if not flag.startswith("core.option_names:")] == []


def test_no_function_has_more_than_ten_parameters() -> None:
    wrong = []
    for name in FILES:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.FunctionDef):
                a = node.args
                names = [
                    p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs) if p.arg not in ("self", "cls")
                ]
                if len(names) > 10:
                    wrong.append(f"{name}:{node.lineno}: {node.name} has {len(names)}")
    assert not wrong, "\n".join(wrong)


def test_nothing_runs_at_import() -> None:
    for name in FILES.keys() - {"__main__"}:
        for node in tree(name).body:
            runs = isinstance(node, ast.For | ast.While | ast.With)
            runs |= isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            assert not runs, f"{name}:{node.lineno} runs at import"


def test_names_of_lazy_packages_are_those_that_type_checkers_see() -> None:
    for name, path in {"": ROOT / "__init__.py", "core": FILES["core"]}.items():
        body = ast.parse(path.read_text())
        [block] = [n for n in body.body if isinstance(n, ast.If)]
        seen = {a.name: n.module for n in ast.walk(block) if isinstance(n, ast.ImportFrom) for a in n.names}
        [table] = [n for n in ast.walk(body) if isinstance(n, ast.Dict)]
        prefix = "likewise." + (f"{name}." if name else "")
        modules = {key: prefix + module for key, module in ast.literal_eval(table).items()}
        assert modules == seen


def test_the_package_is_imported_without_torch() -> None:
    code = (
        "import sys, likewise, likewise.core.formula, likewise.core.spec, likewise.cli.main; "
        "heavy = {'torch', 'numpy', 'datasets', 'PIL', 'sklearn'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_import_is_declared() -> None:
    """A package that only comes with another one may go with the next version of it."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines}
    found = {
        module.split(".")[0] for name in FILES for module in imports(tree(name)) if not module.startswith(".")
    } - {*sys.stdlib_module_names, "likewise"}
    assert len(declared) > 10 and {"torch", "numpy", "scipy"} <= found
    distributions = packages_distributions()
    missing = {
        name
        for name in found
        if declared.isdisjoint(d.lower().replace("_", "-") for d in distributions.get(name, [name]))
    }
    assert not missing, f"not in pyproject.toml: {sorted(missing)}"

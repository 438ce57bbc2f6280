"""The layers: a file imports only from its own layer or from those above it, families and modalities do not know each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import likewise

ROOT = Path(likewise.__file__).parent
LAYERS: list[set[str]] = [
    {"spec", "formula", "paths", "rng"},
    {
        "modalities",
        "layout",
        "leads",
        "floats",
        "gaussians",
        "em",
        "masks",
        "middle",
        "causal",
        "trunks",
        "heads",
        "stems",
        "nets",
        "denoiser",
        "samplers",
        "jumps",
        "preview",
        "machine",
        "adversaries",
        "codec",
        "likelihood",
        "priors",
        "quantise",
        "closing",
        "constraints",
        "healing",
        "product",
        "ancestral",
    },
    {
        "reading",
        "split",
        "demos",
        "survey",
        "latent",
        "frozen",
        "stream",
        "stored",
        "batches",
        "views",
        "table",
    },
    {"families"},
    {"checkpoint", "tokens", "draws", "scores", "conditional", "model", "writing", "bayes", "chain"},
    {"training", "evaluation", "memory", "testing", "export", "adopt"},
    {"pictures", "progress", "prompts", "flags", "commands", "cli", "__main__"},
]
LAYER = {name: layer for layer, names in enumerate(LAYERS) for name in names}
FILES = sorted(p for p in ROOT.rglob("*.py") if p.name != "__init__.py" or p.parent != ROOT)


def module(path: Path) -> str:
    """likewise/families/flow.py -> families.flow; a package's __init__ is the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, tree: ast.AST | None = None) -> Iterator[str]:
    """The modules that a file imports anywhere, in functions too; `from a import b` gives a.b where that is a module of ours."""
    for node in ast.walk(tree or ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            ours = node.module.split(".")[0] == "likewise"
            for alias in node.names:
                inner = ROOT.joinpath(*node.module.split(".")[1:], alias.name)
                whole = ours and (inner.is_dir() or inner.with_suffix(".py").exists())
                yield f"{node.module}.{alias.name}" if whole else node.module


def own_imports(path: Path) -> set[str]:
    """Modules of likewise that a file imports, less the leading name; the bare package (its __version__) is nobody's layer."""
    return {name.removeprefix("likewise.") for name in imports(path) if name.startswith("likewise.")}


def at_import(path: Path) -> set[str]:
    """What importing the file imports: function bodies and `if TYPE_CHECKING` left out."""
    tree = ast.parse(path.read_text())
    tree.body = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    return set(imports(path, tree))


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_only_from_layers_above(path: Path) -> None:
    name = module(path).split(".")[0]
    assert name in LAYER, f"{name} has no layer: give it one in LAYERS"
    for other in own_imports(path):
        assert LAYER[other.split(".")[0]] <= LAYER[name], (
            f"{module(path)} (layer {LAYER[name]}) imports {other}, which lies below it"
        )


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "families"], ids=module)
def test_a_family_knows_no_other_family_and_no_modality(path: Path) -> None:
    allowed = LAYERS[0] | LAYERS[1] - {"modalities"} | {"families.base"}
    assert own_imports(path) <= allowed, f"{module(path)} imports {own_imports(path) - allowed}"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "modalities"], ids=module)
def test_a_modality_knows_no_net(path: Path) -> None:
    other = {
        name for name in own_imports(path) if not name.startswith("modalities") and name not in LAYERS[0]
    }
    assert not other, f"{module(path)} imports {other}"


def test_families_are_files_of_the_folder() -> None:
    from likewise.families.registry import FAMILIES

    files = {p.stem for p in FILES if p.parent.name == "families" and p.stem not in ("base", "__init__")}
    assert set(FAMILIES) == files


def test_there_is_no_circle() -> None:
    graph = {
        module(p): {n.removeprefix("likewise.") for n in at_import(p) if n.startswith("likewise.")}
        for p in FILES
    }
    graph = {
        name: {n if n in graph else n.rpartition(".")[0] for n in others} - {name}
        for name, others in graph.items()
    }
    while graph:
        free = {name for name, others in graph.items() if not others & graph.keys()}
        assert free, f"these import each other in a circle: {sorted(graph)}"
        graph = {name: others for name, others in graph.items() if name not in free}


@pytest.mark.parametrize("path", FILES, ids=module)
def test_nothing_is_unpickled_evaluated_or_seeded(path: Path) -> None:
    tree = ast.parse(path.read_text())
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    assert not {name.split(".")[0] for name in imports(path)} & banned
    calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert not calls & {
        "eval",
        "exec",
        "compile",
        "torch.load",
        "torch.save",
        "np.load",
        "numpy.load",
        "pd.read_pickle",
    }
    seeds = {
        "torch.manual_seed",
        "torch.seed",
        "torch.cuda.manual_seed_all",
        "np.random.seed",
        "random.seed",
        "torch.set_rng_state",
    }
    forked = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in seeds:
            assert id(node) in forked, f"{module(path)}:{node.lineno} seeds the global generator"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_nothing_swallows_keywords_or_runs_at_import(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = [n for n in tree.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    assert not calls, f"{module(path)}:{calls[0].lineno} runs at import"
    loops = [n for n in tree.body if isinstance(n, ast.For | ast.While | ast.With)]
    assert not loops, f"{module(path)}:{loops[0].lineno} runs at import"


def test_the_package_is_imported_without_torch() -> None:
    code = (
        "import sys, likewise, likewise.formula, likewise.spec, likewise.cli; heavy = {'torch', 'numpy', 'datasets', 'PIL', 'sklearn'}"
        " & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

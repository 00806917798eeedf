"""The dependency direction of the design, read from the imports.

Each module has a rank; it may import only modules of a lower rank, also from inside a
function. Heavy packages have one place each.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from float_networks import conv

from snnc.frontends import nir

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"toolchain": "snnc", "targets": "snnc.targets", "models": "snnc.models"}

# Data flows from the first row to the last; a module imports from its own row (its package) or from rows above.
RANKS = [
    {"snnc.errors", "snnc.version", "snnc.layout", "snnc.quantities"},
    {"snnc.files", "snnc.ops", "snnc.processors", "snnc.jit", "snnc.costs"},
    {"snnc.network", "snnc.samples", "snnc.target", "snnc.compare"},
    {"snnc.euler", "snnc.resources", "snnc.traffic", "snnc.recordings", "snnc.families"},
    {"snnc.rules", "snnc.models", "snnc.quantization.grid"},
    {"snnc.image", "snnc.cameras"},
    {"snnc.simulator", "snnc.mapping"},
    {"snnc.tickets"},
    {"snnc.targets", "snnc.compilation", "snnc.frontends", "snnc.quantization"},
    {"snnc.placement"},
    {"snnc.passes", "snnc.dump"},
    {"snnc.crossbars"},
    {"snnc.pipeline", "snnc.report", "snnc.datasets", "snnc.verification"},
    {"snnc.cures", "snnc.grouping"},
    {"snnc.chip"},
    {"snnc"},
    {"snnc.workflow"},
    {"snnc.runs"},
    {"snnc.demo", "snnc.console", "snnc.clockwork"},
    {"snnc.cli"},
    {"snnc.__main__"},
]
# Third-party packages that only these modules may import.
PLACES = {
    "torch": {"snnc.frontends", "snnc.tickets", "snnc.models"},
    "snntorch": {"snnc.frontends", "snnc.tickets", "snnc.models"},
    "tonic": {"snnc.models.data"},
    "PIL": {"snnc.models.data.cifar10"},
    "lava": {"snnc.targets.lava.worker"},
    "numba": {"snnc.jit", "snnc.simulator.instructions"},
    "mtkahypar": {"snnc.mapping.hypergraph"},
    "nir": {"snnc.frontends"},
    "h5py": {"snnc.frontends", "snnc.targets.lava", "snnc.simulator.trace_file", "snnc.models.data.shd"},
    "cyclopts": {"snnc.cli"},
    "rich": {"snnc.console"},
}


def modules() -> list[tuple[str, Path]]:
    found = []
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found.append((name, path))
    return found


def imports(path: Path) -> list[str]:
    """The module of each import, `from a import b` as a.b; those for type checking are left out."""
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend(a.name for a in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.extend(f"{node.module}.{a.name}" for a in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def part(module: str) -> str:
    """The ranked part that a dotted name belongs to: the longest prefix in RANKS."""
    known = set().union(*RANKS)
    while module and module not in known:
        module = module.rpartition(".")[0]
    return module


def rank(name: str) -> int:
    return next(k for k, row in enumerate(RANKS) if name in row)


@pytest.mark.parametrize(("name", "path"), modules(), ids=[m[0] for m in modules()])
def test_imports_point_backwards(name: str, path: Path) -> None:
    own = part(name)
    assert own, f"{name} has no rank"
    assert own != "snnc" or name == "snnc", f"{name} has no rank"
    for target in imports(path):
        if target.partition(".")[0] != "snnc":
            continue
        other = part(target)
        if other == own:
            continue
        assert rank(other) < rank(own), f"{name} imports {target}, which comes after it"


@pytest.mark.parametrize(("name", "path"), modules(), ids=[m[0] for m in modules()])
def test_heavy_packages_stay_in_their_places(name: str, path: Path) -> None:
    for target in imports(path):
        allowed = PLACES.get(target.partition(".")[0])
        assert allowed is None or any(name == p or name.startswith(f"{p}.") for p in allowed), f"{name}: {target}"


def test_folder_names_are_never_imported() -> None:
    for path in [p for f in (*FOLDERS, "tests") for p in (ROOT / f).rglob("*.py")]:
        for target in imports(path):
            assert target.partition(".")[0] not in FOLDERS, f"{path}: {target}"


def test_no_chip_is_named_in_the_toolchain() -> None:
    """Chips are data; a default on the command line and in the API is all that may be said."""
    names = [p.stem for p in (ROOT / "targets").glob("*.toml")]
    allowed = {ROOT / "toolchain/cli/verbs.py", ROOT / "toolchain/cli/training.py", ROOT / "toolchain/__init__.py"}
    for path in sorted((ROOT / "toolchain").rglob("*.py")):
        strings = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
        assert path in allowed or not strings & set(names), path


@pytest.mark.parametrize("statement", ["import snnc", "import snnc.cli", "import snnc.target, snnc.image"])
def test_a_light_start(statement: str) -> None:
    """Neither the API nor the command line imports torch, numba or scikit-learn before they are needed."""
    heavy = ("torch", "snntorch", "numba", "sklearn", "tonic", "PIL")
    code = f"{statement}; import sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_check_answers_before_anything_slow_is_imported(tmp_path: Path) -> None:
    """Rules on operations are to be answered in under a second; these packages alone take most of that."""
    nir.write(conv(), tmp_path / "conv.nir")
    heavy = (
        "torch",
        "snntorch",
        "numba",
        "mtkahypar",
        "sklearn",
        "scipy.optimize",
        "scipy.linalg",
        "scipy.sparse.csgraph",
    )
    code = (
        f"import sys; from snnc import cli; code = cli.run(['check', {str(tmp_path / 'conv.nir')!r}, '-q']); "
        f"print(code, [m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"

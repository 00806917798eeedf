"""The wheel installs into an empty environment and works there, without the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=clean | environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A copy, because setuptools leaves a build folder in the tree, whose old files would come along.
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", out, ".", cwd=source)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_chip_and_no_generic_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {n.partition("/")[0] for n in names} <= {"snnc", *(n.partition("/")[0] for n in names if ".dist-info" in n)}
    for folder, package in (("toolchain", "snnc"), ("targets", "snnc/targets"), ("models", "snnc/models")):
        for path in [p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".toml", ".txt")]:
            assert f"{package}/{path.relative_to(ROOT / folder).as_posix()}" in names


def test_it_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python, snnc = tmp_path / "venv/bin/python", tmp_path / "venv/bin/snnc"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    assert "loihi2" in run(snnc, "targets", cwd=tmp_path)
    code = (
        "import pkgutil, importlib, snnc\n"
        "for m in pkgutil.walk_packages(snnc.__path__, 'snnc.'):\n"
        "    if not m.name.startswith(('snnc.targets.lava.worker', 'snnc.__main__')): importlib.import_module(m.name)\n"
        "print(snnc.__file__)"
    )
    assert str(tmp_path) in run(python, "-c", code, cwd=tmp_path)
    model, out = tmp_path / "model.pt", tmp_path / "out"
    run(snnc, "train", "mlp", "--epochs", "1", "-o", model, cwd=tmp_path)
    run(snnc, "compile", model, "-o", out, cwd=tmp_path)
    assert {p.name for p in out.iterdir()} == {"image.snnc", "report.json", "layers.csv", "cores.csv"}

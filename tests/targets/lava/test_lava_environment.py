"""Lava's private environment: found, built once, rebuilt when broken, refused with a cure."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from snnc.errors import UsageError
from snnc.targets.lava import environment, remove, setup, status
from snnc.targets.lava.environment import REQUIREMENTS, Status, require

# Stands in for a base interpreter: `-m venv` makes an environment whose python only logs what it
# is asked, and knows the versions of the packages that pip was asked for.
BASE = """#!/bin/sh
echo "base $*" >> {log}
[ "$2" = venv ] || exit 1
mkdir -p "$3/bin" "$3/lib/python3.11/site-packages/tests" "$3/lib/python3.11/site-packages/lava"
touch "$3/pyvenv.cfg"
cp {child} "$3/bin/python"
"""
CHILD = """#!/bin/sh
echo "python $*" >> {log}
case "$*" in
    *"pip install"*) [ ! -e {broken} ] || {{ echo "ERROR: No matching distribution found" >&2; exit 1; }} ;;
    *metadata*) echo '{{"python": "3.11.0", "numpy": "2.3.5"}}' ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for the environment; no interpreter is named."""
    monkeypatch.delenv("SNNC_LAVA_PYTHON", raising=False)
    monkeypatch.setenv("SNNC_LAVA_DIR", str(tmp_path / "lava"))
    return tmp_path / "lava"


@pytest.fixture
def log(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stand-ins for Python and pip were asked; pip fails while ``tmp_path/broken`` exists."""
    log = tmp_path / "log"
    log.touch()
    for name, text in (("base", BASE), ("child", CHILD)):
        (tmp_path / name).write_text(text.format(log=log, child=tmp_path / "child", broken=tmp_path / "broken"))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(environment, "_base_python", lambda: str(tmp_path / "base"))
    return log


def test_setup_builds_what_the_recipe_says(log: Path, folder: Path) -> None:
    stages: list[str] = []
    assert setup(stages.append) == folder / "bin" / "python"
    asked = log.read_text().splitlines()
    assert asked[0] == f"base -m venv {folder}"
    assert asked[1].endswith("targets/lava/requirements.txt")
    assert "--no-deps" not in asked[1]
    assert "--ignore-requires-python --no-deps" in asked[2]
    assert all("--require-hashes" in line for line in asked[1:3])
    assert asked[2].endswith("targets/lava/requirements-lava.txt")
    assert any("lava-nc==0.10.0, lava-dl==0.6.0" in stage for stage in stages)
    packages = folder / "lib" / "python3.11" / "site-packages"
    assert [p.name for p in packages.iterdir()] == ["lava"]  # without the `tests` of the wheels
    assert require() == folder / "bin" / "python"


def test_a_second_setup_does_nothing(log: Path) -> None:
    first = setup()
    before = log.read_text()
    assert setup() == first
    assert log.read_text() == before


def test_two_setups_at_once_build_once(log: Path, folder: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(setup())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [folder / "bin" / "python"] * 4
    assert log.read_text().count("-m venv") == 1


def test_a_setup_waits_for_another_process(log: Path, folder: Path) -> None:
    with (folder.parent / ".lava.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        stages: list[str] = []
        waiting = threading.Event()

        def tell(stage: str) -> None:
            stages.append(stage)
            waiting.set()

        thread = threading.Thread(target=setup, args=(tell,))
        thread.start()
        assert waiting.wait(30)
        assert stages == ["waiting for another setup to finish"]
        assert "venv" not in log.read_text()
        fcntl.flock(file, fcntl.LOCK_UN)
        thread.join(30)
    assert require().exists()


def test_a_failed_build_is_started_over(log: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(UsageError, match="pip cannot install Lava: No matching distribution found") as caught:
        setup()
    assert "snnc lava setup" in caught.value.fix
    assert folder.exists()
    assert not status().complete
    (tmp_path / "broken").unlink()
    (folder / "leftover").touch()
    assert setup().exists()
    assert not (folder / "leftover").exists()


def test_new_pins_build_anew(log: Path, folder: Path) -> None:
    setup()
    stamp = folder / "snnc-lava.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"requirements": "of another version"}))
    assert not status().complete
    setup()
    assert log.read_text().count("-m venv") == 2


def test_a_vanished_base_python_is_noticed(log: Path, folder: Path) -> None:
    python = setup()
    python.unlink()
    python.symlink_to("/no/such/python")
    assert environment.python() is None


def test_status(log: Path, folder: Path) -> None:
    assert status() == Status(folder, "SNNC_LAVA_DIR", None, complete=False, versions={})
    setup()
    assert status().complete
    assert status().versions["numpy"] == "2.3.5"


def test_remove(log: Path, folder: Path) -> None:
    assert not remove()
    setup()
    assert remove()
    assert not folder.exists()
    assert environment.python() is None


@pytest.mark.parametrize("act", [setup, remove])
def test_a_folder_of_other_things_is_left_alone(act: object, log: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").touch()
    with pytest.raises(UsageError, match="neither empty nor an environment"):
        act()  # type: ignore[operator]
    assert [p.name for p in folder.iterdir()] == ["thesis.tex"]


def test_a_run_without_lava_names_the_cure(folder: Path) -> None:
    assert environment.python() is None
    with pytest.raises(UsageError, match="not set up") as caught:
        require()
    assert "snnc lava setup" in caught.value.fix


def test_an_interpreter_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNC_LAVA_PYTHON", sys.executable)
    assert environment.python() == Path(sys.executable)
    assert setup() == Path(sys.executable)


@pytest.mark.parametrize("name", ["/no/such/python", "/"])
def test_a_named_interpreter_must_be_a_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNC_LAVA_PYTHON", name)
    with pytest.raises(UsageError, match="not a program") as caught:
        environment.python()
    assert caught.value.where == f"SNNC_LAVA_PYTHON={name}"


def test_the_default_place_is_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNNC_LAVA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert environment.folder() == tmp_path / "snnc" / "lava"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert environment.folder() == tmp_path / ".local" / "share" / "snnc" / "lava"


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 14, 0)])
def test_an_unsupported_python_looks_for_another(
    version: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"Python 3\.11 to 3\.13; this is 3\.1[04]"):
        environment._base_python()
    for minor in (11, 13):
        (tmp_path / f"python3.{minor}").write_text("#!/bin/sh\n")
        (tmp_path / f"python3.{minor}").chmod(0o755)
    assert environment._base_python() == str(tmp_path / "python3.13")


def test_an_unreachable_registry_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real venv and the real pip, against a port on which nothing listens."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")  # pip names the connection only when it tries again
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match=r"no connection to the package registry \(No matching distribution") as caught:
        setup()
    assert "pip's configuration" in caught.value.fix
    assert any("refused" in note for note in caught.value.__notes__)
    assert environment.python() is None


def test_the_bridge_imports_nothing_heavy() -> None:
    program = "import sys, snnc.targets.lava; print(sorted({'lava', 'torch', 'numba', 'venv'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_requirement_is_pinned_and_hashed() -> None:
    folder = Path(environment.__file__).parent
    text = "".join((folder / name).read_text() for name in REQUIREMENTS)
    entries = re.split(r"^(?=[\w-]+==)", re.sub(r"^#.*\n", "", text, flags=re.M), flags=re.M)[1:]
    assert len(entries) == 7
    for entry in entries:
        pin, *hashes = entry.replace("\\\n", "").split()
        assert re.fullmatch(r"[\w-]+==[\d.]+", pin)
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), pin


def test_what_lavas_python_runs_is_of_its_version() -> None:
    """An interpreter of the user's may be of Python 3.10, for which Lava was released."""
    for path in (Path(environment.__file__).parent / "worker").glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 10))

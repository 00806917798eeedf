"""The private Python environment in which Lava lives.

No dependency of snnc can name Lava: its last releases declare Python 3.10 only, and lava-dl drags
in torch and CUDA that running a network does not need. So :func:`setup` builds an environment
of pinned versions once, and Lava is run from there.

Where: ``SNNC_LAVA_PYTHON`` names a ready interpreter and wins; else ``SNNC_LAVA_DIR`` names the
folder of the environment; else it is ``snnc/lava`` in the user's data folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snnc.errors import UsageError

Progress = Callable[[str], None]

SUPPORTED = ((3, 11), (3, 13))
"""First and last Python on which the pinned versions were tried."""

REQUIREMENTS = ("requirements.txt", "requirements-lava.txt")
CURE = "run `snnc lava setup`"
_STAMP = "snnc-lava.json"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Status:
    """What :func:`status` tells.

    folder: of the environment, None where SNNC_LAVA_PYTHON names an interpreter. source: what
    decided that. python: the interpreter, None where there is none. complete: whether a run
    can start. versions: of Python and each pinned package, empty where not complete.
    """

    folder: Path | None
    source: str
    python: Path | None
    complete: bool
    versions: dict[str, str]


def folder() -> Path:
    """Where the environment is, or would be built."""
    if named := os.environ.get("SNNC_LAVA_DIR"):
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "snnc" / "lava"


def python() -> Path | None:
    """The interpreter that has Lava, or None where none is set up."""
    if named := os.environ.get("SNNC_LAVA_PYTHON"):
        path = Path(named).expanduser().absolute()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise UsageError(
                "this is not a program", where=f"SNNC_LAVA_PYTHON={named}", fix="name the interpreter that has Lava"
            )
        return path
    return _interpreter(folder()) if _complete(folder()) else None


def require() -> Path:
    """The interpreter that has Lava; UsageError with the cure where there is none."""
    found = python()
    if found is None:
        raise UsageError("Lava is not set up", where=str(folder()), fix=CURE)
    return found


def setup(progress: Progress | None = None) -> Path:
    """Build the environment unless it is complete, and return its interpreter.

    Downloads about 150 MB from the package registry pip is configured for. A second call returns
    at once; of two calls at the same time one builds and the other waits. An interrupted build is
    started over. progress: told each stage in words. Raises UsageError where no supported Python
    is found, the folder cannot be written or pip fails.
    """
    say = progress or (lambda stage: None)
    if os.environ.get("SNNC_LAVA_PYTHON"):
        return require()
    target = folder()
    if _complete(target):
        return _interpreter(target)
    with _lock(target, say):
        if not _complete(target):  # another process may have built it meanwhile
            _build(target, say)
    return _interpreter(target)


def status() -> Status:
    """Where the environment is, whether it is complete, and the versions in it."""
    named = os.environ.get("SNNC_LAVA_PYTHON")
    source = next((name for name in ("SNNC_LAVA_PYTHON", "SNNC_LAVA_DIR") if os.environ.get(name)), "default")
    found = python()
    return Status(
        folder=None if named else folder(),
        source=source,
        python=found,
        complete=found is not None,
        versions=_versions(found) if found else {},
    )


def remove() -> bool:
    """Delete the environment; False where there was none.

    UsageError where the folder holds something else than an environment of :func:`setup`.
    """
    target = folder()
    if not target.exists():
        return False
    with _lock(target, lambda stage: None):
        _clear(target)
    return True


def _interpreter(target: Path) -> Path:
    return target / "bin" / "python"


def _fingerprint() -> str:
    text = b"".join((_HERE / name).read_bytes() for name in REQUIREMENTS)
    return hashlib.sha256(text).hexdigest()


def _complete(target: Path) -> bool:
    """Whether a whole build with today's pins is there and its base Python still exists."""
    try:
        stamp = json.loads((target / _STAMP).read_text())
    except (OSError, ValueError):
        return False
    return stamp.get("requirements") == _fingerprint() and _interpreter(target).exists()


def _build(target: Path, say: Progress) -> None:
    # Environments cannot be moved, so it grows in place and becomes valid with its stamp.
    base = _base_python()
    _clear(target)
    say(f"creating {target}")
    _run([base, "-m", "venv", str(target)], "Python cannot create an environment")
    pip = [str(_interpreter(target)), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    pip.append("--require-hashes")  # what the registry serves is what was tried
    for name, options in zip(REQUIREMENTS, ([], ["--ignore-requires-python", "--no-deps"]), strict=True):
        path = _HERE / name
        say(f"installing {', '.join(f'{package}=={version}' for package, version in _pins(path))}")
        _run([*pip, *options, "-r", str(path)], "pip cannot install Lava")
    # Both wheels of Lava drop their test suites, 110 MB, as a top-level package `tests`.
    for tests in target.glob("lib/python3.*/site-packages/tests"):
        shutil.rmtree(tests)
    say("checking")
    versions = _versions(_interpreter(target))
    stamp = {"requirements": _fingerprint(), "python": versions["python"]}
    (target / _STAMP).write_text(json.dumps(stamp))


def _pins(path: Path) -> list[tuple[str, str]]:
    """Packages in a file of requirements, and their versions."""
    return re.findall(r"^([\w-]+)==(\S+)", path.read_text(), re.M)


def _base_python() -> str:
    """This interpreter where Lava runs on it, else the newest one on PATH on which it does."""
    low, high = SUPPORTED
    if low <= sys.version_info[:2] <= high:
        return sys.executable
    for minor in range(high[1], low[1] - 1, -1):
        if found := shutil.which(f"python3.{minor}"):
            return found
    raise UsageError(
        f"Lava runs on Python 3.{low[1]} to 3.{high[1]}; this is {sys.version_info[0]}.{sys.version_info[1]}",
        fix=f"install python3.{high[1]}, or point SNNC_LAVA_PYTHON at an interpreter that has Lava",
    )


def _clear(target: Path) -> None:
    """Delete an environment, whole or half-built, and nothing else."""
    if not target.exists():
        return
    if any(target.iterdir()) and not (target / "pyvenv.cfg").exists():
        raise UsageError(
            "the folder is neither empty nor an environment of Lava",
            where=str(target),
            fix="name another folder in SNNC_LAVA_DIR",
        )
    # The stamp goes first: whatever interrupts the rest leaves an environment known as incomplete.
    (target / _STAMP).unlink(missing_ok=True)
    shutil.rmtree(target)


@contextlib.contextmanager
def _lock(target: Path, say: Progress) -> Iterator[None]:
    """Let one process at a time build or remove `target`; freed by the system if the process dies."""
    path = target.with_name(f".{target.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise UsageError(f"cannot write there: {error.strerror}", where=str(path.parent)) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another setup to finish")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: list[str], failure: str) -> str:
    """Standard output of `command`; UsageError with its last line where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"{failure}: {error.strerror}", where=command[0]) from None
    if done.returncode:
        printed = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        failed = UsageError(
            f"{failure}: {_reason(printed)}",
            where=" ".join(command),
            fix=f"check the network and pip's configuration (pip config list), then {CURE} again",
        )
        failed.add_note(printed)
        raise failed
    return done.stdout


def _reason(printed: str) -> str:
    """The last line of what a failed program printed; pip's last line hides a dead connection."""
    last = printed.splitlines()[-1].removeprefix("ERROR: ")
    return f"no connection to the package registry ({last})" if "connection broken by" in printed else last


def _versions(interpreter: Path) -> dict[str, str]:
    """Versions of Python and of each pinned package; UsageError where one is missing."""
    names = [package for name in REQUIREMENTS for package, _ in _pins(_HERE / name)]
    program = (
        "import json, sys, importlib.metadata as m;"
        "print(json.dumps({'python': sys.version.split()[0]} | {n: m.version(n) for n in sys.argv[1:]}))"
    )
    found: dict[str, str] = json.loads(
        _run([str(interpreter), "-Es", "-c", program, *names], f"the environment in {interpreter} is not complete")
    )
    return found

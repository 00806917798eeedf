"""Environments of the contenders that are no dependency of snnc: built on first use, below `build/contenders`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "build/contenders"
# Seconds for one of them.
LIMIT = 240

# What pip installs. Pins hold back what newer versions of a dependency broke.
REQUIREMENTS = {
    # GPL-3: run, never imported by snnc.
    "sanafe": ["sanafe==2.2.9", "numpy", "pandas"],
    # Of 2022, by way of which it needs numpy < 1.24 and pkg_resources.
    "nengo": ["nengo-loihi==1.1.0", "nengo==3.2.0", "numpy==1.23.5", "scipy<1.12", "setuptools<70"],
    "brian2": ["brian2==2.9.0", "numpy<2"],
}


class UnavailableError(Exception):
    """Why an environment cannot be had, in a word."""


def python(name: str) -> Path:
    """The interpreter of an environment of REQUIREMENTS; UnavailableError where pip cannot make it."""
    folder = FOLDER / name
    interpreter, done = folder / "bin/python", folder / "complete"
    if done.exists() and done.read_text() == repr(REQUIREMENTS[name]):
        return interpreter
    shutil.rmtree(folder, ignore_errors=True)
    _call([sys.executable, "-m", "venv", str(folder)])
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary"]
    _call([str(interpreter), *install, *REQUIREMENTS[name]])
    done.write_text(repr(REQUIREMENTS[name]))
    return interpreter


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"installing took more than {LIMIT} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise UnavailableError(f"pip cannot install it: {last}")

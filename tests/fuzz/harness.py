"""Hostile files: 2,000 of each kind, each refused with exit code 3 or read as a network with a verdict.

Never a crash, a hang, a traceback, a foreign file that is opened, or more than 1 GiB of memory. Files are read by
`snnc check` as in a process of its own (supervisor.py); some go through the command as users start it. To see one:

    python tests/fuzz/worker.py make nir . 1234    # writes 1234.nir
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from bait import furnish
from cases import COUNT, form

WORKER = Path(__file__).with_name("worker.py")
BY_COMMAND = 8  # of each kind: each takes seconds


def worker(*arguments: object) -> bytes:
    # Of everything that the worker imports, only ours must be free of deprecated calls; other tests see to that.
    command = [sys.executable, "-Wignore", str(WORKER), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@cache
def outcomes(kind: str, count: int) -> list[dict[str, Any]]:
    """What became of the first `count` cases."""
    found = [json.loads(line) for line in worker("check", kind, 0, count).splitlines()]
    assert [outcome["number"] for outcome in found] == list(range(count))
    return found


def check_all(kind: str) -> None:
    """Every file is refused or read."""
    found = outcomes(kind, COUNT)
    faulty = [f"{o['number']} {o['what']}: {o['fault']}, {o['said']}" for o in found if o["fault"]]
    assert not faulty, f"{len(faulty)} of {COUNT} files:\n" + "\n".join(faulty)
    codes = Counter(outcome["code"] for outcome in found)
    assert codes.keys() <= {0, 3, 4}
    # Damage that only ever breaks the first check would test little.
    said = {outcome["said"].partition("\n")[0] for outcome in found if outcome["code"] == 3}
    assert codes[3] < 0.95 * COUNT, codes
    assert len(said) > 100


def check_by_command(kind: str, tmp_path: Path) -> None:
    """The command itself, with its parser and the end of its process: the same exit codes, and nothing left behind."""
    numbers = range(COUNT // BY_COMMAND // 2, COUNT, COUNT // BY_COMMAND)
    worker("make", kind, tmp_path, *numbers)
    furnish(tmp_path)
    options = [word for name, value in form(kind).options.items() for word in (f"--{name}", value)]
    # Bytecode of the factory's module is Python's, not ours.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    before = sorted(tmp_path.rglob("*"))
    for number in numbers:
        path = f"{number}{form(kind).suffix}"
        command = [sys.executable, "-m", "snnc", "check", path, "--target", "loihi2", *options]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == outcomes(kind, COUNT)[number]["code"], (number, done.stderr)
        assert "Traceback" not in done.stderr
        assert sorted(tmp_path.rglob("*")) == before

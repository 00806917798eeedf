"""Reads hostile files, each watched, and says what became of it.

Usage:
    worker.py check KIND FIRST LAST         outcomes as lines of JSON
    worker.py make KIND FOLDER NUMBER...    the files of cases
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # samples

from bait import furnish
from cases import case, form
from misdeeds import misdeeds
from supervisor import Job, Limits, supervise

from snnc import cli, target
from snnc.cli.options import Source


def checks(kind: str) -> Job:
    """`snnc check` of the cases of a format, with its exit codes; but without the parser of command lines, which takes
    longer than the rest, and with a chip that is read once."""
    path = Path(f"case{form(kind).suffix}")

    class Parsed:
        def meta(self, arguments: list[str], **_: Any) -> None:
            cli.verbs.check(path, target="loihi2", source=Source(**form(kind).options))

    cli.app = Parsed()  # type: ignore[assignment]
    target.load = cache(target.load)  # type: ignore[assignment]

    def job(number: int) -> tuple[str, Callable[[], int]]:
        what, content = case(kind, number)
        path.write_bytes(content)
        return what, lambda: cli.run([])

    for content in form(kind).seeds().values():
        path.write_bytes(content)
        with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
            code = cli.run([])  # what this imports, no child need import
        assert code in (0, 4), (kind, code)
    return job


def check(kind: str, numbers: range) -> None:
    """Print the outcomes of cases as lines of JSON."""
    job, limits = misdeeds() if kind == "misdeeds" else (checks(kind), Limits())
    gc.collect()
    gc.freeze()
    for outcome in supervise(numbers, job, limits):
        print(json.dumps(asdict(outcome)), flush=True)


def main(verb: str, kind: str, *arguments: str) -> None:
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        furnish(Path(folder))
        sys.path.append(folder)
        if verb == "check":
            check(kind, range(*map(int, arguments)))
        else:
            place, *numbers = arguments
            for number in map(int, numbers):
                (home / place / f"{number}{form(kind).suffix}").write_bytes(case(kind, number)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Score the mapper against what there is: ``python -m tests.instances.score [FILE.npz ...]``.

Maps every instance, the bundled ones (:mod:`tests.instances.families`) unless files are named
(:mod:`tests.instances.npz`), and prints what it costs beside layer order, METIS edge cut and METIS volume, with a
line for each goal. ``--write`` makes the part "Mapping" of docs/numbers.md of it. Every mapping runs in a process of
its own.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Literal

from snnc import console
from snnc import target as chips
from snnc.errors import SnncError, UsageError
from tests.experiments import page
from tests.instances import families, table
from tests.instances.jobs import Source, score


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        _run(chosen)
    except SnncError as error:
        print(console.diagnostic(error), file=sys.stderr)
        return error.exit_code
    return 0


def _run(chosen: argparse.Namespace) -> None:
    begin = time.perf_counter()
    chips.load(chosen.target)
    sources = _sources(chosen)
    if chosen.write and (chosen.files or chosen.only or chosen.cores or chosen.target != "loihi"):
        raise UsageError("--write takes the bundled instances as they are", fix="leave out everything else")
    found = []
    for source in sources:
        print(f"{source.name} ...", file=sys.stderr, flush=True)
        found.append(score(source))
    tables = table.tables(found)
    goals = table.goals(found)
    print("\n\n".join([*(t.text() for t in tables), "\n".join(goals)]))
    if chosen.write:
        rows = [line for t in tables for line in t.markdown()] + ["### Goals", "", *(f"- {g}" for g in goals)]
        page.put("mapping", "Mapping", [*table.head(chosen.target), *rows], time.perf_counter() - begin)


def _sources(chosen: argparse.Namespace) -> list[Source]:
    names = list(families.INSTANCES)
    if chosen.only:
        names = chosen.only.split(",")
        for name in names:
            if name not in families.INSTANCES:
                raise UsageError(f"there is no instance '{name}'", fix=f"instances: {', '.join(families.INSTANCES)}")
    if chosen.files and chosen.only:
        raise UsageError("--only chooses among the bundled instances; files were named too")
    whole = [*chosen.files] if chosen.files else names
    return [Source(w, chosen.cache, chosen.cores, chosen.target) for w in whole]


def _cores(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number of cores nor auto")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.instances.score", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.npz", help="instances; none = the bundled ones")
    parser.add_argument("--cores", type=_cores, metavar="K", help="map to K cores of 1.03 times the mean size, or auto")
    parser.add_argument("--target", default="loihi", metavar="CHIP", help="chip (snnc targets), default loihi")
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(families.INSTANCES)}")
    parser.add_argument("--cache", type=Path, default=families.TICKETS, help="folder of tickets that were found before")
    parser.add_argument("--write", action="store_true", help="write the part of docs/numbers.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())

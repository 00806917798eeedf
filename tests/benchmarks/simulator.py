"""The simulator against what else there is: ``python -m tests.benchmarks.simulator``.

Everyone runs the same nets, alternating, in processes of their own (:mod:`tests.benchmarks.contest`). ``--write``
makes the part "Simulator" of docs/numbers.md of it, ``--only`` takes some of the nets. Takes 15 minutes, on a quiet
machine of two cores and 16 GB; figures from a busy one mean little.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from snnc.errors import UsageError
from tests.benchmarks import entrants, limits, nets, standings
from tests.benchmarks.contest import Result, contest
from tests.experiments import page


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    chosen = _parser().parse_args(arguments)
    if chosen.write and chosen.only:
        raise UsageError("--write takes all nets", fix="leave out --only")
    begin = time.perf_counter()
    found = random_nets(chosen.only.split(";") if chosen.only else None)
    tables = [standings.machine({t: limits.bandwidth(t) for t in (1, 2)}), *standings.random(found)]
    goals = standings.goals(found)
    print("\n\n".join([*(f"{t.text_above}\n{t.text()}" for t in tables), "\n".join(goals)]))
    if chosen.write:
        rows = [line for t in tables for line in t.markdown()] + ["### Goals", "", *(f"- {g}" for g in goals)]
        page.put("simulator", "Simulator", [*standings.HEAD, *rows], time.perf_counter() - begin)


def random_nets(only: list[str] | None) -> dict[str, list[Result]]:
    """Results by net."""
    found = {}
    everyone = [*entrants.limits(), *entrants.ours(), *entrants.peers()]
    with tempfile.TemporaryDirectory(prefix="contest-") as name:
        for spec in nets.RANDOM:
            if only is None or spec.name in only:
                print(f"{spec.name} ...", file=sys.stderr, flush=True)
                folder = nets.store(spec, Path(name) / "net")
                found[spec.name] = contest(spec.name, folder, everyone, synapses=spec.synapses)
                shutil.rmtree(folder)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.simulator", description=__doc__)
    parser.add_argument("--only", metavar="NET;...", help=f"of {'; '.join(s.name for s in nets.RANDOM)}")
    parser.add_argument("--write", action="store_true", help="write the part of docs/numbers.md")
    return parser


if __name__ == "__main__":
    main()

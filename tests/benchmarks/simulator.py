"""The simulator against what else there is: ``python -m tests.benchmarks.simulator``.

Everyone runs the same nets, alternating, in processes of their own (:mod:`tests.benchmarks.contest`). ``--write``
makes the part "Simulator" of docs/numbers.md of it, ``--only`` takes some of the nets. Takes a quarter of an hour on
two cores and up to 8 GB; figures from a busy machine mean little.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from snnc import console
from snnc.errors import SnncError, UsageError
from tests.benchmarks import entrants, images, limits, nets, standings
from tests.benchmarks.contest import Contender, Result, contest
from tests.benchmarks.environments import UnavailableError
from tests.experiments import page

SMALL = nets.Spec("64-256-10", (64, 256, 10), 0.2, steps=8, samples=10)


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
    begin, load = time.perf_counter(), os.getloadavg()[0]
    jobs = _jobs()
    names = chosen.only.split(";") if chosen.only else list(jobs)
    if unknown := sorted(set(names) - set(jobs)):
        raise UsageError(f"there is no net '{unknown[0]}'", fix=f"nets: {'; '.join(jobs)}")
    if chosen.write and chosen.only:
        raise UsageError("--write takes all nets", fix="leave out --only")
    found = {}
    with tempfile.TemporaryDirectory(prefix="contest-") as folder:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found[name] = jobs[name](Path(folder) / "net")
            shutil.rmtree(Path(folder) / "net", ignore_errors=True)
    tables = standings.tables(found, {threads: limits.bandwidth(threads) for threads in (1, 2)})
    goals = standings.goals(found)
    print(standings.head(load)[0], end="\n\n")
    print("\n\n".join([*(f"{t.text_above}\n{t.text()}" for t in tables), "\n".join(goals)]))
    if chosen.write:
        rows = [line for t in tables for line in t.markdown()] + ["### Goals", "", *(f"- {g}" for g in goals)]
        page.put("simulator", "Simulator", [*standings.head(load), *rows], time.perf_counter() - begin)


Job = Callable[[Path], Sequence[Result]]


def _jobs() -> dict[str, Job]:
    """What runs each net, by its name; it is given a folder that does not exist yet."""
    peers = entrants.peers()

    def drawn(spec: nets.Spec, contenders: list[Contender], rounds: int) -> Job:
        return lambda folder: contest(
            spec.name, nets.store(spec, folder), contenders, synapses=spec.synapses, rounds=rounds
        )

    def stored(name: str, store: Callable[[Path], Path], contenders: list[Contender]) -> Job:
        def job(folder: Path) -> Sequence[Result]:
            try:
                return contest(name, store(folder), contenders)
            except UnavailableError as error:
                return [Result(c.name, name, failed=str(error)) for c in contenders]

        return job

    everyone = [*entrants.limits(), *entrants.ours(), *peers]
    return {
        **{spec.name: drawn(spec, everyone, rounds=5) for spec in nets.RANDOM},
        # Lava takes a quarter of a minute a round.
        standings.LAYERED: drawn(nets.LAYERED, [*entrants.ours(), *entrants.processes(), *peers], rounds=3),
        standings.NMNIST: stored(standings.NMNIST, images.nmnist, entrants.of_images()),
        standings.PILOTNET: stored(standings.PILOTNET, images.pilotnet, entrants.ours()),
        standings.SMALL: drawn(SMALL, entrants.processes()[:1], rounds=5),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.simulator", description=__doc__)
    parser.add_argument("--only", metavar="NET;...", help="some of the nets; an unknown name lists them all")
    parser.add_argument("--write", action="store_true", help="write the part of docs/numbers.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())

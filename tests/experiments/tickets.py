"""Lottery tickets, all methods beside each other: ``python -m tests.experiments.tickets --suite digits``.

Runs what of the suite is not stored yet, stores each run as it is done, and writes docs/tickets.md from all that is
stored. Without a suite only the page is written.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shlex
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.experiments import ticket_page, ticket_store
from tests.experiments.ticket_store import Run
from tests.experiments.ticket_suites import SEEDS, SUITES, Asked, Job


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a suite and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.experiments.tickets", description=__doc__)
    parser.add_argument("--suite", choices=SUITES)
    parser.add_argument("--seeds", help="such as 0,1,2; those of the suite, if not given")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--reduced", action="store_true", help="smaller networks on fewer samples (cifar10)")
    parser.add_argument("--data", type=Path, help="folder of the data; ../shared/data/..., if not given")
    parser.add_argument("--penalty", type=float, default=Asked.penalty, help="price on synaptic operations")
    parser.add_argument("--only", help="methods, separated by ';', instead of all")
    parser.add_argument("--again", action="store_true", help="also what is stored")
    asked = parser.parse_args(arguments)
    if asked.suite:
        seeds = [int(seed) for seed in asked.seeds.split(",")] if asked.seeds else SEEDS[asked.suite]
        request = Asked(asked.reduced, asked.data, asked.penalty)
        jobs = [job for seed in seeds for job in SUITES[asked.suite](seed, request)]
        wanted = asked.only.split(";") if asked.only else {job.method for job in jobs}
        # What makes all of the suite, however few of its runs are done now.
        priced = ["--penalty", f"{asked.penalty:g}"] if asked.penalty != Asked.penalty else []
        rest = [*(["--reduced"] if asked.reduced else []), *priced]
        command = shlex.join(["python", "-m", "tests.experiments.tickets", "--suite", asked.suite, *rest])
        run_all([job for job in jobs if job.method in wanted], asked.suite, asked.jobs, command, again=asked.again)
    ticket_page.write()


def pending(jobs: Iterable[Job], runs: Iterable[Run], *, again: bool) -> list[Job]:
    """The jobs that are not stored with the same settings; again: all."""
    known = list(runs)
    return [job for job in jobs if again or not ticket_store.stored(known, job.name, job.settings)]


def run_all(jobs: Sequence[Job], suite: str, processes: int, command: str, *, again: bool) -> None:
    """Run the jobs of a suite that are pending, and store each as it is done."""
    from tests.experiments import ticket_runs

    file, begin = ticket_store.path(suite), time.perf_counter()
    todo = pending(jobs, ticket_store.load(file), again=again)
    print(f"{suite}: {len(jobs) - len(todo)} of {len(jobs)} runs are stored")
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(ticket_runs.run, job) for job in todo]), 1):
            made = future.result()
            ticket_store.save(file, ticket_store.with_run(ticket_store.load(file), made), command)
            seconds = sum(row.seconds for row in made.rows)
            minutes = (time.perf_counter() - begin) / 60
            print(f"{done}/{len(todo)} {made.name}: {seconds:.0f} s; {minutes:.1f} min in all", flush=True)


if __name__ == "__main__":
    main()

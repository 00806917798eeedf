"""Times of several executors of the same work, taken in turn in one run.

Absolute times belong to the machine, the ratios are what counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """Seconds of each round; ratio: median over rounds of this executor's time over that of the first."""

    name: str
    seconds: list[float]
    ratio: float


def in_turn(
    executors: Mapping[str, Callable[[], object]],
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Time every executor, alternating, after one round to warm up.

    clock: seconds; time.process_time leaves out what other processes take.
    """
    taken: dict[str, list[float]] = {name: [] for name in executors}
    for number in range(rounds + 1):
        for name, execute in executors.items():
            begin = clock()
            execute()
            if number:
                taken[name].append(clock() - begin)
    first = next(iter(taken.values()))
    return [
        Timing(name, seconds, statistics.median(a / b for a, b in zip(seconds, first, strict=True)))
        for name, seconds in taken.items()
    ]


def table(timings: list[Timing], unit: str) -> list[str]:
    """Rows of a Markdown table. unit: what the first executor is called in the heading."""
    rows = [f"| executor | median | min..max | times {unit} |", "|---|---|---|---|"]
    for t in timings:
        spread = f"{min(t.seconds) * 1e3:,.1f}..{max(t.seconds) * 1e3:,.1f}"
        rows.append(f"| {t.name} | {statistics.median(t.seconds) * 1e3:,.1f} ms | {spread} | {t.ratio:,.1f} |")
    return rows

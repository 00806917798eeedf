"""How long the executors of one image take for the same samples, in turn, in one run.

``python -m tests.benchmarks.executors IMAGE`` prints a table; absolute times belong to the machine, the ratios
are what counts. Lava is timed as a user meets it, the start of its processes included.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import snnc
from snnc.image import Image
from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.targets import lava

ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """Seconds of each round; ratio: median over rounds of this executor's time over the engine's."""

    name: str
    seconds: list[float]
    ratio: float


def measure(image: Image, samples: Samples) -> list[Timing]:
    """Time every executor on `samples`, alternating, after one round to warm up."""
    executors: dict[str, Callable[[], object]] = {
        "engine, 1 thread, all counts": lambda: simulate(image, samples, threads=1),
        "reference (numpy)": lambda: reference.simulate(image.network, samples.spikes),
        "Lava fixed_pt, start included": lambda: lava.run(image.network, samples),
    }
    taken: dict[str, list[float]] = {name: [] for name in executors}
    for number in range(ROUNDS + 1):
        for name, execute in executors.items():
            begin = time.perf_counter()
            execute()
            if number:
                taken[name].append(time.perf_counter() - begin)
    engine = taken["engine, 1 thread, all counts"]
    return [
        Timing(name, seconds, statistics.median(a / b for a, b in zip(seconds, engine, strict=True)))
        for name, seconds in taken.items()
    ]


def table(timings: list[Timing]) -> list[str]:
    """Rows of a Markdown table."""
    rows = ["| executor | median | min..max | times the engine |", "|---|---|---|---|"]
    for t in timings:
        spread = f"{min(t.seconds) * 1e3:,.1f}..{max(t.seconds) * 1e3:,.1f}"
        rows.append(f"| {t.name} | {statistics.median(t.seconds) * 1e3:,.1f} ms | {spread} | {t.ratio:,.1f} |")
    return rows


if __name__ == "__main__":
    compiled = snnc.open_image(Path(sys.argv[1]))
    print("\n".join(table(measure(compiled, snnc.data("digits").first(100)))))

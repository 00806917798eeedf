"""PilotNet-LIF against its measurement on Loihi 2: ``python -m tests.experiments.pilotnet`` (a minute on two cores).

Intel measured the network of lava-dl's tutorial on one chip: 158,509 neurons on 74 cores, 16 steps an image (its public
benchmark notebook). No energy per operation of Loihi 2 is published: snnc assumes Loihi 1's. This shows how far that
is from the one measurement there is; nothing is fitted to it.
"""

from __future__ import annotations

import time

import numpy as np

from snnc import target
from snnc.samples import Samples
from snnc.simulator import estimate, simulate
from tests.benchmarks.images import mapped, pilotnet_lif
from tests.experiments import page

# As many as Lava's compiler puts on a core of the largest layer.
NEURONS_PER_CORE = 3072
# What was measured.
CORES, STEP_US, DYNAMIC_UJ, STATIC_UJ = 74, 152.8, 1094.0, 567.0


def rows() -> list[str]:
    """The comparison as a table."""
    network, frames = pilotnet_lif()
    image = mapped(network, NEURONS_PER_CORE, target.load("loihi2"))
    run = simulate(image, Samples(frames))
    found = estimate(image, run)
    synops, updates = run.core_synops.sum() / run.steps, image.usage.neurons.sum()
    low, high = found.least_pj / 1e6, found.dynamic_pj / 1e6
    first, last = (ns / run.steps / 1000 for ns in (found.time_ns, found.latest_ns))
    static = np.float64(found.static_pj) / 1e6
    return [
        f"{network.size - frames[0, 0].size:,} neurons, {run.steps} steps; per step {synops:,.0f} synaptic operations, "
        f"{updates:,} updates. `python -m tests.experiments.pilotnet`",
        "",
        "| per image | Loihi 2, measured | loihi2, assumed |",
        "|---|---|---|",
        f"| cores | {CORES} | {image.cores} |",
        f"| time of a step | {STEP_US:.1f} us | {first:.1f} to {last:.1f} us |",
        f"| dynamic energy | {DYNAMIC_UJ:,.0f} uJ | {low:,.0f} to {high:,.0f} uJ |",
        f"| static energy | {STATIC_UJ:,.0f} uJ | {static:,.0f} uJ, by the measured power and the time above |",
    ]


def main() -> None:
    """Run it and write the part of docs/numbers.md."""
    begin = time.perf_counter()
    text = rows()
    print("\n".join(text))
    page.put("loihi2", "Against Loihi 2", text, time.perf_counter() - begin)


if __name__ == "__main__":
    main()

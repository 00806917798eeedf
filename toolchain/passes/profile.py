"""Profile: how often every neuron spikes, measured by the simulator on calibration data.

Without data the inputs spike at random (10 %, seeded); the log says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnc.compilation import Compilation
from snnc.samples import Samples
from snnc.simulator import simulate

RANDOM_RATE = 0.1
RANDOM_SAMPLES, RANDOM_STEPS = 8, 16


def run(c: Compilation) -> Compilation:
    """Measure the spike rates of the quantised network of `c`."""
    samples = c.samples or random_samples(c)
    run = simulate(c.network, samples)
    c = replace(c, run=run)
    rates, offsets = c.rates, c.network.offsets
    layers = {p.name: float(rates[offsets[p.name] : offsets[p.name] + p.size].mean()) for p in c.network.populations}
    log = {"data": samples.name, "samples": len(samples), "steps": samples.steps, "rates": layers}
    return c.found(profile=log)


def random_samples(c: Compilation) -> Samples:
    """Seeded random spikes for the (only) input of the network."""
    (population,) = c.network.inputs
    rng = np.random.default_rng(c.options.seed)
    spikes = rng.random((RANDOM_SAMPLES, RANDOM_STEPS, *population.shape)) < RANDOM_RATE
    return Samples(spikes.astype(np.uint8), None, f"random spikes at {RANDOM_RATE:.0%}")

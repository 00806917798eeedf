"""How long a step takes on the chip.

Loihi-like chips have no clock: the cores work through a step independently and a barrier
ends it. The length of a step is taken as

    max over cores ( synops * synop_ns + active * neuron_active_ns
                     + inactive * neuron_inactive_ns + spikes * spike_ns )
    + hop_x_ns * x + hop_y_ns * y + crossing_ns * c       the longest route in use, once
    + barrier_ns                                          linear in tiles used, one .. all of a chip
      + barrier_doubling_ns * log2(chips)                 of chips used

Published are the constants (the target names the source of each) and that a barrier ends
the step. Our assumptions: a core does its work one item after the other; the messages of a
step travel while the cores still work, so that only one longest route is added; queues in the
mesh cost nothing; neuron updates of a step are never skipped; a step is a step of the model
(a pipelined chip works on population k of a chain k steps later, which moves work between
neighbouring steps and not in sum).

The serial sum was held against silicon. Intel's recurrent network for sequential MNIST on
one Loihi core spends 4.67 us per step on 754.8 synaptic operations, 12.5 spikes and 350
compartment updates (notebooks in github intel-nrc-ecosystem/models); the constants of Davies
et al. 2018 give 4.52 us if all neurons are inactive and 5.61 us if all are active, and 0.11
us for the barrier. One case, one core: it says nothing about the mesh.

The barrier over several chips is known at two sizes: Frady et al. 2020 measured 14.3 us on 256 Loihi chips
and 16.2 us on 768. Of simple laws through one chip (0.465 us) and 256 chips the logarithm comes nearest to
the other: it gives 17.0 us for 768 chips, the square root (the width of the board) 25.1 us, a line 42.1 us.
"""

from __future__ import annotations

import math

import numpy as np

from snnc.image import Image
from snnc.target import Mesh, Timing


def core_ns(
    timing: Timing, synops: np.ndarray, active: np.ndarray, inactive: np.ndarray, spikes: np.ndarray
) -> np.ndarray:
    """Time that cores work: the serial sum of their items, in ns, float64, elementwise."""
    return (
        synops * timing.synop_ns.value
        + active * timing.neuron_active_ns.value
        + inactive * timing.neuron_inactive_ns.value
        + spikes * timing.spike_ns.value
    )


def barrier_ns(timing: Timing, mesh: Mesh, tiles: int, chips: int = 1) -> float:
    """Length of the barrier over `tiles` tiles of `chips` chips, in ns.

    Linear from one tile to all of a chip; of several chips all take part, and it grows with their logarithm.
    """
    low, high = timing.barrier_min_ns.value, timing.barrier_max_ns.value
    if chips > 1:
        assert timing.barrier_doubling_ns is not None
        return high + timing.barrier_doubling_ns.value * math.log2(chips)
    every = mesh.columns.value * mesh.rows.value
    return low if every == 1 else low + (high - low) * (tiles - 1) / (every - 1)


def step_ns(image: Image, synops: np.ndarray, active: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Length of steps in ns, float64 (...). The counts are (..., cores), see :class:`snnc.simulator.run.Run`."""
    timing = image.target.timing
    busy = core_ns(timing, synops, active, image.usage.neurons - active, spikes).max(axis=-1)
    x, y, crossings = image.routes.longest
    route = x * timing.hop_x_ns.value + y * timing.hop_y_ns.value
    if timing.crossing_ns is not None:
        route += crossings * timing.crossing_ns.value
    return busy + route + barrier_ns(timing, image.target.mesh, image.tiles, image.chips)

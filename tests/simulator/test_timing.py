from __future__ import annotations

import numpy as np
import pytest
from integer_networks import chain, place

from snnc import target as targets
from snnc.samples import Samples
from snnc.simulator import simulate, timing


def test_the_serial_sum_brackets_the_published_measurement() -> None:
    """Sequential MNIST on one Loihi core: 4.67 us per step on silicon, see the module's text."""
    loihi = targets.load("loihi")
    counts = {"synops": np.array(754.8), "spikes": np.array(12.5)}
    idle = timing.core_ns(loihi.timing, active=np.array(0), inactive=np.array(350), **counts)
    busy = timing.core_ns(loihi.timing, active=np.array(350), inactive=np.array(0), **counts)
    # 754.8 * 3.5 + 12.5 * 2.1 + 350 * 5.3 (8.4)
    assert idle == pytest.approx(4523.05, abs=0.01)
    assert busy == pytest.approx(5608.05, abs=0.01)
    assert idle < 4670 < busy
    assert timing.barrier_ns(loihi.timing, loihi.mesh, 1) == 113


def test_the_barrier_is_linear_in_tiles() -> None:
    loihi = targets.load("loihi")
    ends = [timing.barrier_ns(loihi.timing, loihi.mesh, n) for n in (1, 2, 32)]
    assert ends[0] == 113
    assert ends[1] == pytest.approx(113 + (465 - 113) / 31)
    assert ends[2] == 465


def test_the_barrier_over_chips_meets_the_published_ones() -> None:
    """Frady et al. 2020: 14.3 us on 256 chips, which is fitted, and 16.2 us on 768, which is not."""
    loihi = targets.load("loihi")
    several = {n: timing.barrier_ns(loihi.timing, loihi.mesh, 40, n) for n in (2, 4, 256, 768)}
    assert several[256] == pytest.approx(14_300, abs=5)
    assert several[768] == pytest.approx(16_200, rel=0.06)
    assert several[2] == 465 + 1729
    assert several[4] - several[2] == 1729


def test_a_step_over_two_chips_waits_for_the_crossing() -> None:
    network = chain(2, 2, 2, threshold=-1000)
    # Tile 7 of the first row of chip 0, and tile 0 of the second chip beside it: one hop, which crosses.
    near = place(network, [-1, -1, 0, 1, 1, 1], [28, 128])
    assert near.chips == 2
    assert near.routes.longest == (1, 0, 1)
    counts = [np.array([x]) for x in ([10, 20], [1, 2], [0, 3])]
    t, alone = near.target.timing, place(network, [-1, -1, 0, 1, 1, 1], [28, 24])
    more = timing.step_ns(near, *counts) - timing.step_ns(alone, *counts)
    assert t.crossing_ns is not None
    barriers = [timing.barrier_ns(t, near.target.mesh, 2, n) for n in (2, 1)]
    assert more == pytest.approx(t.crossing_ns.value + barriers[0] - barriers[1])


def test_a_step_is_the_slowest_core_and_the_longest_route_and_the_barrier() -> None:
    """Neurons that always fire; every synapse exists, so the work of each core is known."""
    network = chain(2, 2, 2, threshold=-1000)
    image = place(network, [-1, -1, 0, 1, 1, 1], [0, 40])  # tiles (0, 0) and (2, 1)
    stored = image.usage.stored.toarray()
    run = simulate(image, Samples(np.ones((1, 5, 2), np.uint8)))
    neurons = np.array([1, 3])
    np.testing.assert_array_equal(image.usage.neurons, neurons)
    np.testing.assert_array_equal(run.core_spikes, [neurons * 5])
    t = image.target.timing
    # Every neuron and input fires in every step.
    fixed = stored.sum(axis=0) * t.synop_ns.value + neurons * t.spike_ns.value
    far = 2 * t.hop_x_ns.value + t.hop_y_ns.value + timing.barrier_ns(t, image.target.mesh, 2)
    low = (fixed + neurons * t.neuron_inactive_ns.value).max() + far
    high = (fixed + neurons * t.neuron_active_ns.value).max() + far
    assert run.step_ns.shape == (1, 5)
    # A neuron fires here at rest too, so that v may be zero before a step: between the two bounds.
    assert (run.step_ns >= low - 1e-9).all()
    assert (run.step_ns <= high + 1e-9).all()
    mixed = timing.step_ns(image, *(np.array([x]) for x in ([10, 20], [1, 2], [0, 3])))
    expected = max(10 * 3.5 + 8.4, 20 * 3.5 + 2 * 8.4 + 5.3 + 3 * 2.1) + 2 * 4.1 + 6.5 + 113 + 352 / 31
    assert mixed == pytest.approx([expected])

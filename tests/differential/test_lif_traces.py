"""A leaky neuron of others in three arithmetics: floats as its file says, our integers, and Lava's fixed-point LIF.

Lava and our engine agree in every spike, u and v. Both stay as near to the floats as the integers of the neuron allow:
the bound is carried along with the membrane, step by step, and made of nothing but what rounding changed
(:func:`walk`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnc
from snnc import families
from snnc.network import Network
from snnc.pipeline import compile_until
from snnc.samples import Samples
from snnc.simulator import simulate
from snnc.simulator.floating import simulate as simulate_floats
from snnc.targets.lava.session import run

DT = 1e-4


def integers(network: Network, data: Samples) -> Network:
    return compile_until("retrim", network, families.load("loihi2"), samples=data)[0].network


def agree(network: Network, data: Samples) -> dict[tuple[str, str], np.ndarray]:
    """What Lava does, after it was found equal to our engine."""
    theirs = run(network, data, registers=True)
    ours = simulate(network, data, traces=list(theirs)).traces
    for trace, values in theirs.items():
        np.testing.assert_array_equal(ours[trace], values, err_msg=str(trace))
    return theirs


def walk(floats: Network, fixed: Network, spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of one LIF with one synapse: membranes in volts and spikes by floats, and by how much integers may lie off.

    v' = k v + g s, with k = 1 - dt/tau and g = r w dt/tau. The unit of the integers is such that both thresholds are
    the same. Their k and g are rounded, which changes v by |dk| |v| + |dg| s; a product is cut to a whole register,
    which changes it by less than one; what was off before is off by k times as much. A reset sets both to 0. Where
    |v - threshold| is beyond this, both arithmetics must decide alike. The last result says where it is not: from there
    on a sample may go another way.
    """
    neuron, chip = floats.layers[0].params, fixed.layers[0].params
    weight, stored = (float(n.projections[0].op.weight.toarray()[0, 0]) for n in (floats, fixed))
    threshold = float(neuron["v_threshold"][0])
    unit = threshold / (int(chip["threshold"][0]) << 6)
    leak = DT / float(neuron["tau"][0])
    gain = leak * float(neuron["r"][0]) * weight
    keep = 1 - int(chip["v_decay"][0]) / 4096
    change, slip = abs(keep - (1 - leak)), abs(stored * 64 * unit - gain)
    v, off = np.zeros(len(spikes)), np.zeros(len(spikes))
    found = []
    for s in spikes[..., 0].T.astype(float):
        off = keep * off + change * np.abs(v) + slip * s + unit
        v = (1 - leak) * v + gain * s
        fired = v > threshold
        found.append((np.where(fired, 0, v), np.where(fired, 0, off), fired, np.abs(v - threshold) <= off))
        v, off = found[-1][:2]
    membranes, bounds, fired, unclear = (np.stack(part, axis=1) for part in zip(*found, strict=True))
    return membranes / unit, bounds / unit, fired, unclear


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_a_leaky_neuron_of_norse(rate: float, shared: Path, lava: Path) -> None:
    floats = snnc.load(shared / "nir/A01_lif_norse.nir", dt=DT, semantics="nir")
    spikes = (np.random.default_rng(1).random((8, 300, 1)) < rate).astype(np.uint8)
    data = Samples(spikes)
    fixed = integers(floats, data)
    (layer,) = (p.name for p in fixed.layers)
    lava_says = agree(fixed, data)
    membranes, bounds, fired, unclear = walk(floats, fixed, spikes)
    np.testing.assert_array_equal(simulate_floats(floats, spikes)[layer][..., 0], fired)
    held = ~np.logical_or.accumulate(unclear, axis=1)
    np.testing.assert_array_equal(lava_says["spikes", layer][..., 0][held], fired[held])
    assert np.all(np.abs(lava_says["v", layer][..., 0] - membranes)[held] <= bounds[held])
    # The bound would be empty if it were as wide as what it bounds, or held nowhere.
    assert bounds.max() < 0.02 * np.abs(membranes).max()
    assert held.mean() > 0.5
    assert fired[held].any()


def test_a_leak_that_spikes_by_itself(shared: Path, lava: Path) -> None:
    """Two neurons in a row, the first of which has its resting potential above its threshold, with no input at all."""
    floats = snnc.load(shared / "nir/A03_two_lif.nir", dt=DT, semantics="nir")
    data = Samples(np.zeros((1, 400, 1), np.uint8))
    fixed = compile_until("quantize", floats, families.load("loihi2"), samples=data)[0].network
    found = agree(fixed, data)
    assert len(found) >= 3


def test_a_reader_of_braille(shared: Path, lava: Path) -> None:
    """38 recurrent neurons on one recorded letter: Lava is our engine in every spike, u and v of all layers.

    In floats the hidden layer spikes 119 times, as published. A loop of 38 neurons takes one spike that is rounded away
    further and further, so no bound holds to the end, and none is asked for.
    """
    floats = snnc.load(shared / "nir/A07_braille_bias_zero.nir", dt=DT, semantics="nir")
    data = Samples(np.load(shared / "nir/braille_input.npy")[None].astype(np.uint8))
    found = agree(integers(floats, data), data)
    assert int(simulate_floats(floats, data.spikes)["lif1.lif"].sum()) == 119
    assert found["spikes", "lif1.lif"].any()

"""Binary layers are exact: {-q, 0, q}, a sign to store, a whole threshold, whatever width was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from float_networks import DT, chain, lif, mlp, spikes
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chips import chip

import snnc
from snnc import target as chips
from snnc.network import Network, Population
from snnc.ops import Conv2d, Linear, canonical
from snnc.passes.lower import lower
from snnc.passes.quantize import Rules, searched
from snnc.samples import Samples
from snnc.simulator import floating, reference

LOIHI = chips.load("loihi")


def integrator(name: str, size: int, threshold: float) -> Population:
    """Neurons without leak, whose membranes are whole numbers of weights."""
    one = np.ones(size)
    return Population(name, (size,), "if", {"r": one, "v_threshold": one * threshold, "v_reset": 0 * one})


def signs(rng: np.random.Generator, out: int, into: int, density: float) -> np.ndarray:
    weight = rng.choice([-1.0, 1.0, 1.0], (out, into)) * (rng.random((out, into)) < density)
    weight[0, 0] = 1
    return weight


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    magnitude=st.floats(1e-3, 50),
    threshold=st.floats(0.3, 20),
    bits=st.integers(1, 8),
    density=st.sampled_from([0.1, 0.5, 1]),
)
def test_integrators_spike_exactly_as_in_floats(
    seed: int, magnitude: float, threshold: float, bits: int, density: float
) -> None:
    """A threshold that is no whole number of weights: sums of floats cannot tie with it."""
    threshold = np.floor(threshold) + 0.37
    rng = np.random.default_rng(seed)
    weight = magnitude * signs(rng, 6, 9, density)
    populations = [Population("input", (9,), "input"), integrator("out", 6, threshold * magnitude)]
    network = lower(chain(populations, [(Linear(canonical(weight)),)]))
    result, found = searched(network, Rules.of(LOIHI, bits, 1, several=True))
    (projection,), (note,) = result.projections, found["layers"]
    assert note["binary"] == "layer"
    assert projection.bits == 1
    assert len(np.unique(np.abs(projection.op.weight.data))) == 1
    assert note["weight_error"] < 1e-12
    assert note["rounded_to_zero"] == note["clipped"] == 0
    data = spikes(network, samples=5, steps=20, rate=0.5, seed=seed)
    assert np.array_equal(floating.simulate(network, data)["out"], reference.simulate(result, data)["out"])


def test_what_is_stored_is_a_sign() -> None:
    rng = np.random.default_rng(0)
    weight = 0.37 * signs(rng, 40, 50, 0.2)
    populations = [Population("input", (50,), "input"), lif("out", (40,))]
    network = chain(populations, [(Linear(canonical(weight)),)])
    one = snnc.compile(network, bits=8)
    rest = np.where(weight == 0, 0, rng.normal(0, 0.3, weight.shape))
    eight = snnc.compile(chain(populations, [(Linear(canonical(rest)),)]), bits=8)
    assert np.abs(one.network.projections[0].op.weight.data).max() == 128
    assert one.usage.synapse_bits.sum() < 0.75 * eight.usage.synapse_bits.sum()
    assert one.network.projections[0].op.taps == np.count_nonzero(weight)


def test_a_sign_has_no_zero_in_a_dense_format() -> None:
    """Without indices absent synapses are stored, too, and take a second bit."""
    dense = chip()
    populations = [Population("input", (1,), "input"), lif("out", (64,))]
    full = snnc.compile(chain(populations, [(Linear(canonical(np.ones((64, 1)))),)]), dense)
    weight = np.ones((64, 1))
    weight[5:9] = 0
    holes = snnc.compile(chain(populations, [(Linear(canonical(weight)),)]), dense)
    assert full.usage.synapse_bits.sum() == 128  # 64 signs and a header of 10 bits, in words of 64
    assert holes.usage.synapse_bits.sum() == 192  # 64 times 2 bits, and a header


def test_channels_of_different_magnitudes_have_thresholds_of_their_own() -> None:
    rng = np.random.default_rng(1)
    kernel = rng.choice([-1.0, 1.0], (4, 2, 3, 3)) * np.array([0.1, 0.2, 0.4, 0.7])[:, None, None, None]
    populations = [Population("input", (2, 6, 6), "input"), lif("out", (4, 4, 4))]
    network = lower(chain(populations, [(Conv2d(kernel),)]))
    result, found = searched(network, Rules.of(LOIHI, 3, 1, several=True))
    (note,) = found["layers"]
    assert note["binary"] == "channel"
    assert isinstance(result.projections[0].op, Conv2d)
    assert set(np.unique(result.projections[0].op.weight)) == {-128, 128}
    threshold = result["out"].params["threshold"]
    assert [len(np.unique(t)) for t in threshold] == [1] * 4
    assert list(threshold[:, 0, 0]) == [round(128 / m) for m in (0.1, 0.2, 0.4, 0.7)]


@pytest.mark.parametrize(("magnitude", "spikes"), [(1.0033, True), (0.997, False), (0.5017, False)])
def test_no_threshold_is_rounded_up_onto_a_multiple_of_the_weights(magnitude: float, spikes: bool) -> None:
    """One weight of 1.0033 passes a threshold of 1, which is 127.58 of its 128ths; of 128 it would not."""
    populations = [Population("input", (2,), "input"), lif("out", (3,))]
    network = lower(chain(populations, [(Linear(canonical(np.full((3, 2), magnitude))),)]))
    result, found = searched(network, Rules.of(LOIHI, 8, 1, several=True))
    assert "binary" in found["layers"][0]
    data = np.array([[[1, 0], [0, 0]], [[1, 1], [0, 0]]], np.uint8)
    exact, ours = floating.simulate(network, data)["out"], reference.simulate(result, data)["out"]
    assert bool(exact[0].any()) == spikes
    assert np.array_equal(exact, ours)


def test_more_magnitudes_than_a_core_holds_are_rounded_as_others_are() -> None:
    rng = np.random.default_rng(1)
    weight = rng.choice([-1.0, 1.0], (20, 8)) * np.linspace(0.1, 1, 20)[:, None]
    populations = [Population("input", (8,), "input"), lif("out", (20,))]
    network = lower(chain(populations, [(Linear(canonical(weight)),)]))
    _, found = searched(network, Rules.of(LOIHI, 8, 1, several=True))
    assert "binary" not in found["layers"][0]


@pytest.mark.parametrize("bits", [1, 8])
def test_a_binary_network_keeps_its_spikes(bits: int) -> None:
    """Leaking membranes are rounded, by a 64th of a weight's unit: next to no spike moves."""
    rng = np.random.default_rng(0)
    populations = [Population("input", (30,), "input"), lif("a", (60,)), lif("b", (20,))]
    links = [(Linear(canonical(0.3 * signs(rng, 60, 30, 0.3))),), (Linear(canonical(0.17 * signs(rng, 20, 60, 0.3))),)]
    network: Network = lower(chain(populations, links))
    data = spikes(network, samples=16, steps=20)
    result, _ = searched(network, Rules.of(LOIHI, bits, 2, several=True), Samples(data))
    exact, ours = floating.simulate(network, data), reference.simulate(result, data)
    for name in ("a", "b"):
        assert exact[name].sum() > 300
        assert np.count_nonzero(exact[name] ^ ours[name]) <= 0.01 * exact[name].sum()


def test_a_large_bias_takes_the_exponent_down() -> None:
    weight = np.array([[1.0, -1.0]])
    populations = [Population("input", (2,), "input"), lif("out", (1,), threshold=100.0)]
    network = lower(chain(populations, [(Linear(canonical(weight), np.array([60.0])),)]))
    result, found = searched(network, Rules.of(LOIHI, 8, 1, several=True))
    assert found["layers"][0]["binary"] == "layer"
    assert result["out"].params["bias"][0] == 60 * 64
    assert np.abs(result.projections[0].op.weight.data).max() == 64
    assert mlp().dt == DT

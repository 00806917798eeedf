"""Quantisation: the grid, the registers, the mask, and what it does to the function."""

from __future__ import annotations

import numpy as np
import pytest
from float_networks import DT, chain, conv, cuba, lif, linear, mlp, spikes

import snnc
from snnc import euler
from snnc.network import Network, Population
from snnc.ops import Conv2d, Linear, canonical
from snnc.passes.lower import lower
from snnc.passes.quantize import Limits, quantize
from snnc.simulator import floating, reference

LIMITS = Limits(weight=127, exponent=0, threshold=2**17 - 1, bias=2**12 - 1, one=4096)


def integer(network: Network, limits: Limits = LIMITS) -> tuple[Network, list[dict]]:
    return quantize(lower(network), "cuba_fixed", limits)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_fill_the_grid_and_stay_in_it(bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    network, _ = integer(conv(), Limits(top, 1, LIMITS.threshold, LIMITS.bias, 4096))
    for projection in network.projections:
        (op,) = projection.ops
        values = op.weight.data if isinstance(op, Linear) else op.weight
        assert values.dtype == np.int16
        assert np.abs(values).max() == 2 * top
        assert not np.any(values % 2)
        assert op.bias is None


def test_registers_follow_from_the_float_neuron() -> None:
    rng = np.random.default_rng(0)
    populations = [Population("input", (3,), "input"), cuba("out", (2,), alpha=0.75, beta=0.875)]
    network, (note,) = integer(chain(populations, [(linear(rng, 2, 3),)]))
    params = network["out"].params
    assert network["out"].neuron == "cuba_fixed"
    assert list(params["u_decay"]) == [1024, 1024]  # (1 - 0.75) * 4096
    assert list(params["v_decay"]) == [512, 512]
    assert list(params["threshold"]) == [round(note["scale"])] * 2


def test_leak_and_bias_become_the_bias_register() -> None:
    one = np.ones(1)
    params = {"tau": one * 10 * DT, "r": one, "v_leak": one * 0.5, "v_threshold": one, "v_reset": one * 0}
    populations = [Population("input", (1,), "input"), Population("out", (1,), "lif", params)]
    network, (note,) = integer(chain(populations, [(Linear(canonical(np.array([[2.0]])), np.array([3.0])),)]))
    # gain r dt/tau = 0.1; drive v_leak dt/tau = 0.05; bias 0.1 * 3.
    assert note["scale"] == pytest.approx(127 / 0.2)
    assert network["out"].params["bias"][0] == round(note["scale"] * 0.35)


def test_a_pruned_weight_stays_absent_and_new_zeros_are_counted() -> None:
    network, notes = integer(mlp((30, 40, 5), density=0.3), Limits(3, 0, LIMITS.threshold, LIMITS.bias, 4096))
    before = lower(mlp((30, 40, 5), density=0.3))
    for exact, rounded, note in zip(before.projections, network.projections, notes, strict=True):
        (a,), (b,) = exact.ops, rounded.ops
        assert not np.any((a.weight.toarray() == 0) & (b.weight.toarray() != 0))
        assert 0 not in b.weight.data
        assert note["rounded_to_zero"] == a.taps - b.taps
    assert sum(n["rounded_to_zero"] for n in notes) > 0


def test_a_large_bias_shrinks_the_scale_until_it_fits() -> None:
    populations = [Population("input", (1,), "input"), lif("out", (2,))]
    op = Linear(canonical(np.array([[1.0], [0.5]])), np.array([100.0, -50.0]))
    network, _ = integer(chain(populations, [(op,)]))
    bias = network["out"].params["bias"]
    assert 0.95 * LIMITS.bias <= bias[0] <= LIMITS.bias
    assert bias[1] == pytest.approx(-bias[0] / 2, abs=1)


def test_the_threshold_is_exact() -> None:
    """Its rounding would move every spike; at the largest possible scale it would be off by up to half a unit."""
    for seed in range(5):
        network, notes = integer(mlp((12, 20, 5), seed=seed))
        for note in notes:
            threshold = float(note["scale"])  # of a neuron whose threshold is 1
            assert threshold == pytest.approx(round(threshold), abs=1e-9)
            assert note["threshold"] == [round(threshold)] * 2
        assert len(network.layers) == len(notes) == 2


def test_a_layer_that_rounds_away_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A threshold of a million leaves steps of 8 for the weights, which are all below 2."""
    rng = np.random.default_rng(0)
    populations = [Population("input", (3,), "input"), lif("out", (2,), threshold=1e6)]
    image = snnc.compile(chain(populations, [(linear(rng, 2, 3),)]))
    assert image.network.projections[0].op.taps == 0
    assert "every weight of layer 'out' rounds to zero" in caplog.text


def test_a_large_threshold_shrinks_the_scale_until_it_fits() -> None:
    rng = np.random.default_rng(0)
    populations = [Population("input", (3,), "input"), lif("out", (2,), threshold=1e6)]
    network, _ = integer(chain(populations, [(linear(rng, 2, 3),)]))
    assert network["out"].params["threshold"].max() == LIMITS.threshold


def test_a_gain_that_varies_in_a_channel_leaves_no_shared_kernel() -> None:
    network = conv()
    population = network["conv1"]
    r = population.params["r"].copy()
    r[0, 0, 0] *= 2
    changed = Population("conv1", population.shape, "lif", {**population.params, "r": r})
    populations = tuple(changed if p.name == "conv1" else p for p in network.populations)
    result, _ = integer(Network(populations, network.projections, network.outputs, DT))
    assert isinstance(result.projections[0].ops[0], Linear)
    assert isinstance(result.projections[1].ops[0], Conv2d)
    gain = euler.discretise(changed, DT).gain
    kernel = np.abs(network.projections[0].ops[0].weight[0]).max()
    assert gain[0, 0, 0] * kernel > gain[0, 0, 1] * kernel


@pytest.mark.parametrize(
    "network", [mlp((12, 40, 5)), mlp((12, 40, 5), bias=True), conv()], ids=["mlp", "bias", "conv"]
)
def test_eight_bits_keep_nearly_every_spike(network: Network) -> None:
    """The integer network follows the float one; few spikes near the threshold may move."""
    data = spikes(network, samples=8, steps=20)
    exact, rounded = floating.simulate(network, data), reference.simulate(integer(network)[0], data)
    for population in network.layers:
        a, b = exact[population.name], rounded[population.name]
        assert a.sum() > 50
        # 8-bit weights are off by up to 0.4 % of the largest: spikes move by a step now and then.
        assert abs(int(a.sum()) - int(b.sum())) <= 0.05 * a.sum()


def test_powers_of_two_lose_nothing() -> None:
    """Weights and thresholds on the grid, decays on 12 bits: the integer network is the float network."""
    rng = np.random.default_rng(0)
    weight = rng.choice([-1.0, 0.0, 1.0, 0.5], (30, 12))
    weight[0, 0] = 127 / 64
    populations = [Population("input", (12,), "input"), lif("out", (30,), beta=0.0)]
    network = chain(populations, [(Linear(canonical(weight)),)])
    data = spikes(network, samples=8, steps=20)
    exact, rounded = floating.simulate(network, data)["out"], reference.simulate(integer(network)[0], data)["out"]
    assert exact.sum() > 100
    assert np.array_equal(exact, rounded)

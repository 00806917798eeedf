"""Quantisation: the grid, the registers, the mask, the choice of scales, and what it does to the function."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_networks import DT, chain, conv, cuba, lif, linear, mlp, spikes

import snnc
from snnc import euler
from snnc import target as chips
from snnc.network import Network, Population, identical
from snnc.ops import Conv2d, Linear, canonical
from snnc.passes.lower import lower
from snnc.passes.quantize import Rules, searched
from snnc.quantization.grid import Limits
from snnc.samples import Samples
from snnc.simulator import floating, reference

LIMITS = Limits(weight=127, exponent=0, threshold=2**17 - 1, bias=2**12 - 1, one=4096)
LOIHI = chips.load("loihi")


def rules(bits: int = 8, limits: Limits = LIMITS, groups: int = 1) -> Rules:
    return Rules("cuba_fixed", bits, limits, Limits.of(LOIHI, 1), groups, groups)


def on_loihi(bits: int, layers: int = 2) -> Rules:
    return Rules.of(LOIHI, bits, layers, several=True)


def integer(network: Network, limits: Limits = LIMITS, data: Samples | None = None) -> tuple[Network, list[dict]]:
    result, found = searched(lower(network), rules(limits=limits), data)
    return result, found["layers"]


def weights(network: Network) -> list[np.ndarray]:
    return [p.op.weight.data if isinstance(p.op, Linear) else p.op.weight for p in network.projections]


@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_stay_on_the_grid_of_the_chip(bits: int) -> None:
    top = max(1, 2 ** (bits - 1) - 1)
    data = Samples(spikes(conv(), samples=4, steps=6))
    for samples in (None, data):
        network, found = searched(lower(conv()), on_loihi(bits), samples)
        for projection, values, note in zip(network.projections, weights(network), found["layers"], strict=True):
            assert values.dtype == np.int16
            assert projection.op.bias is None
            assert projection.bits == bits
            unit = 2 ** note["exponent"]
            assert unit * top <= 254
            assert not np.any(values % unit)
            assert 0 < np.abs(values).max() <= unit * top


def test_registers_follow_from_the_float_neuron() -> None:
    rng = np.random.default_rng(0)
    populations = [Population("input", (3,), "input"), cuba("out", (2,), alpha=0.75, beta=0.875)]
    network, (note,) = integer(chain(populations, [(linear(rng, 2, 3),)]))
    params = network["out"].params
    assert network["out"].neuron == "cuba_fixed"
    assert list(params["u_decay"]) == [1024, 1024]  # (1 - 0.75) * 4096
    assert list(params["v_decay"]) == [512, 512]
    assert list(params["threshold"]) == [round(note["scale"][0])] * 2


def test_leak_and_bias_become_the_bias_register() -> None:
    one = np.ones(1)
    params = {"tau": one * 10 * DT, "r": one, "v_leak": one * 0.5, "v_threshold": one, "v_reset": one * 0}
    populations = [Population("input", (2,), "input"), Population("out", (1,), "lif", params)]
    op = Linear(canonical(np.array([[2.0, 1.0]])), np.array([3.0]))
    network, (note,) = integer(chain(populations, [(op,)]))
    # gain r dt/tau = 0.1; drive v_leak dt/tau = 0.05; bias 0.1 * 3.
    assert network["out"].params["bias"][0] == round(note["scale"][0] * 0.35)


def test_a_pruned_weight_stays_absent_and_new_zeros_are_counted() -> None:
    network, notes = integer(mlp((30, 40, 5), density=0.3), replace(LIMITS, weight=3))
    before = lower(mlp((30, 40, 5), density=0.3))
    for exact, rounded, note in zip(before.projections, network.projections, notes, strict=True):
        (a,), (b,) = exact.ops, rounded.ops
        assert not np.any((a.weight.toarray() == 0) & (b.weight.toarray() != 0))
        assert 0 not in b.weight.data
        assert note["rounded_to_zero"] == a.taps - b.taps
    assert sum(n["rounded_to_zero"] for n in notes) > 0


def test_a_large_bias_shrinks_the_scale_until_it_fits() -> None:
    populations = [Population("input", (2,), "input"), lif("out", (2,))]
    op = Linear(canonical(np.array([[1.0, 0.3], [0.5, 0.2]])), np.array([100.0, -50.0]))
    network, _ = integer(chain(populations, [(op,)]))
    bias = network["out"].params["bias"]
    assert 0.95 * LIMITS.bias <= bias[0] <= LIMITS.bias
    assert bias[1] == pytest.approx(-bias[0] / 2, abs=1)


def test_the_threshold_is_exact() -> None:
    """Its rounding would move every spike; at the largest possible scale it would be off by up to half a unit."""
    for seed in range(5):
        network, notes = integer(mlp((12, 20, 5), seed=seed))
        for note in notes:
            threshold = note["scale"][0]  # of a neuron whose threshold is 1
            assert threshold == pytest.approx(round(threshold), abs=1e-9)
            assert note["threshold"] == [round(threshold)] * 2
        assert len(network.layers) == len(notes) == 2


def test_a_layer_that_rounds_away_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The largest threshold that a chip holds stands for a million: a weight of 2 is a quarter of one step."""
    rng = np.random.default_rng(0)
    populations = [Population("input", (3,), "input"), lif("out", (2,), threshold=1e6)]
    image = snnc.compile(chain(populations, [(linear(rng, 2, 3),)]))
    assert image.network.projections[0].op.taps == 0
    assert "layer 'out' has no weights left" in caplog.text
    assert "layer 'out' is saturated: its threshold" in caplog.text


def test_the_exponent_gives_way_to_the_threshold() -> None:
    """With 4 bits the largest exponent is 5; a threshold of 5,000 weights leaves room for less."""
    weight = np.array([[1.0, -0.9, 0.3, 0.1]])
    populations = [Population("input", (4,), "input"), lif("out", (1,), threshold=5000.0)]
    network, found = searched(lower(chain(populations, [(Linear(canonical(weight)),)])), on_loihi(4))
    (note,) = found["layers"]
    assert note["exponent"] < 5
    assert note["threshold"][0] > 2**15
    assert np.abs(weights(network)[0]).max() == 7 << note["exponent"]


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


def test_data_find_the_scale_that_one_large_weight_would_hide() -> None:
    """A weight of 14 thresholds sets the largest scale, at which the others are lost; it spikes when cut as well."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.06, (30, 60))
    weight[0, 0] = 14.0
    populations = [Population("input", (60,), "input"), lif("out", (30,))]
    network = lower(chain(populations, [(Linear(canonical(weight)),)]))
    data = Samples(spikes(network, samples=16, steps=20, rate=0.4))
    result, found = searched(network, rules(), data)
    (note,) = found["layers"]
    assert note["clipped"] >= 1
    assert note["rounded_to_zero"] < 200  # of 1,800; plain: more than 1,000
    assert note["cost"] < 0.3 * note["cost_plain"], note
    test = spikes(network, samples=16, steps=20, rate=0.4, seed=1)
    exact, rounded = floating.simulate(network, test)["out"], reference.simulate(result, test)["out"]
    assert np.count_nonzero(exact ^ rounded) < 0.25 * exact.sum()
    # And without data, since a weight of many thresholds is as good as one of a few.
    assert searched(network, rules())[1]["layers"][0]["rounded_to_zero"] < 500


@pytest.mark.parametrize("network", [mlp((20, 40, 10)), conv()], ids=["mlp", "conv"])
@pytest.mark.parametrize("bits", [2, 4])
def test_what_was_found_is_no_worse_than_plain_scales(network: Network, bits: int) -> None:
    lowered, data = lower(network), Samples(spikes(network, samples=16, steps=10))
    _, found = searched(lowered, on_loihi(bits), data)
    assert found["output_cost"] <= found["output_cost_plain"]
    for note in found["layers"]:
        assert note["cost"] <= note["cost_plain"]


def uneven() -> Network:
    """Rows whose weights differ tenfold: at 2 bits no scale is right for all."""
    rng = np.random.default_rng(0)
    size = np.repeat([0.05, 0.15, 0.6], 10)[:, None]
    weight = rng.normal(0.5, 1, (30, 40)) * size
    populations = [Population("input", (40,), "input"), lif("out", (30,))]
    return lower(chain(populations, [(Linear(canonical(weight)),)]))


def test_channels_get_scales_where_that_pays_and_no_more_than_a_core_holds() -> None:
    network = uneven()
    data = Samples(spikes(network, samples=32, steps=16))
    several, found = searched(network, on_loihi(2, layers=1), data)
    one, plain = searched(network, rules(2, Limits.of(LOIHI, 2)), data)
    (note,), (other,) = found["layers"], plain["layers"]
    assert 2 <= note["scales"] <= 4
    assert len(np.unique(several["out"].params["threshold"])) == note["scales"]
    assert other["scales"] == 1
    assert len(np.unique(one["out"].params["threshold"])) == 1
    assert note["cost"] < note["cost_of_one_scale"] == other["cost"]
    assert found["output_cost"] < 0.8 * plain["output_cost"]


def test_the_user_can_ask_for_one_threshold_per_layer() -> None:
    network = uneven()
    data = Samples(spikes(network, samples=32, steps=16))
    for scales in ("auto", "layer"):
        image = snnc.compile(network, data=data, bits=2, scales=scales)
        counts = [len(np.unique(p.params["threshold"])) for p in image.network.layers]
        assert (max(counts) == 1) == (scales == "layer")


def test_the_same_data_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    network = lower(conv())
    data = Samples(spikes(network, samples=12))
    results = []
    for threads in (1, 2, 3, 5):
        for module in ("snnc.quantization.adjust", "snnc.simulator.engine", "snnc.simulator.floating.batches"):
            monkeypatch.setattr(f"{module}.processors", lambda count=threads: count)
        results.append(searched(network, on_loihi(3), data))
    for result, found in results[1:]:
        assert identical(result, results[0][0])
        assert found == results[0][1]
    assert any(layer["moved"] for layer in results[0][1]["layers"])


def test_data_of_other_numbers_are_left_to_the_profile() -> None:
    network = mlp()
    values = Samples(spikes(network).astype(np.float64) * 0.5)
    assert identical(searched(lower(network), rules(), values)[0], searched(lower(network), rules())[0])


def test_graded_input_is_data_as_well() -> None:
    network = mlp()
    data = Samples(spikes(network).astype(np.int32) * 3)
    _, found = searched(lower(network), on_loihi(8), data)
    assert all(layer["cost"] <= layer["cost_plain"] for layer in found["layers"])
    assert found["layers"][0]["moved"] == 0

"""The search on networks of all kinds: in range, masks kept, never worse than plain scales by its own measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_networks import DT, conv, cuba, lif, mlp, spikes
from hypothesis import given, settings
from hypothesis import strategies as st

from snnc import target as chips
from snnc.network import Network, Population, Projection, identical
from snnc.ops import Conv2d, Linear, canonical
from snnc.passes.lower import lower
from snnc.passes.quantize import Rules, searched
from snnc.quantization import scales
from snnc.quantization.calibration import Calibration
from snnc.quantization.grid import Layer, Limits, rounded
from snnc.quantization.trial import Trial, cost
from snnc.samples import Samples
from snnc.simulator import floating, reference

LOIHI, LOIHI2 = chips.load("loihi"), chips.load("loihi2")


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """One to three layers, sparse, with any of: convolution, recurrence, a skip, currents, biases, odd thresholds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0.02, 0.3, 5.0]))
    density = draw(st.sampled_from([0.1, 0.5, 1.0]))

    def weights(*shape: int) -> np.ndarray:
        found = rng.normal(0.2 * spread, spread, shape) * (rng.random(shape) < density)
        found.flat[0] = spread  # no layer is empty
        return found

    shape: tuple[int, ...] = (2, 4, 4) if draw(st.booleans()) else (7,)
    populations, projections = [Population("in", shape, "input")], []
    for k in range(draw(st.integers(1, 3))):
        pre = populations[-1]
        bias = rng.normal(0, 0.1 * spread, 3) if draw(st.booleans()) else None
        if len(pre.shape) == 3:
            op: Conv2d | Linear = Conv2d(weights(3, pre.shape[0], 3, 3), bias, padding=(1, 1))
            size: tuple[int, ...] = (3, *pre.shape[1:])
            if draw(st.booleans()):
                op, size = Linear(canonical(weights(3, pre.size)), bias), (3,)
        else:
            op, size = Linear(canonical(weights(3, pre.size)), bias), (3,)
        kind = draw(st.sampled_from([lif, cuba])) if bias is None else lif
        post = kind(f"l{k}", size)
        threshold = draw(st.sampled_from([0.1, 1.0, 30.0])) * rng.choice([1.0, 1.0, 1.7], size)
        populations.append(replace(post, params={**post.params, "v_threshold": threshold}))
        projections.append(Projection(f"p{k}", pre.name, post.name, (op,)))
    for k in range(draw(st.integers(0, 2))):
        pre, post = draw(st.sampled_from(populations)), draw(st.sampled_from(populations[1:]))
        projections.append(Projection(f"x{k}", pre.name, post.name, (Linear(canonical(weights(post.size, pre.size))),)))
    return lower(Network(tuple(populations), tuple(projections), (populations[-1].name,), DT))


@settings(max_examples=60, deadline=None)
@given(network=networks(), bits=st.integers(1, 8), data=st.booleans(), chip=st.sampled_from([LOIHI, LOIHI2]))
def test_integers_are_in_range_and_masks_never_revive(
    network: Network, bits: int, data: bool, chip: chips.Target
) -> None:
    rules = Rules.of(chip, bits, len(network.layers), several=True)
    samples = Samples(spikes(network, samples=4, steps=6)) if data else None
    result, found = searched(network, rules, samples)
    for before, after in zip(network.projections, result.projections, strict=True):
        a, b = before.op, after.op
        matrix = isinstance(a, Linear)
        exists, kept = (a.weight.toarray() != 0, b.weight.toarray()) if matrix else (a.weight != 0, b.weight)
        assert not np.any(kept[~exists])
        assert np.abs(kept).max(initial=0) <= chip.synapse.weight_limit.value
        if matrix:
            assert 0 not in b.weight.data
    for population, note in zip(result.layers, found["layers"], strict=True):
        params = population.params
        assert all(value.dtype == np.int32 for value in params.values())
        assert params["threshold"].min() >= 1
        assert params["threshold"].max() < 2**chip.neuron.threshold_bits.value
        assert np.abs(params["bias"]).max() < 2 ** (chip.neuron.bias_bits.value - 1)
        for name in ("u_decay", "v_decay"):
            assert params[name].min() >= 0
            assert params[name].max() <= 4096
        into = [p.op for p in result.into(population.name)]
        assert note["weights"] == sum(op.taps for op in into)
        wanted = sum(p.op.taps for p in network.into(population.name))
        assert note["rounded_to_zero"] == wanted - note["weights"]
        top = Limits.of(chip, note["bits"]).weight << note["exponent"]
        assert all(np.abs(op.weight.data if isinstance(op, Linear) else op.weight).max(initial=0) <= top for op in into)
        sets = np.unique(np.stack([params[n].ravel() for n in ("u_decay", "v_decay", "threshold")]), axis=1).shape[1]
        assert sets <= max(chip.core.neuron_groups.value // 2, 2 * note["scales"])
    if data:
        assert found["output_cost"] <= found["output_cost_plain"]
        for note in found["layers"]:
            if "cost" in note:
                assert note["cost"] <= note["cost_plain"]


@settings(max_examples=30, deadline=None)
@given(network=networks(), bits=st.sampled_from([1, 3, 8]))
def test_a_trial_is_the_layer_in_the_network(network: Network, bits: int) -> None:
    """Fed with what an integer network puts out, a layer alone does what it does there: the reference says so."""
    data = spikes(network, samples=3, steps=7)
    result, _ = searched(network, Rules.of(LOIHI, bits, 3, several=True))
    rasters = reference.simulate(result, data)
    limits = Limits.of(LOIHI, bits)
    for population in network.layers:
        layer = Layer.of(network, population.name)
        flat = rasters[layer.name].reshape(3, 7, -1)
        trial = Trial(network, layer, {p.pre: rasters[p.pre] for p in layer.incoming}, flat)
        ours = rounded(layer, scales.plain(layer, limits), limits, "cuba_fixed")
        held = replace(ours, population=result[layer.name], incoming=result.into(layer.name))
        assert np.array_equal(trial.spikes(held), flat)
        assert trial.cost(held).sum() == 0


def test_cost_counts_misplaced_spikes_and_wrong_counts() -> None:
    wanted = np.array([[[1, 0, 1], [0, 0, 1], [0, 1, 0]]], bool)
    spikes = np.array([[[0, 0, 1], [1, 0, 0], [0, 0, 0]]], bool)
    assert cost(spikes, wanted).tolist() == [[2, 2, 2]]  # late; one missing; one missing
    assert cost(wanted, wanted).sum() == 0


def test_a_part_of_a_large_layer_stands_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    network = lower(mlp((40, 60, 10)))
    data = Samples(spikes(network, samples=4, steps=10))
    calibration = Calibration.of(network, data)
    layer = Layer.of(network, "fc1")
    whole = calibration.alone(layer)
    assert whole.layer is layer
    assert len(whole.wanted) == 4
    monkeypatch.setattr("snnc.quantization.calibration.WORK", 1000)
    part = calibration.alone(layer)
    assert 1 <= part.layer.size < 30
    assert part.wanted.shape == (1, 10, part.layer.size)
    result, found = searched(network, Rules.of(LOIHI, 4, 2, several=True), data)
    assert result["fc1"].size == 60
    assert found["layers"][0]["cost"] <= found["layers"][0]["cost_plain"]


def test_few_samples_of_many_are_looked_at() -> None:
    network = lower(mlp())
    calibration = Calibration.of(network, Samples(spikes(network, samples=300)))
    assert calibration.samples == 128


def test_a_convolution_that_is_too_large_is_adjusted_by_some_of_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    network = lower(conv())
    data = Samples(spikes(network, samples=8, steps=12))
    everything = searched(network, Rules.of(LOIHI, 2, 3, several=True), data)[1]["layers"]
    monkeypatch.setattr("snnc.quantization.adjust.WORK", 1 << 19)
    some = searched(network, Rules.of(LOIHI, 2, 3, several=True), data)[1]["layers"]
    assert everything[0]["moved"] > 0
    assert some[0]["moved"] > 0
    assert some[0] != everything[0]
    monkeypatch.setattr("snnc.quantization.adjust.WORK", 100)
    _, found = searched(network, Rules.of(LOIHI, 2, 3, several=True), data)
    assert all(layer["moved"] == 0 for layer in found["layers"])


def test_moving_weights_spares_cost_on_other_data() -> None:
    """At 2 bits nearest rounding is poor; what was learnt from some samples holds for others."""
    network = lower(mlp((40, 60, 10), density=0.4))
    data, test = spikes(network, samples=64, steps=10), spikes(network, samples=64, steps=10, seed=1)
    rules = Rules.of(LOIHI, 2, 2, several=False)
    moved, found = searched(network, rules, Samples(data))
    assert sum(layer["moved"] for layer in found["layers"]) > 10
    still = pytest.MonkeyPatch()
    still.setattr("snnc.quantization.adjust.SWEEPS", 0)
    try:
        fixed, _ = searched(network, rules, Samples(data))
    finally:
        still.undo()
    wanted = floating.simulate(network, test)
    off = [int(cost(reference.simulate(n, test)["fc1"], wanted["fc1"]).sum()) for n in (moved, fixed)]
    assert off[0] < 0.95 * off[1]
    assert not identical(moved, fixed)

"""Neurons that rest after a spike, spikes that carry values, and resets in the middle of a recording."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import networks, population, recordings

import snnc
from snnc import rules
from snnc import target as targets
from snnc.errors import InputError, UsageError
from snnc.network import Network, Population, Projection
from snnc.ops import Linear, canonical
from snnc.passes import trim
from snnc.samples import Samples
from snnc.simulator import reference, simulate
from snnc.targets.lava.chain import chain as chained


def line(*layers: Population, weight: int = 10) -> Network:
    """Single neurons in a row behind one input."""
    every = (Population("in", (1,), "input"), *layers)
    one = Linear(canonical(np.array([[weight]], np.int16)))
    links = tuple(Projection(f"p{k}", every[k].name, every[k + 1].name, (one,)) for k in range(len(layers)))
    return Network(every, links, (layers[-1].name,), 1e-3)


def resting(steps: int) -> Population:
    plain = population("out", (1,), threshold=5, v_decay=4096)
    return replace(plain, params={**plain.params, "refractory": np.array([steps], np.int32)})


def graded(name: str = "values", threshold: int = 15) -> Population:
    return replace(population(name, (1,), threshold=threshold, v_decay=0), neuron="graded_fixed")


@pytest.mark.parametrize(("steps", "expected"), [(0, [1] * 7), (1, [1, 0] * 4), (2, [1, 0, 0, 1, 0, 0, 1])])
def test_a_neuron_rests_for_so_many_steps(steps: int, expected: list[int]) -> None:
    """Driven above its threshold in every step."""
    run = simulate(line(resting(steps)), Samples(np.ones((1, 7, 1), np.uint8)), rasters=["out"])
    assert run.rasters["out"][0, :, 0].astype(int).tolist() == expected[:7]


def test_a_spike_carries_its_membrane() -> None:
    """v of the first: 10, 20 -> sends 20, and so on; the second gets 200 and passes its threshold of 150."""
    net = line(graded(), population("out", (1,), threshold=150, v_decay=4096))
    run = simulate(net, Samples(np.ones((1, 6, 1), np.uint8)), traces=[("u", "out"), ("spikes", "values")])
    assert (run.traces["u", "out"][0, :, 0] >> reference.UNIT).tolist() == [0, 200, 0, 200, 0, 200]
    assert run.outputs.tolist() == [[3]]
    assert run.traces["spikes", "values"].sum() == 3


def test_only_chips_that_can_take_them() -> None:
    values = line(graded(), population("out", (1,)))
    loihi, loihi2 = targets.load("loihi"), targets.load("loihi2")
    assert [v.rule for v in rules.neuron_model(values, loihi)] == ["neuron"]
    assert not list(rules.neuron_model(values, loihi2))
    assert not list(rules.integers(line(resting(63)), loihi))
    assert [v.rule for v in rules.integers(line(resting(64)), loihi)] == ["refractory"]
    image = snnc.compile(values, "loihi2")
    assert image.network["values"].neuron == "graded_fixed"


def test_bad_ones_are_refused() -> None:
    with pytest.raises(InputError, match="of which there is no count"):
        line(graded())
    ones = Samples(np.ones((1, 3, 1), np.uint8))
    with pytest.raises(InputError, match="threshold of 0 or more, got -1"):
        simulate(line(graded(threshold=-1), population("out", (1,))), ones)
    with pytest.raises(InputError, match="refractory counts steps, got -2"):
        simulate(line(resting(-2)), ones)
    for net in (line(resting(1)), line(graded(), population("out", (1,)))):
        with pytest.raises(InputError, match="no model behind"):
            chained(net)


def test_trim_knows_no_bound_on_values() -> None:
    """A neuron that no single spike can drive, but a value can."""
    net = line(graded(), population("out", (1,), threshold=150, v_decay=4096))
    assert [p.name for p in trim.trim(net).network.layers] == ["values", "out"]
    binary = line(population("v", (1,), threshold=15, v_decay=0), population("out", (1,), threshold=150, v_decay=4096))
    assert simulate(binary, Samples(np.ones((1, 9, 1), np.uint8))).outputs.sum() == 0


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_reset_begins_a_sample(data: st.DataObject) -> None:
    """A recording that is reset every few steps is as many samples, in any pieces."""
    net = data.draw(networks())
    spikes = data.draw(recordings(net.inputs[0].shape))
    samples, steps = spikes.shape[:2]
    every = data.draw(st.integers(1, steps))
    steps -= steps % every
    names = [p.name for p in net.populations]
    long = simulate(net, Samples(spikes[:, :steps]), rasters=names, reset_every=every)
    windows = spikes[:, :steps].reshape(-1, every, *spikes.shape[2:])
    short = simulate(net, Samples(windows), rasters=names)
    for name in names:
        expected = short.rasters[name].reshape(samples, steps, *net[name].shape)
        np.testing.assert_array_equal(long.rasters[name], expected, err_msg=name)


def test_a_reset_takes_a_step() -> None:
    with pytest.raises(UsageError, match="a reset every 0 steps"):
        simulate(line(resting(0)), Samples(np.ones((1, 3, 1), np.uint8)), reset_every=0)

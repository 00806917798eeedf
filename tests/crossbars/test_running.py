"""Compiled networks on the clocked simulator, beside slow models that read the memory files, and step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clocked_networks import ODIN, RANC, SlowCrossbar, SlowGrid, mlp, network, networks, neurons, synapses, trains
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnc.crossbars import core, memories, packets, steps
from snnc.crossbars.compiler import compile
from snnc.crossbars.image import Image
from snnc.crossbars.running import agreement, run
from snnc.crossbars.ticks import offsets
from snnc.errors import InputError, UsageError
from snnc.network import Network
from snnc.samples import Samples

# Kernels are compiled within the first example, and files are made anew by each.
several = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def leaky(image: Image, leak: int) -> Image:
    """The same with a leak, which no network that is read can have."""
    populations = tuple(
        p
        if p.neuron == "input"
        else type(p)(p.name, p.shape, p.neuron, {**p.params, "leak": np.full(p.shape, leak, np.int32)}, p.semantics)
        for p in image.network.populations
    )
    net = image.network
    return Image(Network(populations, net.projections, net.outputs, net.dt, net.name), image.chip)


@several
@given(networks(), st.integers(0, 3), st.booleans(), st.integers(1, 3))
def test_a_crossbar_does_as_its_memories_say(
    tmp_path: Path, net: Network, leak: int, calibrated: bool, most: int
) -> None:
    data = Samples(trains(net) * np.random.default_rng(0).integers(1, most + 1, (3, 12, net.inputs[0].size)))
    image = leaky(compile(net, ODIN, samples=data if calibrated else None), leak)
    memories.write(image, tmp_path)
    ran = run(image, data)
    every = np.concatenate([ran.spikes[p.name] for p in net.layers if p.name in ran.spikes], axis=2)
    for sample, spikes in enumerate(data.spikes):
        slow = SlowCrossbar(tmp_path)
        sent = core.events(image.network, spikes)
        expected = np.zeros_like(every[sample])
        parts = np.split(sent.events, np.flatnonzero(sent.waits)[1:])
        for step, events in zip(sent.steps, parts, strict=True):
            np.add.at(expected[step], slow.step(events.tolist()), 1)
        assert np.array_equal(every[sample], expected)
        assert ran.potential[sample].tolist() == slow.v[: slow.last + 1]
        assert ran.counts["lost"][sample] == slow.lost


@several
@given(networks(resets=("zero", "subtract")), st.booleans())
def test_a_grid_does_as_its_memories_say(tmp_path: Path, net: Network, calibrated: bool) -> None:
    data = Samples(trains(net, samples=2))
    image = compile(net, RANC, samples=data if calibrated else None)
    memories.write(image, tmp_path)
    ran, load = run(image, data), image.loaded
    assert isinstance(load, packets.Loaded)
    late = offsets(image.network)
    lag = np.concatenate([np.full(p.size, late[p.name]) for p in image.network.layers])
    every = np.concatenate([ran.spikes[p.name] for p in image.network.layers], axis=2)
    for sample, spikes in enumerate(data.spikes):
        slow = SlowGrid(tmp_path, 4, 15)
        expected, outputs = np.zeros_like(every[sample]), np.zeros_like(ran.outputs[sample])
        for tick in range(len(spikes) + max(late.values())):
            for channel in np.flatnonzero(spikes[tick]) if tick < len(spikes) else ():
                for word in load.packet[load.channel == channel].tolist():
                    slow.send(0, word >> 21, word >> 12 & 511, word >> 4 & 255, tick + (word & 15))
            fired, left = slow.tick(tick)
            for neuron in range(len(load.core)):
                step = tick - lag[neuron]
                if 0 <= step < len(spikes) and (load.core[neuron], load.row[neuron]) in fired:
                    expected[step, neuron] += 1
            if 0 <= tick - late[net.outputs[0]] < len(spikes):
                np.add.at(outputs, left, 1)
        assert np.array_equal(every[sample], expected)
        assert np.array_equal(ran.outputs[sample], outputs)
        placed = load.core >= 0
        slow_v = [slow.v[c][r] for c, r in zip(load.core[placed], load.row[placed], strict=True)]
        assert ran.potential[sample][placed].tolist() == slow_v
    assert not ran.counts["lost"].any()
    assert not ran.counts["refused"].any()


@several
@given(networks(resets=("zero", "subtract")), st.booleans())
def test_a_grid_is_the_network_step_by_step(net: Network, calibrated: bool) -> None:
    """In every spike, wraps of the register included; and in the membranes of what is read out, which ends last."""
    data = Samples(trains(net))
    image = compile(net, RANC, samples=data if calibrated else None)
    ran = run(image, data)
    found, _ = agreement(image, ran, data)
    assert not any(a.differing for a in found)
    wanted = steps.simulate(image.network, data.spikes, image.register)
    last = net.outputs[0]
    assert np.array_equal(ran.outputs, wanted.spikes[last].sum(axis=1))
    late = offsets(image.network)
    if late[last] == max(late.values()):
        assert np.array_equal(ran.potential[:, -net[last].size :], wanted.potential[last])


@several
@given(st.integers(0, 2**32), st.integers(0, 2))
def test_a_crossbar_is_the_network_step_by_step_where_neurons_get_an_event_a_step(seed: int, leak: int) -> None:
    """One input spike a step, and behind it neurons that listen to one other: then nothing comes in between."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-7, 8, (8, 6))
    weight[:, 0] = 7  # so that some do spike
    listens = np.eye(8)[rng.integers(0, 8, 5)] * rng.choice([2, 7], (5, 1)) / 8
    net = network(
        neurons("h1", 8, rng.uniform(0.5, 2, 8)),
        synapses("in", "h1", weight / 8),
        neurons("h2", 5, rng.uniform(0.5, 2, 5)),
        synapses("h1", "h2", listens),
        size=6,
    )
    data = Samples(np.eye(6, dtype=np.uint8)[rng.integers(0, 6, (3, 40))])
    image = leaky(compile(net, ODIN), leak)
    ran = run(image, data)
    # A chip leaks at the end of a step, the step by step network at the beginning of the next.
    wanted = steps.simulate(image.network, data.spikes, image.register)
    for name in ("h1", "h2"):
        assert np.array_equal(ran.spikes[name], wanted.spikes[name])
        assert leak or ran.spikes[name].any()


def test_a_neuron_fires_in_the_middle_of_a_step() -> None:
    """Three of an example: 5 + 5 reach 8 and leave nothing; of the last 5 the step by step network knows nothing."""
    net = network(neurons("h1", 1, 8), synapses("in", "h1", np.array([[5, 5, 5, -7]])), size=4)
    image = compile(net, ODIN)
    (threshold,) = image.network["h1"].params["threshold"]
    assert threshold == 8
    data = Samples(np.array([[[1, 1, 1, 0]], [[1, 1, 0, 1]]], np.uint8))
    ran = run(image, data)
    assert ran.potential.tolist() == [[5], [-7]]
    assert ran.spikes["h1"].ravel().tolist() == [1, 1]
    wanted = steps.simulate(image.network, data.spikes, image.register)
    assert wanted.potential["h1"].tolist() == [[0], [3]]
    assert wanted.spikes["h1"].ravel().tolist() == [1, 0]
    found, _ = agreement(image, ran, data)
    assert [(a.chip, a.steps, a.differing) for a in found] == [(2, 1, 1)]


def test_spikes_that_lead_back_arrive_in_the_same_step() -> None:
    net = network(
        neurons("h1", 2, [1, 1]),
        synapses("in", "h1", np.array([[1], [0]])),
        synapses("h1", "h1", np.array([[0, 0], [1, 0]])),
        size=1,
    )
    image = compile(net, ODIN)
    data = Samples(np.array([[[1], [0], [0]]], np.uint8))
    assert run(image, data).spikes["h1"][0].tolist() == [[1, 1], [0, 0], [0, 0]]
    wanted = steps.simulate(image.network, data.spikes, image.register)
    assert wanted.spikes["h1"][0].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_cycles_of_a_step_by_hand() -> None:
    """2 cycles to see an event, 2 to queue it, 3 to be free, 1 to choose it, 2 for each neuron, 1 to drop it."""
    net = network(neurons("h1", 2, 4), synapses("in", "h1", np.array([[1], [1]])), size=1)
    image = compile(net, ODIN)
    ran = run(image, Samples(np.array([[[1], [0], [1], [0]]], np.uint8)))
    assert ran.cycles.tolist() == [[13, 0, 13, 0]]
    assert ran.total.tolist() == [26]
    assert {name: count.tolist() for name, count in ran.counts.items()} == {
        "events": [2],
        "spikes": [0],
        "synapse_reads": [4],
        "neuron_reads": [4],
        "neuron_writes": [4],
        "lost": [0],
    }


def test_ticks_of_a_grid_by_hand() -> None:
    net = network(neurons("h1", 2, 4), synapses("in", "h1", np.array([[1], [1]])), size=1)
    image = compile(net, RANC)
    load = image.loaded
    assert isinstance(load, packets.Loaded)
    ran = run(image, Samples(np.array([[[1], [0], [1], [0]]], np.uint8)))
    # A pass takes 66,051 cycles; one packet may come, and the chip is eight places long and wide.
    assert load.period == 66_051 + 2 + 6 + 16 + 64
    assert ran.cycles.tolist() == [[load.period] * 4]
    assert [int(ran.counts[name][0]) for name in ("packets_in", "ticks", "arrivals", "spikes")] == [2, 4, 2, 0]


def runs_alike(image: Image, data: Samples) -> bool:
    one, many = run(image, data, threads=1), run(image, data, threads=4)
    return all(np.array_equal(one.spikes[name], many.spikes[name]) for name in one.spikes) and np.array_equal(
        one.total, many.total
    )


@pytest.mark.parametrize("chip", [ODIN, RANC], ids=["crossbar", "grid"])
def test_any_number_of_threads_gives_the_same(chip: object) -> None:
    net = mlp(12, 10, 4)
    assert runs_alike(compile(net, chip), Samples(trains(net, samples=7)))


@pytest.mark.parametrize(
    ("chip", "spikes", "says"),
    [
        (ODIN, np.full((1, 2, 3), -1), "less than 0"),
        (ODIN, np.full((1, 2, 3), 0.5), "whole numbers"),
        (ODIN, np.ones((1, 2, 4), np.uint8), "shape"),
        (RANC, np.full((1, 2, 3), 2), "zeros and ones"),
    ],
)
def test_data_that_do_not_fit(chip: object, spikes: np.ndarray, says: str) -> None:
    image = compile(mlp(3, 2), chip)
    with pytest.raises(InputError, match=says):
        run(image, Samples(spikes))
    with pytest.raises(UsageError, match="thread"):
        run(image, Samples(np.ones((1, 2, 3), np.uint8)), threads=0)


def test_a_loop_that_never_rests_is_told() -> None:
    net = network(
        neurons("h1", 1, 1), synapses("in", "h1", np.array([[1]])), synapses("h1", "h1", np.array([[1]])), size=1
    )
    image = compile(net, ODIN)
    with pytest.raises(InputError, match="not at rest"):
        run(image, Samples(np.ones((1, 1, 1), np.uint8)))

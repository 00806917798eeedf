"""Dead neurons: none is left, and no spike of any other neuron moves."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from float_networks import DT, chain, cuba, lif
from float_networks import spikes as random_spikes
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import networks, population, recordings

import snnc
from snnc import ops
from snnc.network import Network, Population, Projection, identical
from snnc.ops import Conv2d, Linear, Op, canonical
from snnc.passes import trim as module
from snnc.passes.trim import Trimmed, runs, trim
from snnc.samples import Samples
from snnc.simulator import floating, reference, simulate
from snnc.target import load

several = settings(deadline=None, max_examples=100)


def pruned(network: Network, rng: np.random.Generator, density: float) -> Network:
    """The same network with a random part of its weights, whole channels of kernels among what goes."""

    def thin(op: Op) -> Op:
        if isinstance(op, Conv2d):
            kept = rng.random(op.weight.shape) < density
            kept &= (rng.random(len(op.weight)) < 0.7)[:, None, None, None]
            kept &= (rng.random(op.weight.shape[1]) < 0.7)[None, :, None, None]
            return replace(op, weight=op.weight * kept)
        assert isinstance(op, Linear)
        weight = op.weight.copy()
        weight.data = weight.data * (rng.random(weight.nnz) < density)
        return Linear(canonical(weight))

    projections = tuple(replace(p, ops=tuple(map(thin, p.ops))) for p in network.projections)
    return replace(network, projections=projections)


def assert_same_spikes(before: dict[str, np.ndarray], found: Trimmed, after: dict[str, np.ndarray]) -> None:
    for name, raster in after.items():
        flat = before[name].reshape(*raster.shape[:2], -1)
        kept = flat[..., found.kept[name]] if name in found.kept else flat
        np.testing.assert_array_equal(raster.reshape(kept.shape), kept, err_msg=name)


def assert_only_the_dead_are_gone(before: Network, found: Trimmed, rasters: dict[str, np.ndarray]) -> None:
    """Silent ones never spiked here; places of inputs and outputs did not move; a second look finds no more."""
    after = found.network
    for name in (*(p.name for p in before.inputs), *before.outputs):
        assert name not in found.kept
        assert after[name].shape == before[name].shape
    for name, kept in found.kept.items():
        gone = np.ones(before[name].size, bool)
        gone[kept] = False
        assert gone.sum() == found.silent[name] + found.unread[name] > 0
        fired = rasters[name].reshape(-1, before[name].size)[:, gone].any(axis=0)
        assert fired.sum() <= found.unread[name]
        assert (name in after.rank) == bool(len(kept))
    counts = [sum(ops.matrix(p.op, n[p.pre].shape).nnz for p in n.projections) for n in (before, after)]
    assert found.synapses == counts[0] - counts[1]
    again = trim(after)
    assert not again.kept
    assert not again.synapses
    assert identical(again.network, after)


@several
@given(st.data())
def test_no_spike_of_an_integer_network_changes(data: st.DataObject) -> None:
    """Branches, recurrence, feedback, delays, biases, convolutions, currents that wrap; spikes and graded values."""
    network = data.draw(networks())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    network = pruned(network, rng, data.draw(st.sampled_from([0.02, 0.1, 0.3, 1])))
    spikes = data.draw(recordings(network.inputs[0].shape))
    if data.draw(st.booleans()):
        spikes = (spikes * rng.integers(-100, 101, spikes.shape)).astype(np.int32)
    found = trim(network)
    rasters = reference.simulate(network, spikes)
    assert_same_spikes(rasters, found, reference.simulate(found.network, spikes))
    assert_only_the_dead_are_gone(network, found, rasters)


@st.composite
def float_networks(draw: st.DrawFn) -> Network:
    """Three layers with biases, one with currents, a branch, recurrence, and a delay; weights are multiples of 1/8."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.02, 0.1, 0.3]))
    low = draw(st.sampled_from([-3, -1, 0]))

    def dense(out: int, into: int, bias: bool) -> Linear:
        weight = rng.integers(-4, 9, (out, into)) * (rng.random((out, into)) < density)
        return Linear(canonical(weight / 8), rng.integers(low, 2, out) / 8 if bias else None)

    layers = [
        Population("input", (6,), "input"),
        lif("a", (12,), beta=0.75),
        cuba("b", (10,), alpha=0.5, beta=0.75),
        lif("c", (5,), beta=0.5),
    ]
    links = [(dense(b.size, a.size, draw(st.booleans())),) for a, b in pairwise(layers)]
    made = chain(layers, links)
    more = [
        Projection("branch", "a", "c", (dense(5, 12, False),), 2),
        Projection("loop", "b", "b", (dense(10, 10, False),)),
        Projection("back", "c", "a", (dense(12, 5, False),)),
    ]
    return replace(made, projections=(*made.projections, *more))


@several
@given(network=float_networks(), seed=st.integers(0, 99))
def test_no_spike_of_a_float_network_changes(network: Network, seed: int) -> None:
    found = trim(network)
    spikes = random_spikes(network, samples=3, steps=15, rate=0.5, seed=seed)
    rasters = floating.simulate(network, spikes)
    assert_same_spikes(rasters, found, floating.simulate(found.network, spikes))
    assert_only_the_dead_are_gone(network, found, rasters)


def dense(*rows: list[int]) -> tuple[Linear]:
    return (Linear(canonical(np.array(rows, np.int16))),)


def integers(*layers: Population, links: list[tuple[Op, ...]]) -> Network:
    return chain([Population("in", (2,), "input"), *layers], links)


def test_each_reason_is_told_apart() -> None:
    """Of five neurons one is fed and read; one has no input, one only an inhibiting one, one no output, one neither."""
    network = integers(
        population("mid", (5,)),
        population("hidden", (5,), threshold=5),
        population("out", (2,)),
        links=[
            dense([90, 0], [0, 90], [0, 90], [0, 90], [0, 0]),
            dense([9, 0, 0, 0, 0], [0] * 5, [0, -9, 0, 0, 0], [0, 0, 9, 0, 0], [0] * 5),
            dense([90, 90, 90, 0, 0], [0, 0, 0, 0, 0]),
        ],
    )
    found = trim(network)
    assert found.kept["hidden"].tolist() == found.kept["mid"].tolist() == [0]
    assert (found.silent["hidden"], found.unread["hidden"]) == (3, 1)
    assert (found.silent["mid"], found.unread["mid"]) == (1, 3)
    assert found.synapses == 3 + 2 + 2
    assert [p.shape for p in found.network.populations] == [(2,), (1,), (1,), (2,)]


@pytest.mark.parametrize(
    ("params", "spikes"),
    [
        ({"bias": 0, "threshold": 0}, False),
        ({"bias": -5, "threshold": 0}, False),
        ({"bias": 1, "threshold": 0}, True),
        ({"bias": 5, "threshold": 5, "v_decay": 4096}, False),
        ({"bias": 6, "threshold": 5, "v_decay": 4096}, True),
        ({"bias": 1, "threshold": 1000, "v_decay": 0}, True),
        # It rises until a step of the decay takes off the bias, 64: to 63 * 128 + 1, just above 126 * 64.
        ({"bias": 1, "threshold": 126, "v_decay": 32}, True),
        ({"bias": 1, "threshold": 127, "v_decay": 32}, False),
        ({"bias": 4095, "threshold": (1 << 17) - 1, "v_decay": 0}, True),
        ({"bias": 4095, "threshold": 1 << 17, "v_decay": 0}, False),  # beyond the register
    ],
)
def test_a_bias_alone(params: dict[str, int], spikes: bool) -> None:
    network = integers(
        population("biased", (2,), **params), population("out", (1,)), links=[dense([0, 0], [0, 0]), dense([90, 90])]
    )
    fired = simulate(network, Samples(np.zeros((1, 3000, 2), np.uint8))).spikes[:, 2:4]
    assert fired.any() == spikes
    assert ("biased" in trim(network).network.rank) == spikes


@settings(deadline=None, max_examples=200)
@given(
    u_decay=st.sampled_from([0, 1, 300, 2048, 4095, 4096]),
    v_decay=st.sampled_from([0, 1, 700, 4095, 4096]),
    weight=st.integers(-40, 40),
    inhibits=st.sampled_from([0, -10, -32768]),
    bias=st.integers(-20, 20),
    threshold=st.integers(0, 300),
)
def test_the_bound_is_that_of_the_registers(u_decay, v_decay, weight, inhibits, bias, threshold) -> None:
    """A neuron fed by one that spikes at will: what is called silent is, and what spikes at full drive is not."""
    network = integers(
        population("free", (2,), threshold=0),
        population("n", (1,), u_decay=u_decay, v_decay=v_decay, bias=bias, threshold=threshold),
        population("out", (1,)),
        links=[dense([1, 0], [0, 1]), dense([weight, inhibits]), dense([1])],
    )
    rng = np.random.default_rng(0)
    data = np.zeros((5, 2000, 2), np.uint8)
    data[1, :, 0] = data[2, :, 1] = data[3] = 1
    data[4] = rng.random((2000, 2)) < 0.5
    fired = bool(simulate(network, Samples(data)).spikes[:, 4].any())
    silent = "n" not in trim(network).network.rank
    assert not (fired and silent)
    if inhibits > -32768:  # else a current might wrap, and is not looked at
        # Growth without end, and a current that gathers for 4,096 steps, are not seen in 2,000.
        assert fired or silent or u_decay <= 1 or v_decay <= 1


def test_a_ring_that_nothing_starts_is_dead() -> None:
    ring = Linear(canonical(np.roll(np.eye(4, dtype=np.int16) * 90, 1, axis=0)))
    network = integers(
        population("ring", (4,), threshold=50),
        population("out", (1,), threshold=50),
        links=[dense(*[[0, 0]] * 4), dense([90, 0, 0, 0])],
    )
    network = replace(network, projections=(*network.projections, Projection("loop", "ring", "ring", (ring,))))
    assert trim(network).silent["ring"] == 4
    # One input, and all of it lives; where only the first is read, all lead there.
    fed = replace(network.projections[0], ops=dense([90, 0], [0, 0], [0, 0], [0, 0]))
    assert not trim(replace(network, projections=(fed, *network.projections[1:]))).kept


def test_a_search_without_end_leaves_what_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    network = integers(
        population("dead", (3,)), population("out", (1,)), links=[dense(*[[0, 0]] * 3), dense([9, 9, 9])]
    )
    assert trim(network).kept
    monkeypatch.setattr(module, "WORK", -1)
    monkeypatch.setattr(module, "ROUNDS", -1)
    assert not trim(network).kept


def kernels(*shapes: tuple[int, int], groups: tuple[int, ...] = (1, 1)) -> list[Conv2d]:
    rng = np.random.default_rng(0)
    return [
        Conv2d(rng.integers(1, 90, (out, into // g, 2, 2)).astype(np.int16), None, groups=g)
        for (out, into), g in zip(shapes, groups, strict=True)
    ]


def conv_network(first: Conv2d, second: Conv2d) -> Network:
    channels = first.weight.shape[0]
    layers = [
        Population("in", (first.weight.shape[1] * first.groups, 5, 5), "input"),
        population("a", (channels, 4, 4), threshold=50),
        population("b", (len(second.weight), 3, 3), threshold=90),
        population("out", (2,), threshold=90),
    ]
    rng = np.random.default_rng(1)
    fc = Linear(canonical(rng.integers(-90, 90, (2, 9 * len(second.weight))).astype(np.int16)))
    return chain(layers, [(first,), (second,), (fc,)])


def test_whole_channels_of_a_convolution_go_and_it_stays_one() -> None:
    first, second = kernels((4, 2), (3, 4))
    first.weight[1] = 0  # silent
    second.weight[:, 2] = 0  # not read
    second.weight[0] = -1  # inhibits alone: silent
    network = conv_network(first, second)
    found = trim(network)
    assert [p.shape for p in found.network.layers] == [(2, 4, 4), (2, 3, 3), (2,)]
    assert (found.silent, found.unread) == ({"a": 16, "b": 9}, {"a": 16, "b": 0})
    a, b, fc = (p.op for p in found.network.projections)
    assert isinstance(a, Conv2d)
    assert isinstance(b, Conv2d)
    np.testing.assert_array_equal(a.weight, first.weight[[0, 3]])
    np.testing.assert_array_equal(b.weight, second.weight[1:][:, [0, 3]])
    assert fc.weight.shape == (2, 18)
    data = (np.random.default_rng(2).random((3, 9, 2, 5, 5)) < 0.5).astype(np.uint8)
    rasters = reference.simulate(network, data)
    assert rasters["out"].any()
    assert_same_spikes(rasters, found, reference.simulate(found.network, data))


def test_single_neurons_of_a_channel_stay_with_it() -> None:
    first, second = kernels((4, 2), (3, 4))
    network = conv_network(first, second)
    fc = network.projections[2].op.weight.toarray()
    fc[:, 3:9] = 0
    network = replace(
        network, projections=(*network.projections[:2], replace(network.projections[2], ops=(Linear(canonical(fc)),)))
    )
    assert not trim(network).kept


def test_single_neurons_go_once_the_convolution_that_kept_them_is_gone() -> None:
    """Nothing reads what the convolution leads to; of the channel before it one neuron is read elsewhere."""
    into = Linear(canonical(np.full((8, 4), 50, np.int16)))
    kernel = Conv2d(np.full((3, 2, 1, 1), 50, np.int16))
    reads = Linear(canonical(np.eye(1, 8, 1, dtype=np.int16) * 50))
    network = Network(
        (
            Population("in", (4,), "input"),
            population("a", (2, 2, 2)),
            population("b", (3, 2, 2)),
            population("out", (1,)),
        ),
        (
            Projection("p0", "in", "a", (into,)),
            Projection("p1", "a", "b", (kernel,)),
            Projection("p2", "a", "out", (reads,)),
        ),
        ("out",),
        1e-3,
    )
    found = trim(network)
    assert [p.name for p in found.network.populations] == ["in", "a", "out"]
    assert {name: places.tolist() for name, places in found.kept.items()} == {"a": [1], "b": []}
    assert (found.silent, found.unread) == ({"a": 0, "b": 0}, {"a": 7, "b": 12})
    assert found.synapses == 7 * 4 + 24


def test_whole_groups_of_a_convolution() -> None:
    """Depthwise: a channel goes with the one it feeds. In groups of two both channels of both sides must be dead."""
    first, second = kernels((4, 2), (4, 4), groups=(1, 4))
    first.weight[1] = 0
    found = trim(conv_network(first, second))
    assert [p.shape[0] for p in found.network.layers] == [3, 3, 2]
    assert found.network.projections[1].op.groups == 3
    first, second = kernels((4, 2), (4, 4), groups=(1, 2))
    first.weight[1] = 0
    assert not trim(conv_network(first, second)).kept
    first.weight[0] = 0
    found = trim(conv_network(first, second))
    assert [p.shape[0] for p in found.network.layers] == [2, 2, 2]
    assert found.network.projections[1].op.groups == 1


def test_runs_tell_every_place() -> None:
    assert runs(np.array([], np.int64)) == []
    assert runs(np.array([3])) == [[3, 4]]
    assert runs(np.array([0, 1, 2, 5, 7, 8])) == [[0, 3], [5, 6], [7, 9]]


def test_a_network_of_integers_is_trimmed_too() -> None:
    network = integers(
        population("mid", (3,), threshold=50),
        population("out", (1,), threshold=50),
        links=[dense([90, 0], [0, 0], [0, 90]), dense([90, 90, 0])],
    )
    assert network.dt == DT
    image = snnc.compile(network, load("loihi2"))
    assert image.network["mid"].size == 1

"""Who is where: rows of a crossbar, digits and copies on a grid, and what the host sends when."""

from __future__ import annotations

import numpy as np
import pytest
from clocked_networks import ODIN, RANC, mlp, network, networks, neurons, synapses, trains
from hypothesis import given, settings
from hypothesis import strategies as st

from snnc.compilation import Options
from snnc.crossbars import core, packets, tiles
from snnc.crossbars.compiler import compile
from snnc.crossbars.running import agreement, run
from snnc.families import ClockedChip
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Flatten, Linear, Pool2d, canonical
from snnc.samples import Samples

several = settings(deadline=None, max_examples=40)


@several
@given(st.integers(0, 2**32), st.integers(1, 12), st.booleans())
def test_weights_are_sums_of_axons(seed: int, different: int, few: bool) -> None:
    rng = np.random.default_rng(seed)
    limit = rng.choice([4, 8]) if different < 8 else 8
    values = rng.choice(np.setdiff1d(np.arange(-limit, limit), [0]), different, replace=False)
    weights = rng.choice(values, 20)
    if few:
        weights = np.where(weights > 0, 5, -2)
    by_type, digit = tiles._digits(weights, 4)
    assert np.array_equal(digit @ by_type, weights)
    distinct, bits = len(np.unique(weights)), next(b for b in range(1, 5) if np.all(np.abs(weights + 0.5) < 1 << b - 1))
    assert np.count_nonzero(digit.any(axis=0)) <= min(distinct, bits)
    if distinct <= bits:
        assert np.array_equal(digit.sum(axis=1), np.ones(20))


@several
@given(networks(resets=("zero", "subtract")), st.integers(1, 4))
def test_every_copy_sends_to_one_axon_and_every_axon_has_a_source(net: Network, bits: int) -> None:
    image = compile(net, RANC, options=Options(bits=bits))
    placed, load = image.placement, image.loaded
    assert isinstance(load, packets.Loaded)
    made = tiles.digits(image.network, RANC)
    listening, key = tiles.axons(made, placed)
    assert np.bincount(listening).max() <= 256
    assert placed.row.max() < 256
    sent = int(np.count_nonzero(made.source[key // 4] >= 0))
    outputs = image.network[image.network.outputs[0]].size
    assert len(placed.neuron) == sent + outputs
    assert len(load.packet) == len(key) - sent
    tiles.check(image.network, RANC, placed)


@pytest.mark.parametrize(
    ("sizes", "bits", "least"),
    [((35, 47, 57, 11), 4, 4), ((57, 54, 35, 57, 58), 2, 2), ((60, 90, 40), 2, 2), ((64, 80, 10), 4, 10)],
)
def test_several_cores_are_the_network_step_by_step(sizes: tuple[int, ...], bits: int, least: int) -> None:
    """Copies that are counted for more cores than there are in the end among them; and cores in several rows."""
    net = mlp(*sizes, seed=4, bias=True)
    data = Samples(trains(net, samples=2, steps=10, rate=0.3))
    image = compile(net, RANC, options=Options(bits=bits))
    assert image.placement.cores >= least
    ran = run(image, data)
    found, _ = agreement(image, ran, data)
    assert all(a.chip for a in found)
    assert not any(a.differing for a in found)
    assert not ran.counts["lost"].any()
    assert not ran.counts["refused"].any()
    last = image.network.outputs[0]
    assert np.array_equal(ran.outputs, ran.spikes[last].sum(axis=1))


def test_recurrent_layers_on_a_grid() -> None:
    rng = np.random.default_rng(5)
    net = network(
        neurons("h1", 30),
        synapses("in", "h1", rng.normal(0.2, 0.4, (30, 20))),
        synapses("h1", "h1", rng.normal(-0.1, 0.2, (30, 30))),
        neurons("h2", 6),
        synapses("h1", "h2", rng.normal(0.1, 0.3, (6, 30))),
        size=20,
    )
    data = Samples(trains(net, steps=20))
    image = compile(net, RANC, samples=data)
    found, _ = agreement(image, run(image, data), data)
    assert all(a.chip for a in found)
    assert not any(a.differing for a in found)


@pytest.mark.parametrize("chip", [ODIN, RANC], ids=["crossbar", "grid"])
def test_convolutions_become_synapses(chip: ClockedChip) -> None:
    """A strided convolution, a pool and a linear layer; on a grid the chip is the network step by step."""
    rng = np.random.default_rng(7)

    def images(name: str, shape: tuple[int, ...]) -> Population:
        params = {"r": np.ones(shape), "v_threshold": np.ones(shape), "v_reset": np.zeros(shape)}
        return Population(name, shape, "if", params)

    kernel = Conv2d(rng.normal(0.2, 0.3, (3, 1, 3, 3)), rng.normal(0, 0.1, 3), (1, 1), (0, 0), (1, 1), 1)
    dense = Linear(canonical(rng.normal(0.2, 0.4, (4, 12))))
    net = Network(
        (Population("in", (1, 6, 6), "input"), images("c", (3, 4, 4)), images("out", (4,))),
        (
            Projection("p1", "in", "c", (kernel,)),
            Projection("p2", "c", "out", (Pool2d("average", (2, 2), (2, 2)), Flatten(), dense)),
        ),
        ("out",),
        1e-3,
    )
    data = Samples((rng.random((3, 15, 1, 6, 6)) < 0.4).astype(np.uint8))
    image = compile(net, chip, samples=data)
    found, _ = agreement(image, run(image, data), data)
    assert all(a.chip for a in found)
    assert chip is ODIN or not any(a.differing for a in found)


def test_addresses_of_a_crossbar() -> None:
    deep = compile(mlp(5, 4, 3, bias=True), ODIN).network
    assert core.rows(deep) == core.Rows(neurons=7, inputs=7, bias=12, used=13)
    assert not core.rows(deep).open_loop
    alone = compile(mlp(5, 4), ODIN).network
    assert core.rows(alone) == core.Rows(neurons=4, inputs=0, bias=-1, used=5)
    assert core.rows(alone).open_loop


def test_events_of_a_step() -> None:
    """The bias, inputs by address and as often as they count, then, once all is at rest, the leak."""
    shape = (2,)
    params = {"leak": np.ones(shape), "bias": np.ones(shape), "threshold": np.full(shape, 9.0)}
    own = neurons("h1", 2)
    own = type(own)("h1", shape, "linear_fixed", params, own.semantics)
    net = compile(network(own, synapses("in", "h1", np.ones((2, 3))), size=3), ODIN).network
    sent = core.events(net, np.array([[0, 2, 1], [0, 0, 0], [1, 0, 0]]))
    leak = 0x1FF
    assert sent.events.tolist() == [3, 1, 1, 2, leak, 3, leak, 3, 0, leak]
    assert sent.waits.tolist() == [True, False, False, False, True, True, True, True, False, True]
    assert sent.steps.tolist() == [0, 0, 1, 1, 2, 2]
    plain = compile(mlp(3, 2), ODIN).network
    sent = core.events(plain, np.array([[0, 0, 0], [1, 0, 1]]))
    assert (sent.events.tolist(), sent.waits.tolist(), sent.steps.tolist()) == ([0, 2], [True, False], [1])


def test_packets_come_right_after_the_tick_before() -> None:
    image = compile(network(neurons("h1", 1, 9), synapses("in", "h1", np.array([[1, 1]])), size=2), RANC)
    load = image.loaded
    assert isinstance(load, packets.Loaded)
    plan = packets.schedule(load, image.network, np.array([[1, 0], [0, 0], [1, 1]]))
    first = load.first
    assert plan.ticks.tolist() == [first, first + load.period, first + 2 * load.period]
    # One core, at (0, 0): an axon for each input, and no delay.
    assert plan.packets.tolist() == [[0, 0 << 4], [first + load.period + 2, 0 << 4], [first + load.period + 2, 1 << 4]]

"""Delays from the file to the chip: each spike arrives when it should, and its synapses pay for waiting."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import core_counts
import nir
import numpy as np
import pytest
from float_networks import chain, cuba, lif, linear, mlp
from float_networks import spikes as random_spikes
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chips import chip

import snnc
from snnc import resources
from snnc.errors import DoesNotFit
from snnc.network import Network, Population, Projection
from snnc.ops import Delay, Linear, Op, canonical
from snnc.passes.bias import sourced
from snnc.passes.lower import lower
from snnc.samples import Samples
from snnc.simulator import floating, simulate

DT = 1e-3


def halves(rng: np.random.Generator, out: int, into: int) -> Linear:
    """Weights of which quantisation loses nothing, the largest among them."""
    weight = rng.choice([-1.0, 0.0, 0.5, 1.0], (out, into))
    weight[0, 0] = 127 / 64
    return Linear(canonical(weight))


def exact(name: str, size: int) -> Population:
    """A threshold of 1 and no memory: integers do what floats do."""
    return lif(name, (size,), beta=0.0)


def assert_spikes_alike(network: Network, data: np.ndarray) -> snnc.image.Image:
    image = snnc.compile(network, chip(neurons=8), data=Samples(data))
    expected = floating.simulate(network, data)
    rasters = simulate(image, Samples(data), rasters=[p.name for p in image.network.layers]).rasters
    for name in network.outputs:
        assert expected[name].sum() > 20
        np.testing.assert_array_equal(rasters[name], expected[name])
    used = core_counts.count(image.network, image.mapping.core_of, image.target)
    np.testing.assert_array_equal(image.usage.synapse_bits, used.synapse_bits)
    return image


@pytest.mark.parametrize("place", ["first", "between", "last"])
def test_elements_of_different_delay_become_projections(tmp_path: Path, place: str) -> None:
    """A node of NIR delays each element by steps of its own; through the file, the compiler, and the chip."""
    rng = np.random.default_rng(0)
    steps = {"first": 6, "between": 20, "last": 20}[place]
    delay = nir.Delay(rng.integers(0, 4, steps) * DT)
    weights = [halves(rng, b, a).weight.toarray() for a, b in ((6, 20), (20, 5))]
    lifs = [nir.LIF(np.full(n, DT), np.ones(n), np.zeros(n), np.ones(n)) for n in (20, 5)]
    nodes = [nir.Linear(weights[0]), lifs[0], nir.Linear(weights[1]), lifs[1]]
    nodes.insert({"first": 0, "between": 1, "last": 2}[place], delay)
    named = {
        "in": nir.Input(np.array([6])),
        **{f"n{k}": n for k, n in enumerate(nodes)},
        "out": nir.Output(np.array([5])),
    }
    nir.write(tmp_path / "a.nir", nir.NIRGraph(named, list(itertools.pairwise(named))))
    network = snnc.load(tmp_path / "a.nir", dt=DT)
    assert sum(isinstance(op, Delay) for p in network.projections for op in p.ops) == 1
    image = assert_spikes_alike(network, random_spikes(network, steps=20))
    held = sorted(p.delay for p in image.network.projections)
    assert held == [0, 0, 1, 2, 3]
    for projection in image.network.projections:
        bits = resources.other_bits(image.network, projection, image.target.synapse)
        assert bits == (3 if projection.delay else 0)


@settings(deadline=None, max_examples=25)
@given(delays=st.lists(st.integers(0, 62), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_any_delays_of_whole_projections(delays: list[int], seed: int) -> None:
    """Forward, around a loop, and on a short cut."""
    rng = np.random.default_rng(seed)
    made = chain(
        [Population("input", (6,), "input"), exact("a", 12), exact("b", 5)],
        [(halves(rng, 12, 6),), (halves(rng, 5, 12),)],
    )
    first, second = made.projections
    more = [Projection("loop", "a", "a", (halves(rng, 12, 12),), delays[1])]
    network = replace(made, projections=(replace(first, delay=delays[0]), replace(second, delay=delays[2]), *more))
    assert_spikes_alike(network, random_spikes(network, steps=150))


def test_what_takes_a_short_cut_waits_for_the_rest() -> None:
    """On a pipelined chip layer k shows its spikes k steps late: a residual past two layers is held for two."""
    rng = np.random.default_rng(0)
    layers = [Population("input", (6,), "input"), *(exact(f"l{k}", 6) for k in range(1, 5))]
    made = chain(layers, [(halves(rng, 6, 6),)] * 4)
    links: list[tuple[str, str, int]] = [("l1", "l4", 0), ("input", "l4", 2), ("l2", "l2", 0), ("l3", "l1", 1)]
    more = [Projection(f"{a}+{b}", a, b, (halves(rng, 6, 6),), d) for a, b, d in links]
    network = lower(replace(made, projections=(*made.projections, *more)))
    assert list(network.depths.values()) == [0, 1, 2, 3, 4]
    assert [network.held(p) for p in network.projections] == [0, 0, 0, 0, 2, 3 + 2, 0, 1]
    assert_spikes_alike(network, random_spikes(network, steps=30))


def test_a_neuron_that_nothing_feeds_waits_for_nobody() -> None:
    rng = np.random.default_rng(0)
    layers = [Population("input", (6,), "input"), lif("a", (6,)), lif("b", (6,)), cuba("c", (5,))]
    made = chain(layers, [(linear(rng, 6, 6),), (linear(rng, 6, 6),), (linear(rng, 5, 6, bias=True),)])
    network, _ = sourced(lower(made))
    assert network.depths["c.bias"] == -1
    assert [network.held(p) for p in network.projections] == [0] * 5


def test_more_than_the_chip_stores_is_refused() -> None:
    def late(delay: int) -> Network:
        network = mlp()
        return replace(network, projections=(network.projections[0], replace(network.projections[1], delay=delay)))

    snnc.compile(late(62))
    with pytest.raises(DoesNotFit, match="wait 63 steps in it; synapses of loihi store delays up to 62"):
        snnc.compile(late(63))
    network = late(61)
    bypass = Projection("bypass", "input", "fc2", (linear(np.random.default_rng(0), 5, 12),), 62)
    with pytest.raises(DoesNotFit, match="wait 63 steps in it, 1 of these for layers that it passes"):
        snnc.compile(replace(network, projections=(*network.projections, bypass)))


def test_the_widths_are_those_of_the_chip() -> None:
    target = chip()
    (projection, *_), network = mlp().projections, mlp()
    ops: tuple[Op, ...] = (Linear(canonical(np.full(projection.op.weight.shape, 127, np.int16))),)

    def bits(delay: int) -> int:
        changed = replace(projection, ops=ops, delay=delay)
        network_ = replace(network, projections=(changed, *network.projections[1:]))
        return resources.other_bits(network_, changed, target.synapse)

    assert [bits(d) for d in (0, 1, 7, 8, 15, 16, 31, 32, 62)] == [0, 3, 3, 4, 4, 5, 5, 6, 6]

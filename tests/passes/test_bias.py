"""A bias in front of a synaptic current becomes a neuron that always spikes, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_networks import chain, cuba, lif, linear
from small_chips import chip

from snnc import pipeline, simulator
from snnc.network import Network, Population, Projection, identical
from snnc.ops import Conv2d, Linear
from snnc.passes.bias import sourced
from snnc.samples import Samples
from snnc.simulator.floating import simulate


def network(seed: int = 0, size: int = 5) -> Network:
    """Two layers with currents; the first is fed twice and feeds itself, all with biases."""
    rng = np.random.default_rng(seed)
    layers = [Population("input", (4,), "input"), cuba("one", (size,)), cuba("two", (3,))]
    made = chain(layers, [(linear(rng, size, 4, bias=True),), (linear(rng, 3, size, bias=True),)])
    more = [
        Projection("again", "input", "one", (linear(rng, size, 4, bias=True),)),
        Projection("back", "one", "one", (linear(rng, size, size, bias=True),)),
    ]
    return replace(made, projections=(*made.projections, *more))


def spikes(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((2, 100, 4)) < 0.3).astype(float)


@pytest.mark.parametrize("seed", range(5))
def test_every_spike_is_the_same(seed: int) -> None:
    before, data = network(seed), spikes(seed)
    after, layers = sourced(before)
    assert layers == ["one", "two"]
    assert [p.name for p in after.populations] == ["input", "one.bias", "one", "two.bias", "two"]
    assert all(p.op.bias is None for p in after.projections if p.post in layers)
    exact, found = simulate(before, data), simulate(after, data)
    assert exact["two"].any()
    for name, expected in exact.items():
        np.testing.assert_array_equal(found[name], expected)
    for layer in layers:
        assert found[f"{layer}.bias"].all()


def test_a_convolution_with_a_bias_for_each_channel() -> None:
    rng = np.random.default_rng(0)
    op = Conv2d(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2))
    before = chain([Population("input", (1, 5, 5), "input"), cuba("out", (2, 3, 3))], [(op,)])
    after, layers = sourced(before)
    assert layers == ["out"]
    kept, added = (next(p.op for p in after.projections if p.pre == name) for name in ("input", "out.bias"))
    assert isinstance(kept, Conv2d)
    assert isinstance(added, Linear)
    np.testing.assert_array_equal(added.weight.toarray()[:, 0], np.repeat(op.bias, 9))


def test_what_needs_no_neuron_is_left_alone() -> None:
    """A bias of a membrane; one of zero; a current that lasts one step; and a bias that begins late."""
    rng = np.random.default_rng(0)
    source = Population("input", (4,), "input")
    biased = linear(rng, 3, 4, bias=True)
    cases = [chain([source, lif("out", (3,))], [(biased,)])]
    cases.append(chain([source, cuba("out", (3,))], [(replace(biased, bias=np.zeros(3)),)]))
    cases.append(chain([source, cuba("out", (3,), alpha=0.0)], [(biased,)]))
    late = chain([source, cuba("out", (3,))], [(biased,)])
    cases.append(replace(late, projections=(replace(late.projections[0], bias_start=1),)))
    for case in cases:
        after, layers = sourced(case)
        assert layers == []
        assert identical(after, case)


def test_names_that_are_taken() -> None:
    before = network()
    named = {"one": "two.bias", "two": "two"}
    populations = tuple(replace(p, name=named.get(p.name, p.name)) for p in before.populations)
    projections = tuple(
        replace(p, pre=named.get(p.pre, p.pre), post=named.get(p.post, p.post)) for p in before.projections
    )
    after, layers = sourced(replace(before, populations=populations, projections=projections))
    assert layers == ["two.bias", "two"]
    assert [p.name for p in after.populations] == ["input", "two.bias.bias", "two.bias", "two.bias'", "two"]


def test_names_of_projections_that_are_taken() -> None:
    before = network()
    first, *rest = before.projections
    after, _ = sourced(replace(before, projections=(replace(first, name="one.bias-one"), *rest)))
    assert "one.bias'" in {p.name for p in after.populations}


def test_in_integers_it_spikes_in_every_step_too() -> None:
    before = network()
    data = Samples(spikes(0).astype(bool))
    result = pipeline.compile(before, chip(), samples=data)
    rasters = simulator.simulate(result.image.network, data, rasters=["one.bias", "two.bias"]).rasters
    assert all(raster.all() for raster in rasters.values())
    assert result.image.provenance["passes"]["bias"] == {"layers": ["one", "two"]}

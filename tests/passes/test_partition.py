"""No core ever exceeds a limit: counted again by :mod:`core_counts`, by another route."""

from __future__ import annotations

import math
from dataclasses import replace

import core_counts
import numpy as np
import pytest
from float_networks import conv, mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chips import chip, few

from snnc import rules
from snnc.compilation import Options
from snnc.network import Network, Projection
from snnc.ops import Linear, canonical
from snnc.passes import partition as passes
from snnc.passes.lower import lower
from snnc.passes.quantize import Limits, quantize
from snnc.resources import usage
from snnc.target import Target


def partition(network: Network, target: Target, **options: object) -> np.ndarray:
    """The mapping of a network whose neurons all spike alike."""
    return passes.partition(network, target, np.ones(network.size), Options(**options))[0]


LIMITS = Limits(weight=127, exponent=0, threshold=2**17 - 1, bias=2**12 - 1, one=4096)


def integer(network: Network) -> Network:
    return quantize(lower(network), "cuba_fixed", LIMITS)[0]


def assert_sound(network: Network, target: Target, **options: object) -> np.ndarray:
    core_of = partition(network, target, **options)
    inputs = network.inputs[0].size
    assert np.all(core_of[:inputs] == -1)
    assert set(core_of[inputs:]) == set(range(core_of.max() + 1))
    used, mine = usage(network, core_of, target), core_counts.count(network, core_of, target)
    for name in core_counts.LIMITED:
        assert np.array_equal(getattr(used, name), getattr(mine, name)), name
    assert not mine.broken(target)
    return core_of


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(5, 40), min_size=2, max_size=4),
    density=st.sampled_from([0.1, 0.4, 1.0]),
    neurons=st.integers(3, 40),
    axons=st.integers(60, 100),
    kibibits=st.integers(6, 40),
    seed=st.integers(0, 99),
)
def test_random_networks_never_break_a_limit(sizes, density, neurons, axons, kibibits, seed) -> None:
    network = integer(mlp(tuple(sizes), density, seed))
    # Limits under which any single neuron fits: at most 40 sources, each at most 64 bits in a core of its own.
    assert_sound(network, chip(neurons=neurons, in_axons=axons, out_axons=axons, synapse_bits=kibibits * 1024))


def test_no_more_cores_are_tried_than_there_are() -> None:
    network = integer(mlp((30, 60, 20), 0.5))
    rates = np.ones(network.size)
    alone = passes.partition(network, few(3, neurons=10), rates, Options())[2]  # the neurons need 8
    assert {found.method for found in alone} == {"layer order", "order of parameters"}
    enough = passes.partition(network, few(8, neurons=10), rates, Options())[2]
    assert "hypergraph" in {found.method for found in enough}


def test_convolutions_keep_the_limits_too() -> None:
    assert_sound(integer(conv()), chip(neurons=100, in_axons=220, out_axons=300, synapse_bits=30_000))


@pytest.mark.parametrize("name", ["neurons", "in_axons", "out_axons", "synapse_bits"])
def test_each_limit_alone_opens_new_cores(name: str) -> None:
    network = integer(mlp((30, 60, 20), 0.5))
    free = partition(network, chip())
    assert free.max() == 0
    used = int(getattr(usage(network, free, chip()), name)[0])
    core_of = assert_sound(network, chip(**{name: used - 1}))
    assert core_of.max() >= 1


def test_neurons_with_other_thresholds_need_other_groups() -> None:
    network = integer(mlp((10, 12, 5)))
    population = network["fc1"]
    thresholds = np.repeat(np.arange(1, 7), 2).astype(np.int32)  # six kinds, and a seventh in fc2
    changed = replace(population, params={**population.params, "threshold": thresholds})
    network = replace(network, populations=(network.populations[0], changed, network.populations[2]))
    core_of = assert_sound(network, chip(neuron_groups=2), map="layers")
    assert core_of.max() == 3
    assert list(usage(network, core_of, chip()).neuron_groups) == [1, 2, 2, 2]


@pytest.mark.parametrize("neurons", [64, 65, 128, 129])
def test_the_index_is_just_wide_enough(neurons: int) -> None:
    """64 neurons need 6 bits, 65 need 7: at powers of two an error of one bit would show."""
    core_of = assert_sound(integer(mlp((20, neurons), density=0.3)), chip())
    assert core_of.max() == 0


def test_layer_order_is_kept() -> None:
    core_of = assert_sound(integer(mlp((10, 50, 30, 20))), chip(neurons=16), map="layers")
    cores = core_of[10:]
    assert np.all(np.diff(cores) >= 0)
    assert cores.max() + 1 == math.ceil(100 / 16)  # cores are shared across layers, so none is wasted


def test_a_neuron_that_fits_nowhere_is_named_by_the_rule() -> None:
    network, target = integer(mlp((30, 4, 3))), chip(in_axons=20)
    core_of = partition(network, target)
    (violation, *_) = rules.check_capacity(network, usage(network, core_of, target), core_of, target)
    assert violation.rule == "in-axons"
    assert "'fc1'" in violation.where
    assert "30 input axons" in violation.message
    assert "20" in violation.message


def test_a_recurrent_layer_keeps_its_out_axons() -> None:
    network = integer(mlp((10, 40, 5)))
    rng = np.random.default_rng(0)
    loop = Projection("loop", "fc1", "fc1", (Linear(canonical(rng.integers(-9, 10, (40, 40)).astype(np.int16))),))
    recurrent = Network(network.populations, (*network.projections, loop), network.outputs, network.dt)
    assert assert_sound(recurrent, chip(neurons=10, out_axons=50)).max() >= 4

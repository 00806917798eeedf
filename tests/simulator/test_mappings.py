"""Where neurons sit: within all limits of the cores, and without any effect on a spike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from core_counts import count
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import chain, networks, recordings
from small_chips import chip

from snnc import ops
from snnc.compilation import Options
from snnc.image import Image, Mapping
from snnc.mapping import portfolio, refinement
from snnc.network import Network, Projection
from snnc.ops import Linear, canonical
from snnc.passes.partition import partition
from snnc.samples import Samples
from snnc.simulator import simulate
from snnc.target import Target

several = settings(deadline=None, max_examples=10)

choices = st.builds(
    Options,
    map=st.sampled_from(["auto", "layers", "hypergraph"]),
    optimize=st.sampled_from(["cores", "traffic", "latency"]),
    balance=st.booleans(),
    cores=st.sampled_from([None, 1, 3, 8]),
    seed=st.integers(0, 3),
)


@pytest.fixture(autouse=True, scope="module")
def quickly() -> Iterator[None]:
    """Whether a mapping is the best is no question here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portfolio, "_RESTARTS", 1)
        for module in (portfolio, refinement):
            patch.setattr(module, "WORK", 100_000)
        yield


def mapped(network: Network, target: Target, options: Options) -> Image:
    """The network on cores as the options say, the cores on sites at random."""
    rng = np.random.default_rng(options.seed)
    core_of, *_ = partition(network, target, rng.random(network.size), options)
    sites = rng.permutation(target.mesh.cores)[: core_of.max() + 1]
    return Image(network, Mapping(core_of, sites.astype(np.int32)), target)


def rasters(compiled: Image | Network, spikes: np.ndarray) -> dict[str, np.ndarray]:
    network = compiled.network if isinstance(compiled, Image) else compiled
    run = simulate(compiled, Samples(spikes), rasters=[p.name for p in network.populations])
    return {name: r.reshape(*r.shape[:2], -1) for name, r in run.rasters.items()}


@several
@given(st.data())
def test_no_choice_of_the_mapping_changes_a_spike(data: st.DataObject) -> None:
    network = data.draw(networks())
    spikes = data.draw(recordings(network.inputs[0].shape))
    expected = rasters(network, spikes)
    for _ in range(2):
        image = mapped(network, chip(neurons=data.draw(st.integers(3, 60))), data.draw(choices))
        for name, raster in rasters(image, spikes).items():
            np.testing.assert_array_equal(raster, expected[name])


@several
@given(st.data())
def test_numbering_neurons_otherwise_changes_no_spike(data: st.DataObject) -> None:
    network = data.draw(networks())
    spikes = data.draw(recordings(network.inputs[0].shape))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    orders = {p.name: rng.permutation(p.size) for p in network.populations}
    flat = spikes.reshape(*spikes.shape[:2], -1)[:, :, orders[network.inputs[0].name]]
    image = mapped(permuted(network, orders), chip(neurons=data.draw(st.integers(3, 60))), data.draw(choices))
    found = rasters(image, flat)
    for name, raster in rasters(network, spikes).items():
        np.testing.assert_array_equal(found[name], raster[:, :, orders[name]])


def permuted(network: Network, orders: dict[str, np.ndarray]) -> Network:
    """The same network, neuron k of which is neuron orders[k] of the given one."""
    populations = [
        replace(p, shape=(p.size,), params={k: v.ravel()[orders[p.name]] for k, v in p.params.items()})
        for p in network.populations
    ]
    projections = []
    for p in network.projections:
        weight = ops.matrix(p.op, network[p.pre].shape)[orders[p.post]][:, orders[p.pre]]
        projections.append(Projection(p.name, p.pre, p.post, (Linear(canonical(weight)),), p.delay))
    return Network(tuple(populations), tuple(projections), network.outputs, network.dt)


@several
@given(st.data())
def test_no_limit_of_a_core_is_broken(data: st.DataObject) -> None:
    """Limits are multiples of what the most demanding neuron takes alone, and there are cores enough for that."""
    network = data.draw(networks())
    alone = np.full(network.size, -1, np.int32)
    inner = np.concatenate([np.full(p.size, p.neuron != "input") for p in network.populations])
    alone[inner] = np.arange(inner.sum())
    least = count(network, alone, chip())
    room = st.sampled_from([1.5, 2, 3, 10])
    limits = {
        name: int(max(1, getattr(least, name).max()) * data.draw(room, label=name))
        for name in ("in_axons", "out_axons", "synapse_bits", "neuron_groups")
    }
    target = boundless(chip(neurons=data.draw(st.integers(1, 30)), **limits))
    rates = np.random.default_rng(0).random(network.size)
    core_of, *_ = partition(network, target, rates, data.draw(choices))
    assert count(network, core_of, target).broken(target) == []


@pytest.mark.parametrize("how", ["auto", "layers", "hypergraph"])
def test_a_limit_of_one_out_axon_is_kept_by_recurrent_layers(how: str) -> None:
    network = chain(1, 1, 4)
    back = Projection("back", "l2", "l1", (Linear(canonical(np.ones((1, 4), np.int16))),))
    forward = replace(network.projections[1], ops=(Linear(canonical(np.zeros((4, 1), np.int16))),))
    network = replace(network, projections=(network.projections[0], forward, back))
    target = chip(neurons=2, out_axons=1)
    core_of, *_ = partition(network, target, np.ones(network.size), Options(map=how))
    assert count(network, core_of, target).broken(target) == []


def boundless(target: Target) -> Target:
    """The same cores, a thousand of them."""
    columns = msgspec.structs.replace(target.mesh.columns, value=64)
    return msgspec.structs.replace(target, mesh=msgspec.structs.replace(target.mesh, columns=columns))

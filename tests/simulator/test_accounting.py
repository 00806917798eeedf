"""Counts of work against brute force over rasters and matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import chain, images, networks, place, recordings
from small_chips import few

from snnc.image import Image, Mapping
from snnc.network import Network, Projection
from snnc.ops import matrix
from snnc.resources import FORMATS
from snnc.samples import Samples
from snnc.simulator import accounting, reference, simulate

several = settings(deadline=None, max_examples=40)


def visits(image: Image, projection: Projection) -> Iterator[tuple[int, int, int, int]]:
    """(source neuron within its population, core, stored, existing) of every axon of a projection."""
    network = image.network
    start = network.offsets[projection.post]
    core_of = image.mapping.core_of[start : start + network[projection.post].size]
    dense = matrix(projection.ops[0], network[projection.pre].shape).toarray() != 0
    for source in range(dense.shape[1]):
        for core in np.unique(core_of[dense[:, source]]):
            existing = int(dense[core_of == core, source].sum())
            whole = FORMATS[image.usage.formats[projection.name][core]] == "dense"
            yield source, int(core), int((core_of == core).sum()) if whole else existing, existing


@several
@given(st.data())
def test_synops_and_spikes_equal_brute_force(data: st.DataObject) -> None:
    network = data.draw(networks())
    image = data.draw(images(network))
    spikes = data.draw(recordings(network.inputs[0].shape))
    run = simulate(image, Samples(spikes))
    rasters = reference.simulate(network, spikes)
    counts = {name: ((r.dtype == bool) * r).sum(axis=1).reshape(len(spikes), -1) for name, r in rasters.items()}
    cores, names = image.usage.cores, [p.name for p in network.populations]
    stored, existing = np.zeros((2, len(spikes), cores), int)
    into = np.zeros((len(spikes), len(names)), int)
    into_existing = np.zeros_like(into)
    for projection in network.projections:
        for source, core, every, some in visits(image, projection):
            stored[:, core] += counts[projection.pre][:, source] * every
            existing[:, core] += counts[projection.pre][:, source] * some
            into[:, names.index(projection.post)] += counts[projection.pre][:, source] * every
            into_existing[:, names.index(projection.post)] += counts[projection.pre][:, source] * some
    by_core, by_layer = accounting.cores(image, run), accounting.layers(image, run)
    np.testing.assert_array_equal(by_core.synops, stored)
    np.testing.assert_array_equal(by_core.effective_synops, existing)
    np.testing.assert_array_equal(by_layer.synops, into)
    np.testing.assert_array_equal(by_layer.effective_synops, into_existing)
    np.testing.assert_array_equal(by_layer.spikes, np.stack([counts[n].sum(axis=1) for n in names], axis=1))
    fired = np.concatenate([counts[n] for n in names], axis=1)
    for core in range(cores):
        np.testing.assert_array_equal(by_core.spikes[:, core], fired[:, image.mapping.core_of == core].sum(axis=1))


@several
@given(st.data())
def test_active_updates_equal_the_state_of_the_reference(data: st.DataObject) -> None:
    """Active: u, v, the bias or the input of the step is not zero, with u and v before the step."""
    network = data.draw(networks())
    image = data.draw(images(network))
    spikes = data.draw(recordings(network.inputs[0].shape))
    active = np.zeros((len(spikes), network.size), int)
    calls = iter(range(10**9))
    layers = [p for p in network.populations if p.neuron != "input"]
    original = reference.step

    def spy(params: dict, u: np.ndarray, v: np.ndarray, a: np.ndarray) -> tuple:
        layer = layers[next(calls) % len(layers)]
        start = network.offsets[layer.name]
        active[:, start : start + layer.size] += (u != 0) | (v != 0) | (a != 0) | (params["bias"] != 0)
        return original(params, u, v, a)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "step", spy)
        reference.simulate(network, spikes)
    run = simulate(image, Samples(spikes))
    by_core = accounting.cores(image, run)
    for core in range(image.usage.cores):
        here = image.mapping.core_of == core
        np.testing.assert_array_equal(by_core.active[:, core], active[:, here].sum(axis=1))
        np.testing.assert_array_equal(by_core.inactive[:, core], here.sum() * run.steps - active[:, here].sum(axis=1))


def anywhere(image: Image, data: st.DataObject) -> Image:
    """The image with its cores at random sites of the whole board, on a mesh that may multicast."""
    chosen = msgspec.structs.replace(
        image.target, mesh=msgspec.structs.replace(image.target.mesh, multicast=data.draw(st.booleans()))
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    sites = rng.permutation(chosen.grid.cores)[: image.cores].astype(np.int32)
    return replace(image, mapping=replace(image.mapping, site_of=sites), target=chosen)


@several
@given(st.data())
def test_sums_agree_and_messages_follow_the_routes(data: st.DataObject) -> None:
    network = data.draw(networks())
    image = anywhere(data.draw(images(network)), data)
    run = simulate(image, Samples(data.draw(recordings(network.inputs[0].shape))))
    by_layer, by_core, total = vars(accounting.account(image, run)).values()
    for field in ("spikes", "synops", "effective_synops", "active", "inactive", "messages"):
        np.testing.assert_array_equal(getattr(by_core, field).sum(axis=1), getattr(total, field))
    np.testing.assert_array_equal(by_layer.synops.sum(axis=1), total.synops)
    np.testing.assert_array_equal(by_layer.effective_synops.sum(axis=1), total.effective_synops)
    np.testing.assert_array_equal(by_layer.spikes.sum(axis=1), total.spikes + total.input_spikes)
    np.testing.assert_array_equal(by_layer.messages.sum(axis=1), total.messages + total.input_messages)
    assert (total.synops >= total.effective_synops).all()
    assert by_layer.updates.sum() == (total.active + total.inactive)[0]
    routes = image.routes
    np.testing.assert_array_equal(total.hops_x, (run.spikes.astype(int) * routes.hops_x).sum(axis=1))
    np.testing.assert_array_equal(total.hops_y, (run.spikes.astype(int) * routes.hops_y).sum(axis=1))
    np.testing.assert_array_equal(total.crossings, (run.spikes.astype(int) * routes.crossings).sum(axis=1))
    np.testing.assert_array_equal(by_layer.crossings.sum(axis=1), total.crossings)


def test_a_case_by_hand() -> None:
    """2 inputs, 2 hidden neurons on two tiles, 2 outputs; all neurons fire in every step."""
    network = chain(2, 2, 2, threshold=-1000)
    # Cores 0 and 1 at the first core of tiles 0 (0, 0) and 10 (2, 1): two hops along x, one along y.
    image = place(network, [-1, -1, 0, 1, 1, 1], [0, 40])
    run = simulate(image, Samples(np.ones((1, 5, 2), np.uint8)))
    np.testing.assert_array_equal(run.spikes, np.full((1, 6), 5))
    total = accounting.account(image, run).totals
    assert total.spikes.tolist() == [20]
    assert total.input_spikes.tolist() == [10]
    # Only the hidden neuron of core 0 has targets in another core.
    assert total.messages.tolist() == [5]
    assert total.hops_x.tolist() == [10]
    assert total.hops_y.tolist() == [5]
    # Each input reaches both cores.
    assert total.input_messages.tolist() == [2 * 10]
    assert total.effective_synops.tolist() == [5 * 8]


def test_active_updates_of_few_long_and_of_many_short_segments() -> None:
    """Neurons of one core side by side, and every neuron on another core than the one before: counted two ways."""
    network = chain(20, 300, density=0.1)
    spikes = Samples((np.random.default_rng(0).random((3, 12, 20)) < 0.1).astype(np.uint8))
    neurons = np.arange(300)
    each = simulate(on_cores(network, neurons), spikes).core_active
    assert 0 < each.mean() < 12
    for core_of in (neurons // 150, neurons // 100, neurons % 2, neurons % 7):
        active = simulate(on_cores(network, core_of), spikes).core_active
        for core in range(core_of.max() + 1):
            np.testing.assert_array_equal(active[:, core], each[:, core_of == core].sum(axis=1))


def on_cores(network: Network, core_of: np.ndarray) -> Image:
    """The network with its one layer on these cores."""
    cores = int(core_of.max()) + 1
    mapping = Mapping(np.concatenate([np.full(20, -1), core_of]).astype(np.int32), np.arange(cores, dtype=np.int32))
    return Image(network, mapping, few(cores))

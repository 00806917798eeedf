"""Counts of work against brute force over rasters and matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import chain, images, networks, place, recordings
from meshes import Link, along_x, column_row, crosses, route, tile
from small_chips import few

from snnc.image import Image, Mapping
from snnc.network import Network, Projection
from snnc.ops import matrix
from snnc.resources import FORMATS, compartments
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
    """Active: u, v, the bias or the input of the step is not zero, with u (if any is kept) and v before the step.

    A second compartment is active by itself where it is not zero, and then so is the one that it joins.
    """
    network = data.draw(networks())
    image = data.draw(images(network))
    spikes = data.draw(recordings(network.inputs[0].shape))
    active = np.zeros((len(spikes), network.size), int)
    calls = iter(range(10**9))
    layers = [p for p in network.populations if p.neuron != "input"]
    original = reference.step

    def spy(params: dict, u: np.ndarray, v: np.ndarray, a: np.ndarray, w: np.ndarray, *more: object) -> tuple:
        layer = layers[next(calls) % len(layers)]
        start = network.offsets[layer.name]
        active[:, start : start + layer.size] += (
            (u != 0) & (params["u_decay"] < 4096) | (v != 0) | (a != 0) | (params["bias"] != 0) | (w != 0)
        )
        active[:, start : start + layer.size] += w != 0
        return original(params, u, v, a, w, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "step", spy)
        reference.simulate(network, spikes)
    run = simulate(image, Samples(spikes))
    by_core, by_layer = accounting.cores(image, run), accounting.layers(image, run)
    for k, layer in enumerate(network.populations):
        here = slice(network.offsets[layer.name], network.offsets[layer.name] + layer.size)
        np.testing.assert_array_equal(by_layer.active[:, k], active[:, here].sum(axis=1))
    for core in range(image.usage.cores):
        here = image.mapping.core_of == core
        np.testing.assert_array_equal(by_core.active[:, core], active[:, here].sum(axis=1))
        all_of_them = compartments(network)[here].sum() * run.steps
        np.testing.assert_array_equal(by_core.inactive[:, core], all_of_them - active[:, here].sum(axis=1))


def anywhere(image: Image, data: st.DataObject) -> Image:
    """The image with its cores at random sites of the whole board, on a mesh that may multicast, and any constants."""
    chosen = msgspec.structs.replace(
        image.target, mesh=msgspec.structs.replace(image.target.mesh, multicast=data.draw(st.booleans()))
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    sites = rng.permutation(chosen.grid.cores)[: image.cores].astype(np.int32)
    chosen = chosen.using(data.draw(st.sampled_from(list(chosen.costs))))
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
    by_step = accounting.steps(image, run)
    for field in ("dense_synops", "kernel_synops", "sent", "received"):
        for parts in (by_layer, by_core, by_step):
            np.testing.assert_array_equal(getattr(parts, field).sum(axis=1), getattr(total, field), err_msg=field)
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
    # The hidden neuron of core 1 has its targets in its own core: a message, too, for chips that count these.
    assert total.sent.tolist() == [2 * 5]
    assert total.received.tolist() == [2 * 5 + 2 * 10]
    assert total.effective_synops.tolist() == [5 * 8]


def spike_by_spike(image: Image, rasters: dict[str, np.ndarray]) -> dict[str, Any]:
    """Every spike of one recording walked over the board, the slow way; counts per step, core and link."""
    network, grid = image.network, image.target.grid
    steps = len(next(iter(rasters.values())))
    names = ("spikes", "synops", "effective_synops", "messages", "hops_x", "hops_y", "crossings")
    by_step = {name: [0] * steps for name in (*names, "input_spikes", "input_messages")}
    by_core = {name: [0] * image.cores for name in names}
    links: dict[Link, int] = {}
    reached = [[list(visits(image, p)) for p in network.projections if p.pre == q.name] for q in network.populations]
    for population, projections in zip(network.populations, reached, strict=True):
        if rasters[population.name].dtype != bool:
            continue  # membranes
        for step, neuron in np.argwhere(rasters[population.name].reshape(steps, -1)).tolist():
            home = int(image.mapping.core_of[network.offsets[population.name] + neuron])
            axons = [visit for projection in projections for visit in projection if visit[0] == neuron]
            for _, core, stored, existing in axons:
                for name, number in (("synops", stored), ("effective_synops", existing)):
                    by_step[name][step] += number
                    by_core[name][core] += number
            goals = {core for _, core, _, _ in axons} - {home}
            if home < 0:
                by_step["input_spikes"][step] += 1
                by_step["input_messages"][step] += len(goals)
                continue
            start, *ends = (tile(image.mapping.site_of[core], grid) for core in (home, *sorted(goals)))
            taken = [link for end in ends for link in route(start, end, grid)]
            taken = list(dict.fromkeys(taken)) if grid.multicast else taken
            across = sum(along_x(link) for link in taken)
            counts = (1, len(goals), across, len(taken) - across, sum(crosses(link) for link in taken))
            for name, number in zip(("spikes", *names[3:]), counts, strict=True):
                by_step[name][step] += number
                by_core[name][home] += number
            for link in taken:
                links[link] = links.get(link, 0) + 1
    return {"steps": by_step, "cores": by_core, "links": links}


@several
@given(st.data())
def test_every_spike_is_counted_where_it_goes(data: st.DataObject) -> None:
    network = data.draw(networks())
    image = anywhere(data.draw(images(network)), data)
    spikes = data.draw(recordings(network.inputs[0].shape))
    run = simulate(image, Samples(spikes))
    rasters = reference.simulate(network, spikes)
    by_step, by_link, by_core = accounting.steps(image, run), accounting.links(image, run), accounting.cores(image, run)
    for sample in range(len(spikes)):
        walked = spike_by_spike(image, {name: raster[sample] for name, raster in rasters.items()})
        for name, expected in walked["steps"].items():
            assert getattr(by_step, name)[sample].tolist() == expected, name
        for name, expected in walked["cores"].items():
            assert getattr(by_core, name)[sample].tolist() == expected, name
        found = {
            (tuple(start), tuple(stop)): load
            for start, stop, load in zip(
                by_link.start.tolist(), by_link.stop.tolist(), by_link.messages[sample].tolist(), strict=True
            )
        }
        expected = {tuple(column_row(end, image.target.grid) for end in k): n for k, n in walked["links"].items()}
        assert {link: load for link, load in found.items() if load} == expected
    busiest = by_link.busiest
    if busiest is not None:
        assert by_link.messages[:, busiest].sum() == by_link.messages.sum(axis=0).max()


@several
@given(st.data())
def test_nothing_is_lost_between_layers_cores_links_and_steps(data: st.DataObject) -> None:
    network = data.draw(networks())
    image = anywhere(data.draw(images(network)), data)
    run = simulate(image, Samples(data.draw(recordings(network.inputs[0].shape))))
    by_layer, by_core, total = vars(accounting.account(image, run)).values()
    by_step, by_link = accounting.steps(image, run), accounting.links(image, run)
    for name, expected in vars(total).items():
        np.testing.assert_array_equal(getattr(by_step, name).sum(axis=1), expected, err_msg=name)
    for name in ("active", "inactive", "hops_x", "hops_y", "crossings", "effective_synops", "synops"):
        for parts in (by_layer, by_core):
            np.testing.assert_array_equal(getattr(parts, name).sum(axis=1), getattr(total, name), err_msg=name)
    np.testing.assert_array_equal(by_layer.active + by_layer.inactive, np.tile(by_layer.updates, (run.samples, 1)))
    np.testing.assert_array_equal(by_link.messages.sum(axis=1), total.hops_x + total.hops_y)
    np.testing.assert_array_equal(by_link.messages[:, by_link.crossing].sum(axis=1), total.crossings)
    np.testing.assert_array_equal(by_step.time_ns, run.step_ns)
    np.testing.assert_array_equal(by_step.active.sum(axis=1), run.layer_active.sum(axis=1))


def test_memory_is_told_with_its_limit() -> None:
    image = place(chain(2, 2, 2), [-1, -1, 0, 1, 1, 1], [0, 40])
    found = accounting.memory(image)
    assert list(found) == ["neurons", "in_axons", "out_axons", "synapse_bits", "neuron_groups"]
    assert {name: (used.tolist(), most) for name, (used, most) in found.items() if name in ("neurons", "in_axons")} == {
        "neurons": ([1, 3], 1024),
        "in_axons": ([2, 4], 4096),
    }


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

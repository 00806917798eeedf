"""METIS gets the graph it should, and placement is that of scipy."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from snnc import ops
from snnc.network import Network
from snnc.ops import Linear, canonical
from tests.instances import baselines
from tests.instances.families import join


def random_network(seed: int, sizes: tuple[int, ...] = (9, 7, 5)) -> tuple[Network, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = [rng.integers(-3, 4, (b, a)).astype(np.int16) for a, b in pairwise(sizes)]
    network = join("net", [(n,) for n in sizes], [Linear(canonical(w)) for w in weights])
    loop = replace(
        network.projections[0],
        name="loop",
        pre="layer1",
        post="layer1",
        ops=(Linear(canonical(rng.integers(0, 2, (sizes[1],) * 2).astype(np.int16))),),
    )
    return replace(network, projections=(*network.projections, loop)), rng.random(sum(sizes))


def test_edges_weigh_what_goes_along_them_both_ways() -> None:
    network, rates = random_network(0)
    graph = baselines._graph(network, rates).toarray()
    expected = np.zeros_like(graph)
    at = network.offsets
    for p in network.projections:
        exists = ops.matrix(p.op, network[p.pre].shape).toarray() != 0
        for post, pre in zip(*np.nonzero(exists), strict=True):
            i, j = post + at[p.post], pre + at[p.pre]
            if i != j:
                expected[i, j] += rates[j]
                expected[j, i] += rates[j]
    assert np.allclose(graph, expected)
    assert not np.diagonal(graph).any()


def two_halves() -> tuple[Network, np.ndarray]:
    """Two networks side by side, joined by one synapse of a busy neuron and many of silent ones."""
    block = np.kron(np.eye(2), np.ones((10, 10)))
    block[10:, 1:10] = 1
    network = join("halves", [(20,), (20,)], [Linear(canonical(block.astype(np.int16)))])
    rates = np.ones(40)
    rates[1:10] = 0.001
    return network, rates


@pytest.mark.parametrize("objective", baselines.OBJECTIVES)
def test_metis_cuts_into_as_many_parts_as_asked(objective: str) -> None:
    network, rates = random_network(1, (40, 40))
    core_of = baselines.metis(network, rates, 4, objective)
    assert core_of.dtype == np.int32
    assert list(np.unique(core_of)) == [0, 1, 2, 3]
    assert np.bincount(core_of).max() <= np.ceil(1.03 * 20) + 1
    assert np.array_equal(core_of, baselines.metis(network, rates, 4, objective))


def test_the_cut_counts_spikes() -> None:
    network, rates = two_halves()
    core_of = baselines.metis(network, rates, 2, "METIS cut")
    half = core_of.reshape(4, 10)
    assert np.all(half == half[:, :1])
    assert half[0, 0] == half[2, 0] != half[1, 0] == half[3, 0]


def test_placement_is_never_worse_than_the_order() -> None:
    rng = np.random.default_rng(0)
    place = np.arange(16)
    distance = np.abs(place[:, None] // 4 - place[None, :] // 4) + np.abs(place[:, None] % 4 - place[None, :] % 4.0)
    flows = np.where(rng.random((12, 12)) < 0.2, rng.random((12, 12)), 0)
    sites = baselines.faq(flows, distance)
    assert len(set(sites.tolist())) == 12
    assert baselines.hops(flows, sites, distance) < 0.9 * baselines.hops(flows, np.arange(12), distance)
    line = np.eye(12, k=1)  # already in the best order, within each row of the mesh
    line[3, 4] = line[7, 8] = 0
    assert list(baselines.faq(line, distance)) == list(range(12))

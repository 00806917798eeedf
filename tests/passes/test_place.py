"""Placement: a permutation, the same on every machine, and as good as can be where that can be known."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from float_networks import mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import grids
from scipy import optimize, sparse
from small_chips import chip, multicasting

import snnc
from snnc import target, traffic
from snnc.errors import DoesNotFit
from snnc.passes.place import place
from snnc.target import Grid

GRID = target.load("loihi").grid
ONE = replace(GRID, chip_columns=1, chip_rows=1)


def cost(flows: np.ndarray, site_of: np.ndarray, grid: Grid) -> float:
    """Hops, and crossings as the hops they cost."""
    x, y = traffic.tile_of(site_of, grid)
    hops = sum(np.abs(np.subtract.outer(c, c)) for c in (x, y))
    chip_x, chip_y = x // grid.columns, y // grid.rows
    crossings = sum(np.abs(np.subtract.outer(c, c)) for c in (chip_x, chip_y))
    return float((flows * (hops + grid.crossing * crossings)).sum())


def random_flows(cores: int, seed: int, density: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    flows = rng.exponential(size=(cores, cores)) * (rng.random((cores, cores)) < density)
    np.fill_diagonal(flows, 0)
    return flows


@settings(deadline=None, max_examples=15)
@given(grids(multicast=False), st.integers(0, 99), st.integers(2, 24))
def test_every_core_has_a_site_of_its_own_on_as_few_chips_as_hold_them(grid: Grid, seed: int, cores: int) -> None:
    flows = random_flows(min(cores, grid.cores), seed)
    sites, costs = place(flows, grid, seed)
    assert sites.dtype == np.int32
    assert len(set(sites)) == len(sites) == len(flows)
    assert sites.min() >= 0
    assert sites.max() < grid.cores
    assert len(np.unique(sites // grid.chip_cores)) == -(-len(flows) // grid.chip_cores)
    assert cost(flows, sites, grid) == pytest.approx(min(costs.values()))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("grid", [Grid(3, 2, 1), Grid(2, 2, 2), Grid(4, 1, 2)], ids=["3x2", "2x2x2", "4x1x2"])
def test_a_few_cores_are_placed_as_well_as_possible(grid: Grid, seed: int) -> None:
    cores = 4 + seed % 3
    flows = random_flows(cores, seed, 0.7)
    best = min(cost(flows, np.array(p), grid) for p in itertools.permutations(range(grid.cores), cores))
    sites, _ = place(flows, grid, 0)
    assert cost(flows, sites, grid) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_a_few_cores_on_two_chips_are_placed_as_well_as_possible(seed: int) -> None:
    grid = Grid(2, 1, 1, 2, 2, 10.0)
    flows = random_flows(4, seed, 0.8)
    chips = itertools.combinations(range(4), 2)
    sites = [[2 * a, 2 * a + 1, 2 * b, 2 * b + 1] for a, b in chips]
    best = min(cost(flows, np.array(p), grid) for s in sites for p in itertools.permutations(s))
    found, costs = place(flows, grid, 0)
    assert cost(flows, found, grid) == pytest.approx(best)
    assert costs["search"] == pytest.approx(best)


def test_the_search_beats_the_assignment() -> None:
    """Cores in a ring, each with neighbours up to three apart, in a random order."""
    ring = sum(np.roll(np.eye(96), k, axis=1) for k in (1, 2, 3))
    order = np.random.default_rng(0).permutation(96)
    _, costs = place(ring[np.ix_(order, order)], ONE, 0)
    assert costs["search"] < 0.9 * costs["assignment"]
    assert costs["assignment"] < 0.5 * costs["in order"]


def test_an_assignment_that_is_worse_than_the_order_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    flows = np.zeros((8, 8))
    flows[0, 4] = 1  # one hop in order

    class Result:
        col_ind = np.array([0, 1, 2, 3, 11, *range(4, 11)])

    monkeypatch.setattr(optimize, "quadratic_assignment", lambda *a, **k: Result)
    _, costs = place(flows, ONE, seed=0)
    assert costs == {"in order": 1.0, "assignment": 2.0, "search": 0.0}


def test_neighbours_are_placed_in_one_tile() -> None:
    """Pairs of cores that talk only to each other, 16 apart in the order, can all share a tile."""
    flows = np.zeros((32, 32))
    flows[np.arange(16), np.arange(16) + 16] = 1
    sites, costs = place(flows, ONE, seed=0)
    assert costs["search"] == 0
    assert np.array_equal(sites[:16] // 4, sites[16:] // 4)


def test_a_network_on_one_tile_needs_no_hops() -> None:
    sites, costs = place(np.ones((4, 4)) - np.eye(4), ONE, seed=0)
    assert list(sites) == [0, 1, 2, 3]
    assert costs == {"in order": 0.0}


def test_no_traffic_at_all() -> None:
    sites, costs = place(np.zeros((200, 200)), GRID, seed=0)
    assert list(sites) == list(range(200))
    assert costs == {"in order": 0.0}


def test_more_cores_than_there_are_stay_in_order() -> None:
    sites, costs = place(np.zeros((5, 5)), Grid(2, 1, 1, 2, 1), seed=0)
    assert list(sites) == list(range(5))
    assert costs == {}


def test_cliques_of_the_size_of_a_chip_get_a_chip_each() -> None:
    """Three cliques of 128 cores, shuffled, and one weak flow between each two."""
    order = np.random.default_rng(1).permutation(384)
    clique = order // 128
    flows = (clique[:, None] == clique[None, :]).astype(float)
    np.fill_diagonal(flows, 0)
    for a, b in ((0, 1), (1, 2)):
        flows[np.argmax(clique == a), np.argmax(clique == b)] = 0.1
    sites, _ = place(flows, GRID, seed=0)
    chips = [np.unique(sites[clique == k] // 128) for k in range(3)]
    assert [len(c) for c in chips] == [1, 1, 1]
    column, row = (np.array([c[0] % 8 for c in chips]), np.array([c[0] // 8 for c in chips]))
    apart = np.abs(np.diff(column)) + np.abs(np.diff(row))
    assert list(apart) == [1, 1]  # a chain of chips


def test_latency_shortens_the_longest_route() -> None:
    """Much traffic within pairs, and a little from the first core to all others: that decides the longest route."""
    flows = random_flows(64, 0, 0.05)
    flows[0, 1:] += 1e-6

    def longest(sites: np.ndarray) -> int:
        x, y = traffic.distances(sites, ONE)
        return int((x + y)[flows > 0].max())

    usual, costs = place(flows, ONE, 0)
    short, _ = place(flows, ONE, 0, optimize="latency")
    assert longest(short) < longest(usual)
    assert cost(flows, usual, ONE) == pytest.approx(min(costs.values()))


SCRIPT = """
import os, sys
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:int(sys.argv[1])]))
import numpy as np
from snnc import target
from snnc.passes.place import place
rng = np.random.default_rng(0)
for cores in (100, 300):
    flows = rng.exponential(size=(cores, cores)) * (rng.random((cores, cores)) < 0.1)
    print(place(flows, target.load("loihi").grid, 3)[0].tolist())
"""


def test_threads_change_nothing() -> None:
    """One and all processors for Mt-KaHyPar, one and several threads for BLAS, in processes of their own."""
    found = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, processors],
            capture_output=True,
            text=True,
            check=True,
            env={"OPENBLAS_NUM_THREADS": blas, "OMP_NUM_THREADS": blas, **clean_environment()},
        ).stdout
        for processors, blas in (("1", "1"), ("64", "4"))
    ]
    assert found[0] == found[1]
    assert len(found[0].splitlines()) == 2


def clean_environment() -> dict[str, str]:
    import os

    return {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}


def test_a_network_larger_than_a_chip_spills_over() -> None:
    small = chip(neurons=2)
    image = snnc.compile(mlp((10, 300, 5)), small, map="layers")
    assert image.cores == 153
    assert image.chips == 2
    route = image.provenance["passes"]["route"]
    assert route["chips"] == 2
    assert route["crossings_per_step"] >= route["chip_messages_per_step"] > 0
    with pytest.raises(DoesNotFit, match=r"2 chips of 128; --chips allows 1"):
        snnc.compile(mlp((10, 300, 5)), small, map="layers", chips=1)


def test_a_mesh_that_multicasts_shares_links() -> None:
    network = mlp((10, 60, 40))
    usual = snnc.compile(network, chip(neurons=4), map="layers")
    shared = snnc.compile(network, multicasting(chip(neurons=4)), map="layers")
    a, b = (image.provenance["passes"]["route"] for image in (usual, shared))
    assert a["messages_per_step"] == b["messages_per_step"]
    assert b["hops_per_step"] < 0.7 * a["hops_per_step"]
    assert b["hottest_link_per_step"] < a["hottest_link_per_step"]
    assert b["hops_per_step"] == pytest.approx(min(shared.provenance["passes"]["place"]["hops_per_step"].values()))


def test_sparse_flows_are_taken_as_they_are() -> None:
    flows = random_flows(40, 5)
    assert np.array_equal(place(sparse.csr_array(flows), ONE, 2)[0], place(flows, ONE, 2)[0])

"""Traffic against single spikes that are walked over the board, tile by tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import Case, cases, column_row, count, crosses, tile

from snnc import traffic
from snnc.target import Grid

several = settings(deadline=None, max_examples=150)


def loads_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    if case.grid.multicast:
        return traffic.multicast_loads(case.matrix, case.core_of, case.rates, case.site_of, case.grid)
    return traffic.link_loads(traffic.flow(case.matrix, case.core_of, case.rates), case.site_of, case.grid)


@several
@given(cases())
def test_routes_equal_those_walked(case: Case) -> None:
    found = traffic.routes(case.matrix, case.core_of, case.site_of, case.grid)
    walked = count(case)
    np.testing.assert_array_equal(found.messages, walked.messages)
    np.testing.assert_array_equal(found.hops_x, walked.hops_x)
    np.testing.assert_array_equal(found.hops_y, walked.hops_y)
    np.testing.assert_array_equal(found.crossings, walked.crossings)
    crossings, hops = max(walked.routes, default=(0, 0))
    assert (found.longest[2], found.longest[0] + found.longest[1]) == (crossings, hops)


@several
@given(cases())
def test_every_link_carries_what_was_walked_over_it(case: Case) -> None:
    grid, walked = case.grid, count(case).loads
    horizontal, vertical = loads_of(case)
    assert horizontal.shape == (2, grid.height, grid.width - 1)
    assert vertical.shape == (2, grid.height - 1, grid.width)
    assert horizontal.sum() + vertical.sum() == sum(walked.values())
    for (start, stop), load in walked.items():
        (x, y), (to_x, to_y) = column_row(start, grid), column_row(stop, grid)
        if y == to_y:
            assert horizontal[int(to_x < x), y, min(x, to_x)] == load
        else:
            assert vertical[int(to_y < y), min(y, to_y), x] == load
    hottest = traffic.hottest(horizontal, vertical)
    by_ends = {tuple(column_row(end, grid) for end in link): load for link, load in walked.items()}
    if hottest is None:
        assert not any(walked.values())
    else:
        assert by_ends[hottest.start, hottest.stop] == hottest.load == max(walked.values())


@several
@given(cases(), st.integers(0, 2**32))
def test_the_links_of_routes_carry_what_spikes_walk(case: Case, seed: int) -> None:
    """Several samples of spikes, each walked over the board; links that no route takes are left out."""
    grid = case.grid
    spikes = np.random.default_rng(seed).integers(0, 4, (3, len(case.core_of)))
    found = traffic.links(case.matrix, case.core_of, case.site_of, grid)
    loads = found.loads(spikes)
    every = count(replace(case, rates=np.ones(len(case.core_of)))).loads
    ends = [(tuple(a), tuple(b)) for a, b in zip(found.start.tolist(), found.stop.tolist(), strict=True)]
    by_ends = {tuple(column_row(end, grid) for end in link): crosses(link) for link in every}
    assert dict(zip(ends, found.crossing.tolist(), strict=True)) == by_ends
    for sample in range(3):
        walked = count(replace(case, rates=spikes[sample])).loads
        expected = {tuple(column_row(end, grid) for end in link): load for link, load in walked.items()}
        assert dict(zip(ends, loads[sample].tolist(), strict=True)) == expected
    routes = traffic.routes(case.matrix, case.core_of, case.site_of, grid)
    np.testing.assert_array_equal(loads.sum(axis=1), spikes @ (routes.hops_x + routes.hops_y))
    np.testing.assert_array_equal(loads[:, found.crossing].sum(axis=1), spikes @ routes.crossings)


@several
@given(cases(multicast=False))
def test_flows_are_the_messages_between_cores(case: Case) -> None:
    flows = traffic.flow(case.matrix, case.core_of, case.rates)
    expected = np.zeros(flows.shape)
    for neuron, core in enumerate(case.core_of):
        for goal in np.flatnonzero(case.reached[neuron]):
            if core >= 0 and goal != core:
                expected[core, goal] += case.rates[neuron]
    np.testing.assert_array_equal(flows.toarray(), expected)
    assert flows.has_canonical_format
    assert not flows.diagonal().any()


@several
@given(cases(multicast=True))
def test_sharing_never_costs_more_and_nothing_for_one_target(case: Case) -> None:
    shared = traffic.routes(case.matrix, case.core_of, case.site_of, case.grid)
    alone = traffic.routes(case.matrix, case.core_of, case.site_of, replace(case.grid, multicast=False))
    np.testing.assert_array_equal(shared.messages, alone.messages)
    assert shared.longest == alone.longest
    for name in ("hops_x", "hops_y", "crossings"):
        less, more = getattr(shared, name), getattr(alone, name)
        assert (less <= more).all()
        np.testing.assert_array_equal(less[alone.messages <= 1], more[alone.messages <= 1])


@several
@given(cases())
def test_sites_are_numbered_by_chip_then_tile(case: Case) -> None:
    x, y = traffic.tile_of(case.site_of, case.grid)
    expected = [column_row(tile(s, case.grid), case.grid) for s in case.site_of]
    assert list(zip(x.tolist(), y.tolist(), strict=True)) == expected
    chip = traffic.chip_of(case.site_of, case.grid)
    across, down = traffic.distances(case.site_of, case.grid)
    assert ((chip >= 0) & (chip < case.grid.chips)).all()
    np.testing.assert_array_equal(across, np.abs(np.subtract.outer(x, x)))
    np.testing.assert_array_equal(down, np.abs(np.subtract.outer(y, y)))


@pytest.mark.parametrize("case", [0, 1, 2])
def test_the_hottest_link_says_where_it_leads(case: int) -> None:
    """One flow over two hops along x and one along y, all equally hot: the first is told."""
    grid = Grid(3, 2, 1)
    ends = [(0, 5), (5, 0), (2, 3)][case]
    flows = np.zeros((2, 2))
    flows[0, 1] = 7
    link = traffic.hottest(*traffic.link_loads(flows, np.array(ends), grid))
    assert link == traffic.Link([(0, 0), (1, 1), (1, 0)][case], [(1, 0), (0, 1), (0, 0)][case], 7)

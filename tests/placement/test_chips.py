"""Which cores share a chip: as few chips as hold them, little traffic between them, near each other on the board."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from snnc.placement import chips
from snnc.target import Grid


def random_flows(cores: int, seed: int, density: float) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    flows = rng.exponential(size=(cores, cores)) * (rng.random((cores, cores)) < density)
    np.fill_diagonal(flows, 0)
    return sparse.csr_array(flows)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(0, 99), st.sampled_from([0.0, 0.1, 0.6]))
def test_no_chip_holds_more_than_it_has_and_none_is_wasted(cores: int, seed: int, density: float) -> None:
    grid = Grid(2, 2, 2, 4, 2, 20.0)
    found = chips.chips_of(random_flows(cores, seed, density), grid, seed)
    used, counts = np.unique(found, return_counts=True)
    assert len(used) == -(-cores // 8)
    assert counts.max() <= 8
    assert set(used) <= set(range(8))
    assert (used % 4).min() == (used // 4).min() == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_cut_is_the_smallest_there_is(seed: int) -> None:
    """Eight cores in two groups of four: all 35 ways."""
    flows = random_flows(8, seed, 0.5)
    dense = flows.toarray()

    def between(group: np.ndarray) -> float:
        return float(dense[group[:, None] != group[None, :]].sum())

    ways = [np.isin(np.arange(8), half).astype(int) for half in itertools.combinations(range(8), 4)]
    group = chips.groups(flows, Grid(2, 1, 2, 2, 1), 0)
    assert sorted(np.bincount(group)) == [4, 4]
    assert between(group) == pytest.approx(min(map(between, ways)))


def test_groups_that_talk_sit_side_by_side() -> None:
    """A ring of six groups on a board of four by three chips: every neighbour is one chip away."""
    ring = np.roll(np.eye(6), 1, axis=1)
    order = np.random.default_rng(0).permutation(6)
    chip = chips.placed(sparse.csr_array(ring[np.ix_(order, order)]), Grid(2, 2, 1, 4, 3, 30.0), 0)
    x, y = chip % 4, chip // 4
    for a, b in zip(*np.nonzero(ring[np.ix_(order, order)]), strict=True):
        assert abs(x[a] - x[b]) + abs(y[a] - y[b]) == 1


def test_the_shorter_side_of_a_chip_is_crossed() -> None:
    """Chips of eight columns and four rows: two of them lie one above the other."""
    chip = chips.placed(sparse.csr_array(np.array([[0.0, 1.0], [0.0, 0.0]])), Grid(8, 4, 4, 8, 4, 30.0), 0)
    assert sorted(chip) == [0, 8]

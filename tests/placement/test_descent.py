"""The search: its tables stay exact, and descent leaves no move or swap that gains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from snnc.placement.search import Search

few = settings(deadline=None, max_examples=40)


@st.composite
def searches(draw: st.DrawFn) -> Search:
    """Some cores on tiles of one to three slots, with any symmetric distances."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns, rows, per_tile = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    tile = np.repeat(np.arange(columns * rows), per_tile)
    cores = draw(st.integers(1, len(tile)))
    flows = rng.integers(0, 50, (cores, cores)) * (rng.random((cores, cores)) < draw(st.sampled_from([0, 0.2, 0.8])))
    np.fill_diagonal(flows, 0)
    steps = []
    for size in (columns, rows):
        table = rng.integers(0, 20, (size, size))
        steps.append(np.triu(table, 1) + np.triu(table, 1).T)
    slots = (tile % columns, tile // columns)
    return Search(sparse.csr_array(flows), slots, (steps[0], steps[1]), rng.permutation(len(tile))[:cores])


def cost(search: Search, slot_of: np.ndarray) -> int:
    """Flow times distance, pair by pair."""
    s, total = search.state, 0
    for a in range(len(slot_of)):
        for k in range(s.indptr[a], s.indptr[a + 1]):
            at, to = slot_of[a], slot_of[s.indices[k]]
            far = s.steps_x[s.slot_x[at], s.slot_x[to]] + s.steps_y[s.slot_y[at], s.slot_y[to]]
            total += int(s.weights[k]) * int(far)
    return total


def assert_sound(search: Search) -> None:
    s = search.state
    assert len(set(s.slot_of)) == len(s.slot_of)
    assert sorted(s.core_in[s.core_in >= 0]) == list(range(len(s.slot_of)))
    assert np.array_equal(s.core_in[s.slot_of], np.arange(len(s.slot_of)))
    assert np.array_equal(s.x, s.slot_x[s.slot_of])
    assert np.array_equal(s.y, s.slot_y[s.slot_of])
    assert search.cost == cost(search, s.slot_of)


@few
@given(searches())
def test_descent_ends_where_no_exchange_gains(search: Search) -> None:
    assert_sound(search)
    before = search.cost
    search.descend()
    assert_sound(search)
    assert search.cost <= before
    slot_of = search.slot_of
    owner = {int(slot): core for core, slot in enumerate(slot_of)}
    for core in range(len(slot_of)):
        for slot in range(len(search.state.core_in)):
            changed = slot_of.copy()
            changed[core] = slot
            if slot in owner:
                changed[owner[slot]] = slot_of[core]
            assert cost(search, changed) >= search.cost


@few
@given(searches(), st.integers(0, 2**62))
def test_annealing_keeps_the_tables_exact_and_is_seeded(search: Search, seed: int) -> None:
    start = search.slot_of
    search.anneal(3000, 0.5, 0.01, seed)
    assert_sound(search)
    end = search.slot_of
    again = Search(*arguments(search, start))
    again.anneal(3000, 0.5, 0.01, seed)
    assert np.array_equal(again.slot_of, end)


def arguments(search: Search, slot_of: np.ndarray):
    s = search.state
    flows = sparse.csr_array((s.weights.astype(float), s.indices, s.indptr), shape=(len(s.x), len(s.x)))
    return sparse.triu(flows).tocsr(), (s.slot_x, s.slot_y), (s.steps_x, s.steps_y), slot_of


def test_annealing_leaves_a_local_optimum() -> None:
    """A ring of 40 cores on a line: at best folded, so that two of its flows pass over each of the 39 links."""
    ring, place = sparse.csr_array(np.roll(np.eye(40), 1, axis=1)), np.arange(40)
    line = np.abs(np.subtract.outer(place, place))
    start = np.random.default_rng(0).permutation(40)
    search = Search(ring, (place, 0 * place), (line, np.zeros((1, 1))), start)
    best = 2 * 2 * 39 * int(search.state.weights[0])
    search.descend()
    assert search.cost > 1.5 * best
    search.anneal(2_000_000, 0.3, 0.005, 0)
    search.descend()
    assert search.cost == best


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_flows_of_any_size_are_told_apart(scale: float) -> None:
    """The heavier of two flows gets the shorter way, however heavy both are."""
    flows = np.zeros((3, 3))
    flows[0, 1], flows[0, 2] = scale, 1.000001 * scale
    line = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    places = np.arange(4)
    search = Search(sparse.csr_array(flows), (places, 0 * places), (line**2, np.zeros((1, 1))), np.array([0, 1, 3]))
    search.descend()
    x = search.slot_of
    assert sorted(np.abs(x[1:] - x[0])) == [1, 1]

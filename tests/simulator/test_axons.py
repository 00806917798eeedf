"""The rows in which axons are kept against the matrix that they were made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from snnc.simulator.axons import LANES, MOST, Axons, axons
from snnc.simulator.counting import add_axons


def visited(found: Axons, first: np.ndarray, neuron: int, cores: int) -> np.ndarray:
    """What one spike of a neuron adds to each core, by the kernel."""
    (p,) = np.flatnonzero((first[:-1] <= neuron) & (neuron < first[1:]))
    counters = np.zeros(-(-cores // LANES) * LANES, np.int32)
    add_axons(np.array([neuron - first[p]], np.int32), int(first[p]), int(p), found, counters)
    return counters[:cores]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_spike_adds_its_row_of_the_matrix(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    first = np.cumsum([0, *data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))])
    cores = data.draw(st.sampled_from([1, 3, 16, 17, 100]))
    largest = data.draw(st.sampled_from([5, MOST, MOST + 1, 5 * MOST]))
    density = data.draw(st.sampled_from([0, 0.02, 0.3, 1]))
    matrix = rng.integers(1, largest + 1, (first[-1], cores)) * (rng.random((first[-1], cores)) < density)
    found = axons(sparse.csr_array(matrix), first)
    for neuron in range(first[-1]):
        np.testing.assert_array_equal(visited(found, first, neuron, cores), matrix[neuron])


@pytest.mark.parametrize(("largest", "reach", "rows"), [(7, 40, 3), (7, 1, 0), (MOST + 1, 40, 0)])
def test_windows_are_for_neurons_that_reach_the_same_cores(largest: int, reach: int, rows: int) -> None:
    """Of 400 neurons and as many cores: each reaches 40 of the same, or one of its own."""
    matrix = np.zeros((400, 400), np.int64)
    if reach == 1:
        np.fill_diagonal(matrix, largest)
    else:
        matrix[:, 100:140] = largest
    found = axons(sparse.csr_array(matrix), np.array([0, 400]))
    assert found.windows[0, 1] == rows
    assert len(found.rows) == (400 * 3 * -(-largest // MOST) if reach > 1 else 400)

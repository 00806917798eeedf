"""The rows in which axons are kept against the matrix that they were made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from snnc.simulator.axons import LANES, MOST, Axons, axons
from snnc.simulator.counting import count_step


def visited(found: Axons, first: np.ndarray, neuron: int, cores: int) -> np.ndarray:
    """What one spike of a neuron adds to each core, by the kernel."""
    (p,) = np.flatnonzero((first[:-1] <= neuron) & (neuron < first[1:]))
    work = np.zeros((3, -(-cores // LANES) * LANES), np.int32)
    core_work = np.zeros((3, cores), np.int64)
    events, spikes = np.zeros((1, first[-1] + 1), np.int32), np.zeros((1, len(first) - 1), np.int64)
    events[0, first[p]], spikes[0, p] = neuron - first[p], 1
    causes, counted = np.arange(8 * first[-1], dtype=np.int32).reshape(-1, 8), np.zeros(11, np.int64)
    alone, core_at = np.full(len(first) - 1, -1), np.arange(first[-1], dtype=np.int32) % cores
    rows = (found.windows, found.ptr, found.core, found.synapses)
    count_step(events, spikes, 0, first, -1, alone, core_at, causes, *rows, work, core_work, counted)
    np.testing.assert_array_equal(work[:, :cores], core_work)
    assert not work[:, cores:].any()
    assert np.flatnonzero(work[2]).tolist() == [neuron % cores]
    assert counted.tolist() == [*causes[neuron], work[0].sum(), 0, 1]
    return work[0, :cores]


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
    assert len(found.synapses) == (400 * 3 * -(-largest // MOST) if reach > 1 else 400)

"""The engine's tables of synapses: forms, blocks, sums of 16 bits; and how it finds spikes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import linear, place, population

from snnc.network import Network, Population, Projection
from snnc.ops import Linear, canonical
from snnc.samples import Samples
from snnc.simulator import prepare, reference, simulate
from snnc.simulator.fans import NARROW, WIDE, near, row_sums
from snnc.simulator.tables import DENSE, MOST, WORTH

several = settings(deadline=None, max_examples=60)


def one_layer(weight: np.ndarray | Linear, threshold: int = 1 << 16) -> Network:
    """weight: int16 (targets, sources)."""
    op = weight if isinstance(weight, Linear) else Linear(canonical(weight))
    targets, sources = op.weight.shape
    populations = (Population("in", (sources,), "input"), population("out", (targets,), threshold=threshold))
    return Network(populations, (Projection("p", "in", "out", (op,)),), ("out",), 1e-3)


def assert_exact(network: Network, spikes: np.ndarray) -> None:
    expected = reference.simulate(network, spikes)["out"]
    assert 0 < expected.mean() < 1
    run = simulate(network, Samples(spikes), rasters=["out"])
    np.testing.assert_array_equal(run.rasters["out"], expected)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("density", [0.3, 1.0])
@pytest.mark.parametrize("weight", [127, 255])
def test_sums_of_16_bits_are_emptied_before_they_overflow(sign: int, density: float, weight: int) -> None:
    """2,000 sources, all of which may spike at once, reach far beyond 2^15; each target by itself."""
    rng = np.random.default_rng(0)
    sources, targets = 2000, 40
    table = (weight * sign * (rng.random((targets, sources)) < density)).astype(np.int16)
    table[0] = -sign * weight
    network = one_layer(table, threshold=sign * 30_000)
    block = prepare(network).tables.projections[0]
    assert block[MOST] == 32767 // weight
    assert block[WORTH] < sources
    assert block[DENSE] == (density > 0.4)
    assert_exact(network, (rng.random((2, 9, sources)) < np.linspace(0.01, 1, 9)[:, None]).astype(np.uint8))


@pytest.mark.parametrize(("sources", "most"), [(258, 258), (259, 258)])
def test_sums_that_cannot_overflow_take_all_events(sources: int, most: int) -> None:
    """258 * 127 = 32,766."""
    table = np.full((3, sources), 127, np.int16)
    assert near(canonical(table))[2] == most
    assert near(canonical(-table))[2] == most


def test_weights_of_which_no_sum_can_hold_two_are_added_at_full_width() -> None:
    table = np.full((50, 4), -32768, np.int16)
    network = one_layer(table, threshold=-40_000)
    assert prepare(network).tables.projections[0, WORTH] > 4
    assert_exact(network, np.array([[[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]], np.uint8))


@pytest.mark.parametrize(
    ("low", "high", "threshold", "form"), [(-128, 127, 50, NARROW), (-129, 1, 0, WIDE), (1, 128, 300, WIDE)]
)
def test_a_synapse_takes_as_few_bytes_as_the_weights_allow(low: int, high: int, threshold: int, form: np.dtype) -> None:
    rng = np.random.default_rng(1)
    table = rng.choice(np.array([low, high, 0], np.int16), (90, 70), p=[0.15, 0.15, 0.7])
    network = one_layer(table, threshold=threshold)
    tables = prepare(network).tables
    assert tables.packed.dtype == form
    assert tables.plain.dtype == form["weight"]
    assert_exact(network, (rng.random((3, 20, 70)) < 0.3).astype(np.uint8))


@pytest.mark.parametrize("density", [0.02, 0.3, 0.45, 1])
def test_tables_take_four_bytes_a_synapse_at_most(density: float) -> None:
    network = one_layer(linear(np.random.default_rng(2), 1000, 800, density=density))
    tables = prepare(network).tables
    held = sum(a.nbytes for a in (tables.index, tables.fans, tables.packed, tables.plain))
    assert held <= 4 * network.projections[0].op.weight.nnz


def test_blocks_of_many_targets_are_exact() -> None:
    """More targets than an index of 16 bits has, all of them reached in a step."""
    rng = np.random.default_rng(3)
    table = rng.integers(-127, 128, (70_001, 5)) * (rng.random((70_001, 5)) < 0.3)
    network = one_layer(table.astype(np.int16), threshold=60)
    blocks = prepare(network).tables.projections
    assert len(blocks) == 2
    assert (blocks[:, WORTH] <= 5).all()
    assert_exact(network, np.array([[[1, 1, 1, 1, 1], [0, 1, 0, 1, 0], [0] * 5, [1, 1, 1, 0, 1]]], np.uint8))


@several
@given(st.data())
def test_sums_of_rows(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    table = rng.integers(-32768, 32768, shape) * (rng.random(shape) < data.draw(st.sampled_from([0, 0.2, 1])))
    expected = np.stack([table.clip(0).sum(axis=1), -table.clip(None, 0).sum(axis=1)])
    np.testing.assert_array_equal(row_sums(canonical(table.astype(np.int16))), expected)


@several
@given(st.data())
def test_spikes_are_found_in_order(data: st.DataObject) -> None:
    """Around whole words of 64, and whatever the bytes hold."""
    from snnc.simulator import kernels

    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    size = data.draw(st.one_of(st.integers(0, 5), st.integers(60, 70), st.integers(125, 135)))
    fired = rng.integers(1, 256, size) * (rng.random(size) < data.draw(st.sampled_from([0, 0.05, 0.5, 1])))
    for kind in (np.uint8, np.int32):
        events = np.empty(size + 1, np.int32)
        found = kernels._collect(fired.astype(kind), events)
        np.testing.assert_array_equal(events[:found], np.flatnonzero(fired))


def test_visits_are_counted_with_and_without_gaps_among_cores() -> None:
    """Of ten cores the inputs reach all, every second one, the ends, one and none."""
    table = np.zeros((10, 5), np.int16)
    for source, cores in enumerate([range(10), range(0, 10, 2), [0, 9], [4], []]):
        table[list(cores), source] = 1
    network = one_layer(table)
    image = place(network, [-1] * 5 + list(range(10)), np.arange(10))
    rng = np.random.default_rng(4)
    spikes = (rng.random((3, 8, 5)) < 0.6).astype(np.uint8)
    run = simulate(image, Samples(spikes))
    np.testing.assert_array_equal(run.core_synops, spikes.sum(axis=1).astype(int) @ table.T)

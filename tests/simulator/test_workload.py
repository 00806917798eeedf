"""Workloads in NeuroBench's terms against matrices and rasters; NeuroBench itself is in tests/differential."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_networks import chain, conv, cuba, lif, linear, mlp, spikes
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import chain as integer_chain
from integer_networks import networks, recordings

from snnc.network import GRADED, READ_OUT, Population
from snnc.ops import Conv1d, Conv2d, Linear, canonical, matrix
from snnc.samples import Samples
from snnc.simulator import reference, simulate, workload
from snnc.simulator.floating import batches

several = settings(deadline=None, max_examples=60)


@several
@given(st.data())
def test_fan_outs_are_the_columns_of_the_matrix(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    groups, pads, strides = (data.draw(st.sampled_from(x)) for x in ([1, 2], [(0, 0), (1, 2)], [(1, 1), (2, 3)]))
    weight = rng.normal(size=(groups * 2, 3, 2, 3)) * (rng.random((groups * 2, 3, 2, 3)) < 0.6)
    shape = (3 * groups, data.draw(st.integers(4, 7)), data.draw(st.integers(5, 8)))
    op = Conv2d(weight, None, strides, pads, data.draw(st.sampled_from([(1, 1), (2, 1), (1, 2)])), groups)
    flat = Conv1d(weight[:, :, 0], None, strides[1], pads[1], 1, groups)
    full = Linear(canonical(rng.normal(size=(5, 12)) * (rng.random((5, 12)) < 0.4)))
    for layer, size in ((op, shape), (flat, (shape[0], shape[2])), (full, (12,))):
        expected = (matrix(layer, size) != 0).sum(axis=0)
        np.testing.assert_array_equal(workload.fan_out(layer, size), expected)
        ones = replace(layer, weight=canonical(np.ones((5, 12))) if layer is full else np.ones_like(layer.weight))
        assert workload.dense(layer, size) == matrix(ones, size).nnz


@several
@given(st.data())
def test_a_run_of_integers_counts_spikes_where_they_are_fired(data: st.DataObject) -> None:
    network = data.draw(networks())
    inputs = data.draw(recordings(network.inputs[0].shape))
    run = simulate(network, Samples(inputs))
    rasters = reference.simulate(network, inputs)
    counted = workload.of_run(network, run)
    for projection, calls in zip(network.projections, counted.calls, strict=True):
        pre = network[projection.pre]
        fired = rasters[pre.name].reshape(len(inputs), -1, pre.size) != 0
        exists = matrix(projection.op, pre.shape).toarray() != 0
        np.testing.assert_array_equal(calls.effective.sum(axis=1), np.einsum("nti,oi->n", fired.astype(int), exists))
        assert (calls.binary == (pre.neuron != GRADED)).all()
    spiking = [p for p in network.layers if p.neuron != READ_OUT]
    expected = sum((rasters[p.name].reshape(len(inputs), -1) != 0).sum(axis=1) for p in spiking)
    np.testing.assert_array_equal(counted.active, expected)
    assert counted.outputs == run.steps * sum(p.size for p in spiking)
    # Without weights nothing is an operation, and there is no share of zeros.
    assert (workload.connection_sparsity(network) is None) == (not network.projections)


def test_threads_and_blocks_change_nothing() -> None:
    network = conv()
    data = {"input": spikes(network, samples=37)}
    results = []
    for threads in (1, 2, 5):
        totals, counted = batches.watched(network, data, threads=threads)
        plain = batches.counts(network, data, threads=threads)
        assert all(np.array_equal(totals[name], plain[name]) for name in plain)
        results.append([workload.neurobench(network, counted, batch) for batch in (1, 4, 37, 100)])
    assert results[0] == results[1] == results[2]
    assert results[0][2] == replace(results[0][3], batch=37)  # there are no more than 37


def test_a_case_by_hand() -> None:
    """Two inputs, three neurons, two read out; one weight is 0. The second input is 2 in the last step."""
    weight = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    network = chain(
        [Population("input", (2,), "input"), lif("a", (3,), threshold=0.5), cuba("b", (2,))],
        [(Linear(canonical(weight), np.zeros(3)),), (Linear(canonical(np.ones((2, 3)))),)],
    )
    data = np.array([[[0, 0], [1, 0], [1, 2]]])
    _, counted = batches.watched(network, {"input": data})
    first, second = counted.calls
    assert first.effective.tolist() == [[0, 3, 5]]
    assert first.binary.tolist() == [[True, True, False]]
    assert first.dense == 3 * 6
    assert second.effective.tolist() == [[0, 6, 6]]
    found = workload.neurobench(network, counted)
    assert (found.effective_acs, found.effective_macs, found.dense) == (15, 5, 36)
    assert found.connection_sparsity == round(1 / 12, 4)
    # Of a: silent, then all twice. Of b, whose input is 3 from step 1 on: all of its two neurons twice.
    assert found.activation_sparsity == pytest.approx(1 - (6 + 4) / 15)
    # All 5 in the first step. Of a, before it resets: all change twice, but for the first neuron from 1 to 1. Of b,
    # which resets at once, as snntorch's Synaptic does without reset_delay: never.
    assert found.membrane_updates == 5 + (3 + 2)
    # 6 + 3 + 6 weights and biases; a: beta and threshold, b: alpha, too; a factor and a number of the reset each.
    assert found.footprint == 8 * 15 + (3 + 4) * 8 + 2 * 8


def test_a_network_without_neurons_that_spike() -> None:
    rng = np.random.default_rng(0)
    network = chain([Population("input", (4,), "input"), Population("out", (3,), "sum")], [(linear(rng, 3, 4),)])
    _, counted = batches.watched(network, {"input": np.ones((2, 5, 4), np.uint8)})
    found = workload.neurobench(network, counted)
    assert (found.activation_sparsity, found.membrane_updates) == (0, 0)
    assert found.effective_acs == found.dense == 5 * 12


def test_neurons_that_share_a_parameter_hold_it_once() -> None:
    network = mlp((4, 3))
    (layer,) = network.layers
    shared = workload.footprint(network)
    own = replace(layer, params={**layer.params, "tau": layer.params["tau"] * np.array([1, 2, 3])})
    assert workload.footprint(replace(network, populations=(network.populations[0], own))) == shared + 2 * 8


def test_values_that_are_not_at_hand_are_not_taken_for_spikes() -> None:
    """What is a MAC depends on them."""
    network = integer_chain(4, 3)
    frames = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    run = simulate(network, Samples(frames))
    assert run.graded
    assert workload.of_run(network, run) is None
    counted = workload.of_run(network, run, frames)
    assert counted is not None
    found = workload.neurobench(network, counted)
    # One value of 24 is 0; no step holds zeros and ones alone.
    assert (found.effective_acs, found.effective_macs) == (0, 3 * 23 / 2)
    assert not simulate(network, Samples((frames > 9).astype(np.uint8))).graded

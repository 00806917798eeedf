"""Recordings in pieces: what is carried on, what is left out, and what memory it takes."""

from __future__ import annotations

import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import chain, images, networks, place, recordings

from snnc.errors import UsageError
from snnc.network import READ_OUT, Network
from snnc.samples import Samples
from snnc.simulator import Run, engine, reference, simulate
from snnc.simulator.traces import KINDS, Trace

several = settings(deadline=None, max_examples=60)


def every_trace(network: Network) -> list[Trace]:
    """All that a network can show."""
    return [
        (kind, p.name)
        for p in network.populations
        for kind in KINDS
        if not (p.neuron == "input" and kind != "spikes") and not (p.neuron == READ_OUT and kind == "spikes")
    ]


def assert_same(a: Run, b: Run) -> None:
    for name in ("spikes", "outputs", "core_synops", "core_active", "core_spikes", "time_ps", "latest_ps"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.traces.keys() == b.traces.keys()
    for trace, values in a.traces.items():
        np.testing.assert_array_equal(values, b.traces[trace], err_msg=str(trace))


@st.composite
def data(draw: st.DrawFn, network: Network) -> np.ndarray:
    """Spikes, or whole numbers."""
    spikes = draw(recordings(network.inputs[0].shape))
    if draw(st.booleans()):
        return spikes
    reach = draw(st.sampled_from([2, 255]))
    values = np.random.default_rng(draw(st.integers(0, 2**32))).integers(-reach, reach + 1, spikes.shape)
    values.flat[0] = 2  # one value at least that is no spike
    return (values * (spikes | (np.arange(spikes.size) == 0).reshape(spikes.shape))).astype(np.int32)


@st.composite
def cuts(draw: st.DrawFn, steps: int) -> list[tuple[int, int]]:
    """Pieces of any lengths."""
    inner = draw(st.sets(st.integers(1, steps - 1))) if steps > 1 else set()
    ends = [*sorted(inner), steps]
    return list(zip([0, *ends], ends, strict=False))


@several
@given(st.data())
def test_pieces_change_nothing(draw: st.DataObject) -> None:
    network = draw.draw(networks())
    image = draw.draw(images(network))
    spikes = draw.draw(data(network))
    pieces = draw.draw(cuts(spikes.shape[1]))
    traces = every_trace(network)
    whole = simulate(image, Samples(spikes), traces=traces)
    with patch.object(engine._Job, "pieces", lambda job, count: pieces):
        cut = simulate(image, Samples(spikes), traces=traces, threads=draw.draw(st.sampled_from([1, 2])))
        stream = simulate(image, Samples(spikes), traces=traces, stream=True)
    assert_same(whole, cut)
    assert_same(whole, stream)
    np.testing.assert_array_equal(whole.step_ns, cut.step_ns)
    assert stream.step_ns.size == 0
    np.testing.assert_allclose(whole.time_ps / 1000, whole.step_ns.sum(axis=1))  # rounded, of doubles


@several
@given(st.data())
def test_traces_equal_the_reference(draw: st.DataObject) -> None:
    network = draw.draw(networks())
    spikes = draw.draw(data(network))
    expected = reference.trace(network, spikes)
    assert sorted(expected) == sorted(every_trace(network))
    run = simulate(network, Samples(spikes), traces=list(expected))
    for trace, values in expected.items():
        np.testing.assert_array_equal(run.traces[trace], values, err_msg=str(trace))


@several
@given(st.data())
def test_a_warm_up_is_run_and_counted_nowhere(draw: st.DataObject) -> None:
    network = draw.draw(networks())
    image = draw.draw(images(network))
    spikes = draw.draw(data(network))
    warmup = draw.draw(st.integers(0, spikes.shape[1] - 1))
    traces = every_trace(network)
    whole, rest = (simulate(image, Samples(spikes), traces=traces, warmup=k) for k in (0, warmup))
    assert (rest.steps, rest.warmup) == (spikes.shape[1] - warmup, warmup)
    for trace, values in whole.traces.items():
        np.testing.assert_array_equal(rest.traces[trace], values[:, warmup:], err_msg=str(trace))
    np.testing.assert_array_equal(rest.step_ns, whole.step_ns[:, warmup:])
    if warmup:
        first = simulate(image, Samples(spikes[:, :warmup]))
        for name in ("spikes", "core_synops", "core_active", "core_spikes"):
            counted = getattr(whole, name) - getattr(first, name)
            np.testing.assert_array_equal(getattr(rest, name), counted, err_msg=name)
        np.testing.assert_array_equal(rest.outputs, whole.outputs - first.outputs)


@pytest.mark.parametrize("warmup", [-1, 8, 9])
def test_a_warm_up_that_leaves_nothing_is_refused(warmup: int) -> None:
    with pytest.raises(UsageError, match="warm-up") as caught:
        simulate(chain(4, 3), Samples(np.ones((2, 8, 4), np.uint8)), warmup=warmup)
    assert "0 to 7" in caught.value.fix


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        (("w", "l1"), "no trace 'w'"),
        (("v", "l9"), "no layer 'l9'"),
        (("u", "l0"), "is an input"),
    ],
)
def test_what_cannot_be_traced_is_refused(trace: Trace, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        simulate(chain(4, 3), Samples(np.ones((2, 8, 4), np.uint8)), traces=[trace])
    assert caught.value.fix


@pytest.mark.parametrize("graded", [False, True])
def test_any_number_of_threads_gives_the_same(graded: bool) -> None:
    network = chain(20, 30, 10)
    image = place(network, np.append(np.full(20, -1), np.arange(40) % 6), np.arange(6))
    rng = np.random.default_rng(0)
    spikes = rng.integers(0, 4, (67, 9, 20)).astype(np.int32) if graded else rng.random((67, 9, 20)) < 0.4
    with patch.object(engine, "PIECE_STEPS", 4):
        runs = [
            simulate(image, Samples(spikes), threads=k, traces=every_trace(network), warmup=1) for k in (1, 2, 3, 7)
        ]
    for run in runs[1:]:
        assert_same(runs[0], run)
        np.testing.assert_array_equal(runs[0].step_ns, run.step_ns)


class Endless:
    """A recording whose pieces are made as they are asked for, and forgotten."""

    name, labels, shape, kind = "endless", None, (20,), np.dtype(np.uint8)

    def __init__(self, steps: int) -> None:
        self.steps, self.next = steps, 0

    def __len__(self) -> int:
        return 1

    def piece(self, samples: slice, first: int, stop: int) -> np.ndarray:
        assert first == self.next
        self.next = stop
        at = np.arange(first, stop)[:, None] * 7 + np.arange(20)
        return (at % 11 < 4).astype(np.uint8)[None]


def test_a_stream_takes_as_much_memory_for_few_steps_as_for_many() -> None:
    """Arrays that numpy allocated, at their peak."""
    prepared = engine.prepare(chain(20, 30, 10))
    peaks = []
    for steps in (20_000, 20_000, 200_000):  # the first run compiles
        tracemalloc.start()
        run = simulate(prepared, Endless(steps), stream=True, threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert run.spikes[0, :20].sum() == Endless(steps).piece(slice(0, 1), 0, steps).sum()
    assert peaks[2] < peaks[1] + 20_000  # bytes; a single int8 per step would be 180,000

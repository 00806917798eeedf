from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import chain, images, linear, networks, population, recordings

from snnc.errors import InputError, UsageError
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Linear, canonical
from snnc.samples import Samples
from snnc.simulator import prepare, reference, simulate

# Compiling the kernel takes seconds and falls into the first example.
several = settings(deadline=None, max_examples=60)


def assert_equals_reference(network: Network, spikes: np.ndarray, threads: int = 1) -> None:
    expected = reference.simulate(network, spikes)
    run = simulate(network, Samples(spikes), threads=threads, rasters=list(expected))
    for name, raster in expected.items():
        np.testing.assert_array_equal(run.rasters[name], raster, err_msg=name)
    fired = [r if r.dtype == bool else 0 * r for r in expected.values()]
    counts = np.concatenate([r.sum(axis=1).reshape(len(spikes), -1) for r in fired], axis=1)
    np.testing.assert_array_equal(run.spikes, counts)
    outputs = [expected[n].sum(axis=1).reshape(len(spikes), -1) for n in network.outputs]
    np.testing.assert_array_equal(run.outputs, np.concatenate(outputs, axis=1))


@several
@given(st.data())
def test_the_engine_equals_the_reference(data: st.DataObject) -> None:
    network = data.draw(networks())
    spikes = data.draw(recordings(network.inputs[0].shape))
    assert_equals_reference(network, spikes, threads=data.draw(st.sampled_from([1, 2])))


@several
@given(st.data())
def test_the_engine_equals_the_reference_on_graded_values(data: st.DataObject) -> None:
    """Frames of a camera, say: integers of any sign, of which zeros are no events."""
    network = data.draw(networks())
    spikes = data.draw(recordings(network.inputs[0].shape))
    reach = data.draw(st.sampled_from([2, 255, 1 << 14]))
    values = np.random.default_rng(data.draw(st.integers(0, 2**32))).integers(-reach, reach + 1, spikes.shape)
    assert_equals_reference(network, (values * spikes).astype(np.int32), threads=data.draw(st.sampled_from([1, 2])))


def test_graded_values_multiply_the_weight() -> None:
    network = Network(
        (Population("in", (1,), "input"), population("out", (1,), threshold=10, v_decay=0)),
        (Projection("p", "in", "out", (Linear(canonical(np.array([[4]], np.int16))),)),),
        ("out",),
        1e-3,
    )
    values = np.array([1, 1, 1, 3, -2, 5, 0, 1], np.int32).reshape(1, 8, 1)
    # v: 4, 8, 12 -> 0, 12 -> 0, -8, 12 -> 0, 0, 4; above 10 it spikes. Weights are held times 64, as the threshold is.
    expected = [0, 0, 1, 1, 0, 1, 0, 0]
    assert reference.simulate(network, values)["out"][0, :, 0].astype(int).tolist() == expected
    assert_equals_reference(network, values)


@pytest.mark.parametrize("size", [(1 << 16) + 1, 1 << 16])
def test_targets_around_the_16_bit_index(size: int) -> None:
    """The last neurons must be reached, in the narrow and in the wide form of the table."""
    pre = np.arange(size) % 3
    weight = canonical(np.zeros((1, 3), np.int16))
    weight.resize((size, 3))
    rows = np.arange(size)[size - 6 :]
    weight = canonical(type(weight)((np.full(6, 90, np.int16), (rows, pre[rows])), shape=(size, 3)))
    network = Network(
        (Population("in", (3,), "input"), population("out", (size,), threshold=80)),
        (Projection("p", "in", "out", (Linear(weight),)),),
        ("out",),
        1e-3,
    )
    spikes = np.array([[[1, 0, 0], [0, 1, 1]]], np.uint8)
    assert_equals_reference(network, spikes)
    assert reference.simulate(network, spikes)["out"].sum() == 6


def test_convolutions_of_other_channel_counts_meet_in_one_population() -> None:
    """Only one of them can have its channels side by side in the kernel's order."""
    rng = np.random.default_rng(0)
    wide, narrow, flat = ((8, 3, 2), (2, 4, 6), (48,))
    for shape in (wide, narrow, flat):
        network = Network(
            (Population("in", (2, 4, 6), "input"), population("c", shape, threshold=100), population("d", (5,))),
            (
                Projection("p", "in", "c", (kernel(rng, (8, 2, 2, 5)),)),
                Projection("q", "in", "c", (kernel(rng, (2, 2, 3, 3), padding=(1, 1)),)),
                Projection("r", "c", "d", (linear(rng, 5, 48),)),
                Projection("s", "d", "c", (linear(rng, 48, 5),)),
            ),
            ("c", "d"),
            1e-3,
        )
        spikes = (rng.random((2, 9, 2, 4, 6)) < 0.3).astype(np.uint8)
        assert_equals_reference(network, spikes)
        assert 0 < reference.simulate(network, spikes)["c"].mean() < 1


def kernel(rng: np.random.Generator, shape: tuple[int, ...], **geometry: tuple[int, int]) -> Conv2d:
    return Conv2d(rng.integers(-127, 128, shape).astype(np.int16), None, **geometry)


def wrapping(weight: int, threshold: int) -> Network:
    return Network(
        (Population("in", (64,), "input"), population("out", (1,), u_decay=0, threshold=threshold)),
        (Projection("p", "in", "out", (Linear(canonical(np.full((1, 64), weight, np.int16))),)),),
        ("out",),
        1e-3,
    )


@pytest.mark.parametrize(
    ("weight", "register"),
    [
        (4095, np.int32),
        (2048, np.int32),  # u is exactly 2^23, which does not wrap
        (-2048, np.int32),  # and here -2^23, which does
        (4096, np.int64),
        (-4096, np.int64),
    ],
)
def test_registers_are_narrow_exactly_where_that_is_exact(weight: int, register: type) -> None:
    """64 * 4096 = 2^18 is the first input for which one wrap of u may not be enough."""
    network = wrapping(weight, 1 << 16)
    assert prepare(network).tables.register == register
    assert_equals_reference(network, np.ones((1, 50, 64), np.uint8))


@pytest.mark.parametrize(("bias", "register"), [((1 << 24) - 1, np.int32), (1 << 24, np.int64), (-(1 << 25), np.int64)])
def test_large_biases_are_exact(bias: int, register: type) -> None:
    network = Network(
        (Population("in", (1,), "input"), population("out", (1,), bias=bias, threshold=1 << 16)),
        (Projection("p", "in", "out", (Linear(canonical(np.array([[-32768]], np.int16))),)),),
        ("out",),
        1e-3,
    )
    assert prepare(network).tables.register == register
    assert_equals_reference(network, np.array([[[0], [1], [1], [1], [0], [0]]], np.uint8))


def test_the_result_does_not_depend_on_threads_or_blocks() -> None:
    network = chain(20, 30, 10)
    spikes = (np.random.default_rng(0).random((67, 8, 20)) < 0.4).astype(np.uint8)
    runs = [simulate(network, Samples(spikes), threads=k) for k in (1, 2, 5)]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.spikes, runs[0].spikes)
    np.testing.assert_array_equal(runs[0].spikes[60:], simulate(network, Samples(spikes[60:])).spikes)


def test_a_prepared_network_gives_the_same_and_is_not_changed() -> None:
    network = chain(20, 30, 10)
    samples = Samples((np.random.default_rng(0).random((3, 8, 20)) < 0.4).astype(np.uint8))
    ready = prepare(network)
    first, second = simulate(ready, samples), simulate(ready, samples)
    np.testing.assert_array_equal(first.spikes, second.spikes)
    np.testing.assert_array_equal(first.spikes, simulate(network, samples).spikes)


def test_progress_counts_samples_up_to_all() -> None:
    seen: list[tuple[int, int]] = []
    spikes = np.ones((40, 2, 4), np.uint8)
    simulate(chain(4, 3), Samples(spikes), threads=2, progress=lambda done, every: seen.append((done, every)))
    assert seen[-1] == (40, 40)
    assert seen == sorted(set(seen))


def test_labels_and_accuracy() -> None:
    weight = canonical(np.array([[90, 0], [0, 90]], np.int16))
    network = Network(
        (Population("in", (2,), "input"), population("out", (2,), threshold=80)),
        (Projection("p", "in", "out", (Linear(weight),)),),
        ("out",),
        1e-3,
    )
    spikes = np.array([[[1, 0]], [[0, 1]], [[0, 0]]], np.uint8)
    run = simulate(network, Samples(spikes, np.array([0, 1, 1])))
    # Silence is a tie, and a tie is class 0.
    assert run.accuracy == pytest.approx(2 / 3)
    assert simulate(network, Samples(spikes)).accuracy is None


def test_a_network_without_mapping_counts_spikes_only() -> None:
    run = simulate(chain(4, 3), Samples(np.ones((2, 5, 4), np.uint8)))
    assert run.core_synops.shape == run.core_active.shape == run.core_spikes.shape == (2, 0)
    assert run.step_ns.shape == (2, 0)
    assert run.rasters == {}


def test_read_only_data_is_accepted() -> None:
    spikes = np.ones((2, 5, 4), np.uint8)
    spikes.flags.writeable = False
    assert simulate(chain(4, 3), Samples(spikes)).spikes[0, 0] == 5


def test_data_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(5,\).*\(4,\)"):
        simulate(chain(4, 3), Samples(np.ones((2, 5, 5), np.uint8)))


def test_an_unknown_raster_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'l7'") as caught:
        simulate(chain(4, 3), Samples(np.ones((2, 5, 4), np.uint8)), rasters=["l7"])
    assert "l0, l1" in caught.value.fix


def test_a_thread_count_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="thread"):
        simulate(chain(4, 3), Samples(np.ones((2, 5, 4), np.uint8)), threads=0)


def test_a_failure_in_a_block_reaches_the_caller() -> None:
    def stop(done: int, every: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(chain(4, 3), Samples(np.ones((200, 2, 4), np.uint8)), progress=stop)


@several
@given(st.data())
def test_a_mapping_changes_no_spike(data: st.DataObject) -> None:
    network = data.draw(networks())
    image = data.draw(images(network))
    samples = Samples(data.draw(recordings(network.inputs[0].shape)))
    plain, mapped = simulate(network, samples), simulate(image, samples, threads=2)
    np.testing.assert_array_equal(plain.spikes, mapped.spikes)


def test_importing_the_simulator_does_not_import_numba_or_torch() -> None:
    code = "import sys, snnc.simulator; sys.exit(bool({'numba', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

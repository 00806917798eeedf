"""Traces in files: what the reference has, whole or absent, and of any size."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from integer_networks import chain, networks, recordings
from test_streams import Endless, every_trace

from snnc.errors import UsageError
from snnc.network import Network
from snnc.samples import Samples
from snnc.simulator import engine, reference, simulate
from snnc.simulator.trace_file import create


def read(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """All arrays of a file, as a user would read them."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            return {(name.partition("/")[0], name.partition("/")[2]): file[name] for name in file.files}
    with h5py.File(path) as file:
        return {(kind, name): file[kind][name][()] for kind in file for name in file[kind]}


def write(path: Path, network: Network, spikes: np.ndarray, **options) -> dict[tuple[str, str], np.ndarray]:
    with create(path) as sink:
        simulate(network, Samples(spikes), traces=every_trace(network), sink=sink, **options)
    return read(path)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_holds_what_the_reference_has(tmp_path: Path, data: st.DataObject) -> None:
    network = data.draw(networks())
    spikes = data.draw(recordings(network.inputs[0].shape))
    expected = reference.trace(network, spikes)
    warmup = data.draw(st.integers(0, spikes.shape[1] - 1))
    for name in ("t.npz", "t.h5"):
        found = write(tmp_path / name, network, spikes, warmup=warmup, stream=data.draw(st.booleans()))
        assert found.keys() == expected.keys()
        for trace, values in expected.items():
            np.testing.assert_array_equal(found[trace], values[:, warmup:], err_msg=f"{name} {trace}")
            assert found[trace].dtype == (bool if trace[0] == "spikes" else found[trace].dtype)


@pytest.mark.parametrize("name", ["t.npz", "t.h5"])
def test_a_file_does_not_depend_on_threads(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PIECE_STEPS", 7)
    network = chain(20, 30, 10)
    spikes = (np.random.default_rng(0).random((67, 40, 20)) < 0.4).astype(np.uint8)
    files = [write(tmp_path / name, network, spikes, threads=k) for k in (1, 2, 3, 7)]
    for other in files[1:]:
        for trace, values in files[0].items():
            np.testing.assert_array_equal(other[trace], values)


def test_hdf5_is_chunked_and_compressed(tmp_path: Path) -> None:
    network = chain(20, 30, 10)
    write(tmp_path / "t.h5", network, np.ones((2, 5000, 20), np.uint8))
    with h5py.File(tmp_path / "t.h5") as file:
        v = file["v/l1"]
        assert v.shape == (2, 5000, 30)
        assert v.chunks[0] == 1
        assert 1 < v.chunks[1] < 5000
        assert v.compression == "gzip"
        assert v.id.get_storage_size() < v.nbytes


@pytest.mark.parametrize("name", ["t.npz", "t.h5"])
def test_nothing_is_left_of_a_run_that_fails(tmp_path: Path, name: str) -> None:
    network = chain(20, 30, 10)
    before = write(tmp_path / name, network, np.ones((2, 5, 20), np.uint8))

    def stop(done: int, every: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / name, network, np.zeros((2, 5, 20), np.uint8), progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    for trace, values in read(tmp_path / name).items():  # the file of the run before is still there, whole
        np.testing.assert_array_equal(values, before[trace])


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.npz or \.h5, not '\.csv'"), create(tmp_path / "t.csv"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_trace_larger_than_memory_takes_no_more_of_it(tmp_path: Path) -> None:
    """Arrays that numpy allocated, at their peak, while the traces of a stream go to HDF5."""
    prepared = engine.prepare(chain(20, 30, 10))
    peaks = []
    for steps in (20_000, 20_000, 100_000):  # the first run compiles
        tracemalloc.start()
        with create(tmp_path / "t.h5") as sink:
            simulate(prepared, Endless(steps), traces=[("v", "l1"), ("spikes", "l2")], sink=sink, stream=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["v/l1"].shape == (1, 100_000, 30)
    assert peaks[2] < peaks[1] + 100_000  # bytes; the traces are 13 MB

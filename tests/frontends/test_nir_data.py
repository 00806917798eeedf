"""NIRData written by nir itself, and files that only look like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from snnc.errors import InputError
from snnc.frontends import nir_data
from snnc.recordings import whole
from snnc.samples import Recording

DT = 1e-3
SHAPE = (2, 3)


def grid(seed: int = 0) -> np.ndarray:
    spikes = np.random.default_rng(seed).random((4, 7, 6)) < 0.3
    spikes[:, 0, 0] = True  # no sample is silent
    return spikes


def written(path: Path, *observables: tuple[str, Any], node: str = "input") -> Path:
    nir.write_data(path, nir.NIRGraphData({node: nir.NIRNodeData(dict(observables))}))
    return path


def read(path: Path, feed: str = "input", dt: float = DT, bins: int | None = None) -> Recording:
    return nir_data.read(path, feed, SHAPE, dt, bins)


@pytest.mark.parametrize("node", ["input", "in", "retina"])
@pytest.mark.parametrize("observable", ["spikes", "z"])
def test_a_grid_is_read(tmp_path: Path, node: str, observable: str) -> None:
    path = written(tmp_path / "a.h5", (observable, nir.TimeGriddedData(grid(), DT)), node=node)
    found = whole(read(path, feed="in"))
    assert found.name == "a.h5"
    np.testing.assert_array_equal(found.spikes.reshape(4, 7, 6), grid())


@pytest.mark.parametrize("shift", [0, 0.5 * DT, 0.999 * DT])
def test_events_are_read_and_fall_into_the_steps_they_came_from(tmp_path: Path, shift: float) -> None:
    gridded = nir.TimeGriddedData(grid(), DT)
    path = written(tmp_path / "a.h5", ("spikes", gridded.to_event(64, shift)))
    found = whole(read(path))
    np.testing.assert_array_equal(found.spikes.reshape(4, 7, 6), grid())
    if shift == 0.5 * DT:  # on the edge of a step nir itself loses some
        theirs = nir.read_data(path).nodes["input"].observables["spikes"].to_time_gridded(DT).data
        np.testing.assert_array_equal(found.spikes.reshape(theirs.shape), theirs)


def test_bins_divide_the_whole_recording(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", ("spikes", nir.TimeGriddedData(grid(), DT).to_event(64, 0.5 * DT)))
    found = whole(read(path, bins=1)).spikes.reshape(4, 1, 6)
    np.testing.assert_array_equal(found[:, 0], grid().any(axis=1))


def valued(values: list, times: list[float] = [0.0, 2.5e-3]) -> nir.ValuedEventData:  # noqa: B006
    return nir.ValuedEventData(np.array([[5, 1, -1]]), np.array([[*times, np.inf]]), 6, 7e-3, np.array([[*values, 0]]))


def test_values_of_events_are_graded_spikes(tmp_path: Path) -> None:
    found = whole(read(written(tmp_path / "a.h5", ("spikes", valued([3.0, -2.0])))))
    assert found.kind == np.int32
    assert found.spikes.reshape(7, 6)[0, 5] == 3
    assert found.spikes.reshape(7, 6)[2, 1] == -2
    assert np.count_nonzero(found.spikes) == 2
    assert read(written(tmp_path / "b.h5", ("spikes", valued([0.5, 1.0])))).kind == np.float64


def test_the_spikes_are_found_among_other_observables(tmp_path: Path) -> None:
    membrane = nir.TimeGriddedData(np.ones((4, 7, 6)) * 0.5, DT)
    path = written(tmp_path / "a.h5", ("membrane", membrane), ("spikes", nir.TimeGriddedData(grid(), DT)))
    np.testing.assert_array_equal(whole(read(path)).spikes.reshape(4, 7, 6), grid())
    both = written(tmp_path / "b.h5", ("membrane", membrane), ("w", membrane))
    with pytest.raises(InputError, match="none of its observables is called 'spikes': membrane, w"):
        read(both)


def event_data(idx: list, time: list, neurons: int = 6, end: float = 7e-3) -> nir.EventData:
    return nir.EventData(np.array(idx), np.array(time), neurons, end)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (nir.TimeGriddedData(grid(), 2e-3), "dt = 0.002 s long, the network's 0.001"),
        (nir.TimeGriddedData(grid()[:, :, :5], DT), "of 5 neurons; .* has 6"),
        (nir.TimeGriddedData(grid()[:0], DT), "not empty"),
        (nir.TimeGriddedData(np.full((1, 2, 6), np.nan), DT), "finite"),
        (event_data([[0]], [[0.0]], neurons=7), "of 7 neurons; .* has 6"),
        (event_data([[6]], [[0.0]]), r"index 6; .* 0 to 5"),
        (event_data([[-2]], [[0.0]]), "index -2"),
        (event_data([[0]], [[-1e-3]]), "time -0.001"),
        (event_data([[0, 1]], [[2e-3, 1e-3]]), "event 1 is at time 0.001; the one before"),
        (event_data([[0]], [[7e-3]]), "the recording ends at 0.007"),
        (event_data([[0]], [[np.inf]]), "time inf"),
        (event_data([[0], [-1]], [[0.0], [np.inf]]), "no events"),
        (event_data([[0]], [[0.0]], end=5e-4), "hold no step"),
        (event_data([[0]], [[0.0]], end=np.inf), "hold no step"),
        (event_data([[0]], [[0.0]], end=-1.0), "hold no step"),
    ],
)
def test_what_does_not_feed_the_network_is_refused(tmp_path: Path, data: Any, says: str) -> None:
    path = written(tmp_path / "a.h5", ("spikes", data))
    with pytest.raises(InputError, match=says) as caught:
        read(path)
    assert "a.h5: nodes/input/observables/spikes" in caught.value.where


def damage(change: Callable[[h5py.Group], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file["nodes/input/observables/spikes"])

    return apply


def replaced(name: str, value: Any) -> Callable[[h5py.Group], None]:
    def change(group: h5py.Group) -> None:
        del group[name]
        if value is not None:
            group[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (replaced("idx", np.zeros((1, 2))), "'idx' must be an array of numbers with 2 axes"),
        (replaced("idx", np.zeros(2, int)), "'idx' must be"),
        (replaced("idx", None), "'idx' must be .* missing"),
        (replaced("time", np.zeros((3, 2))), "time has shape"),
        (lambda g: g.attrs.__delitem__("t_max"), "no attribute 't_max'"),
        (lambda g: g.attrs.__setitem__("t_max", "long"), "is no number"),
        (lambda g: g.attrs.__setitem__("n_neurons", [6, 6]), "is no number"),
    ],
)
def test_a_file_with_other_fields_is_refused(tmp_path: Path, change: Callable, says: str) -> None:
    path = written(tmp_path / "a.h5", ("spikes", event_data([[0, 1]], [[0.0, 1e-3]])))
    damage(change)(path)
    with pytest.raises(InputError, match=says) as caught:
        read(path)
    assert "a.h5" in caught.value.where


def test_a_file_without_nodes_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="no nodes"):
        read(tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes(b"hello")
    with pytest.raises(InputError, match="not an HDF5 file"):
        read(tmp_path / "b.h5")


def test_damage_anywhere_is_an_input_error(tmp_path: Path) -> None:
    """200 files with flipped bits or cut short: an InputError, or a recording."""
    path = written(tmp_path / "a.h5", ("spikes", nir.TimeGriddedData(grid(), DT).to_event(64)))
    data, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for k in range(200):
        broken = bytearray(data[: rng.integers(1, len(data))] if k % 3 == 0 else data)
        for at in rng.integers(0, len(broken), 3):
            broken[at] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(bytes(broken))
        try:
            found = read(path)
        except InputError:
            refused += 1
        else:
            assert found.shape == SHAPE
    assert refused > 60

"""Data sets of events in the layout and the formats that tonic expects, and the ways to lack them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from splits import labels_of, parts, same

from snnc.errors import InputError, UsageError
from snnc.models.data import augment, load
from snnc.models.data.events import FIELDS, Grid

tonic = pytest.importorskip("tonic")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache for each test, and no network for tonic."""
    monkeypatch.setenv("SNNC_CACHE_DIR", str(tmp_path / "cache"))

    def refuse(self: Any) -> None:
        raise OSError("Name or service not known")

    for kind in (tonic.datasets.DVSGesture, tonic.datasets.CIFAR10DVS, tonic.datasets.SHD):
        monkeypatch.setattr(kind, "download", refuse)


# --- frames --------------------------------------------------------------------------------------


def some(events: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Of x, y, t in microseconds, p."""
    return np.array(events, FIELDS)


def where(frames: np.ndarray) -> list[list[int]]:
    return np.argwhere(frames).tolist()


def test_events_become_smaller_frames() -> None:
    grid = Grid((128, 128, 2), steps=3, window=10, columns=32, rows=48)
    events = some([(0, 0, 500, 0), (3, 2, 600, 0), (127, 127, 10_499, 1), (64, 64, 10_500, 1), (5, 5, 40_000, 0)])
    # Windows begin at the first event; the last event is after the last of them.
    assert where(grid.frames(events, "")) == [[0, 0, 0, 0], [0, 1, 47, 31], [1, 1, 24, 16]]
    assert grid.frames(events, "").shape == (3, 2, 48, 32)
    # What is missing is silent.
    assert where(grid.frames(events[:2], "")) == [[0, 0, 0, 0]]


def test_a_recording_is_divided_evenly() -> None:
    grid = Grid((700, 1, 1), steps=4, window=0, columns=140, rows=1, flat=True)
    events = some([(5 * k, 0, 1000 * k, 0) for k in range(9)])
    assert grid.shape == (4, 140)
    assert where(grid.frames(events, "")) == [[k // 2, k] for k in range(8)]


@pytest.mark.parametrize("how", [{"n_time_bins": 7}, {"time_window": 5000, "include_incomplete": True}])
def test_frames_are_those_of_tonic(how: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    events = np.empty(300, FIELDS)
    events["x"], events["y"], events["p"] = (rng.integers(0, n, 300) for n in (12, 9, 2))
    events["t"] = np.sort(rng.integers(1000, 33_333, 300))
    counts = tonic.transforms.ToFrame((12, 9, 2), **how)(events)
    found = Grid((12, 9, 2), 7, how.get("time_window", 0) // 1000, 12, 9).frames(events, "")
    assert np.array_equal(found, counts > 0)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "no events in this recording"),
        ([(128, 0, 0, 0), (0, 0, 99, 0)], "outside 128x64"),
        ([(0, 64, 0, 0), (0, 0, 99, 0)], "outside 128x64"),
        ([(0, -1, 0, 0), (0, 0, 99, 0)], "outside 128x64"),
        ([(0, 0, 0, 2), (0, 0, 99, 0)], "outside 128x64"),
        ([(0, 0, 50, 0), (0, 0, 20, 0)], "its times go backwards"),
        ([(0, 0, 0, 0), (0, 0, 9, 0)], "too short to be divided into 10 steps"),
    ],
)
def test_a_recording_that_makes_no_frames_is_refused(events: list[tuple[int, int, int, int]], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Grid((128, 64, 2), 10, 0, 32, 32).frames(some(events), "a file")
    assert caught.value.where == "a file"


# --- DVS128 Gesture ------------------------------------------------------------------------------


def gesture(label: int, user: int) -> np.ndarray:
    """Twenty events, one a millisecond, in row 4 * label; columns tell the user."""
    k = np.arange(20)
    return np.stack([4 * user + 0 * k, 4 * label + 0 * k, k % 2, k], axis=1)


@pytest.fixture
def gestures(tmp_path: Path) -> Path:
    """Ten users to learn from and ten to test, of each the eleven gestures."""
    for part, users in (("Train", range(1, 11)), ("Test", range(11, 21))):
        (tmp_path / "DVSGesture").mkdir(exist_ok=True)
        (tmp_path / "DVSGesture" / f"ibmGesture{part}.tar.gz").write_bytes(b"x")
        for user in users:
            place = tmp_path / "DVSGesture" / f"ibmGesture{part}" / f"user{user:02}_led"
            place.mkdir(parents=True)
            for label in range(11):
                np.save(place / f"{label}.npy", gesture(label, user))
    return tmp_path


def test_gestures(gestures: Path) -> None:
    data = load(f"dvsgesture={gestures}:steps=2,augment=shift")
    assert data.spec == (f"dvsgesture={gestures}:steps=2,window=0,size=32,samples=0,validation=10,augment=shift,seed=0")
    assert [len(part) for part in parts(data)] == [99, 11, 110]
    assert (data.shape, data.classes) == ((2, 32, 32), 11)
    assert data.augment is augment.shift
    seen = []
    for part in parts(data):
        for spikes, label in zip(part.spikes, labels_of(part), strict=True):
            steps, polarities, rows, columns = np.nonzero(spikes)
            assert sorted(zip(steps, polarities, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
            assert set(rows) == {label}
            assert (set(columns) <= set(range(11, 21))) == (part is data.test)
            seen.append((int(columns[0]), int(label)))
    assert sorted(seen) == [(user, label) for user in range(1, 21) for label in range(11)]


def test_gestures_are_made_frames_once(gestures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snnc.models.data import dvsgesture

    data = load(f"dvsgesture={gestures}:steps=2,samples=110")
    assert [len(part) for part in parts(data)] == [49, 6, 55]

    def broken(path: Path) -> np.ndarray:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(dvsgesture, "_read", broken)
    assert same(load(data.spec), data)
    with pytest.raises(AssertionError, match="is read"):
        load(data.spec.replace("size=32", "size=16"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 3)), r"an array \(events, 4\) of numbers, this one \(5, 3\)"),
        (np.full((5, 4), "x"), "an array"),
        (np.zeros((0, 4), int), "no events"),
        (np.full((5, 4), 128), "outside 128x128"),
        (None, r"not a readable \.npy"),
    ],
)
def test_a_wrong_gesture_is_refused_by_name(gestures: Path, array: np.ndarray | None, message: str) -> None:
    path = gestures / "DVSGesture" / "ibmGestureTest" / "user14_led" / "3.npy"
    if array is None:
        path.write_bytes(b"no array")
    else:
        np.save(path, array)
    with pytest.raises(InputError, match=message) as caught:
        load(f"dvsgesture={gestures}")
    assert caught.value.where == str(path)


def test_a_gesture_of_an_unknown_number_is_refused(gestures: Path) -> None:
    np.save(gestures / "DVSGesture" / "ibmGestureTest" / "user14_led" / "11.npy", gesture(11, 14))
    with pytest.raises(InputError, match="named after its gesture, 0 to 10") as caught:
        load(f"dvsgesture={gestures}")
    assert caught.value.where.endswith("11.npy")


# --- CIFAR10-DVS ---------------------------------------------------------------------------------


def test_cifar10_before_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "CIFAR10DVS"
    place.mkdir()
    (place / "CIFAR10DVS.zip").write_bytes(b"x")
    classes = list(tonic.datasets.CIFAR10DVS.classes)
    for label, name in enumerate(classes):
        (place / name).mkdir()
        for k in range(100):
            (place / name / f"{k}.aedat4").write_bytes(bytes([label, k]))

    def read(path: str) -> np.ndarray:
        """As the package aedat names the fields; in no order of time."""
        label, k = Path(path).read_bytes()
        fields = np.dtype([("t", np.uint64), ("x", np.uint16), ("y", np.uint16), ("on", bool)])
        return np.array([(5000, 8 * label, k, True), (1000, 8 * label, k, False)], fields)

    monkeypatch.setattr(tonic.io, "read_aedat4", read)
    data = load(f"cifar10dvs={tmp_path}:steps=2,size=128,window=3")
    assert [np.bincount(labels_of(part)).tolist() for part in parts(data)] == [[81] * 10, [9] * 10, [10] * 10]
    assert (data.shape, data.classes) == ((2, 128, 128), 10)
    seen = []
    for part in parts(data):
        steps, polarities, rows, columns = (n.reshape(-1, 2) for n in np.nonzero(part.spikes)[1:])
        assert np.all(steps == [0, 1])
        assert np.all(polarities == [0, 1])
        assert np.array_equal(columns[:, 0], 8 * labels_of(part))
        seen.append(set(zip(labels_of(part).tolist(), rows[:, 0].tolist(), strict=True)))
    assert sum(map(len, seen)) == len(set.union(*seen)) == 1000
    # Another seed gives another validation split and the same test split.
    other = load(f"cifar10dvs={tmp_path}:steps=2,size=128,window=3,seed=1")
    names = [{(int(n) // 8, int(row)) for row, n in np.argwhere(part.spikes[:, 0, 0])[:, 1:]} for part in parts(other)]
    assert names[2] == seen[2]
    assert names[1] != seen[1]


def test_what_tonic_cannot_read_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tonic raises a bare Exception for a file that holds no events."""
    from snnc.models.data import camera

    def read(path: str) -> np.ndarray:
        raise Exception("there are no events in the AEDAT file")

    monkeypatch.setattr(tonic.io, "read_aedat4", read)
    (tmp_path / "a.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    with pytest.raises(InputError, match=r"not a readable \.aedat4: there are no events") as caught:
        camera(tmp_path / "a.aedat4")
    assert caught.value.where == str(tmp_path / "a.aedat4")


# --- Heidelberg digits ---------------------------------------------------------------------------

Change = Callable[[h5py.File], None]


def spoken(folder: Path, change: Change | None = None) -> Path:
    """Forty words to learn from and twenty to test; each has three spikes, of which the first tells it."""
    (folder / "SHD").mkdir()
    for part, count in (("train", 40), ("test", 20)):
        (folder / "SHD" / f"shd_{part}.h5.zip").write_bytes(b"x")
        with h5py.File(folder / "SHD" / f"shd_{part}.h5", "w") as file:
            file["labels"] = (np.arange(count) % 20).astype(np.uint16)
            file["extra/keys"] = np.array([b"null"] * 20)
            file["extra/speaker"] = np.zeros(count, np.uint16)
            times = file.create_dataset("spikes/times", (count,), h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (count,), h5py.vlen_dtype(np.uint16))
            for k in range(count):
                times[k], units[k] = [0.5, 0.0, 0.25], [695, 5 * k, 699]
            if change and part == "test":
                change(file)
    return folder


def test_spoken_digits(tmp_path: Path) -> None:
    data = load(f"shd={spoken(tmp_path)}:steps=51,window=10,validation=50")
    assert data.spec == f"shd={tmp_path}:steps=51,window=10,channels=140,samples=0,validation=50,seed=0"
    assert [np.bincount(labels_of(part)).tolist() for part in parts(data)] == [[1] * 20] * 3
    assert (data.shape, data.classes, data.augment) == ((140,), 20, None)
    words = []
    for part in parts(data):
        for spikes, label in zip(part.spikes, labels_of(part), strict=True):
            first, *rest = where(spikes)
            assert rest == [[25, 139], [50, 139]]
            assert first[0] == 0
            assert first[1] % 20 == label
            words.append((part is data.test, first[1]))
    assert sorted(words) == [(False, k) for k in range(40)] + [(True, k) for k in range(20)]
    assert load(f"shd={tmp_path}:channels=700").shape == (700,)


def drop(name: str) -> Change:
    return lambda file: file.__delitem__(name)


def put(name: str, array: np.ndarray) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = array

    return change


def spoil(name: str, value: list[float]) -> Change:
    return lambda file: file[name].__setitem__(7, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("spikes/units"), "not a file of the Heidelberg digits"),
        (drop("labels"), "not a file of the Heidelberg digits"),
        (put("labels", np.zeros(19, np.uint16)), "19 labels, and times of 20 recordings and units of 20"),
        (put("labels", np.full(20, 20, np.uint16)), "labels must be 0 to 19"),
        (spoil("spikes/units", [5, 700, 9]), "outside 700x1"),
        (spoil("spikes/units", [5]), "recording 7 has times that are no numbers, or none for a spike"),
        (spoil("spikes/times", [0.1, np.nan, 0.2]), "recording 7 has times that are no numbers"),
    ],
)
def test_wrong_spoken_digits_are_refused_by_name(tmp_path: Path, change: Change, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(f"shd={spoken(tmp_path, change)}")
    assert caught.value.where == str(tmp_path / "SHD" / "shd_test.h5")


# --- nothing there -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "folder"), [("dvsgesture", "DVSGesture"), ("cifar10dvs", "CIFAR10DVS"), ("shd", "SHD")]
)
def test_what_is_not_there_and_cannot_be_downloaded(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spec, place in ((name, tmp_path / "cache"), (f"{name}={tmp_path}", tmp_path)):
        with pytest.raises(InputError, match=f"no complete {folder} and could not download it: Name or serv") as caught:
            load(spec)
        assert caught.value.where == str(place)
        assert caught.value.fix == f"name the folder that holds the folder {folder} of tonic"
    with pytest.raises(InputError, match="no such folder"):
        load(f"{name}={tmp_path / 'nowhere'}")
    (tmp_path / "sets" / folder).mkdir(parents=True)
    for wrong in (tmp_path, tmp_path / "sets" / folder):
        with pytest.raises(InputError, match=f"there is no folder {folder} in it") as caught:
            load(f"{name}={wrong}")
        assert caught.value.fix == f"did you mean {tmp_path / 'sets'}?"
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(UsageError, match="needs the package tonic"):
        load(f"{name}={tmp_path / 'sets'}")


def test_a_broken_file_of_spoken_digits(tmp_path: Path) -> None:
    spoken(tmp_path)
    (tmp_path / "SHD" / "shd_test.h5").write_bytes(b"no hdf5")
    with pytest.raises(InputError, match="tonic found no complete SHD"):
        load(f"shd={tmp_path}")

"""Recordings of event cameras: each format against files made by hand or by others' writers."""

from __future__ import annotations

import importlib.util
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnc import cameras
from snnc.datasets import Excerpt, Feed, recording
from snnc.errors import InputError, UsageError
from snnc.recordings import whole

DT = 1e-3
FIELDS = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)])


def some(count: int = 500, shape: tuple = (2, 128, 128), seed: int = 0, start: int = 0) -> np.ndarray:
    """Random events over 30 ms, the first at the beginning."""
    rng = np.random.default_rng(seed)
    found = np.zeros(count, FIELDS)
    found["t"] = start + np.sort(np.append(rng.integers(0, 30_000, count - 1), 0))
    found["p"], found["y"], found["x"] = (rng.integers(0, n, count) for n in shape)
    return found


def frames(events: np.ndarray, shape: tuple, microseconds: int = 1000) -> np.ndarray:
    """What they are as frames, worked out one by one."""
    steps = (events["t"] - events["t"][0]) // microseconds
    found = np.zeros((int(steps[-1]) + 1, *shape), np.uint8)
    for step, p, y, x in zip(steps, events["p"].astype(int), events["y"], events["x"], strict=True):
        found[step, p, y, x] = 1
    return found[None]


def bits(path: Path, events: np.ndarray) -> Path:
    """N-MNIST: 40 bits each."""
    body = b"".join(bytes([x, y]) + ((int(p) << 23) | int(t)).to_bytes(3, "big") for x, y, t, p in events.tolist())
    path.write_bytes(body)
    return path


def dat(path: Path, events: np.ndarray, kind: int = 0, size: int = 8) -> Path:
    """Prophesee .dat, as its documentation tells."""
    words = events["x"].astype("<u4") | events["y"].astype("<u4") << 14 | events["p"].astype("<u4") << 28
    body = np.column_stack([events["t"].astype("<u4"), words]).astype("<u4").tobytes()
    path.write_bytes(b"% Data file containing CD events.\n% Version 2\n% end\n" + bytes([kind, size]) + body)
    return path


def aedat2(path: Path, events: np.ndarray) -> Path:
    """jAER for the DVS128: address (y << 8) | (x << 1) | p, as tonic names these axes."""
    address = events["x"].astype(">u4") << 8 | events["y"].astype(">u4") << 1 | events["p"].astype(">u4")
    body = np.column_stack([address, events["t"]]).astype(">u4").tobytes()
    path.write_bytes(b"#!AER-DAT2.0\r\n# a comment\r\n" + body)
    return path


def packet(events: np.ndarray, kind: int = 1, size: int = 8, overflow: int = 0, spare: int = 2) -> bytes:
    """AEDAT 3.1: 28 bytes of header, then room for two events more than there are; the first of three is not valid."""
    bits = events["x"].astype("<u4") << 17 | events["y"].astype("<u4") << 2 | events["p"].astype("<u4") << 1
    valid = np.arange(len(events)) % 3 > 0
    body = np.column_stack([bits | valid, events["t"]]).astype("<u4").tobytes()
    numbers = (kind, 1, size, 4, overflow, len(events) + spare, len(events), valid.sum())
    return struct.pack("<2H6I", *numbers) + body + bytes(8 * max(spare, 0))


def valid(events: np.ndarray, parts: int = 3) -> np.ndarray:
    """Those that :func:`packet` calls valid."""
    return np.concatenate([p[np.arange(len(p)) % 3 > 0] for p in np.array_split(events, parts)])


def aedat3(path: Path, events: np.ndarray) -> Path:
    """Packets of events and one of something else, as the DVS Gesture data have them."""
    parts = [packet(p) for p in np.array_split(events, 3)]
    parts.insert(1, packet(events, kind=0))
    path.write_bytes(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n" + b"".join(parts))
    return path


def davis(path: Path, events: np.ndarray) -> Path:
    """jAER for the DAVIS346; every second word is a grey value."""
    flipped = (345 - events["x"].astype(">u4")) << 12 | (259 - events["y"].astype(">u4")) << 22
    address = np.repeat(flipped | events["p"].astype(">u4") << 11, 2)
    address[1::2] = 1 << 31
    body = np.column_stack([address, np.repeat(events["t"], 2)]).astype(">u4").tobytes()
    path.write_bytes(b"#!AER-DAT2.0\r\n" + body)
    return path


@pytest.mark.parametrize(
    ("write", "shape"), [(dat, (2, 128, 128)), (aedat2, (2, 128, 128)), (aedat3, (2, 100, 90)), (davis, (2, 260, 346))]
)
@pytest.mark.parametrize("start", [0, 123_456])
def test_events_become_frames(tmp_path: Path, write: Any, shape: tuple, start: int) -> None:
    events = some(shape=shape, start=start)
    path = write(tmp_path / ("a.dat" if write is dat else "a.aedat"), events)
    found = cameras.read(path, shape, DT, None)
    assert found.name == path.name
    expected = valid(events) if write is aedat3 else events
    np.testing.assert_array_equal(whole(found).spikes, frames(expected, shape))


def test_a_davis_file_is_read_as_tonic_does(tmp_path: Path) -> None:
    """Without grey values, which tonic takes for events. Its other readers of .aedat fail."""
    tonic = pytest.importorskip("tonic")
    path = davis(tmp_path / "a.aedat", some(shape=(2, 260, 346)))
    _, _, theirs = tonic.io.read_davis_346(str(path))
    found = whole(cameras.read(path, (2, 260, 346), DT, None)).spikes
    np.testing.assert_array_equal(found, frames(theirs[::2], (2, 260, 346)))


@pytest.mark.parametrize("wrong", [{"size": 4}, {"overflow": 1}, {"spare": -1}])
def test_a_damaged_packet_is_refused(tmp_path: Path, wrong: dict) -> None:
    events = some(30, (2, 5, 7))
    head = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n"
    (tmp_path / "a.aedat").write_bytes(head + packet(events) + packet(events, **wrong))
    with pytest.raises(InputError, match="packet of events"):
        cameras.read(tmp_path / "a.aedat", (2, 5, 7), DT, None)
    (tmp_path / "b.aedat").write_bytes((head + packet(events))[:-1])
    with pytest.raises(InputError, match="packet of events"):
        cameras.read(tmp_path / "b.aedat", (2, 5, 7), DT, None)


def test_a_structured_npy_is_read_and_its_length_of_a_step_chosen(tmp_path: Path) -> None:
    events = some(shape=(2, 5, 7), start=77)
    np.save(tmp_path / "a.npy", events)
    for dt, microseconds in ((1e-3, 1000), (1.1e-3, 1100), (5e-4, 500)):
        found = cameras.read(tmp_path / "a.npy", (2, 5, 7), dt, None)
        np.testing.assert_array_equal(whole(found).spikes, frames(events, (2, 5, 7), microseconds))
    found = cameras.read(tmp_path / "a.npy", (2, 5, 7), DT, 10)
    window = int(events["t"][-1] - events["t"][0]) // 10
    np.testing.assert_array_equal(whole(found).spikes, frames(events, (2, 5, 7), window)[:, :10])


def test_a_prophesee_file_is_read_as_expelliarmus_does(tmp_path: Path) -> None:
    wizard = pytest.importorskip("expelliarmus").Wizard(encoding="dat")
    events = some(shape=(2, 480, 640))
    path = dat(tmp_path / "a.dat", events)
    theirs = wizard.read(path)
    assert all(np.array_equal(theirs[name], events[name]) for name in "txyp")
    wizard.save(fpath=str(tmp_path / "b.dat"), arr=theirs)
    for file in ("a.dat", "b.dat"):
        found = cameras.read(tmp_path / file, (2, 480, 640), DT, None)
        np.testing.assert_array_equal(whole(found).spikes, frames(events, (2, 480, 640)))


def test_a_recording_of_n_mnist_in_bins_is_as_in_the_data_set(tmp_path: Path) -> None:
    """A network that was trained on nmnist:steps=10 sees the same with --bins 10, and with a window by --dt."""
    pytest.importorskip("tonic")
    from snnc.models import data

    for digit in range(10):
        (tmp_path / str(digit)).mkdir()
        for k in range(3):
            bits(tmp_path / str(digit) / f"{k}.bin", some(300, (2, 34, 34), seed=10 * digit + k))
    feed = Feed("input", (2, 34, 34), 3e-3)
    for options, excerpt in (("steps=7", Excerpt(bins=7)), ("steps=6,window=3", Excerpt(steps=6))):
        found = {
            recording(str(p), excerpt, feed).piece(slice(None), 0, 7 if excerpt.bins else 6).tobytes()
            for p in tmp_path.glob("*/*.bin")
        }
        loaded = data.load(f"nmnist={tmp_path}:{options}")
        expected = {s.tobytes() for part in (loaded.train, loaded.validation, loaded.test) for s in part.spikes}
        assert found == expected
        assert len(found) == 30


def test_inputs_with_fewer_axes_need_fewer_fields(tmp_path: Path) -> None:
    line = np.zeros(2, [("t", np.int64), ("x", np.int16)])
    line["t"], line["x"] = [0, 1500], [3, 4]
    np.save(tmp_path / "line.npy", line)
    assert np.argwhere(whole(cameras.read(tmp_path / "line.npy", (5,), DT, None)).spikes[0]).tolist() == [
        [0, 3],
        [1, 4],
    ]
    plane = np.zeros(20, [("t", np.int64), ("y", np.int16), ("x", np.int16)])
    for name in ("t", "y", "x"):
        plane[name] = some(20, (1, 5, 7))[name]
    np.save(tmp_path / "plane.npy", plane)
    assert whole(cameras.read(tmp_path / "plane.npy", (5, 7), DT, None)).shape == (5, 7)
    ears = np.zeros(2, [("t", np.float64), ("x", np.int16), ("p", np.int8)])
    ears["t"], ears["x"], ears["p"] = [0, 1500.5], [3, 4], [0, 1]
    np.save(tmp_path / "ears.npy", ears)
    found = np.argwhere(whole(cameras.read(tmp_path / "ears.npy", (2, 5), DT, None)).spikes[0]).tolist()
    assert found == [[0, 0, 3], [1, 1, 4]]
    with pytest.raises(InputError, match=r"have t, x; an input of shape \(2, 5, 7\) needs t, p, y, x"):
        cameras.read(tmp_path / "line.npy", (2, 5, 7), DT, None)


def changed(**fields: Any) -> np.ndarray:
    events = some(10, (2, 5, 7))
    for name, value in fields.items():
        events[name][3] = value
    return events


@pytest.mark.parametrize(
    ("events", "shape", "says"),
    [
        (changed(x=7), (2, 5, 7), r"event 3 has column \(x\) 7; .* 0 to 6"),
        (changed(y=-1), (2, 5, 7), r"event 3 has row \(y\) -1; .* 0 to 4"),
        (changed(p=1), (1, 5, 7), r"has polarity 1; .* 0 to 0"),
        (changed(t=-5), (2, 5, 7), "event 3 is at time -5"),
        (changed(t=10**9), (2, 5, 7), "event 4 is at time .*; the one before it comes later"),
        (some(10, (2, 5, 7))[:0], (2, 5, 7), "no events"),
        (some(10, (2, 5, 7)), (2, 5, 7, 1), "needs t"),
        (some(10, (2, 5, 7)).astype([("t", "S3"), ("x", "i2"), ("y", "i2"), ("p", "i2")]), (2, 5, 7), "numbers"),
        (some(10, (2, 5, 7)).astype([("t", "i8"), ("x", "f4"), ("y", "i2"), ("p", "i2")]), (2, 5, 7), "numbers"),
    ],
)
def test_events_that_the_input_does_not_have_are_refused(
    tmp_path: Path, events: np.ndarray, shape: tuple, says: str
) -> None:
    np.save(tmp_path / "a.npy", events)
    with pytest.raises(InputError, match=says) as caught:
        cameras.read(tmp_path / "a.npy", shape, DT, None)
    assert "a.npy" in caught.value.where
    assert caught.value.fix


@pytest.mark.parametrize("content", [b"", b"hello", b"% only a head\n", b"% head\n\x00\x08\x01", b"% head\n\x0e\x08"])
def test_what_is_no_dat_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.dat").write_bytes(content)
    with pytest.raises(InputError, match=r"empty|not a whole .dat"):
        cameras.read(tmp_path / "a.dat", (2, 5, 7), DT, None)
    dat(tmp_path / "b.dat", some(3)[:0])
    with pytest.raises(InputError, match="no events"):
        cameras.read(tmp_path / "b.dat", (2, 5, 7), DT, None)


@pytest.mark.parametrize("content", [b"hello", b"#!AER-DAT2.0\r\n", b"# nothing\r\n", b"#!AER-DAT9\r\n" + bytes(16)])
def test_what_is_no_aedat_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.aedat").write_bytes(content)
    with pytest.raises(InputError, match=r"not a whole \.aedat") as caught:
        cameras.read(tmp_path / "a.aedat", (2, 128, 128), DT, None)
    assert "a.aedat" in caught.value.where


def test_an_unknown_camera_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    aedat2(tmp_path / "a.aedat", some(5))
    with pytest.raises(InputError, match=r"shape \(2, 64, 64\)") as caught:
        cameras.read(tmp_path / "a.aedat", (2, 64, 64), DT, None)
    assert "128x128" in caught.value.fix


def test_what_a_package_must_read_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    if importlib.util.find_spec("tonic") is not None and importlib.util.find_spec("aedat") is None:
        with pytest.raises(UsageError, match="package aedat"):
            cameras.read(tmp_path / "a.aedat4", (2, 5, 7), DT, None)
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(UsageError, match="package tonic"):
        cameras.read(tmp_path / "a.aedat4", (2, 5, 7), DT, None)


@pytest.mark.parametrize("bins", [40_000, 0, -1])
def test_bins_without_a_microsecond_are_refused(tmp_path: Path, bins: int) -> None:
    np.save(tmp_path / "a.npy", some(10, (2, 5, 7)))
    with pytest.raises(UsageError, match="cannot be divided"):
        cameras.read(tmp_path / "a.npy", (2, 5, 7), DT, bins)


def test_a_large_recording_is_not_read_at_once(tmp_path: Path) -> None:
    """Of a file of 32 MB a piece takes as much memory as it has events."""
    import tracemalloc

    count = 2_000_000
    events = np.zeros(count, FIELDS)
    events["t"] = np.arange(count) * 100
    events["x"] = np.arange(count) % 7
    path = dat(tmp_path / "a.dat", events)
    del events
    tracemalloc.start()
    found = cameras.read(path, (1, 1, 7), DT, None)
    for first in range(0, found.steps, 4096):
        assert found.piece(slice(0, 1), first, min(first + 4096, found.steps)).any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.steps == count // 10
    assert peak < 64 << 20  # a look at a million events, in several arrays of 8 bytes each

"""N-MNIST: any number of recordings in a folder, tonic's own data set, and files that are neither."""

from __future__ import annotations

import shutil
import sys
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from splits import labels_of, parts, same

from snnc.errors import InputError, UsageError
from snnc.models.data import events, load


@pytest.fixture(scope="module")
def tonic() -> Any:
    return pytest.importorskip("tonic")


@pytest.fixture(scope="module")
def folder(tonic: Any, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings of each digit, as links."""
    source = shared / "data" / "nmnist" / "Train"
    if not source.is_dir():
        pytest.skip("needs recordings in ../shared/data/nmnist/Train, which are not here")
    result = tmp_path_factory.mktemp("recordings")
    for digit in map(str, range(10)):
        (result / digit).mkdir()
        for file in sorted((source / digit).glob("*.bin"))[:6]:
            (result / digit / file.name).symlink_to(file)
    return result


def event(x: int, y: int, polarity: int, microseconds: int) -> bytes:
    """40 bits as on the sensor's web page: x, y, polarity in the top bit of the 24 bits of time."""
    return bytes([x, y]) + ((polarity << 23) | microseconds).to_bytes(3, "big")


def frames(path: Path, steps: int, window: int) -> np.ndarray:
    """The recording in frames of `window` microseconds from its first event, read without tonic."""
    raw = np.fromfile(path, np.uint8).reshape(-1, 5).astype(int)
    time = ((raw[:, 2] & 127) << 16) | (raw[:, 3] << 8) | raw[:, 4]
    step = (time - time[0]) // window
    result = np.zeros((steps, 2, 34, 34), np.uint8)
    inside = step < steps
    result[step[inside], raw[inside, 2] >> 7, raw[inside, 1], raw[inside, 0]] = 1
    return result


def test_recordings_become_binary_frames(folder: Path) -> None:
    data = load(f"nmnist={folder}:steps=4,window=30")
    assert data.shape == (2, 34, 34)
    assert data.classes == 10
    assert [len(part) for part in parts(data)] == [40, 5, 15]
    files = sorted(folder.glob("*/*.bin"))
    expected = sorted((frames(f, 4, 30_000).tobytes(), int(f.parent.name)) for f in files)
    seen = [
        (spikes.tobytes(), int(label))
        for part in parts(data)
        for spikes, label in zip(part.spikes, labels_of(part), strict=True)
    ]
    assert len({spikes for spikes, _ in expected}) == len(files)  # so that equality below means disjoint splits
    assert sorted(seen) == expected


@pytest.mark.usefixtures("tonic")
def test_without_a_window_a_recording_is_divided_evenly(tmp_path: Path) -> None:
    """In 20 steps, an event every 5 ms over 300 ms is three a step, and one more that ends the last."""
    for digit in range(10):
        (tmp_path / str(digit)).mkdir()
        events = [event(k % 34, digit, k & 1, 5000 * k) for k in range(61)]
        (tmp_path / str(digit) / "a.bin").write_bytes(b"".join(events))
    data = load(f"nmnist={tmp_path}:steps=20")
    for part in parts(data):
        assert part.spikes.shape == (len(part), 20, 2, 34, 34)
        assert np.all(part.spikes.sum(axis=(2, 3, 4)) == 3)
        assert np.array_equal(part.spikes.sum(axis=(1, 2, 4)).argmax(axis=1), labels_of(part))


def test_recordings_are_deterministic_and_the_specification_complete(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    data = load(f"nmnist={folder.name}:samples=24,steps=2,seed=1")
    assert data.spec == f"nmnist={folder.resolve()}:steps=2,window=0,samples=24,augment=none,seed=1"
    assert [len(part) for part in parts(data)] == [16, 2, 6]
    monkeypatch.chdir(folder)
    assert same(load(data.spec), data)
    other = load(data.spec.replace("seed=1", "seed=2"))
    assert not np.array_equal(other.test.spikes, data.test.spikes)


def test_recordings_are_made_frames_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNC_CACHE_DIR", str(tmp_path))
    data = load(f"nmnist={folder}:steps=3")

    def broken(path: Path) -> np.ndarray:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(events, "camera", broken)
    assert same(load(data.spec), data)
    for options in ("steps=4", "steps=3,window=20", "steps=3,samples=30"):
        with pytest.raises(AssertionError, match="is read"):
            load(f"nmnist={folder}:{options}")


def test_a_folder_may_have_any_number_of_recordings_and_colons_in_its_name(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "a:b=c"
    shutil.copytree(folder / "7", place / "7")
    data = load(f"nmnist={place}:steps=3")
    assert [len(part) for part in parts(data)] == [3, 1, 2]
    assert set(labels_of(data.train)) == {7}
    for file in sorted((place / "7").iterdir())[2:]:
        file.unlink()
    with pytest.raises(InputError, match="2 recordings are too few to train, validate and test"):
        load(f"nmnist={place}:steps=3")


def test_a_folder_without_recordings_says_what_it_should_hold(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder") as caught:
        load(f"nmnist={tmp_path / 'missing'}")
    assert caught.value.where == str(tmp_path / "missing")
    (tmp_path / "readme.txt").write_text("not a recording")
    (tmp_path / "Images").mkdir()
    with pytest.raises(InputError, match="no recordings in this folder") as caught:
        load(f"nmnist={tmp_path}")
    assert caught.value.where == str(tmp_path)
    assert caught.value.fix == "the folder must hold <digit>/*.bin, digits 0 to 9"
    (tmp_path / "Train").symlink_to(folder)
    with pytest.raises(InputError) as caught:
        load(f"nmnist={tmp_path}")
    assert caught.value.fix == f"did you mean {tmp_path / 'Train'}?"


GOOD = b"".join(event(k % 34, 3, k & 1, 1000 * k) for k in range(60))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[:-2], "events take 5 bytes each"),
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        (GOOD + event(34, 0, 0, 60_000), "outside 34x34"),
        (GOOD + event(0, 34, 0, 60_000), "outside 34x34"),
        (event(3, 240, 0, 5), "no events"),  # y = 240 marks an overflow of the clock
        (GOOD + event(1, 1, 1, 0), "its times go backwards"),
        (event(1, 1, 1, 0) + event(1, 1, 1, 7), "too short to be divided into"),
    ],
)
@pytest.mark.usefixtures("tonic")
def test_a_bad_recording_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "4").mkdir()
    for name in "abcdef":
        (tmp_path / "4" / f"{name}.bin").write_bytes(GOOD)
    bad = tmp_path / "4" / "c.bin"
    bad.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(f"nmnist={tmp_path}")
    assert message in caught.value.message
    assert caught.value.where == str(bad)


# --- tonic ---------------------------------------------------------------------------------------


class FakeNmnist:
    """Stands for tonic.datasets.NMNIST: knows where it was told to save, downloads nothing."""

    dtype = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    calls: list[tuple[str, bool]]
    failure: Exception | None = None
    source: Path

    def __init__(self, save_to: str, train: bool) -> None:
        print("Extracting", save_to)  # as tonic does
        self.calls.append((save_to, train))
        if self.failure:
            raise self.failure
        digits = range(5) if train else range(5, 10)
        self.data = [str(file) for digit in digits for file in sorted((self.source / str(digit)).iterdir())]
        self.targets = [int(Path(file).parent.name) for file in self.data]


@pytest.fixture
def fake(tonic: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[FakeNmnist]:
    monkeypatch.setattr(FakeNmnist, "calls", [], raising=False)
    monkeypatch.setattr(FakeNmnist, "source", folder, raising=False)
    monkeypatch.setattr(tonic.datasets, "NMNIST", FakeNmnist)
    return FakeNmnist


def test_without_a_folder_tonic_downloads_to_the_cache(
    fake: type[FakeNmnist], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNNC_CACHE_DIR", str(tmp_path))
    data = load("nmnist:steps=2")
    cache = str(tmp_path)
    assert fake.calls == [(cache, True), (cache, False)]
    assert data.spec == "nmnist:steps=2,window=0,samples=0,augment=none,seed=0"
    # The official split stays what it is; validation comes out of the training set.
    assert [len(part) for part in parts(data)] == [25, 5, 30]
    assert set(labels_of(data.test)) == set(range(5, 10))
    assert set(labels_of(data.train)) | set(labels_of(data.validation)) == set(range(5))
    assert capsys.readouterr().out == ""  # stdout is for results


def test_a_folder_of_tonic_is_read_by_tonic(fake: type[FakeNmnist], tmp_path: Path) -> None:
    (tmp_path / "NMNIST").mkdir()
    data = load(f"nmnist={tmp_path}:steps=2")
    assert fake.calls == [(str(tmp_path.resolve()), True), (str(tmp_path.resolve()), False)]
    assert data.spec.startswith(f"nmnist={tmp_path.resolve()}:")


@pytest.mark.parametrize(
    "failure",
    [urllib.error.URLError("Name or service not known"), RuntimeError("File not found or corrupted.")],
    ids=["offline", "damaged"],
)
def test_a_failed_download_is_the_inputs_fault(
    fake: type[FakeNmnist], failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNNC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(fake, "failure", failure)
    with pytest.raises(InputError) as caught:
        load("nmnist")
    assert f"could not download it: {failure}" in caught.value.message
    assert caught.value.where == str(tmp_path)
    assert "nmnist=FOLDER" in caught.value.fix


def test_without_tonic_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(UsageError, match="needs the package tonic") as caught:
        load(f"nmnist={tmp_path}")
    assert caught.value.fix == "pip install 'snnc[events]'"

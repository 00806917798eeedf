"""CIFAR-10 and folders like it, in each of their layouts; images that are wrong; what is decoded once."""

from __future__ import annotations

import io
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from splits import labels_of, parts, same

from snnc.errors import InputError
from snnc.models.data import Dataset, augment, cifar10, load

NAMES = ("bird", "cat", "ship")
COUNTS = {"train": 20, "test": 10}  # of each class


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    monkeypatch.setenv("SNNC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def image(part: str, label: int, k: int) -> np.ndarray:
    """Rows, columns, colours; the first pixel names it."""
    found = np.random.default_rng([label, k]).integers(0, 256, (32, 32, 3), np.uint8)
    found[0, 0] = k, label, part == "test"
    return found


def png(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images"
    for part, count in COUNTS.items():
        for label, name in enumerate(NAMES):
            (place / part / name).mkdir(parents=True)
            for k in range(count):
                (place / part / name / f"{k}.png").write_bytes(png(image(part, label, k)))
    return place


def pack(folder: Path, into: Path) -> Path:
    """The same in two .zip files."""
    into.mkdir()
    for part in COUNTS:
        shutil.make_archive(str(into / part), "zip", folder / part)
    return into


def check(data: Dataset) -> None:
    """All images are there, each in one split, with its label and colours."""
    seen: dict[str, list[tuple[int, int]]] = {"train": [], "test": []}
    for part in parts(data):
        which = "test" if part is data.test else "train"
        for spikes, label in zip(np.rint(part.spikes[:, -1] * 255), labels_of(part), strict=True):
            k, named, of_test = (int(n) for n in spikes[:, 0, 0])
            assert (named, of_test) == (label, part is data.test)
            assert np.array_equal(spikes.transpose(1, 2, 0), image(which, named, k))
            seen[which].append((named, k))
    for part_name, count in COUNTS.items():
        assert sorted(seen[part_name]) == [(label, k) for label in range(len(NAMES)) for k in range(count)]


def test_images_in_folders(folder: Path) -> None:
    (folder / "train" / "readme.txt").write_text("no image")
    (folder / "train" / "cat" / "Thumbs.db").write_text("no image")
    data = load(f"cifar10={folder}")
    check(data)
    assert data.spec == f"cifar10={folder}:steps=4,encoding=direct,samples=0,validation=10,augment=crop-flip,seed=0"
    assert [len(part) for part in parts(data)] == [54, 6, 30]
    assert (data.shape, data.classes) == ((3, 32, 32), 3)
    assert data.augment is augment.crop_flip
    assert all(part.still for part in parts(data))


def test_a_zip_is_the_same_as_its_folder(folder: Path, tmp_path: Path) -> None:
    packed = load(f"cifar10={pack(folder, tmp_path / 'zips')}:encoding=rate,samples=45")
    plain = load(f"cifar10={folder}:encoding=rate,samples=45")
    assert all(
        np.array_equal(a.spikes, b.spikes) and np.array_equal(labels_of(a), labels_of(b))
        for a, b in zip(parts(packed), parts(plain), strict=True)
    )
    assert [np.bincount(labels_of(part)).tolist() for part in parts(plain)] == [[9] * 3, [1] * 3, [5] * 3]
    assert plain.train.spikes.dtype == np.uint8


def test_other_kinds_of_image_become_three_colours(folder: Path) -> None:
    grey = np.full((32, 32), 70, np.uint8)
    assert np.all(cifar10.decode(png(grey), "grey") == 70)
    clear = np.full((32, 32, 4), 70, np.uint8)
    assert cifar10.decode(png(clear), "clear").shape == (3, 32, 32)
    # Lossy, but flat colours stay.
    assert np.abs(cifar10.decode(png(np.full((32, 32, 3), 70, np.uint8), "JPEG"), "jpeg").astype(int) - 70).max() <= 1


def test_the_official_binary_version(tmp_path: Path) -> None:
    """Ten classes; 12 records a batch, and each image's first red byte is its number."""
    rng = np.random.default_rng(0)
    place = tmp_path / "cifar-10-batches-bin"
    place.mkdir()
    all_records = []
    for name in [*cifar10.BINARY["train"], *cifar10.BINARY["test"]]:
        records = rng.integers(0, 256, (12, 3073), np.uint8)
        records[:, 0] = np.arange(12) % 10
        records.tofile(place / name)
        all_records.append(records)
    data = load(f"cifar10={place}:steps=2")
    assert (data.classes, [len(part) for part in parts(data)]) == (10, [54, 6, 12])
    learned = {row.tobytes() for row in np.concatenate(all_records[:5])}
    assert {row.tobytes() for row in all_records[5]} == {found(data.test, k) for k in range(12)}
    assert learned == {found(part, k) for part in (data.train, data.validation) for k in range(len(part))}
    with pytest.raises(InputError, match="no images for 'train'") as caught:
        load(f"cifar10={tmp_path}")
    assert caught.value.fix == f"did you mean {place}?"
    (place / "data_batch_3.bin").write_bytes(b"\0" * 3072)
    with pytest.raises(InputError, match="records of 3,073 bytes") as caught:
        load(f"cifar10={place}")
    assert caught.value.where == str(place / "data_batch_3.bin")
    (place / "data_batch_3.bin").write_bytes(b"\x0a" * 3073)
    with pytest.raises(InputError, match="a label is 10"):
        load(f"cifar10={place}")
    (place / "data_batch_3.bin").unlink()
    with pytest.raises(InputError, match="no such file"):
        load(f"cifar10={place}")


def found(part: object, k: int) -> bytes:
    """A sample as a record of the binary version."""
    spikes, labels = part.spikes, part.labels  # type: ignore[attr-defined]
    return bytes([labels[k]]) + np.rint(spikes[k, 0] * 255).astype(np.uint8).tobytes()


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}.")
    with pytest.raises(InputError, match="run code when they are read") as caught:
        load(f"cifar10={tmp_path}")
    assert "cifar-10-binary.tar.gz" in caught.value.fix


def test_the_real_images(shared: Path) -> None:
    place = shared / "data" / "cifar10"
    if not place.is_dir():
        pytest.skip("needs CIFAR-10 in ../shared/data/cifar10, which is not here")
    data = load(f"cifar10={place}:samples=600")
    assert [np.bincount(labels_of(part)).tolist() for part in parts(data)] == [[45] * 10, [5] * 10, [10] * 10]
    # The mean brightness of CIFAR-10's colours is 0.49, 0.48 and 0.45.
    assert data.train.spikes.mean(axis=(0, 1, 3, 4)) == pytest.approx([0.49, 0.48, 0.45], abs=0.03)


# --- decoded once --------------------------------------------------------------------------------


def broken(content: bytes, where: str) -> np.ndarray:
    raise AssertionError(f"{where} is decoded")


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_an_image_is_decoded_once(folder: Path, tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    place = pack(folder, tmp_path / "zips") if packed else folder
    before = load(f"cifar10={place}")
    monkeypatch.setattr(cifar10, "decode", broken)
    assert same(load(f"cifar10={place}"), before)
    # Other splits and encodings of the same images are made of what is kept.
    assert [len(part) for part in parts(load(f"cifar10={place}:validation=30,seed=3,encoding=rate"))] == [42, 18, 30]
    with pytest.raises(AssertionError, match="is decoded"):
        load(f"cifar10={place}:samples=30")


def test_a_changed_image_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(f"cifar10={folder}")
    (folder / "test" / "cat" / "3.png").write_bytes(png(np.full((32, 32, 3), 255, np.uint8)))
    after = load(f"cifar10={folder}")
    assert np.all(after.test.spikes == 1, axis=(1, 2, 3, 4)).sum() == 1
    monkeypatch.setattr(cifar10, "decode", broken)
    (folder / "train" / "cat" / "3.png").touch()
    with pytest.raises(AssertionError, match=r"\.png is decoded"):
        load(f"cifar10={folder}")


def test_a_damaged_cache_is_made_again(folder: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = load(f"cifar10={folder}")
    entries = sorted((cache / "frames").iterdir())
    assert len(entries) == 2
    good = [entry.read_bytes() for entry in entries]
    flipped = bytearray(good[0])
    flipped[len(flipped) // 2] ^= 1
    for damage in (bytes(flipped), good[0][: len(good[0]) // 2], b"", b"no zip"):
        entries[0].write_bytes(damage)
        caplog.clear()
        assert same(load(f"cifar10={folder}"), before)
        assert [f"{entries[0]} is damaged; it is made again"] == [record.message for record in caplog.records]
        assert [entry.read_bytes() for entry in entries] == good
    assert sorted((cache / "frames").iterdir()) == entries


def test_a_cache_that_cannot_be_written_only_costs_time(
    folder: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder would be")
    check(load(f"cifar10={folder}"))
    assert "nothing is kept for the next time" in caplog.text
    assert "SNNC_CACHE_DIR" in caplog.text


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"no image", "not a readable image"),
        (png(image("train", 0, 0))[:-700], "not a readable image"),
        (png(np.zeros((32, 31, 3), np.uint8)), "31x32 pixels, not 32x32"),
        (png(np.zeros((32, 32, 3), np.uint8), "BMP"), "not a readable image"),
    ],
)
def test_a_wrong_image_is_refused_by_name(folder: Path, content: bytes, message: str) -> None:
    (folder / "train" / "cat" / "7.png").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(f"cifar10={folder}")
    assert message in caught.value.message
    assert caught.value.where == str(folder / "train" / "cat" / "7.png")


def test_an_image_that_says_to_be_huge_is_refused() -> None:
    """Its head alone, of 20,000 x 20,000 pixels, for which Pillow would raise, and of 10,000 x 10,000, a warning."""
    for side in (20_000, 10_000):
        head = bytearray(png(image("train", 0, 0)))
        head[16:24] = side.to_bytes(4, "big") * 2
        head[29:33] = zlib.crc32(bytes(head[12:29])).to_bytes(4, "big")
        with pytest.raises(InputError, match="pixels"):
            cifar10.decode(bytes(head), "huge.png")


def test_classes_must_agree_and_have_images(folder: Path) -> None:
    (folder / "test" / "dog").mkdir()
    with pytest.raises(InputError, match="the class 'dog' has no images") as caught:
        load(f"cifar10={folder}")
    assert caught.value.where == str(folder / "test")
    (folder / "test" / "dog" / "0.png").write_bytes(png(image("test", 0, 0)))
    with pytest.raises(InputError, match="must have the same classes; one lacks dog"):
        load(f"cifar10={folder}")
    shutil.rmtree(folder / "test")
    with pytest.raises(InputError, match="no images for 'test'") as caught:
        load(f"cifar10={folder}")
    assert "test.zip" in caught.value.fix
    (folder / "test").mkdir()
    with pytest.raises(InputError, match="there are no images in it"):
        load(f"cifar10={folder}")


@pytest.mark.parametrize("name", ["../cat/0.png", "/cat/0.png", "cat/../0.png"])
def test_a_zip_with_tricks_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    place = pack(folder, tmp_path / "zips")
    with zipfile.ZipFile(place / "train.zip", "a") as file:
        file.writestr(name, png(image("train", 0, 0)))
    with pytest.raises(InputError, match="points outside of it") as caught:
        load(f"cifar10={place}")
    assert caught.value.where == str(place / "train.zip")


def test_a_zip_of_large_or_damaged_entries_is_refused(folder: Path, tmp_path: Path) -> None:
    place = pack(folder, tmp_path / "zips")
    good = (place / "train.zip").read_bytes()
    with zipfile.ZipFile(place / "train.zip", "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cat/large.png", b"\0" * (1 << 21))
    with pytest.raises(InputError, match=r"'cat/large.png' takes 2,097,152 bytes"):
        load(f"cifar10={place}")
    damaged = bytearray(good)
    damaged[2000] ^= 255
    (place / "train.zip").write_bytes(damaged)
    with pytest.raises(InputError) as caught:
        load(f"cifar10={place}")
    assert str(place / "train.zip") in caught.value.where
    (place / "train.zip").write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match=r"not a readable \.zip"):
        load(f"cifar10={place}")
    with zipfile.ZipFile(place / "train.zip", "w") as file:
        file.mkdir("cat")
    with pytest.raises(InputError, match="the class 'cat' has no images"):
        load(f"cifar10={place}")

"""Folders in the format of MNIST: what is read, how it is divided, and files that are wrong."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from splits import labels_of, parts, same

from snnc import datasets, frontends, models, tickets
from snnc.errors import InputError
from snnc.models.data import Dataset, load
from snnc.samples import accuracy
from snnc.simulator import floating

CLASSES = 4
SIDE = (3, 5)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def some(count: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images whose first pixel names them and whose second row shows their labels: 0 to 3, sorted.

    The last pixel is full, the one before dark.
    """
    images = np.random.default_rng(first).integers(1, 255, (count, *SIDE))
    images[:, 0, 0] = first + np.arange(count)
    images[:, 2, 3:] = 0, 255
    labels = np.arange(count) * CLASSES // count
    images[:, 1, :CLASSES] = 255 * np.eye(CLASSES, dtype=int)[labels]
    return images, labels


def store(folder: Path, name: str, array: np.ndarray, packed: bool = False) -> None:
    path = folder / f"{name}-idx{array.ndim}-ubyte{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, count, first in (("train", 160, 0), ("t10k", 40, 200)):
        images, labels = some(count, first)
        store(tmp_path, f"{part}-images", images, packed=part == "train")
        store(tmp_path, f"{part}-labels", labels, packed=part == "t10k")
    return tmp_path


def which(data: Dataset) -> list[list[int]]:
    """The names of the images in each split, of directly coded data."""
    return [np.rint(part.spikes[:, 0, 0, 0, 0] * 255).astype(int).tolist() for part in parts(data)]


def test_each_image_is_in_one_split_with_its_label(folder: Path) -> None:
    data = load(f"idx={folder}:encoding=direct")
    train, validation, test = which(data)
    assert sorted(train + validation) == list(range(160))
    assert sorted(test) == list(range(200, 240))
    for part, names in zip(parts(data), (train, validation, test), strict=True):
        images, labels = some(40, 200) if part is data.test else some(160)
        chosen = np.array(names) - (200 if part is data.test else 0)
        assert np.array_equal(np.rint(part.spikes[:, 1, 0] * 255), images[chosen])
        assert np.array_equal(labels_of(part), labels[chosen])
    assert (data.shape, data.classes) == ((1, *SIDE), CLASSES)
    assert data.spec == f"idx={folder}:steps=4,encoding=direct,samples=0,validation=10,augment=none,seed=0"
    assert data.augment is None


def test_splits_and_samples_keep_the_classes_in_proportion(folder: Path) -> None:
    data = load(f"idx={folder}:validation=25")
    assert [np.bincount(labels_of(part)).tolist() for part in parts(data)] == [[30] * 4, [10] * 4, [10] * 4]
    few = load(f"idx={folder}:samples=100,validation=20")
    assert [np.bincount(labels_of(part)).tolist() for part in parts(few)] == [[16] * 4, [4] * 4, [5] * 4]
    assert same(load(few.spec), few)
    # Sorted files are no reason for sorted splits: the first few are of all classes.
    assert all(len(set(labels_of(part)[:16])) > 2 for part in parts(data))


def test_a_seed_decides_what_is_chosen_and_how_it_is_coded(folder: Path) -> None:
    one, other = (which(load(f"idx={folder}:encoding=direct,samples=50,seed={seed}")) for seed in (1, 2))
    assert sorted(one[0]) != sorted(other[0])
    spikes = [load(f"idx={folder}:seed={seed}").test.spikes for seed in (1, 1, 2)]
    assert np.array_equal(spikes[0], spikes[1])
    assert not np.array_equal(spikes[0], spikes[2])


@pytest.mark.parametrize("encoding", ["rate", "latency"])
def test_brightness_becomes_spikes(folder: Path, encoding: str) -> None:
    data = load(f"idx={folder}:encoding={encoding},steps=6")
    for part in parts(data):
        assert part.spikes.dtype == np.uint8
        assert part.spikes.shape[1:] == (6, 1, *SIDE)
        counts = part.spikes.sum(axis=1)[:, 0, 2, 3:]
        assert np.all(counts == [0, 6 if encoding == "rate" else 1])


def test_direct_coding_holds_one_step_for_all(folder: Path) -> None:
    data = load(f"idx={folder}:encoding=direct,steps=1000")
    for part in (*parts(data), data.train.first(7), data.train.cut(500), datasets.samples(data.spec, "all")):
        assert part.spikes.dtype == np.float32
        assert part.spikes.strides[1] == 0
        assert part.still
    with pytest.raises(InputError, match="takes spikes or whole numbers") as caught:
        data.test.require_integers()
    assert "encoding=rate" in caught.value.fix


def test_direct_values_are_trained_on_and_run_in_floating_point(folder: Path, tmp_path: Path) -> None:
    recipe = models.recipe("mlp").with_args(hidden=[8])
    spec = f"idx={folder}:encoding=direct,steps=3"
    checkpoint = tickets.train(recipe, data=spec, epochs=20, out=tmp_path / "model.pt")
    assert checkpoint.accuracy["validation"] > 0.5  # of four classes
    test = load(spec).test
    network, _ = frontends.load(tmp_path / "model.pt")
    counts = floating.simulate(network, test.spikes, [network.layers[-1].name])[network.layers[-1].name].sum(axis=1)
    assert accuracy(counts, labels_of(test)) == checkpoint.accuracy["test"]


def test_a_hyphen_may_be_a_dot(folder: Path) -> None:
    before = load(f"idx={folder}")
    for file in list(folder.iterdir()):
        file.rename(folder / file.name.replace("-idx", ".idx"))
    assert same(load(f"idx={folder}"), before)


def test_the_real_digits(shared: Path) -> None:
    place = shared / "data" / "mnist"
    if not place.is_dir():
        pytest.skip("needs MNIST in ../shared/data/mnist, which is not here")
    data = load(f"idx={place}:samples=7000")
    assert [len(part) for part in parts(data)] == [5400, 600, 1000]
    assert (data.shape, data.classes) == ((1, 28, 28), 10)
    # 13 % of the brightness of MNIST is there, and rate coding keeps it.
    assert data.test.spikes.mean() == pytest.approx(0.13, abs=0.005)


# --- what is refused -----------------------------------------------------------------------------

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (LABELS, idx(some(160)[0]), "begins with 00000803, not 00000801"),
        (LABELS, b"\0\0", "begins with 0000, not 00000801"),
        (LABELS, b"\0\0\x0d\x01\0\0\0\1\0\0\0\0", "begins with 00000d01"),
        (LABELS, b"", "the file is empty"),
        (LABELS, b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        (LABELS, idx(some(160)[1])[:-1], "must hold 160 bytes after its head, and holds 159"),
        (LABELS, idx(some(160)[1]) + b"\0", "must hold 160 bytes after its head, and holds more"),
        (LABELS, idx(some(159)[1]), "it holds 159 labels, and train-images-idx3-ubyte.gz 160 images"),
        (LABELS, idx(np.zeros(0)), "it says to hold 0 bytes"),
        (IMAGES, gzip.compress(idx(some(160)[0]))[:-400], "not a whole .gz file"),
        (IMAGES, gzip.compress(idx(some(160)[0]))[:-1], "not a whole .gz file"),
        (IMAGES, b"no gzip", "not a whole .gz file"),
        (IMAGES, gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 1 << 31, 28, 28)), "it says to hold 2147483648 x 28"),
    ],
)
def test_a_wrong_file_is_refused_by_name(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(f"idx={folder}")
    assert message in caught.value.message
    assert caught.value.where == str(folder / name)


def test_a_damaged_gz_is_noticed(folder: Path) -> None:
    content = bytearray((folder / IMAGES).read_bytes())
    content[-6] ^= 1  # of the checksum
    (folder / IMAGES).write_bytes(content)
    with pytest.raises(InputError, match=r"not a whole \.gz file: CRC check failed"):
        load(f"idx={folder}")


def test_images_of_two_sizes_are_refused(folder: Path) -> None:
    store(folder, "t10k-images", np.zeros((40, 3, 4)))
    with pytest.raises(InputError, match="of 3x4 are in t10k, of 3x5 in train"):
        load(f"idx={folder}")


def test_too_few_images_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="2 samples are too few to train, validate and test"):
        load(f"idx={folder}:samples=2")


def test_a_wrong_folder_names_the_right_one(folder: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder") as caught:
        load(f"idx={folder}x")
    assert caught.value.fix == f"did you mean {folder}?"
    with pytest.raises(InputError, match="this is a file") as caught:
        load(f"idx={folder / LABELS}")
    assert caught.value.fix == f"did you mean {folder}?"
    (folder / "raw").mkdir()
    for file in list(folder.glob("*ubyte*")):
        file.rename(folder / "raw" / file.name)
    with pytest.raises(InputError, match="no train-images-idx3-ubyte in this folder, nor") as caught:
        load(f"idx={folder}")
    assert caught.value.fix == f"did you mean {folder / 'raw'}?"
    (folder / "raw" / LABELS).unlink()
    with pytest.raises(InputError, match="no train-labels-idx1-ubyte") as caught:
        load(f"idx={folder / 'raw'}")
    assert "four files" in caught.value.fix

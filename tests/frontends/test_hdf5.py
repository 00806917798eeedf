"""The safe HDF5 reader: what it reads, and that hostile files are refused before they do harm."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from snnc.errors import InputError
from snnc.frontends import hdf5
from snnc.frontends.hdf5 import read_tree


def make(path: Path, build: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "w") as file:
        build(file)
    return path


def test_reads_numbers_text_and_groups(tmp_path: Path) -> None:
    def build(file: h5py.File) -> None:
        file["a/b/weight"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        file.create_dataset("a/zipped", data=np.arange(5000), compression="gzip", shuffle=True)
        file["a/big_endian"] = np.array([1, 2], ">i4")
        file["number"], file["flag"], file["text"] = 2.5, True, "grün"
        file["edges"] = [("a", "b"), ("b", "c")]
        file.create_dataset("fixed", data=np.array([b"dense"]))
        file["empty"] = np.zeros((0, 3))

    tree = read_tree(make(tmp_path / "x.h5", build))
    assert sorted(tree) == ["a", "edges", "empty", "fixed", "flag", "number", "text"]
    weight = tree["a"]["b"]["weight"]
    assert weight.dtype == np.float32
    assert np.array_equal(weight, [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(tree["a"]["zipped"], np.arange(5000))
    assert tree["a"]["big_endian"].dtype == np.int32
    assert np.array_equal(tree["a"]["big_endian"], [1, 2])
    assert tree["number"] == 2.5
    assert tree["number"].shape == ()
    assert tree["flag"].dtype == bool
    assert tree["text"] == "grün"
    assert tree["edges"].tolist() == [["a", "b"], ["b", "c"]]
    assert tree["fixed"].tolist() == ["dense"]
    assert tree["empty"].shape == (0, 3)


def external_link(file: h5py.File) -> None:
    with h5py.File(Path(file.filename).with_name("other.h5"), "w") as other:
        other["w"] = 1.0
    file["x"] = h5py.ExternalLink("other.h5", "/w")


def external_storage(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(b"password" * 8)
    file.create_dataset("x", (8,), "f8", external=[(str(secret), 0, 64)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "w", (3,))
    file.create_virtual_dataset("x", layout)


def deep(file: h5py.File) -> None:
    file.create_group("x/" + "/".join("g" * (hdf5.DEPTH + 1)))


def cycle(file: h5py.File) -> None:
    group = file.create_group("x")
    group["again"] = group
    group["once_more"] = group


def inflating(file: h5py.File) -> None:
    """4,000 bytes of data whose only chunk holds 4 million zeros."""
    dataset = file.create_dataset("x", (1000,), "f4", chunks=(1000,), compression="gzip")
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(4_000_000)))


def two_deflates(file: h5py.File) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((100,))
    plan.set_deflate(4)
    plan.set_deflate(4)
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((100,)), plan)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (external_link, "links"),
        (lambda f: f.update(x=h5py.SoftLink("/y")), "links"),
        (external_storage, "another file"),
        (virtual, "another file"),
        (deep, "nested deeper"),
        (cycle, "nested deeper"),
        (inflating, "more than it declares"),
        (two_deflates, "compression 1, 1"),
        (lambda f: f.create_dataset("x", data=np.zeros(9), chunks=(9,), fletcher32=True), "compression 3"),
        (lambda f: f.create_dataset("x", data=np.zeros(9), compression="lzf"), "compression 32000"),
        # Never written, these take no room in the file.
        (lambda f: f.create_dataset("x", (100_000, 12_500), "f8"), "10,000,000,000 bytes"),
        (lambda f: f.create_dataset("x", (1 << 62,), "i1"), "bytes"),
        (lambda f: f.create_dataset("x", (10_000_000,), "f8"), "all that is read from a file of"),
        (lambda f: f.create_dataset("x", (10_000_000,), "i1"), "all that is read from a file of"),
        (lambda f: f.create_dataset("x", (20_000_000,), "f2"), "all that is read from a file of"),
        (lambda f: f.create_dataset("x", (40,), f"S{1 << 21}"), "all that is read from a file of"),
        (lambda f: f.create_dataset("x", (9,), "f8", chunks=(1 << 28,), maxshape=(None,)), "chunks of 2,147,483,648"),
        (lambda f: f.create_dataset("x", data=np.zeros(3, complex)), "neither numbers nor text"),
        (lambda f: f.create_dataset("x", data=np.zeros(3, [("a", "f4")])), "neither numbers nor text"),
        (lambda f: f.create_dataset("x", data=f.ref, dtype=h5py.ref_dtype), "neither numbers nor text"),
        (lambda f: f.create_dataset("x", (2,), h5py.vlen_dtype(np.int32)), "neither numbers nor text"),
        (lambda f: f.create_dataset("x", data=h5py.Empty("f4")), "neither numbers nor text"),
        (lambda f: f.create_dataset("x", data=["a"], compression="gzip"), "text in chunks"),
        (lambda f: f.create_dataset("x", (hdf5.STRINGS + 1,), "S1"), "more than 200,000 strings"),
        (lambda f: f.create_dataset("x", data=np.array([b"\xff\xfe"])), "damaged"),
        (lambda f: f.update(x=np.dtype("f8")), "neither a group nor a dataset"),
    ],
)
def test_refuses(tmp_path: Path, build: Callable[[h5py.File], object], says: str) -> None:
    path = make(tmp_path / "evil.h5", build)
    with pytest.raises(InputError, match=says) as caught:
        read_tree(path)
    assert caught.value.where.startswith(f"{path}: /x")
    assert caught.value.exit_code == 3


def test_names_the_place(tmp_path: Path) -> None:
    path = make(tmp_path / "evil.h5", lambda f: f.create_dataset("a/b/c", data=np.zeros(3, complex)))
    with pytest.raises(InputError) as caught:
        read_tree(path)
    assert caught.value.where == f"{path}: /a/b/c"


def test_too_many_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "x.h5", lambda f: [f.create_group(f"g{k}") for k in range(6)])
    assert len(read_tree(path)) == 6
    monkeypatch.setattr(hdf5, "OBJECTS", 5)
    with pytest.raises(InputError, match="groups and datasets"):
        read_tree(path)


def test_as_deep_as_it_says(tmp_path: Path) -> None:
    tree = read_tree(make(tmp_path / "x.h5", lambda f: f.create_dataset("/".join("g" * (hdf5.DEPTH + 1)), data=3)))
    for _ in range(hdf5.DEPTH):
        tree = tree["g"]
    assert tree == {"g": 3}


def test_a_small_file_cannot_fill_the_memory(tmp_path: Path) -> None:
    """Zeros compress well: 128 bytes for each stored, besides what any file may hold."""
    size = hdf5.SMALL_BYTES // 8

    def build(count: int) -> Callable[[h5py.File], object]:
        return lambda f: f.create_dataset("x", data=np.zeros(count), compression="gzip", chunks=(size // 8,))

    assert read_tree(make(tmp_path / "x.h5", build(size)))["x"].shape == (size,)
    with pytest.raises(InputError, match="all that is read") as caught:
        read_tree(make(tmp_path / "x.h5", build(2 * size)))
    assert "without compression" in caught.value.fix


def test_text_that_was_never_written_is_no_gift(tmp_path: Path) -> None:
    """Each of these names takes a few hundred bytes of the file and would take megabytes of memory."""

    def build(file: h5py.File) -> None:
        for k in range(6):
            file.create_dataset(f"{k}", (hdf5.STRINGS,), h5py.string_dtype())

    with pytest.raises(InputError, match="all that is read"):
        read_tree(make(tmp_path / "x.h5", build))


def test_total_over_all_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "x.h5", lambda f: f.update(a=np.zeros(100), b=np.zeros(100)))
    monkeypatch.setattr(hdf5, "TOTAL_BYTES", 1600)
    assert len(read_tree(path)) == 2
    monkeypatch.setattr(hdf5, "TOTAL_BYTES", 1599)
    with pytest.raises(InputError, match="1,599"):
        read_tree(path)


def test_text_that_claims_gigabytes_is_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = "hello"
        place = file["x"].id.get_offset()
    data = bytearray(path.read_bytes())
    assert data[place : place + 4] == (5).to_bytes(4, "little")
    data[place : place + 4] = ((1 << 32) - 1).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="declares") as caught:
        read_tree(path)
    assert caught.value.where == f"{path}: /x"


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (0, b"HEAP"),
        (8, bytes(8)),  # size of the heap
        (8, (1 << 40).to_bytes(8, "little")),
        (16, bytes(16)),  # number and length of the first object: as if all were free
        (16, b"\7"),
        (24, bytes(8)),
        (24, (1 << 63).to_bytes(8, "little")),
    ],
)
def test_damaged_heap_of_text(tmp_path: Path, place: int, change: bytes) -> None:
    path = make(tmp_path / "x.h5", lambda f: f.update(x="hello"))
    data = bytearray(path.read_bytes())
    start = data.index(b"GCOL") + place
    data[start : start + len(change)] = change
    path.write_bytes(data)
    with pytest.raises(InputError, match="text") as caught:
        read_tree(path)
    assert caught.value.where == f"{path}: /x"


def test_much_text(tmp_path: Path) -> None:
    """More than one heap, one of them larger than usual."""
    texts = ["", "é" * 5000, *(f"node{k}" for k in range(2000))]
    assert read_tree(make(tmp_path / "x.h5", lambda f: f.update(x=texts)))["x"].tolist() == texts


def test_long_text_is_charged_every_time_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "x.h5", lambda f: f.update(a=["t" * 1000] * 20))
    assert read_tree(path)["a"].tolist() == ["t" * 1000] * 20
    monkeypatch.setattr(hdf5, "TOTAL_BYTES", 20 * 64 + 10_000)
    with pytest.raises(InputError, match="11,280"):
        read_tree(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"hello", "not an HDF5 file"),
        (bytes(range(256)) * 8, "not an HDF5 file"),
        (hdf5.SIGNATURE, "damaged"),
        (hdf5.SIGNATURE + bytes(2000), "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-LFS pointer"),
    ],
)
def test_what_is_no_hdf5(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_tree(path)


def test_missing_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError):
            read_tree(path)

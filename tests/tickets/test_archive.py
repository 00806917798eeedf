"""Files that pose as checkpoints: told by what they are, and never run."""

from __future__ import annotations

import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_checkpoints import dense, ticket
from torch import nn

from snnc.errors import InputError
from snnc.models.spiking import Row
from snnc.tickets.checkpoint import read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    result = tmp_path / "ticket.pt"
    ticket().save(result)
    return result


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.command = f"touch '{marker}'"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.where == str(path)
    return caught.value


@pytest.mark.parametrize("place", ["alone", "in a checkpoint", "bare pickle", "legacy", "compressed", "pt2"])
def test_nothing_in_a_file_is_run(path: Path, place: str) -> None:
    marker = path.parent / "marker"
    trap: Any = Trap(marker)
    if place == "in a checkpoint":
        trap = torch.load(path, weights_only=True) | {"log": [trap]}
    if place == "bare pickle":
        path.write_bytes(pickle.dumps(trap))
    else:
        torch.save(trap, path, _use_new_zipfile_serialization=place != "legacy")
    if place in ("compressed", "pt2"):
        repack(path, add={"archive_format": b"pt2"} if place == "pt2" else {}, compressed=place == "compressed")
    error = refused(path)
    assert not marker.exists()
    if place in ("alone", "in a checkpoint", "legacy"):
        assert error.message == f"reading it would run code of {os.system.__module__}.system"
        assert "snnc.load(module, example)" in error.fix
    # The trap is a real one.
    if place in ("bare pickle", "in a checkpoint"):
        pickle.loads(path.read_bytes()) if place == "bare pickle" else torch.load(path, weights_only=False)
        assert marker.exists()


def repack(path: Path, add: dict[str, bytes], compressed: bool = False) -> None:
    """Write the archive anew with further entries."""
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    folder = next(iter(entries)).partition("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as new:
        for name, content in {**entries, **{f"{folder}/{n}": c for n, c in add.items()}}.items():
            new.writestr(name, content)


def test_a_whole_module_is_refused_with_its_classes(path: Path) -> None:
    torch.save(Row([nn.Flatten(), nn.Linear(2, 2)], (2,)), path)
    error = refused(path)
    assert "reading it would run code of" in error.message
    for name in ("snnc.models.spiking.Row", "torch.nn.modules.linear.Linear", "Sequential"):
        assert name in error.message
    assert "snnc.load(module, example)" in error.fix


def test_a_bare_state_dict_is_not_a_checkpoint(path: Path) -> None:
    torch.save(dense().state_dict, path)
    error = refused(path)
    assert "not a checkpoint of snnc" in error.message
    assert "snnc.load(module, example)" in error.fix


@pytest.mark.parametrize(
    ("add", "message"),
    [
        ({"code/__torch__.py": b""}, "this is TorchScript"),
        ({"constants.pkl": b""}, "this is TorchScript"),
        ({"archive_format": b"pt2"}, "torch.export archive (.pt2)"),
        ({"models/model.json": b"{}"}, "torch.export archive (.pt2)"),
        ({"zeros": bytes(9999)}, "this archive is compressed"),
    ],
)
def test_other_archives_are_told_by_what_they_hold(path: Path, add: dict[str, bytes], message: str) -> None:
    repack(path, add)
    if "compressed" not in message:
        assert message in refused(path).message
        return
    assert read(path).model == "mlp"  # an entry more does no harm
    repack(path, add, compressed=True)
    assert message in refused(path).message


HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(100)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (LFS, "git-LFS pointer"),
        (HDF5, "this is HDF5"),
        (bytes(300), "not a file of torch.save"),
        (b"{}", "not a file of torch.save"),
        (pickle.dumps({"format": "snnc-checkpoint"}), "bare pickle"),
        (b"PK\x03\x04" + bytes(200), "damaged or incomplete"),
    ],
)
def test_other_files_are_told_by_their_content(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    assert message in refused(path).message


def test_no_file_a_folder_and_a_zip(path: Path) -> None:
    assert "no such file" in refused(path.with_name("missing.pt")).message
    assert "a folder, not a file" in refused(path.parent).message
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/readme.txt", "hello")
    assert "a zip archive, but not one of torch.save" in refused(path).message


def test_a_legacy_file_is_read_alike(path: Path) -> None:
    """torch before 1.6 wrote no zip archive; its pickles are as safe to read with weights_only."""
    torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    assert read(path).model == "mlp"
    path.write_bytes(path.read_bytes()[:-50])
    assert "this file is damaged" in refused(path).message


def test_a_tensor_cannot_claim_more_than_its_record(path: Path) -> None:
    """The size of a storage stands in the pickle and in the archive; believing the former would read foreign memory."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in entries if name.endswith("data.pkl"))
    elements = b"K" + bytes([7 * 15])  # BININT1 105: the storage of the first weight
    assert elements in entries[pickled]
    for claimed, message in ((7 * 15 + 3, "this file is damaged"), (2**30, "it declares more data than a file of")):
        lying = entries[pickled].replace(elements, b"J" + struct.pack("<i", claimed))
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**entries, pickled: lying}.items():
                archive.writestr(name, content)
        assert message in refused(path).message


@pytest.mark.parametrize("name", ["{}/data.pkl", "{}/DATA.PKL", "other/data.pkl"])
def test_what_is_checked_is_what_is_read(path: Path, name: str) -> None:
    """torch finds entries by the folder of the first one, in upper or lower case; a second pickle might be the one."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.namelist()]
    folder = entries[0][0].partition("/")[0]
    pickled = next(content for entry, content in entries if entry.endswith("data.pkl"))
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):
        for entry, content in [*entries, (name.format(folder), pickled)]:
            archive.writestr(entry, content)
    assert "several" in refused(path).message


def test_a_damaged_file_is_refused_or_whole(path: Path) -> None:
    """Wherever a file ends early or a byte is flipped: no other error than InputError, and never a half network."""
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for end in rng.integers(1, len(content) - 1, 40):
        path.write_bytes(content[:end])
        refused(path)
    outcomes = []
    for position, value in zip(rng.integers(0, len(content), 200), rng.integers(1, 256, 200), strict=True):
        damaged = bytearray(content)
        damaged[position] ^= value
        path.write_bytes(damaged)
        try:
            checkpoint = read(path)
        except InputError:
            outcomes.append(False)
        else:
            assert checkpoint.module()(torch.zeros(1, 1, 3, 5)).shape == (1, 1, 3)
            outcomes.append(True)
    assert 0 < sum(outcomes) < len(outcomes)  # padding does not matter, most bytes do

"""Checkpoints: what is written comes back, and whatever else a file claims is refused by name, without running it."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from snnc import models
from snnc.errors import InputError
from snnc.models.spiking import SpikingNetwork
from snnc.tickets.checkpoint import Checkpoint, Parent, read, save_plain
from snnc.tickets.masks import at_random, attach, plain_state, weights

ARGS = {"shape": [3, 5], "classes": 3, "hidden": [7]}
WEIGHT = "layers.1.weight"  # 7 x 15


def dense(seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    return Checkpoint(
        model="mlp",
        args=ARGS,
        state_dict=plain_state(models.model("mlp")(**ARGS)),
        masks={},
        dt=1e-3,
        reset="zero",
        bits=8,
        data="digits:steps=8,encoding=rate,seed=0",
        seed=seed,
        log=[{"stage": "dense", "epoch": 1, "loss": 2.5, "validation": 0.25}],
        parent=None,
        accuracy={"validation": 0.25, "test": 0.125},
    )


def ticket() -> Checkpoint:
    parent = dense(1)
    model = parent.module()
    masks = at_random({name: np.arange(w.size).reshape(w.shape) % 3 == 0 for name, w in weights(model).items()}, 0)
    attach(model, masks)
    ancestor = Parent(parent.state_dict, 0.75, parent.log)
    return replace(dense(), state_dict=plain_state(model), masks=masks, parent=ancestor)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    result = tmp_path / "ticket.pt"
    ticket().save(result)
    return result


# --- what is written comes back ------------------------------------------------------------------


@pytest.mark.parametrize("make", [dense, ticket])
def test_a_checkpoint_comes_back_as_it_was(make: Callable[[], Checkpoint], tmp_path: Path) -> None:
    before = make()
    before.save(tmp_path / "a.pt")
    after = read(tmp_path / "a.pt")
    for field in fields(Checkpoint):
        if field.name not in ("state_dict", "masks", "parent"):
            assert getattr(after, field.name) == getattr(before, field.name), field.name
    assert same_state(after.state_dict, before.state_dict)
    assert list(after.masks) == list(before.masks)
    assert all(np.array_equal(after.masks[name], mask) for name, mask in before.masks.items())
    assert (after.parent is None) == (before.parent is None)
    if after.parent and before.parent:
        assert same_state(after.parent.state_dict, before.parent.state_dict)
        assert (after.parent.accuracy, after.parent.log) == (before.parent.accuracy, before.parent.log)
    # Written again, it is the same file: nothing of where its parts came from shows.
    after.save(tmp_path / "b.pt")
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()


def same_state(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return set(a) == set(b) and all(torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)


def test_the_file_is_a_plain_dict_with_packed_masks(path: Path) -> None:
    plain = torch.load(path, weights_only=True)
    assert type(plain) is dict
    documented = "format version model state_dict masks dt reset bits data seed log parent accuracy"
    assert set(plain) == set(documented.split())
    assert (plain["format"], plain["version"]) == ("snnc-checkpoint", 1)
    assert plain["model"] == {"name": "mlp", "args": ARGS}
    mask = plain["masks"][WEIGHT]
    assert mask["shape"] == [7, 15]
    assert (mask["bits"].dtype, mask["bits"].shape) == (torch.uint8, (14,))  # 105 bits
    kept = np.unpackbits(mask["bits"].numpy())[:105].reshape(7, 15).astype(bool)
    assert np.array_equal(kept, plain["state_dict"][WEIGHT].numpy() != 0)


def test_the_module_computes_with_the_tensors_of_the_file(path: Path) -> None:
    checkpoint = read(path)
    for parent, state in ((False, checkpoint.state_dict), (True, checkpoint.parent.state_dict)):  # type: ignore[union-attr]
        module = checkpoint.module(parent=parent)
        assert not module.training
        assert same_state(plain_state(module), state)
    with pytest.raises(InputError, match="holds no dense parent"):
        dense().module(parent=True)


def test_an_interrupted_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def interrupted(value: Any, file: Any) -> None:
        file.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dense().save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# --- wrong fields --------------------------------------------------------------------------------


def put(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(plain: dict[str, Any]) -> None:
        *way, last = keys
        for key in way:
            plain = plain[key]
        plain[last] = to

    return change


def drop(*keys: Any) -> Callable[[dict[str, Any]], None]:
    def change(plain: dict[str, Any]) -> None:
        *way, last = keys
        for key in way:
            plain = plain[key]
        del plain[last]

    return change


def nan(plain: dict[str, Any]) -> None:
    plain["state_dict"][WEIGHT][2, 3] = float("nan")


def disagree(plain: dict[str, Any]) -> None:
    plain["state_dict"][WEIGHT][:] = 1


def none_of(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """A tensor of any size that takes one element of the file."""
    return torch.zeros(1, dtype=dtype).expand(*shape)


BITS = torch.zeros(14, dtype=torch.uint8)
HUGE = 10**12

CASES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another format": (put("format", to="other"), "not a checkpoint of snnc"),
    "tensors only": (drop("format"), "not a checkpoint of snnc"),
    "a newer version": (put("version", to=2), "version 2 of the format, and this snnc reads version 1"),
    "version as text": (put("version", to="1"), "version 1 of the format"),
    "version as tensor": (put("version", to=torch.tensor([1, 1])), "of the format, and this snnc reads version 1"),
    "no version": (drop("version"), "version None of the format"),
    "an unknown field": (put("delays", to=[1]), "no field 'delays' in this version"),
    "an unknown field of the parent": (put("parent", "masks", to={}), "no field 'parent.masks' in this version"),
    "no state": (drop("state_dict"), "the field 'state_dict' is missing"),
    "no accuracy of the parent": (drop("parent", "accuracy"), "the field 'parent.accuracy' is missing"),
    "dt as text": (put("dt", to="1e-3"), "the field 'dt' has the type str"),
    "dt negative": (put("dt", to=-1.0), "the field 'dt' is -1.0"),
    "dt infinite": (put("dt", to=float("inf")), "the field 'dt' is inf"),
    "dt NaN": (put("dt", to=float("nan")), "the field 'dt' is nan"),
    "bits as bool": (put("bits", to=True), "the field 'bits' has the type bool"),
    "one bit": (put("bits", to=1), "the field 'bits' is 1"),
    "another reset": (put("reset", to="subtract"), "the field 'reset' is 'subtract'"),
    "log of texts": (put("log", to=["epoch 1"]), "'log' must hold dicts"),
    "accuracy without test": (drop("accuracy", "test"), "'accuracy' must hold two numbers, validation and test"),
    "accuracy as text": (put("accuracy", "test", to="good"), "'accuracy' must hold two numbers"),
    "model as text": (put("model", to="mlp"), "the field 'model' has the type str"),
    "model without name": (drop("model", "name"), "'model' must hold a name and args"),
    "model unknown": (put("model", "name", to="mpl"), "no model 'mpl'"),
    "an unknown argument": (put("model", "args", "width", to=3), "arguments of the model 'mlp' do not fit"),
    "a missing argument": (drop("model", "args", "classes"), "arguments of the model 'mlp' do not fit"),
    "an impossible argument": (put("model", "args", "beta", to=2.0), "beta is what the neuron keeps"),
    "an argument that is a tensor": (put("model", "args", "bias", to=torch.ones(2)), "bias must be true or false"),
    "huge layers": (put("model", "args", "hidden", to=[HUGE]), f"the model needs ({HUGE}, 15)"),
    "layers of no possible size": (put("model", "args", "hidden", to=[10**18]), "of the model 'mlp' do not fit"),
    "layers that no integer counts": (put("model", "args", "hidden", to=[10**30]), "of the model 'mlp' do not fit"),
    "a missing tensor": (drop("state_dict", WEIGHT), f"the tensor '{WEIGHT}' is missing"),
    "an extra tensor": (put("state_dict", "extra", to=torch.ones(1)), "the model 'mlp' has no tensor 'extra'"),
    "a tensor without a name": (put("state_dict", 3, to=torch.ones(1)), "the model 'mlp' has no tensor '3'"),
    "a number": (put("state_dict", WEIGHT, to=1.0), f"'{WEIGHT}' must be a tensor whose every element is stored"),
    "NaN": (nan, f"the tensor '{WEIGHT}' holds NaN or infinity"),
    "infinity": (put("state_dict", "layers.2.beta", to=torch.tensor(float("inf"))), "'layers.2.beta' holds NaN or inf"),
    "a wrong shape": (
        put("state_dict", WEIGHT, to=torch.zeros(15, 7)),
        f"the tensor '{WEIGHT}' has shape (15, 7), the model needs (7, 15)",
    ),
    "half precision": (put("state_dict", WEIGHT, to=torch.zeros(7, 15).half()), f"'{WEIGHT}' is of type torch.float16"),
    "whole numbers": (put("state_dict", WEIGHT, to=torch.zeros(7, 15).int()), f"'{WEIGHT}' is of type torch.int32"),
    "sparse": (put("state_dict", WEIGHT, to=torch.zeros(7, 15).to_sparse()), f"'{WEIGHT}' must be a tensor whose"),
    "without memory": (put("state_dict", WEIGHT, to=torch.zeros(7, 15, device="meta")), f"'{WEIGHT}' must be a tensor"),
    "expanded": (put("state_dict", WEIGHT, to=none_of(torch.float32, 7, 15)), f"'{WEIGHT}' must be a tensor whose"),
    "a reset that is not the model's": (
        put("state_dict", "layers.2.reset_mechanism_val", to=torch.tensor(0)),
        "the tensor 'layers.2.reset_mechanism_val' is 0, the model needs 1",
    ),
    "the type of a reset": (
        put("state_dict", "layers.2.reset_mechanism_val", to=torch.tensor(1.0)),
        "'layers.2.reset_mechanism_val' is of type torch.float32",
    ),
    "a wrong tensor of the parent": (
        put("parent", "state_dict", WEIGHT, to=torch.zeros(2)),
        f"in the dense parent: the tensor '{WEIGHT}' has shape (2,)",
    ),
    "a mask that disagrees": (disagree, f"the weight '{WEIGHT}' is not zero where its mask prunes it"),
    "a mask too few": (drop("masks", WEIGHT), f"but weights {WEIGHT}"),
    "a mask of nothing": (put("masks", "layers.9.weight", to={"shape": [1], "bits": BITS[:1].clone()}), "layers.9.wei"),
    "a mask of a wrong shape": (
        put("masks", WEIGHT, to={"shape": [15, 7], "bits": BITS}),
        f"the mask of '{WEIGHT}' has shape (15, 7), the weight (7, 15)",
    ),
    "a mask of too few bits": (put("masks", WEIGHT, "bits", to=BITS[:13].clone()), f"the mask of '{WEIGHT}' is not"),
    "a mask of floats": (put("masks", WEIGHT, "bits", to=BITS.float()), f"the mask of '{WEIGHT}' is not"),
    "a mask that is a list": (put("masks", WEIGHT, to=[1, 0]), f"the mask of '{WEIGHT}' is not"),
    "a mask without a name": (put("masks", 3, to={"shape": [1], "bits": BITS[:1].clone()}), "the mask of '3' is not"),
    "a mask of negative size": (put("masks", WEIGHT, "shape", to=[-7, -15]), f"the mask of '{WEIGHT}' is not"),
    "a huge mask": (
        put("masks", WEIGHT, to={"shape": [8 * HUGE], "bits": none_of(torch.uint8, HUGE)}),
        f"the mask of '{WEIGHT}' is not",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_field_is_named(path: Path, case: str) -> None:
    change, message = CASES[case]
    plain = torch.load(path, weights_only=True)
    change(plain)
    save_plain(plain, path)
    with pytest.raises(InputError) as caught:
        read(path)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.where == str(path)


def test_a_newer_version_needs_a_newer_snnc(path: Path) -> None:
    for version, fix in ((2, "update snnc"), (0, "train it again")):
        plain = torch.load(path, weights_only=True)
        save_plain(plain | {"version": version}, path)
        with pytest.raises(InputError) as caught:
            read(path)
        assert caught.value.fix == fix


# --- files that are something else ---------------------------------------------------------------


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
    if place in ("alone", "in a checkpoint"):
        assert error.message == f"reading it would run code of {os.system.__module__}.system"
        assert "snnc.frontends.torch.from_module" in error.fix
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
    torch.save(SpikingNetwork([nn.Flatten(), nn.Linear(2, 2)], (2,)), path)
    error = refused(path)
    assert "reading it would run code of" in error.message
    for name in ("snnc.models.spiking.SpikingNetwork", "torch.nn.modules.linear.Linear", "Sequential"):
        assert name in error.message
    assert "from_module" in error.fix


def test_a_bare_state_dict_is_not_a_checkpoint(path: Path) -> None:
    torch.save(dense().state_dict, path)
    error = refused(path)
    assert "not a checkpoint of snnc" in error.message
    assert "from_module" in error.fix


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


def test_no_file_a_folder_a_zip_and_a_legacy_file(path: Path) -> None:
    assert "no such file" in refused(path.with_name("missing.pt")).message
    assert "a folder, not a file" in refused(path.parent).message
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/readme.txt", "hello")
    assert "a zip archive, but not one of torch.save" in refused(path).message
    torch.save({"format": "snnc-checkpoint"}, path, _use_new_zipfile_serialization=False)
    assert "before version 1.6" in refused(path).message


def test_a_tensor_cannot_claim_more_than_its_record(path: Path) -> None:
    """The size of a storage stands in the pickle and in the archive; believing the former would read foreign memory."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in entries if name.endswith("data.pkl"))
    elements = b"K" + bytes([7 * 15])  # BININT1 105: the storage of the first weight
    assert elements in entries[pickled]
    entries[pickled] = entries[pickled].replace(elements, b"J" + struct.pack("<i", 2**30))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    assert "this file is damaged" in refused(path).message


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

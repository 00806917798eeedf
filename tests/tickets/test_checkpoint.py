"""Checkpoints: what is written comes back, and whatever a file claims that does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_checkpoints import ARGS, WEIGHT, dense, ticket

from snnc.errors import InputError
from snnc.tickets.checkpoint import Checkpoint, read, save_plain
from snnc.tickets.masks import plain_state


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
    assert (plain["format"], plain["version"]) == ("snnc-checkpoint", 2)
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
    "a newer version": (put("version", to=3), "version 3 of the format, and this snnc reads version 2"),
    "version as text": (put("version", to="2"), "version 2 of the format"),
    "version as tensor": (put("version", to=torch.tensor([2, 2])), "of the format, and this snnc reads version 2"),
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
    for version, fix in ((3, "update snnc"), (1, "train it again")):
        plain = torch.load(path, weights_only=True)
        save_plain(plain | {"version": version}, path)
        with pytest.raises(InputError) as caught:
            read(path)
        assert caught.value.fix == fix

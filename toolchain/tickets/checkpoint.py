"""The checkpoint: a trained network or ticket as one ``.pt`` file of plain values.

The file is a dict that ``torch.load(weights_only=True)`` accepts::

    format       "snnc-checkpoint"
    version      2
    model        {"name": a model of snnc.models, "args": its plain arguments}
    state_dict   the tensors of that model but for binary weights; pruned weights are zero
    masks        {weight name: {"shape": [...], "bits": uint8 of np.packbits}}; empty for a dense network. Where all
                 weights that are left have one magnitude, also their signs (uint8 of np.packbits, 1 is negative, in
                 the order of the shape) and this "gain"; with the mask they are the weight
    dt           seconds per time step
    reset        how its neurons reset: "zero"
    bits         signed width the weights are meant for
    data, seed   what it was trained on (a specification of snnc.models.data), and the seed
    log          one plain dict per epoch and per finished stage
    parent       None, or {"state_dict", "args", "accuracy", "log"} of the dense network the ticket was found in
    accuracy     {"validation": share, "test": share}
    groups       of a ticket balanced on cores alone: {weight name: the core of each output row, int32 (rows,)}

What a file claims is checked before it is used: a model is built without memory for its weights,
and the tensors of the file must fit it by name, shape and type.
"""

from __future__ import annotations

import inspect
import io
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnc import models
from snnc.errors import InputError, UsageError
from snnc.files import atomic
from snnc.models.spiking import SpikingNetwork
from snnc.tickets import archive
from snnc.tickets.balance import Groups
from snnc.tickets.cores import layers_of
from snnc.tickets.masks import Masks, prunable

FORMAT = "snnc-checkpoint"
VERSION = 2

_KINDS: dict[str, Any] = {
    "model": dict,
    "state_dict": dict,
    "masks": dict,
    "dt": float,
    "reset": str,
    "bits": int,
    "data": str,
    "seed": int,
    "log": list,
    "parent": (dict, type(None)),
    "accuracy": dict,
}
GROUPS = "groups"
_PARENT_KINDS: dict[str, Any] = {"state_dict": dict, "args": dict, "accuracy": float, "log": list}


@dataclass(frozen=True, eq=False)
class Parent:
    """The dense network in which a ticket was found; the fields are those of :class:`Checkpoint`, accuracy on test."""

    state_dict: dict[str, Tensor]
    args: dict[str, Any]
    accuracy: float
    log: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained network; the fields are those of the file, see the module, with the masks unpacked to bool arrays."""

    model: str
    args: dict[str, Any]
    state_dict: dict[str, Tensor]
    masks: Masks
    dt: float
    reset: str
    bits: int
    data: str
    seed: int
    log: list[dict[str, Any]]
    parent: Parent | None
    accuracy: dict[str, float]
    groups: Groups = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file; it appears complete or not at all."""
        plain: dict[str, Any] = {
            name: getattr(self, name) for name in _KINDS if name not in ("model", "masks", "parent")
        }
        parent = self.parent and {name: getattr(self.parent, name) for name in _PARENT_KINDS}
        masks, rest = _pack_binary(self.masks, self.state_dict)
        plain |= {"model": {"name": self.model, "args": self.args}, "masks": masks, "parent": parent}
        plain["state_dict"] = rest
        if self.groups:  # a reader that knows nothing of them refuses the file by this field's name
            plain[GROUPS] = {name: torch.from_numpy(group) for name, group in self.groups.items()}
        save_plain({"format": FORMAT, "version": VERSION, **plain}, path)

    def module(self, parent: bool = False) -> SpikingNetwork:
        """The network in evaluation mode; parent: the dense network instead of the ticket."""
        if not parent:
            return _build(self.model, self.args, self.state_dict)
        if self.parent is None:
            raise InputError("this checkpoint holds no dense parent", fix="give a ticket, as `snnc ticket` writes it")
        return _build(self.model, self.parent.args, self.parent.state_dict)


def read(path: Path) -> Checkpoint:
    """Read a checkpoint from a stranger; InputError, with the file named, for whatever is wrong with it."""
    return decode(archive.load_plain(path), path)


def decode(plain: Any, path: Path) -> Checkpoint:
    """The checkpoint in what :func:`snnc.tickets.archive.load_plain` read from `path`; InputError as above."""
    try:
        return _decode(plain)
    except InputError as error:
        raise InputError(error.message, where=str(path), fix=error.fix) from None


def save_plain(value: Any, path: Path) -> None:
    """torch.save to a file that appears complete or not at all; equal values give equal bytes."""
    # Given a path, torch.save would write the temporary file's name into the archive; given a file, it would say
    # that a position is unexpected where the disk is full.
    content = io.BytesIO()
    torch.save(_interned(value), content)
    with atomic(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _interned(value: Any) -> Any:
    """The same plain value with equal texts as one object and its containers as objects of their own.

    Pickle writes what it has met before as a reference, and tells that by identity: without this, a value
    of which a part was read from a file would give other bytes than an equal one that was not.
    """
    if type(value) is str:
        return sys.intern(value)
    if isinstance(value, dict):
        return {_interned(key): _interned(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_interned, value))
    return value


def pack(masks: Masks) -> dict[str, Any]:
    """Masks as plain values, eight weights a byte."""
    return {
        name: {"shape": list(mask.shape), "bits": torch.from_numpy(np.packbits(mask))} for name, mask in masks.items()
    }


def _pack_binary(masks: Masks, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Packed masks, with signs and gain of the weights that have one magnitude, and all other tensors."""
    packed, rest = pack(masks), dict(state)
    for name, mask in masks.items():
        live = state[name].numpy()[mask]
        if live.size and live.dtype == np.float32 and np.all(np.abs(live) == abs(live[0])):
            packed[name] |= {"signs": torch.from_numpy(np.packbits(live < 0)), "gain": float(abs(live[0]))}
            del rest[name]
    return packed, rest


def _unpack_binary(plain: Mapping[str, Any], masks: Masks) -> dict[str, Tensor]:
    """The weights of which a file holds signs and gain."""
    weights = {}
    for name, mask in masks.items():
        if set(plain[name]) == {"shape", "bits"}:
            continue
        signs, gain, count = plain[name].get("signs"), plain[name].get("gain"), int(mask.sum())
        if (
            set(plain[name]) != {"shape", "bits", "signs", "gain"}
            or type(gain) is not float
            or not 0 < gain < math.inf
            or not is_stored(signs)
            or signs.dtype != torch.uint8
            or tuple(signs.shape) != (-(-count // 8),)
        ):
            raise InputError(f"the mask of '{name}' has not a sign for each weight and a positive gain")
        weight = np.zeros(mask.shape, np.float32)
        weight[mask] = np.where(np.unpackbits(signs.numpy(), count=count), -gain, gain)
        weights[name] = torch.from_numpy(weight)
    return weights


def _decode(plain: Any) -> Checkpoint:
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise InputError(
            "this holds tensors or values, but not a checkpoint of snnc",
            fix="name what builds its model: --model package.module:factory, or snnc.load(module, example) in Python",
        )
    version = plain.get("version")
    if type(version) is not int or version != VERSION:
        fix = "update snnc" if isinstance(version, int) and version > VERSION else "train it again"
        raise InputError(f"this is version {version} of the format, and this snnc reads version {VERSION}", fix=fix)
    kinds = _KINDS | ({GROUPS: dict} if GROUPS in plain else {})
    _check_fields({name: value for name, value in plain.items() if name not in ("format", "version")}, kinds, "")
    model = plain["model"]
    if not isinstance(model.get("name"), str) or not isinstance(model.get("args"), dict):
        raise InputError("the field 'model' must hold a name and args")
    parent = plain["parent"]
    if parent is not None:
        _check_fields(parent, _PARENT_KINDS, "parent.")
    for name, least in (("dt", 0), ("bits", 1)):
        if not least < plain[name] < math.inf:
            raise InputError(f"the field '{name}' is {plain[name]}")
    if plain["reset"] != "zero":
        raise InputError(f"the field 'reset' is '{plain['reset']}'; the models of snnc reset to zero")
    if not all(isinstance(entry, dict) for entry in plain["log"]):
        raise InputError("the field 'log' must hold dicts")
    if set(plain["accuracy"]) != {"validation", "test"} or not all(
        isinstance(value, float) for value in plain["accuracy"].values()
    ):
        raise InputError("the field 'accuracy' must hold two numbers, validation and test")
    fields = {name: plain[name] for name in _KINDS if name not in ("model", "masks", "parent")}
    masks = unpack(plain["masks"])
    binary = _unpack_binary(plain["masks"], masks)
    for name in binary:
        if name in fields["state_dict"]:
            raise InputError(f"the weight '{name}' is there twice, as a tensor and as signs")
    fields["state_dict"] = {**fields["state_dict"], **binary}
    checkpoint = Checkpoint(
        model=model["name"],
        args=model["args"],
        masks=masks,
        parent=None if parent is None else Parent(**{name: parent[name] for name in _PARENT_KINDS}),
        **fields,
    )
    module = checkpoint.module()
    _check_masks(checkpoint, module)
    checkpoint = replace(checkpoint, groups=_groups(plain.get(GROUPS, {}), module))
    if parent is not None:
        try:
            checkpoint.module(parent=True)
        except InputError as error:
            raise InputError(f"in the dense parent: {error.message}", fix=error.fix) from None
    return checkpoint


def _check_fields(plain: Mapping[str, Any], kinds: Mapping[str, Any], prefix: str) -> None:
    for name in plain:
        if name not in kinds:
            raise InputError(f"there is no field '{prefix}{name}' in this version of the format")
    for name, kind in kinds.items():
        if name not in plain:
            raise InputError(f"the field '{prefix}{name}' is missing")
        if not isinstance(plain[name], kind) or isinstance(plain[name], bool):
            raise InputError(f"the field '{prefix}{name}' has the type {type(plain[name]).__name__}")


def unpack(plain: Mapping[str, Any]) -> Masks:
    """What :func:`pack` made plain; InputError for anything else."""
    masks = {}
    for name, entry in plain.items():
        shape: Any = entry.get("shape") if isinstance(entry, dict) else None
        bits: Any = entry.get("bits") if isinstance(entry, dict) else None
        if (
            not isinstance(name, str)
            or not isinstance(shape, list)
            or not all(type(n) is int and n > 0 for n in shape)
            or not is_stored(bits)
            or bits.dtype != torch.uint8
            or tuple(bits.shape) != (-(-math.prod(shape) // 8),)
        ):
            raise InputError(f"the mask of '{name}' is not a shape and as many bits")
        masks[name] = np.unpackbits(bits.numpy(), count=math.prod(shape)).astype(bool).reshape(shape)
    return masks


def _build(kind: str, args: Mapping[str, Any], state: Mapping[str, Tensor]) -> SpikingNetwork:
    try:
        factory = models.model(kind)
        inspect.signature(factory).bind(**args)
        # No memory for weights yet: a damaged file may ask for any size.
        module = factory(**{**args, "device": "meta"})
    except UsageError as error:
        raise InputError(error.message, fix=error.fix) from None
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        # Torch appends a trace of its C++ functions.
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"the arguments of the model '{kind}' do not fit: {reason}") from None
    expected = module.state_dict()
    for name in (*expected, *state):
        if name not in state:
            raise InputError(f"the tensor '{name}' is missing")
        if name not in expected:
            raise InputError(f"the model '{kind}' has no tensor '{name}'")
        _check_tensor(name, state[name], expected[name])
    module.load_state_dict(dict(state), assign=True)
    return module.eval()


def _check_tensor(name: str, tensor: Any, expected: Tensor) -> None:
    if not is_stored(tensor):
        raise InputError(f"'{name}' must be a tensor whose every element is stored")
    if tensor.shape != expected.shape:
        raise InputError(
            f"the tensor '{name}' has shape {tuple(tensor.shape)}, the model needs {tuple(expected.shape)}"
        )
    if expected.is_floating_point():
        if tensor.dtype not in (torch.float32, torch.float64):
            raise InputError(f"the tensor '{name}' is of type {tensor.dtype}", fix="float32 or float64 is needed")
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"the tensor '{name}' holds NaN or infinity", fix="the training has diverged: lower lr")
    elif tensor.dtype != expected.dtype:
        raise InputError(f"the tensor '{name}' is of type {tensor.dtype}, the model needs {expected.dtype}")
    elif expected.device.type != "meta" and not torch.equal(tensor, expected):
        # The code of a reset mechanism, which follows from the arguments and cannot be trained.
        raise InputError(f"the tensor '{name}' is {tensor.tolist()}, the model needs {expected.tolist()}")


def is_stored(tensor: Any) -> bool:
    """Whether it is a dense tensor in memory; a few bytes of a file, or none, can pose as a tensor of any size."""
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    if tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _check_masks(checkpoint: Checkpoint, module: SpikingNetwork) -> None:
    layers = prunable(module)
    if checkpoint.masks and set(checkpoint.masks) != set(layers):
        raise InputError(f"there are masks for {', '.join(checkpoint.masks)}, but weights {', '.join(layers)}")
    for name, mask in checkpoint.masks.items():
        weight = layers[name].weight.detach().numpy()
        if mask.shape != weight.shape:
            raise InputError(f"the mask of '{name}' has shape {mask.shape}, the weight {weight.shape}")
        if weight[~mask].any():
            raise InputError(f"the weight '{name}' is not zero where its mask prunes it")


def _groups(plain: Mapping[str, Any], module: SpikingNetwork) -> Groups:
    if not plain:
        return {}
    try:
        names = list(layers_of(module).values())
    except UsageError as error:
        raise InputError(f"the field 'groups' is wrong: {error.message}") from None
    if set(plain) != set(names):
        raise InputError(f"there are cores for {', '.join(map(str, plain))}, but weights {', '.join(names)}")
    sizes = {name: len(module.state_dict()[name]) for name in names}
    # No more cores than rows: what a file says must not decide how much memory is taken.
    most = sum(sizes.values())
    for name, group in plain.items():
        if not is_stored(group) or group.dtype != torch.int32 or tuple(group.shape) != (sizes[name],):
            raise InputError(f"the cores of '{name}' are not an int32 for each of its {sizes[name]} rows")
        if bool((group < 0).any()) or bool((group >= most).any()):
            raise InputError(f"the cores of '{name}' are not numbers from 0 to {most - 1}")
    return {name: group.numpy() for name, group in plain.items()}

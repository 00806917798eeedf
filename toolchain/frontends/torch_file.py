"""A ``.pt`` file as people have it -> a torch module: our checkpoint, or a state dict and the code of its model.

A state dict holds tensors and no architecture. That comes from a factory which the user names and which
is imported, never from the file.
"""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnc.errors import InputError, UsageError
from snnc.frontends.notes import Notes
from snnc.frontends.torch_neurons import NEURONS
from snnc.tickets.checkpoint import FORMAT, is_stored

# Nested dicts in which a training checkpoint may keep its state dict.
DEPTH = 3
# What snntorch's versions add to, or leave out of, the state of a neuron: registers, and defaults.
_STATES = ("mem", "syn", "spk")
_DEFAULTS = ("graded_spikes_factor", "reset_mechanism_val")


def is_checkpoint(plain: Any) -> bool:
    """Whether the values of a file are a checkpoint of ours."""
    return isinstance(plain, Mapping) and plain.get("format") == FORMAT


def build(factory: str) -> tuple[nn.Module, Tensor | Sequence[Tensor] | None]:
    """The module that ``package.module:factory`` makes, and an example of its input, if it returns one, too.

    Modules are found as `python -m` finds them, from the current folder on. UsageError where that fails.
    """
    module_name, _, name = factory.partition(":")
    if not module_name or not name:
        raise UsageError(f"'{factory}' is not package.module:factory", fix="for instance --model mynets.braille:make")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        made: Any = importlib.import_module(module_name)
        for part in name.split("."):
            made = getattr(made, part)
        made = made()
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"'{factory}' failed: {type(error).__name__}: {error}", fix="try it in Python") from error
    example = None
    if isinstance(made, tuple) and len(made) == 2:
        made, example = made
    if not isinstance(made, nn.Module):
        raise UsageError(f"'{factory}' returned a {type(made).__name__}, not a torch module")
    return made, example


def fill(module: nn.Module, plain: Any, path: Path, notes: Notes) -> None:
    """Put the state dict somewhere in `plain` into `module`; InputError, naming tensors, where none fits."""
    expected = module.state_dict()
    found = [state for _, state in _states_in(plain, "", 0)]
    if not found:
        raise InputError("it holds no tensors by name", where=str(path), fix="torch.save(module.state_dict(), path)")
    state = max((_named_alike(s, expected) for s in found), key=lambda s: len(expected.keys() & s.keys()))
    _check_names(module, state, expected, path, notes)
    for name, tensor in state.items():
        if name in expected:
            _check_tensor(name, tensor, expected[name], path)
    module.load_state_dict({k: v for k, v in state.items() if k in expected}, strict=False)


def _states_in(plain: Any, name: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dict of tensors in a checkpoint, with its name."""
    if not isinstance(plain, Mapping) or depth > DEPTH:
        return
    tensors = {k: v for k, v in plain.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if tensors:
        yield name, tensors
    for key, value in plain.items():
        yield from _states_in(value, str(key), depth + 1)


def _named_alike(state: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with the prefix taken off that wrappers put in front: DataParallel, torch.compile, Lightning."""
    fits: Counter[str] = Counter()
    for name in state:
        parts = name.split(".", 3)
        for k in range(len(parts)):
            if ".".join(parts[k:]) in expected:
                fits["".join(f"{part}." for part in parts[:k])] += 1
    best = max(fits, key=lambda prefix: (fits[prefix], prefix == "", prefix), default="")
    return {k.removeprefix(best): v for k, v in state.items() if k.startswith(best)} if best else state


def _check_names(
    module: nn.Module, state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, notes: Notes
) -> None:
    neurons = tuple(f"{name}." if name else "" for name, m in module.named_modules() if isinstance(m, NEURONS))

    def of_a_neuron(name: str, endings: tuple[str, ...]) -> bool:
        owner, _, last = name.rpartition(".")
        return last in endings and (f"{owner}." if owner else "") in neurons

    missing = [n for n in expected if n not in state]
    extra = [n for n in state if n not in expected]
    wrong = [n for n in missing if not of_a_neuron(n, _DEFAULTS)]
    wrong += [n for n in extra if not of_a_neuron(n, _STATES + _DEFAULTS)]
    if wrong:
        lack = ", ".join(f"'{n}'" for n in missing[:4]) or "none"
        more = ", ".join(f"'{n}'" for n in extra[:4]) or "none"
        raise InputError(
            f"its tensors are not those of {type(module).__name__}: missing {lack}; not in the model {more}",
            where=str(path),
            fix="name the factory of the model that was saved: --model package.module:factory",
        )
    for name in missing:
        notes.assume(f"'{name}' is not in the file; the model's own value is taken", fix="save it again")


def _check_tensor(name: str, tensor: Tensor, expected: Tensor, path: Path) -> None:
    def refuse(message: str, fix: str = "") -> InputError:
        return InputError(message, where=str(path), fix=fix)

    if not is_stored(tensor):
        raise refuse(f"'{name}' must be a tensor whose every element is stored")
    if tensor.shape != expected.shape:
        raise refuse(
            f"the tensor '{name}' has shape {tuple(tensor.shape)}, the model needs {tuple(expected.shape)}",
            "give the factory the arguments that the model was trained with",
        )
    if tensor.is_floating_point() != expected.is_floating_point() or tensor.is_complex():
        raise refuse(f"the tensor '{name}' is of type {tensor.dtype}, the model needs {expected.dtype}")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise refuse(f"the tensor '{name}' holds NaN or infinity", "the training has diverged: lower lr")

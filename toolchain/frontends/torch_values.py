"""What is known of a tensor while a module runs: where its values come from. And the record of a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Value:
    """Where a tensor came from."""


@dataclass(frozen=True, eq=False)
class FromInput(Value):
    """Picked from input number `number`; `tensor` holds one plus the place of each value in it."""

    number: int
    tensor: Tensor


@dataclass(frozen=True, eq=False)
class Called(Value):
    """What layer `path` made of `source`. shape: without the batch."""

    path: str
    layer: nn.Module
    source: Value
    before: torch.Size


@dataclass(frozen=True, eq=False)
class CalledAtOnce(Value):
    """What a linear layer made of all time steps of the input together: of FromInput with a leading time axis."""

    path: str
    layer: nn.Module
    source: FromInput


@dataclass(frozen=True, eq=False)
class Fired(Value):
    """Output `output` (0: spikes) of population `lineage` at `step`."""

    lineage: int
    step: int
    output: int


@dataclass(frozen=True, eq=False)
class Added(Value):
    """The sum of several values. constant: something was added that did not come from the input."""

    parts: tuple[Value, ...]
    constant: bool = False


@dataclass(frozen=True, eq=False)
class Scaled(Value):
    """A product with a number or a tensor that did not come from the input. shape: of the source, with the batch."""

    source: Value
    factor: Any
    shape: torch.Size


@dataclass(frozen=True, eq=False)
class Flat(Value):
    """The source with the axes start..end of its batch joined. before: its shape."""

    source: Value
    start: int
    end: int
    before: torch.Size


@dataclass(frozen=True, eq=False)
class Many(Value):
    """Several values side by side, as a stack over time. dim: the new axis, or None if they were reduced."""

    parts: tuple[Value, ...]
    dim: int | None


@dataclass(frozen=True, eq=False)
class Constant(Value):
    """Nothing that came from the input; in the first steps it may stand for what is not there yet."""


@dataclass(frozen=True, eq=False)
class Unknown(Value):
    """What function `name` made of something; an error only where it is needed."""

    name: str
    parts: tuple[Value, ...]


@dataclass(eq=False)
class Lineage:
    """One population: a neuron layer, and the calls that share one state.

    inputs: the value that came in at each step. shape: of its input, with the batch. order: of its last call among
    all. spikes: what left it at each step. returned: all that its last call returned. hidden: its state after it.
    """

    path: str
    layer: nn.Module
    shape: torch.Size
    inputs: list[Value] = field(default_factory=list)
    spikes: list[Tensor] = field(default_factory=list)
    order: int = 0
    returned: tuple[Tensor, ...] = ()
    hidden: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class Recording:
    """A run: the populations in the order of their calls, what came out, the inputs and their names.

    calls: how often the module was called; several times, if it computes one step.
    """

    lineages: list[Lineage]
    results: list[Value]
    examples: Sequence[Tensor]
    names: Sequence[str]
    calls: int


def step_of(value: Value) -> int | None:
    """The step at which a value is computed: that of the latest spikes in it, if those are all of one step."""
    steps = {f.step for f in fired_in(value)}
    return steps.pop() if len(steps) == 1 else None


def fired_in(value: Value) -> list[Fired]:
    """All spikes that a value is made of. Iterative: a sum over time is as deep as the run is long."""
    found, seen, todo = [], set[int](), [value]
    while todo:
        current = todo.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        match current:
            case Fired():
                found.append(current)
            case Called() | Scaled() | Flat():
                todo.append(current.source)
            case Added() | Many() | Unknown():
                todo.extend(current.parts)
    return found


def first_of_input(value: Value, number: int) -> int | None:
    """The first place that a value takes from an example, None where it takes nothing."""
    todo = [value]
    while todo:
        current = todo.pop()
        match current:
            case FromInput() if current.number == number:
                return int(current.tensor.flatten()[0]) - 1
            case Called() | Scaled() | Flat():
                todo.append(current.source)
            case Added():
                todo.extend(current.parts)
    return None


def terms(value: Value) -> list[Value]:
    """What is added to make a value; itself, if it is no sum."""
    return [term for part in value.parts for term in terms(part)] if isinstance(value, Added) else [value]


def has_constant(value: Value) -> bool:
    """Whether a constant is added somewhere in a sum."""
    return isinstance(value, Added) and (value.constant or any(map(has_constant, value.parts)))

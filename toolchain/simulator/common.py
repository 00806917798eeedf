"""What executors share: how they read the input and the integer parts of a network."""

from __future__ import annotations

import numpy as np

from snnc.errors import InputError
from snnc.network import GRADED, INTEGER, Network, Population, Projection
from snnc.ops import Conv2d, Linear

QUANTIZE = "quantise the network first (snnc compile)"


def input_of(network: Network) -> Population:
    """The one population that the data feeds; InputError where there is none, or more than one."""
    if len(network.inputs) != 1:
        names = ", ".join(f"'{p.name}'" for p in network.inputs) or "none"
        raise InputError(
            f"one input population can be fed, the network has {len(network.inputs)} ({names})", where=network.name
        )
    return network.inputs[0]


def integer_params(population: Population) -> dict[str, np.ndarray]:
    """Parameters of a population of an integer model as flat int64 arrays.

    InputError for any other model, for parameters that are no integers, for decays outside 0..4096.
    """
    where = f"layer '{population.name}'"
    if population.neuron not in INTEGER:
        raise InputError(f"'{population.neuron}' is not an integer neuron", where=where, fix=QUANTIZE)
    for name, value in population.params.items():
        if value.dtype != np.int32:
            raise InputError(f"{name} is {value.dtype}, not int32", where=where, fix=QUANTIZE)
        if name == "refractory" and value.min() < 0:
            raise InputError(f"refractory counts steps, got {value.min()}", where=where)
        if name == "threshold" and value.min() < 0 and (what := _needs_a_threshold(population)):
            raise InputError(f"neurons that {what} need a threshold of 0 or more, got {value.min()}", where=where)
        if name.endswith("decay") and (value.min() < 0 or value.max() > 4096):
            raise InputError(f"{name} must be 0..4096, got {value.min()}..{value.max()}", where=where)
    return {name: value.ravel().astype(np.int64) for name, value in population.params.items()}


def _needs_a_threshold(population: Population) -> str:
    """What neurons do that is not defined below 0; empty where nothing is."""
    if population.neuron == GRADED:
        return "send values"
    return "reset by subtraction" if population.subtracts else ""


def integer_op(projection: Projection) -> Linear | Conv2d:
    """The one operation of an integer projection; InputError where there is anything else."""
    where = f"projection '{projection.name}'"
    if len(projection.ops) != 1 or not isinstance(projection.ops[0], (Linear, Conv2d)):
        names = ", ".join(type(op).__name__ for op in projection.ops) or "none"
        raise InputError(f"it must hold one Linear or Conv2d, it holds {names}", where=where, fix=QUANTIZE)
    op = projection.ops[0]
    if op.weight.dtype != np.int16:
        raise InputError(f"its weights are {op.weight.dtype}, not int16", where=where, fix=QUANTIZE)
    if op.bias is not None:
        raise InputError("its bias belongs into the neurons of an integer network", where=where, fix=QUANTIZE)
    return op

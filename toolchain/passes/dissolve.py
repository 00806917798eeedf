"""Dissolve: populations that only add disappear.

Where branches meet in front of an operation the frontends put a population of the kind "sum", which a
chip does not have. What leads into it is joined with what leads out of it, path by path: W (a + b) + c
becomes W a + c and W b. A sum that is read out, or that feeds itself, stays; a rule of the target speaks
of it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.compilation import Compilation
from snnc.errors import InputError
from snnc.network import Network, Projection
from snnc.ops import Linear

# More parallel projections than this between two populations become one matrix: sums behind sums would
# double them each time.
PARALLEL = 8


def run(c: Compilation) -> Compilation:
    """Dissolve the sums of the network of `c`."""
    network = dissolve(c.network)
    return replace(c, network=network).found(dissolve={"sums": len(c.network.layers) - len(network.layers)})


def dissolve(network: Network) -> Network:
    """The same network without the sums that can be joined into projections."""
    for population in network.populations:
        into = network.into(population.name)
        looped = any(p.pre == population.name for p in into)
        if population.neuron == "sum" and population.name not in network.outputs and not looped:
            network = _without(network, population.name)
    return network


def _without(network: Network, name: str) -> Network:
    into = network.into(name)
    rest = [p for p in network.projections if name not in (p.pre, p.post)]
    taken = Counter(p.name for p in rest)
    joined: list[Projection] = []
    for after in (p for p in network.projections if p.pre == name):
        for number, before in enumerate(into):
            for projection in _joined(network, before, after, first=number == 0):
                # One pair keeps the name of what leads out, the others are told apart by where they begin.
                wanted = after.name if number == 0 else f"{after.name}-{before.pre}"
                while wanted in taken:
                    wanted += "'"
                taken[wanted] += 1
                joined.append(replace(projection, name=wanted))
    populations = tuple(p for p in network.populations if p.name != name)
    smaller = replace(network, populations=populations, projections=())
    # Delays were whole lags, which hold the step of a loop.
    settled = [replace(p, delay=p.delay - smaller.lag(replace(p, delay=0))) for p in joined]
    return replace(smaller, projections=tuple(_merged(smaller, [*rest, *settled])))


def _joined(network: Network, before: Projection, after: Projection, *, first: bool) -> list[Projection]:
    """`before` and `after` as one projection, `delay` being its whole lag; the bias of `after` counts once."""
    late = network.lag(after)
    lag = network.lag(before) + late
    earlier, adds = any(map(ops.biased, before.ops)), any(map(ops.biased, after.ops))
    without = (*before.ops, *map(ops.unbiased, after.ops))
    start = before.bias_start + late if earlier else after.bias_start
    chain = (*before.ops, *after.ops) if adds and first else without
    joined = replace(before, post=after.post, ops=chain, delay=lag, bits=after.bits or before.bits)
    if adds and first and earlier and start != after.bias_start:
        # Two biases that begin at different steps do not fit into one projection.
        _check_no_delay(after)
        bias = ops.constant(after.ops, network[after.pre].shape)
        alone = bias_alone(before.pre, network[before.pre].size, after, bias)
        return [replace(joined, ops=without, bias_start=start), replace(alone, delay=lag)]
    return [replace(joined, bias_start=start)]


def _check_no_delay(projection: Projection) -> None:
    if any(isinstance(op, ops.Delay) for op in projection.ops):
        raise InputError(
            "biases around a delay in a loop are not joined",
            where=f"projection '{projection.name}'",
            fix="leave out the bias, or the delay",
        )


def bias_alone(pre: str, size: int, like: Projection, bias: np.ndarray) -> Projection:
    """A projection without synapses that adds `bias`, with name, end and start of `like`."""
    nothing = sparse.csr_array((len(bias), size))
    return replace(like, pre=pre, ops=(Linear(nothing, bias),))


def _merged(network: Network, projections: list[Projection]) -> list[Projection]:
    """The projections, many parallel ones of equal delay as one matrix."""
    alike: dict[tuple[str, str, int, int], list[Projection]] = {}
    for p in projections:
        delayed = any(isinstance(op, ops.Delay) for op in p.ops)
        key = (p.pre, p.post, p.delay, p.bias_start) if not delayed else (p.name, "", 0, 0)
        alike.setdefault(key, []).append(p)
    result = []
    for group in alike.values():
        if len(group) <= PARALLEL:
            result += group
            continue
        shape = network[group[0].pre].shape
        total = sparse.csr_array((network[group[0].post].size, math.prod(shape)))
        for p in group:
            matrix, inner = sparse.eye_array(math.prod(shape), format="csr"), shape
            for op in p.ops:
                assert not isinstance(op, ops.Delay)
                matrix = (ops.matrix(op, inner) @ matrix).tocsr()
                inner = op.output_shape(inner)
            total = (total + matrix).tocsr()
        adds = any(ops.biased(op) for p in group for op in p.ops)
        bias = np.sum([ops.constant(p.ops, shape) for p in group], axis=0) if adds else None
        result.append(replace(group[0], ops=(Linear(ops.canonical(total), bias),)))
    order = {p.name: k for k, p in enumerate(projections)}
    return sorted(result, key=lambda p: order[p.name])

"""Dissolve: populations that only add disappear.

Where branches meet in front of an operation the frontends put a population of the kind "sum", which a
chip does not have. What leads into it is joined with what leads out of it, path by path: W (a + b) + c
becomes W a + c and W b. A sum that is read out, or that feeds itself, stays; a rule of the target speaks
of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.compilation import Compilation
from snnc.errors import InputError
from snnc.network import Network, Projection
from snnc.ops import Linear

# Projections of a network; far more than people have, and what a few minutes of the passes behind this one can do.
LARGEST = 1 << 16
# More parallel projections than this between two populations become one matrix: sums behind sums would
# double them each time.
PARALLEL = 4


def run(c: Compilation) -> Compilation:
    """Dissolve the sums of the network of `c`."""
    network = dissolve(c.network)
    return replace(c, network=network).found(dissolve={"sums": len(c.network.layers) - len(network.layers)})


def dissolve(network: Network) -> Network:
    """The same network without the sums that can be joined into projections.

    InputError, naming the sum, where that would take more than :data:`LARGEST` projections.
    """
    links = _Links(network)
    gone = set()
    for population in network.populations:
        name = population.name
        looped = any(p.pre == name for p in links.into[name].values())
        if population.neuron == "sum" and name not in network.outputs and not looped:
            links.join_at(name)
            gone.add(name)
    if not gone:
        return network
    populations = tuple(p for p in network.populations if p.name not in gone)
    return replace(network, populations=populations, projections=tuple(links.all.values()))


class _Links:
    """The projections of a network, by name; and those into and out of each population."""

    def __init__(self, network: Network) -> None:
        self.network = network  # its order and its shapes hold for all projections that come of it
        self.all: dict[str, Projection] = {}
        self.into: defaultdict[str, dict[str, Projection]] = defaultdict(dict)
        self.out: defaultdict[str, dict[str, Projection]] = defaultdict(dict)
        for projection in network.projections:
            self._add(projection)

    def _add(self, projection: Projection) -> None:
        for found in (self.all, self.into[projection.post], self.out[projection.pre]):
            found[projection.name] = projection

    def _remove(self, projection: Projection) -> None:
        for found in (self.all, self.into[projection.post], self.out[projection.pre]):
            del found[projection.name]

    def join_at(self, name: str) -> None:
        """Replace what leads into and out of the sum `name` by what leads past it."""
        into, out = list(self.into[name].values()), list(self.out[name].values())
        if len(self.all) + len(into) * len(out) > LARGEST:
            raise InputError(
                f"{len(into):,} projections are added here for {len(out):,} others, too many to join each with each",
                where=f"layer '{name}'",
                fix="put a neuron in its place",
            )
        for projection in (*into, *out):
            self._remove(projection)
        pairs = set()
        for after in out:
            for number, before in enumerate(into):
                for projection in _joined(self.network, before, after, first=number == 0):
                    # One pair keeps the name of what leads out, the others are told apart by where they begin.
                    wanted = after.name if number == 0 else f"{after.name}-{before.pre}"
                    while wanted in self.all:
                        wanted += "'"
                    # Delays were whole lags, which hold the step of a loop.
                    delay = projection.delay - self.network.lag(replace(projection, delay=0))
                    self._add(replace(projection, name=wanted, delay=delay))
                    pairs.add((projection.pre, projection.post))
        for pre, post in sorted(pairs):
            parallel = [p for p in self.into[post].values() if p.pre == pre]
            if len(parallel) > PARALLEL:
                try:
                    self._merge(parallel)
                except InputError as error:
                    raise InputError(error.message, where=f"layer '{name}'", fix=error.fix) from None

    def _merge(self, parallel: list[Projection]) -> None:
        """Make one matrix of projections that begin, end, and arrive together."""
        alike: defaultdict[tuple[int, int], list[Projection]] = defaultdict(list)
        for projection in parallel:
            if not any(isinstance(op, ops.Delay) for op in projection.ops):
                alike[projection.delay, projection.bias_start].append(projection)
        for group in alike.values():
            if len(group) > PARALLEL:
                for projection in group:
                    self._remove(projection)
                self._add(_added(self.network, group))


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


def _added(network: Network, group: list[Projection]) -> Projection:
    """The projections of a group as one, with the name of the first."""
    shape = network[group[0].pre].shape
    total = sparse.csr_array((network[group[0].post].size, math.prod(shape)))
    for projection in group:
        matrix: sparse.csr_array | None = None
        inner = shape
        for op in projection.ops:
            assert not isinstance(op, ops.Delay)
            step = ops.small_matrix(op, inner)
            matrix = step if matrix is None else ops.product(step, matrix)
            inner = op.output_shape(inner)
        total = total + (sparse.eye_array(math.prod(shape), format="csr") if matrix is None else matrix)
    adds = any(ops.biased(op) for projection in group for op in projection.ops)
    bias = np.sum([ops.constant(projection.ops, shape) for projection in group], axis=0) if adds else None
    return replace(group[0], ops=(Linear(ops.canonical(total), bias),))

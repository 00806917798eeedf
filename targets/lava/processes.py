"""Any integer network as Lava processes: a plan of plain data, from which :mod:`snnc.targets.lava.program` writes.

Time. Lava works as a pipeline: connections deliver one step late. So a population at depth D (``network.depths``)
shows at step t + D of Lava what belongs to step t of the model, and a projection must wait for D(post) - D(pre) + lag
- 1 steps more than its own: none in a chain, some where branches of unlike length meet.

What is not done: a projection that would have to arrive before it is sent (feedback across layers), delays beyond
63, and weights and registers that the chip does not hold. All of it raises InputError here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from snnc.errors import InputError
from snnc.network import ADAPTIVE, GRADED, READ_OUT, Network, Population, Projection
from snnc.ops import Conv2d, Linear, Shape, matrix
from snnc.simulator.common import input_of, integer_op, integer_params
from snnc.targets.lava.chain import NEVER, UNIFORM, check_registers
from snnc.targets.lava.weights import Encoding, encode

MAX_DELAY = 63
"""Steps: the 6 bits of a synapse's delay (``lava.proc.dense.models``)."""

MAX_EXPONENT = 7
"""The largest power of two by which the chip multiplies the weights of a layer (``targets/loihi2.toml``)."""

SPARSE_BELOW = 0.3
"""Density below which synapses are a Sparse process: an index beside each weight takes less than the zeros of Dense,
and Lava's simulation is about as fast."""

LARGEST_VALUE = (1 << 17) - 1
"""A value that a neuron sends is its membrane in units of 2^6, and that has 24 bits with sign."""

WORD = (1 << 31) - 1
"""Lava sums in 32 bits what arrives through a matrix,"""

KERNEL_WORD = (1 << 23) - 1
"""in 24 bits what arrives through a kernel,"""

LIF_INPUT = (1 << 24) - 1
"""and its LIF shifts the sum by 6 within 32 bits, and adds a u of 24."""


@dataclass(frozen=True, eq=False)
class Neurons:
    """One population.

    shape: (channels, rows, columns) where a convolution reads or writes it, else (neurons,); Lava has it reversed.
    late: steps after which it shows what belongs to the first step. registers: by the names of the integer neuron, a
    number where all neurons have the same, else int64 (neurons,). needs: what Lava's LIF cannot do of it; empty where
    it can. early: it may spike before its first step, while the pipeline fills.
    """

    population: Population
    shape: Shape
    late: int
    registers: Mapping[str, int | np.ndarray]
    needs: tuple[str, ...]
    early: bool


@dataclass(frozen=True, eq=False)
class Synapses:
    """One projection.

    op: a kernel where kind is "conv", else a matrix. reads, writes: shapes of its two ends, (channels, rows, columns)
    of a kernel, else (neurons,). delay: steps beyond the one that a connection takes. lag: steps of the model by which
    spikes are late; what is fired so shortly before the end of a sample must not reach the next. values: whether the
    source sends values. pass_early: whether the source may fire too early, see :class:`Neurons`.
    """

    name: str
    pre: str
    post: str
    kind: Literal["dense", "sparse", "conv"]
    op: Linear | Conv2d
    encoding: Encoding
    reads: Shape
    writes: Shape
    delay: int
    lag: int
    values: bool
    pass_early: bool

    @property
    def density(self) -> float:
        """Share of its weights that exist."""
        return self.op.taps / math.prod(self.op.weight.shape)


@dataclass(frozen=True, eq=False)
class Plan:
    """A network as processes.

    feed: the input. shape: of the input, as of :class:`Neurons`. neurons, synapses: in network order, synapses by the
    population that they lead to. outputs: names. largest_input: the largest value of an input at which no sum of
    Lava's overflows; 1 where it can only take spikes.
    """

    name: str
    feed: Population
    shape: Shape
    neurons: tuple[Neurons, ...]
    synapses: tuple[Synapses, ...]
    outputs: tuple[str, ...]
    largest_input: int

    def into(self, name: str) -> tuple[Synapses, ...]:
        """The synapses of population `name`."""
        return tuple(s for s in self.synapses if s.post == name)


def plan(network: Network) -> Plan:
    """The processes of an integer network; InputError, naming layer or projection, where Lava cannot run it."""
    feed = input_of(network)
    if not network.layers:
        raise InputError("the network has no layers besides its input", where=network.name)
    registers = {p.name: integer_params(p) for p in network.layers}
    for population in network.layers:
        check_registers(registers[population.name], f"layer '{population.name}'")
    # Projections without a weight deliver nothing; the network does not count them in depths either.
    chosen = {p.name: _op(network, p) for p in network.projections if integer_op(p).taps}
    late = {p.name: max(0, network.depths[p.name]) for p in network.populations}
    shapes = {p.name: _shape(network, p, chosen) for p in network.populations}
    early = _early(network, registers, chosen, late)

    synapses = tuple(
        _synapses(network, projection, chosen[projection.name], late, early[projection.pre])
        for population in network.layers
        for projection in network.into(population.name)
        if projection.name in chosen
    )
    reach = {p.name: [(s, _row_sum(s)) for s in synapses if s.post == p.name] for p in network.layers}
    neurons = []
    for population in network.layers:
        name = population.name
        held = {key: int(value[0]) if np.all(value == value[0]) else value for key, value in registers[name].items()}
        held.setdefault("threshold", NEVER)
        largest = sum(total * _largest(network, s) for s, total in reach[name])
        needs = _needs(population, held, largest)
        neurons.append(Neurons(population, shapes[name], late[name], held, needs, early[name]))
    return Plan(
        network.name,
        feed,
        shapes[feed.name],
        tuple(neurons),
        synapses,
        tuple(name for name in network.outputs if name != feed.name),
        _largest_input(feed.name, neurons, reach, network),
    )


def _op(network: Network, projection: Projection) -> Linear | Conv2d:
    """Its operation; a kernel that Lava's Conv cannot hold, or not sum up, as a matrix.

    Conv has no exponent, sums in 24 bits, and delayed convolutions read relays, which pass no values.
    """
    op = integer_op(projection)
    if isinstance(op, Linear):
        return op
    values = network[projection.pre].neuron == GRADED
    too_large = values and _kernel_sum(op) * LARGEST_VALUE > KERNEL_WORD
    exponent = encode(op.weight, f"projection '{projection.name}'", exponents=MAX_EXPONENT).exponent
    if exponent > 0 or too_large or (values and _delay(network, projection)):
        return Linear(matrix(op, network[projection.pre].shape))
    return op


def _shape(network: Network, population: Population, chosen: Mapping[str, Linear | Conv2d]) -> Shape:
    """Spatial where a kernel reads it, or else where one writes it."""
    for projection in network.projections:
        op = chosen.get(projection.name)
        if isinstance(op, Conv2d) and projection.pre == population.name:
            return op.images(population.shape)[0]
    for projection in network.into(population.name):
        op = chosen.get(projection.name)
        if isinstance(op, Conv2d):
            return op.images(network[projection.pre].shape)[1]
    return (population.size,)


def _delay(network: Network, projection: Projection) -> int:
    """Steps that a projection waits in Lava beyond the one that every connection takes."""
    pre, post = (max(0, network.depths[name]) for name in (projection.pre, projection.post))
    return post - pre + network.lag(projection) - 1


def _early(
    network: Network,
    registers: Mapping[str, Mapping[str, np.ndarray]],
    chosen: Mapping[str, Linear | Conv2d],
    late: Mapping[str, int],
) -> dict[str, bool]:
    """Which populations may spike while the pipeline fills, for their bias or for what such neurons send them."""
    early = {p.name: late[p.name] > 0 and bool(np.any(registers[p.name]["bias"] > 0)) for p in network.layers}
    early[input_of(network).name] = False
    while True:  # loops are possible: until nothing is added
        reached = {p.post for p in network.projections if p.name in chosen and early[p.pre]}
        added = {name for name in reached if late[name] > 0 and not early[name]}
        if not added:
            return early
        early |= dict.fromkeys(added, True)


def _synapses(
    network: Network, projection: Projection, op: Linear | Conv2d, late: Mapping[str, int], pass_early: bool
) -> Synapses:
    where = f"projection '{projection.name}'"
    delay, lag = _delay(network, projection), network.lag(projection)
    if delay < 0:
        raise InputError(
            f"it leads from '{projection.pre}' (layer {late[projection.pre]}) back to '{projection.post}' (layer "
            f"{late[projection.post]}) within {lag} step{'s' * (lag != 1)}; Lava takes one for every layer on the way",
            where=where,
            fix=f"train with a delay of {projection.delay - delay} steps or more there, or run it with snnc simulate",
        )
    if delay > MAX_DELAY:
        raise InputError(
            f"it must wait for {delay} steps; Lava's synapses hold {MAX_DELAY} at most",
            where=where,
            fix="train with shorter delays, or run it with snnc simulate",
        )
    if isinstance(op, Conv2d):
        kind: Literal["dense", "sparse", "conv"] = "conv"
        encoding = encode(op.weight, where)
        ends: tuple[Shape, Shape] = op.images(network[projection.pre].shape)
    else:
        kind = "sparse" if op.taps < SPARSE_BELOW * math.prod(op.weight.shape) else "dense"
        encoding = encode(op.weight.data, where, exponents=MAX_EXPONENT)
        ends = (int(op.weight.shape[1]),), (int(op.weight.shape[0]),)
    values = network[projection.pre].neuron == GRADED
    made = Synapses(
        projection.name,
        projection.pre,
        projection.post,
        kind,
        op,
        encoding,
        *ends,
        delay,
        lag,
        values,
        pass_early,
    )
    if _row_sum(made, stored=True) * _largest(network, made) > _word(made):
        raise InputError(
            f"the values of '{projection.pre}' reach {LARGEST_VALUE:,}, and their sum may pass the 32 bits of Lava's",
            where=where,
            fix="use fewer or smaller weights there, or run it with snnc simulate",
        )
    return made


def _kernel_sum(op: Conv2d) -> int:
    return int(np.abs(op.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max(initial=0))


def _row_sum(synapses: Synapses, stored: bool = False) -> int:
    """The most that arrives at one neuron if every source sends 1; in units of what is stored, if asked."""
    op = synapses.op
    if isinstance(op, Conv2d):
        return _kernel_sum(op)
    total = int(abs(op.weight.astype(np.int64)).sum(axis=1).max(initial=0))
    return total << 1 if stored and synapses.encoding.exponent < 0 else total


def _word(synapses: Synapses) -> int:
    return KERNEL_WORD if synapses.kind == "conv" else WORD


def _largest(network: Network, synapses: Synapses) -> int:
    return LARGEST_VALUE if network[synapses.pre].neuron == GRADED else 1


def _largest_input(
    feed: str, neurons: list[Neurons], reach: Mapping[str, list[tuple[Synapses, int]]], network: Network
) -> int:
    """The largest k such that an input of k, at every place, overflows nothing."""
    limits = [LARGEST_VALUE]
    for made in neurons:
        fed = [(s, total) for s, total in reach[made.population.name] if s.pre == feed]
        for synapses, _ in fed:
            if synapses.kind == "conv" and synapses.delay:
                return 1
            limits.append(_word(synapses) // max(1, _row_sum(synapses, stored=True)))
        if fed and not made.needs:
            others = sum(t * _largest(network, s) for s, t in reach[made.population.name] if s.pre != feed)
            limits.append((LIF_INPUT - others) // max(1, sum(total for _, total in fed)))
    return max(1, min(limits))


def _needs(population: Population, registers: Mapping[str, int | np.ndarray], largest: int) -> tuple[str, ...]:
    """What the neurons do that Lava's LIF does not, in words."""
    found = [f"{name} differs between neurons" for name in UNIFORM if isinstance(registers[name], np.ndarray)]
    if population.neuron == ADAPTIVE:
        found.append("a second compartment")
    if population.neuron == GRADED:
        found.append("spikes that carry values")
    if np.any(registers.get("refractory", 0)):
        found.append("rest after a spike")
    if population.semantics.reset == "subtract" and population.neuron != READ_OUT:
        found.append("reset by subtraction")
    if largest > LIF_INPUT:
        found.append("sums of more than 24 bits")
    return tuple(found)

"""Any integer network as Lava processes: a plan of plain data, from which :mod:`snnc.targets.lava.program` writes.

Time. Lava works as a pipeline: connections deliver one step late. So a population at depth D, the longest way to it
from the input or from neurons that nothing but a bias drives, shows at step t + D of Lava what belongs to step t of the
model. A projection must wait for D(post) - D(pre) + lag - 1 steps beyond the one that it takes: for none in a chain,
for some where branches of unlike length meet.

What is not done: a projection that would have to arrive before it is sent (feedback across layers), delays beyond
63, and weights and registers that the chip does not hold. All of it raises InputError here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from snnc.errors import InputError
from snnc.network import ADAPTIVE, GRADED, READ_OUT, Network, Population, Projection
from snnc.ops import Conv2d, Linear, Shape, matrix
from snnc.simulator.common import input_of, integer_op, integer_params
from snnc.targets.lava.chain import NEVER, UNIFORM, check_registers
from snnc.targets.lava.sums import LARGEST_VALUE, LIF_INPUT, row_sum, split, word
from snnc.targets.lava.weights import Encoding, encode

MAX_DELAY = 63
"""Steps: the 6 bits of a synapse's delay (``lava.proc.dense.models``)."""

MAX_EXPONENT = 7
"""The largest power of two by which the chip multiplies the weights of a layer (``targets/loihi2.toml``)."""

SPARSE_BELOW = 0.3
"""Density below which synapses are a Sparse process: an index beside each weight takes less than the zeros of Dense,
and Lava's simulation is about as fast."""


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
    def largest(self) -> int:
        """The most that a spike of the source counts; of the input, that is not known here."""
        return LARGEST_VALUE if self.values else 1

    @property
    def density(self) -> float:
        """Share of its weights that exist."""
        return self.op.taps / math.prod(self.op.weight.shape)


@dataclass(frozen=True, eq=False)
class Plan:
    """A network as processes.

    feed: the input. shape: of the input, as of :class:`Neurons`. neurons, synapses: in network order, synapses by the
    population that they lead to; last come some without weights, for what nothing joins with the input. outputs: names.
    largest_input: the largest value of an input at which no sum of Lava's overflows; 1 where it can only take spikes.
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
    late = _late(network)
    # Projections without a weight deliver nothing.
    chosen = {p.name: _op(network, p, late) for p in network.projections if integer_op(p).taps}
    shapes = {p.name: _shape(network, p, chosen) for p in network.populations}
    early = _early(network, registers, chosen, late)

    synapses = tuple(
        part
        for population in network.layers
        for projection in network.into(population.name)
        if projection.name in chosen
        for part in _synapses(network, projection, chosen[projection.name], late, early[projection.pre])
    )
    synapses += tuple(_tie(feed, shapes[feed.name], network[name]) for name in _apart(network, chosen))
    reach = {p.name: [(s, row_sum(s.op)) for s in synapses if s.post == p.name] for p in network.layers}
    # What arrives at most, of the input and of all others.
    inner = {name: sum(t * s.largest for s, t in found if s.pre != feed.name) for name, found in reach.items()}
    outer = {name: sum(t for s, t in found if s.pre == feed.name) for name, found in reach.items()}
    neurons = []
    for population in network.layers:
        name = population.name
        held = {key: int(value[0]) if np.all(value == value[0]) else value for key, value in registers[name].items()}
        held.setdefault("threshold", NEVER)
        needs = _needs(population, held, inner[name] + outer[name])
        neurons.append(Neurons(population, shapes[name], late[name], held, needs, early[name]))
    return Plan(
        network.name,
        feed,
        shapes[feed.name],
        tuple(neurons),
        synapses,
        tuple(name for name in network.outputs if name != feed.name),
        _largest_input(feed.name, neurons, reach, inner),
    )


def _late(network: Network) -> dict[str, int]:
    """Depth of each population: projections on the longest forward way to it, whatever it starts from."""
    late: dict[str, int] = {}
    for population in network.populations:
        forward = [p for p in network.into(population.name) if not network.backward(p) and integer_op(p).taps]
        late[population.name] = max((1 + late[p.pre] for p in forward), default=0)
    return late


def _op(network: Network, projection: Projection, late: Mapping[str, int]) -> Linear | Conv2d:
    """Its operation; a kernel that Lava's Conv cannot hold, or not sum up, as a matrix.

    Conv has no exponent, sums in 24 bits, and delayed convolutions read relays, which pass no values.
    """
    op = integer_op(projection)
    if isinstance(op, Linear):
        return op
    values = network[projection.pre].neuron == GRADED
    too_large = values and row_sum(op) * LARGEST_VALUE > word(op)
    exponent = encode(op.weight, f"projection '{projection.name}'", exponents=MAX_EXPONENT).exponent
    if exponent > 0 or too_large or (values and _delay(network, projection, late)):
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


def _delay(network: Network, projection: Projection, late: Mapping[str, int]) -> int:
    """Steps that a projection waits in Lava beyond the one that every connection takes."""
    return late[projection.post] - late[projection.pre] + network.lag(projection) - 1


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
) -> list[Synapses]:
    """The processes of a projection: one, or several where the sum of values would be too large for one."""
    where = f"projection '{projection.name}'"
    delay, lag = _delay(network, projection, late), network.lag(projection)
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
    encoding = encode(
        op.weight if isinstance(op, Conv2d) else op.weight.data,
        where,
        exponents=0 if isinstance(op, Conv2d) else MAX_EXPONENT,
    )
    values = network[projection.pre].neuron == GRADED
    parts = split(op, encoding, LARGEST_VALUE if values else 1, where)
    made = []
    for k, part in enumerate(parts, start=1):
        name = projection.name if len(parts) == 1 else f"{projection.name}, part {k} of {len(parts)}"
        if isinstance(part, Conv2d):
            kind: Literal["dense", "sparse", "conv"] = "conv"
            ends: tuple[Shape, Shape] = part.images(network[projection.pre].shape)
        else:
            kind = "sparse" if part.taps < SPARSE_BELOW * math.prod(part.weight.shape) else "dense"
            ends = (int(part.weight.shape[1]),), (int(part.weight.shape[0]),)
        who = (name, projection.pre, projection.post)
        made.append(Synapses(*who, kind, part, encoding, *ends, delay, lag, values, pass_early))
    return made


def _apart(network: Network, chosen: Mapping[str, Linear | Conv2d]) -> list[str]:
    """The first population of each part of the network that no synapses join with the input."""
    root = {p.name: p.name for p in network.populations}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for projection in network.projections:
        if projection.name in chosen:
            root[find(projection.post)] = find(projection.pre)
    seen = {find(input_of(network).name)}
    first = []
    for population in network.layers:
        if find(population.name) not in seen:
            seen.add(find(population.name))
            first.append(population.name)
    return first


def _tie(feed: Population, shape: Shape, population: Population) -> Synapses:
    """Synapses without a weight: Lava runs what is connected, and nothing else."""
    empty = Linear(sparse.csr_array((population.size, math.prod(shape)), dtype=np.int16))
    ends: tuple[Shape, Shape] = (math.prod(shape),), (population.size,)
    name = f"{feed.name} to {population.name}"
    return Synapses(
        name, feed.name, population.name, "sparse", empty, encode(empty.weight.data, ""), *ends, 0, 0, False, False
    )


def _largest_input(
    feed: str, neurons: list[Neurons], reach: Mapping[str, list[tuple[Synapses, int]]], others: Mapping[str, int]
) -> int:
    """The largest k such that an input of k, at every place, overflows nothing. others: the most that comes besides."""
    limits = [LARGEST_VALUE]
    for made in neurons:
        name = made.population.name
        fed = [(s, total) for s, total in reach[name] if s.pre == feed]
        for synapses, _ in fed:
            if synapses.kind == "conv" and synapses.delay:
                return 1
            limits.append(word(synapses.op) // max(1, row_sum(synapses.op, synapses.encoding)))
        if fed and not made.needs:
            limits.append((LIF_INPUT - others[name]) // max(1, sum(total for _, total in fed)))
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

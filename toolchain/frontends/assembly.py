"""A graph of parts -> populations and projections.

Chains of operations between populations become projections. Values that arrive at one place are
added: where several edges end in an operation, or an output reads something that is no neuron, a population of
the kind "sum" stands in front.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from snnc.errors import InputError
from snnc.frontends.graph import Graph, Input, Neuron, Output, Wire
from snnc.network import Network, Population, Projection
from snnc.ops import Conv1d, Conv2d, Delay, Flatten, Linear, Op, Pool2d, Scale, Shape, biased, unbiased

# Neurons of a network, and values between two operations: bounds what a small file can make us allocate.
LARGEST = 1 << 24

# When a bias in a loop is added: in every step; not in step 0, when nothing has come round yet; or never.
LoopBias = Literal["always", "late", "never"]


@dataclass(frozen=True)
class Labels:
    """Names and order that a file of ours states.

    populations: nodes in forward order. outputs: those that are read out, in order. projections: (name, bits,
    bias_start), in the order of the edges that end in populations.
    """

    populations: Sequence[str]
    outputs: Sequence[str]
    projections: Sequence[tuple[str, int | None, int]]


def build(
    graph: Graph, *, dt: float, name: str, labels: Labels | None = None, loop_bias: LoopBias = "always"
) -> Network:
    """The network of a graph that has been checked; InputError, naming the node, where shapes do not fit.

    loop_bias: what becomes of the biases of operations in a projection that closes a loop.
    """
    return _Assembly(graph, labels, loop_bias).network(dt, name)


@dataclass(frozen=True, eq=False)
class _Flow:
    """What leaves a node: of `shape`; through `op` of `vertex` from what the flow `before` brings, if any."""

    vertex: str
    shape: Shape
    before: _Flow | None = None

    @property
    def start(self) -> str:
        """The population it comes from."""
        flow = self
        while flow.before is not None:
            flow = flow.before
        return flow.vertex

    def passed(self) -> list[str]:
        """The operations on the way, in order."""
        nodes, flow = [], self
        while flow.before is not None:
            nodes.append(flow.vertex)
            flow = flow.before
        return nodes[::-1]


@dataclass(eq=False)
class _Assembly:
    graph: Graph
    labels: Labels | None
    loop_bias: LoopBias
    flows: dict[str, _Flow] = field(default_factory=dict)
    populations: dict[str, Population] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    operations: dict[str, Op] = field(default_factory=dict)
    size: int = 0

    def network(self, dt: float, name: str) -> Network:
        for node in self.graph.search:
            self._visit(node)
        for pre, post in self.graph.edges:  # those that were not known when a node was visited
            self._fits(post, self.flows[pre])
        order = self._order()
        projections = self._projections()
        rank = {self.populations[node].name: k for k, node in enumerate(order)}
        if self.labels is None:
            # The edges of other writers come in any order.
            projections = tuple(sorted(projections, key=lambda p: rank[p.post]))
        network = Network(
            populations=tuple(self.populations[node] for node in order),
            projections=projections,
            outputs=tuple(self.populations[node].name for node in self._read_out()),
            dt=dt,
            name=name,
        )
        if self.labels is not None:
            self._check_order(network)
        return replace(network, projections=tuple(self._closing(network, p) for p in network.projections))

    def _order(self) -> list[str]:
        if self.labels is None:
            return [node for node in self.graph.order if node in self.populations]
        order = list(self.labels.populations)
        if set(order) != set(self.populations):
            raise InputError("the metadata list other populations than the graph has", where=self.graph.where)
        return order

    def _read_out(self) -> Sequence[str]:
        if self.labels is None:
            return self.outputs
        if sorted(self.labels.outputs) != sorted(self.outputs):
            raise InputError("the metadata list other outputs than the graph has", where=self.graph.where)
        return self.labels.outputs

    def _check_order(self, network: Network) -> None:
        """Only a projection that closes a loop may lead back."""
        nodes = {p.name: n for n, p in self.populations.items()}
        for projection in network.projections:
            ends = {nodes[projection.pre], nodes[projection.post]}
            if network.backward(projection) and not ends <= self.graph.looped:
                raise InputError("the metadata do not order the populations forward", where=self.graph.where)

    @cached_property
    def titles(self) -> set[str]:
        """Names that populations have or will have."""
        parts = Input | Neuron
        return {v.title for v in self.graph.vertices.values() if isinstance(v.part, parts)}

    # Nodes, in order

    def _visit(self, name: str) -> None:
        vertex = self.graph.vertices[name]
        part = vertex.part
        sources = self.graph.sources[name]
        feeds = [self.flows[s] for s in sources if s in self.flows]  # the rest closes a loop
        if isinstance(part, Input):
            self._add(name, Population(vertex.title, part.shape, "input"))
        elif isinstance(part, Neuron):
            self._neuron(name, part, feeds)
        elif isinstance(part, Output):
            self._output(name, part, feeds, alone=len(sources) == 1)
        elif len(sources) > 1:
            # A sum, then the operation on it.
            self._sum(name, feeds, f"{vertex.title}.sum" if not isinstance(part, Wire) else vertex.title)
            if not isinstance(part, Wire):
                self._operation(name, part, self.flows[name])
        elif isinstance(part, Wire):
            self._same_shape(name, feeds[0], part.shape or feeds[0].shape)
            self.flows[name] = feeds[0]
        else:
            self._operation(name, part, feeds[0])

    def _neuron(self, name: str, part: Neuron, feeds: list[_Flow]) -> None:
        # 0-d parameters hold for all neurons; what arrives then says how many these are.
        shape = next((v.shape for v in part.params.values() if v.ndim), feeds[0].shape)
        for feed in feeds:
            self._same_shape(name, feed, shape)
        self._bounded(name, math.prod(shape))
        params = {k: np.broadcast_to(v, shape) for k, v in part.params.items()}  # views: one value takes no memory
        vertex = self.graph.vertices[name]
        population = Population(vertex.title, shape, part.neuron, params, part.semantics)
        try:
            check_neuron(population)
        except InputError as error:
            raise vertex.error(error.message, error.fix) from None
        self._add(name, population)

    def _output(self, name: str, part: Output, feeds: list[_Flow], *, alone: bool) -> None:
        shape = part.shape or feeds[0].shape
        for feed in feeds:
            self._same_shape(name, feed, shape)
        if alone and feeds[0].before is None:
            node = feeds[0].vertex
            if node in self.outputs:
                raise self.graph.vertices[name].error(f"'{node}' is read out twice", "remove one of the two")
            self.outputs.append(node)
        else:
            self._sum(name, feeds, self.graph.vertices[name].title)
            self.outputs.append(name)

    def _sum(self, name: str, feeds: list[_Flow], title: str) -> None:
        for feed in feeds:
            self._same_shape(name, feed, feeds[0].shape)
        while title in self.titles:
            title += "'"
        self.titles.add(title)
        self._add(name, Population(title, feeds[0].shape, "sum"))

    def _operation(self, name: str, op: Op, feed: _Flow) -> None:
        vertex = self.graph.vertices[name]
        if vertex.accept is not None:
            vertex.accept(feed.shape)
        op = self.operations[name] = _spread(op, feed.shape)
        try:
            shape = fit(op, feed.shape)
        except InputError as error:
            raise vertex.error(error.message, error.fix) from None
        self._bounded(name, math.prod(shape))
        self.flows[name] = _Flow(name, shape, feed)

    def _fits(self, post: str, feed: _Flow) -> None:
        if post in self.populations:
            self._same_shape(post, feed, self.populations[post].shape)

    def _add(self, name: str, population: Population) -> None:
        self.size += population.size
        self._bounded(name, self.size)
        self.populations[name] = population
        self.flows[name] = _Flow(name, population.shape)

    def _bounded(self, name: str, count: int) -> None:
        if count > LARGEST:
            raise self.graph.vertices[name].error(f"the network has more than {LARGEST:,} neurons here")

    def _same_shape(self, name: str, feed: _Flow, shape: Shape) -> None:
        if feed.shape != shape:
            raise self.graph.vertices[name].error(f"it has shape {shape}, but '{feed.vertex}' delivers {feed.shape}")

    # Projections

    def _projections(self) -> tuple[Projection, ...]:
        ends = [(self.flows[pre], post) for pre, post in self.graph.edges if post in self.populations]
        # An operation in front of which a sum stands reads that sum; the edges into it end there.
        labels = self.labels.projections if self.labels else [(name, None, 0) for name in self._names(ends)]
        if len(labels) != len(ends):
            raise InputError(
                f"the metadata name {len(labels)} projections, the graph has {len(ends)}", where=self.graph.where
            )
        return tuple(
            _projection(
                name,
                self.populations[flow.start].name,
                self.populations[post].name,
                self._ops(flow),
                bits,
                bias_start,
            )
            for (flow, post), (name, bits, bias_start) in zip(ends, labels, strict=True)
        )

    def _ops(self, flow: _Flow) -> Iterator[Op]:
        for node in flow.passed():
            vertex = self.graph.vertices[node]
            if not vertex.silent:
                yield self.operations[node]

    def _names(self, ends: Sequence[tuple[_Flow, str]]) -> list[str]:
        """A projection is named after its last node with weights, else after its ends."""
        names: dict[str, None] = {}
        for flow, post in ends:
            weighted = [n for n in flow.passed() if isinstance(self.graph.vertices[n].part, Linear | Conv1d | Conv2d)]
            name = weighted[-1] if weighted else f"{flow.start}-{post}"
            # A node that feeds several neurons belongs to several projections.
            name = f"{name}-{post}" if name in names else name
            while name in names:
                name += "'"
            names[name] = None
        return list(names)

    def _closing(self, network: Network, projection: Projection) -> Projection:
        """A projection that closes a loop is one step late by its place in the order; its delays count from there."""
        if not network.backward(projection):
            return projection
        chain = list(projection.ops)
        delays = [(k, op) for k, op in enumerate(chain) if isinstance(op, Delay)]
        if projection.delay:
            projection = replace(projection, delay=projection.delay - 1)
        elif delays:
            whole = [entry for entry in delays if np.all(entry[1].steps >= 1)]
            k, late = (whole or delays)[0]
            chain[k] = Delay(np.maximum(late.steps, 1) - 1)
        start = projection.bias_start
        if self.loop_bias == "late" and not start and any(map(biased, chain)):
            start = 1
        if self.loop_bias == "never":
            chain = list(map(unbiased, chain))
        return replace(projection, ops=tuple(chain), bias_start=start)


def _projection(name: str, pre: str, post: str, ops: Iterator[Op], bits: int | None, bias_start: int) -> Projection:
    """A projection whose uniform delays in front of all biases are counted in its `delay`."""
    delay, adds = 0, False
    kept: list[Op] = []
    for op in ops:
        if isinstance(op, Delay) and not adds and np.all(op.steps == op.steps.flat[0]):
            delay += int(op.steps.flat[0])
            continue
        adds = adds or biased(op)
        kept.append(op)
    return Projection(name, pre, post, tuple(kept), delay, bits, bias_start)


def _spread(op: Op, shape: Shape) -> Op:
    """A scale or delay that holds for all values alike, for values of `shape`."""
    if isinstance(op, Scale) and not op.scale.ndim:
        return Scale(np.full(shape, op.scale))
    if isinstance(op, Delay) and not op.steps.ndim:
        return Delay(np.full(shape, op.steps))
    return op


def fit(op: Op, shape: Shape) -> Shape:
    """Shape after `op` on values of `shape` by the rules of NIR and torch, or InputError.

    Stricter than :func:`snnc.ops.output_shape`: values are flattened only where a Flatten says so.
    """
    if isinstance(op, Linear) and len(shape) != 1 + len(op.lead):
        raise InputError(f"a linear node takes a vector but receives shape {shape}", fix="put a Flatten before it")
    if isinstance(op, Flatten):
        rank = len(shape)
        if not (-rank <= op.start < rank and -rank <= op.end < rank) or op.start % rank > op.end % rank:
            raise InputError(f"axes {op.start} to {op.end} do not exist in shape {shape}")
    if isinstance(op, Pool2d) and len(shape) == 3:
        if op.kernel[0] * op.kernel[1] > LARGEST:
            raise InputError(f"a window of {op.kernel[0]} x {op.kernel[1]} holds more than {LARGEST:,} values")
        for size, kernel, padding in zip(shape[1:], op.kernel, op.padding, strict=True):
            if padding > kernel // 2 or kernel > size + 2 * padding:
                raise InputError(f"a window of {kernel} with padding {padding} does not suit {size} rows or columns")
    return op.output_shape(shape)


def check_neuron(population: Population) -> None:
    """InputError where a reset cannot be what it is called, or leaves the membrane above the threshold."""
    if "v_threshold" not in population.params:
        return
    where = f"layer '{population.name}'"
    v_reset, threshold = population.params["v_reset"], population.params["v_threshold"]
    reset = population.semantics.reset
    if reset == "zero" and np.any(v_reset):
        raise InputError("reset 'zero' contradicts its v_reset", where=where, fix="use reset 'value'")
    if not np.all(threshold > (v_reset if reset == "value" else 0)):
        raise InputError("v_threshold is not above the reset: such a neuron never stops spiking", where=where)

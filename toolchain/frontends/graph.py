"""A graph of parts, as files and modules hold it -> populations and projections.

Every frontend turns its nodes into parts and its connections into edges; the rest is the same for
all. Chains of operations between populations become projections. Values that arrive at one place
are added: where several edges end in an operation, or an output reads something that is no
neuron, a population of the kind "sum" stands in front.

Loops. A loop holds a node with memory, or it has no meaning. Information flows in the order of a
depth-first search from the inputs; an edge back to a node on its own path delivers one step
later, as every framework does it. In a loop that is entered in one place this is the edge back
to that place, however one searches. A loop with several entries leaves it open which of its edges is
the late one; then the names decide, and the choice is reported. A loop with a Delay of its own
is as late as that says, and not a step more: the order begins anew behind the Delay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Literal

import numpy as np
from scipy import sparse

from snnc.errors import InputError
from snnc.frontends.dominators import Dominators
from snnc.network import USUAL, Network, Population, Projection, Semantics
from snnc.ops import Conv1d, Conv2d, Delay, Flatten, Linear, Op, Pool2d, Scale, Shape, biased, unbiased

# Neurons of a network, and values between two operations: bounds what a small file can make us allocate.
LARGEST = 1 << 24
# Nodes and edges: ten times those of the deepest networks that people train.
NODES = 1 << 11
EDGES = 1 << 13

Edge = tuple[str, str]

# When a bias in a loop is added: in every step; not in step 0, when nothing has come round yet; or never.
LoopBias = Literal["always", "late", "never"]


@dataclass(frozen=True)
class Input:
    """Spikes come in here."""

    shape: Shape


@dataclass(frozen=True)
class Output:
    """Something is read out here; shape None where that is left open."""

    shape: Shape | None = None


@dataclass(frozen=True)
class Wire:
    """Passes on what it gets: where an edge enters or leaves a nested graph. shape: as for an output."""

    shape: Shape | None = None


@dataclass(frozen=True, eq=False)
class Neuron:
    """neuron: a key of NEURONS. params: float64, all of one shape, or 0-d for all neurons alike."""

    neuron: str
    params: Mapping[str, np.ndarray]
    semantics: Semantics = USUAL


Part = Input | Output | Wire | Neuron | Op


@dataclass(frozen=True, eq=False)
class Vertex:
    """A part in its place.

    fail: makes the InputError that names this node: (message, field, fix). accept: raises it where the node
    states another input shape than it receives. title: name of the population, if it becomes one.
    silent: an operation that is there for a file format only; it changes nothing and is left out.
    """

    part: Part
    fail: Callable[[str, str, str], InputError]
    title: str
    accept: Callable[[Shape], None] | None = None
    silent: bool = False

    def error(self, message: str, fix: str = "") -> InputError:
        return self.fail(message, "", fix)


@dataclass(frozen=True, eq=False)
class Graph:
    """Parts joined by edges (from, to), each edge once. where: of the whole, for messages.

    given: all nodes in an order that is known, as that in which a program computes them.
    """

    vertices: Mapping[str, Vertex]
    edges: Sequence[Edge]
    where: str
    given: tuple[str, ...] | None = None

    @cached_property
    def sources(self) -> dict[str, list[str]]:
        """Where the edges into each node come from, in the order of the edges."""
        result: dict[str, list[str]] = {name: [] for name in self.vertices}
        for pre, post in self.edges:
            result[post].append(pre)
        return result

    @cached_property
    def targets(self) -> dict[str, list[str]]:
        """Where the edges out of each node lead, sorted."""
        result: dict[str, list[str]] = {name: [] for name in self.vertices}
        for pre, post in sorted(self.edges):
            result[pre].append(post)
        return result

    def check(self) -> None:
        """InputError for a node that no input reaches or that reaches no output, and for a loop without memory."""
        inputs = [n for n, v in self.vertices.items() if isinstance(v.part, Input)]
        outputs = [n for n, v in self.vertices.items() if isinstance(v.part, Output)]
        for kind, count, most in (("nodes", len(self.vertices), NODES), ("edges", len(self.edges), EDGES)):
            if count > most:
                raise InputError(f"the graph has {count:,} {kind}; at most {most:,} are read", where=self.where)
        for kind, found in (("Input", inputs), ("Output", outputs)):
            if not found:
                raise InputError(f"the graph has no {kind}", where=self.where, fix="export the network again")
        for name in inputs:
            if self.sources[name]:
                raise self.vertices[name].error("an Input cannot receive edges")
        for name in outputs:
            if self.targets[name]:
                raise self.vertices[name].error("an Output cannot have edges that leave it")
        fed, read = _reached(inputs, self.targets), _reached(outputs, self.sources)
        for name, vertex in self.vertices.items():
            if name not in fed:
                raise vertex.error("nothing leads to it", "join it to an Input, or remove it")
            if name not in read:
                raise vertex.error("it leads nowhere", "join it to an Output, or remove it")
        self._check_loops()

    def _check_loops(self) -> None:
        def instant(name: str) -> bool:
            part = self.vertices[name].part
            if isinstance(part, Delay):
                return not bool(np.all(part.steps >= 1))
            return not isinstance(part, Neuron) or part.neuron in ("threshold", "sum")

        sorter: TopologicalSorter[str] = TopologicalSorter()
        for pre, post in self.edges:
            if instant(pre) and instant(post):
                sorter.add(post, pre)
        try:
            sorter.prepare()
        except CycleError as error:
            loop = " -> ".join(f"'{n}'" for n in error.args[1][:8])
            raise InputError(
                f"the nodes {loop} form a loop without memory: its values depend on themselves",
                where=self.where,
                fix="put a neuron or a Delay of at least one step into the loop",
            ) from None

    @cached_property
    def search(self) -> tuple[str, ...]:
        """All nodes in the order of the search from the inputs: each but an input after one that feeds it."""
        return self.given if self.given is not None else self._sorted(frozenset())

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All nodes, such that the edges against this order are those that close a loop."""
        return self.search if self.given is not None or not self.delayed else self._sorted(self.delayed)

    def _sorted(self, without: Collection[Edge]) -> tuple[str, ...]:
        """Depth-first search from the inputs that does not follow some edges, and from their ends where it must."""
        seen: set[str] = set()
        done: list[str] = []
        inputs = sorted(n for n, v in self.vertices.items() if isinstance(v.part, Input))
        for start in (*inputs, *sorted({post for _, post in without})):
            if start in seen:
                continue
            stack = [(start, iter(self.targets[start]))]
            seen.add(start)
            while stack:
                name, following = stack[-1]
                for post in following:
                    if post not in seen and (name, post) not in without:
                        seen.add(post)
                        stack.append((post, iter(self.targets[post])))
                        break
                else:
                    done.append(name)
                    stack.pop()
        return tuple(reversed(done))

    @cached_property
    def delayed(self) -> frozenset[Edge]:
        """Edges of loops over which all comes late by a Delay, to where something is added or remembered."""
        found: set[Edge] = set()
        for name, vertex in self.vertices.items():
            if not (isinstance(vertex.part, Delay) and name in self.looped and np.all(vertex.part.steps >= 1)):
                continue
            todo = [name]
            while todo:
                pre = todo.pop()
                for post in self.targets[pre]:
                    if self.loops[post] != self.loops[name]:
                        continue
                    if isinstance(self.vertices[post].part, Neuron) or len(self.sources[post]) > 1:
                        found.add((pre, post))
                    else:
                        todo.append(post)
        return frozenset(found)

    @cached_property
    def open_choices(self) -> list[Edge]:
        """Late edges of loops with several entries, where another edge could as well be the late one.

        An edge closes a loop with one entry if its end dominates its start: if every path from an input to the
        start passes the end.
        """
        after = {name: k for k, name in enumerate(self.order)}
        late = [edge for edge in self.edges if after[edge[0]] >= after[edge[1]] and edge not in self.delayed]
        if not late:
            return []
        inputs = sorted(n for n, v in self.vertices.items() if isinstance(v.part, Input))
        known = Dominators(self.targets, inputs)
        return [(pre, post) for pre, post in late if not known.dominates(post, pre)]

    @cached_property
    def looped(self) -> set[str]:
        """The nodes that lie on a loop."""
        size = Counter(self.loops.values())
        return {n for n, k in self.loops.items() if size[k] > 1} | {a for a, b in self.edges if a == b}

    @cached_property
    def loops(self) -> dict[str, int]:
        """A number for each node, the same for nodes that reach each other."""
        names = list(self.vertices)
        number = {name: k for k, name in enumerate(names)}
        ends = np.array([(number[a], number[b]) for a, b in self.edges]).reshape(-1, 2)
        links = sparse.coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
        _, member = sparse.csgraph.connected_components(links, connection="strong")
        return dict(zip(names, member.tolist(), strict=True))


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


def _reached(starts: Sequence[str], following: Mapping[str, Sequence[str]]) -> set[str]:
    seen, todo = set(starts), list(starts)
    while todo:
        for name in following[todo.pop()]:
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return seen


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
        for size, kernel, padding in zip(shape[1:], op.kernel, op.padding, strict=True):
            if padding > min(kernel // 2, size) or kernel > size + 2 * padding:
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

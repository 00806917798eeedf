"""A graph of parts, as files and modules hold it, and the order in which information flows through it.

Every frontend turns its nodes into parts and its connections into edges; :mod:`snnc.frontends.assembly`
makes populations and projections of them.

Loops. A loop holds a node with memory, or it has no meaning. Information flows in the order of a
depth-first search from the inputs; an edge back to a node on its own path delivers one step
later, as every framework does it. In a loop that is entered in one place this is the edge back
to that place, however one searches. A loop with several entries leaves it open which of its edges is
the late one; then the names decide, and the choice is reported. A loop with a Delay of its own
is as late as that says, and not a step more: the order begins anew behind the Delay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

import numpy as np
from scipy import sparse

from snnc.errors import InputError
from snnc.frontends.dominators import Dominators
from snnc.network import USUAL, Semantics
from snnc.ops import Delay, Op, Shape

# Nodes and edges: ten times those of the deepest networks that people train.
NODES = 1 << 11
EDGES = 1 << 13

Edge = tuple[str, str]


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
        try:
            TopologicalSorter(self.sources).prepare()
        except CycleError:
            pass
        else:
            return number  # without scipy.sparse.csgraph, which is slow to import
        ends = np.array([(number[a], number[b]) for a, b in self.edges]).reshape(-1, 2)
        links = sparse.coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
        _, member = sparse.csgraph.connected_components(links, connection="strong")
        return dict(zip(names, member.tolist(), strict=True))


def _reached(starts: Sequence[str], following: Mapping[str, Sequence[str]]) -> set[str]:
    seen, todo = set(starts), list(starts)
    while todo:
        for name in following[todo.pop()]:
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return seen

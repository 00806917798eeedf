"""NIR -> Network; the way back is :func:`write`, from :mod:`snnc.frontends.nir_writer`.

The file is read and typed by our own code: nir's reader follows links, accepts NaN and
negative time constants, repairs graphs silently and mistypes some convolutions.
Chains of operations between neurons become projections, with branches and with sums at
neurons; recurrence and sums before an operation are refused.

NIR states neither time step nor reset. Files that snnc wrote carry both in their
metadata (:mod:`snnc.frontends.nir_metadata`); for others the caller, then a default decides.
The `r` of an IF is kept as it stands: how it meets the step is the executor's convention.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np

from snnc.errors import InputError, UsageError
from snnc.frontends.nir_file import Graph, load
from snnc.frontends.nir_legacy import without_batch_axis
from snnc.frontends.nir_metadata import RESETS, Hints, graph_hints, neuron_hints
from snnc.frontends.nir_nodes import Input, Neuron, Output, Part, check_declared, check_neuron, fit, read_node
from snnc.frontends.nir_writer import write
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Op, Shape

__all__ = ["DEFAULT_DT", "open_file", "read", "write"]

# The step of the LIF and Braille experiments of the NIR paper (Pedersen et al., Nat. Commun. 15:8122, 2024).
DEFAULT_DT = 1e-4
# Neurons of a network, and values between two operations: bounds what a small file can make us allocate.
LARGEST = 1 << 24


def read(path: Path, *, dt: float | None = None, reset: str | None = None, notes: list[str] | None = None) -> Network:
    """The network in a NIR file.

    dt: seconds per step; reset: "zero", "value" or "subtract" for all neurons. Both override
    the metadata of the file; without either, dt is 1e-4 s and v_reset is what it resets to.
    notes: receives a sentence for every such assumption and leniency.
    InputError, naming node and field, for whatever is no valid network of supported nodes.
    """
    return open_file(path, dt=dt, reset=reset, notes=notes)[0]


def open_file(
    path: Path, *, dt: float | None = None, reset: str | None = None, notes: list[str] | None = None
) -> tuple[Network, dict[str, str | float]]:
    """The network as from :func:`read`, and what was passed as `extra` when snnc wrote the file."""
    if reset is not None and reset not in RESETS:
        raise UsageError(f"unknown reset '{reset}'", fix=f"use one of {', '.join(RESETS)}")
    notes = [] if notes is None else notes
    graph = without_batch_axis(load(path), notes)
    hints = graph_hints(graph)
    if dt is None:
        dt = hints.dt if hints else DEFAULT_DT
        if not hints:
            notes.append(f"the file states no time step; {DEFAULT_DT:g} s assumed")
    if not hints and reset is None:
        notes.append("the file does not say how neurons reset; to v_reset assumed, as NIR defines it")
    parts = {name: read_node(node) for name, node in graph.nodes.items()}
    try:
        network = _Assembly(graph, parts, hints, reset).network(dt, hints.name if hints else path.stem)
    except InputError as error:
        where = error.where if error.where.startswith(graph.where) else f"{graph.where}: {error.where}".rstrip(": ")
        raise InputError(error.message, where=where, fix=error.fix, topic=error.topic) from None
    return network, hints.extra if hints else {}


@dataclass(frozen=True)
class _Chain:
    """What flows out of a node: spikes of population node `pre` after `ops`, of `shape`.

    nodes: those passed on the way.
    """

    pre: str
    shape: Shape
    ops: tuple[Op, ...] = ()
    nodes: tuple[str, ...] = ()


class _Assembly:
    """Walks a graph from its inputs and collects populations, chains and outputs."""

    def __init__(self, graph: Graph, parts: Mapping[str, Part], hints: Hints | None, reset: str | None) -> None:
        self.graph, self.parts, self.hints, self.reset = graph, parts, hints, reset
        self.sources: dict[str, list[str]] = {name: [] for name in parts}
        for pre, post in graph.edges:
            self.sources[post].append(pre)
        self.chains: dict[str, _Chain] = {}
        self.populations: dict[str, Population] = {}
        self.size = 0

    def network(self, dt: float, name: str) -> Network:
        self._check_ends()
        for node in self._order():
            self._visit(node)
        order = list(self.populations)
        if self.hints:
            order = list(self.hints.populations)
            if set(order) != set(self.populations):
                raise InputError("the metadata list other populations than the graph has", where=self.graph.where)
        projections = self._projections()
        rank = {self.populations[node].name: k for k, node in enumerate(order)}
        if not self.hints:
            # The edges of other writers come in any order.
            projections = tuple(sorted(projections, key=lambda p: rank[p.post]))
        for projection in projections:
            if rank[projection.pre] >= rank[projection.post]:
                raise InputError("the metadata do not order the populations forward", where=self.graph.where)
        outputs = [pre for pre, post in self.graph.edges if isinstance(self.parts[post], Output)]
        return Network(
            populations=tuple(self.populations[node] for node in order),
            projections=projections,
            outputs=tuple(self.populations[node].name for node in outputs),
            dt=dt,
            name=name,
        )

    def _check_ends(self) -> None:
        """Without cycles, this puts every node on a path from an input to an output."""
        leaving = {pre for pre, _ in self.graph.edges}
        for name, part in self.parts.items():
            node = self.graph.nodes[name]
            if isinstance(part, Input) == bool(self.sources[name]):
                raise node.error("an Input cannot receive edges" if self.sources[name] else "nothing leads to it")
            if isinstance(part, Output) == (name in leaving):
                raise node.error("an Output cannot have edges that leave it" if name in leaving else "it leads nowhere")

    def _order(self) -> list[str]:
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for pre, post in self.graph.edges:
            sorter.add(post, pre)
        try:
            return list(sorter.static_order())
        except CycleError as error:
            loop = " -> ".join(f"'{n}'" for n in error.args[1][:8])
            raise InputError(
                f"recurrent networks are not supported yet: the nodes {loop} form a loop",
                where=self.graph.where,
                fix="use a feed-forward network",
            ) from None

    def _visit(self, name: str) -> None:
        part, node = self.parts[name], self.graph.nodes[name]
        feeds = [self.chains[source] for source in self.sources[name]]
        if isinstance(part, Input):
            self._add(name, Population(self._title(name), part.shape, "input"))
            return
        if isinstance(part, Neuron):
            self._neuron(name, part, feeds)
            return
        if len(feeds) > 1:
            raise node.error(
                f"{node.type} nodes that sum several others are not supported yet: {', '.join(self.sources[name])}",
                fix="let the branches meet at a neuron",
            )
        feed = feeds[0]
        if isinstance(part, Output):
            if feed.nodes:
                raise node.error(f"it reads '{feed.nodes[-1]}', which is no neuron", fix="end the network in neurons")
            self._same_shape(name, feed, part.shape or feed.shape)
            return
        check_declared(node, feed.shape)
        try:
            shape = fit(part, feed.shape)
        except InputError as error:
            raise node.error(error.message, fix=error.fix) from None
        self._bounded(name, math.prod(shape))
        ops = feed.ops if "inserted" in node.hints else (*feed.ops, part)
        self.chains[name] = _Chain(feed.pre, shape, ops, (*feed.nodes, name))

    def _neuron(self, name: str, part: Neuron, feeds: list[_Chain]) -> None:
        # 0-d parameters hold for all neurons; what arrives then says how many these are.
        shape = next((v.shape for v in part.params.values() if v.ndim), feeds[0].shape)
        for feed in feeds:
            self._same_shape(name, feed, shape)
        self._bounded(name, math.prod(shape))
        params = {k: np.broadcast_to(v, shape).copy() for k, v in part.params.items()}
        node = self.graph.nodes[name]
        semantics = neuron_hints(node)
        if self.hints and semantics is None:
            raise node.error("the metadata of the graph are there, those of this neuron are not", "metadata")
        semantics = semantics or Semantics("value" if np.any(params["v_reset"]) else "zero")
        if self.reset:
            semantics = Semantics(self.reset, semantics.compare)
        population = Population(self._title(name), shape, part.neuron, params, semantics)
        try:
            check_neuron(population)
        except InputError as error:
            raise node.error(error.message, fix=error.fix) from None
        self._add(name, population)

    def _projections(self) -> tuple[Projection, ...]:
        ends = [edge for edge in self.graph.edges if isinstance(self.parts[edge[1]], Neuron)]
        if self.hints:
            labels = list(self.hints.projections)
            if len(labels) != len(ends):
                raise InputError(
                    f"the metadata name {len(labels)} projections, the graph has {len(ends)}", where=self.graph.where
                )
        else:
            labels = [(name, None) for name in self._names(ends)]
        return tuple(
            Projection(
                name,
                self.populations[self.chains[last].pre].name,
                self.populations[post].name,
                self.chains[last].ops,
                bits=bits,
            )
            for (last, post), (name, bits) in zip(ends, labels, strict=True)
        )

    def _names(self, ends: list[tuple[str, str]]) -> list[str]:
        """A projection is named after its last node with weights, else after its ends."""
        names: list[str] = []
        for last, post in ends:
            weighted = [n for n in self.chains[last].nodes if "weight" in self.graph.nodes[n].fields]
            name = weighted[-1] if weighted else f"{self.chains[last].pre}-{post}"
            # A node that feeds several neurons belongs to several projections.
            name = f"{name}-{post}" if name in names else name
            while name in names:
                name += "'"
            names.append(name)
        return names

    def _add(self, name: str, population: Population) -> None:
        self.size += population.size
        self._bounded(name, self.size)
        self.populations[name] = population
        self.chains[name] = _Chain(name, population.shape)

    def _title(self, name: str) -> str:
        return self.hints.populations.get(name, name) if self.hints else name

    def _bounded(self, name: str, count: int) -> None:
        if count > LARGEST:
            raise self.graph.nodes[name].error(f"the network has more than {LARGEST:,} neurons here")

    def _same_shape(self, name: str, feed: _Chain, shape: Shape) -> None:
        if feed.shape != shape:
            source = feed.nodes[-1] if feed.nodes else feed.pre
            raise self.graph.nodes[name].error(f"it has shape {shape}, but '{source}' delivers {feed.shape}")

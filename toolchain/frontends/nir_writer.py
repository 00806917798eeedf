"""Network -> NIR.

The file is written by the `nir` package, which thereby also defines the schema, and
:func:`snnc.frontends.nir.read` gives back the identical network. Equal networks give
equal bytes. What NIR cannot say goes into its metadata (:mod:`snnc.frontends.nir_metadata`).

nir 1.0.8 mistypes convolutions with groups or with a kernel that is not square, and allows one
edge into a node: files with these need ``nir.read(path, type_check=False)``. It reads all others with
its check on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nir
import numpy as np

from snnc.errors import InputError, UsageError
from snnc.files import atomic
from snnc.frontends.assembly import check_neuron, fit
from snnc.frontends.hdf5 import DATASET_BYTES
from snnc.frontends.nir_file import METADATA
from snnc.frontends.nir_metadata import Extra, graph_metadata, neuron_metadata
from snnc.frontends.nir_nodes import op_hints, write_neuron, write_op
from snnc.network import Network, Population, Projection
from snnc.ops import Conv1d, Conv2d, Delay, Flatten, Linear, Op, Shape


def write(network: Network, path: Path, *, extra: Extra | None = None) -> None:
    """Write a float network to `path`, whole or not at all.

    extra: free text and numbers about the network (which data it was trained on, say), which
    :func:`snnc.frontends.nir.open_file` returns.
    InputError where NIR cannot express the network; UsageError where the file cannot be written.
    """
    graph = to_nir(network, extra)
    with atomic(path) as temporary:
        try:
            nir.write(temporary, graph)
        except OSError as error:
            raise UsageError(f"cannot write there: {error}", where=str(path)) from None


def to_nir(network: Network, extra: Extra | None = None) -> nir.NIRGraph:
    """The graph that :func:`write` stores, with its metadata and without type check."""
    return _Writer(network).graph(extra or {})


class _Writer:
    """Collects the nodes and edges of one network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.keys: dict[str, str] = {}

    def graph(self, extra: Extra) -> nir.NIRGraph:
        network = self.network
        for text in (network.name, *(p.name for p in network.populations), *(p.name for p in network.projections)):
            _check_text(text)
        _check_extra(extra)
        self._check_ends()
        for population in network.populations:
            self._populate(population)
        for projection in network.projections:
            self._project(projection)
        for name in network.outputs:
            if not self._ends_in(name):
                key = self._add("output", nir.Output(np.array(network[name].shape)))
                self.edges.append((self.keys[name], key))
        if len(set(self.edges)) < len(self.edges):
            raise InputError("two projections without operations join the same populations", where=network.name)
        metadata = graph_metadata(network, list(self.keys.values()), extra)
        # Our reader types the graph; the check of nir 1.0.8 rejects valid convolutions.
        return nir.NIRGraph(self.nodes, self.edges, metadata, type_check=False)

    def _populate(self, population: Population) -> None:
        if not population.shape:
            raise InputError("NIR has no scalar values", where=f"layer '{population.name}'", fix="use shape (1,)")
        if self._ends_in(population.name):
            node = nir.Output(np.array(population.shape))
        else:
            node = write_neuron(population)
            check_neuron(population)
            if population.neuron == "sum":
                node.metadata = {METADATA: {"sum": True}}
            elif population.neuron != "input":
                node.metadata = neuron_metadata(population.semantics)
        self.keys[population.name] = self._add(population.name, node)

    def _ends_in(self, name: str) -> bool:
        """Whether a population is a sum that is only read out, which in NIR is an Output with several edges."""
        used = any(p.pre == name for p in self.network.projections)
        return self.network[name].neuron == "sum" and name in self.network.outputs and not used

    def _check_ends(self) -> None:
        fed = {p.post for p in self.network.projections}
        used = {p.pre for p in self.network.projections} | set(self.network.outputs)
        for population in self.network.populations:
            where = f"layer '{population.name}'"
            if population.neuron != "input" and population.name not in fed:
                raise InputError("nothing leads to it", where=where)
            if population.name not in used:
                raise InputError("it leads nowhere, and is not read out", where=where)

    def _project(self, projection: Projection) -> None:
        where = f"projection '{projection.name}'"
        shape, end = self.network[projection.pre].shape, self.network[projection.post].shape
        last = self.keys[projection.pre]
        for op in self._with_delays(projection):
            if isinstance(op, Linear) and len(shape) != 1 + len(op.lead):
                last, shape = self._flatten(projection.name, last, shape)
            _check_weight(op, where)
            try:
                reached = fit(op, shape)
            except InputError as error:
                raise InputError(error.message, where=where, fix=error.fix) from None
            node = write_op(op, shape, self.network.dt)
            hints = op_hints(op)
            node.metadata = {METADATA: hints} if hints else {}
            weighted = isinstance(op, Linear | Conv1d | Conv2d)
            last = self._append(projection.name + ("" if weighted else f"_{type(op).__name__.lower()}"), node, last)
            shape = reached
        if shape != end:
            if len(end) != 1:
                raise InputError(f"NIR cannot turn {shape} into the shape {end} of '{projection.post}'", where=where)
            last, shape = self._flatten(projection.name, last, shape)
        self.edges.append((last, self.keys[projection.post]))

    def _with_delays(self, projection: Projection) -> tuple[Op, ...]:
        """The operations, and in front the delay of the projection. What closes a loop is one step late without
        any Delay; with one it is as late as that says, see :mod:`snnc.frontends.graph`."""
        ops, shape = list(projection.ops), self.network[projection.pre].shape
        backward = self.network.backward(projection)
        if projection.delay:
            return (Delay(np.full(shape, projection.delay + backward)), *ops)
        delays = [(k, op) for k, op in enumerate(ops) if isinstance(op, Delay)]
        if backward and delays:
            k, first = delays[0]
            ops[k] = Delay(first.steps + 1)
        return tuple(ops)

    def _flatten(self, name: str, last: str, shape: Shape) -> tuple[str, Shape]:
        """Our linear operations take any shape, those of NIR need a Flatten before them."""
        op = Flatten()
        node = write_op(op, shape, self.network.dt)
        node.metadata = {METADATA: {"inserted": True}}
        return self._append(f"{name}_flatten", node, last), fit(op, shape)

    def _append(self, wanted: str, node: nir.NIRNode, last: str) -> str:
        key = self._add(wanted, node)
        self.edges.append((last, key))
        return key

    def _add(self, wanted: str, node: nir.NIRNode) -> str:
        """Store a node under a name of letters that every file format takes, unique in the file."""
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", wanted) or "_"
        key, count = stem, 1
        while key in self.nodes:
            count += 1
            key = f"{stem}_{count}"
        self.nodes[key] = node
        return key


def _check_weight(op: Op, where: str) -> None:
    if not isinstance(op, Linear | Conv1d | Conv2d):
        return
    for part in (op.weight, op.bias):
        if part is not None and part.dtype not in (np.float32, np.float64):
            raise InputError(
                f"weights of type {part.dtype} cannot be written to NIR",
                where=where,
                fix="write the float network, before it is quantised",
            )
    size = np.prod(op.weight.shape, dtype=float) * op.weight.dtype.itemsize
    if size > DATASET_BYTES:
        raise InputError(f"NIR stores weights densely, here {size:,.0f} bytes", where=where)


def _check_text(text: Any) -> None:
    if not isinstance(text, str) or "\0" in text or text != text.encode(errors="ignore").decode():
        raise InputError(f"the text {text!r} cannot be stored in a file")


def _check_extra(extra: Extra) -> None:
    for key, value in extra.items():
        _check_text(key)
        if not key or "/" in key or key == ".":
            raise UsageError(f"extra information cannot be called '{key}'")
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise UsageError(f"extra information must be text or a finite number, got {value!r} for '{key}'")

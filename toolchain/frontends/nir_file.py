"""What stands in a NIR file, before it means anything: nodes, fields and edges.

The layout is that of nir 1.0 (https://neuroir.org): ``/node/nodes/<name>/<field>``,
``/node/edges`` and optional ``metadata`` groups. The structure of the graph, nested
graphs included, is checked here; the meaning of nodes is :mod:`snnc.frontends.nir_nodes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnc.errors import InputError
from snnc.frontends.hdf5 import Tree

# Our own hints live under this key of the metadata of the graph and of nodes.
METADATA = "snnc"
# Strides, paddings and kernels beyond this are damage, not networks.
_LARGEST = 1 << 20


@dataclass(frozen=True, eq=False)
class Node:
    """One node: its type, its fields and our hints on it.

    where: file and name, for messages. inner: it belongs to a graph inside the graph. Every accessor raises
    InputError with file, node and field.
    """

    where: str
    type: str
    fields: Mapping[str, Any]
    hints: Mapping[str, Any]
    inner: bool = False

    def error(self, message: str, field: str = "", fix: str = "") -> InputError:
        where = f"{self.where}, field '{field}'" if field else self.where
        return InputError(message, where=where, fix=fix)

    def array(self, field: str) -> np.ndarray:
        """Finite numbers, float32 where stored so (or in half precision), else float64."""
        value = self.fields[field]
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
            raise self.error(f"must be an array of numbers, got {describe(value)}", field)
        value = value.astype(np.float32 if value.dtype.kind == "f" and value.dtype.itemsize <= 4 else float, copy=False)
        if not np.all(np.isfinite(value)):
            raise self.error("holds NaN or infinity", field)
        return value

    def integers(self, field: str, least: int) -> tuple[int, ...]:
        """One or more integers, each at least `least`."""
        value = self.fields[field]
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu" or value.ndim > 1 or not value.size:
            raise self.error(f"must be integers, got {describe(value)}", field)
        numbers = tuple(int(v) for v in value.flat)
        if min(numbers) < least or max(numbers) > _LARGEST:
            raise self.error(f"must lie within {least} and {_LARGEST:,}, got {numbers}", field)
        return numbers

    def integer(self, field: str, least: int) -> int:
        numbers = self.integers(field, least)
        if len(numbers) != 1:
            raise self.error(f"must be one integer, got {numbers}", field)
        return numbers[0]

    def pair(self, field: str, least: int) -> tuple[int, int]:
        """(rows, columns); one number stands for both."""
        numbers = self.integers(field, least)
        if len(numbers) > 2:
            raise self.error(f"must be one or two integers, got {numbers}", field)
        return numbers[0], numbers[-1]


@dataclass(frozen=True, eq=False)
class NodeGraph:
    """A NIR graph whose edges join nodes that exist, none twice.

    nodes: alphabetical, as HDF5 gives them. edges: (from, to), in the order of the file.
    hints: our metadata of the graph, empty in files of others. The nodes of a graph inside stand among the others
    under the names ``graph/node``; its Input and Output are `inner`. depth: graphs around this one.
    """

    where: str
    nodes: Mapping[str, Node]
    edges: tuple[tuple[str, str], ...]
    hints: Mapping[str, Any]
    depth: int = 0


def graph(tree: Tree, where: str) -> NodeGraph:
    """The graph in the tree of a NIR file; InputError for anything else. where: the file."""
    root = tree.get("node")
    if not isinstance(root, dict):
        raise InputError("there is no group /node: this is not a NIR file", where=where)
    kind = root.get("type")
    if isinstance(kind, str) and kind != "NIRGraph":
        raise InputError(f"it holds a single node of type '{kind}', not a graph", where=where)
    return _Loader(where).graph(root, ())


def describe(value: Any) -> str:
    """A value from a file in a few words."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, str):
        return f"the text '{value[:40]}'"
    return "a group"


@dataclass(frozen=True)
class _Loader:
    """Reads graphs within graphs. A path is the names of the nodes that lead to a graph."""

    file: str

    def place(self, path: tuple[str, ...]) -> str:
        return f"{self.file}: node '{'/'.join(path)}'" if path else self.file

    def graph(self, group: Tree, path: tuple[str, ...]) -> NodeGraph:
        where = self.place(path)
        for key in ("nodes", "edges", "type"):
            if key not in group:
                raise InputError(
                    f"the graph has no '{key}': the program that wrote it did not finish",
                    where=where,
                    fix="export the network again",
                )
        for key in group:
            if key not in ("nodes", "edges", "type", "metadata"):
                raise InputError(f"the graph has an unknown entry '{key}'", where=where)
        nodes = group["nodes"]
        if not isinstance(nodes, dict) or not nodes:
            raise InputError("the graph has no nodes", where=where)
        edges = _edges(group["edges"], nodes, where)
        loaded: dict[str, Node] = {}
        inside: dict[str, NodeGraph] = {}
        for name, fields in nodes.items():
            here = (*path, name)
            node = _node(fields, self.place(here), inner=bool(path))
            if node.type == "NIRGraph":
                inside[name] = self.graph(fields, here)
                loaded |= inside[name].nodes
            else:
                loaded["/".join(here)] = node
        joined = [edge for graph in inside.values() for edge in graph.edges]
        for pre, post in edges:
            source = _end(inside[pre], "Output") if pre in inside else "/".join((*path, pre))
            target = _end(inside[post], "Input") if post in inside else "/".join((*path, post))
            joined.append((source, target))
        return NodeGraph(where, loaded, tuple(joined), _hints(group, where), len(path))


def _end(graph: NodeGraph, kind: str) -> str:
    """The one Input or Output through which an edge enters or leaves a graph inside."""
    ends = [n for n, node in graph.nodes.items() if node.type == kind and n.count("/") == graph.depth]
    if len(ends) != 1:
        what = f"several {kind}s ({', '.join(ends)}), and an edge does not say which it means"
        raise InputError(
            f"this graph has {what if ends else f'no {kind}, but an edge needs one'}",
            where=graph.where,
            fix=f"give it one {kind}",
        )
    return ends[0]


def _node(fields: Any, where: str, *, inner: bool) -> Node:
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise InputError("a node must be a group with a text 'type'", where=where)
    hints = _hints(fields, where)
    rest = {k: v for k, v in fields.items() if k not in ("type", "metadata")}
    return Node(where, fields["type"], rest, hints, inner)


def _hints(group: Tree, where: str) -> Mapping[str, Any]:
    metadata = group.get("metadata", {})
    hints = metadata.get(METADATA, {}) if isinstance(metadata, dict) else {}
    if not isinstance(hints, dict):
        raise InputError(f"must be a group, got {describe(hints)}", where=f"{where}, metadata '{METADATA}'")
    return hints


def _edges(value: Any, nodes: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, np.ndarray) or not value.size:
        raise InputError("the graph has no edges", where=where, fix="export the network again")
    if value.dtype != object or value.ndim != 2 or value.shape[1] != 2:
        raise InputError(f"edges must be pairs of names, got {describe(value)}", where=where)
    edges = tuple((str(a), str(b)) for a, b in value)
    seen: set[tuple[str, str]] = set()
    for edge in edges:
        for end in edge:
            if end not in nodes:
                raise InputError(
                    f"the edge '{edge[0]}' -> '{edge[1]}' names a node '{end}' that does not exist",
                    where=where,
                    fix=f"the nodes are {', '.join(list(nodes)[:12])}",
                )
        if edge in seen:
            raise InputError(f"the edge '{edge[0]}' -> '{edge[1]}' is there twice", where=where)
        seen.add(edge)
    return edges

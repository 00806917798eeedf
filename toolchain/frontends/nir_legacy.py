"""Variants of a graph whose shapes carry a batch axis that NIR does not have.

Files of 2023 have a leading axis of length one in all shapes, and their Flatten counts axes from
behind it; norse to this day writes the batch of its example into the Input alone. A graph that
does not fit together as it stands may do so without these axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from snnc.frontends.nir_file import Node, NodeGraph
from snnc.frontends.nir_nodes import NEURON_TYPES

ENDS = ("Input", "Output")


def without_batch_axis(graph: NodeGraph) -> Iterator[tuple[NodeGraph, str]]:
    """Graphs to try instead of `graph`, each with a sentence on what was dropped."""
    nodes = graph.nodes.values()
    inputs = [_shape(n.fields.get("shape")) for n in nodes if n.type == "Input"]
    neurons = [np.shape(v) for n in nodes if n.type in NEURON_TYPES for v in n.fields.values() if np.ndim(v)]
    if inputs and all(len(s) > 1 and s[0] == 1 for s in inputs + neurons):
        yield _changed(graph, _strip_all), "the shapes have a leading batch axis, as in files of 2023; it was dropped"
    if inputs and all(len(s) > 1 for s in inputs):
        text = "Input and Output have a leading batch axis, as norse writes it; it was dropped"
        yield _changed(graph, _strip_end), text


def _changed(graph: NodeGraph, strip: Any) -> NodeGraph:
    return dataclasses.replace(graph, nodes={name: strip(node) for name, node in graph.nodes.items()})


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.ndim == 1:
        return tuple(int(v) for v in value)
    return ()


def _strip_end(node: Node) -> Node:
    if node.type in ENDS and len(_shape(node.fields.get("shape"))) > 1:
        return dataclasses.replace(node, fields={**node.fields, "shape": node.fields["shape"][1:]})
    return node


def _strip_all(node: Node) -> Node:
    if node.type in ENDS:
        return _strip_end(node)
    fields = dict(node.fields)
    if node.type in NEURON_TYPES:
        fields = {k: v[0] if np.ndim(v) else v for k, v in fields.items()}
    elif node.type == "Flatten":
        start = fields.get("start_dim")
        if isinstance(start, np.ndarray) and start.dtype.kind == "i":
            fields["start_dim"] = np.where(start > 0, start - 1, start)
        # These files state the input of a Flatten as zeros.
        fields.pop("input_type", None)
    return dataclasses.replace(node, fields=fields)

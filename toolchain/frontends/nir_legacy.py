"""NIR files of 2023, which carry a batch axis of length one through all shapes.

Their inputs, outputs and neurons have shapes (1, ...), and Flatten counts axes from
behind the batch. Here the axis is removed, so that only one schema is read further on.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from snnc.frontends.nir_file import Graph, Node
from snnc.frontends.nir_nodes import NEURON_TYPES


def without_batch_axis(graph: Graph, notes: list[str]) -> Graph:
    """`graph`, less its batch axis if it has one, which is then noted; files by snnc have none."""
    inputs = [n for n in graph.nodes.values() if n.type == "Input"]
    neurons = [n for n in graph.nodes.values() if n.type in NEURON_TYPES]
    shapes = [_shape(n.fields.get("shape")) for n in inputs]
    shapes += [np.shape(v) for n in neurons for v in n.fields.values() if np.ndim(v)]
    # An image of one channel is (1, rows, columns): three axes never hold a batch axis.
    if graph.hints or not inputs or not all(len(s) in (2, 4) and s[0] == 1 for s in shapes):
        return graph
    notes.append("the shapes in this file have a leading batch axis, as in NIR files of 2023; it was dropped")
    return dataclasses.replace(graph, nodes={name: _strip(node) for name, node in graph.nodes.items()})


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.ndim == 1:
        return tuple(int(v) for v in value)
    return ()


def _strip(node: Node) -> Node:
    fields = dict(node.fields)
    if node.type in ("Input", "Output") and len(_shape(fields.get("shape"))) > 1:
        fields["shape"] = fields["shape"][1:]
    elif node.type in NEURON_TYPES:
        fields = {k: v[0] if np.ndim(v) else v for k, v in fields.items()}
    elif node.type == "Flatten":
        start = fields.get("start_dim")
        if isinstance(start, np.ndarray) and start.dtype.kind == "i":
            fields["start_dim"] = np.where(start > 0, start - 1, start)
        # These files state the input of a Flatten as zeros.
        fields.pop("input_type", None)
    return dataclasses.replace(node, fields=fields)

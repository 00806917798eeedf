"""What NIR cannot say, kept in its metadata under the key ``snnc``.

NIR has no time step, no reset by subtraction, no width of weights and no order of
nodes (HDF5 sorts names). We write them as plain values, so that any reader of NIR
passes over them and ours restores the network exactly:

on the graph      format, name, dt; populations (node, name): forward order;
                  outputs: the nodes that are read out, in order;
                  projections (name, bits, bias_start): in the order of the edges into
                  populations, bits 0 for float; extra: free text and numbers about the
                  network
on a neuron       the fields of snnc.network.Semantics
on a Scale        sum, where it is of ones and stands for a population that only adds
on weights        mask (bits of numpy.packbits) with mask_shape, only where some are
                  zero; bias False on a Conv2d without one
on a Flatten      inserted, where the network needs none but the types of NIR do
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from snnc.errors import InputError
from snnc.frontends.nir_file import METADATA, Node, NodeGraph, describe
from snnc.network import Network, Semantics

FORMAT = 2

Extra = Mapping[str, str | float]


@dataclass(frozen=True)
class Hints:
    """The metadata of a graph that snnc wrote.

    populations: node -> name, in forward order. outputs: nodes. projections: (name, bits, bias_start), in the order
    of the edges that end in populations. extra: see :func:`snnc.frontends.nir_writer.write`.
    """

    name: str
    dt: float
    populations: dict[str, str]
    outputs: list[str]
    projections: tuple[tuple[str, int | None, int], ...]
    extra: dict[str, str | float]


def graph_metadata(network: Network, nodes: list[str], extra: Extra) -> dict[str, Any]:
    """Metadata of the whole graph; nodes: the names in the file of the network's populations."""
    hints = {
        "format": FORMAT,
        "name": network.name,
        "dt": network.dt,
        "populations": {"node": nodes, "name": [p.name for p in network.populations]},
        "outputs": [nodes[network.rank[name]] for name in network.outputs],
        "projections": {
            "name": [p.name for p in network.projections],
            "bits": np.array([p.bits or 0 for p in network.projections], np.int64),
            "bias_start": np.array([p.bias_start for p in network.projections], np.int64),
        },
    }
    # HDF5 lays out a file in the order of writing: sorted, equal content gives equal bytes.
    plain = {key: value if isinstance(value, str) else float(value) for key, value in sorted(extra.items())}
    return {METADATA: hints | ({"extra": plain} if plain else {})}


def graph_hints(graph: NodeGraph) -> Hints | None:
    """The hints in a graph, or None where there are none; InputError where they are damaged."""
    if not graph.hints:
        return None
    tree = _Checked(graph.hints, f"{graph.where}: metadata '{METADATA}'")
    version = tree.number("format")
    if version != FORMAT:
        raise InputError(
            f"it is written in format {version:g}, this snnc reads format {FORMAT}",
            where=tree.where,
            fix="use the version of snnc that wrote it, or a later one",
        )
    tree.only("format", "name", "dt", "populations", "outputs", "projections", "extra")
    populations, projections = tree.group("populations"), tree.group("projections")
    populations.only("node", "name")
    projections.only("name", "bits", "bias_start")
    nodes, names = populations.texts("node"), populations.texts("name")
    labels, bits = projections.texts("name"), projections.numbers("bits")
    starts = projections.numbers("bias_start")
    if not len(nodes) == len(names) == len(set(nodes)) == len(set(names)) or not len(labels) == len(bits) == len(
        starts
    ):
        raise InputError("the lists of populations or projections do not match", where=tree.where)
    if any(b < 0 or b > 64 or b != int(b) for b in bits):
        raise InputError(f"widths must be whole numbers of bits, got {bits}", where=projections.where)
    if any(s < 0 or s > 1 << 20 or s != int(s) for s in starts):
        raise InputError(f"biases must start at whole steps, got {starts}", where=projections.where)
    return Hints(
        name=tree.text("name"),
        dt=tree.number("dt"),
        populations=dict(zip(nodes, names, strict=True)),
        outputs=tree.texts("outputs"),
        projections=tuple((n, int(b) or None, int(s)) for n, b, s in zip(labels, bits, starts, strict=True)),
        extra=tree.group("extra").plain() if "extra" in graph.hints else {},
    )


def neuron_metadata(semantics: Semantics) -> dict[str, Any]:
    """Metadata of a neuron node."""
    return {METADATA: asdict(semantics)}


def neuron_hints(node: Node) -> Semantics | None:
    """The semantics that a neuron states, or None where its node does not say."""
    if not node.hints:
        return None
    tree = _Checked(node.hints, f"{node.where}, metadata")
    try:
        return Semantics(**{field.name: tree.text(field.name) for field in fields(Semantics)})
    except InputError as error:
        raise InputError(error.message, where=tree.where) from None


@dataclass(frozen=True)
class _Checked:
    """Typed access to a group of metadata; InputError names the entry at fault."""

    tree: Mapping[str, Any]
    where: str

    def get(self, key: str, kind: type | tuple[type, ...]) -> Any:
        value = self.tree.get(key)
        if not isinstance(value, kind):
            got = describe(value) if key in self.tree else "nothing"
            raise InputError(f"the entry '{key}' is not what snnc writes: {got}", where=self.where)
        return value

    def only(self, *keys: str) -> None:
        for key in self.tree:
            if key not in keys:
                raise InputError(f"there is an unknown entry '{key}'", where=self.where)

    def group(self, key: str) -> _Checked:
        return _Checked(self.get(key, dict), f"{self.where}, '{key}'")

    def text(self, key: str) -> str:
        return str(self.get(key, str))

    def number(self, key: str) -> float:
        values = self.numbers(key)
        if len(values) != 1:
            raise InputError(f"the entry '{key}' is not one number", where=self.where)
        return values[0]

    def numbers(self, key: str) -> list[float]:
        value = self.get(key, np.ndarray)
        if value.dtype.kind not in "iuf" or value.ndim > 1 or not np.all(np.isfinite(value)):
            raise InputError(f"the entry '{key}' holds no numbers: {describe(value)}", where=self.where)
        return [float(v) for v in value.flat]

    def texts(self, key: str) -> list[str]:
        value = self.get(key, np.ndarray)
        # An empty list has no type in HDF5.
        if value.size and value.dtype != object:
            raise InputError(f"the entry '{key}' holds no text: {describe(value)}", where=self.where)
        return [str(v) for v in value.flat]

    def plain(self) -> dict[str, str | float]:
        return {k: v if isinstance(v, str) else self.number(k) for k, v in self.tree.items()}

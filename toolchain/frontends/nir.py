"""NIR -> Network; the way back is :func:`write`, from :mod:`snnc.frontends.nir_writer`.

The file is read and typed by our own code: nir's reader follows links, accepts NaN and
negative time constants, repairs graphs silently and mistypes some convolutions.

NIR states neither time step nor reset nor the order of updates. Files that snnc wrote carry
all that in their metadata (:mod:`snnc.frontends.nir_metadata`); for others the caller decides
(:class:`snnc.frontends.reading.Reading`), and what is left open then is chosen and noted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from snnc.errors import InputError
from snnc.frontends.assembly import Labels, build
from snnc.frontends.graph import Graph, Neuron, Part, Vertex
from snnc.frontends.hdf5 import Tree, read_tree
from snnc.frontends.nir_file import Node, NodeGraph
from snnc.frontends.nir_file import graph as load
from snnc.frontends.nir_legacy import without_batch_axis
from snnc.frontends.nir_metadata import Hints, graph_hints, neuron_hints
from snnc.frontends.nir_nodes import Context, check_declared, read_node
from snnc.frontends.nir_writer import write
from snnc.frontends.notes import Notes
from snnc.frontends.profiles import PROFILES, Profile, profile
from snnc.frontends.reading import AS_WRITTEN, Reading
from snnc.network import SPIKING, Network, Semantics
from snnc.ops import Shape

__all__ = ["DEFAULT_DT", "from_tree", "open_file", "read", "write"]

# The step of the LIF and Braille experiments of the NIR paper (Pedersen et al., Nat. Commun. 15:8122, 2024).
DEFAULT_DT = 1e-4
# Seconds: no neuron that steps by DEFAULT_DT remembers so long.
LONG = 1.0


def read(path: Path, reading: Reading = AS_WRITTEN, notes: Notes | None = None) -> Network:
    """The network in a NIR file.

    notes: receives what was assumed where the file leaves something open.
    InputError, naming node and field, for whatever is no valid network, and for every assumption if
    `reading.strict`.
    """
    return open_file(path, reading, notes)[0]


def open_file(
    path: Path, reading: Reading = AS_WRITTEN, notes: Notes | None = None
) -> tuple[Network, dict[str, str | float]]:
    """The network as from :func:`read`, and what was passed as `extra` when snnc wrote the file."""
    return from_tree(read_tree(path), path, reading, Notes(str(path), reading.strict) if notes is None else notes)


def from_tree(tree: Tree, path: Path, reading: Reading, notes: Notes) -> tuple[Network, dict[str, str | float]]:
    """The same for what :func:`snnc.frontends.hdf5.read_tree` read from `path`."""
    graph = load(tree, str(path))
    hints = graph_hints(graph)
    # Each attempt notes for itself: what one that failed assumed would mislead.
    attempt = Notes(str(path))
    try:
        network = _Reader(graph, hints, reading, attempt).network(path.stem)
    except InputError as error:
        for variant, text in without_batch_axis(graph) if hints is None else ():
            attempt = Notes(str(path))
            try:
                network = _Reader(variant, None, reading, attempt).network(path.stem)
            except InputError:
                continue
            notes.assume(text, fix="export the network with a recent version of its framework")
            break
        else:
            raise _placed(error, graph.where) from None
    notes.take(attempt)
    return network, hints.extra if hints else {}


def _placed(error: InputError, file: str) -> InputError:
    where = error.where if error.where.startswith(file) else f"{file}: {error.where}".rstrip(": ")
    return InputError(error.message, where=where, fix=error.fix, topic=error.topic)


@dataclass(frozen=True, eq=False)
class _Reader:
    """One attempt to read one graph."""

    graph: NodeGraph
    hints: Hints | None
    reading: Reading
    notes: Notes

    def network(self, name: str) -> Network:
        notes = self.notes
        dt = self._dt()
        parts = {name: read_node(node, Context(dt, notes)) for name, node in self.graph.nodes.items()}
        self._note_old_schemas()
        graph = Graph(
            {name: self._vertex(name, part) for name, part in parts.items()}, self.graph.edges, self.graph.where
        )
        graph.check()
        if self.hints is None:
            for pre, post in graph.open_choices:
                notes.assume(
                    f"which connection of a loop delivers a step late is open; chosen is '{pre}' -> '{post}'",
                    fix="put a Delay of one step into it",
                    kind="warning",
                )
        vertices, chosen = dict(graph.vertices), self._profile()
        for node, semantics in self._meaning(graph, dt).items():
            part = vertices[node].part
            assert isinstance(part, Neuron)
            if chosen is not None and chosen.unit_gain:
                part = _with_unit_gain(part, dt)
            vertices[node] = replace(vertices[node], part=replace(part, semantics=semantics))
        labels = self.hints and Labels(list(self.hints.populations), self.hints.outputs, self.hints.projections)
        network = build(
            replace(graph, vertices=vertices),
            dt=dt,
            name=self.hints.name if self.hints else name,
            labels=labels or None,
            loop_bias=chosen.loop_bias if chosen else "always",
        )
        if self.hints is None:
            self._note_short_times(network)
            self._note_long_times(network)
        return network

    def _profile(self) -> Profile | None:
        """The habits to apply: those asked for, or NIR's own where the file states none."""
        if self.reading.semantics is not None:
            return profile(self.reading.semantics)
        return PROFILES["nir"] if self.hints is None else None

    def _dt(self) -> float:
        if self.reading.dt is not None:
            return self.reading.dt
        if self.hints is not None:
            return self.hints.dt
        implied = profile(self.reading.semantics).dt if self.reading.semantics else None
        if implied is None:
            self.notes.assume(
                f"the file states no time step; {DEFAULT_DT:g} s assumed", fix="give it: --dt SECONDS", kind="warning"
            )
        return DEFAULT_DT if implied is None else implied

    def _vertex(self, name: str, part: Part) -> Vertex:
        node = self.graph.nodes[name]
        title = self.hints.populations.get(name, name) if self.hints else name

        def accept(shape: Shape) -> None:
            check_declared(node, shape)

        return Vertex(part, lambda m, f, x: node.error(m, f, x), title, accept, "inserted" in node.hints)

    # What the file leaves open

    def _meaning(self, graph: Graph, dt: float) -> dict[str, Semantics]:
        """The semantics of every neuron."""
        chosen = self._profile()
        meaning: dict[str, Semantics] = {}
        resets = False
        for name, vertex in graph.vertices.items():
            part, node = vertex.part, self.graph.nodes[name]
            if not isinstance(part, Neuron):
                continue
            stated = neuron_hints(node) if part.neuron != "sum" else Semantics()
            if self.hints is not None and stated is None:
                raise node.error("the metadata of the graph are there, those of this neuron are not", "metadata")
            if part.neuron == "sum" or (chosen is None and stated is not None):
                meaning[name] = stated or Semantics()
            else:
                assert chosen is not None
                meaning[name] = self._gain(node, part, chosen.semantics(part.neuron, name in graph.looped), dt)
            meaning[name] = self._settled(part, meaning[name], looped=name in graph.looped)
            resets = resets or part.neuron in SPIKING
        if resets and self.hints is None and self.reading.semantics is None and self.reading.reset is None:
            self.notes.assume(
                "the file does not say how neurons reset; to v_reset assumed, as NIR defines it, though files of "
                "networks trained with reset by subtraction look the same",
                fix="say it: --reset zero|subtract, or --semantics FRAMEWORK",
                kind="warning",
            )
        return meaning

    def _settled(self, part: Neuron, semantics: Semantics, *, looped: bool) -> Semantics:
        """The semantics with the reset asked for, and simpler words for what is the same: a reset to v_reset = 0, a
        start at a rest of 0."""
        kind = self.reading.reset or semantics.reset
        when = semantics.when if kind == semantics.reset or kind == "subtract" else "now"
        if self.reading.late_reset:
            # snntorch's Leaky zeroes the membrane before the next leak, which is the same as at once.
            when = "now" if kind != "subtract" and part.neuron in ("if", "lif") and not looped else "next"
        if kind == "value" and not np.any(part.params.get("v_reset", 0)):
            kind = "zero"
        rest = {"zero": "", "leak": "v_leak", "reset": "v_reset"}[semantics.start]
        start = semantics.start if np.any(part.params.get(rest, 0)) else "zero"
        return replace(semantics, reset=kind, when=when, start=start)

    def _gain(self, node: Node, part: Neuron, semantics: Semantics, dt: float) -> Semantics:
        """How `r` of an integrator meets the step: both conventions of the field give a gain of 1."""
        if part.neuron not in ("if", "i"):
            return replace(semantics, gain="step")
        r = part.params["r"]
        if np.all(np.abs(r * dt - 1) < 2.0**-20):
            return replace(semantics, gain="time")
        if np.all(r == 1):
            return replace(semantics, gain="step")
        if self.reading.semantics is None or semantics.gain == "time":
            self.notes.assume(
                f"r is neither 1 nor 1/dt; taken by the letter, v += r dt x with dt = {dt:g} s",
                node.where,
                fix="give the step (--dt) or the framework (--semantics)",
                kind="warning",
            )
            return replace(semantics, gain="time")
        return semantics

    def _note_old_schemas(self) -> None:
        for node in self.graph.nodes.values():
            if node.type in ("Conv1d", "Conv2d") and "input_shape" not in node.fields:
                self.notes.assume(
                    "input_shape is missing, as in files of 2023, and follows from what arrives",
                    node.where,
                    fix="export the network with a recent nir",
                )

    def _note_long_times(self, network: Network) -> None:
        """Time constants of seconds are hardly meant for an assumed step: they may count steps."""
        times = [v.min() for p in network.layers for k, v in p.params.items() if k.startswith("tau")]
        if self.reading.dt is None and network.dt == DEFAULT_DT and times and min(times) >= LONG:
            self.notes.tell(
                f"the time constants are {min(times):.3g} s and more, {min(times) / network.dt:,.0f} steps; if they "
                "count steps, say so: --dt 1",
                kind="warning",
            )

    def _note_short_times(self, network: Network) -> None:
        """norse's exporter multiplies time constants by its step; then they are shorter than any step."""
        for population in network.layers:
            for name, value in population.params.items():
                if name.startswith("tau") and population.semantics.decay == "euler" and np.any(value < network.dt):
                    self.notes.tell(
                        f"{name} of '{population.name}' ({value.min():g} s) is shorter than the step of {network.dt:g} "
                        "s, so that the neuron overshoots; norse's exporter multiplies time constants by its own step "
                        "(then --dt is the square of that)",
                        kind="warning",
                    )


def _with_unit_gain(part: Neuron, dt: float) -> Neuron:
    """The neuron with r and w_in such that what arrives is added as it is."""
    params = dict(part.params)
    if part.neuron in ("if", "i"):
        params["r"] = np.ones_like(params["r"])
    elif part.neuron in ("lif", "li"):
        params["r"] = params["tau"] / dt
    elif part.neuron in ("cuba_lif", "cuba_li"):
        params |= {"r": params["tau_mem"] / dt, "w_in": params["tau_syn"] / dt}
    return replace(part, params=params)

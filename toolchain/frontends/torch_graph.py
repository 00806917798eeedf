"""A recorded run -> a graph of parts: what happens in every step, once.

Each population saw one expression per step. All of them must be the same but for the step: the spikes of
another population of the same step, or of a fixed number of steps before. That expression becomes the
nodes of the graph. In the first steps, what comes from before the run may be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from snnc.errors import InputError
from snnc.frontends.assembly import LoopBias
from snnc.frontends.graph import Edge, Graph, Input, Output, Part, Vertex, Wire
from snnc.frontends.notes import Notes
from snnc.frontends.torch_layers import NORMS, array, folded, normalised, operation, scaled
from snnc.frontends.torch_neurons import NAMES, Layer, convert
from snnc.frontends.torch_values import (
    Added,
    Called,
    CalledAtOnce,
    Constant,
    Fired,
    Flat,
    FromInput,
    Lineage,
    Many,
    Recording,
    Scaled,
    Unknown,
    Value,
    fired_in,
    first_of_input,
    has_constant,
    step_of,
    terms,
)
from snnc.ops import Conv1d, Conv2d, Delay, Flatten, Linear, Op, Shape

# Steps before the last that must look like it; the first ones may lack what comes from before the run.
COMPARED = 2
LEAST_STEPS = 3


@dataclass(frozen=True, eq=False)
class Source:
    """What an input population shows of an example: in step t of sample b the values at places + t step + b sample.

    number: of the example. step: 0 where every step shows the same.
    """

    number: int
    places: np.ndarray
    step: int
    sample: int


@dataclass(frozen=True, eq=False)
class Folded:
    """The graph of a module and how it is to be built.

    sources: where each input population comes from. populations: the name of each lineage of the recording.
    """

    graph: Graph
    loop_bias: LoopBias
    sources: dict[str, Source]
    populations: list[str]


def fold(recording: Recording, *, dt: float, modules: dict[str, nn.Module], notes: Notes, where: str) -> Folded:
    """The graph of a recorded module. modules: path -> the layer whose weights are taken.

    InputError naming the layer where the steps differ, or for what no network can express.
    """
    return _Folder(recording, dt, modules, notes, where).fold()


@dataclass(eq=False)
class _Folder:
    recording: Recording
    dt: float
    modules: dict[str, nn.Module]
    notes: Notes
    where: str
    vertices: dict[str, Vertex] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    # What an expression looks like, by number; equal numbers are equal expressions.
    looks: dict[Any, int] = field(default_factory=dict)
    made: dict[int, str] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    # (example, pattern) of what an input population shows -> its node, and where it begins.
    inputs: dict[Any, tuple[str, int]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    layers: dict[int, Layer] = field(default_factory=dict)

    def fold(self) -> Folded:
        lineages = self.recording.lineages
        if not lineages:
            raise InputError(f"no layer of neurons was called; known are {NAMES}", where=self.where)
        steps = {len(x.inputs) for x in lineages}
        if len(steps) > 1:
            counts = ", ".join(f"{x.path} {len(x.inputs)}" for x in lineages)
            raise InputError(
                f"the layers of neurons are called a different number of times: {counts}", where=self.where
            )
        (self.steps,) = steps
        if self.steps < LEAST_STEPS:
            raise InputError(
                f"the example has {self.steps} steps, too few to see how steps depend on each other",
                where=self.where,
                fix=f"give an example of {LEAST_STEPS} steps or more",
            )
        self.strides = {n: self._stride(n) for n in range(len(self.recording.examples))}
        for number, lineage in enumerate(lineages):
            self._name(number, lineage)
        for number, lineage in enumerate(lineages):
            self._population(number, lineage)
        self._outputs()
        graph = Graph(self.vertices, tuple(dict.fromkeys(self.edges)), self.where, self._order())
        graph.check()
        return Folded(graph, self._loop_bias(), self.sources, [self.names[k] for k in range(len(lineages))])

    # Populations

    def _name(self, number: int, lineage: Lineage) -> None:
        name = lineage.path or type(lineage.layer).__name__
        while name in self.names.values():
            name += "'"
        self.names[number] = name
        self.shapes[name] = tuple(lineage.shape[1:])
        if not self.shapes[name]:
            raise InputError("its input has no batch axis", where=lineage.path, fix="give an example with a batch axis")
        where = f"{name} ({type(lineage.layer).__name__})"
        self.layers[number] = convert(self.modules[lineage.path], self.shapes[name], self.dt, where)

    def _population(self, number: int, lineage: Lineage) -> None:
        name, shape = self.names[number], self.shapes[self.names[number]]
        where = f"{name} ({type(lineage.layer).__name__})"
        layer = self.layers[number]
        if layer.warning:
            self.notes.tell(f"{name}: {layer.warning}", kind="warning")
        self._vertex(name, layer.neuron, where)
        last = self.steps - 1
        expected = self._look(lineage.inputs[last], last, where)
        for step in range(max(1, last - COMPARED), last):
            if self._look(lineage.inputs[step], step, where) != expected:
                raise InputError(f"its input is made differently in steps {step} and {last}", where=where)
        # Neurons add what they receive; a sum in front of them needs no node.
        self._add(terms(lineage.inputs[last]), last, name, where)
        if layer.recurrent is not None:
            back = f"{name}.recurrent"
            self._vertex(back, layer.recurrent, where)
            self.shapes[back] = shape
            self.edges += [(self._spikes(number, where), back), (back, name)]

    def _add(self, parts: list[Value], step: int, target: str, where: str) -> None:
        """Edges from each part to `target`; the same value twice is twice the value."""
        nodes = [self._node(part, step, where) for part in parts]
        for node in dict.fromkeys(nodes):
            times = nodes.count(node)
            if times > 1:
                factor = scaled(float(times), self.shapes[node], where)
                node = self._after(node, f"{node}.scaled", factor, where)
            self.edges.append((node, target))

    def _spikes(self, number: int, where: str) -> str:
        """The node that passes on the spikes of a population, scaled where they are graded."""
        name, layer = self.names[number], self.layers[number]
        if layer.scale is None:
            return name
        graded = f"{name}.graded"
        if graded not in self.vertices:
            self._vertex(graded, layer.scale, where)
            self.shapes[graded] = self.shapes[name]
            self.edges.append((name, graded))
        return graded

    def _vertex(self, name: str, part: Part, where: str) -> None:
        def fail(message: str, field: str, fix: str) -> InputError:
            return InputError(message, where=where, fix=fix)

        self.vertices[name] = Vertex(part, fail, name)

    # Expressions

    def _look(self, value: Value, step: int, where: str) -> int:
        """The number of what a value looks like from `step`."""
        key: Any
        match value:
            case FromInput():
                key = ("input", *self._picked(value, step, where))
            case Fired():
                if value.output:
                    name = self.names[value.lineage]
                    raise InputError(
                        f"it receives the membrane of '{name}', not its spikes", where=where, fix="pass on spikes"
                    )
                key = ("spikes", value.lineage, step - value.step)
            case Called():
                key = ("call", value.path, self._look(value.source, step, where))
            case Scaled():
                factor = value.factor
                known = array(factor).tobytes() if isinstance(factor, Tensor) else float(factor)
                key = ("scale", known, self._look(value.source, step, where))
            case Flat():
                key = ("flat", value.start, value.end, self._look(value.source, step, where))
            case Added():
                if value.constant:
                    raise InputError("a constant is added on the way to it", where=where, fix="give a layer a bias")
                key = ("add", *(self._look(part, step, where) for part in value.parts))
            case Constant():
                raise InputError("its input does not come from the module's input", where=where)
            case Unknown():
                raise InputError(f"'{value.name}' on the way to it is not supported", where=where, fix=_CURE)
            case CalledAtOnce():
                raise InputError(
                    f"'{value.path}' is applied to all time steps at once and not indexed by step", where=where
                )
            case Many():
                raise InputError("values are joined side by side on the way to it", where=where, fix=_CURE)
            case _:
                raise TypeError(type(value))
        return self.looks.setdefault(key, len(self.looks))

    def _stride(self, number: int) -> int:
        """Places between what two steps show of an example; 0 where every step shows the same."""
        for lineage in self.recording.lineages:
            early, late = (first_of_input(lineage.inputs[k], number) for k in (-2, -1))
            if early is not None and late is not None:
                return late - early
        return 0

    def _picked(self, value: FromInput, step: int, where: str) -> tuple[Any, int]:
        """(what a value shows of the input, where that begins), both the same for all steps.

        The input holds its own places, so that the pattern is what remains when the first place is taken off.
        """
        places = value.tensor.double().numpy().astype(np.int64) - 1
        if places.ndim < 2:
            raise InputError("its input has no batch axis", where=where, fix="give an example with a batch axis")
        pattern = places[0] - places[0].flat[0]
        apart = (places - places[0]).reshape(len(places), -1)
        if np.any(apart != apart[:, :1]):
            raise InputError("its input mixes the samples of a batch", where=where, fix="keep the batch axis first")
        key = value.number, places.shape[1:], np.ascontiguousarray(pattern).tobytes()
        return key, int(places[0].flat[0]) - step * self.strides[value.number]

    def _node(self, value: Value, step: int, where: str) -> str:
        """The node that brings a value, made where there is none."""
        look = self._look(value, step, where)
        if look not in self.made:
            self.made[look] = self._make(value, step, where)
        return self.made[look]

    def _make(self, value: Value, step: int, where: str) -> str:
        match value:
            case FromInput():
                return self._input(value, step, where)
            case Fired():
                node = self._spikes(value.lineage, where)
                late = step - value.step
                if late < 0:
                    raise InputError("it receives spikes of a later step", where=where)
                return self._after(node, f"{node}.late{late}", Delay(np.array(late)), where) if late else node
            case Called():
                return self._called(value, step, where)
            case Scaled():
                node = self._node(value.source, step, where)
                return self._after(node, f"{node}.scaled", scaled(value.factor, self.shapes[node], where), where)
            case Flat():
                node = self._node(value.source, step, where)
                return self._after(node, f"{node}.flat", Flatten(value.start - 1, value.end - 1), where)
            case Added():
                name = self._fresh("add")
                self._vertex(name, Wire(), where)
                self._add(list(value.parts), step, name, where)
                self.shapes[name] = self.shapes[self.edges[-1][0]]
                return name
            case _:
                raise TypeError(type(value))

    def _after(self, source: str, name: str, op: Op, where: str) -> str:
        """A node with an operation on what `source` brings."""
        name = self._fresh(name)
        self._vertex(name, op, where)
        shape = self.shapes[source]
        if isinstance(op, Delay):
            self.shapes[name] = shape
        else:
            try:
                self.shapes[name] = op.output_shape(shape)
            except InputError as error:
                raise InputError(error.message, where=where) from None
        self.edges.append((source, name))
        return name

    def _called(self, value: Called, step: int, where: str) -> str:
        layer = self.modules.get(value.path, value.layer)  # a function of torch is no module
        here = f"{value.path} ({type(layer).__name__})"
        if isinstance(layer, NORMS) and isinstance(value.source, Called):
            before = self.modules.get(value.source.path, value.source.layer)
            if isinstance(before, (nn.Linear, nn.Conv1d, nn.Conv2d)):
                node = self._node(value.source.source, step, where)
                op = operation(before, self.shapes[node], f"{value.source.path} ({type(before).__name__})")
                assert isinstance(op, Linear | Conv1d | Conv2d)
                return self._after(node, value.source.path, folded(op, layer, here), here)
        node = self._node(value.source, step, where)
        if isinstance(layer, NORMS):
            for op in normalised(layer, self.shapes[node], here):
                node = self._after(node, value.path, op, here)
            return node
        return self._after(node, value.path, operation(layer, self.shapes[node], here), here)

    def _input(self, value: FromInput, step: int, where: str) -> str:
        """The input population that feeds what is picked, and a flatten where the module flattens it itself."""
        key, begin = self._picked(value, step, where)
        stride = self.strides[value.number]
        if key in self.inputs:
            node, known = self.inputs[key]
            late, rest = divmod(known - begin, stride) if stride else (0, 1)
            if not rest and late > 0:
                return self._after(node, f"{node}.late{late}", Delay(np.array(late)), where)
            if not rest and late < 0:
                raise InputError("it reads a later step of the input", where=where)
        places = value.tensor.double().numpy().astype(np.int64) - 1
        example = self.recording.examples[value.number]
        name = self._fresh(self.recording.names[value.number] if len(self.recording.examples) > 1 else "input")
        shape: Shape = tuple(places.shape[1:])
        natural = self._natural(places[0], example, stride)
        self._vertex(name, Input(natural if len(shape) == 1 else shape), where)
        self.shapes[name] = natural if len(shape) == 1 else shape
        sample = int(places[1].flat[0] - places[0].flat[0]) if len(places) > 1 else 0
        own = places[0] - step * stride
        self.sources[name] = Source(value.number, own.reshape(self.shapes[name]), stride, sample)
        node = name
        if self.shapes[name] != shape:
            node = self._after(name, f"{name}.flat", Flatten(0, -1), where)
        self.inputs.setdefault(key, (node, begin))
        return node

    def _natural(self, places: np.ndarray, example: Tensor, stride: int) -> Shape:
        """The shape of one step of one sample of the example, if all of it is used in its own order."""
        flat = places.ravel()
        if np.array_equal(flat, flat[0] + np.arange(flat.size)):
            dims = list(example.shape)
            axes = [k for k, d in enumerate(dims) if d == self.steps and example.stride(k) == stride]
            if stride and self.recording.calls == 1 and axes:
                del dims[axes[0]]
            if int(np.prod(dims[1:])) == flat.size and len(dims) > 1:
                return tuple(dims[1:])
        return tuple(places.shape)

    def _fresh(self, name: str) -> str:
        taken = {*self.vertices, *self.names.values()}
        while name in taken:
            name += "'"
        return name

    # Outputs

    def _outputs(self) -> None:
        nodes: dict[str, None] = {}
        for value in self.recording.results:
            for node in self._read(value):
                nodes[node] = None
        if not nodes:
            raise InputError("nothing that it returns comes from its layers", where=self.where, fix="return spikes")
        feeding = {pre for pre, _ in self.edges}
        last = [node for node in nodes if node not in feeding]
        hidden = [node for node in nodes if node in feeding]
        if last and hidden:
            names = ", ".join(f"'{n}'" for n in hidden)
            self.notes.tell(f"the module returns {names}, too; read out is what comes last")
        for node in last or hidden:
            name = self._fresh("output")
            self._vertex(name, Output(None), self.where)
            self.edges.append((node, name))

    def _read(self, value: Value) -> list[str]:
        """The nodes that something returned is made of."""
        match value:
            case Fired():
                lineage = value.lineage
                if value.output and self.recording.lineages[lineage].layer.reset_mechanism != "none":
                    return []  # a membrane beside the spikes
                return [self._spikes(lineage, self.where)]
            case Many() | Unknown():
                return list(dict.fromkeys(node for part in value.parts for node in self._read(part)))
            case Called() | Scaled() | Flat():
                step = step_of(value)
                if step is None:
                    return []
                return [self._node(value, step, self.where)]
            case Added():
                steps = {s for part in value.parts if (s := step_of(part)) is not None}
                if len(steps) == 1 and not value.constant and not any(isinstance(p, Many) for p in value.parts):
                    return [self._node(value, steps.pop(), self.where)]
                return list(dict.fromkeys(node for part in value.parts for node in self._read(part)))
            case _:
                return []

    # The whole

    def _order(self) -> tuple[str, ...]:
        """Inputs, then populations in the order of their calls, operations as soon as they can be computed."""
        number = {name: k for k, name in self.names.items()}
        calls = [x.order for x in self.recording.lineages]
        sources: dict[str, list[str]] = {name: [] for name in self.vertices}
        for pre, post in self.edges:
            sources[post].append(pre)
        order = [n for n, v in self.vertices.items() if isinstance(v.part, Input)]
        placed = set(order)
        waiting = [n for n in self.vertices if n not in placed]

        def place(name: str) -> None:
            order.append(name)
            placed.add(name)
            waiting.remove(name)

        def settle() -> None:
            moved = True
            while moved:
                moved = False
                for name in list(waiting):
                    if name not in number and all(s in placed for s in sources[name]):
                        place(name)
                        moved = True

        settle()
        for name in sorted(number, key=lambda n: calls[number[n]]):
            self._sums_before(name, sources, placed, place)
            place(name)
            settle()
        for name in list(waiting):
            place(name)
        return tuple(order)

    def _sums_before(
        self, name: str, sources: dict[str, list[str]], placed: set[str], place: Callable[[str], None]
    ) -> None:
        """Place the sums that a population reads and that wait for spikes of the step before."""
        todo, seen = [name], set[str]()
        found: list[str] = []
        while todo:
            for source in sources[todo.pop()]:
                if source not in seen and source not in placed and not isinstance(self.vertices[source].part, Delay):
                    seen.add(source)
                    if source not in self.names.values():
                        todo.append(source)
                        found.append(source)
        for source in reversed(found):
            if source not in placed and isinstance(self.vertices[source].part, Wire):
                place(source)
        # Operations between such a sum and the population follow it.
        moved = True
        while moved:
            moved = False
            for source in found:
                if source not in placed and all(s in placed for s in sources[source]):
                    place(source)
                    moved = True

    def _loop_bias(self) -> LoopBias:
        """Whether recurrent biases are there in the first step: a module may leave them out with the spikes."""
        late: set[bool] = set()
        for lineage in self.recording.lineages:
            first, later = terms(lineage.inputs[0]), terms(lineage.inputs[-1])
            for term in later:
                if self._comes_round(term, len(lineage.inputs) - 1) and self._adds(term):
                    late.add(len(first) < len(later) and not has_constant(lineage.inputs[0]))
        if late == {True, False}:
            raise InputError("some recurrent biases are missing in the first step, some are not", where=self.where)
        return "late" if late == {True} else "always"

    def _comes_round(self, value: Value, step: int) -> bool:
        """Whether a term depends on nothing but spikes of earlier steps."""
        fired = fired_in(value)
        return bool(fired) and all(f.step < step for f in fired)

    def _adds(self, value: Value) -> bool:
        match value:
            case Called():
                layer = self.modules.get(value.path, value.layer)
                return getattr(layer, "bias", None) is not None or self._adds(value.source)
            case Scaled() | Flat():
                return self._adds(value.source)
            case Added():
                return any(map(self._adds, value.parts))
            case _:
                return False


_CURE = "use layers of torch.nn, sums, and products with constants between the neurons"

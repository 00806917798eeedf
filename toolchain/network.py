"""Network: the one intermediate representation, from the front door to the image.

Populations of neurons, joined by projections. Every pass returns a new network;
nothing is changed in place. A float network speaks SI units with the parameter
names of NIR; after quantisation the neurons are of the target's integer model
(``cuba_fixed``) and the weights are integers. The types are the same.

Time. A projection delivers within the step in which its source spikes, after
`delay` further steps; a projection to a population that comes earlier in the
order (or to itself) delivers one step later. This is the time of the model: a
pipelined chip shows population k of a chain k steps later.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from snnc.errors import InputError
from snnc.ops import Conv2d, Linear, Op, Shape, Weighted, output_shape

# Parameters of each neuron model, in the order of NIR's positional fields.
NEURONS: dict[str, tuple[str, ...]] = {
    # What the user feeds in: spikes 0/1, no dynamics.
    "input": (),
    # v += r I dt
    "if": ("r", "v_threshold", "v_reset"),
    # tau dv/dt = (v_leak - v) + r I
    "lif": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    # tau_syn dI/dt = -I + w_in S ;  tau_mem dv/dt = (v_leak - v) + r I
    "cuba_lif": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    # Integer CUBA of Loihi-style chips; equations in snnc.simulator.reference.
    "cuba_fixed": ("u_decay", "v_decay", "threshold", "bias"),
}


@dataclass(frozen=True)
class Semantics:
    """What NIR leaves open about a discrete neuron.

    reset: "zero" (v = 0), "value" (v = v_reset) or "subtract" (v -= v_threshold).
    compare: ">" spikes strictly above the threshold, ">=" also at it.
    """

    reset: str = "zero"
    compare: str = ">"


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one kind.

    shape: without batch and time. neuron: a key of :data:`NEURONS`.
    params: one array per parameter of that model, each of the population's shape; SI units
    (seconds, volts) before quantisation, register values after.
    """

    name: str
    shape: Shape
    neuron: str
    params: Mapping[str, np.ndarray] = field(default_factory=dict)
    semantics: Semantics = Semantics()

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from population `pre` to population `post`, both by name.

    ops: the linear operations in between, applied left to right. Frontends give chains
    (pool, flatten, linear); after lowering there is exactly one Linear or Conv2d.
    delay: additional whole steps. bits: signed width the weights were trained for, None = float.
    """

    name: str
    pre: str
    post: str
    ops: tuple[Op, ...]
    delay: int = 0
    bits: int | None = None

    @property
    def op(self) -> Weighted:
        """The one operation of a lowered projection."""
        (op,) = self.ops
        if not isinstance(op, Linear | Conv2d):
            raise TypeError(f"projection '{self.name}' is not lowered: it holds a {type(op).__name__}")
        return op


@dataclass(frozen=True, eq=False)
class Network:
    """Populations in an order in which information flows forward, and their projections.

    outputs: names of the populations that are read out. dt: seconds per step.
    Raises InputError where names, shapes or parameters do not fit together.
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    outputs: tuple[str, ...]
    dt: float
    name: str = "network"

    def __post_init__(self) -> None:
        _check(self)

    def __getitem__(self, name: str) -> Population:
        for population in self.populations:
            if population.name == name:
                return population
        raise KeyError(name)

    @property
    def inputs(self) -> tuple[Population, ...]:
        return tuple(p for p in self.populations if p.neuron == "input")

    @property
    def layers(self) -> tuple[Population, ...]:
        """The populations that compute, i.e. all but the inputs."""
        return tuple(p for p in self.populations if p.neuron != "input")

    @property
    def offsets(self) -> dict[str, int]:
        """Index of each population's first neuron when all are laid end to end."""
        sizes = np.cumsum([0, *(p.size for p in self.populations)])
        return {p.name: int(s) for p, s in zip(self.populations, sizes, strict=False)}

    @property
    def size(self) -> int:
        """Neurons, inputs included."""
        return sum(p.size for p in self.populations)

    def into(self, name: str) -> tuple[Projection, ...]:
        """The projections that end in population `name`."""
        return tuple(p for p in self.projections if p.post == name)

    def depth(self, name: str) -> int:
        """Synaptic layers on the longest forward path from an input to `name`."""
        order = {p.name: k for k, p in enumerate(self.populations)}
        depths: dict[str, int] = {}
        for population in self.populations:
            forward = [p.pre for p in self.into(population.name) if order[p.pre] < order[population.name]]
            depths[population.name] = 1 + max((depths[n] for n in forward), default=-1)
        return depths[name]


def identical(a: Any, b: Any) -> bool:
    """Exact equality of networks, parts or arrays: same types, dtypes, shapes and values."""
    if type(a) is not type(b):
        return False
    if dataclasses.is_dataclass(a):
        return all(identical(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(identical(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, sparse.csr_array):
        return (
            a.shape == b.shape
            and identical(a.data, b.data)
            and np.array_equal(a.indptr, b.indptr)
            and np.array_equal(a.indices, b.indices)
        )
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)


def _check(network: Network) -> None:
    names = [p.name for p in network.populations]
    for kind, parts in (("population", names), ("projection", [p.name for p in network.projections])):
        for name in parts:
            if parts.count(name) > 1:
                raise InputError(f"two {kind}s are named '{name}'")
    if not network.dt > 0 or not math.isfinite(network.dt):
        raise InputError(f"the step dt must be a positive number of seconds, got {network.dt}")
    for population in network.populations:
        _check_population(population)
    for projection in network.projections:
        where = f"projection '{projection.name}'"
        for end in (projection.pre, projection.post):
            if end not in names:
                raise InputError(f"there is no population '{end}'", where=where)
        if network[projection.post].neuron == "input":
            raise InputError(f"'{projection.post}' is an input and cannot receive synapses", where=where)
        for op in projection.ops:
            _check_finite(op, where)
        try:
            shape = output_shape(projection.ops, network[projection.pre].shape)
        except InputError as error:
            raise InputError(error.message, where=where) from None
        if math.prod(shape) != network[projection.post].size:
            raise InputError(
                f"it delivers {shape} but '{projection.post}' has shape {network[projection.post].shape}",
                where=where,
            )
    for name in network.outputs:
        if name not in names:
            raise InputError(f"there is no population '{name}' to read out")


def _check_population(population: Population) -> None:
    where = f"layer '{population.name}'"
    if population.neuron not in NEURONS:
        raise InputError(f"unknown neuron '{population.neuron}'", where=where)
    if population.size < 1 or any(s < 1 for s in population.shape):
        raise InputError(f"the shape {population.shape} holds no neurons", where=where)
    if set(population.params) != set(NEURONS[population.neuron]):
        raise InputError(
            f"a {population.neuron} neuron takes {', '.join(NEURONS[population.neuron]) or 'no parameters'}; "
            f"got {', '.join(population.params) or 'none'}",
            where=where,
        )
    for name, value in population.params.items():
        if value.shape != population.shape:
            raise InputError(f"{name} has shape {value.shape}, the layer {population.shape}", where=where)
        if not np.all(np.isfinite(value)):
            raise InputError(f"{name} holds NaN or infinity", where=where)
        if name.startswith("tau") and not np.all(value > 0):
            raise InputError(f"{name} must be positive, got {value.min():g}", where=where)


def _check_finite(op: Op, where: str) -> None:
    for name in ("weight", "bias"):
        value = getattr(op, name, None)
        if value is None:
            continue
        data = value.data if sparse.issparse(value) else value
        if not np.all(np.isfinite(data)):
            raise InputError(f"{name} holds NaN or infinity", where=where)

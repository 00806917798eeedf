"""Network: the one intermediate representation, from the front door to the image.

Populations of neurons, joined by projections. Every pass returns a new network;
nothing is changed in place. A float network speaks SI units with the parameter
names of NIR; after quantisation the neurons are of the target's integer model
(``cuba_fixed``) and the weights are integers. The types are the same.

Time. A projection delivers within the step in which its source spikes, after
`delay` further steps; a projection to a population that comes earlier in the
order (or to itself) delivers one step later (:meth:`Network.lag`). This is the time of
the model: a pipelined chip shows population k of a chain k steps later.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from snnc.errors import InputError
from snnc.ops import Conv2d, Linear, Op, Shape, Weighted, output_shape

# Parameters of each neuron model, in the order of NIR's positional fields.
NEURONS: dict[str, tuple[str, ...]] = {
    # What the user feeds in: spikes 0/1 or values, no dynamics.
    "input": (),
    # No dynamics: the sum of what arrives, passed on in the same step. Where branches meet, and a read-out
    # that has no neurons.
    "sum": (),
    # z = 1 where the input is above the threshold, in the same step
    "threshold": ("threshold",),
    # dv/dt = r I ; never spikes, v itself is passed on
    "i": ("r",),
    # tau dv/dt = (v_leak - v) + r I ; never spikes
    "li": ("tau", "r", "v_leak"),
    # tau_syn dI/dt = -I + w_in S ;  tau_mem dv/dt = (v_leak - v) + r I ; never spikes
    "cuba_li": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    # dv/dt = r I
    "if": ("r", "v_threshold", "v_reset"),
    # tau dv/dt = (v_leak - v) + r I
    "lif": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    # tau_syn dI/dt = -I + w_in S ;  tau_mem dv/dt = (v_leak - v) + r I
    "cuba_lif": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    # Integer CUBA of Loihi-style chips; equations in snnc.simulator.reference.
    "cuba_fixed": ("u_decay", "v_decay", "threshold", "bias"),
    # The same without threshold: it never spikes, and its membrane is read out.
    "cuba_li_fixed": ("u_decay", "v_decay", "bias"),
    # The first one joined by a second compartment, which its spikes push down: a neuron that adapts.
    "alif_fixed": ("u_decay", "v_decay", "w_decay", "threshold", "bias", "w_jump"),
    # The first one whose spikes carry a value, its membrane.
    "graded_fixed": ("u_decay", "v_decay", "threshold", "bias"),
    # Leak by an amount, towards zero, per step; equations in snnc.crossbars.steps, of integers and of floats.
    "linear_fixed": ("leak", "bias", "threshold"),
}
OPTIONAL: dict[str, tuple[str, ...]] = dict.fromkeys(("cuba_fixed", "alif_fixed", "graded_fixed"), ("refractory",))
"""Parameters that a population of a model may have; steps for which a neuron rests after a spike."""

ANALOGUE = ("sum", "i", "li", "cuba_li")
"""Float models that pass on real values instead of spikes."""

INTEGER = ("cuba_fixed", "cuba_li_fixed", "alif_fixed", "graded_fixed")
"""Integer models; the second is the read-out of the first, the third adapts, the fourth sends values."""

READ_OUT = "cuba_li_fixed"

ADAPTIVE = "alif_fixed"

GRADED = "graded_fixed"

SPIKING = ("if", "lif", "cuba_lif")
"""Float models with a membrane that spikes."""

# A value of each field of Semantics -> all of them.
CHOICES: dict[str, tuple[str, ...]] = {
    "reset": ("zero", "value", "subtract", "none"),
    "when": ("now", "next", "recheck"),
    "compare": (">", ">="),
    "spikes": ("one", "many"),
    "floor": ("none", "threshold"),
    "start": ("zero", "leak", "reset"),
    "decay": ("euler", "exponential"),
    "gain": ("step", "time"),
    "output": ("now", "next"),
    "arithmetic": ("float", "slayer"),
}


@dataclass(frozen=True)
class Semantics:
    """What NIR leaves open about a discrete neuron: how frameworks differ that read the same file.

    With v the membrane before a step, v* after leak and input, s the spike of the step, h the threshold.

    reset: what a spike does to the membrane: "zero" (v = 0), "value" (v = v_reset), "subtract" (v -= h),
    "none".
    when: "now": in the step of the spike, v = reset(v*). "next": on top of the update of the next step, which
    then sees the reset before it compares (snntorch's reset_delay=True). "recheck": subtract only, snntorch's
    reset_delay=False: with r = [v > h], v* -= r h; s = [v* > h]; v = v* - (s - r) h. It differs from "now" where a
    reset membrane is still above h.
    compare: ">": a neuron spikes strictly above the threshold, ">=": also at it.
    spikes: "one" per step at most, or "many": trunc(v* / h), each of which resets.
    floor: "threshold": after each step v is at least -h.
    start: the membrane before the first step: 0, v_leak or v_reset. Currents start at 0.
    decay: "euler": 1 - dt/tau; "exponential": exp(-dt/tau), with the matching gain 1 - exp(-dt/tau).
    gain: of "if" and "i", whose r has two conventions: "step": v += r x (snntorch, sinabs, norse, the NIR
    paper); "time": v += r dt x, by the letter of the equation (SpikingJelly).
    output: "next": spikes leave the neuron one step after they are fired; recurrent ones are not delayed more
    than a step for that.
    arithmetic: "slayer": the integers of lava-dl's training (:mod:`snnc.simulator.floating.slayer`) instead of floats.
    """

    reset: str = "zero"
    compare: str = ">"
    when: str = "now"
    spikes: str = "one"
    floor: str = "none"
    start: str = "zero"
    decay: str = "euler"
    gain: str = "step"
    output: str = "now"
    arithmetic: str = "float"

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}; got '{getattr(self, name)}'")
        if self.when == "recheck" and self.reset != "subtract":
            raise InputError(f"when '{self.when}' belongs to reset 'subtract', not to '{self.reset}'")


USUAL = Semantics()
"""The neuron of Loihi-style chips."""

SUBTRACTING = tuple(Semantics("subtract", when=when) for when in CHOICES["when"])
"""Those that take the threshold off, which integer neurons can be programmed to."""


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
    semantics: Semantics = USUAL

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def subtracts(self) -> bool:
        """Whether a spike takes the threshold off the membrane."""
        return self.semantics.reset == "subtract"

    @property
    def compartments(self) -> int:
        """What one of its neurons takes of a core, in the units in which cores hold neurons and update them."""
        return 2 if self.neuron == ADAPTIVE else 1


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from population `pre` to population `post`, both by name.

    ops: the linear operations in between, applied left to right. Frontends give chains
    (pool, flatten, linear); after lowering there is exactly one Linear or Conv2d.
    delay: additional whole steps. bits: signed width the weights were trained for, None = float.
    bias_start: the step from which on biases are added.
    """

    name: str
    pre: str
    post: str
    ops: tuple[Op, ...]
    delay: int = 0
    bits: int | None = None
    bias_start: int = 0

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

    @cached_property
    def rank(self) -> Mapping[str, int]:
        """Place of each population in the order."""
        return {p.name: k for k, p in enumerate(self.populations)}

    def __getitem__(self, name: str) -> Population:
        return self.populations[self.rank[name]]

    @property
    def inputs(self) -> tuple[Population, ...]:
        return tuple(p for p in self.populations if p.neuron == "input")

    @property
    def layers(self) -> tuple[Population, ...]:
        """The populations that compute, i.e. all but the inputs."""
        return tuple(p for p in self.populations if p.neuron != "input")

    @property
    def integer(self) -> bool:
        """Whether all of its neurons are of an integer model."""
        return all(p.neuron in INTEGER for p in self.layers)

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
        return self._into.get(name, ())

    @cached_property
    def _into(self) -> Mapping[str, tuple[Projection, ...]]:
        found: dict[str, list[Projection]] = {}
        for projection in self.projections:
            found.setdefault(projection.post, []).append(projection)
        return {name: tuple(group) for name, group in found.items()}

    def backward(self, projection: Projection) -> bool:
        """Whether it leads to its own population or to one earlier in the order."""
        return self.rank[projection.pre] >= self.rank[projection.post]

    def lag(self, projection: Projection) -> int:
        """Steps between a spike of the source and its arrival in the target.

        Its delay, and one step more if it leads backward or if spikes leave the source one step late.
        """
        late = self[projection.pre].semantics.output == "next"
        return projection.delay + int(late or self.backward(projection))

    def held(self, projection: Projection) -> int:
        """Steps that the synapses of a lowered projection hold a spike back on a chip that works as a pipeline.

        There every projection takes a step: a population at depth k (:attr:`depths`) shows its spikes k steps late,
        and a projection from depth j waits for the k - j - 1 steps more that others have taken; and for its delay.
        """
        waits = self.depths[projection.post] - self.depths[projection.pre] - 1 + int(self.backward(projection))
        return projection.delay + max(0, waits if self.depths[projection.pre] >= 0 else 0)

    @cached_property
    def depths(self) -> Mapping[str, int]:
        """Synaptic layers on the longest forward path from an input to each population of a lowered network.

        -1 where no synapse leads there: such neurons can start whenever they are needed.
        """
        depths: dict[str, int] = {}
        for population in self.populations:
            forward = (p for p in self.into(population.name) if not self.backward(p) and p.op.taps)
            default = 0 if population.neuron == "input" else -1
            depths[population.name] = max((1 + depths[p.pre] for p in forward), default=default)
        return depths


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
        counts = Counter(parts)
        if twice := [name for name in parts if counts[name] > 1]:
            raise InputError(f"two {kind}s are named '{twice[0]}'")
    if not network.dt > 0 or not math.isfinite(network.dt):
        raise InputError(f"the step dt must be a positive number of seconds, got {network.dt}")
    for population in network.populations:
        _check_population(population)
    for projection in network.projections:
        where = f"projection '{projection.name}'"
        for end in (projection.pre, projection.post):
            if end not in network.rank:
                raise InputError(f"there is no population '{end}'", where=where)
        if network[projection.pre].neuron == READ_OUT:
            raise InputError(f"'{projection.pre}' never spikes and cannot send", where=where)
        if network[projection.post].neuron == "input":
            raise InputError(f"'{projection.post}' is an input and cannot receive synapses", where=where)
        if projection.delay < 0 or projection.bias_start < 0:
            raise InputError("delay and bias_start count steps and cannot be negative", where=where)
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
        if name not in network.rank:
            raise InputError(f"there is no population '{name}' to read out")
        if network[name].neuron == GRADED:
            raise InputError(f"'{name}' sends values, of which there is no count", fix="read out neurons behind it")


def _check_population(population: Population) -> None:
    where = f"layer '{population.name}'"
    if population.neuron not in NEURONS:
        raise InputError(f"unknown neuron '{population.neuron}'", where=where)
    if population.size < 1 or any(s < 1 for s in population.shape):
        raise InputError(f"the shape {population.shape} holds no neurons", where=where)
    if set(population.params) - set(OPTIONAL.get(population.neuron, ())) != set(NEURONS[population.neuron]):
        raise InputError(
            f"a {population.neuron} neuron takes {', '.join(NEURONS[population.neuron]) or 'no parameters'}; "
            f"got {', '.join(population.params) or 'none'}",
            where=where,
        )
    known = (USUAL, *SUBTRACTING) if population.neuron == "cuba_fixed" else (USUAL,)
    if population.neuron in INTEGER and population.semantics not in known:
        names = (f.name for f in dataclasses.fields(Semantics))
        strange = ", ".join(
            f"{name} '{value}'"
            for name in names
            if (value := getattr(population.semantics, name)) != getattr(USUAL, name)
        )
        raise InputError(f"a {population.neuron} neuron has no {strange}", where=where, fix="compile the network again")
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

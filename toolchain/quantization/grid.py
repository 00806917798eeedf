"""The integers that a chip holds, and the rounding of a float layer to them.

A lif or cuba_lif neuron is a linear recurrence (:mod:`snnc.euler`), and the integer neuron computes the
same one in units of `1 << 6` (:mod:`snnc.simulator.reference`). With a scale S for each neuron, whose membrane
then counts in units of volt / S, and an exponent e for each layer:

    weight    = clip(round(S * gain * w / 2**e), -q, q) * 2**e
    threshold = round(S * v_threshold)               bias = round(S * (gain * b + drive))
    u_decay   = round((1 - alpha) * 2**12)           v_decay = round((1 - beta) * 2**12)

A read-out, which never spikes, has the largest membrane that its register must hold in place of a threshold. q is
2**(bits - 1) - 1; of 1 bit, which is a sign, it is 1. Rounding never revives a pruned weight; weights
that round to zero stop being synapses and are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from snnc import euler, ops
from snnc.network import ANALOGUE, READ_OUT, USUAL, Network, Population, Projection, Semantics
from snnc.ops import Conv2d, Linear
from snnc.target import Target

# A product that would be a whole number without rounding may lie below it by this.
ROUNDING = 1e-6
# Weights that are rounded at once, which bounds memory.
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Largest magnitudes: of a weight before it is multiplied by 2**exponent, of that exponent, a threshold, a bias.

    one: a decay of 1.
    """

    weight: int
    exponent: int
    threshold: int
    bias: int
    one: int

    @classmethod
    def of(cls, target: Target, bits: int) -> Limits:
        """Those of a chip for weights of `bits`."""
        largest = max(1, 2 ** (bits - 1) - 1)
        return cls(
            weight=largest,
            exponent=(target.synapse.weight_limit.value // largest).bit_length() - 1,
            threshold=2**target.neuron.threshold_bits.value - 1,
            bias=2 ** (target.neuron.bias_bits.value - 1) - 1,
            one=2**target.neuron.decay_bits.value,
        )


@dataclass(frozen=True, eq=False)
class Scale:
    """What a volt is, for each neuron of a layer.

    factor: S / 2**exponent, which turns weights into mantissas, float64 (neurons,). exponent: e. exact: whether that
    leaves nothing of them to round.
    """

    factor: np.ndarray
    exponent: int
    exact: bool = False

    @property
    def unit(self) -> np.ndarray:
        """S, (neurons,)."""
        return np.asarray(self.factor * 2.0**self.exponent)


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a lowered float network as it is to be rounded.

    incoming: its projections with the gain of the neurons in their weights, and without biases. form: the
    recurrence of its neurons. bias: what is added to each membrane in every step, (neurons,). reach: of a read-out, the
    magnitude that membranes are to have room for, if it is known.
    """

    population: Population
    incoming: tuple[Projection, ...]
    form: euler.Euler
    bias: np.ndarray
    reach: float | None = None

    @classmethod
    def of(cls, network: Network, name: str, reach: float | None = None) -> Layer:
        """The layer `name` of a network."""
        population = network[name]
        form = euler.discretise(population, network.dt)
        gain = form.gain.ravel()
        bias = form.drive.ravel().astype(np.float64)
        for projection in network.into(name):
            added = ops.bias_of(projection.op, network[projection.pre].shape)
            bias = bias if added is None else bias + gain * added
        return cls(population, tuple(_with_gain(network, p, gain) for p in network.into(name)), form, bias, reach)

    @property
    def name(self) -> str:
        return self.population.name

    @property
    def size(self) -> int:
        return self.population.size

    @property
    def reads(self) -> bool:
        """Whether it never spikes, and its membranes are read out."""
        return self.population.neuron in ANALOGUE

    @cached_property
    def threshold(self) -> np.ndarray:
        """What must fit the register of thresholds, and that of membranes with it, (neurons,)."""
        if self.reads:
            return np.full(self.size, self.reach or self.largest or 1.0)
        return self.population.params["v_threshold"].astype(np.float64).ravel()

    @property
    def decays(self) -> bool:
        """Whether membranes or currents fade; else a membrane is a whole number of weights and biases."""
        return bool(np.any(self.form.beta != 1) or np.any(self.form.alpha != 0))

    @property
    def subtracts(self) -> bool:
        """Whether a spike takes the threshold off the membrane, instead of all of it."""
        return self.population.subtracts and not self.reads

    @cached_property
    def channels(self) -> np.ndarray:
        """Number of the channel of each neuron, (neurons,): what may have a scale of its own."""
        counts = {p.op.weight.shape[0] for p in self.incoming if isinstance(p.op, Conv2d)}
        count = counts.pop() if counts else self.population.shape[0]
        if counts:  # convolutions of different numbers of channels
            count = 1
        return np.repeat(np.arange(count), self.size // count)

    @cached_property
    def largest(self) -> float:
        """Magnitude of the largest weight; 0 where there is none."""
        return max((float(np.abs(values(p)).max(initial=0)) for p in self.incoming), default=0.0)

    def neurons(self, projection: Projection) -> np.ndarray:
        """For each of the :func:`values` of an incoming projection, a neuron that it leads to."""
        op = projection.op
        if isinstance(op, Linear):
            return np.repeat(np.arange(op.weight.shape[0]), np.diff(op.weight.indptr))
        count = op.weight.shape[0]
        return np.repeat(np.arange(count) * (self.size // count), op.weight[0].size)

    def part(self, chosen: np.ndarray) -> Layer:
        """The layer with some of its neurons only; for layers without convolutions."""
        p = self.population
        params = {name: value.ravel()[chosen] for name, value in p.params.items()}
        few = Population(p.name, (len(chosen),), p.neuron, params, p.semantics)
        form = euler.Euler(*(getattr(self.form, f.name).ravel()[chosen] for f in fields(euler.Euler)))
        incoming = tuple(replace(q, ops=(Linear(q.op.weight[chosen]),)) for q in self.incoming)
        return Layer(few, incoming, form, self.bias[chosen])


@dataclass(frozen=True, eq=False)
class Rounded:
    """A layer in integers.

    mantissas: int16, of all :func:`values` of each projection. clipped, vanished: how many weights were larger than the
    grid, and how many became zero. error: of the weights, as the root of the sum of its squares over that of theirs.
    """

    population: Population
    incoming: tuple[Projection, ...]
    mantissas: tuple[np.ndarray, ...]
    clipped: int
    vanished: int
    error: float

    @property
    def weights(self) -> int:
        """Those that are left, a kernel's once."""
        return sum(p.op.taps for p in self.incoming)

    @property
    def parameter_sets(self) -> int:
        """Different sets of parameters that the neurons of a core share, biases apart."""
        shared = [v.ravel() for k, v in self.population.params.items() if k != "bias"]
        return len(np.unique(np.stack(shared), axis=1).T)


@dataclass(frozen=True, eq=False)
class Gridded:
    """A layer on the grid of `limits`, with the scale that was found for it. exact: no weight had to be rounded."""

    layer: Layer
    scale: Scale
    limits: Limits
    integers: Rounded
    exact: bool


# Trains a lowered network as it stands on the grid. Of each layer the new scale and the mantissas of its projections,
# and what happened, as plain data.
Placed = tuple[Scale, list[np.ndarray]]
Tune = Callable[[Network, Sequence[Gridded]], tuple[list[Placed], dict[str, Any]]]


def rounded(layer: Layer, scale: Scale, limits: Limits, model: str) -> Rounded:
    """The layer with integer weights (int16), and registers (int32) of the neuron model `model`."""
    mantissas = [_mantissas(layer, p, scale, limits) for p in layer.incoming]
    return held(layer, mantissas, scale, limits, model)


def held(layer: Layer, mantissas: Sequence[np.ndarray], scale: Scale, limits: Limits, model: str) -> Rounded:
    """The layer with these mantissas, int16 and for all :func:`values` of each incoming projection."""
    clipped = vanished = 0
    error = energy = 0.0
    for projection, mantissa in zip(layer.incoming, mantissas, strict=True):
        for part, exact, factor in _parts(layer, projection, scale):
            m = mantissa[part]
            clipped += int(np.count_nonzero(np.abs(np.rint(exact)) > limits.weight))
            vanished += int(np.count_nonzero((m == 0) & (exact != 0)))
            error += float(np.square((exact - m) / factor).sum())
            energy += float(np.square(exact / factor).sum())
    return Rounded(
        registers(layer, scale, limits, model),
        tuple(_holding(p, m << scale.exponent) for p, m in zip(layer.incoming, mantissas, strict=True)),
        tuple(mantissas),
        clipped,
        vanished,
        float(np.sqrt(error / energy)) if energy else 0.0,
    )


def grid(exact: np.ndarray, limits: Limits) -> np.ndarray:
    """Weights in units of the grid, on the grid."""
    return np.clip(np.rint(exact), -limits.weight, limits.weight)


def _mantissas(layer: Layer, projection: Projection, scale: Scale, limits: Limits) -> np.ndarray:
    found = np.empty(len(values(projection)), np.int16)
    for part, exact, _ in _parts(layer, projection, scale):
        found[part] = grid(exact, limits)
    return found


def _parts(
    layer: Layer, projection: Projection, scale: Scale
) -> Iterator[tuple[slice, np.ndarray, np.ndarray | float]]:
    """The values of a projection in units of the grid, and their factor, a bounded number at a time."""
    data = values(projection)
    uniform = bool(np.all(scale.factor == scale.factor[0]))
    neurons = None if uniform else layer.neurons(projection)
    for start in range(0, len(data), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        factor = float(scale.factor[0]) if neurons is None else scale.factor[neurons[part]]
        yield part, data[part] * factor, factor


def registers(layer: Layer, scale: Scale, limits: Limits, model: str) -> Population:
    """The neurons of the layer with integer parameters.

    Where nothing decays, membranes are whole numbers, which are above a threshold if they are above its whole part.
    Where membranes decay, or thresholds are subtracted, whose errors add up, the nearest whole number does best. But
    what arrives at rest in one step is, of exact weights, a multiple of them: a threshold that was rounded up onto one
    would stop what passes in the float network.
    """
    form = layer.form
    threshold = layer.threshold * scale.unit
    nearest = layer.decays or layer.subtracts
    whole = np.rint(threshold) if nearest else np.floor(threshold + ROUNDING)
    if scale.exact:
        whole = np.where((whole % 2**scale.exponent == 0) & (whole > threshold + ROUNDING), whole - 1, whole)
    exact = {
        "u_decay": (1 - form.alpha) * limits.one,
        "v_decay": (1 - form.beta) * limits.one,
        # A threshold of 0 would let a neuron at rest drift over it by rounding.
        "threshold": np.clip(whole, 1, limits.threshold),
        "bias": np.clip(layer.bias * scale.unit, -limits.bias, limits.bias),
    }
    if layer.reads:
        model = READ_OUT
        del exact["threshold"]
    shape = layer.population.shape
    params = {name: np.rint(value).astype(np.int32).reshape(shape) for name, value in exact.items()}
    how = Semantics("subtract", when=layer.population.semantics.when) if layer.subtracts else USUAL
    return Population(layer.name, shape, model, params, how)


def values(projection: Projection) -> np.ndarray:
    """All stored weights, flat; zeros of a kernel included."""
    op = projection.op
    return np.asarray(op.weight.data if isinstance(op, Linear) else op.weight.ravel())


def _holding(projection: Projection, weights: np.ndarray) -> Projection:
    """The projection with other :func:`values`; those that are zero are no synapses."""
    op = projection.op
    if isinstance(op, Conv2d):
        return replace(projection, ops=(replace(op, weight=weights.reshape(op.weight.shape)),))
    matrix = sparse.csr_array((weights, op.weight.indices, op.weight.indptr), shape=op.weight.shape)
    return replace(projection, ops=(Linear(ops.canonical(matrix)),))


def _with_gain(network: Network, projection: Projection, gain: np.ndarray) -> Projection:
    """The projection with the gain of its target neurons (flat) in its weights, and no bias."""
    op = projection.op
    if np.all(gain == 1):
        plain = Linear(op.weight) if isinstance(op, Linear) else replace(op, bias=None)
        return replace(projection, ops=(plain,))
    if isinstance(op, Conv2d):
        per_channel = gain.reshape(op.weight.shape[0], -1)
        if np.all(per_channel == per_channel[:, :1]):
            weight = op.weight * per_channel[:, 0, None, None, None]
            return replace(projection, ops=(replace(op, weight=weight, bias=None),))
    # A gain that varies within a channel leaves no kernel to share.
    matrix = ops.matrix(op, network[projection.pre].shape)
    return replace(projection, ops=(Linear(sparse.csr_array(sparse.diags_array(gain) @ matrix)),))

"""The part of all networks that netx can load and Lava computes correctly.

netx 0.6 checks almost nothing: it skips what it does not know, clips, truncates and wraps in
silence. So every limit is checked here, before a byte is written. Limits of registers are the
widths that Lava declares (``lava.proc.lif``, ``lava.proc.dense``); limits of weights are the
8-bit mantissa of the chip as netx derives it (``lava.lib.dl.netx.utils.optimize_weight_bits``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from snnc.errors import InputError
from snnc.network import ADAPTIVE, GRADED, Network, Population, Projection
from snnc.ops import Conv2d, Linear, Shape, canonical
from snnc.simulator.common import input_of, integer_op, integer_params

REGISTERS = {"threshold": (0, (1 << 17) - 1), "bias": (-(1 << 12), (1 << 12) - 1)}
"""Register -> inclusive range. Decays have the range of the integer neuron itself."""

UNIFORM = ("u_decay", "v_decay", "threshold")
"""Registers that a netx layer holds once for all its neurons."""

NEVER = 1 << 17
"""Threshold of a read-out: beyond all membranes, and netx takes it."""

MAX_DELAY = 62
"""Steps; netx cuts longer delays."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One block of netx: synapses and the neurons they drive.

    shape: what netx sees, (channels, rows, columns) behind a convolution, whatever the population's own shape.
    flatten: a convolution's output must be flattened in front of this layer.
    delay: int64 of the shape of a dense layer's weights, or None where it is zero everywhere.
    bias: int64 of `shape`, or None where it is zero everywhere.
    """

    population: Population
    shape: Shape
    op: Linear | Conv2d
    flatten: bool
    delay: np.ndarray | None
    u_decay: int
    v_decay: int
    threshold: int
    bias: np.ndarray | None


def chain(network: Network) -> tuple[Population, tuple[Layer, ...]]:
    """The input population and the layers behind it, in order.

    Raises InputError, naming layer, field and cure, for everything that netx cannot express or
    Lava would compute differently: branches, recurrence, delays of convolutions, several inputs, neurons
    of one layer that differ in threshold or decay, registers and weights out of range.
    """
    feed = input_of(network)
    layers: list[Layer] = []
    # A netx block is either (width, height, channels) or flat, whatever shape our population has.
    spatial = len(feed.shape) in (2, 3)
    for population, projections in zip(network.layers, _links(network, feed), strict=True):
        where = f"layer '{population.name}'"
        op, delay = _joined(projections, where)
        if isinstance(op, Conv2d) and not spatial:
            raise InputError(
                "a convolution cannot follow a dense layer in netx, whose dense layers are flat",
                where=where,
                fix="keep the layer before it a convolution, or expand this one to a dense layer",
            )
        _check_weights(op, where)
        flatten = isinstance(op, Linear) and spatial
        shape = op.images(network[projections[0].pre].shape)[1] if isinstance(op, Conv2d) else (population.size,)
        layers.append(_layer(population, shape, op, flatten, delay, where))
        spatial = isinstance(op, Conv2d)
    return feed, tuple(layers)


def _links(network: Network, feed: Population) -> tuple[tuple[Projection, ...], ...]:
    """The projections into each layer, in order, all from the one before; InputError unless they form a chain."""
    order = {p.name: k for k, p in enumerate(network.populations)}
    for projection in network.projections:
        where = f"projection '{projection.name}'"
        if order[projection.pre] >= order[projection.post]:
            raise InputError(
                f"it leads from '{projection.pre}' back to '{projection.post}'; recurrent synapses are not exported",
                where=where,
                fix="run it with snnc simulate",
            )
        if projection.delay > MAX_DELAY:
            raise InputError(
                f"it has a delay of {projection.delay} steps; netx cuts delays to {MAX_DELAY}",
                where=where,
                fix="train with shorter delays, or run it with snnc simulate",
            )
    links: list[tuple[Projection, ...]] = []
    previous = feed.name
    for layer in network.layers:
        into = network.into(layer.name)
        if {p.pre for p in into} != {previous}:
            sources = ", ".join(f"'{p.pre}'" for p in into) or "nothing"
            raise InputError(
                f"netx runs chains: this layer must be fed by '{previous}' alone, it is fed by {sources}",
                where=f"layer '{layer.name}'",
                fix="run it with snnc simulate",
            )
        links.append(into)
        previous = layer.name
    if not links:
        raise InputError("the network has no layers besides its input", where=network.name)
    return tuple(links)


def _joined(projections: tuple[Projection, ...], where: str) -> tuple[Linear | Conv2d, np.ndarray | None]:
    """Parallel projections as one operation, and the delay of each of its synapses."""
    op = integer_op(projections[0])
    if len(projections) == 1 and not projections[0].delay:
        return op, None
    parts = [(integer_op(p), p.delay) for p in projections]
    dense = [(part.weight, delay) for part, delay in parts if isinstance(part, Linear)]
    if len(dense) < len(parts):
        raise InputError(
            "delays of convolutions, and several of them side by side, are not exported: netx ignores such delays",
            where=where,
            fix="run it with snnc simulate",
        )
    weight, delay = sum(w for w, _ in dense), np.zeros(op.weight.shape, np.int64)
    if weight.nnz < sum(w.nnz for w, _ in dense):
        raise InputError(
            "two synapses join the same two neurons with different delays; netx has one",
            where=where,
            fix="run it with snnc simulate",
        )
    for part, steps in dense:
        delay[part.nonzero()] = steps
    return Linear(canonical(weight)), delay if delay.any() else None


def _layer(
    population: Population, shape: Shape, op: Linear | Conv2d, flatten: bool, delay: np.ndarray | None, where: str
) -> Layer:
    beyond = {ADAPTIVE: "its neurons adapt", GRADED: "its spikes carry values"}.get(population.neuron)
    if "refractory" in population.params:
        beyond = "its neurons rest after a spike"
    elif population.semantics.reset != "zero":
        beyond = "a spike takes the threshold off its membranes"
    if beyond:
        raise InputError(
            f"{beyond}, which no model behind a .net does",
            where=where,
            fix="run it with snnc simulate",
        )
    params = integer_params(population)
    for name, (low, high) in REGISTERS.items():
        value = params.get(name, np.zeros(1))
        if value.min() < low or value.max() > high:
            raise InputError(
                f"{name} must lie within {low:,} .. {high:,}, it spans {value.min():,} .. {value.max():,}",
                where=where,
                fix="compile for a target with these widths (snnc targets)",
            )
    params.setdefault("threshold", np.full(population.size, NEVER))
    for name in UNIFORM:
        value = params[name]
        if value.min() != value.max():
            raise InputError(
                f"{name} differs between neurons ({value.min():,} .. {value.max():,}); netx has one per layer",
                where=where,
                fix=f"train with one {name} per layer" + (", and snnc compile --scales layer" * (name == "threshold")),
            )
    bias = params["bias"].reshape(shape) if params["bias"].any() else None
    u_decay, v_decay, threshold = (int(params[name][0]) for name in UNIFORM)
    return Layer(population, shape, op, flatten, delay, u_decay, v_decay, threshold, bias)


def _check_weights(op: Linear | Conv2d, where: str) -> None:
    """InputError for weights that the chip cannot hold or that netx would turn into others."""
    dense = isinstance(op, Linear)
    values = np.asarray(op.weight.data if isinstance(op, Linear) else op.weight, np.int64).ravel()
    values = values[values != 0]
    holes = len(values) < math.prod(op.weight.shape)
    if not len(values):
        if dense:
            raise InputError(
                "weight is zero everywhere, on which netx crashes",
                where=where,
                fix="remove the layer, or prune it less",
            )
        return
    low, high = int(values.min()), int(values.max())
    # One-signed weights use the sign bit as an eighth bit of magnitude.
    least, most = (0, 255) if low > 0 else (-255, 0) if high < 0 else (-256, 254)
    if low < least or high > most:
        raise InputError(
            f"weight spans {low:,} .. {high:,}; Lava holds {least} .. {most} for weights of these signs",
            where=where,
            fix="quantise to 8 bits (snnc compile)",
        )
    # netx counts a layer with zeros, but nothing positive, as one of mixed signs; the exponent that
    # lets 8 bits with sign reach beyond -128 .. 127 is one for the whole layer.
    odd = values[values % 2 != 0]
    if low < 0 and (high > 0 or holes) and (low < -128 or high > 127) and len(odd):
        raise InputError(
            f"weight spans {low} .. {high} and holds the odd {int(odd[0])}; "
            "beyond -128 .. 127 all weights of a layer must be even, as the mantissa has 8 bits with sign",
            where=where,
            fix="quantise to 8 bits (snnc compile)",
        )
    if dense and high < 0 and -low & (-low - 1) == 0:
        raise InputError(
            f"weight is nowhere positive and its minimum {low} is a power of two, which netx computes wrongly",
            where=where,
            fix="give the layer a positive weight, or a minimum that is not a power of two",
        )

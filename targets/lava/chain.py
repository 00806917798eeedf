"""The part of all networks that netx can load and Lava computes correctly.

netx 0.6 checks almost nothing: it skips what it does not know, clips, truncates and wraps in
silence. So every limit is checked here, before a byte is written. Limits of registers are the
widths that Lava declares (``lava.proc.lif``, ``lava.proc.dense``); limits of weights are the
8-bit mantissa of the chip as netx derives it (``lava.lib.dl.netx.utils.optimize_weight_bits``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnc.errors import InputError
from snnc.network import ADAPTIVE, GRADED, Network, Population, Projection
from snnc.ops import Conv2d, Linear, Shape, canonical
from snnc.simulator.common import input_of, integer_op, integer_params
from snnc.targets.lava.weights import encode, uneven

REGISTERS = {"threshold": (0, (1 << 17) - 1), "bias": (-(1 << 12), (1 << 12) - 1), "w_jump": (0, (1 << 17) - 1)}
"""Register -> inclusive range. Decays have the range of the integer neuron itself."""

UNIFORM = ("u_decay", "v_decay", "threshold")
"""Registers that a netx layer holds once for all its neurons."""

NEVER = 1 << 17
"""Threshold of a read-out: beyond all membranes, and netx takes it."""

MAX_DELAY = 62
"""Steps; netx cuts longer delays."""

PROGRAM = "export it as a program (snnc lava export --program DIR)"
"""The cure for what a program of Lava holds and a ``.net`` does not."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One block of netx: synapses and the neurons they drive.

    shape: what netx sees, (channels, rows, columns) behind a convolution, whatever the population's own shape.
    direct: each neuron has one synapse, of weight 1, from the input in its own place: it needs none in netx.
    flatten: a convolution's output must be flattened in front of this layer.
    recurrent: synapses from the layer to itself, None where it has none; then `op` is a Linear and `delay` None.
    delay: int64 of the shape of a dense layer's weights, or None where it is zero everywhere.
    bias: int64 of `shape`, or None where it is zero everywhere.
    """

    population: Population
    shape: Shape
    op: Linear | Conv2d
    recurrent: Linear | None
    direct: bool
    flatten: bool
    delay: np.ndarray | None
    u_decay: int
    v_decay: int
    threshold: int
    bias: np.ndarray | None


def chain(network: Network) -> tuple[Population, tuple[Layer, ...]]:
    """The input population and the layers behind it, in order.

    Raises InputError, naming layer, field and cure, for everything that netx cannot express or
    Lava would compute differently: branches, feedback across layers, loops of convolutions or of delayed layers,
    delays of convolutions, several inputs, neurons of one layer that differ in threshold or decay, neurons that
    netx has no model of, registers and weights out of range.
    """
    feed = input_of(network)
    layers: list[Layer] = []
    # A netx block is either (width, height, channels) or flat, whatever shape our population has.
    spatial = len(feed.shape) in (2, 3)
    for population, (forward, loops) in zip(network.layers, _links(network, feed), strict=True):
        where = f"layer '{population.name}'"
        op, delay = _joined(forward, where)
        recurrent = _recurrent(op, delay, loops, where)
        direct = not layers and delay is None and not loops and _direct(feed, population, op)
        if isinstance(op, Conv2d) and not spatial:
            raise InputError(
                "a convolution cannot follow a dense layer in netx, whose dense layers are flat",
                where=where,
                fix=f"keep the layer before it a convolution, or {PROGRAM}",
            )
        _check_weights(op, recurrent, where)
        flatten = isinstance(op, Linear) and spatial and not direct
        shape = op.images(network[forward[0].pre].shape)[1] if isinstance(op, Conv2d) else (population.size,)
        layers.append(_layer(population, shape, (op, recurrent, direct, flatten, delay), where))
        spatial = isinstance(op, Conv2d) or (direct and spatial)
    return feed, tuple(layers)


def _links(network: Network, feed: Population) -> tuple[tuple[tuple[Projection, ...], tuple[Projection, ...]], ...]:
    """The projections into each layer, in order: those from the layer before it, and its loops.

    InputError unless the layers form a chain.
    """
    for projection in network.projections:
        _check_projection(network, projection)
    links: list[tuple[tuple[Projection, ...], tuple[Projection, ...]]] = []
    previous = feed.name
    for layer in network.layers:
        loops = tuple(p for p in network.into(layer.name) if p.pre == layer.name)
        forward = tuple(p for p in network.into(layer.name) if p.pre != layer.name)
        if {p.pre for p in forward} != {previous}:
            sources = ", ".join(f"'{p.pre}'" for p in forward) or "nothing"
            raise InputError(
                f"netx runs chains: this layer must be fed by '{previous}' alone, it is fed by {sources}",
                where=f"layer '{layer.name}'",
                fix=PROGRAM,
            )
        links.append((forward, loops))
        previous = layer.name
    if not links:
        raise InputError("the network has no layers besides its input", where=network.name)
    return tuple(links)


def _check_projection(network: Network, projection: Projection) -> None:
    where = f"projection '{projection.name}'"
    if network.rank[projection.pre] > network.rank[projection.post]:
        for p in network.projections:
            integer_op(p)
        # A pipeline takes a step for each layer in between.
        spare = network.depths[projection.post] - network.depths[projection.pre] + network.lag(projection) - 1
        raise InputError(
            f"it leads from '{projection.pre}' back to '{projection.post}'; in netx a layer feeds back to itself alone",
            where=where,
            fix=PROGRAM if spare >= 0 else "run it with snnc simulate",
        )
    if projection.delay > MAX_DELAY:
        raise InputError(
            f"it has a delay of {projection.delay} steps; netx cuts delays to {MAX_DELAY}",
            where=where,
            fix="train with shorter delays" + (f", or {PROGRAM}" if projection.delay == MAX_DELAY + 1 else ""),
        )


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
            fix=PROGRAM,
        )
    weight, delay = sum(w for w, _ in dense), np.zeros(op.weight.shape, np.int64)
    if weight.nnz < sum(w.nnz for w, _ in dense):
        raise InputError("two synapses join the same two neurons; netx has one", where=where, fix=PROGRAM)
    for part, steps in dense:
        delay[part.nonzero()] = steps
    return Linear(canonical(weight)), delay if delay.any() else None


def check_registers(params: Mapping[str, np.ndarray], where: str) -> None:
    """InputError, naming `where`, for registers that are wider than Lava declares them."""
    for name, (low, high) in REGISTERS.items():
        value = params.get(name, np.zeros(1))
        if value.min() < low or value.max() > high:
            raise InputError(
                f"{name} must lie within {low:,} .. {high:,}, it spans {value.min():,} .. {value.max():,}",
                where=where,
                fix="compile for a target with these widths (snnc targets)",
            )


def _recurrent(
    op: Linear | Conv2d, delay: np.ndarray | None, loops: tuple[Projection, ...], where: str
) -> Linear | None:
    """The synapses of a layer to itself; `op` and `delay` are those of the synapses that lead there."""
    if not loops:
        return None
    if isinstance(op, Conv2d) or not all(isinstance(integer_op(p), Linear) for p in loops):
        raise InputError("it feeds back to itself, which in netx dense layers do", where=where, fix=PROGRAM)
    if delay is not None or any(p.delay for p in loops):
        # Of such a layer netx loses the exponent of the weights.
        raise InputError(
            "it feeds back to itself and has delays; netx computes the weights of such a layer wrongly",
            where=where,
            fix=PROGRAM,
        )
    joined, _ = _joined(loops, where)
    return joined if isinstance(joined, Linear) else None


def _direct(feed: Population, population: Population, op: Linear | Conv2d) -> bool:
    """Whether a first layer is one of netx's input: neurons without synapses, and without a bias of their own."""
    if isinstance(op, Conv2d) or population.shape != feed.shape or np.any(population.params.get("bias", 0)):
        return False
    weight, places = op.weight, np.arange(feed.size)
    return (
        weight.shape == (feed.size, feed.size)
        and np.array_equal(weight.indptr[:-1], places)
        and np.array_equal(weight.indices, places)
        and bool(np.all(weight.data == 1))
    )


def _layer(
    population: Population,
    shape: Shape,
    synapses: tuple[Linear | Conv2d, Linear | None, bool, bool, np.ndarray | None],
    where: str,
) -> Layer:
    """A layer of the given `op`, `recurrent`, `direct`, `flatten` and `delay`."""
    beyond = {ADAPTIVE: "its neurons adapt", GRADED: "its spikes carry values"}.get(population.neuron)
    if "refractory" in population.params:
        beyond = "its neurons rest after a spike"
    if population.semantics.reset == "subtract":
        beyond = "a spike subtracts the threshold of its neurons"
    if beyond:
        raise InputError(
            f"{beyond}, which no model behind a .net does",
            where=where,
            fix=PROGRAM,
        )
    params = integer_params(population)
    check_registers(params, where)
    params.setdefault("threshold", np.full(population.size, NEVER))
    for name in UNIFORM:
        value = params[name]
        if value.min() != value.max():
            raise InputError(
                f"{name} differs between neurons ({value.min():,} .. {value.max():,}); netx has one per layer",
                where=where,
                fix=("snnc compile --scales layer, or " if name == "threshold" else "") + PROGRAM,
            )
    bias = params["bias"].reshape(shape) if params["bias"].any() else None
    u_decay, v_decay, threshold = (int(params[name][0]) for name in UNIFORM)
    op, recurrent, direct, flatten, delay = synapses
    return Layer(population, shape, op, recurrent, direct, flatten, delay, u_decay, v_decay, threshold, bias)


def _check_weights(op: Linear | Conv2d, recurrent: Linear | None, where: str) -> None:
    """InputError for weights that the chip cannot hold or that netx would turn into others.

    The two matrices of a recurrent layer share one exponent and one width.
    """
    dense = isinstance(op, Linear)
    parts = [_values(part) for part in (op, recurrent) if part is not None]
    values = np.concatenate([present for present, _ in parts])
    holes = any(hole for _, hole in parts)
    if not len(values):
        if dense:
            raise InputError(
                "weight is zero everywhere, on which netx crashes",
                where=where,
                fix=f"remove the layer, prune it less, or {PROGRAM}",
            )
        return
    low, high = int(values.min()), int(values.max())
    encode(values, where)
    # netx counts a layer with zeros, but nothing positive, as one of mixed signs.
    if high < 0 and holes and low < -128 and np.any(values % 2):
        raise uneven(values, 2, True, where)
    if dense and -low & (-low - 1) == 0 and high < -low and any(_sunk(part, low) for part, _ in parts):
        raise InputError(
            f"weight is nowhere positive and its minimum {low} is a power of two, which netx computes wrongly",
            where=where,
            fix=f"give the layer a positive weight, or {PROGRAM}",
        )


def _values(op: Linear | Conv2d) -> tuple[np.ndarray, bool]:
    """All weights that are not zero, int64, and whether any is."""
    values = np.asarray(op.weight.data if isinstance(op, Linear) else op.weight, np.int64).ravel()
    values = values[values != 0]
    return values, len(values) < math.prod(op.weight.shape)


def _sunk(values: np.ndarray, low: int) -> bool:
    """Whether a matrix is nowhere positive and reaches down to `low`; what is nowhere positive ends at -255 in Lava."""
    return bool(len(values)) and low < 0 and int(values.max()) < 0 and int(values.min()) == low

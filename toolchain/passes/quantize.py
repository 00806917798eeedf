"""Quantize: float neurons and weights become the target's integer registers.

A lif or cuba_lif neuron is a linear recurrence (:mod:`snnc.euler`), and the integer
neuron computes the same one in units of `1 << 6` (snnc.simulator.reference). With one
scale S per population, whose membrane then counts in units of volt / S:

    weight    = round(S * gain * w / 2**e) * 2**e    a multiple of 2**e on the signed grid of `bits`
    threshold = round(S * v_threshold)               bias = round(S * (gain * b + drive))
    u_decay   = round((1 - alpha) * 2**12)           v_decay = round((1 - beta) * 2**12)

The exponent e is the largest the chip allows for weights of that width: it costs no memory
and lets thresholds and biases be finer than weights, which trained networks need, as their
weights are often ten times the threshold. S is the largest scale at which the largest weight
still fits the grid, made smaller where a threshold or a bias would not fit its register, and
down to where the (largest) threshold is a whole number: an error there would move every spike.
Rounding never revives a pruned weight; weights that round to zero stop being synapses and
are counted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from snnc import euler, ops
from snnc.compilation import Compilation
from snnc.network import Network, Population, Projection, Semantics
from snnc.ops import Conv2d, Linear
from snnc.resources import weight_bits

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Largest magnitudes: of a weight before it is multiplied by 2**exponent, a threshold and a bias.

    one: a decay of 1.
    """

    weight: int
    exponent: int
    threshold: int
    bias: int
    one: int


def run(c: Compilation) -> Compilation:
    """Quantise the lowered network of `c`; one that already is of integers is kept as it is."""
    neuron = c.target.neuron
    c = replace(c, lowered=c.network)
    if c.network.integer:
        return _kept(c)
    largest = 2 ** (c.options.bits - 1) - 1
    limits = Limits(
        weight=largest,
        exponent=(c.target.synapse.weight_limit.value // largest).bit_length() - 1,
        threshold=2**neuron.threshold_bits.value - 1,
        bias=2 ** (neuron.bias_bits.value - 1) - 1,
        one=2**neuron.decay_bits.value,
    )
    network, layers = quantize(c.network, neuron.model, limits)
    network = replace(network, projections=tuple(replace(p, bits=c.options.bits) for p in network.projections))
    for layer in layers:
        if layer["rounded_to_zero"] and not layer["weights"]:
            _logger.warning("every weight of layer '%s' rounds to zero: use more --bits", layer["layer"])
    return replace(c, network=network).found(quantize={"bits": c.options.bits, "layers": layers})


def _kept(c: Compilation) -> Compilation:
    """The network of `c`, which came with integers, in the types of the executors."""
    projections = []
    for p in c.network.projections:
        bits = weight_bits(p, c.target.synapse)
        projections.append(replace(p, ops=(replace(p.op, weight=p.op.weight.astype(np.int16)),), bits=bits))
    network = replace(c.network, projections=tuple(projections))
    return replace(c, network=network).found(quantize={"bits": None, "layers": []})


def quantize(network: Network, model: str, limits: Limits) -> tuple[Network, list[dict[str, Any]]]:
    """The integer network of neuron model `model`, and what happened to each layer."""
    populations: list[Population] = []
    projections: dict[str, Projection] = {}
    layers = []
    for population in network.populations:
        if population.neuron == "input":
            populations.append(population)
            continue
        form = euler.discretise(population, network.dt)
        incoming = [_scaled(network, p, form.gain.ravel()) for p in network.into(population.name)]
        bias = form.drive + sum(
            (_bias(network, p, form.gain.ravel()) for p in network.into(population.name)), np.zeros(population.size)
        ).reshape(population.shape)
        scale = _scale(incoming, population.params["v_threshold"], bias, limits)
        rounded = [_rounded(p, scale, limits.exponent) for p in incoming]
        populations.append(_registers(population, form, bias, scale, model, limits))
        projections |= {p.name: p for p in rounded}
        layers.append(_account(population, populations[-1], incoming, rounded, scale))
    ordered = tuple(projections[p.name] for p in network.projections)
    return replace(network, populations=tuple(populations), projections=ordered), layers


def _scaled(network: Network, projection: Projection, gain: np.ndarray) -> Projection:
    """The projection with the gain of its target neurons (flat) in its weights, and no bias."""
    op = projection.op
    if isinstance(op, Conv2d):
        per_channel = gain.reshape(op.weight.shape[0], -1)
        if np.all(per_channel == per_channel[:, :1]):
            weight = op.weight * per_channel[:, 0, None, None, None]
            return replace(projection, ops=(replace(op, weight=weight, bias=None),))
    # A gain that varies within a channel leaves no kernel to share.
    matrix = ops.matrix(op, network[projection.pre].shape)
    return replace(projection, ops=(Linear(sparse.csr_array(sparse.diags_array(gain) @ matrix)),))


def _bias(network: Network, projection: Projection, gain: np.ndarray) -> np.ndarray:
    bias = ops.bias_of(projection.op, network[projection.pre].shape)
    return np.zeros(len(gain)) if bias is None else gain * bias


def _values(projection: Projection) -> np.ndarray:
    """All stored weights, flat; zeros of a kernel included."""
    op = projection.op
    return op.weight.data if isinstance(op, Linear) else op.weight.ravel()


def _scale(incoming: list[Projection], threshold: np.ndarray, bias: np.ndarray, limits: Limits) -> float:
    largest = max((float(np.abs(_values(p)).max(initial=0)) for p in incoming), default=0.0)
    bounds = [limits.threshold / float(threshold.max())]
    if largest > 0:
        bounds.append((limits.weight << limits.exponent) / largest)
    if np.any(bias != 0):
        bounds.append(limits.bias / float(np.abs(bias).max()))
    scale, top = min(bounds), float(threshold.max())
    return float(np.floor(scale * top) / top) if scale * top >= 1 else scale


def _rounded(projection: Projection, scale: float, exponent: int) -> Projection:
    def whole(values: np.ndarray) -> np.ndarray:
        return np.rint(values * scale / 2**exponent).astype(np.int16) << exponent

    op = projection.op
    if isinstance(op, Conv2d):
        return replace(projection, ops=(replace(op, weight=whole(op.weight)),))
    weight = op.weight.copy()
    weight.data = whole(weight.data)
    return replace(projection, ops=(Linear(ops.canonical(weight)),))


def _registers(
    population: Population, form: euler.Euler, bias: np.ndarray, scale: float, model: str, limits: Limits
) -> Population:
    values = {
        "u_decay": (1 - form.alpha) * limits.one,
        "v_decay": (1 - form.beta) * limits.one,
        # A threshold of 0 would let a neuron at rest drift over it by rounding.
        "threshold": np.maximum(1, np.rint(population.params["v_threshold"] * scale)),
        "bias": bias * scale,
    }
    params = {name: np.rint(value).astype(np.int32) for name, value in values.items()}
    return Population(population.name, population.shape, model, params, Semantics())


def _account(
    before: Population, after: Population, exact: list[Projection], rounded: list[Projection], scale: float
) -> dict[str, Any]:
    """What quantisation did to one layer, as plain numbers."""
    wanted = sum(int(np.count_nonzero(_values(p))) for p in exact)
    kept = sum(int(np.count_nonzero(_values(p))) for p in rounded)
    error = energy = 0.0
    for p, q in zip(exact, rounded, strict=True):
        # Weights that rounded to zero are gone from a CSR matrix: its difference counts them in full.
        difference = p.op.weight * scale - q.op.weight
        data = difference.data if sparse.issparse(difference) else difference
        error += float(np.square(data).sum())
        energy += float(((_values(p) * scale) ** 2).sum())
    return {
        "layer": before.name,
        "scale": scale,
        "threshold": [int(after.params["threshold"].min()), int(after.params["threshold"].max())],
        "weights": kept,
        "rounded_to_zero": wanted - kept,
        "weight_error": float(np.sqrt(error / energy)) if energy else 0.0,
    }

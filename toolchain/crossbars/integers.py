"""From floats to the integers of a crossbar: a unit for each neuron, in which its weights and its threshold are whole.

Every neuron has a threshold of its own on these chips, so each may have its own unit. Tried are those in which the
largest weight is a whole number, from 1 to the largest that a synapse holds, and some in which it does not fit and is
cut: large weights are few. With calibration data a layer in integers is fed with the spikes of the float network, and
each neuron takes the unit in which it misplaces fewest spikes; without, the one with the smallest error of its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.crossbars.steps import Membranes, Register, Steps
from snnc.euler import discretise
from snnc.network import Network, Population, Projection
from snnc.ops import Linear, canonical

# Shares of the largest weight that still fit.
CUTS = (0.9, 0.8, 0.7, 0.6, 0.5)
# Numbers that differ from a whole one by less are taken for it: sums and quotients of float64 are off by far less.
NEARLY = 1e-9
# Membranes of the integers may go so much further than those of the floats on the same data.
MARGIN = 1.1
# Calibration samples that the float network is followed on, spike by spike.
FOLLOWED = 64
# Samples times steps times neurons of a trial: tens of megabytes.
LARGEST = 1 << 22


@dataclass(frozen=True)
class Widths:
    """What the registers of a chip hold: least and largest.

    bias: of what is added in every step. threshold, leak: the largest. register: the membrane.
    """

    weight: tuple[int, int]
    bias: tuple[int, int]
    threshold: int
    leak: int
    register: Register


def folded(network: Network, leaks: Mapping[str, np.ndarray] | None = None) -> Network:
    """A lowered network of IF neurons, or of the model `linear_fixed`, as one of that model, still in floats.

    Gains go into weights and biases, projections that begin, end and arrive together become one, and biases go to the
    neurons. leaks: layer -> float64 of its shape, what membranes lose per step, if not what the layer says.
    """
    populations = []
    merged: dict[tuple[str, str, int], Projection] = {}
    for population in network.populations:
        if population.neuron == "input":
            populations.append(population)
            continue
        if population.neuron == "linear_fixed":
            gain, bias = np.ones(population.size), population.params["bias"].ravel().astype(np.float64)
        else:
            discrete = discretise(population, network.dt)
            gain, bias = discrete.gain.ravel(), discrete.drive.ravel().copy()
        for projection in network.into(population.name):
            op, shape = projection.op, network[projection.pre].shape
            added = ops.bias_of(op, shape)
            bias += 0 if added is None else gain * added
            weight = canonical(sparse.diags_array(gain) @ ops.matrix(op, shape))
            key = (projection.pre, projection.post, projection.delay)
            if key in merged:
                weight = canonical(ops.matrix(merged[key].op, shape) + weight)
            merged[key] = replace(merged.get(key, projection), ops=(Linear(weight),))
        values = {"leak": np.zeros(population.shape), **population.params}
        params = {
            "leak": (leaks or {}).get(population.name, values["leak"]).astype(np.float64),
            "bias": bias.reshape(population.shape),
            "threshold": values["threshold" if "threshold" in values else "v_threshold"].astype(np.float64),
        }
        populations.append(replace(population, neuron="linear_fixed", params=params))
    return replace(
        network,
        populations=tuple(populations),
        projections=tuple(p for p in merged.values() if p.op.taps),
    )


def quantize(network: Network, widths: Widths, teacher: Steps | None) -> tuple[Network, list[dict[str, Any]]]:
    """A folded network in integers, and what happened to each layer, as plain data.

    teacher: the float network on calibration data, or None.
    """
    populations, projections, notes = [], [], []
    for population in network.populations:
        if population.neuron == "input":
            populations.append(population)
            continue
        layer = _Layer(network, population, widths)
        units = layer.units(teacher)
        costs = np.stack([layer.cost(unit, teacher) for unit in units])
        unit = np.take_along_axis(np.stack(units), costs.argmin(axis=0)[None], axis=0)[0]
        weights, after = layer.rounded(unit)
        populations.append(after)
        projections += [
            replace(p, ops=(Linear(canonical(w.astype(np.int16))),)) for p, w in zip(layer.into, weights, strict=True)
        ]
        notes.append(layer.note(unit, weights, after))
    done = replace(network, populations=tuple(populations), projections=tuple(p for p in projections if p.op.taps))
    return done, notes


def misplaced(
    network: Network,
    population: Population,
    weights: list[sparse.csr_array],
    wanted: Mapping[str, np.ndarray],
    register: Register | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """How a layer fed with the spikes that are wanted differs from what is wanted of it itself, both (neurons,).

    population: the layer as it is tried. weights: of the projections that lead into it in the network, in this order.
    wanted: population -> (samples, steps, neurons), of which as many samples are looked at as memory allows. Returns
    the steps in which a neuron spikes in one of both alone, and by how many spikes it differs in all; and its spikes.
    """
    own = wanted[population.name]
    steps, neurons = own.shape[1:]
    own = own[: max(1, LARGEST // (steps * neurons))]
    members = Membranes(population, len(own), register)
    into = network.into(population.name)
    lags = [network.lag(p) for p in into]
    cost, spikes, total = np.zeros(neurons), np.zeros(neurons), np.zeros(own.shape[::2])
    for t in range(steps):
        arriving = np.zeros((len(own), neurons), members.v.dtype)
        for projection, weight, lag in zip(into, weights, lags, strict=True):
            if t >= lag:
                sent = wanted[projection.pre][: len(own), t - lag].T.astype(members.v.dtype)
                arriving += (weight.astype(members.v.dtype) @ sent).T
        fired = members.step(arriving)
        cost += (fired != own[:, t]).sum(axis=0)
        spikes += fired.sum(axis=0)
        total += fired.astype(np.int64) - own[:, t]
    return cost + np.abs(total).sum(axis=0), spikes


class _Layer:
    """A population, the synapses that lead into it, and their largest numbers, (neurons,)."""

    def __init__(self, network: Network, population: Population, widths: Widths) -> None:
        self.network, self.population, self.widths = network, population, widths
        self.into = network.into(population.name)
        self.weights = [ops.matrix(p.op, network[p.pre].shape).astype(np.float64) for p in self.into]
        self.params = {name: value.ravel() for name, value in population.params.items()}
        largest = np.zeros(population.size)
        for weight in self.weights:
            largest = np.maximum(largest, np.abs(weight).max(axis=1).toarray().ravel())
        self.largest = largest

    def units(self, teacher: Steps | None) -> list[np.ndarray]:
        """Units to try, each (neurons,): all hold the threshold, and membranes as far as they are known to go."""
        high, bias = self.widths.weight[1], np.abs(self.params["bias"])
        # A neuron without synapses is measured by its bias, and one without anything by its threshold.
        threshold = self.params["threshold"]
        of = np.where(self.largest > 0, self.largest, np.where(bias > 0, bias, threshold))
        least = threshold / self.widths.threshold
        least = np.maximum(least, self.params["leak"] / self.widths.leak if self.widths.leak else 0)
        least = np.maximum(least, bias / self.widths.bias[1])
        if teacher is not None and self.widths.register.wraps:
            register, name = self.widths.register, self.population.name
            least = np.maximum(least, MARGIN * teacher.high[name] / register.high)
            least = np.maximum(least, MARGIN * teacher.low[name] / register.low)
        wanted = [of / k for k in range(1, high + 1)] + [of * cut / high for cut in CUTS]
        return [np.maximum(unit, least) for unit in wanted]

    def rounded(self, unit: np.ndarray) -> tuple[list[sparse.csr_array], Population]:
        """Weights of each projection, in float64 but whole, and the neurons, in a unit for each."""
        low, high = self.widths.weight
        weights = []
        for weight in self.weights:
            whole = np.clip(np.rint(weight.data / np.repeat(unit, np.diff(weight.indptr))), low, high)
            weights.append(sparse.csr_array((whole, weight.indices, weight.indptr), shape=weight.shape))
        ratio = self.params["threshold"] / unit
        near = np.abs(ratio - np.rint(ratio)) < NEARLY * np.maximum(1, ratio)
        ratio = np.where(near, np.rint(ratio), ratio)
        above = self.population.semantics.compare == ">"
        threshold = np.clip(np.floor(ratio) + 1 if above else np.ceil(ratio), 1, self.widths.threshold)
        params = {
            "leak": np.clip(np.rint(self.params["leak"] / unit), 0, self.widths.leak),
            "bias": np.clip(np.rint(self.params["bias"] / unit), *self.widths.bias),
            "threshold": threshold,
        }
        shape = self.population.shape
        after = replace(
            self.population,
            params={name: value.astype(np.int32).reshape(shape) for name, value in params.items()},
            semantics=replace(self.population.semantics, compare=">="),
        )
        return weights, after

    def cost(self, unit: np.ndarray, teacher: Steps | None) -> np.ndarray:
        """What the layer in such units costs, (neurons,): spikes misplaced, or squared errors of all numbers."""
        weights, after = self.rounded(unit)
        error = np.zeros(self.population.size)
        for name, exact in self.params.items():
            # One above a whole threshold is what spikes strictly above it, and no error.
            above = name == "threshold" and self.population.semantics.compare == ">"
            error += (unit * (after.params[name].ravel() - above) - exact) ** 2
        for weight, whole in zip(self.weights, weights, strict=True):
            off = sparse.diags_array(unit) @ whole - weight
            error += np.asarray(off.power(2).sum(axis=1)).ravel()
        # In parts of the threshold; less than one spike, so that it decides where spikes do not.
        error = error / (self.params["threshold"] ** 2 + error)
        if teacher is None:
            return error
        return error + misplaced(self.network, after, weights, teacher.spikes, self.widths.register)[0]

    def note(self, unit: np.ndarray, weights: list[sparse.csr_array], after: Population) -> dict[str, Any]:
        """What happened to the layer."""
        error = norm = cut = lost = 0.0
        low, high = self.widths.weight
        for exact, whole in zip(self.weights, weights, strict=True):
            off = sparse.diags_array(unit) @ whole - exact
            error, norm = error + float(off.power(2).sum()), norm + float(exact.power(2).sum())
            wanted = np.rint(exact.data / np.repeat(unit, np.diff(exact.indptr)))
            cut += int(np.count_nonzero((wanted < low) | (wanted > high)))
            lost += int(np.count_nonzero(whole.data == 0))
        threshold = after.params["threshold"]
        return {
            "layer": self.population.name,
            "weight_error": float(np.sqrt(error / norm)) if norm else 0.0,
            "clipped": int(cut),
            "rounded_to_zero": int(lost),
            "threshold": [int(threshold.min()), int(threshold.max())],
        }

"""The scale of a layer: the one at which its integers spike most as the float network does.

Every scale that :mod:`snnc.quantization.scales` proposes is tried on the layer alone, fed with the spikes of the float
network, and judged by :func:`snnc.quantization.trial.cost`; of equals the one with the smaller error of the weights is
taken. Without data that error alone decides.

Since a layer's neurons do not depend on each other when they are tried, each channel could have a scale of its own.
A core holds few different sets of parameters, so a small number of scales is chosen, and each channel gets the best
of them. That is done only where it pays, on samples that the choice was not made on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnc.quantization import scales
from snnc.quantization.grid import Layer, Limits, Rounded, Scale, grid, rounded
from snnc.quantization.trial import Trial

# Channels get scales of their own where that spares at least this many costs per wanted spike.
WORTH = 0.15
# Thresholds that a weight may be worth without data.
ENOUGH = 4.0


@dataclass(frozen=True, eq=False)
class Choice:
    """A scale, what the layer is with it, and how it was found, as plain data."""

    scale: Scale
    layer: Rounded
    log: dict[str, Any]


def without_data(layer: Layer, limits: Limits, model: str) -> Choice:
    """The scale with the smallest error of the weights.

    Of weights that are many times a threshold only that counts, for one spike makes the neuron spike anyway: else the
    largest of them would take the grid from all others.
    """
    sizes = np.minimum(scales.magnitudes(layer), ENOUGH * layer.threshold.max())
    tried = scales.around(layer, limits)

    def error(scale: Scale) -> float:
        exact = sizes * scale.factor[0]
        return float(np.square((exact - grid(exact, limits)) / scale.factor[0]).sum())

    best = min(tried, key=error)
    return Choice(best, rounded(layer, best, limits, model), {"tried": len(tried)})


def on_data(layer: Layer, trial: Trial, limits: Limits, model: str, groups: int) -> Choice:
    """The scale with the smallest cost; of the channels, where that pays.

    trial: of the layer, or of a part of it. groups: different sets of parameters that the layer may have.
    """
    tried = scales.around(trial.layer, limits)
    rounds = [rounded(trial.layer, s, limits, model) for s in tried]
    # Of every other sample, and of the rest, which is the judge of what was chosen: (scales, 2, channels).
    costs = np.stack([_by_channel(trial.layer, trial.cost(r)) for r in rounds])
    best = min(range(len(tried)), key=lambda k: (int(costs[k].sum()), rounds[k].error))
    wanted = max(1, int(trial.wanted.sum()))
    log = {"tried": len(tried), "cost_plain": int(costs[0].sum()) / wanted, "cost": int(costs[best].sum()) / wanted}
    if trial.layer is not layer:
        scale = Scale(np.full(layer.size, tried[best].factor[0]), tried[best].exponent)
        return Choice(scale, rounded(layer, scale, limits, model), log)
    uniform = Choice(tried[best], rounds[best], log)
    most = groups // rounds[best].parameter_sets
    if most < 2 or not _pays(costs, most, wanted):
        return uniform
    scale = _mixed(layer, tried, _assigned(costs.sum(axis=1), most))
    mixed = rounded(layer, scale, limits, model)
    cost = int(trial.cost(mixed).sum()) / wanted
    if mixed.parameter_sets > groups or cost > log["cost"] - WORTH:
        return uniform
    return Choice(scale, mixed, {**log, "cost": cost, "cost_of_one_scale": log["cost"]})


def _by_channel(layer: Layer, cost: np.ndarray) -> np.ndarray:
    """(samples, neurons) -> (2, channels): the sums over every other sample, and over the rest."""
    halves = np.stack([cost[::2].sum(axis=0), cost[1::2].sum(axis=0)])
    return halves.reshape(2, int(layer.channels[-1]) + 1, -1).sum(axis=2)


def _pays(costs: np.ndarray, most: int, wanted: int) -> bool:
    """Whether scales chosen on every other sample spare enough on the rest. costs: (scales, 2, channels)."""
    seen, held = costs[:, 0], costs[:, 1]
    if not held.any():  # there is one sample, or one half is perfect
        held = seen
    one = held[seen.sum(axis=1).argmin()].sum()
    several = np.take_along_axis(held, _assigned(seen, most)[None], axis=0).sum()
    return bool(one - several >= WORTH * wanted / 2)


def _assigned(costs: np.ndarray, most: int) -> np.ndarray:
    """For each channel one of at most so many scales, chosen one after the other. costs: (scales, channels)."""
    chosen: list[int] = []
    current = np.full(costs.shape[1], np.iinfo(np.int64).max)
    for _ in range(most):
        together = np.minimum(costs, current)
        best = int(together.sum(axis=1, dtype=np.float64).argmin())
        chosen.append(best)
        current = together[best]
    return np.array(chosen)[costs[chosen].argmin(axis=0)]


def _mixed(layer: Layer, tried: list[Scale], assigned: np.ndarray) -> Scale:
    """One exponent for all channels, and thresholds that are whole numbers where those of a channel are equal."""
    exponent = min(tried[k].exponent for k in assigned)
    unit = np.array([tried[k].factor[0] for k in assigned])[layer.channels] * 2.0**exponent
    top = np.zeros(len(assigned))
    np.maximum.at(top, layer.channels, layer.threshold)
    whole = np.floor(unit * top[layer.channels])
    unit = np.where(whole >= 1, whole / top[layer.channels], unit)
    return Scale(unit / 2.0**exponent, exponent)

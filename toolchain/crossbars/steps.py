"""What a network of neurons with a linear leak means, step by step: the specification, without a chip.

One step of a ``linear_fixed`` neuron::

    v  = max(v - leak, 0)  if v > 0,  min(v + leak, 0)  else       (towards zero, and not beyond)
    v  = v + bias + sum of the weights of all synapses on which a spike arrives in this step
    v  is brought into the range of the register
    s  = v >= threshold                                            (or v > threshold, by the semantics)
    v  = 0  where s, or v - threshold                              (by the semantics)

The same equations run on integers and, with no register, on floats: so the integers of a chip are held against the
network that they were made of. Time is that of :mod:`snnc.network`: a spike arrives in the step in which it is fired,
on a way back one step later, and `delay` steps later than that. All state is 0 before each sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnc.network import Network, Population
from snnc.ops import matrix


@dataclass(frozen=True)
class Register:
    """Numbers from `low` to `high`; beyond, they wrap around or saturate."""

    low: int
    high: int
    wraps: bool

    def hold(self, v: np.ndarray) -> np.ndarray:
        """The numbers as the register holds them."""
        if self.wraps:
            return (v - self.low) % (self.high - self.low + 1) + self.low
        return np.clip(v, self.low, self.high)


@dataclass(frozen=True, eq=False)
class Steps:
    """What a network did.

    spikes: population, the input included -> (samples, steps, neurons), uint8 or as the input is. potential:
    population -> (samples, neurons) after the last step. low, high: population -> (neurons,), extremes of the
    membrane before it is brought into the register, over all samples and steps.
    """

    spikes: Mapping[str, np.ndarray]
    potential: Mapping[str, np.ndarray]
    low: Mapping[str, np.ndarray]
    high: Mapping[str, np.ndarray]


class Membranes:
    """The neurons of a population, for some samples at once."""

    def __init__(self, population: Population, samples: int, register: Register | None) -> None:
        self.params = {k: v.ravel() for k, v in population.params.items()}
        self.subtract = population.semantics.reset == "subtract"
        self.above = population.semantics.compare == ">"
        self.register = register
        kind = np.result_type(*self.params.values())
        self.v = np.zeros((samples, population.size), np.float64 if kind.kind == "f" else np.int64)
        self.low, self.high = (np.zeros(population.size, self.v.dtype) for _ in range(2))

    def step(self, arriving: np.ndarray) -> np.ndarray:
        """Spikes, bool (samples, neurons), of a step in which so much arrives, (samples, neurons)."""
        leak, bias, threshold = (self.params[name] for name in ("leak", "bias", "threshold"))
        v = np.where(self.v > 0, np.maximum(self.v - leak, 0), np.minimum(self.v + leak, 0)) + bias + arriving
        np.minimum(self.low, v.min(axis=0), out=self.low)
        np.maximum(self.high, v.max(axis=0), out=self.high)
        if self.register is not None:
            v = self.register.hold(v)
        fired: np.ndarray = v > threshold if self.above else v >= threshold
        self.v = np.where(fired, v - threshold if self.subtract else 0, v)
        return fired


def simulate(network: Network, spikes: np.ndarray, register: Register | None = None) -> Steps:
    """Run a network whose neurons are all of the model `linear_fixed`.

    spikes: (samples, steps, *shape of the input), whole numbers. register: of the membranes; None = without bounds.
    """
    samples, steps = spikes.shape[:2]
    fed = spikes.reshape(samples, steps, -1)
    weights = {p.name: matrix(p.op, network[p.pre].shape) for p in network.projections}
    lags = {p.name: network.lag(p) for p in network.projections}
    neurons = {p.name: Membranes(p, samples, register) for p in network.layers}
    result = {p.name: np.zeros((samples, steps, p.size), np.uint8) for p in network.layers}
    for population in network.inputs:
        result[population.name] = fed
    for t in range(steps):
        for population in network.layers:
            state = neurons[population.name]
            arriving = np.zeros(state.v.shape, state.v.dtype)
            for projection in network.into(population.name):
                if t >= lags[projection.name]:
                    sent = result[projection.pre][:, t - lags[projection.name]].astype(state.v.dtype)
                    arriving += (weights[projection.name].astype(state.v.dtype) @ sent.T).T
            result[population.name][:, t] = state.step(arriving)
    return Steps(
        {p.name: result[p.name] for p in network.populations},
        {name: state.v for name, state in neurons.items()},
        {name: state.low for name, state in neurons.items()},
        {name: state.high for name, state in neurons.items()},
    )

"""The float network in float64: what the compiled network is held against.

Forward Euler with step dt, the rule by which our models are trained, in the coefficients of
:mod:`snnc.euler`. With x the summed input of the step (all projections with their biases)::

    i = alpha i + x                        (if, lif: alpha = 0)
    v = beta v + gain i + drive
    s = v > v_threshold                    (or >=, see Semantics)
    v = 0, v_reset or v - v_threshold      where s

i and v are 0 before each sample.

The form matters for rounding: snntorch computes ``beta * mem + x``, not ``v + dt/tau (...)``. A
network read from it has tau = dt/(1-beta) and r = tau/dt, whence gain is exactly 1 and beta comes
back to within one unit in the last place; what remains is the order in which sums are taken.
snntorch's own ``reset_mechanism="zero"`` means the above, for Synaptic only with
``reset_delay=False`` (else the step after a spike swallows its input); its "subtract" takes the
threshold off one step late and is another neuron.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from snnc.errors import InputError
from snnc.euler import discretise
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Flatten, Linear, Op, Pool2d
from snnc.simulator.common import input_of, lag


def simulate(network: Network, spikes: np.ndarray) -> dict[str, np.ndarray]:
    """Spikes of every population of a float network, the input included.

    spikes: zeros and ones, (samples, steps, *shape of the input).
    Returns name -> bool (samples, steps, *shape). InputError where the shape does not match or a
    neuron has no float equation.
    """
    feed = input_of(network)
    if spikes.shape[2:] != feed.shape:
        raise InputError(f"the spikes have shape {spikes.shape[2:]} per step, the input {feed.shape}")
    samples, steps = spikes.shape[:2]
    lags = {p.name: lag(network, p) for p in network.projections}
    neurons = {p.name: _Neurons(p, network.dt, samples) for p in network.layers}
    # Spikes of the last steps, newest first; silence before the first step.
    depth = 1 + max(lags.values(), default=0)
    past = {p.name: deque([np.zeros((samples, *p.shape), bool)] * depth, depth) for p in network.populations}
    result = {p.name: np.zeros((samples, steps, *p.shape), bool) for p in network.populations}

    for t in range(steps):
        for population in network.populations:
            past[population.name].appendleft(np.zeros((samples, *population.shape), bool))
        for population in network.populations:
            name = population.name
            if name == feed.name:
                fired = spikes[:, t] != 0
            else:
                x = np.zeros((samples, *population.shape))
                for projection in network.into(name):
                    x += _deliver(projection, past[projection.pre][lags[projection.name]]).reshape(x.shape)
                fired = neurons[name].step(x)
            past[name][0] = fired
            result[name][:, t] = fired
    return result


class _Neurons:
    """State and step of one population for all samples at once."""

    def __init__(self, population: Population, dt: float, samples: int) -> None:
        if population.neuron not in ("if", "lif", "cuba_lif"):
            raise InputError(f"'{population.neuron}' has no float equation", where=f"layer '{population.name}'")
        self.euler = discretise(population, dt)
        self.semantics = population.semantics
        self.threshold = population.params["v_threshold"].astype(np.float64)
        self.v_reset = population.params["v_reset"].astype(np.float64)
        self.i = np.zeros((samples, *population.shape))
        self.v = np.zeros((samples, *population.shape))

    def step(self, x: np.ndarray) -> np.ndarray:
        self.i = self.euler.alpha * self.i + x
        v = self.euler.beta * self.v + self.euler.gain * self.i + self.euler.drive
        fired = v >= self.threshold if self.semantics.compare == ">=" else v > self.threshold
        after = {"zero": 0.0, "value": self.v_reset, "subtract": v - self.threshold}[self.semantics.reset]
        self.v = np.where(fired, after, v)
        return fired


def _deliver(projection: Projection, fired: np.ndarray) -> np.ndarray:
    x = fired.astype(np.float64)
    for op in projection.ops:
        x = _apply(op, x)
    return x


def _apply(op: Op, x: np.ndarray) -> np.ndarray:
    """The operation on a batch, (batch, *shape) -> (batch, *output shape)."""
    shape = op.output_shape(x.shape[1:])
    if isinstance(op, Flatten):
        return x.reshape(len(x), *shape)
    if isinstance(op, Pool2d):
        op = op.as_conv(x.shape[1])
    if isinstance(op, Linear):
        y = (op.weight.astype(np.float64) @ x.reshape(len(x), -1).T).T
        return y if op.bias is None else y + op.bias
    y = _convolve(op, x)
    return y if op.bias is None else y + op.bias[:, None, None]


def _convolve(op: Conv2d, x: np.ndarray) -> np.ndarray:
    """One matrix product per kernel position and group; BLAS makes this quick without any matrix of the layer."""
    out, rows, columns = op.output_shape(x.shape[1:])
    x = np.pad(x, ((0, 0), (0, 0), (op.padding[0],) * 2, (op.padding[1],) * 2))
    weight = op.weight.astype(np.float64).reshape(op.groups, out // op.groups, *op.weight.shape[1:])
    x = x.reshape(len(x), op.groups, -1, *x.shape[2:])
    y = np.zeros((len(x), op.groups, out // op.groups, rows * columns))
    for i, j in np.ndindex(*op.weight.shape[2:]):
        top, left = i * op.dilation[0], j * op.dilation[1]
        seen = x[
            :,
            :,
            :,
            top : top + (rows - 1) * op.stride[0] + 1 : op.stride[0],
            left : left + (columns - 1) * op.stride[1] + 1 : op.stride[1],
        ]
        y += weight[:, :, :, i, j] @ seen.reshape(*seen.shape[:3], -1)
    return y.reshape(len(x), out, rows, columns)

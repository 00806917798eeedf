"""The specification of the integer neuron and of model time: slow, obvious numpy.

Everything that executes a compiled network must equal this executor bit by bit.

One step of a ``cuba_fixed`` neuron, U = 2^23, ``sr(x, n) = sign(x) * (|x| >> n)`` (rounds
towards zero)::

    a  = sum of the weights of all synapses on which a spike arrives in this step   (exact)
    u' = sr(u * (4096 - u_decay), 12) + (a << 6)
    u  = u' - 2U  if u' > U,    u' + 2U  if u' <= -U,    else u'           (wraps once)
    v' = sr(v * (4096 - v_decay), 12) + u + (bias << 6)
    v  = clip(v', -U + 1, U - 1)                                           (saturates)
    s  = v > (threshold << 6)
    v  = 0  where s                                                        (u is kept)

Of a population that resets by subtraction, v' and the last line depend on the moment of its semantics
(:class:`snnc.network.Semantics`). With h = threshold << 6, which must not be negative, and r = v > h of the membrane as
the step before has left it::

    now       v = v - h  where s
    next      v' = ... + u + (bias << 6) - r h          and v stays as it is, where s, too
    recheck   v' = ... + u + (bias << 6) - r h          v = v - (s - r) h

No v leaves its range by that: it is above h where h is taken off, and where h is given back, once two of them fitted.

=========  ========================================================  ====================
symbol     meaning                                                   range
=========  ========================================================  ====================
u          synaptic current, 0 before the first step                 (-2^23, 2^23]
v          membrane, 0 before the first step                         [-2^23+1, 2^23-1]
u_decay    share of u lost per step, in 1/4096; 4096 keeps nothing   0 .. 4096
v_decay    share of v lost per step, in 1/4096; 4096 keeps nothing   0 .. 4096
threshold  mantissa in units of 2^6                                  0 .. 2^17-1
bias       mantissa in units of 2^6, added to v in every step        -2^12 .. 2^12-1
weight     integer in units of 2^6                                   int16
s          spike of this step                                        0, 1
=========  ========================================================  ====================

A read-out, ``cuba_li_fixed``, has no threshold: it never spikes, and v is what it puts out in every step.

An ``alif_fixed`` neuron has a second compartment, which is updated first and joins the first::

    w' = sr(w * (4096 - w_decay), 12) - (w_jump << 6) * (s of the step before)
    w  = clip(w', -U + 1, U - 1)                                           (saturates)
    v' = sr(v * (4096 - v_decay), 12) + u + w + (bias << 6)

with w_decay as the other decays, and w_jump 0 .. 2^17-1.

A ``graded_fixed`` neuron compares in units of 2^6, s = (v >> 6) > threshold, and its spike carries the value v >> 6:
it delivers so many times its weights.

A neuron with `refractory` > 0 rests for so many steps after a spike: v is 0 and s is 0, while u and w go on. So what a
subtraction has left is lost in the first of them.

A wrap brings u into its range while ``|a| < 2^18``; beyond, the same single wrap is applied
and u may leave the range, as it does in Lava. Registers are computed here in 64 bits, so that
nothing else can overflow.

Within a step the populations are updated in network order. A spike arrives in the step in
which it is fired if the target comes later in that order, else (itself or back) in the next
one, and in either case `delay` steps later than that. All state is 0 before each sample.

Sources: Intel Lava 0.10 ``PyLifModelBitAcc`` (the registers, their widths and rounding; its
du, dv and bias exponent are u_decay - 1, v_decay and 6) and Loihi 1's published integer
arithmetic (Davies et al., IEEE Micro 38(1), 2018; nengo-loihi 1.1.0, discretize.py). Of the two joined compartments:
Intel's recurrent network of adaptive neurons (github intel-nrc-ecosystem/models), whose answers on silicon this
arithmetic gives (``python -m tests.experiments.lsnn_smnist``).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from snnc.errors import InputError
from snnc.network import ADAPTIVE, GRADED, READ_OUT, USUAL, Network, Semantics
from snnc.ops import matrix
from snnc.simulator.common import input_of, integer_op, integer_params

RANGE = 1 << 23
"""U: the registers u and v hold 24 bits with sign."""

UNIT = 6
"""Weights, thresholds and biases are mantissas in units of 2^UNIT."""

DECAY = 12
"""Decays are fractions of 2^DECAY."""


def shift_to_zero(x: np.ndarray, bits: int) -> np.ndarray:
    """sr(x, bits): arithmetic shift right that rounds towards zero."""
    return np.sign(x) * (np.abs(x) >> bits)


def step(
    params: dict[str, np.ndarray],
    u: np.ndarray,
    v: np.ndarray,
    a: np.ndarray,
    w: np.ndarray | int = 0,
    rests: np.ndarray | bool = False,
    graded: bool = False,
    how: Semantics = USUAL,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step of neurons: (u, v, spikes) from (u, v) and the summed weights `a`.

    params: int64 arrays by the names of the table above, (neurons,); without a threshold no neuron spikes. u, v, a:
    int64 (samples, neurons). w: what the second compartment of this step adds, see :func:`adapt`. rests: neurons that
    spiked less than `refractory` steps ago. graded: return values instead of spikes. how: what a spike does to v, and
    when.
    """
    u = shift_to_zero(u * (4096 - params["u_decay"]), DECAY) + (a << UNIT)
    u = np.where(u > RANGE, u - 2 * RANGE, np.where(u <= -RANGE, u + 2 * RANGE, u))
    h = params["threshold"] << UNIT if "threshold" in params else RANGE
    again = (v > h) & ~np.asarray(rests) & (how.reset == "subtract") & (how.when != "now")
    v = shift_to_zero(v * (4096 - params["v_decay"]), DECAY) + u + w + (params["bias"] << UNIT) - again * h
    v = np.where(rests, 0, np.clip(v, -RANGE + 1, RANGE - 1))
    if graded:
        values = np.where((v >> UNIT > params["threshold"]) & ~np.asarray(rests), v >> UNIT, 0)
        return u, np.where(values > 0, 0, v), values
    spikes = (v > h) & ~np.asarray(rests)
    if how.reset == "zero":
        return u, np.where(spikes, 0, v), spikes
    if how.when != "next":
        v = v - (spikes.astype(np.int64) - again) * h
    return u, v, spikes


def adapt(params: dict[str, np.ndarray], w: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """One step of second compartments: w from w and the spikes of the step before, all (samples, neurons)."""
    w = shift_to_zero(w * (4096 - params["w_decay"]), DECAY) - (params["w_jump"] << UNIT) * spikes
    return np.clip(w, -RANGE + 1, RANGE - 1)


def simulate(network: Network, spikes: np.ndarray) -> dict[str, np.ndarray]:
    """Spikes of every population, the input included; of a read-out its membranes.

    network: after quantisation. spikes: integers, (samples, steps, *shape of the input); an input of k delivers k
    times its weights.
    Returns name -> bool (samples, steps, *shape), of a read-out int64. InputError where the network is not an
    integer one or the shape does not match.
    """
    found = trace(network, spikes)
    return {p.name: found["v" if p.neuron == READ_OUT else "spikes", p.name] for p in network.populations}


def trace(network: Network, spikes: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """As :func:`simulate`, with the registers: (kind, name) -> (samples, steps, *shape).

    kind: "spikes", bool, of every population but a read-out; "u" and "v", int64, as they are after the step, of every
    population but the input.
    """
    feed = input_of(network)
    if spikes.shape[2:] != feed.shape:
        raise InputError(f"the spikes have shape {spikes.shape[2:]} per step, the input {feed.shape}")
    samples, steps = spikes.shape[:2]
    weights = {p.name: matrix(integer_op(p), network[p.pre].shape).astype(np.int64) for p in network.projections}
    lags = {p.name: network.lag(p) for p in network.projections}
    params = {p.name: integer_params(p) for p in network.layers}
    state = {p.name: (np.zeros((samples, p.size), np.int64),) * 2 for p in network.layers}
    second = {p.name: np.zeros((samples, p.size), np.int64) for p in network.layers if p.neuron == ADAPTIVE}
    left = {p.name: np.zeros((samples, p.size), np.int64) for p in network.layers}
    # Spikes of the last steps, newest first; silence before the first step.
    depth = 1 + max([*lags.values(), *(1 for p in network.layers if p.neuron == ADAPTIVE)], default=0)
    past = {p.name: deque([np.zeros((samples, p.size), np.int64)] * depth, depth) for p in network.populations}
    result: dict[tuple[str, str], list[np.ndarray]] = {}

    for t in range(steps):
        # First every history moves on by one step, so that past[name][k] is k steps old for all
        # populations: those not yet updated in this step show nothing at k = 0.
        for population in network.populations:
            past[population.name].appendleft(np.zeros((samples, population.size), np.int64))
        for population in network.populations:
            name = population.name
            if name == feed.name:
                fired = spikes[:, t].reshape(samples, -1).astype(np.int64)
            else:
                a = np.zeros((samples, population.size), np.int64)
                for projection in network.into(name):
                    arriving = past[projection.pre][lags[projection.name]]
                    a += (weights[projection.name] @ arriving.T).T
                if name in second:
                    second[name] = adapt(params[name], second[name], past[name][1])
                rests = left[name] > 0
                value = population.neuron == GRADED
                how = population.semantics
                u, v, fired = step(params[name], *state[name], a, second.get(name, 0), rests, value, how)
                left[name] = np.where(fired > 0, params[name].get("refractory", 0), np.maximum(left[name] - 1, 0))
                state[name] = (u, v)
                result.setdefault(("u", name), []).append(u)
                result.setdefault(("v", name), []).append(v)
            past[name][0] = fired.astype(np.int64)
            if population.neuron != READ_OUT:
                result.setdefault(("spikes", name), []).append(fired != 0)
    return {
        (kind, name): np.stack(values, 1).reshape(samples, steps, *network[name].shape)
        for (kind, name), values in result.items()
    }

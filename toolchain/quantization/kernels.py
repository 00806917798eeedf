"""The loop of :mod:`snnc.quantization.adjust`, compiled by numba on first use.

The arithmetic is that of :mod:`snnc.simulator.reference`.
"""

from __future__ import annotations

import numpy as np

from snnc.jit import compiled
from snnc.simulator.reference import DECAY, RANGE, UNIT
from snnc.simulator.tables import NEXT, NOW, RECHECK, TO_ZERO


@compiled
def cost_of(
    drive: np.ndarray, change: int, arrived: np.ndarray, wanted: np.ndarray, params: np.ndarray, near: float
) -> float:
    """Of one neuron in one sample, driven by `drive` and by `change` for each spike that has arrived.

    drive: int32 (steps,). arrived, wanted: uint8 (steps,). params: as in :func:`descend`, of this neuron.
    """
    keep_u, keep_v, bias, threshold, reset = params
    late, seen = reset in (NEXT, RECHECK), reset in (NOW, RECHECK)
    u = v = np.int64(0)
    off = 0
    total = 0.0
    for t in range(len(drive)):
        kept = (abs(u) * keep_u) >> DECAY
        u = (kept if u >= 0 else -kept) + ((drive[t] + change * np.int64(arrived[t])) << UNIT)
        if u > RANGE:
            u -= 2 * RANGE
        elif u <= -RANGE:
            u += 2 * RANGE
        kept = (abs(v) * keep_v) >> DECAY
        back = threshold if late and v > threshold else 0
        v = np.int64(min(max((kept if v >= 0 else -kept) + u + bias - back, -RANGE + 1), RANGE - 1))
        spike = v > threshold
        if spike != (wanted[t] != 0):
            off += 1 if spike else -1
            total += 1.0 + min(near * abs(v - threshold) / threshold, 1.0)
        if reset == TO_ZERO:
            v = np.int64(0) if spike else v
        elif seen:
            v = np.int64(v - (threshold if spike else 0) + back)
    return total + abs(off)


@compiled
def descend(
    mantissas: np.ndarray,
    weights: np.ndarray,
    exact: np.ndarray,
    pairs: np.ndarray,
    neuron: np.ndarray,
    source: np.ndarray,
    spikes: np.ndarray,
    heard: np.ndarray,
    wanted: np.ndarray,
    drive: np.ndarray,
    params: np.ndarray,
    largest: int,
    exponent: int,
    near: float,
    pull: float,
    sweeps: int,
) -> int:
    """Move the mantissas of `weights`, one after the other and by one, while that lowers the cost; returns the moves.

    mantissas: int16, of all weights. weights: int64, those to go through. exact: float64, what the mantissas stand
    for; `pull` is what a square of the distance from there costs. pairs: int64 (all weights + 1,), where the synapses
    of each weight begin in `neuron` and `source`, int32. spikes: uint8 (sources, samples, steps). heard: bool (sources,
    samples), whether there is any. wanted: uint8 (neurons, samples, steps). drive: int32 (neurons, samples, steps),
    what arrives with these mantissas; kept up to date. params: int64 (neurons, 5): 4096 - u_decay, 4096 - v_decay, bias
    and threshold shifted by UNIT, and :func:`snnc.simulator.tables.reset_of`. largest, exponent: of the grid. near:
    what the distance of a misplaced spike's membrane from the threshold costs, in thresholds. sweeps: how often all
    weights are gone through at most.
    """
    neurons, samples, steps = drive.shape
    silence = np.zeros(steps, np.uint8)
    cost = np.zeros((neurons, samples))
    known = np.zeros(neurons, np.bool_)
    moves = 0
    for _ in range(sweeps):
        before = moves
        for w in weights:
            for k in range(pairs[w], pairs[w + 1]):
                i = neuron[k]
                if not known[i]:
                    known[i] = True
                    for n in range(samples):
                        cost[i, n] = cost_of(drive[i, n], 0, silence, wanted[i, n], params[i], near)
            for sign in (-1, 1):
                if abs(mantissas[w] + sign) > largest:
                    continue
                change = sign * (1 << exponent)
                # The square of the distance grows by this.
                gain = -pull * (1 + 2 * sign * (mantissas[w] - exact[w]))
                for k in range(pairs[w], pairs[w + 1]):
                    i, j = neuron[k], source[k]
                    for n in range(samples):
                        if heard[j, n]:
                            gain += cost[i, n] - cost_of(
                                drive[i, n], change, spikes[j, n], wanted[i, n], params[i], near
                            )
                if gain <= 1e-9:
                    continue
                mantissas[w] += sign
                moves += 1
                for k in range(pairs[w], pairs[w + 1]):
                    i, j = neuron[k], source[k]
                    for n in range(samples):
                        if heard[j, n]:
                            for t in range(steps):
                                drive[i, n, t] += change * np.int32(spikes[j, n, t])
                            cost[i, n] = cost_of(drive[i, n], 0, silence, wanted[i, n], params[i], near)
                break
        if moves == before:
            break
    return moves

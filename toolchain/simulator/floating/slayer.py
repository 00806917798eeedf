"""The neuron of lava-dl's training: SLAYER's CUBA, integers behind a float interface.

Weights are floats; the input is scaled to the grid of the state, decays are fractions of 2^12, and
products are rounded towards zero::

    u = sr(u (4096 - du), 12) + trunc(S gain x)        du = round(4096 (1 - alpha))
    v = sr(v (4096 - dv), 12) + u                      dv = round(4096 (1 - beta))
    s = v > 64 trunc(64 h)                             v = 0 where s

with S = 2^12, the state scale that follows from SLAYER's default of 2^6 for weights. Registers do not
overflow here. Source: lava-dl 0.6.0, ``slayer/neuron/cuba.py`` and ``dynamics/leaky_integrator.py``;
its ``v >= h + eps`` is ``v > h`` on this grid.
"""

from __future__ import annotations

import numpy as np

from snnc.errors import InputError
from snnc.euler import discretise
from snnc.network import Population
from snnc.simulator.reference import DECAY, shift_to_zero

WEIGHT_SCALE = 1 << 6
STATE_SCALE = WEIGHT_SCALE << 6


class Slayer:
    """State and step of an if, lif or cuba_lif population, see :class:`.neurons.Neurons`."""

    output: np.dtype = np.dtype(np.uint8)

    def __init__(self, population: Population, dt: float, samples: int) -> None:
        form = discretise(population, dt)
        if form.drive.any() or population.params["v_reset"].any():
            raise InputError(
                "lava-dl's neurons have neither a leak potential nor a reset potential",
                where=f"layer '{population.name}'",
                fix="choose other semantics",
            )
        one = 1 << DECAY
        self._gain = STATE_SCALE * form.gain.ravel()
        self._keep_u = one - np.rint(one * (1 - form.alpha)).astype(np.int64).ravel()
        self._keep_v = one - np.rint(one * (1 - form.beta)).astype(np.int64).ravel()
        threshold = np.trunc(WEIGHT_SCALE * population.params["v_threshold"].astype(np.float64).ravel())
        self._threshold = threshold.astype(np.int64) * (STATE_SCALE // WEIGHT_SCALE)
        self._u = np.zeros((samples, population.size), np.int64)
        self._v = np.zeros((samples, population.size), np.int64)

    @property
    def membrane(self) -> np.ndarray:
        return self._v

    def step(self, x: np.ndarray) -> np.ndarray:
        self._u = shift_to_zero(self._u * self._keep_u, DECAY) + np.trunc(self._gain * x).astype(np.int64)
        v = shift_to_zero(self._v * self._keep_v, DECAY) + self._u
        fired = v > self._threshold
        self._v = np.where(fired, 0, v)
        return fired

"""Forward Euler: the discrete neuron that a continuous one becomes at a step of dt.

Every model of :data:`snnc.network.NEURONS` with SI parameters turns into

    i[t] = alpha * i[t-1] + x[t]
    v[t] = beta * v[t-1] + gain * i[t] + drive

where x is the summed synaptic input of the step. The float executor and the quantiser
both start from here, so that they cannot disagree about a neuron.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnc.network import Population


@dataclass(frozen=True, eq=False)
class Euler:
    """Coefficients of the recurrence above, float64 of the population's shape; alpha = 0: no current."""

    alpha: np.ndarray
    beta: np.ndarray
    gain: np.ndarray
    drive: np.ndarray


def discretise(population: Population, dt: float) -> Euler:
    """The recurrence of an if, lif or cuba_lif population at a step of `dt` seconds.

    An integrate-and-fire neuron has two conventions in the field: r = 1 means that a weight adds
    itself to the membrane (snntorch, sinabs, norse, the NIR paper), r = 1/dt means the same by
    the letter of the equation (SpikingJelly). Both give a gain of 1; any other r gives r * dt.
    """
    p = {name: value.astype(np.float64) for name, value in population.params.items()}
    zero = np.zeros(population.shape)
    if population.neuron == "if":
        gain = np.where(p["r"] == 1, 1.0, _near_one(p["r"] * dt))
        return Euler(zero, zero + 1, gain, zero)
    if population.neuron == "lif":
        step = dt / p["tau"]
        return Euler(zero, 1 - step, _near_one(p["r"] * step), step * p["v_leak"])
    if population.neuron == "cuba_lif":
        current, step = dt / p["tau_syn"], dt / p["tau_mem"]
        gain = _near_one(p["w_in"] * current) * _near_one(p["r"] * step)
        return Euler(1 - current, 1 - step, gain, step * p["v_leak"])
    raise ValueError(f"'{population.neuron}' neurons have no Euler form")


def _near_one(gain: np.ndarray) -> np.ndarray:
    """Gains that differ from 1 by the rounding of tau and r alone become 1.

    Frameworks derive both from a decay, in float32 at worst, whose products are off by less than 2**-20.
    """
    return np.where(np.abs(gain - 1) < 2.0**-20, 1.0, gain)

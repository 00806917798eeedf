"""The discrete neuron that a continuous one becomes at a step of dt.

Every float model of :data:`snnc.network.NEURONS` with a membrane turns into

    i[t] = alpha * i[t-1] + x[t]
    v[t] = beta * v[t-1] + gain * i[t] + drive

where x is the summed synaptic input of the step. With forward Euler a time constant tau keeps
1 - dt/tau per step, with exponential decay exp(-dt/tau); what is not kept, the share `loss`, is what
an input adds: gain = r * loss, drive = v_leak * loss. The float executor and the quantiser both start
from here, so that they cannot disagree about a neuron.
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
    """The recurrence of a population at a step of `dt` seconds, by its semantics (decay, gain).

    A sum, which has no membrane, is one that keeps nothing. ValueError for other models without.
    """
    p = {name: value.astype(np.float64) for name, value in population.params.items()}
    zero = np.zeros(population.shape)
    if population.neuron == "sum":
        return Euler(zero, zero, zero + 1, zero)
    if population.neuron in ("if", "i"):
        gain = p["r"] if population.semantics.gain == "step" else _near_one(p["r"] * dt)
        return Euler(zero, zero + 1, gain, zero)
    if population.neuron in ("lif", "li"):
        loss = _loss(population, p["tau"], dt)
        return Euler(zero, 1 - loss, _near_one(p["r"] * loss), loss * p["v_leak"])
    if population.neuron in ("cuba_lif", "cuba_li"):
        current, loss = _loss(population, p["tau_syn"], dt), _loss(population, p["tau_mem"], dt)
        gain = _near_one(p["w_in"] * current) * _near_one(p["r"] * loss)
        return Euler(1 - current, 1 - loss, gain, loss * p["v_leak"])
    raise ValueError(f"'{population.neuron}' neurons have no membrane")


def _loss(population: Population, tau: np.ndarray, dt: float) -> np.ndarray:
    """Share that a state with time constant `tau` loses per step."""
    return -np.expm1(-dt / tau) if population.semantics.decay == "exponential" else dt / tau


def _near_one(gain: np.ndarray) -> np.ndarray:
    """Gains that differ from 1 by the rounding of tau and r alone become 1.

    Frameworks derive both from a decay, in float32 at worst, whose products are off by less than 2**-20.
    """
    return np.where(np.abs(gain - 1) < 2.0**-20, 1.0, gain)

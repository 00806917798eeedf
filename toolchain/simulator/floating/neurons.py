"""The neurons of the float executor: state and step of one population, all samples at once.

With the coefficients of :mod:`snnc.euler`, x the input and h the threshold::

    i = alpha i + x                        (cuba_lif, cuba_li; else i = x)
    v = beta v + gain i + drive
    s = v > h                              (or >=, or trunc(v / h))
    v = reset(v) where s

and the variations that :class:`snnc.network.Semantics` defines.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from snnc.errors import InputError
from snnc.euler import discretise
from snnc.network import SPIKING, Population
from snnc.simulator.floating.slayer import Slayer


class Neurons(Protocol):
    """step: input of one step, float64 (samples, size) -> what is put out, of type `output`.

    membrane: (samples, size), the membranes after a step as snntorch's neurons keep them, which take off their reset in
    the next step, but for Synaptic with reset_delay=False; of what has no membrane, nothing. A step makes new arrays.
    """

    output: np.dtype

    @property
    def membrane(self) -> np.ndarray: ...

    def step(self, x: np.ndarray) -> np.ndarray: ...


def neurons(population: Population, dt: float, samples: int) -> Neurons:
    """The neurons of `population` at rest; InputError for a model without float equation."""
    if population.neuron == "sum":
        return _Sum()
    if population.neuron == "threshold":
        return _Threshold(population)
    if population.neuron in ("i", "li", "cuba_li"):
        return _Membrane(population, dt, samples)
    if population.neuron in SPIKING:
        if population.semantics.arithmetic == "slayer":
            return Slayer(population, dt, samples)
        return _Spiking(population, dt, samples)
    raise InputError(f"'{population.neuron}' has no float equation", where=f"layer '{population.name}'")


class _Bare:
    """No membrane."""

    membrane: np.ndarray = np.zeros((0, 0))


class _Sum(_Bare):
    output: np.dtype = np.dtype(np.float64)

    def step(self, x: np.ndarray) -> np.ndarray:
        return x


class _Threshold(_Bare):
    output: np.dtype = np.dtype(np.uint8)

    def __init__(self, population: Population) -> None:
        self._level = population.params["threshold"].astype(np.float64).ravel()
        self._at = population.semantics.compare == ">="

    def step(self, x: np.ndarray) -> np.ndarray:
        return x >= self._level if self._at else x > self._level


class _Membrane:
    """Current and membrane without spikes; the membrane is put out."""

    output: np.dtype = np.dtype(np.float64)

    def __init__(self, population: Population, dt: float, samples: int) -> None:
        form = discretise(population, dt)
        self._alpha, self._beta, self._gain, self._drive = (
            c.ravel() for c in (form.alpha, form.beta, form.gain, form.drive)
        )
        start = {"zero": "", "leak": "v_leak", "reset": "v_reset"}[population.semantics.start]
        rest = population.params.get(start, np.zeros(population.shape))
        self._i = np.zeros((samples, population.size))
        self._v = np.tile(rest.astype(np.float64).ravel(), (samples, 1))
        # Products with 1 and sums with 0 change nothing and cost as much as others.
        self._filters, self._leaks = bool(self._alpha.any()), bool((self._beta != 1).any())
        self._scales, self._drives = bool((self._gain != 1).any()), bool(self._drive.any())

    @property
    def membrane(self) -> np.ndarray:
        return self._v

    def step(self, x: np.ndarray) -> np.ndarray:
        self._v = self._integrate(x)
        return self._v

    def _integrate(self, x: np.ndarray) -> np.ndarray:
        """The membrane after leak and input."""
        if self._filters:
            self._i = self._alpha * self._i + x
            x = self._i
        v = self._beta * self._v if self._leaks else self._v
        v = v + (self._gain * x if self._scales else x)
        return v + self._drive if self._drives else v


class _Spiking(_Membrane):
    """Integrate and fire, with all that Semantics allows."""

    def __init__(self, population: Population, dt: float, samples: int) -> None:
        super().__init__(population, dt, samples)
        self._how = population.semantics
        self._h = population.params["v_threshold"].astype(np.float64).ravel()
        self._to = population.params["v_reset"].astype(np.float64).ravel()
        self._many = self._how.spikes == "many"
        self.output = np.dtype(np.int32 if self._many else np.uint8)
        self._last = np.zeros((samples, population.size), self.output if self._many else bool)
        self._early = self._how.when == "now" and population.neuron != "cuba_lif"
        self._seen = self._v

    @property
    def membrane(self) -> np.ndarray:
        return self._seen

    def step(self, x: np.ndarray) -> np.ndarray:
        when = self._how.when
        before = self._v
        v = self._integrate(x)
        if when == "next":
            v = self._reset(v, self._last)
        elif when == "recheck":
            again = before > self._h
            v = v - again * self._h
        fired = self._fire(v)
        self._seen = v
        if when == "now":
            v = self._reset(v, fired)
        elif when == "recheck":
            v = v - (fired.astype(np.float64) - again) * self._h
        if self._how.floor == "threshold":
            v = np.maximum(v, -self._h)
        self._v, self._last = v, fired
        if not self._early:
            self._seen = v
        return fired

    def _fire(self, v: np.ndarray) -> np.ndarray:
        if self._many:
            return np.trunc(np.maximum(v, 0) / self._h).astype(np.int32)
        return v >= self._h if self._how.compare == ">=" else v > self._h

    def _reset(self, v: np.ndarray, fired: np.ndarray) -> np.ndarray:
        match self._how.reset:
            case "zero":
                return np.where(fired, 0.0, v)
            case "value":
                return np.where(fired, self._to, v)
            case "subtract":
                return v - fired * self._h
            case _:
                return v

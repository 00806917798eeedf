"""What the tests need to know of each framework that imports NIR.

The numbers are such that what a framework ignores does not matter; that it ignores it is tested by itself
(test_framework_habits.py). All run in float64, on random numbers of which none decides a spike by its last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nir
import numpy as np
import torch
from peers import DT, LAYERS, Neurons, Rng, Spikes, doubled, graph, peer, recorder, stepped, uniform
from spyx_on_numpy import spyx

from snnc.frontends.reading import Reading

# The step that snntorch's import and export have built in.
SNNTORCH_DT = 1e-4


@dataclass(frozen=True)
class Framework:
    """reading: what its profile is called by. run: a file and spikes (samples, steps, inputs) -> spikes of each layer.

    neurons: kinds of neurons that it imports. recurrent: those it imports in a loop. plain: see peers.graph. scale: of
    the weights.
    """

    reading: Reading
    run: Callable[[Path, np.ndarray], Spikes]
    neurons: Mapping[str, Neurons]
    recurrent: Collection[str] = ()
    plain: Collection[str] = ("fc2",)
    scale: Mapping[str, float] = field(default_factory=dict)

    def graph(self, rng: Rng, kind: str, *, recurrent: bool = False) -> nir.NIRGraph:
        scale = self.scale.get(kind, 1.0)
        return graph(rng, self.neurons[kind], recurrent=recurrent, plain=self.plain, scale=scale)


def _taus(rng: Rng, count: int) -> np.ndarray:
    """Two to 16 steps, powers of two."""
    return DT * 2.0 ** rng.integers(1, 5, count)


def _slow(rng: Rng, count: int, dt: float = DT) -> np.ndarray:
    return dt / rng.uniform(0.05, 0.6, count)


def _fast(rng: Rng, count: int, dt: float = DT) -> np.ndarray:
    return dt / rng.uniform(0.2, 0.8, count)


def if_(rng: Rng, n: int) -> nir.IF:
    return nir.IF(np.ones(n), uniform(rng, 0.6, 1.5, n), np.zeros(n))


# norse: an input of 1 lifts the membrane by dt/tau.


def _norse_lif(rng: Rng, n: int) -> nir.LIF:
    return nir.LIF(_taus(rng, n), np.ones(n), uniform(rng, -0.1, 0.1, n), uniform(rng, 0.2, 0.4, n), np.zeros(n))


def _norse_cuba(rng: Rng, n: int) -> nir.CubaLIF:
    current, membrane, zero = _taus(rng, n), _taus(rng, n), np.zeros(n)
    r, w_in = membrane / DT * uniform(rng, 0.5, 1.5, n), current / DT * uniform(rng, 0.3, 1, n)
    return nir.CubaLIF(current, membrane, r, zero, uniform(rng, 0.5, 2, n), zero, w_in)


def _norse(path: Path, x: np.ndarray) -> Spikes:
    model = peer("norse.torch").from_nir(nir.read(path), dt=DT)
    return stepped(model, model, x)


# sinabs: an input of 1 lifts the membrane by 1.


def _sinabs_lif(rng: Rng, n: int) -> nir.LIF:
    tau = uniform(rng, 1.5, 12, n)
    return nir.LIF(tau, -1 / np.expm1(-1 / tau), np.zeros(n), uniform(rng, 0.8, 1.5, n), np.zeros(n))


def _sinabs(path: Path, x: np.ndarray) -> Spikes:
    """Layer by layer, each over all steps."""
    model = doubled(peer("sinabs.nir").from_nir(nir.read(path), batch_size=len(x)))
    found = recorder(model, LAYERS)
    with torch.no_grad():
        model(torch.from_numpy(x.astype(np.float64)).flatten(0, 1))
    return {name: record.reshape(*x.shape[:2], -1) for name, (record,) in found.items()}


# spikingjelly: one set of parameters per layer; LIF rests and starts at v_reset.


def _jelly_if(rng: Rng, n: int) -> nir.IF:
    return nir.IF(np.full(n, 1 / DT), np.full(n, rng.uniform(0.8, 1.4)), np.full(n, rng.uniform(-0.4, 0.4)))


def _jelly_lif(gain: bool) -> Neurons:
    """gain: an input of 1 lifts the membrane by 1 (decay_input=False), or else by dt/tau."""

    def lif(rng: Rng, n: int) -> nir.LIF:
        tau, rest = DT * rng.uniform(2, 8), rng.uniform(-0.3, 0.3)
        threshold = rest + (rng.uniform(0.8, 1.2) if gain else rng.uniform(0.15, 0.25))
        every = (tau, tau / DT if gain else 1.0, rest, threshold, rest)
        return nir.LIF(*(np.full(n, value) for value in every))

    return lif


def _jelly_cuba(rng: Rng, n: int) -> nir.CubaLIF:
    current, membrane = _fast(rng, 1), _slow(rng, 1)
    every = (current, membrane, membrane / DT, 0, rng.uniform(1.2, 2.5), rng.uniform(-0.4, 0.4), current / DT)
    return nir.CubaLIF(*(np.full(n, value) for value in every))


def _jelly(path: Path, x: np.ndarray) -> Spikes:
    exchange = peer("spikingjelly.activation_based.nir_exchange")
    model = exchange.import_from_nir(path, dt=DT, dtype=torch.float64)
    return stepped(model, model, x)


# snntorch and spyx: an input of 1 lifts the membrane by 1. snntorch's import takes one threshold per layer.


def snntorch_lif(rng: Rng, n: int) -> nir.LIF:
    tau = _slow(rng, n, SNNTORCH_DT)
    return nir.LIF(tau, tau / SNNTORCH_DT, np.zeros(n), np.full(n, rng.uniform(1, 1.6)), np.zeros(n))


def snntorch_cuba(rng: Rng, n: int) -> nir.CubaLIF:
    current, membrane, zero = _fast(rng, n, SNNTORCH_DT), _slow(rng, n, SNNTORCH_DT), np.zeros(n)
    threshold = np.full(n, rng.uniform(1.5, 4))
    return nir.CubaLIF(current, membrane, membrane / SNNTORCH_DT, zero, threshold, zero, current / SNNTORCH_DT)


def _snntorch(path: Path, x: np.ndarray) -> Spikes:
    model = peer("snntorch.import_nir").import_from_nir(nir.read(path))
    return stepped(model, model, x)


def _spyx_lif(rng: Rng, n: int) -> nir.LIF:
    tau = _slow(rng, n)
    return nir.LIF(tau, tau / DT, np.zeros(n), rng.uniform(1, 1.6, n), np.zeros(n))


def _spyx_cuba(rng: Rng, n: int) -> nir.CubaLIF:
    current, membrane, zero = _fast(rng, n), _slow(rng, n), np.zeros(n)
    return nir.CubaLIF(current, membrane, membrane / DT, zero, rng.uniform(1.5, 4, n), zero, current / DT)


def _spyx(path: Path, x: np.ndarray) -> Spikes:
    model, outputs = spyx().from_nir(nir.read(path), x.swapaxes(0, 1).astype(np.float64), dt=DT)
    state = model.initial_state(len(x))
    neurons = [k for k, part in enumerate(state) if part is not None]
    found: list[list[np.ndarray]] = [[] for _ in neurons]
    for t in range(x.shape[1]):
        value = x[:, t].astype(np.float64)
        for k, layer in enumerate(model.layers):
            if k in neurons:
                value, state[k] = layer(value, state[k])
                found[neurons.index(k)].append(value)
            else:
                value = layer(value)
    result = dict(zip(LAYERS, (np.stack(record, axis=1) for record in found), strict=True))
    assert np.array_equal(result[LAYERS[-1]], outputs.swapaxes(0, 1))
    return result


FRAMEWORKS = {
    "norse": Framework(
        Reading(semantics="norse", dt=DT),
        _norse,
        {"lif": _norse_lif, "if": if_, "cuba": _norse_cuba},
        recurrent=("lif", "if", "cuba"),
    ),
    "sinabs": Framework(
        Reading(semantics="sinabs"),
        _sinabs,
        {"lif": _sinabs_lif, "if": if_},
        plain=(),
    ),
    "spikingjelly": Framework(
        Reading(semantics="spikingjelly", dt=DT),
        _jelly,
        {"lif": _jelly_lif(True), "lif that decays its input": _jelly_lif(False), "if": _jelly_if, "cuba": _jelly_cuba},
        recurrent=("lif", "if", "cuba"),
    ),
    # Whatever the file says, its import resets to zero, at once.
    "snntorch": Framework(
        Reading(semantics="snntorch", reset="zero", dt=SNNTORCH_DT),
        _snntorch,
        {"lif": snntorch_lif, "cuba": snntorch_cuba},
    ),
    "spyx": Framework(
        Reading(semantics="spyx", dt=DT),
        _spyx,
        {"lif": _spyx_lif, "if": if_, "cuba": _spyx_cuba},
        recurrent=("lif", "cuba"),
        plain=("fc2", "rec"),
    ),
}

# (framework, kind of neuron, whether in a loop)
CASES = [
    (name, kind, recurrent)
    for name, framework in FRAMEWORKS.items()
    for recurrent in (False, True)
    for kind in framework.neurons
    if kind in framework.recurrent or not recurrent
]

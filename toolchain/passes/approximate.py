"""Approximate: neurons do what the target can, if the user asks for it.

Frameworks reset by subtraction, spike at the threshold, or let a membrane start elsewhere than at 0; most
chips do not. Without being asked the compiler refuses such networks, since they would compute something
else. When asked, it takes what comes nearest, and the verification reports how far the spikes of each
layer and the accuracy drift from the network as it was read.

A bias that passes a synaptic current, which chips add to the membrane only, is added there at the value that the
current settles at: after a few time constants of the current nothing differs.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from snnc.compilation import Compilation
from snnc.euler import discretise
from snnc.network import SPIKING, Network, Population, Semantics
from snnc.ops import bias_of, unbiased
from snnc.target import Target


def run(c: Compilation) -> Compilation:
    """Replace what the target of `c` cannot do, if `c.options.approximate`."""
    if not c.options.approximate:
        return c.found(approximate={"asked": False, "layers": []})
    changes: dict[str, list[str]] = {p.name: [] for p in c.network.populations}
    network = _semantics(c.network, c.target, changes)
    network = _biases_of_currents(network, changes)
    network = _late_biases(network, changes)
    layers = [{"layer": name, "changes": what} for name, what in changes.items() if what]
    return replace(c, network=network).found(approximate={"asked": True, "layers": layers})


def _semantics(network: Network, target: Target, changes: dict[str, list[str]]) -> Network:
    nearest = tuple(_nearest(p, target) for p in network.populations)
    for before, after in zip(network.populations, nearest, strict=True):
        changes[before.name] += _changes(before, after)
    return replace(network, populations=nearest)


def _biases_of_currents(network: Network, changes: dict[str, list[str]]) -> Network:
    settled = {p.name: _with_drive(network, p) for p in network.layers if _filters_a_bias(network, p)}
    for name in settled:
        changes[name].append("bias of the current -> of the membrane")
    projections = (
        replace(p, ops=tuple(map(unbiased, p.ops)), bias_start=0) if p.post in settled else p
        for p in network.projections
    )
    populations = tuple(settled.get(p.name, p) for p in network.populations)
    return replace(network, populations=populations, projections=tuple(projections))


def _late_biases(network: Network, changes: dict[str, list[str]]) -> Network:
    for projection in network.projections:
        if projection.bias_start:
            changes[projection.post].append(f"bias from step {projection.bias_start} -> 0")
    return replace(network, projections=tuple(replace(p, bias_start=0) for p in network.projections))


def _nearest(population: Population, target: Target) -> Population:
    """The population with semantics that the target has; one that never resets has none that comes near."""
    how = population.semantics
    if population.neuron not in SPIKING or how.reset == "none":
        return population
    reset = how.reset if how.reset in target.neuron.resets else target.neuron.resets[0]
    nearest = Semantics(reset=reset, decay=how.decay, gain=how.gain, arithmetic=how.arithmetic)
    params = dict(population.params)
    if how.reset == "value" and reset == "zero":
        # Potentials are counted from v_reset; that the membrane starts there is what is approximate.
        params = {k: v - params["v_reset"] if k.startswith("v_") else v for k, v in params.items()}
    return replace(population, semantics=nearest, params=params)


def _filters_a_bias(network: Network, population: Population) -> bool:
    if population.neuron != "cuba_lif" or not np.any(discretise(population, network.dt).alpha):
        return False
    return any(p.op.bias is not None and np.any(p.op.bias) for p in network.into(population.name))


def _with_drive(network: Network, population: Population) -> Population:
    """The population with a v_leak that drives it as its biases do once the current has settled."""
    form = discretise(population, network.dt)
    total = np.zeros(population.shape)
    for projection in network.into(population.name):
        bias = bias_of(projection.op, network[projection.pre].shape)
        total += 0 if bias is None else bias.reshape(population.shape)
    # i = alpha i + bias settles at bias / (1 - alpha); drive = v_leak (1 - beta).
    v_leak = population.params["v_leak"] + form.gain * total / (1 - form.alpha) / (1 - form.beta)
    return replace(population, params={**population.params, "v_leak": v_leak})


def _changes(before: Population, after: Population) -> list[str]:
    """What differs, in words of Semantics."""
    old, new = before.semantics, after.semantics
    found = [
        f"{f.name} {getattr(old, f.name)} -> {getattr(new, f.name)}"
        for f in fields(Semantics)
        if getattr(old, f.name) != getattr(new, f.name)
    ]
    if any(np.any(before.params[k] != after.params[k]) for k in before.params):
        found.append("potentials counted from v_reset")
    return found

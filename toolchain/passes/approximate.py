"""Approximate: neurons do what the target can, if the user asks for it.

Frameworks reset by subtraction, spike at the threshold, or let a membrane start elsewhere than at 0; most
chips do not. Without being asked the compiler refuses such networks, since they would compute something
else. When asked, it takes what comes nearest, and the verification reports how far the spikes of each
layer and the accuracy drift from the network as it was read.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from snnc.compilation import Compilation
from snnc.network import ANALOGUE, SPIKING, Network, Population, Semantics


def run(c: Compilation) -> Compilation:
    """Replace what the target of `c` cannot do, if `c.options.approximate`."""
    if not c.options.approximate:
        return c.found(approximate={"asked": False, "layers": []})
    network, changes = nearest(c.network, c.target.neuron.resets, moments=c.target.neuron.moments)
    layers = [{"layer": name, "changes": what} for name, what in changes.items() if what]
    return replace(c, network=network).found(approximate={"asked": True, "layers": layers})


def nearest(
    network: Network,
    resets: tuple[str, ...],
    compares: tuple[str, ...] = (">",),
    moments: tuple[str, ...] = ("now",),
) -> tuple[Network, dict[str, list[str]]]:
    """The network with what neurons of a chip can do, and what changed in each layer, in words.

    resets, compares, moments (of a subtraction): what the chip can do, by the names of
    :class:`snnc.network.Semantics`; the first of each stands for those that it cannot.
    """
    changes: dict[str, list[str]] = {p.name: [] for p in network.populations}
    populations = tuple(_nearest(p, resets, compares, moments) for p in network.populations)
    for before, after in zip(network.populations, populations, strict=True):
        changes[before.name] += _changes(before, after)
    return _late_biases(replace(network, populations=populations), changes), changes


def _late_biases(network: Network, changes: dict[str, list[str]]) -> Network:
    for projection in network.projections:
        if projection.bias_start:
            changes[projection.post].append(f"bias from step {projection.bias_start} -> 0")
    return replace(network, projections=tuple(replace(p, bias_start=0) for p in network.projections))


def _nearest(
    population: Population, resets: tuple[str, ...], compares: tuple[str, ...], moments: tuple[str, ...]
) -> Population:
    """The population with semantics that the chip has; one that never resets has none that comes near."""
    how = population.semantics
    if population.neuron in ANALOGUE:
        start = "zero" if np.any(population.params.get("v_leak", 0)) else how.start
        return replace(population, semantics=replace(how, start=start, output="now"))
    if population.neuron not in SPIKING or how.reset == "none":
        return population
    reset = how.reset if how.reset in resets else resets[0]
    compare = how.compare if how.compare in compares else compares[0]
    moment = (how.when if how.when in moments else moments[0]) if reset == "subtract" else "now"
    nearest = Semantics(reset, compare, moment, decay=how.decay, gain=how.gain, arithmetic=how.arithmetic)
    params = dict(population.params)
    if how.reset == "value" and reset == "zero":
        # Potentials are counted from v_reset; that the membrane starts there is what is approximate.
        params = {k: v - params["v_reset"] if k.startswith("v_") else v for k, v in params.items()}
    return replace(population, semantics=nearest, params=params)


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

"""Approximate: neurons do what a chip with a clock can, if the user asks for it.

Resets, starts and the like become what comes nearest, as for any chip (:mod:`snnc.passes.approximate`). On a single
crossbar an exponential leak, which takes a share of the membrane, becomes a linear one, which takes an amount: what the
share is of a part of the threshold. Which part, is tried on the calibration data: each neuron is fed with the spikes of
the network as it was read, and takes the amount with which it misplaces fewest. Without data it is a half, the middle
of the way from 0 to the threshold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snnc.crossbars.integers import FOLLOWED, folded, misplaced
from snnc.euler import discretise
from snnc.families import ClockedChip, CrossbarChip
from snnc.network import Network, Population
from snnc.ops import matrix
from snnc.passes import approximate
from snnc.samples import Samples
from snnc.simulator import floating

# Parts of the threshold; the first is that of networks without data.
PARTS = (0.5, 0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)


def nearest(network: Network, chip: ClockedChip) -> tuple[Network, dict[str, list[str]]]:
    """A lowered network with what neurons of the chip can do, and what changed in each layer, in words.

    Of a layer that leaks only the leak is left out: :func:`approximated` finds another.
    """
    near, changes = approximate.nearest(network, chip.neuron.resets, (">", ">="))
    if isinstance(chip, CrossbarChip):
        near = replace(near, populations=tuple(_without_leak(near, p) for p in near.populations))
        for before, after in zip(network.populations, near.populations, strict=True):
            if before.neuron != after.neuron:
                changes[before.name].append("a linear leak")
    return near, changes


def _without_leak(network: Network, population: Population) -> Population:
    if population.neuron != "lif" or np.any(population.params["v_leak"]):
        return population
    kept = {name: population.params[name] for name in ("v_threshold", "v_reset")}
    gain = discretise(population, network.dt).gain
    how = replace(population.semantics, gain="step")
    return replace(population, neuron="if", params={"r": gain, **kept}, semantics=how)


def approximated(network: Network, chip: ClockedChip, samples: Samples | None) -> tuple[Network, list[dict[str, Any]]]:
    """A lowered network folded into neurons of the chip, in floats, and what changed, as plain data.

    Of each layer that changed: its changes in words and, with data, its spikes before and after, and in how many places
    the two differ where both are fed with the spikes of the network as it was read.
    """
    near, changes = nearest(network, chip)
    lost = {
        p.name: (1 - discretise(p, network.dt).beta) * p.params["v_threshold"]
        for p, q in zip(network.populations, near.populations, strict=True)
        if p.neuron != q.neuron
    }
    wanted = None
    if samples is not None:
        first = samples.first(FOLLOWED).spikes
        records = floating.simulate(network, first)
        wanted = {name: r.reshape(*r.shape[:2], -1) for name, r in records.items()}
    leaks = {name: PARTS[0] * amount for name, amount in lost.items()}
    plain = folded(near, leaks)
    notes = []
    populations = {p.name: p for p in plain.populations}
    for name, what in changes.items():
        if not what:
            continue
        note: dict[str, Any] = {"layer": name, "changes": what}
        if wanted is not None:
            parts = PARTS if name in lost else PARTS[:1]
            tried = [_with_leak(populations[name], part * lost.get(name, np.zeros(1))) for part in parts]
            weights = [matrix(p.op, plain[p.pre].shape) for p in plain.into(name)]
            found = [misplaced(plain, p, weights, wanted) for p in tried]
            best = np.stack([cost for cost, _ in found]).argmin(axis=0)
            leak = np.take_along_axis(np.stack([p.params["leak"].ravel() for p in tried]), best[None], axis=0)[0]
            populations[name] = _with_leak(tried[0], leak.reshape(tried[0].shape))
            note |= {
                "spikes": int(wanted[name].sum()),
                "spikes_approximated": int(_chosen(np.stack([n for _, n in found]), best)),
                "misplaced": int(_chosen(np.stack([cost for cost, _ in found]), best)),
            }
        notes.append(note)
    return replace(plain, populations=tuple(populations[p.name] for p in plain.populations)), notes


def _with_leak(population: Population, leak: np.ndarray) -> Population:
    return replace(population, params={**population.params, "leak": np.broadcast_to(leak, population.shape).copy()})


def _chosen(values: np.ndarray, best: np.ndarray) -> float:
    """Sum of the values, (tried, neurons), of what each neuron took."""
    return float(np.take_along_axis(values, best[None], axis=0).sum())

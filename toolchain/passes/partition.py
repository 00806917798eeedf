"""Partition: which neurons share a core, under all limits of a core and with little traffic between them.

What is wanted decides how many cores are used. For few cores, or little traffic, as few as suffice. For short steps
numbers of cores are tried, each twice the one before, with the work of a step spread evenly over them; the shortest
step counts, by the serial sum of :mod:`snnc.simulator.timing` at calibration rates.

A ticket that was balanced on cores says itself which neurons share one, and nothing is searched.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snnc.compilation import Compilation, Options
from snnc.network import Network
from snnc.resources import usage
from snnc.target import Target
from snnc.tickets.balance import held, mean_utilisation

if TYPE_CHECKING:
    from snnc.mapping.problem import Problem
    from snnc.mapping.refinement import Found

TICKET = "as the ticket says"
"""The method of a mapping that nobody searched."""


def run(c: Compilation) -> Compilation:
    """Assign every neuron of `c` to a core; the limits themselves are checked by a later pass."""
    if c.groups is None:
        core_of, found, tried, even = partition(c.network, c.target, c.rates, c.options)
    else:
        core_of = pinned(c)
        found, even = _as_found(c, core_of)
        tried = [found]
    used = usage(c.network, core_of, c.target)
    log = {
        "method": found.method,
        "cores": found.cores,
        "traffic": found.traffic,
        "utilisation": even,
        "tried": [{"method": f.method, "cores": f.cores, "traffic": f.traffic, "overload": f.over} for f in tried],
    }
    if c.groups is not None:
        names = [p.name for p in c.source.projections]
        log["balance"] = mean_utilisation(held(c.network, core_of, used, names).values())
    return replace(c, core_of=core_of, usage=used).found(partition=log)


def pinned(c: Compilation) -> np.ndarray:
    """Core of each neuron, int32 (neurons,), -1 for inputs, by the groups of `c`.

    A layer that the compiler added lies in the core with the fewest neurons.
    """
    from snnc.mapping import portfolio  # numba, as below

    assert c.groups is not None
    found = np.full(c.network.size, -1, np.int32)
    added = []
    for population in c.network.layers:
        start = c.network.offsets[population.name]
        here = slice(start, start + population.size)
        if population.name in c.groups:
            found[here] = c.groups[population.name][c.places(population.name)]
        else:
            added.append(here)
    found = portfolio.canonical(found)
    for here in added:
        found[here] = np.bincount(found[found >= 0], minlength=1).argmin()
    return portfolio.canonical(found)


def _as_found(c: Compilation, core_of: np.ndarray) -> tuple[Found, float]:
    """A mapping that nobody searched, in the form of one, and its utilisation as in :func:`partition`."""
    from snnc.mapping import balance, problem, refinement

    task = problem.build(c.network, c.rates, c.target, {})
    core = core_of[task.graph.members]  # without tiles an atom is a neuron
    found = refinement.Found.of(refinement.placed(task, core, int(core.max()) + 1), TICKET)
    return found, balance.utilisation(found, task.synapses())


def partition(
    network: Network, target: Target, rates: np.ndarray, options: Options
) -> tuple[np.ndarray, Found, list[Found], float]:
    """Core of each neuron, int32 (neurons,), -1 for inputs; how it was found; all mappings that were tried.

    Last the utilisation: the mean over the largest number of synapses of a core. rates: float64 (neurons,), spikes
    per step.
    """
    from snnc.mapping import (  # numba: seconds to import, and a check does not need it
        balance,
        portfolio,
        problem,
        tiles,
    )

    task = problem.build(network, rates, target, tiles.cut(network, target))
    found, tried = _best(task, target, options, options.cores)
    if options.optimize == "latency" and found.over <= 0:
        found, tried = _fastest(task, target, options, found, tried)
    load = task.synapses()
    if options.balance and found.over <= 0:
        found = balance.balanced(task, found, load, options.seed)
    even = balance.utilisation(found, load)
    return portfolio.canonical(task.core_of(found.core)), found, tried, even


def _best(task: Problem, target: Target, options: Options, cores: int | None) -> tuple[Found, list[Found]]:
    from snnc.mapping import portfolio

    most = target.mesh.cores * min(options.chips or target.grid.chips, target.grid.chips)
    return portfolio.best_mapping(
        task, most, how=options.map, cores=cores, seed=options.seed, few=options.optimize == "cores"
    )


def _fastest(
    task: Problem, target: Target, options: Options, found: Found, tried: list[Found]
) -> tuple[Found, list[Found]]:
    """The mapping with the shortest step, and all that were tried."""
    from snnc.mapping import balance

    work = _work(task, target)
    candidates, cores = [found], found.cores
    while cores < min(target.mesh.cores, task.atoms):
        cores = min(2 * cores, target.mesh.cores, task.atoms)
        more, others = _best(task, target, options, cores)
        tried = [*tried, *others]
        if more.over <= 0:
            candidates.append(balance.balanced(task, more, work, options.seed))
    return min(candidates, key=lambda f: _step_ns(f, work, target)), tried


def _work(task: Problem, target: Target) -> np.ndarray:
    """Nanoseconds that each atom takes of a step, on average, (A,): its synapses, neurons and spikes.

    Updates that are active where something changes are taken as active: rates do not tell where nothing does.
    """
    cost, graph = target.timing, task.graph
    fired = np.add.reduceat(graph.rate[graph.members], graph.member_ptr[:-1])
    active = fired if cost.updates == "spiking" else task.extent()
    more = cost.neuron_active_ns.value - cost.neuron_inactive_ns.value
    return np.asarray(
        task.synapses(graph.rate) * cost.synop_ns.value
        + task.extent() * cost.neuron_inactive_ns.value
        + active * more
        + fired * cost.spike_ns.value
    )


def _step_ns(found: Found, work: np.ndarray, target: Target) -> float:
    """Length of an average step without its longest route, which only placement knows."""
    tiles_used = -(-found.cores // target.mesh.cores_per_tile.value)
    busy = np.bincount(found.core, weights=work, minlength=found.cores).max()
    chips = -(-found.cores // target.mesh.cores)
    return float(busy) + target.timing.barrier_ns(tiles_used, chips)

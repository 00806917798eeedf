"""Simulated annealing of a mapping: moves and swaps of single atoms, as exact as all others.

What looks random comes from a generator of its own (splitmix64), seeded.
"""

from __future__ import annotations

import numpy as np

from snnc.jit import lean
from snnc.mapping.problem import Graph, Limits, Problem, extent
from snnc.mapping.state import COST, NEURONS, OVERLOAD, State, at, gain, move, put, take

_TINY = 1e-9


def anneal(
    problem: Problem, state: State, proposals: int, hot: float, cold: float, penalty: float, seed: int
) -> np.ndarray:
    """Simulated annealing with moves and swaps; the best mapping met, int64 (A,).

    hot, cold: the first and the last temperature, in the unit of cost; it falls geometrically.
    """
    cores = len(state.over)
    holds = np.bincount(state.core, minlength=cores)
    ptr = np.concatenate([[0], np.cumsum(holds)])
    order = np.argsort(state.core, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - ptr[state.core[order]]
    # The atoms of each core, so that a partner for a swap is found at once.
    room = max(int(holds.max()), min(int(problem.limits.most[NEURONS]), problem.atoms)) + 1
    held = np.zeros((cores, room), np.int64)
    held[state.core, place] = np.arange(len(order))
    best, random = state.core.copy(), np.full(1, seed, np.uint64)
    graph, limits = problem.graph, problem.limits
    _anneal(graph, limits, state, proposals, hot, cold, penalty, random, held, holds, place, best)
    return best


@lean
def _anneal(
    g: Graph,
    lim: Limits,
    s: State,
    proposals: int,
    hot: float,
    cold: float,
    penalty: float,
    random: np.ndarray,
    held: np.ndarray,
    holds: np.ndarray,
    place: np.ndarray,
    best: np.ndarray,
) -> None:
    """See :func:`anneal`. held, holds: atoms of each core, and how many. place: where an atom is in `held`."""
    atoms, cores, projections = len(s.core), len(s.over), len(g.population_of)
    lowest = s.total[COST] + penalty * s.total[OVERLOAD]
    temperature = hot
    every = max(1, proposals // 200)
    factor = (cold / hot) ** (every / max(1, proposals))
    for t in range(proposals):
        if t % every == 0 and t > 0:
            temperature *= factor
        atom = _below(random, atoms)
        here = s.core[atom]
        core = _neighbour(g, s, atom, projections, cores, random)
        if core == here:
            continue
        allowed = -temperature * np.log(_uniform(random))
        size = extent(g, atom)
        partner = -1
        if s.used[core, NEURONS] + size > lim.most[NEURONS]:
            if holds[core] == 0:
                continue
            partner = held[core, _below(random, holds[core])]
        elif holds[core] > 0 and _below(random, 8) == 0:
            partner = held[core, _below(random, holds[core])]
        if partner >= 0:
            other = extent(g, partner)
            if other > 2 * size or size > 2 * other:
                continue  # a tile for a neuron: it would not fit, and costs a thousand times as much to find out
        expected = -gain(g, s, atom, core)
        if partner >= 0:
            expected -= gain(g, s, partner, here)
        if s.total[OVERLOAD] <= _TINY and expected > allowed + abs(expected) * (0.5 if partner >= 0 else 0.0) + _TINY:
            continue
        paid, over = s.total[COST], s.total[OVERLOAD]
        if partner >= 0:
            take(g, lim, s, partner)
            put(g, lim, s, partner, here)
        move(g, lim, s, atom, core)
        change = s.total[COST] - paid + penalty * (s.total[OVERLOAD] - over)
        if change > allowed:
            if partner >= 0:
                take(g, lim, s, partner)
                put(g, lim, s, partner, core)
            move(g, lim, s, atom, here)
            continue
        _relist(held, holds, place, atom, here, core)
        if partner >= 0:
            _relist(held, holds, place, partner, core, here)
        cost = s.total[COST] + penalty * s.total[OVERLOAD]
        if cost < lowest - _TINY:
            lowest = cost
            if atoms <= 256 or temperature < 4 * cold or t + every >= proposals or t % every == 0:
                _copy(s.core, best)
    if s.total[COST] + penalty * s.total[OVERLOAD] <= lowest + _TINY:
        _copy(s.core, best)


@lean
def _copy(source: np.ndarray, to: np.ndarray) -> None:
    for k in range(len(to)):
        to[k] = source[k]


@lean
def _relist(held: np.ndarray, holds: np.ndarray, place: np.ndarray, atom: int, here: int, core: int) -> None:
    holds[here] -= 1
    last = held[here, holds[here]]
    held[here, place[atom]], place[last] = last, place[atom]
    place[atom], held[core, holds[core]] = holds[core], atom
    holds[core] += 1


@lean
def _neighbour(g: Graph, s: State, atom: int, projections: int, cores: int, random: np.ndarray) -> int:
    """A core that something of the atom is in touch with; now and then any."""
    kind = _below(random, 16)
    rows = g.row_ptr[atom + 1] - g.row_ptr[atom]
    if kind < 9 and rows > 0:
        row = g.row_ptr[atom] + _below(random, rows)
        entries = g.end[row] - g.begin[row]
        if entries > 0:
            source = int(g.source[g.begin[row] + _below(random, entries)])
            if s.home[source] >= 0 and kind < 3:
                return int(s.home[source])
            return np.int64(s.key[at(s, source, _below(random, s.reach_len[source]))] // projections)  # type: ignore[return-value]
    elif kind < 15:
        members = g.member_ptr[atom + 1] - g.member_ptr[atom]
        neuron = int(g.members[g.member_ptr[atom] + _below(random, members)])
        if s.reach_len[neuron] > 0:
            return np.int64(s.key[at(s, neuron, _below(random, s.reach_len[neuron]))] // projections)  # type: ignore[return-value]
    return _below(random, cores)


@lean
def _next(seed: np.ndarray) -> np.uint64:
    """The next number of splitmix64 (Steele et al., OOPSLA 2014)."""
    seed[0] += np.uint64(0x9E3779B97F4A7C15)
    z = seed[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@lean
def _below(seed: np.ndarray, n: int) -> int:
    return np.int64(_next(seed) % np.uint64(n))  # type: ignore[return-value]


@lean
def _uniform(seed: np.ndarray) -> float:
    """In (0, 1]."""
    return (float(_next(seed) >> np.uint64(11)) + 1.0) / 9007199254740992.0

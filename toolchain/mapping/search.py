"""Searches over mappings: fill cores in a given order, move atoms greedily, anneal.

All are deterministic: what looks random comes from a generator of their own (splitmix64), seeded.
A search judges by ``cost + penalty * overload``; with a penalty that no cost outweighs it repairs a
mapping that breaks limits, and never breaks one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.mapping.jit import compiled
from snnc.mapping.problem import Graph, Limits, Problem
from snnc.mapping.state import (
    BITS,
    COST,
    GROUPS,
    IN_AXONS,
    NEURONS,
    OVERLOAD,
    State,
    at,
    gain,
    move,
    price,
    put,
    reaches,
    settle,
    take,
)

_TINY = 1e-9
# Cores that an atom tries, those first that attract it most.
_TRIES = 3
# Share of the memory that an atom is expected to take of a core which a core without it must have free to be tried:
# what it takes depends on what is there already.
_SURE = 0.9


@compiled
def fill(g: Graph, lim: Limits, s: State, order: np.ndarray, first: int) -> int:
    """Put the atoms of `order` on cores first, first + 1, ...: the next core when one is full. Returns the last.

    An atom that fits on no core gets one of its own. Ends early, atoms left, when there are no more cores.
    """
    core, held = first, 0
    for atom in order:
        while True:
            put(g, lim, s, atom, core)
            settle(g, lim, s)
            if s.over[core] <= 0 or held == 0:
                held += 1
                break
            take(g, lim, s, atom)
            settle(g, lim, s)
            if core + 1 >= len(s.over):
                return core
            core, held = core + 1, 0
    return core


@compiled
def assign(g: Graph, lim: Limits, s: State, core: np.ndarray) -> None:
    """Put every atom on the core given for it, whatever the limits."""
    for atom in range(len(core)):
        if core[atom] >= 0:
            put(g, lim, s, atom, core[atom])
    settle(g, lim, s)


@compiled
def _next(seed: np.ndarray) -> np.uint64:
    """The next number of splitmix64 (Steele et al., OOPSLA 2014)."""
    seed[0] += np.uint64(0x9E3779B97F4A7C15)
    z = seed[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def _below(seed: np.ndarray, n: int) -> int:
    return np.int64(_next(seed) % np.uint64(n))  # type: ignore[return-value]


@compiled
def _uniform(seed: np.ndarray) -> float:
    """In (0, 1]."""
    return (float(_next(seed) >> np.uint64(11)) + 1.0) / 9007199254740992.0


class Met(NamedTuple):
    """Cores K that have something of an atom's sources and targets, and how much; room for :func:`meet`.

    attracts: float64 (K,), rate of what a core has. seen: int64 (K,), when a core was met last, -1 in between.
    listed: int64 (K,), cores that were met. Where prices differ, float64 (K,): sends, rate of the sources that live
    in a core; there, what their spikes cost to a core which they reach already; reached, rate of the atom's own
    neurons that reach a core. All but `listed` are 0, or -1, in between.
    """

    attracts: np.ndarray
    seen: np.ndarray
    listed: np.ndarray
    sends: np.ndarray
    there: np.ndarray
    reached: np.ndarray


def nothing_met(cores: int) -> Met:
    """No core is met yet."""
    counts = [np.zeros(cores) for _ in range(4)]
    return Met(counts[0], np.full(cores, -1, np.int64), np.zeros(cores, np.int64), *counts[1:])


def greedy(problem: Problem, state: State, order: np.ndarray, penalty: float) -> int:
    """Move each atom of `order` once to where it saves most, if it saves anything. Returns how many moved."""
    return int(_greedy(problem.graph, problem.limits, state, order, penalty, nothing_met(len(state.over))))


def spread(problem: Problem, state: State, order: np.ndarray, penalty: float) -> int:
    """Move atoms of overloaded cores to where that costs least, even if they share nothing there. Returns how many."""
    return int(_spread(problem.graph, problem.limits, state, order, penalty, nothing_met(len(state.over))))


@compiled
def _greedy(g: Graph, lim: Limits, s: State, order: np.ndarray, penalty: float, met: Met) -> int:
    visit, moved, alike = 0, 0, len(s.price) == 0
    for atom in order:
        over = s.over[s.core[atom]] > 0
        if alike and not over and not may_gain(g, s, atom):
            continue
        visit, found, base = meet(g, s, atom, visit, met)
        bits = _bits(g, lim, atom)
        for _ in range(_TRIES):
            best = _most(g, lim, s, atom, bits, met, found, True)
            if best < 0:
                break
            saves = saving(s, met, found, base, best)
            met.attracts[best] = -1.0
            if (over or saves > _TINY) and _try(g, lim, s, atom, best, penalty, 0.0):
                moved += 1
                break
            if alike and not over and saves <= _TINY:
                break  # the others attract it less
        _forget(met, found)
    return moved


@compiled
def _spread(g: Graph, lim: Limits, s: State, order: np.ndarray, penalty: float, met: Met) -> int:
    visit, moved = 0, 0
    for atom in order:
        if s.over[s.core[atom]] <= 0:
            continue
        visit, found, _ = meet(g, s, atom, visit, met)
        bits, done = _bits(g, lim, atom), False
        for _ in range(_TRIES):
            core = _most(g, lim, s, atom, bits, met, found, False)
            if core < 0:
                break
            met.attracts[core] = -1.0
            done = _relieve(g, lim, s, atom, core, penalty)
            if done:
                break
        if not done:
            emptiest = _emptiest(lim, s)
            done = emptiest != s.core[atom] and _relieve(g, lim, s, atom, emptiest, penalty)
        moved += done
        _forget(met, found)
    return moved


@compiled
def may_gain(g: Graph, s: State, atom: int) -> bool:
    """Whether any move of an atom can save something, where the price between any two cores is 1.

    It can only if the atom is all that a source elsewhere reaches here, or if one of its neurons reaches other
    cores, but not this one.
    """
    projections, here = len(g.population_of), s.core[atom]
    for k in range(g.member_ptr[atom], g.member_ptr[atom + 1]):
        neuron = int(g.members[k])
        if s.reach_len[neuron] > 0 and g.rate[neuron] > 0.0 and not reaches(s, neuron, here, projections):
            return True
    for row in range(g.row_ptr[atom], g.row_ptr[atom + 1]):
        key, low = here * projections + g.row_projection[row], here * projections
        for e in range(g.begin[row], g.end[row]):
            source = int(g.source[e])
            if s.home[source] == here or g.rate[source] <= 0.0:
                continue
            count = g.synapses[e] if len(g.synapses) else 1
            stays = False
            for j in range(s.reach_len[source]):
                k = at(s, source, j)
                if low <= s.key[k] < low + projections and (s.key[k] != key or s.fan[k] != count):
                    stays = True
                    break
            if not stays:
                return True
    return False


@compiled
def meet(g: Graph, s: State, atom: int, visit: int, met: Met) -> tuple[int, int, float]:
    """Meet all cores that have something of an atom's sources and targets: all that :func:`saving` needs, in one pass.

    Returns:
        the last visit, how many cores are listed, and what `saving` calls base.
    """
    projections, here, alike = len(g.population_of), s.core[atom], len(s.price) == 0
    found, base = 0, 0.0
    for row in range(g.row_ptr[atom], g.row_ptr[atom + 1]):
        key = here * projections + g.row_projection[row]
        for e in range(g.begin[row], g.end[row]):
            source = int(g.source[e])
            count, rate = g.synapses[e] if len(g.synapses) else 1, g.rate[source]
            visit += 1
            home, stays = s.home[source], False
            if home >= 0:
                found = _list(home, visit, met, found)
                met.attracts[home] += rate
                if not alike:
                    met.sends[home] += rate
            for j in range(s.reach_len[source]):
                k = at(s, source, j)
                core = s.key[k] // projections
                if core == here:
                    stays |= s.key[k] != key or s.fan[k] != count
                if met.seen[core] == visit and (alike or core != home):
                    continue
                if core != home:
                    found = _list(core, visit, met, found)
                    met.attracts[core] += rate
                if not alike:
                    met.there[core] += rate * price(s, home, core)
            if alike:
                if stays or home == here:
                    base -= rate
            else:
                base += (0.0 if stays else rate * price(s, home, here)) - (rate if home < 0 else 0.0)
    for m in range(g.member_ptr[atom], g.member_ptr[atom + 1]):
        neuron = int(g.members[m])
        visit += 1
        for j in range(s.reach_len[neuron]):
            core = s.key[at(s, neuron, j)] // projections
            if met.seen[core] == visit:
                continue
            found = _list(core, visit, met, found)
            met.attracts[core] += g.rate[neuron]
            if not alike:
                met.reached[core] += g.rate[neuron]
                base += g.rate[neuron] * price(s, here, core)
            elif core == here:
                base -= g.rate[neuron]
    return visit, found, base


@compiled
def _list(core: int, visit: int, met: Met, found: int) -> int:
    """Note that a core is met; how many are listed then."""
    if met.seen[core] < 0:
        met.listed[found] = core
        found += 1
    met.seen[core] = visit
    return found


@compiled
def saving(s: State, met: Met, found: int, base: float, core: int) -> float:
    """Cost that a move of the atom that has met cores to one of them would save: :func:`snnc.mapping.state.gain`."""
    if len(s.price) == 0:
        return base + met.attracts[core]
    saved = base + met.there[core]
    for k in range(found):
        other = met.listed[k]
        saved -= met.sends[other] * s.price[other, core] + met.reached[other] * s.price[core, other]
    return saved


@compiled
def _bits(g: Graph, lim: Limits, atom: int) -> float:
    """About the least memory that an atom takes of a core: its synapses in lists that others have begun."""
    total, most = 0.0, min(64, lim.bits.shape[1] - 1)
    for row in range(g.row_ptr[atom], g.row_ptr[atom + 1]):
        if len(g.shared):
            return 0.0
        kind = lim.kind[g.row_projection[row]]
        count = 0
        for e in range(g.begin[row], g.end[row]):
            count += g.synapses[e] if len(g.synapses) else 1
        total += count * (lim.bits[kind, most, 0] / most)
    return total


@compiled
def _most(g: Graph, lim: Limits, s: State, atom: int, bits: float, met: Met, found: int, full: bool) -> int:
    """The listed core that attracts an atom most among those with room, or -1. full: overloaded ones, too."""
    size, here = g.member_ptr[atom + 1] - g.member_ptr[atom], s.core[atom]
    best, most = -1, -0.5
    for k in range(found):
        core = met.listed[k]
        if core == here or met.attracts[core] <= most:
            continue
        room = s.used[core, NEURONS] + size <= lim.most[NEURONS] and s.used[core, BITS] + _SURE * bits <= lim.most[BITS]
        if room and (full or s.over[core] <= 0):
            best, most = core, met.attracts[core]
    return best


@compiled
def _emptiest(lim: Limits, s: State) -> int:
    """The core with the least of its tightest resource in use."""
    best, least = 0, np.inf
    for core in range(len(s.over)):
        full = s.over[core] + 1.0 if s.over[core] > 0 else 0.0
        for r in range(GROUPS):
            full = max(full, s.used[core, r] / lim.most[r])
        if full < least:
            best, least = core, full
    return best


@compiled
def _forget(met: Met, found: int) -> None:
    for k in range(found):
        core = met.listed[k]
        met.attracts[core], met.seen[core] = 0.0, -1
        met.sends[core], met.there[core], met.reached[core] = 0.0, 0.0, 0.0


@compiled
def _try(g: Graph, lim: Limits, s: State, atom: int, core: int, penalty: float, worse: float) -> bool:
    """Move an atom; back again where the cost then is not lower than before plus `worse`."""
    here, cost, over = s.core[atom], s.total[COST], s.total[OVERLOAD]
    move(g, lim, s, atom, core)
    if s.total[COST] - cost + penalty * (s.total[OVERLOAD] - over) < worse - _TINY:
        return True
    move(g, lim, s, atom, here)
    return False


@compiled
def _relieve(g: Graph, lim: Limits, s: State, atom: int, core: int, penalty: float) -> bool:
    """Move an atom from an overloaded core; back again where that helps nothing.

    It helps, too, if the core has too many axons, even if others there share all of those of the atom: once they
    are gone as well, so are the axons.
    """
    here, cost, over = s.core[atom], s.total[COST], s.total[OVERLOAD]
    shares = s.used[here, IN_AXONS] > lim.most[IN_AXONS] and g.row_ptr[atom + 1] > g.row_ptr[atom]
    move(g, lim, s, atom, core)
    change = s.total[OVERLOAD] - over
    if s.total[COST] - cost + penalty * change < -_TINY or (shares and change <= _TINY and s.over[core] <= 0):
        return True
    move(g, lim, s, atom, here)
    return False


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


@compiled
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
        size = g.member_ptr[atom + 1] - g.member_ptr[atom]
        partner = -1
        if s.used[core, NEURONS] + size > lim.most[NEURONS]:
            if holds[core] == 0:
                continue
            partner = held[core, _below(random, holds[core])]
        elif holds[core] > 0 and _below(random, 8) == 0:
            partner = held[core, _below(random, holds[core])]
        if partner >= 0:
            other = g.member_ptr[partner + 1] - g.member_ptr[partner]
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


@compiled
def _copy(source: np.ndarray, to: np.ndarray) -> None:
    for k in range(len(to)):
        to[k] = source[k]


@compiled
def _relist(held: np.ndarray, holds: np.ndarray, place: np.ndarray, atom: int, here: int, core: int) -> None:
    holds[here] -= 1
    last = held[here, holds[here]]
    held[here, place[atom]], place[last] = last, place[atom]
    place[atom], held[core, holds[core]] = holds[core], atom
    holds[core] += 1


@compiled
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


@compiled
def follow(g: Graph, lim: Limits, s: State, core: np.ndarray) -> None:
    """Move every atom that is elsewhere to the core given for it."""
    for atom in range(len(core)):
        if s.core[atom] != core[atom]:
            take(g, lim, s, atom)
            put(g, lim, s, atom, core[atom])
    settle(g, lim, s)

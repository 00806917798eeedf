"""Searches over mappings: fill cores in a given order, move atoms greedily, anneal.

All are deterministic: what looks random comes from a generator of their own (splitmix64), seeded.
A search judges by ``cost + penalty * overload``; with a penalty that no cost outweighs it repairs a
mapping that breaks limits, and never breaks one.
"""

from __future__ import annotations

import numpy as np

from snnc.mapping.jit import compiled
from snnc.mapping.problem import Graph, Limits, Problem
from snnc.mapping.state import BITS, COST, NEURONS, OVERLOAD, State, gain, move, put, reaches, settle, take

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


def greedy(problem: Problem, state: State, order: np.ndarray, penalty: float) -> int:
    """Move each atom of `order` once to where it saves most, if it saves anything. Returns how many moved."""
    one = bool(np.all(state.price + np.eye(len(state.over)) == 1.0))
    return int(_greedy(problem.graph, problem.limits, state, order, penalty, one, *_met(state)))


def spread(problem: Problem, state: State, order: np.ndarray, penalty: float) -> int:
    """Move atoms of overloaded cores to where that costs least, even if they share nothing there. Returns how many."""
    return int(_spread(problem.graph, problem.limits, state, order, penalty, *_met(state)))


def _met(state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Room for :func:`attract`."""
    cores = len(state.over)
    return np.zeros(cores), np.full(cores, -1, np.int64), np.zeros(cores, np.int64)


@compiled
def _greedy(
    g: Graph,
    lim: Limits,
    s: State,
    order: np.ndarray,
    penalty: float,
    one: bool,
    attracts: np.ndarray,
    seen: np.ndarray,
    listed: np.ndarray,
) -> int:
    """See :func:`greedy`. one: whether the price between any two cores is 1."""
    visit, moved = 0, 0
    for atom in order:
        over = s.over[s.core[atom]] > 0
        if one and not over and not may_gain(g, s, atom):
            continue
        visit, found, base = attract(g, s, atom, visit, attracts, seen, listed)
        bits = _bits(g, lim, atom)
        for _ in range(_TRIES):
            best = _most(g, lim, s, atom, bits, attracts, listed, found, True)
            if best < 0:
                break
            saves = base + attracts[best] if one else gain(g, s, atom, best)
            attracts[best] = -1.0
            if (over or saves > _TINY) and _try(g, lim, s, atom, best, penalty, 0.0):
                moved += 1
                break
            if one and not over and saves <= _TINY:
                break  # the others attract it less
        _forget(attracts, seen, listed, found)
    return moved


@compiled
def _spread(
    g: Graph,
    lim: Limits,
    s: State,
    order: np.ndarray,
    penalty: float,
    attracts: np.ndarray,
    seen: np.ndarray,
    listed: np.ndarray,
) -> int:
    visit, moved = 0, 0
    for atom in order:
        if s.over[s.core[atom]] <= 0:
            continue
        visit, found, _ = attract(g, s, atom, visit, attracts, seen, listed)
        bits, done = _bits(g, lim, atom), False
        for _ in range(_TRIES):
            core = _most(g, lim, s, atom, bits, attracts, listed, found, False)
            if core < 0:
                break
            attracts[core] = -1.0
            done = _try(g, lim, s, atom, core, penalty, 0.0)
            if done:
                break
        if not done:
            emptiest = _emptiest(s)
            done = emptiest != s.core[atom] and _try(g, lim, s, atom, emptiest, penalty, 0.0)
        moved += done
        _forget(attracts, seen, listed, found)
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
            start, stays = s.fan_ptr[source], False
            for k in range(start, start + s.reach_len[source]):
                if low <= s.key[k] < low + projections and (s.key[k] != key or s.fan[k] != count):
                    stays = True
                    break
            if not stays:
                return True
    return False


@compiled
def attract(
    g: Graph, s: State, atom: int, visit: int, attracts: np.ndarray, seen: np.ndarray, listed: np.ndarray
) -> tuple[int, int, float]:
    """Rate of what each core has of an atom's sources and targets: what a move saves, for all cores at once.

    Where the price between any two cores is 1, a move to a core saves ``base + attracts[core]``, as
    :func:`snnc.mapping.state.gain` has it.

    attracts: 0 in between. seen: when a core was met last, -1 in between. listed: cores that were met.

    Returns:
        the last visit, how many cores are listed, and base.
    """
    projections, here = len(g.population_of), s.core[atom]
    found, base = 0, 0.0
    for row in range(g.row_ptr[atom], g.row_ptr[atom + 1]):
        key = here * projections + g.row_projection[row]
        for e in range(g.begin[row], g.end[row]):
            source = int(g.source[e])
            count = g.synapses[e] if len(g.synapses) else 1
            visit += 1
            home, stays = s.home[source], False
            if home >= 0:
                if seen[home] < 0:
                    listed[found] = home
                    found += 1
                seen[home] = visit
                attracts[home] += g.rate[source]
            start = s.fan_ptr[source]
            for k in range(start, start + s.reach_len[source]):
                core = s.key[k] // projections
                if core == here:
                    stays |= s.key[k] != key or s.fan[k] != count
                if seen[core] == visit:
                    continue
                if seen[core] < 0:
                    listed[found] = core
                    found += 1
                seen[core] = visit
                attracts[core] += g.rate[source]
            if stays or home == here:
                base -= g.rate[source]
    for m in range(g.member_ptr[atom], g.member_ptr[atom + 1]):
        neuron = int(g.members[m])
        visit += 1
        start = s.fan_ptr[neuron]
        for k in range(start, start + s.reach_len[neuron]):
            core = s.key[k] // projections
            if seen[core] == visit:
                continue
            if seen[core] < 0:
                listed[found] = core
                found += 1
            seen[core] = visit
            attracts[core] += g.rate[neuron]
            if core == here:
                base -= g.rate[neuron]
    return visit, found, base


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
def _most(
    g: Graph,
    lim: Limits,
    s: State,
    atom: int,
    bits: float,
    attracts: np.ndarray,
    listed: np.ndarray,
    found: int,
    full: bool,
) -> int:
    """The listed core that attracts an atom most among those with room, or -1. full: overloaded ones, too."""
    size, here = g.member_ptr[atom + 1] - g.member_ptr[atom], s.core[atom]
    best, most = -1, -0.5
    for k in range(found):
        core = listed[k]
        if core == here or attracts[core] <= most:
            continue
        room = s.used[core, NEURONS] + size <= lim.most[NEURONS] and s.used[core, BITS] + _SURE * bits <= lim.most[BITS]
        if room and (full or s.over[core] <= 0):
            best, most = core, attracts[core]
    return best


@compiled
def _emptiest(s: State) -> int:
    best = 0
    for core in range(len(s.over)):
        if (s.over[core], s.used[core, NEURONS]) < (s.over[best], s.used[best, NEURONS]):
            best = core
    return best


@compiled
def _forget(attracts: np.ndarray, seen: np.ndarray, listed: np.ndarray, found: int) -> None:
    for k in range(found):
        attracts[listed[k]], seen[listed[k]] = 0.0, -1


@compiled
def _try(g: Graph, lim: Limits, s: State, atom: int, core: int, penalty: float, worse: float) -> bool:
    """Move an atom; back again where the cost then is not lower than before plus `worse`."""
    here, cost, over = s.core[atom], s.total[COST], s.total[OVERLOAD]
    move(g, lim, s, atom, core)
    if s.total[COST] - cost + penalty * (s.total[OVERLOAD] - over) < worse - _TINY:
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
            return np.int64(s.key[s.fan_ptr[source] + _below(random, s.reach_len[source])] // projections)  # type: ignore[return-value]
    elif kind < 15:
        members = g.member_ptr[atom + 1] - g.member_ptr[atom]
        neuron = int(g.members[g.member_ptr[atom] + _below(random, members)])
        if s.reach_len[neuron] > 0:
            return np.int64(s.key[s.fan_ptr[neuron] + _below(random, s.reach_len[neuron])] // projections)  # type: ignore[return-value]
    return _below(random, cores)


@compiled
def follow(g: Graph, lim: Limits, s: State, core: np.ndarray) -> None:
    """Move every atom that is elsewhere to the core given for it."""
    for atom in range(len(core)):
        if s.core[atom] != core[atom]:
            take(g, lim, s, atom)
            put(g, lim, s, atom, core[atom])
    settle(g, lim, s)

"""Moves over mappings: fill cores in a given order, move atoms to where they save most, and away from full cores.

A search judges by ``cost + penalty * overload``; with a penalty that no cost outweighs it repairs a mapping that breaks
limits, and never breaks one. It has no randomness of its own: atoms are visited in the order that the caller gives.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.jit import lean
from snnc.mapping.problem import Graph, Limits, Problem, extent
from snnc.mapping.state import (
    BITS,
    COST,
    GROUPS,
    IN_AXONS,
    NEURONS,
    OVERLOAD,
    State,
    at,
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


@lean
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


@lean
def assign(g: Graph, lim: Limits, s: State, core: np.ndarray) -> None:
    """Put every atom on the core given for it, whatever the limits."""
    for atom in range(len(core)):
        if core[atom] >= 0:
            put(g, lim, s, atom, core[atom])
    settle(g, lim, s)


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


@lean
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
            if (over or saves > _TINY) and _try(g, lim, s, atom, best, penalty, False):
                moved += 1
                break
            if alike and not over and saves <= _TINY:
                break  # the others attract it less
        _forget(met, found)
    return moved


@lean
def _spread(g: Graph, lim: Limits, s: State, order: np.ndarray, penalty: float, met: Met) -> int:
    visit, moved = 0, 0
    for atom in order:
        here = s.core[atom]
        if s.over[here] <= 0:
            continue
        # Of too many axons no atom may save one alone, since others share them all, and of too much memory none, since
        # lists end on whole words: once others leave as well, it does.
        stuck = s.used[here, IN_AXONS] > lim.most[IN_AXONS] or s.used[here, BITS] > lim.most[BITS]
        stuck = stuck and g.row_ptr[atom + 1] > g.row_ptr[atom]
        visit, found, _ = meet(g, s, atom, visit, met)
        bits, done = _bits(g, lim, atom), False
        for _ in range(_TRIES):
            core = _most(g, lim, s, atom, bits, met, found, False)
            if core < 0:
                break
            met.attracts[core] = -1.0
            done = _try(g, lim, s, atom, core, penalty, stuck)
            if done:
                break
        if not done:
            emptiest = _emptiest(lim, s)
            done = emptiest != here and _try(g, lim, s, atom, emptiest, penalty, stuck)
        moved += done
        _forget(met, found)
    return moved


@lean
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


@lean
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


@lean
def _list(core: int, visit: int, met: Met, found: int) -> int:
    """Note that a core is met; how many are listed then."""
    if met.seen[core] < 0:
        met.listed[found] = core
        found += 1
    met.seen[core] = visit
    return found


@lean
def saving(s: State, met: Met, found: int, base: float, core: int) -> float:
    """Cost that a move of the atom that has met cores to one of them would save: :func:`snnc.mapping.state.gain`."""
    if len(s.price) == 0:
        return base + met.attracts[core]
    saved = base + met.there[core]
    for k in range(found):
        other = met.listed[k]
        saved -= met.sends[other] * s.price[other, core] + met.reached[other] * s.price[core, other]
    return saved


@lean
def _bits(g: Graph, lim: Limits, atom: int) -> float:
    """About the least memory that an atom takes of a core: its synapses in lists that others have begun.

    0 where kernels are shared: there it may take none.
    """
    total, most = 0.0, min(64, lim.bits.shape[1] - 1)
    if len(g.shared):
        return total
    for row in range(g.row_ptr[atom], g.row_ptr[atom + 1]):
        count = 0
        for e in range(g.begin[row], g.end[row]):
            count += g.synapses[e] if len(g.synapses) else 1
        total += count * (lim.bits[lim.kind[g.row_projection[row]], most, 0] / most)
    return total


@lean
def _most(g: Graph, lim: Limits, s: State, atom: int, bits: float, met: Met, found: int, full: bool) -> int:
    """The listed core that attracts an atom most among those with room, or -1. full: overloaded ones, too."""
    size, here = extent(g, atom), s.core[atom]
    best, most = -1, -0.5
    for k in range(found):
        core = met.listed[k]
        if core == here or met.attracts[core] <= most:
            continue
        room = s.used[core, NEURONS] + size <= lim.most[NEURONS] and s.used[core, BITS] + _SURE * bits <= lim.most[BITS]
        if room and (full or s.over[core] <= 0):
            best, most = core, met.attracts[core]
    return best


@lean
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


@lean
def _forget(met: Met, found: int) -> None:
    for k in range(found):
        core = met.listed[k]
        met.attracts[core], met.seen[core] = 0.0, -1
        met.sends[core], met.there[core], met.reached[core] = 0.0, 0.0, 0.0


@lean
def _try(g: Graph, lim: Limits, s: State, atom: int, core: int, penalty: float, stuck: bool) -> bool:
    """Move an atom; back again where that lowers nothing.

    stuck: keep the move to a core with room, too, if the overload stays as it was.
    """
    here, cost, over = s.core[atom], s.total[COST], s.total[OVERLOAD]
    move(g, lim, s, atom, core)
    change = s.total[OVERLOAD] - over
    if s.total[COST] - cost + penalty * change < -_TINY or (stuck and change <= _TINY and s.over[core] <= 0):
        return True
    move(g, lim, s, atom, here)
    return False


@lean
def follow(g: Graph, lim: Limits, s: State, core: np.ndarray) -> None:
    """Move every atom that is elsewhere to the core given for it."""
    for atom in range(len(core)):
        if s.core[atom] != core[atom]:
            take(g, lim, s, atom)
            put(g, lim, s, atom, core[atom])
    settle(g, lim, s)

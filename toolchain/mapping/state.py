"""Cores while they are filled: the use of every resource and the traffic, exact after each move.

`put` and `take` bring an atom to a core and away from it and update everything that depends on it in
the time of its synapses. The counts are those of :mod:`snnc.resources`, which counts a finished mapping
again from the network; tests hold one against the other.

Cost is what a mapping is judged by: ``sum over sources of rate * sum over cores reached of price[own, core]``. With a
price of 1 between any two cores this is the traffic; with distances in it, it tells hops as well. Sources that
are nowhere, such as inputs, pay 1 for each core. Overload is how far cores are beyond their limits, as shares of
the limits, added up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.jit import lean
from snnc.mapping.problem import PLAIN, Graph, Limits, Problem, extent

NEURONS, IN_AXONS, OUT_AXONS, BITS, GROUPS, LOAD = range(6)
COST, OVERLOAD = range(2)
# Slots of a source that lie together. The others, few of which are ever used, lie behind those of all sources, in
# memory that costs nothing until it is touched.
_NEAR = 16
_DENSE, _SPARSE, _BITMAP, _KERNEL = range(4)


class State(NamedTuple):
    """Atoms A, neurons N, cores K, projections Q, populations P, parameter groups G; slots for axons.

    core: int64 (A,), home: int64 (N,), -1 for what is nowhere. The first reach_len[u] slots of a source u, see
    :func:`at`, name the (core, projection) pairs in which it has synapses: key = core * Q + projection, fan: how
    many. near, far: int64 (N,), where its slots lie. reach: int32 (N,), cores among them.
    used: float64 (K, 6), of the resources in the order of Limits.most. width: int64 (K, P), neurons of each
    population. axons: int64 (K, Q). sums: int64 (K, Q, 8), bits of all axons by index width. shared: the same of
    shared lists. group_size: int32 (K, G), neurons of each parameter group. over: float64 (K,), overload.
    price: float64 (K, K), 0 on the diagonal; (0, 0) = 1 between any two. total: float64 (2,), cost and overload.
    marked, is_marked, mark: int64 (K,), bool (K,), int64 (1,): the cores to be settled, and how many.
    """

    core: np.ndarray
    home: np.ndarray
    near: np.ndarray
    far: np.ndarray
    reach_len: np.ndarray
    key: np.ndarray
    fan: np.ndarray
    reach: np.ndarray
    used: np.ndarray
    width: np.ndarray
    axons: np.ndarray
    sums: np.ndarray
    shared: np.ndarray
    group_size: np.ndarray
    over: np.ndarray
    price: np.ndarray
    total: np.ndarray
    marked: np.ndarray
    is_marked: np.ndarray
    mark: np.ndarray


def empty(problem: Problem, cores: int, price: np.ndarray | None = None) -> State:
    """No atom is on any of `cores` cores. price: None = 1 between any two."""
    graph = problem.graph
    projections, populations = len(graph.population_of), int(graph.population.max(initial=0)) + 1
    slots = np.zeros(problem.neurons, np.int64)
    for first, degree in problem.out_degree:  # at most so many (core, projection) pairs each
        slots[first : first + len(degree)] += np.minimum(degree, cores)
    near = np.minimum(slots, _NEAR)
    near_ptr, far_ptr = np.cumsum(near) - near, np.cumsum(slots - near) - (slots - near)
    return State(
        core=np.full(problem.atoms, -1, np.int64),
        home=np.full(problem.neurons, -1, np.int64),
        near=near_ptr,
        far=near.sum() + far_ptr - _NEAR,
        reach_len=np.zeros(problem.neurons, np.int32),
        key=np.zeros(slots.sum(), np.int32),
        fan=np.zeros(slots.sum(), np.uint16 if len(problem.limits.column) < 1 << 16 else np.int32),
        reach=np.zeros(problem.neurons, np.int32),
        used=np.zeros((cores, 6)),
        width=np.zeros((cores, populations), np.int64),
        axons=np.zeros((cores, projections), np.int64),
        sums=np.zeros((cores, projections, PLAIN + 1), np.int64),
        shared=np.zeros((cores, projections, PLAIN + 1), np.int64),
        group_size=np.zeros((cores, problem.groups), np.int32),
        over=np.zeros(cores),
        price=np.zeros((0, 0)) if price is None else price,
        total=np.zeros(2),
        marked=np.zeros(cores, np.int64),
        is_marked=np.zeros(cores, np.bool_),
        mark=np.zeros(1, np.int64),
    )


@lean
def _mark(s: State, core: int) -> None:
    if not s.is_marked[core]:
        s.is_marked[core] = True
        s.marked[s.mark[0]] = core
        s.mark[0] += 1


@lean
def at(s: State, source: int, number: int) -> int:
    """Where a slot of a source lies in key and fan; they are numbered from 0."""
    return s.near[source] + number if number < _NEAR else s.far[source] + number


@lean
def slot(s: State, source: int, key: int) -> int:
    """Slot of a source for a (core, projection), or -1."""
    for j in range(s.reach_len[source]):
        k = at(s, source, j)
        if s.key[k] == key:
            return k
    return -1


@lean
def reaches(s: State, source: int, core: int, projections: int) -> bool:
    """Whether a source has synapses in a core."""
    low = core * projections
    for j in range(s.reach_len[source]):  # noqa: SIM110 (any() is slow in a kernel)
        if low <= s.key[at(s, source, j)] < low + projections:
            return True
    return False


@lean
def price(s: State, home: int, core: int) -> float:
    """Of a spike from a core, or from nowhere, to another."""
    if home < 0:
        return 1.0
    if len(s.price) == 0:
        return 0.0 if home == core else 1.0
    return s.price[home, core]


@lean
def _paid(s: State, source: int, home: int, projections: int) -> float:
    """What a spike of a source costs if that is in core `home`."""
    total = 0.0
    single = s.reach[source] == s.reach_len[source]
    for j in range(s.reach_len[source]):
        core = s.key[at(s, source, j)] // projections
        first = True
        if not single:  # a core that several projections lead to is paid for once
            for i in range(j):
                first = first and s.key[at(s, source, i)] // projections != core
        if first:
            total += price(s, home, core)
    return total


@lean
def put(g: Graph, lim: Limits, s: State, atom: int, core: int) -> None:
    """Bring an atom that is nowhere to a core."""
    projections = len(g.population_of)
    for k in range(g.member_ptr[atom], g.member_ptr[atom + 1]):
        neuron = int(g.members[k])
        s.home[neuron] = core
        s.used[core, OUT_AXONS] += s.reach[neuron]
        s.total[COST] += g.rate[neuron] * (_paid(s, neuron, core, projections) - s.reach[neuron])
    for row in range(g.row_ptr[atom], g.row_ptr[atom + 1]):
        projection = g.row_projection[row]
        key, kind = core * projections + projection, lim.kind[projection]
        for e in range(g.begin[row], g.end[row]):
            source = int(g.source[e])
            count = g.synapses[e] if len(g.synapses) else 1
            k = slot(s, source, key)
            before = 0
            if k < 0:
                if not reaches(s, source, core, projections):
                    _reach(g, s, source, core, 1)
                k = at(s, source, s.reach_len[source])
                s.reach_len[source] += 1
                s.key[k] = key
                s.axons[core, projection] += 1
            else:
                before = s.fan[k]
            s.fan[k] = before + count
            for j in range(PLAIN + 1):
                s.sums[core, projection, j] += lim.bits[kind, before + count, j] - lim.bits[kind, before, j]
        if len(g.shared):
            for j in range(PLAIN + 1):
                s.shared[core, projection, j] += g.shared[row, j]
    s.core[atom] = core
    _hold(g, s, atom, core, 1)


@lean
def take(g: Graph, lim: Limits, s: State, atom: int) -> None:
    """Take an atom away from its core."""
    projections, core = len(g.population_of), s.core[atom]
    for row in range(g.row_ptr[atom], g.row_ptr[atom + 1]):
        projection = g.row_projection[row]
        key, kind = core * projections + projection, lim.kind[projection]
        for e in range(g.begin[row], g.end[row]):
            source = int(g.source[e])
            count = g.synapses[e] if len(g.synapses) else 1
            k = slot(s, source, key)
            before = s.fan[k]
            after = before - count
            for j in range(PLAIN + 1):
                s.sums[core, projection, j] += lim.bits[kind, after, j] - lim.bits[kind, before, j]
            s.fan[k] = after
            if after == 0:
                s.reach_len[source] -= 1
                last = at(s, source, s.reach_len[source])
                s.key[k], s.fan[k] = s.key[last], s.fan[last]
                s.axons[core, projection] -= 1
                if not reaches(s, source, core, projections):
                    _reach(g, s, source, core, -1)
        if len(g.shared):
            for j in range(PLAIN + 1):
                s.shared[core, projection, j] -= g.shared[row, j]
    for k in range(g.member_ptr[atom], g.member_ptr[atom + 1]):
        neuron = int(g.members[k])
        s.home[neuron] = -1
        s.used[core, OUT_AXONS] -= s.reach[neuron]
        s.total[COST] -= g.rate[neuron] * (_paid(s, neuron, core, projections) - s.reach[neuron])
    s.core[atom] = -1
    _hold(g, s, atom, core, -1)


@lean
def _reach(g: Graph, s: State, source: int, core: int, sign: int) -> None:
    """A source begins (1) or ceases (-1) to have synapses in a core."""
    s.used[core, IN_AXONS] += sign
    s.reach[source] += sign
    home = s.home[source]
    if home >= 0:
        s.used[home, OUT_AXONS] += sign
        _mark(s, home)
    s.total[COST] += sign * g.rate[source] * price(s, home, core)


@lean
def _hold(g: Graph, s: State, atom: int, core: int, sign: int) -> None:
    """The neurons of an atom come to a core (1) or leave it (-1)."""
    size = g.member_ptr[atom + 1] - g.member_ptr[atom]
    s.used[core, NEURONS] += sign * extent(g, atom)
    s.used[core, LOAD] += sign * g.load[atom]
    s.width[core, g.population[atom]] += sign * size
    for k in range(g.group_ptr[atom], g.group_ptr[atom + 1]):
        before = s.group_size[core, g.group[k]]
        s.group_size[core, g.group[k]] = before + sign * g.group_size[k]
        if before == 0 or before + sign * g.group_size[k] == 0:
            s.used[core, GROUPS] += sign
    _mark(s, core)


@lean
def settle(g: Graph, lim: Limits, s: State) -> None:
    """Bring memory and overload up to date, after one or more put and take."""
    for k in range(s.mark[0]):
        core = s.marked[k]
        s.is_marked[core] = False
        s.used[core, BITS] = _memory(g, lim, s, core)
        over = 0.0
        for r in range(len(lim.most)):
            if s.used[core, r] > lim.most[r]:
                over += s.used[core, r] / lim.most[r] - 1.0
        s.total[OVERLOAD] += over - s.over[core]
        s.over[core] = over
    s.mark[0] = 0


@lean
def _memory(g: Graph, lim: Limits, s: State, core: int) -> int:
    """Bits of synapses in a core: for each projection those of the smallest format."""
    index, total = lim.column[min(int(s.used[core, NEURONS]), len(lim.column) - 1)], 0
    for q in range(len(g.population_of)):
        if s.axons[core, q] == 0:
            continue
        width = s.width[core, g.population_of[q]]
        best = 1 << 62
        if lim.formats[_DENSE]:
            best = min(best, s.axons[core, q] * lim.bits[lim.dense[q], width, PLAIN])
        if lim.formats[_SPARSE]:
            best = min(best, s.sums[core, q, index])
        if lim.formats[_BITMAP]:
            best = min(best, s.sums[core, q, PLAIN] + s.axons[core, q] * lim.map_bits[width])
        if lim.formats[_KERNEL] and lim.shares[q]:
            best = min(best, s.shared[core, q, index])
        total += best
    return total


@lean
def move(g: Graph, lim: Limits, s: State, atom: int, core: int) -> None:
    """Move an atom to another core."""
    take(g, lim, s, atom)
    put(g, lim, s, atom, core)
    settle(g, lim, s)


@lean
def gain(g: Graph, s: State, atom: int, core: int) -> float:
    """Cost that a move to another core would save.

    Exact but where an atom has several projections from one source or synapses with itself: there it is a
    guess, and the totals after the move say what is true.
    """
    projections, here = len(g.population_of), s.core[atom]
    saved = 0.0
    for row in range(g.row_ptr[atom], g.row_ptr[atom + 1]):
        key, low, high = here * projections + g.row_projection[row], here * projections, core * projections
        for e in range(g.begin[row], g.end[row]):
            source = int(g.source[e])
            count = g.synapses[e] if len(g.synapses) else 1
            stays, there = False, False
            for j in range(s.reach_len[source]):
                k = at(s, source, j)
                if s.key[k] == key:
                    stays |= s.fan[k] != count
                elif low <= s.key[k] < low + projections:
                    stays = True
                elif high <= s.key[k] < high + projections:
                    there = True
            home = s.home[source]
            if not stays:
                saved += g.rate[source] * price(s, home, here)
            if not there:
                saved -= g.rate[source] * price(s, home, core)
    for k in range(g.member_ptr[atom], g.member_ptr[atom + 1]):
        neuron = int(g.members[k])
        saved += g.rate[neuron] * (_paid(s, neuron, here, projections) - _paid(s, neuron, core, projections))
    return saved

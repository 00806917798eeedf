"""One mapping, made better: moves and swaps of single atoms under all limits, greedy first, then annealing.

A mapping that breaks limits is repaired first. Work is bounded by counts, never by the clock, so that the same input
gives the same mapping on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnc.mapping import annealing, search, state
from snnc.mapping.problem import Problem
from snnc.mapping.state import BITS, COST, NEURONS, State

# Rounds of greedy moves; fewer where little work is allowed, but at least so many while limits are broken. A repair is
# given up when a round leaves more than that of the overload.
_ROUNDS, _LEAST_ROUNDS, _SLOW = 8, 3, 0.75
# Atoms that take this share of a core are large; so many cores are tried for one.
_LARGE, _TARGETS = 0.1, 3
# Steps of annealing: so many for each atom, but no more work than this many visits of an entry, nor than so many for
# each entry of the problem, nor than the largest.
PER_ATOM, WORK, _PER_ENTRY, _MOST_WORK = 1_000, 8_000_000, 40, 50_000_000


@dataclass(frozen=True, eq=False)
class Found:
    """A mapping. core: int64 (A,). over: overload, 0 where every limit is kept. method: what found it."""

    core: np.ndarray
    cores: int
    traffic: float
    over: float
    method: str

    @classmethod
    def of(cls, s: State, method: str) -> Found:
        """The mapping that a state has come to."""
        return cls(s.core.copy(), len(s.over), float(s.total[COST]), float(s.over.sum()), method)


def placed(problem: Problem, core: np.ndarray, cores: int, price: np.ndarray | None = None) -> State:
    """The state of a mapping of all atoms. price: as for :func:`snnc.mapping.state.empty`."""
    s = state.empty(problem, cores, price)
    search.assign(problem.graph, problem.limits, s, core.astype(np.int64))
    return s


def penalty_of(problem: Problem, s: State) -> float:
    """Cost of an overload of 1 that no traffic outweighs."""
    return float(1e4 * max(1.0, s.price.max(initial=1.0)) * (problem.graph.rate.sum() + 1e-3))


def refine(
    problem: Problem,
    s: State,
    heat: float,
    seed: int,
    per_atom: int = PER_ATOM,
    work: float | None = None,
    hope: float = np.inf,
) -> None:
    """Repair and improve a mapping in place.

    heat: of the first temperature, in mean rates. per_atom: steps of annealing. work: that they may take, in entries;
    None = by the problem's. hope: overload up to which annealing is worth its time.
    """
    graph, penalty = problem.graph, penalty_of(problem, s)
    order = np.random.default_rng(seed).permutation(problem.atoms)
    rounds = _ROUNDS if work is None else max(1, min(_ROUNDS, int(2 * work / max(1, len(graph.source)))))
    work = work or work_of(problem)
    for k in range(_ROUNDS):
        over = s.over.sum()
        if k >= max(rounds, _LEAST_ROUNDS if over > 0 else 0):
            break
        moved = search.spread(problem, s, order, penalty) if over > 0 else 0
        moved += search.greedy(problem, s, order, penalty)
        if moved <= problem.atoms // 100 or s.over.sum() > _SLOW * over > 0:
            break
    if s.over.sum() > 0 and _make_room(problem, s, penalty):
        search.greedy(problem, s, order, penalty)
    if s.over.sum() > hope:
        return
    mean = float(graph.rate[graph.rate > 0].mean()) if np.any(graph.rate > 0) else 1.0
    entries = len(graph.source) / max(1, problem.atoms)
    proposals = int(min(per_atom * problem.atoms, work / max(1.0, entries)))
    if len(s.over) > 1 and proposals > problem.atoms:
        best = annealing.anneal(problem, s, proposals, heat * mean, 0.02 * mean, penalty, seed)
        search.follow(problem.graph, problem.limits, s, best)
        search.greedy(problem, s, order, penalty)
    while s.over.sum() > 0:
        over = s.over.sum()
        search.spread(problem, s, order, penalty)
        if s.over.sum() > _SLOW * over:
            break


def shares(problem: Problem, *, dense: bool) -> tuple[np.ndarray, np.ndarray]:
    """Shares of a core's neurons and of its memory that each atom takes, float64 (A,) each; of memory, about.

    dense: kernels are shared within atoms, where the target can.
    """
    graph, limits = problem.graph, problem.limits
    per_synapse = limits.bits[limits.kind[graph.row_projection], min(64, limits.bits.shape[1] - 1), 3] / 64
    bits = problem.row_synapses() * per_synapse
    if len(graph.shared) and dense:
        bits = np.where(limits.shares[graph.row_projection], np.minimum(bits, graph.shared[:, 3]), bits)
    memory = np.bincount(problem.row_atom, weights=bits, minlength=problem.atoms) / limits.most[BITS]
    return problem.extent() / limits.most[NEURONS], memory


def _make_room(problem: Problem, s: State, penalty: float) -> bool:
    """Move large atoms of overloaded cores to cores whose small ones can go elsewhere; whether that helped.

    No core may have room for a large atom, though all of them together have.
    """
    size = np.maximum(*shares(problem, dense=True))
    large, helped = size >= _LARGE, False
    for core in np.flatnonzero(s.over > 0):
        mine = np.flatnonzero(s.core == core)
        atom = mine[np.argmax(size[mine])]
        if not large[atom] or len(mine) < 2:
            continue
        fixed = np.bincount(s.core[large], weights=size[large], minlength=len(s.over))
        full = s.used[:, [NEURONS, BITS]] / problem.limits.most[[NEURONS, BITS]]
        cost = np.where((fixed + size[atom] <= 1.0) & (s.over <= 0), full.max(axis=1), np.inf)
        for target in np.argsort(cost, kind="stable")[:_TARGETS]:
            if cost[target] == np.inf:
                break
            before, over = s.core.copy(), s.over.sum()
            state.move(problem.graph, problem.limits, s, atom, target)
            while (now := s.over.sum()) > 0:
                small = np.flatnonzero((s.core == target) & ~large)
                if not search.spread(problem, s, small, penalty) or s.over.sum() > _SLOW * now:
                    break
            if s.over.sum() < over:
                helped = True
                break
            search.follow(problem.graph, problem.limits, s, before)
    return helped


def work_of(problem: Problem) -> float:
    """Entries that annealing may visit."""
    return min(max(WORK, _PER_ENTRY * len(problem.graph.source)), _MOST_WORK)


def drawn(problem: Problem, core: np.ndarray, price: np.ndarray, heat: float, seed: int) -> np.ndarray:
    """A mapping that keeps all limits, refined for prices between cores, float64 (cores, cores); int64 (A,)."""
    s = placed(problem, core, len(price), price)
    refine(problem, s, heat, seed)
    return s.core.copy() if s.over.sum() <= 0 else core

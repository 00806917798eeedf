"""The portfolio: several searches for a mapping, of which the best is kept.

Layer order fills one core after the other and is what every other mapping must beat. Against it run

- hypergraph partitioning (:mod:`snnc.mapping.hypergraph`), repaired where it breaks limits, and
- annealing from layer order,

both refined with moves and swaps of single atoms under all limits. Large problems are made smaller first
(:mod:`snnc.mapping.coarsen`), mapped, and refined level by level on the way back ("multilevel"). Work is
bounded by counts, never by the clock, so that the same input gives the same mapping on any machine.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import sparse

from snnc.mapping import coarsen, hypergraph, search, state
from snnc.mapping.problem import Problem
from snnc.mapping.state import BITS, COST, GROUPS, NEURONS, State

# Pins up to which a hypergraph goes to the partitioner: it takes a minute for a million.
_PINS, _PINS_PER_ATOM = 30_000, 16
# Levels end at so many atoms a core, and at least so many.
_PER_CORE, _FEW = 48, 7_000
# Overload of a core on the smallest problem that the larger ones are not expected to repair.
_HOPE = 0.01
# Numbers of cores to try: from the fewest that could suffice, each so many times the one before; and so many times
# where a problem has more entries than that, for a try of it takes long.
_STEP, _STEP_LARGE, _LARGE = 1.025, 1.05, 2_000_000
# Share of the memory in layer order that a better mapping may do with: its lists of synapses are longer.
_LISTS = 0.95
# So many times the fewest cores are tried, too, for less traffic.
_ROOM = 1.05
# Of the smaller problems each has at most this share of the entries of the one before.
_SMALLER = 0.6
# Problems of so few atoms are annealed again and again: their optimum can be found.
_TINY, _RESTARTS = 128, 8
# Entries beyond which layer order is improved, and nothing else: a smaller problem of it takes more time and memory.
_HUGE = 20_000_000
# Rounds of greedy moves, fewer for large problems; a repair is given up when one leaves more than that of an overload.
_ROUNDS, _LEAST_ROUNDS, _SLOW = 8, 3, 0.75
# Steps of annealing: so many for each atom, but no more work than this many visits of an entry, nor than so many for
# each entry of the problem, nor than the largest.
_PER_ATOM, _WORK, _PER_ENTRY, _MOST_WORK = 1_000, 8_000_000, 40, 50_000_000


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


def layer_order(problem: Problem, most: int, *, by_parameters: bool = False) -> Found:
    """Cores filled in layer order, from the last layer backwards: then it is known which cores a neuron sends to.

    most: cores there are; where they do not suffice, more are taken, for a rule to speak of. by_parameters: atoms
    with other parameters come after, so that a core holds few sets of them.
    """
    order = np.arange(problem.atoms - 1, -1, -1)
    if by_parameters:
        order = order[np.argsort(problem.graph.group[problem.graph.group_ptr[order]], kind="stable")]
    while True:
        s = state.empty(problem, most)
        last = search.fill(problem.graph, problem.limits, s, order, 0)
        if np.all(s.core >= 0):
            break
        most *= 2
    s = _relieved(problem, placed(problem, last - s.core, last + 1))
    return Found.of(s, "order of parameters" if by_parameters else "layer order")


def _relieved(problem: Problem, s: State) -> State:
    """The mapping with more cores where limits are broken: where recurrent layers send to became known too late."""
    order, extra = np.arange(problem.atoms), 1
    while s.over.sum() > 0 and not _hopeless(problem, s) and extra <= problem.atoms:
        s = placed(problem, s.core, len(s.over) + extra)
        while search.spread(problem, s, order, _penalty(problem, s)):
            pass
        _, core = np.unique(s.core, return_inverse=True)  # cores that stayed empty are none
        s = placed(problem, core.reshape(-1), int(core.max()) + 1)
        extra *= 2
    return s


def _hopeless(problem: Problem, s: State) -> bool:
    """Whether a single atom breaks a limit."""
    alone = np.bincount(s.core, minlength=len(s.over)) == 1
    return bool(np.any(s.over[alone] > 0))


def placed(problem: Problem, core: np.ndarray, cores: int, price: np.ndarray | None = None) -> State:
    """The state of a mapping of all atoms. price: as for :func:`snnc.mapping.state.empty`."""
    s = state.empty(problem, cores, price)
    search.assign(problem.graph, problem.limits, s, core.astype(np.int64))
    return s


def _penalty(problem: Problem, s: State) -> float:
    """Cost of an overload of 1 that no traffic outweighs."""
    return float(1e4 * max(1.0, s.price.max(initial=1.0)) * (problem.graph.rate.sum() + 1e-3))


def refine(
    problem: Problem,
    s: State,
    heat: float,
    seed: int,
    per_atom: int = _PER_ATOM,
    work: float | None = None,
    hope: float = np.inf,
) -> None:
    """Repair and improve a mapping in place.

    heat: of the first temperature, in mean rates. per_atom: steps of annealing. work: that they may take, in entries;
    None = by the problem's. hope: overload up to which annealing is worth its time.
    """
    graph, penalty = problem.graph, _penalty(problem, s)
    order = np.random.default_rng(seed).permutation(problem.atoms)
    work = work or _work(problem)
    rounds = max(1, min(_ROUNDS, int(2 * work / max(1, len(graph.source)))))
    for k in range(_ROUNDS):
        over = s.over.sum()
        if k >= (rounds if over <= 0 else max(rounds, _LEAST_ROUNDS)):
            break
        moved = search.spread(problem, s, order, penalty) if over > 0 else 0
        moved += search.greedy(problem, s, order, penalty)
        if moved <= problem.atoms // 100 or s.over.sum() > _SLOW * over > 0:
            break
    if s.over.sum() > hope:
        return
    mean = float(graph.rate[graph.rate > 0].mean()) if np.any(graph.rate > 0) else 1.0
    entries = len(graph.source) / max(1, problem.atoms)
    proposals = int(min(per_atom * problem.atoms, work / max(1.0, entries)))
    if len(s.over) > 1 and proposals > problem.atoms:
        best = search.anneal(problem, s, proposals, heat * mean, 0.02 * mean, penalty, seed)
        _go_to(problem, s, best)
        search.greedy(problem, s, order, penalty)
    while s.over.sum() > 0:
        over = s.over.sum()
        search.spread(problem, s, order, penalty)
        if s.over.sum() > _SLOW * over:
            break


def _work(problem: Problem) -> float:
    """Entries that annealing may visit."""
    return min(max(_WORK, _PER_ENTRY * len(problem.graph.source)), _MOST_WORK)


def _go_to(problem: Problem, s: State, core: np.ndarray) -> None:
    """Move the atoms that are elsewhere to where `core` says."""
    search.follow(problem.graph, problem.limits, s, core)


@dataclass(frozen=True, eq=False)
class Ladder:
    """Ever smaller problems, the given one first, and the cluster of each atom between neighbours."""

    levels: tuple[Problem, ...]
    labels: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, problem: Problem, cores: int, seed: int) -> Ladder:
        """Down to a problem small enough for mappings on `cores` cores."""
        levels, labels = [problem], list[np.ndarray]()
        limit = int(problem.limits.most[NEURONS])
        here, label = problem, np.arange(problem.atoms)
        while not _small(here, cores):
            sizes = np.diff(here.graph.member_ptr)
            largest = max(2, min(4 * int(np.ceil(sizes.mean())), limit // 12))
            joined = coarsen.cluster(here, np.full(int(here.graph.population.max()) + 1, largest), seed)
            if joined.max() + 1 > 0.9 * here.atoms:
                break
            here, label = coarsen.contract(here, joined), joined[label]
            if _small(here, cores) or len(here.graph.source) <= _SMALLER * len(levels[-1].graph.source):
                levels.append(here)
                labels.append(label)
                label = np.arange(here.atoms)
        if here is not levels[-1]:
            levels.append(here)
            labels.append(label)
        return cls(tuple(levels), tuple(labels))

    def upto(self, cores: int) -> Ladder:
        """Without the problems that are too small for mappings on `cores` cores."""
        last = next((k for k, level in enumerate(self.levels) if _small(level, cores)), len(self.levels) - 1)
        return Ladder(self.levels[: last + 1], self.labels[:last])


def _small(problem: Problem, cores: int) -> bool:
    return problem.atoms <= max(_FEW, _PER_CORE * cores)


def multilevel(whole: Ladder, start: Found | None, cores: int, seed: int, work: float | None = None) -> Found:
    """Map on `cores` cores by hypergraph partitioning, or from a mapping in layer order; refined on every level.

    whole: down to at most as small problems as `cores` cores ask for. work: of each level, as for :func:`refine`;
    None = by the largest problem.
    """
    ladder = whole.upto(cores)
    levels, labels, problem = ladder.levels, ladder.labels, ladder.levels[0]
    if start is None:
        core = hypergraph_core(levels[-1], cores, seed)
        method, heat = "hypergraph", 1.0
    else:
        core = start.core
        for label in labels:
            core = _majority(core, label)
        method, heat = "layer order, refined", 2.0
    for depth in range(len(levels) - 1, -1, -1):
        s = placed(levels[depth], core, cores)
        hope = _HOPE * cores if depth == len(levels) - 1 else np.inf
        refine(levels[depth], s, heat, seed + depth, work=work or _work(problem), hope=2 * hope)
        core, heat = s.core, 0.5
        if s.over.sum() > hope:
            break
        if depth:
            core = core[labels[depth - 1]]
    if depth:
        for label in reversed(labels[:depth]):
            core = core[label]
        s = placed(problem, core, cores)
    return Found.of(s, method)


def _improved(problem: Problem, start: Found, seed: int) -> Found:
    """A mapping refined without smaller problems."""
    s = placed(problem, start.core, start.cores)
    refine(problem, s, 0.5, seed)
    return Found.of(s, f"{start.method}, refined")


def _restart(problem: Problem, start: Found, cores: int, seed: int) -> Found:
    """Anneal from so hot that the start is forgotten."""
    s = placed(problem, start.core % cores, cores)
    refine(problem, s, 10.0, seed, 5 * _PER_ATOM)
    return Found.of(s, "annealing")


def _majority(core: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The core of each cluster's first atom."""
    _, first = np.unique(label, return_index=True)
    return core[first]


def hypergraph_core(problem: Problem, cores: int, seed: int) -> np.ndarray:
    """Core of each atom by hypergraph partitioning. Where there are very many pins, the most active sources decide."""
    graph = problem.graph
    pins, rate = _merged(coarsen.pins(problem, own=True), graph.rate)
    busy = np.argsort(-rate, kind="stable")
    ends = np.cumsum(np.diff(pins.indptr)[busy])
    kept = np.sort(busy[: np.searchsorted(ends, max(_PINS, _PINS_PER_ATOM * problem.atoms), side="right") + 1])
    weight, largest = _weights(problem, cores)
    return hypergraph.partition(sparse.csr_array(pins[kept]), rate[kept], weight, cores, largest, seed)


def _merged(pins: sparse.csr_array, rate: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Sources with the same atoms become one, with the sum of their rates."""
    several = np.flatnonzero(np.diff(pins.indptr) > 1)
    pins, rate = pins[several], rate[several]
    code = np.random.default_rng(0).integers(1 << 62, size=pins.shape[1])
    with np.errstate(over="ignore"):
        total = np.add.reduceat(code[pins.indices], pins.indptr[:-1]) if len(several) else np.zeros(0, np.int64)
    _, first, inverse = np.unique(total, return_index=True, return_inverse=True)
    return sparse.csr_array(pins[first]), np.bincount(inverse.reshape(-1), weights=rate, minlength=len(first))


def _weights(problem: Problem, cores: int) -> tuple[np.ndarray, float]:
    """Weight of each atom for the partitioner, and of a core: the resource of which all cores together have least."""
    graph, limits = problem.graph, problem.limits
    neurons = np.diff(graph.member_ptr) / limits.most[NEURONS]
    rows = np.repeat(np.arange(problem.atoms), np.diff(graph.row_ptr))
    per_synapse = limits.bits[limits.kind[graph.row_projection], min(64, limits.bits.shape[1] - 1), 3] / 64
    synapses = _row_synapses(problem)
    bits = np.bincount(rows, weights=synapses * per_synapse, minlength=problem.atoms) / limits.most[BITS]
    if len(graph.shared):
        bits = np.minimum(bits, np.bincount(rows, weights=graph.shared[:, 3], minlength=problem.atoms) + bits)
    return np.maximum(neurons, bits) if bits.sum() > neurons.sum() else neurons, 1.0


def _row_synapses(problem: Problem) -> np.ndarray:
    graph = problem.graph
    if not len(graph.synapses):
        return graph.end - graph.begin
    total = np.concatenate([[0], np.cumsum(graph.synapses, dtype=np.int64)])
    return total[graph.end] - total[graph.begin]


def best_mapping(
    problem: Problem, most: int, *, how: str, cores: int | None, seed: int, few: bool = False
) -> tuple[Found, list[Found]]:
    """The best mapping that the portfolio finds, and all of its members, layer order first.

    most: cores there are. how: "auto", "layers" or "hypergraph". cores: how many to use, at least. Better is what
    keeps the limits, then what has less traffic, on at most a tenth more cores than the fewest; with `few` on no more.
    """
    spread = problem if cores is None else _spread(problem, cores)
    base = layer_order(spread, most)
    found = [base]
    if (
        how == "layers"
        or base.cores == 1
        or (base.over > 0 and _hopeless(problem, placed(problem, base.core, base.cores)))
    ):
        return base, found
    start = base
    if spread.groups > spread.limits.most[GROUPS]:
        sorted_ = layer_order(spread, most, by_parameters=True)
        found.append(sorted_)
        start = min(base, sorted_, key=lambda f: (f.over, f.cores))
    if how == "auto" and len(spread.graph.source) > _HUGE:
        found.append(_improved(spread, start, seed))
    else:
        found += _fewest(spread, start, _core_counts(spread, start, cores, most), how, seed, few)
    if how == "auto" and all(f.over > 0 for f in found[1:]) and start.cores <= most:
        found.append(multilevel(Ladder.of(spread, start.cores, seed), start, start.cores, seed))
    fewest = min((f.cores for f in found if f.over <= 0), default=base.cores)
    if spread.atoms <= _TINY and fewest <= most:
        with ThreadPoolExecutor(2) as pool:
            found += pool.map(
                partial(_restart, spread, min(found, key=lambda f: (f.over, f.cores)), fewest),
                range(seed + 1, seed + 1 + _RESTARTS),
            )
    usable = [f for f in found if f.over <= 0] or [base]
    fewest = min(f.cores for f in usable)
    allowed = [f for f in usable if f.cores <= fewest + (0 if few else fewest // 10)]
    chosen = min(allowed, key=lambda f: (f.traffic, f.cores))
    if how == "hypergraph" and (own := [f for f in allowed if f.method == "hypergraph"]):
        chosen = min(own, key=lambda f: (f.traffic, f.cores))
    return chosen, found


def _fewest(problem: Problem, start: Found, counts: list[int], how: str, seed: int, few: bool) -> list[Found]:
    """Mappings for the fewest of some numbers of cores that work out, and for those that were tried on the way.

    Numbers are tried two at a time, with little work. What is found in the end is improved with all of it; and unless
    `few` cores are asked for, a few more are tried: they may save much traffic.
    """
    found: list[Found] = []
    if not counts:
        return found
    whole = Ladder.of(problem, counts[0], seed)
    with ThreadPoolExecutor(2) as pool:  # each is the same whatever the other does
        if counts == [start.cores]:  # layer order is a second start
            begins = [None, start] if how == "auto" else [None]
            return list(pool.map(partial(multilevel, whole, cores=start.cores, seed=seed), begins))
        while tries := _tries(counts, found):
            found += pool.map(lambda count: multilevel(whole, None, count, seed, _WORK), tries)
        usable = [f for f in found if f.over <= 0]
        if usable and _work(problem) > _WORK:
            last = [pool.submit(_improved, problem, min(usable, key=lambda f: (f.traffic, f.cores)), seed)]
            if not few and len(problem.graph.source) <= _LARGE:
                roomy = min(int(min(f.cores for f in usable) * _ROOM), start.cores)
                last.append(pool.submit(multilevel, whole, None, roomy, seed))
            found += [each.result() for each in last]
    return found


def _tries(counts: list[int], found: list[Found]) -> list[int]:
    """Numbers of cores to try next, after what was found; none once the fewest is known.

    First the two fewest; then as many more as were missing, and ever more than that; then those between what failed
    and what worked.
    """
    worked = min((counts.index(f.cores) for f in found if f.over <= 0), default=len(counts))
    nearest = max((f for f in found if f.cores < [*counts, math.inf][worked]), key=lambda f: f.cores, default=None)
    failed = -1 if nearest is None else counts.index(nearest.cores)
    if worked - failed <= 1:
        return []
    if nearest is None:
        near = [0, 1]
    elif worked < len(counts):
        step = max(1, (worked - failed) // 3)
        near = [failed + step, worked - step]
    else:
        enough = bisect_left(counts, nearest.cores + nearest.over, failed + 1)
        near = [enough, enough + (1 << len(found) // 2)]
    return [counts[k] for k in sorted({min(k, len(counts) - 1) for k in near})]


def drawn(problem: Problem, core: np.ndarray, price: np.ndarray, heat: float, seed: int) -> np.ndarray:
    """A mapping that keeps all limits, refined for prices between cores, float64 (cores, cores); int64 (A,)."""
    s = placed(problem, core, len(price), price)
    refine(problem, s, heat, seed)
    return s.core.copy() if s.over.sum() <= 0 else core


def _core_counts(problem: Problem, base: Found, cores: int | None, most: int) -> list[int]:
    """Numbers of cores to try, fewest first; none where no number that there is can be enough."""
    s = placed(problem, base.core, base.cores)
    shares = s.used.sum(axis=0)[[NEURONS, BITS]] / problem.limits.most[[NEURONS, BITS]] * [1.0, _LISTS]
    low = max(2, math.ceil(shares.max() - 1e-9), cores or 0)
    last = most if base.cores > most >= low else base.cores
    step = _STEP if len(problem.graph.source) <= _LARGE else _STEP_LARGE
    steps = max(0, math.floor(math.log(max(last, low) / low) / math.log(step)))
    counts = {int(low * step**k) for k in range(steps + 1)} | {last}
    return sorted(k for k in counts if k <= min(base.cores, most))


def _spread(problem: Problem, cores: int) -> Problem:
    """The problem on cores so small that it takes `cores` of them."""
    graph = problem.graph
    neurons = int(graph.member_ptr[-1])
    if neurons > (cores - 1) * problem.limits.most[NEURONS]:
        return problem
    room = max(int(np.diff(graph.member_ptr).max()), math.ceil(1.03 * neurons / cores))
    most = problem.limits.most.copy()
    most[NEURONS] = min(most[NEURONS], room)
    return replace(problem, limits=problem.limits._replace(most=most))


def canonical(core: np.ndarray) -> np.ndarray:
    """The same mapping with cores numbered by their first neuron, without empty ones. core: (N,), -1 for inputs."""
    used, first = np.unique(core, return_index=True)
    used, first = used[used >= 0], first[used >= 0]
    number = np.full(int(core.max()) + 1, -1, np.int32)
    number[used[np.argsort(first, kind="stable")]] = np.arange(len(used), dtype=np.int32)
    return np.where(core >= 0, number[core], -1).astype(np.int32)

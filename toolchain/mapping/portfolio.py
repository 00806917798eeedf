"""The portfolio: several searches for a mapping, of which the best is kept.

Layer order fills one core after the other and is what every other mapping must beat. Against it run

- hypergraph partitioning (:mod:`snnc.mapping.hypergraph`), repaired where it breaks limits, and
- annealing from layer order,

both refined with moves and swaps of single atoms under all limits (:mod:`snnc.mapping.refinement`), large problems
by way of smaller ones (:mod:`snnc.mapping.multilevel`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from snnc.mapping import search, state
from snnc.mapping.multilevel import Ladder, multilevel
from snnc.mapping.problem import Problem
from snnc.mapping.refinement import PER_ATOM, WORK, Found, penalty_of, placed, refine, work_of
from snnc.mapping.state import BITS, GROUPS, NEURONS, State

# Numbers of cores to try: from the fewest that could suffice, each so many times the one before; and so many times
# where a problem has more entries than that, for a try of it takes long.
_STEP, _STEP_LARGE, _LARGE = 1.025, 1.05, 2_000_000
# Share of the memory in layer order that a better mapping may do with: its lists of synapses are longer.
_LISTS = 0.95
# So many times the fewest cores are tried, too, for less traffic: the whole tenth that is allowed where that is far
# from what the tightest resource asks for anyway.
_ROOM, _WHOLE_ROOM = 1.05, 1.1
# Problems of so few atoms are annealed again and again: their optimum can be found.
_TINY, _RESTARTS = 128, 8


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
    core = last - s.core
    del s  # its memory is needed for the next
    s = _relieved(problem, placed(problem, core, last + 1))
    return Found.of(s, "order of parameters" if by_parameters else "layer order")


def _relieved(problem: Problem, s: State) -> State:
    """The mapping with more cores where limits are broken: where recurrent layers send to became known too late."""
    order, extra = np.arange(problem.atoms), 1
    while s.over.sum() > 0 and not _hopeless(problem, s) and extra <= problem.atoms:
        s = placed(problem, s.core, len(s.over) + extra)
        while search.spread(problem, s, order, penalty_of(problem, s)):
            pass
        _, core = np.unique(s.core, return_inverse=True)  # cores that stayed empty are none
        s = placed(problem, core.reshape(-1), int(core.max()) + 1)
        extra *= 2
    return s


def _hopeless(problem: Problem, s: State) -> bool:
    """Whether a single atom breaks a limit."""
    alone = np.bincount(s.core, minlength=len(s.over)) == 1
    return bool(np.any(s.over[alone] > 0))


def _improved(problem: Problem, start: Found, seed: int) -> Found:
    """A mapping refined without smaller problems."""
    s = placed(problem, start.core, start.cores)
    refine(problem, s, 0.5, seed)
    return Found.of(s, f"{start.method}, refined")


def _restart(problem: Problem, start: Found, cores: int, seed: int) -> Found:
    """Anneal from so hot that the start is forgotten."""
    s = placed(problem, start.core % cores, cores)
    refine(problem, s, 10.0, seed, 5 * PER_ATOM)
    return Found.of(s, "annealing")


def best_mapping(
    problem: Problem, most: int, *, how: str, cores: int | None, seed: int, few: bool = False
) -> tuple[Found, list[Found]]:
    """The best mapping that the portfolio finds, and all of its members, layer order first.

    most: cores there are. how: "auto", "layers" or "hypergraph". cores: how many to use, at least. Better is what
    keeps the limits, then what has less traffic, on at most a tenth more cores than the fewest; with `few` on no more.
    """
    spread = problem if cores is None else spread_over(problem, cores)
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
    if counts := _core_counts(spread, start, cores, most):
        whole = Ladder.of(spread, counts[0], seed)
        searched = _fewest(whole, start, counts, how, seed, few)
        if how == "auto" and all(f.over > 0 for f in searched) and start.cores <= most:
            searched += _rescued(whole, start, most, seed, few)
        found += searched
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


def _fewest(whole: Ladder, start: Found, counts: list[int], how: str, seed: int, few: bool) -> list[Found]:
    """Mappings for the fewest of some numbers of cores that work out, and for those that were tried on the way.

    Numbers are tried two at a time, with little work. What is found in the end is improved with all of it; and unless
    `few` cores are asked for, a few more are tried: they may save much traffic where convolutions move in tiles, and
    take no long time where the problem is not large.
    """
    problem, found = whole.levels[0], list[Found]()
    with ThreadPoolExecutor(2) as pool:  # each is the same whatever the other does
        if counts == [start.cores]:  # layer order is a second start
            begins = [None, start] if how == "auto" else [None]
            return list(pool.map(partial(multilevel, whole, cores=start.cores, seed=seed), begins))
        while tries := _tries(counts, found):
            found += pool.map(lambda count: multilevel(whole, None, count, seed, WORK), tries)
        usable = [f for f in found if f.over <= 0]
        last = []
        if usable and work_of(problem) > WORK:
            last.append(pool.submit(_improved, problem, min(usable, key=lambda f: (f.traffic, f.cores)), seed))
        if usable and not few and (len(problem.graph.shared) or len(problem.graph.source) <= _LARGE):
            fewest = min(f.cores for f in usable)
            room = _ROOM if fewest * _ROOM <= counts[0] * _WHOLE_ROOM else _WHOLE_ROOM
            roomy = min(int(fewest * room), start.cores)
            if roomy > fewest:
                last.append(pool.submit(multilevel, whole, None, roomy, seed, dense=True))
        found += [each.result() for each in last]
    return found


def _rescued(whole: Ladder, start: Found, most: int, seed: int, few: bool) -> list[Found]:
    """Mappings where none keeps the limits on as few cores as layer order: it improved, and others on a few more."""
    searches = [partial(multilevel, whole, start, start.cores, seed)]
    roomy = min(int(start.cores * _WHOLE_ROOM), most)
    if roomy > start.cores and not few:
        searches.append(partial(multilevel, whole, None, roomy, seed))
    with ThreadPoolExecutor(2) as pool:
        return [each.result() for each in [pool.submit(search) for search in searches]]


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
        near = [enough, enough + (2 << len(found) // 2)]
    return [counts[k] for k in sorted({min(k, len(counts) - 1) for k in near})]


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


def spread_over(problem: Problem, cores: int) -> Problem:
    """The problem on cores so small that it takes `cores` of them, at least."""
    extent = problem.extent()
    neurons = int(extent.sum())
    if cores < 2 or neurons > (cores - 1) * problem.limits.most[NEURONS]:
        return problem
    # Some room for the search, but never so much that a core less would do.
    room = max(int(extent.max()), min(math.ceil(1.03 * neurons / cores), math.ceil(neurons / (cores - 1)) - 1))
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

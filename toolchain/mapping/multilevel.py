"""Mapping a large problem: a smaller one that stands for it is cut, and refined level by level on the way back.

The smallest is cut by hypergraph partitioning (:mod:`snnc.mapping.hypergraph`), or gets its cores from a mapping in
layer order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from snnc.mapping import coarsen, hypergraph
from snnc.mapping.problem import Problem
from snnc.mapping.refinement import Found, placed, refine, shares, work_of
from snnc.mapping.state import NEURONS

# Pins up to which a hypergraph goes to the partitioner: it takes a minute for a million. Of atoms that share kernels
# fewer pins tell as much.
_PINS, _PINS_PER_ATOM, _PINS_SHARED = 30_000, 32, 16
# Levels end at so many atoms a core, and at least so many.
_PER_CORE, _FEW = 48, 7_000
# Overload of a core on the smallest problem that the larger ones are not expected to repair.
_HOPE = 0.01
# Of the smaller problems each has at most this share of the entries of the one before.
_SMALLER = 0.6


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


def multilevel(
    whole: Ladder, start: Found | None, cores: int, seed: int, work: float | None = None, *, dense: bool = False
) -> Found:
    """Map on `cores` cores by hypergraph partitioning, or from a mapping in layer order; refined on every level.

    whole: down to at most as small problems as `cores` cores ask for. work: of each level, as for :func:`refine`;
    None = by the largest problem. dense: as for :func:`hypergraph_core`.
    """
    ladder = whole.upto(cores)
    levels, labels, problem = ladder.levels, ladder.labels, ladder.levels[0]
    if start is None:
        core = hypergraph_core(levels[-1], cores, seed, dense=dense)
        method, heat = "hypergraph", 1.0
    else:
        core = start.core
        for label in labels:
            core = _majority(core, label)
        method, heat = "layer order, refined", 2.0
    for depth in range(len(levels) - 1, -1, -1):
        s = placed(levels[depth], core, cores)
        hope = _HOPE * cores if 0 < depth == len(levels) - 1 else np.inf
        refine(levels[depth], s, heat, seed + depth, work=work or work_of(problem), hope=2 * hope)
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


def _majority(core: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The core of each cluster's first atom."""
    _, first = np.unique(label, return_index=True)
    return core[first]


def hypergraph_core(problem: Problem, cores: int, seed: int, *, dense: bool = False) -> np.ndarray:
    """Core of each atom by hypergraph partitioning. Where there are very many pins, the most active sources decide.

    dense: give cores with tiles as many other neurons as their memory has room for. There is less traffic then, but
    more often than not a tile leaves too few axons, and no mapping comes of it. Otherwise tiles count as if they
    shared no kernel.
    """
    graph = problem.graph
    pins, rate = _merged(coarsen.pins(problem, own=True), graph.rate)
    busy = np.argsort(-rate, kind="stable")
    ends = np.cumsum(np.diff(pins.indptr)[busy])
    most = max(_PINS, (_PINS_SHARED if len(graph.shared) else _PINS_PER_ATOM) * problem.atoms)
    kept = np.sort(busy[: np.searchsorted(ends, most, side="right") + 1])
    weight = _weights(problem, cores, dense)
    return hypergraph.partition(sparse.csr_array(pins[kept]), rate[kept], weight, cores, seed)


def _merged(pins: sparse.csr_array, rate: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Sources with the same atoms become one, with the sum of their rates."""
    several = np.flatnonzero(np.diff(pins.indptr) > 1)
    pins, rate = pins[several], rate[several]
    code = np.random.default_rng(0).integers(1 << 62, size=pins.shape[1])
    with np.errstate(over="ignore"):
        total = np.add.reduceat(code[pins.indices], pins.indptr[:-1]) if len(several) else np.zeros(0, np.int64)
    _, first, inverse = np.unique(total, return_index=True, return_inverse=True)
    return sparse.csr_array(pins[first]), np.bincount(inverse.reshape(-1), weights=rate, minlength=len(first))


def _weights(problem: Problem, cores: int, dense: bool) -> np.ndarray:
    """Weight of each atom for the partitioner, in cores: the resource of which all of them together have least."""
    neurons, bits = shares(problem, dense=dense)
    if bits.sum() <= neurons.sum():
        return neurons
    weight = np.maximum(neurons, bits)
    if len(problem.graph.shared):
        return weight
    # How long the lists of synapses get depends on what else is on a core: half of what is free is left for that.
    return weight / min(1.0, (1.0 + bits.sum() / cores) / 2)

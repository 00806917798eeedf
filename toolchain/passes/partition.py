"""Partition: which neurons share a core, in layer order and under all limits of a core.

Cores are filled from the last layer backwards, each with as many neurons as every limit
allows: then the cores that a neuron sends to are known when it is placed, and its
out-axons are counted exactly. A core may hold the end of one layer and the start of the
next. A recurrent layer sends to cores that are not yet known; there the counts of the
previous round are used, for a few rounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from snnc import rules
from snnc.compilation import Compilation
from snnc.network import Network
from snnc.resources import parameter_groups, pattern, projection_bits, usage, weight_bits
from snnc.target import Target

ROUNDS = 8


def run(c: Compilation) -> Compilation:
    """Assign every neuron of `c` to a core; the limits themselves are checked by a later pass."""
    core_of = partition(c.network, c.target)
    used = usage(c.network, core_of, c.target)
    return replace(c, core_of=core_of, usage=used).found(partition={"method": "layer order", "cores": used.cores})


def partition(network: Network, target: Target) -> np.ndarray:
    """Core of each neuron in layer order, int32 (neurons,), -1 for inputs."""
    order = {p.name: k for k, p in enumerate(network.populations)}
    recurrent = any(order[p.post] <= order[p.pre] for p in network.projections)
    core_of = _fill(network, target, None)
    for _ in range(ROUNDS if recurrent else 0):
        if not rules.check_capacity(network, usage(network, core_of, target), core_of, target):
            break
        core_of = _fill(network, target, core_of)
    return core_of


@dataclass(frozen=True)
class _Slice:
    """Neurons low..high-1 of one population."""

    population: str
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class _Tables:
    """What does not change while cores are filled. incoming: population -> (pre, pattern, bits per weight)."""

    target: Target
    offsets: dict[str, int]
    groups: np.ndarray
    incoming: dict[str, list[tuple[str, sparse.csr_array, int]]]


def _fill(network: Network, target: Target, guess: np.ndarray | None) -> np.ndarray:
    tables = _Tables(
        target,
        network.offsets,
        parameter_groups(network),
        {
            p.name: [(q.pre, pattern(network, q), weight_bits(q, target.synapse)) for q in network.into(p.name)]
            for p in network.layers
        },
    )
    core_of = np.full(network.size, -1, np.int32)
    reach = np.zeros(network.size, np.int64)
    core, held = 0, list[_Slice]()
    for population in reversed(network.layers):
        start = tables.offsets[population.name]
        reach[start : start + population.size] = _cores_reached(network, tables, population.name, core_of, guess)
        high = population.size
        while high:
            low = _lowest(held, population.name, high, tables, reach)
            if low == high and not held:
                low = high - 1  # fits no core at all: alone, so that the capacity rule can name it
            if low < high:
                held.append(_Slice(population.name, low, high))
                core_of[start + low : start + high] = core
                high = low
            if high:
                core, held = core + 1, []
    return np.where(core_of >= 0, core - core_of, -1).astype(np.int32)


def _lowest(held: list[_Slice], name: str, high: int, tables: _Tables, reach: np.ndarray) -> int:
    """Smallest `low` such that the core still holds neurons low..high-1 of the population (high: none fit)."""
    if _fits([*held, _Slice(name, 0, high)], tables, reach):
        return 0
    bad, good = 0, high  # the use of every resource grows with the slice
    while good - bad > 1:
        middle = (bad + good) // 2
        if _fits([*held, _Slice(name, middle, high)], tables, reach):
            good = middle
        else:
            bad = middle
    return good


def _fits(slices: list[_Slice], tables: _Tables, reach: np.ndarray) -> bool:
    core, synapse = tables.target.core, tables.target.synapse
    neurons = sum(s.high - s.low for s in slices)
    if neurons > core.neurons.value:
        return False
    spans = [slice(tables.offsets[s.population] + s.low, tables.offsets[s.population] + s.high) for s in slices]
    if sum(int(reach[span].sum()) for span in spans) > core.out_axons.value:
        return False
    if len(np.unique(np.concatenate([tables.groups[span] for span in spans]))) > core.neuron_groups.value:
        return False
    bits, axons = 0, []
    for s in slices:
        for pre, exists, per_weight in tables.incoming[s.population]:
            entries = exists.indices[exists.indptr[s.low] : exists.indptr[s.high]]
            counts = np.bincount(entries, minlength=exists.shape[1])
            present = np.flatnonzero(counts)
            if len(present):
                axons.append(present + tables.offsets[pre])
                bits += projection_bits(counts[present], s.high - s.low, neurons, per_weight, synapse)[0]
    in_axons = len(np.unique(np.concatenate(axons))) if axons else 0
    return in_axons <= core.in_axons.value and bits <= core.synapse_bits.value


def _cores_reached(
    network: Network, tables: _Tables, name: str, core_of: np.ndarray, guess: np.ndarray | None
) -> np.ndarray:
    """Cores that each neuron of a population sends to, (size,).

    Layers that are not placed yet are taken from `guess`; without one they count as one core each.
    """
    count = np.zeros(network[name].size, np.int64)
    together: sparse.csr_array | None = None
    cores = int(core_of.max()) + 1
    for population in network.layers:
        start = tables.offsets[population.name]
        label = core_of[start : start + population.size]
        placed = bool(np.all(label >= 0))
        if not placed:
            label = np.zeros(population.size, int) if guess is None else guess[start : start + population.size]
        height = cores if placed else int(label.max()) + 1
        member = sparse.csr_array((np.ones(len(label), np.int32), (label, np.arange(len(label)))), (height, len(label)))
        for pre, exists, _ in tables.incoming[population.name]:
            if pre != name:
                continue
            reached = (member @ exists).tocsr()
            if placed:  # two layers may share a core, which is then reached once
                together = reached if together is None else (together + reached).tocsr()
            else:
                count += np.bincount(reached.indices, minlength=len(count))
    return count if together is None else count + np.bincount(together.indices, minlength=len(count))

"""The best mapping there is, by integer linear programming: for small networks, and proven to be the best.

Traffic is a sum over neurons u and cores c of the rate of u, where c holds a target of u and not u itself. With x[v, c]
= 1 where neuron v is on core c, that is z[u, c] >= x[v, c] - x[u, c] for every target v of u, and z as small as it can
be. All limits of a core are part of the program; synapses are stored in the sparse format, in one block for each axon.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from snnc import ops
from snnc.network import Network
from snnc.target import Target

SECONDS = 120


@dataclass
class _Program:
    """Minimise cost @ variables, each 0 .. upper, under rows of terms (variable, factor) between low and high."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[list[tuple[int, float]]] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def variables(self, *shape: int, cost: float = 0, upper: float = 1, whole: bool = False) -> np.ndarray:
        count, first = int(np.prod(shape)), len(self.cost)
        self.cost += [cost] * count
        self.upper += [upper] * count
        self.whole += [whole] * count
        return np.arange(first, first + count).reshape(shape)

    def at_most(self, terms: Iterable[tuple[int, float]], high: float, low: float = -np.inf) -> None:
        self.rows.append([(int(k), float(f)) for k, f in terms])
        self.low.append(low)
        self.high.append(high)

    def solve(self) -> np.ndarray:
        at = [(row, k, f) for row, terms in enumerate(self.rows) for k, f in terms]
        row, column, factor = zip(*at, strict=True)
        matrix = sparse.csr_array((factor, (row, column)), shape=(len(self.rows), len(self.cost)))
        found = milp(
            self.cost,
            integrality=self.whole,
            bounds=Bounds(0, self.upper),
            constraints=LinearConstraint(matrix, self.low, self.high),
            options={"mip_rel_gap": 0, "time_limit": SECONDS},
        )
        assert found.status == 0, found.message  # 0: proven optimal
        return np.asarray(found.x)


def best(network: Network, rates: np.ndarray, target: Target, cores: int) -> np.ndarray:
    """Core of each neuron, int32 (neurons,), of a mapping of the least traffic. All neurons are on cores."""
    assert target.synapse.formats == ("sparse",)
    assert network.size <= target.synapse.block.value
    limits, size, program = target.core, network.size, _Program()
    x = program.variables(size, cores, whole=True)
    y = program.variables(size, cores)  # 1 where the core holds a target of the neuron
    sends = _sends(network)
    for v in range(size):
        program.at_most(((x[v, c], 1) for c in range(cores)), 1, low=1)
        for c in range(v + 1, cores):
            program.upper[x[v, c]] = 0  # cores are alike: neuron v may as well be on one of the first v + 1
    for u, v in zip(*np.nonzero(sends), strict=True):
        for c in range(cores):
            program.at_most([(x[v, c], 1), (y[u, c], -1)], 0)
    for u in range(size):
        z = program.variables(cores, cost=float(rates[u]))
        for v in np.flatnonzero(sends[u]):
            for c in range(cores if u != v else 0):
                program.at_most([(x[v, c], 1), (x[u, c], -1), (z[c], -1)], 0)
    for c in range(cores):
        program.at_most(((v, 1) for v in x[:, c]), limits.neurons.value)
        program.at_most(((k, 1) for k in y[:, c]), limits.in_axons.value)
    if sends.sum() > limits.out_axons.value:
        _out_axons(program, x, y, limits.out_axons.value)
    if _bits(int(sends.sum()), target, network) > limits.synapse_bits.value:
        _synapse_bits(program, network, target, x)
    _groups(program, network, limits.neuron_groups.value, x)
    return program.solve()[x].argmax(axis=1).astype(np.int32)


def _sends(network: Network) -> np.ndarray:
    """bool (neurons, neurons): whether the first sends to the second."""
    found = np.zeros((network.size, network.size), bool)
    for p in network.projections:
        for u, v in _synapses(network, p.name):
            found[u, v] = True
    return found


def _synapses(network: Network, name: str) -> list[tuple[int, int]]:
    (p,) = [p for p in network.projections if p.name == name]
    post, pre = ops.matrix(p.op, network[p.pre].shape).nonzero()
    return [(u + network.offsets[p.pre], v + network.offsets[p.post]) for u, v in zip(pre, post, strict=True)]


def _out_axons(program: _Program, x: np.ndarray, y: np.ndarray, limit: int) -> None:
    """A neuron takes as many out-axons of its own core as it has cores to send to."""
    size, cores = x.shape
    for c in range(cores):
        taken = program.variables(size, upper=cores)
        for u in range(size):
            program.at_most([*((k, 1) for k in y[u]), (x[u, c], cores), (taken[u], -1)], cores)
        program.at_most(((k, 1) for k in taken), limit)


def _each(network: Network, target: Target) -> int:
    """Bits of a synapse: an 8-bit weight, and an index among at most 64 neurons."""
    assert all(np.abs(p.op.weight.data).max(initial=127) == 127 for p in network.projections)
    return target.synapse.weight_bits.holding(8) + target.synapse.index_bits.holding(6)


def _bits(synapses: int, target: Target, network: Network) -> int:
    """More than this is never needed: every synapse in a block of its own."""
    word = target.synapse.word_bits.value
    return synapses * -(-(_each(network, target) + target.synapse.header_bits.value) // word) * word


def _synapse_bits(program: _Program, network: Network, target: Target, x: np.ndarray) -> None:
    """Each axon takes whole words."""
    word, each, header = target.synapse.word_bits.value, _each(network, target), target.synapse.header_bits.value
    for c in range(x.shape[1]):
        words = []
        for p in network.projections:
            lists: dict[int, list[int]] = {}
            for u, v in _synapses(network, p.name):
                lists.setdefault(u, []).append(v)
            for targets in lists.values():
                here = program.variables(1)[0]  # 1 where the core holds one of them
                taken = program.variables(1, upper=np.inf, whole=True)[0]
                for v in targets:
                    program.at_most([(x[v, c], 1), (here, -1)], 0)
                program.at_most([*((x[v, c], each) for v in targets), (here, header), (taken, -word)], 0)
                words.append(taken)
        program.at_most(((k, word) for k in words), target.core.synapse_bits.value)


def _groups(program: _Program, network: Network, limit: int, x: np.ndarray) -> None:
    """A core holds few sets of parameters."""
    rows = [
        tuple(int(p.params[k].ravel()[n]) for k in ("u_decay", "v_decay", "threshold"))
        for p in network.populations
        for n in range(p.size)
    ]
    kinds = sorted(set(rows))
    if len(kinds) <= limit:
        return
    for c in range(x.shape[1]):
        there = program.variables(len(kinds))
        for v, row in enumerate(rows):
            program.at_most([(x[v, c], 1), (there[kinds.index(row)], -1)], 0)
        program.at_most(((k, 1) for k in there), limit)

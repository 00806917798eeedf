"""What the search over mappings knows: atoms, their synapses, and what they use of a core.

An atom is what moves as one: a neuron, or a tile of a convolution whose kernel the target stores
once for all of its neurons. Sources (axons) are single neurons always.

A row is one projection into one atom: its sources, and how many synapses each has there. The arrays are
those of the kernels, flat and typed; their memory is near 4 bytes per synapse, and less where atoms are tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.jit import lean
from snnc.network import Network
from snnc.resources import FORMATS, axon_bits, dense_bits, distinct_lists, other_bits, parameter_groups, weight_bits
from snnc.target import Synapse, Target

# Index widths a target may have; the last column of the tables is storage without an index.
WIDTHS = 7
PLAIN = WIDTHS


class Graph(NamedTuple):
    """Atoms A, neurons N, rows R, synapse entries E, projections Q, populations P.

    atom_of: int32 (N,), -1 for inputs. member_ptr: int64 (A + 1,), members: int32, neurons of each atom.
    row_ptr: int64 (A + 1,), rows of each atom. row_projection: int32 (R,). begin, end: int64 (R,), entries of
    each row. source: int32 (E,), a neuron. synapses: int32 (E,), its synapses in the row; (0,) where all are 1.
    population: int32 (A,). population_of: int32 (Q,), the one in which a projection ends.
    compartments: int64 (P,), of a neuron of each population.
    rate: float64 (N,), spikes per step. load: float64 (A,), what balance counts.
    group_ptr: int64 (A + 1,), group, group_size: parameter sets of each atom and its neurons of each.
    shared: int64 (R, 8), bits of the row as shared lists, per column of `bits`; (0, 8) where none are shared.
    """

    atom_of: np.ndarray
    member_ptr: np.ndarray
    members: np.ndarray
    row_ptr: np.ndarray
    row_projection: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    source: np.ndarray
    synapses: np.ndarray
    population: np.ndarray
    population_of: np.ndarray
    compartments: np.ndarray
    rate: np.ndarray
    load: np.ndarray
    group_ptr: np.ndarray
    group: np.ndarray
    group_size: np.ndarray
    shared: np.ndarray


class Limits(NamedTuple):
    """What a core has, and how its memory counts.

    most: float64 (6,): neurons, in-axons, out-axons, bits, parameter groups, load. kind: int32 (Q,), row of
    `bits` of each projection. bits: int32 (kinds, C, 8), memory of an axon with 0 .. C - 1 synapses, for each
    index width and for none. column: int32 (C,), that of `bits` by the number of neurons in a core. map_bits:
    int32 (C,), of a bitmap of so many neurons. formats: bool (4,), as in snnc.resources.FORMATS. shares: bool
    (Q,), whether `Graph.shared` holds for the projection. dense: int32 (Q,), row of `bits` for the dense format.
    """

    most: np.ndarray
    kind: np.ndarray
    bits: np.ndarray
    column: np.ndarray
    map_bits: np.ndarray
    formats: np.ndarray
    shares: np.ndarray
    dense: np.ndarray


@dataclass(frozen=True, eq=False)
class Problem:
    """A network to be mapped.

    groups: how many parameter sets. out_degree: for each projection its first source and, for each of its
    sources, the atoms reached.
    """

    graph: Graph
    limits: Limits
    groups: int
    out_degree: tuple[tuple[int, np.ndarray], ...]

    @property
    def atoms(self) -> int:
        return len(self.graph.population)

    @property
    def neurons(self) -> int:
        return len(self.graph.atom_of)

    @property
    def row_atom(self) -> np.ndarray:
        """Atom of each row, int64 (R,)."""
        return np.repeat(np.arange(self.atoms), np.diff(self.graph.row_ptr))

    def row_synapses(self, weight: np.ndarray | None = None) -> np.ndarray:
        """Synapses of each row, float64 (R,); each counted with the `weight` of its source, (N,), if given."""
        graph = self.graph
        if weight is None and not len(graph.synapses):
            return (graph.end - graph.begin).astype(np.float64)
        total = np.zeros(len(graph.begin))
        _row_synapses(graph, np.ones(self.neurons) if weight is None else weight, total)
        return total

    def synapses(self, weight: np.ndarray | None = None) -> np.ndarray:
        """The same of each atom, float64 (A,)."""
        return np.bincount(self.row_atom, weights=self.row_synapses(weight), minlength=self.atoms)

    def extent(self) -> np.ndarray:
        """Compartments of each atom, int64 (A,)."""
        return np.diff(self.graph.member_ptr) * self.graph.compartments[self.graph.population]

    def core_of(self, core: np.ndarray) -> np.ndarray:
        """Core of each neuron, int32 (N,), -1 for inputs, from that of each atom."""
        atom_of = self.graph.atom_of
        return np.where(atom_of >= 0, core[atom_of], -1).astype(np.int32)


@lean
def extent(g: Graph, atom: int) -> int:
    """Compartments of an atom: what it takes of what a core holds of neurons."""
    return int((g.member_ptr[atom + 1] - g.member_ptr[atom]) * g.compartments[g.population[atom]])


@lean
def _row_synapses(g: Graph, weight: np.ndarray, total: np.ndarray) -> None:
    """See :meth:`Problem.row_synapses`."""
    for row in range(len(total)):
        for e in range(g.begin[row], g.end[row]):
            total[row] += weight[g.source[e]] * (g.synapses[e] if len(g.synapses) else 1)


# More sets of parameters than this are counted together: no mapping of them is possible, as a rule will say.
MOST_GROUPS = 1 << 14


def build(network: Network, rates: np.ndarray, target: Target, tiles: Mapping[str, np.ndarray]) -> Problem:
    """The problem of mapping an integer network.

    rates: float64 (neurons,), spikes per step. tiles: for populations that move in tiles the tile of each neuron,
    (size,), counted from 0.
    """
    offsets = network.offsets
    atom_of = np.full(network.size, -1, np.int32)
    population, atoms = [], 0
    for k, p in enumerate(network.populations):
        if p.neuron == "input":
            continue
        tile = tiles.get(p.name, np.arange(p.size))
        count = int(tile.max()) + 1
        atom_of[offsets[p.name] : offsets[p.name] + p.size] = tile + atoms
        population.append(np.full(count, k, np.int32))
        atoms += count
    member_ptr, members = _grouped(atom_of, atoms)
    rows = _Rows(network, target, atom_of, tiles)
    group_ptr, group, group_size, groups = _parameter_sets(network, atom_of, atoms)
    order = np.argsort(rows.atom, kind="stable")
    graph = Graph(
        atom_of=atom_of,
        member_ptr=member_ptr,
        members=members,
        row_ptr=np.concatenate([[0], np.cumsum(np.bincount(rows.atom, minlength=atoms))]).astype(np.int64),
        row_projection=rows.projection[order],
        begin=rows.begin[order],
        end=rows.end[order],
        source=rows.source,
        synapses=rows.count,
        population=np.concatenate(population),
        population_of=np.array([network.rank[p.post] for p in network.projections], np.int32),
        compartments=np.array([p.compartments for p in network.populations], np.int64),
        rate=np.asarray(rates, np.float64),
        load=np.zeros(atoms),
        group_ptr=group_ptr,
        group=group,
        group_size=group_size,
        shared=rows.shared[order] if len(rows.shared) else rows.shared,
    )
    return Problem(graph, limits(network, target, rows.shares), groups, tuple(rows.out_degree))


class _Rows:
    """The rows of all projections, one after the other, and their entries."""

    def __init__(self, network: Network, target: Target, atom_of: np.ndarray, tiles: Mapping[str, np.ndarray]) -> None:
        offsets = network.offsets
        sources, counts, atoms, begins, ends, shared = [], [], [], [], [], []
        self.out_degree: list[tuple[int, np.ndarray]] = []
        self.shares = np.zeros(len(network.projections), np.bool_)
        formats, start = target.synapse.formats, 0
        for q, projection in enumerate(network.projections):
            pre, post = network[projection.pre], network[projection.post]
            first = atom_of[offsets[post.name] : offsets[post.name] + post.size]
            matrix = ops.matrix(projection.op, pre.shape)
            if post.name in tiles:
                tile = first - first.min()
                self.shares[q] = "kernel" in formats and isinstance(projection.op, ops.Conv2d)
                each = weight_bits(projection, target.synapse) + other_bits(network, projection, target.synapse)
                shared.append(_shared_bits(each, matrix, tile, target.synapse) if self.shares[q] else None)
                member = sparse.csr_array(
                    (np.ones(post.size, np.int32), (tile, np.arange(post.size))), (int(tile.max()) + 1, post.size)
                )
                ones = sparse.csr_array((np.ones(matrix.nnz, np.int32), matrix.indices, matrix.indptr), matrix.shape)
                matrix = sparse.csr_array(member @ ones)
                counts.append(matrix.data)
            else:
                shared.append(None)
                counts.append(None)
            sources.append(matrix.indices)
            atoms.append(np.arange(matrix.shape[0]) + first.min())
            begins.append(matrix.indptr[:-1].astype(np.int64) + start)
            ends.append(matrix.indptr[1:].astype(np.int64) + start)
            start += len(matrix.indices)
            self.out_degree.append((offsets[pre.name], np.bincount(matrix.indices, minlength=pre.size)))
        self.atom = np.concatenate([np.zeros(0, np.int64), *atoms]).astype(np.int64)
        self.projection = np.repeat(np.arange(len(atoms), dtype=np.int32), [len(a) for a in atoms])
        self.begin, self.end = (np.concatenate([np.zeros(0, np.int64), *x]) for x in (begins, ends))
        self.source = np.empty(start, np.int32)
        for k, projection in enumerate(network.projections):  # no more than one copy of them at a time
            here = self.source[begins[k][0] : ends[k][-1]] if len(begins[k]) else self.source[:0]
            np.add(sources[k], offsets[projection.pre], out=here, casting="unsafe")
        self.count = np.zeros(0, np.int32)
        if any(c is not None for c in counts):
            ones_or = [np.ones(len(s), np.int32) if c is None else c for s, c in zip(sources, counts, strict=True)]
            self.count = np.concatenate(ones_or).astype(np.int32)
        self.shared = np.zeros((0, WIDTHS + 1), np.int64)
        if any(x is not None for x in shared):
            self.shared = np.concatenate(
                [
                    np.zeros((len(a), WIDTHS + 1), np.int64) if x is None else x
                    for a, x in zip(atoms, shared, strict=True)
                ]
            )


def _shared_bits(bits: int, matrix: sparse.csr_array, tile: np.ndarray, synapse: Synapse) -> np.ndarray:
    """Bits of the shared lists of each tile, int64 (tiles, 8), by index width. bits: of a synapse without one."""
    result = np.zeros((int(tile.max()) + 1, WIDTHS + 1), np.int64)
    ptr, members = _grouped(tile, len(result))
    for t in range(len(result)):
        distinct = distinct_lists(matrix, members[ptr[t] : ptr[t + 1]])
        result[t] = [axon_bits(distinct, bits + w, synapse).sum() for w in _index_widths(synapse)]
    return result


def _index_widths(synapse: Synapse) -> list[int]:
    """Bits of an index for each column of Limits.bits."""
    widths = sorted(synapse.index_bits.value)[:WIDTHS]
    return [*widths, *[widths[-1]] * (WIDTHS - len(widths)), 0]


def limits(network: Network, target: Target, shares: np.ndarray) -> Limits:
    """What a core of the target has, in the form of the kernels."""
    core, synapse = target.core, target.synapse
    most = [getattr(core, n).value for n in ("neurons", "in_axons", "out_axons", "synapse_bits", "neuron_groups")]
    other = [other_bits(network, p, synapse) for p in network.projections]
    weight = [weight_bits(p, synapse) for p in network.projections]
    dense = [dense_bits(p, bits, synapse) for p, bits in zip(network.projections, weight, strict=True)]
    kinds, kind = np.unique(np.array([weight, dense], np.int64) + np.array(other, np.int64), return_inverse=True)
    plain_kind, dense_kind = kind.reshape(2, -1).astype(np.int32)
    sizes = np.arange(min(2 * core.neurons.value, 2 * network.size) + 2)
    widths = _index_widths(synapse)
    bits = [[axon_bits(sizes, int(f) + w, synapse) for w in widths] for f in kinds]
    index = [widths.index(synapse.index_bits.holding(max(1, (max(1, int(n)) - 1).bit_length()))) for n in sizes]
    word = synapse.word_bits.value
    return Limits(
        most=np.array([*most, np.inf]),
        kind=plain_kind,
        bits=np.array(bits, np.int32).reshape(len(kinds), WIDTHS + 1, len(sizes)).transpose(0, 2, 1).copy(),
        column=np.array(index, np.int32),
        map_bits=(-(-sizes // word) * word).astype(np.int32),
        formats=np.array([f in synapse.formats for f in FORMATS]),
        shares=shares,
        dense=dense_kind,
    )


def _grouped(label: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of each label: (labels + 1,) and the places, ascending; negative labels are left out."""
    order = np.argsort(label, kind="stable").astype(np.int32)
    order = order[np.searchsorted(label[order], 0) :]
    counts = np.bincount(label[label >= 0], minlength=labels)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), order


def _parameter_sets(
    network: Network, atom_of: np.ndarray, atoms: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Parameter sets of each atom: pointers, sets, neurons of each; and how many sets there are."""
    group = parameter_groups(network) % MOST_GROUPS
    groups = int(group.max()) + 1
    inside = atom_of >= 0
    pair, size = np.unique(atom_of[inside].astype(np.int64) * groups + group[inside], return_counts=True)
    ptr = np.concatenate([[0], np.cumsum(np.bincount(pair // groups, minlength=atoms))]).astype(np.int64)
    return ptr, (pair % groups).astype(np.int32), size.astype(np.int32), groups

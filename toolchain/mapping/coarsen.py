"""Smaller problems that stand for large ones: atoms that share sources become one.

Clusters grow one after the other: each atom joins the cluster with which it shares the most, measured by
``sum of rate / (targets of the source - 1)`` over the sources of both ("heavy connectivity"; hMETIS, Karypis et al.,
IEEE TVLSI 7(1), 1999). Atoms without sources join those that send to the same targets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from snnc.jit import lean
from snnc.mapping.problem import Graph, Problem

# An atom looks at so many of its sources, and of each at so many targets: hubs say nothing, and cost the most.
_SOURCES, _TARGETS = 64, 48


def pins(problem: Problem, *, own: bool) -> sparse.csr_array:
    """The atoms that each source has synapses in, bool CSR (neurons, atoms); with `own`, also the one it is in."""
    graph = problem.graph
    row_atom = np.repeat(np.arange(problem.atoms, dtype=np.int32), np.diff(graph.row_ptr))
    blocks: dict[int, sparse.csr_array] = {}  # by the first source; all of them at once would take much memory
    for q, (first, degree) in enumerate(problem.out_degree):
        rows = np.flatnonzero(graph.row_projection == q)
        rows = rows[np.argsort(graph.begin[rows], kind="stable")]  # entries lie in this order, without gaps
        ends = np.concatenate([[0], np.cumsum((graph.end - graph.begin)[rows])])
        start = int(graph.begin[rows[0]]) if len(rows) else 0
        source = graph.source[start : start + ends[-1]] - np.int32(first)
        wide = sparse.csr_array((np.ones(len(source), np.bool_), source, ends), shape=(len(rows), len(degree)))
        tall = wide.tocsc()
        block = sparse.csr_array((tall.data, row_atom[rows][tall.indices], tall.indptr), (len(degree), problem.atoms))
        blocks[first] = blocks[first] + block if first in blocks else block
    counts = np.zeros(problem.neurons, np.int64)
    for first, block in blocks.items():
        counts[first : first + block.shape[0]] = np.diff(block.indptr)
    indices = np.concatenate([np.zeros(0, np.int32), *(blocks.pop(first).indices for first in sorted(blocks))])
    shape = (problem.neurons, problem.atoms)
    ends = np.concatenate([[0], np.cumsum(counts)])
    found = sparse.csr_array((np.ones(len(indices), np.bool_), indices, ends), shape=shape)
    if not own:
        return found
    inside = np.flatnonzero(graph.atom_of >= 0)
    mine = sparse.csr_array((np.ones(len(inside), np.bool_), (inside, graph.atom_of[inside])), shape=shape)
    return sparse.csr_array(found + mine)


def cluster(problem: Problem, largest: np.ndarray, seed: int) -> np.ndarray:
    """Cluster of each atom, int32 (A,), counted from 0 in the order of their first atoms.

    largest: int64 (populations,), neurons that a cluster may have. Only atoms of one population meet.
    """
    graph, atoms = problem.graph, problem.atoms
    targets = pins(problem, own=False)
    order = np.random.default_rng(seed).permutation(atoms)
    label = np.arange(atoms, dtype=np.int32)
    size = np.diff(graph.member_ptr)
    _cluster(graph, targets.indptr, targets.indices, order, largest, label, size, np.zeros(atoms), np.zeros(atoms, int))
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first), dtype=np.int32)
    return rank[inverse.reshape(-1)]


@lean
def _cluster(
    g: Graph,
    target_ptr: np.ndarray,
    targets: np.ndarray,
    order: np.ndarray,
    largest: np.ndarray,
    label: np.ndarray,
    size: np.ndarray,
    score: np.ndarray,
    listed: np.ndarray,
) -> None:
    """Fill `label`, the first atom of each atom's cluster, and `size`, neurons of the cluster of that atom."""
    for atom in order:
        if label[atom] != atom or size[atom] != g.member_ptr[atom + 1] - g.member_ptr[atom]:
            continue  # it has joined others, or others have joined it
        found = 0
        for row in range(g.row_ptr[atom], g.row_ptr[atom + 1]):
            entries = g.end[row] - g.begin[row]
            step = max(1, entries // _SOURCES)
            for e in range(g.begin[row], g.end[row], step):
                source = g.source[e]
                start, stop = target_ptr[source], target_ptr[source + 1]
                if stop - start < 2:
                    continue
                weight = g.rate[source] / (stop - start - 1)
                for k in range(start, stop, max(1, (stop - start) // _TARGETS)):
                    other = label[targets[k]]
                    if g.population[targets[k]] == g.population[atom] and other != atom:
                        if score[other] == 0.0:
                            listed[found] = other
                            found += 1
                        score[other] += weight
        if found == 0:
            found = _senders(g, target_ptr, targets, atom, label, score, listed)
        best, most = -1, 0.0
        for k in range(found):
            other = listed[k]
            value = score[other] / size[other]
            if value > most and size[other] + size[atom] <= largest[g.population[atom]]:
                best, most = other, value
            score[other] = 0.0
        if best >= 0:
            label[atom] = best
            size[best] += size[atom]


@lean
def _senders(
    g: Graph,
    target_ptr: np.ndarray,
    targets: np.ndarray,
    atom: int,
    label: np.ndarray,
    score: np.ndarray,
    listed: np.ndarray,
) -> int:
    """Score the clusters that send to the same targets as an atom; returns how many there are."""
    found = 0
    neuron = g.members[g.member_ptr[atom]]
    start, stop = target_ptr[neuron], target_ptr[neuron + 1]
    for k in range(start, stop, max(1, (stop - start) // 8)):
        target = targets[k]
        for row in range(g.row_ptr[target], g.row_ptr[target + 1]):
            entries = g.end[row] - g.begin[row]
            for e in range(g.begin[row], g.end[row], max(1, entries // _TARGETS)):
                home = g.atom_of[g.source[e]]
                if home < 0 or g.population[home] != g.population[atom] or label[home] == atom:
                    continue
                other = label[home]
                if score[other] == 0.0:
                    listed[found] = other
                    found += 1
                score[other] += 1.0
    return found


def contract(problem: Problem, label: np.ndarray) -> Problem:
    """The problem in which every cluster is an atom."""
    graph, clusters = problem.graph, int(label.max()) + 1
    row_atom = np.repeat(np.arange(problem.atoms), np.diff(graph.row_ptr))
    projections = len(graph.population_of)
    sources, counts, begin, end, atoms, projection = [], [], [], [], [], []
    out_degree, start = [], 0
    for q, (first, degree) in enumerate(problem.out_degree):
        rows = np.flatnonzero(graph.row_projection == q)
        lengths = (graph.end - graph.begin)[rows]
        where = np.repeat(graph.begin[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        where += np.arange(len(where))
        count = graph.synapses[where] if len(graph.synapses) else np.ones(len(where), np.int32)
        mine = np.repeat(label[row_atom[rows]], lengths)
        used = np.unique(label[row_atom[rows]])
        lookup = np.zeros(clusters, np.int64)
        lookup[used] = np.arange(len(used))
        matrix = sparse.csr_array(
            (count, (lookup[mine], graph.source[where] - first)), shape=(len(used), len(degree)), dtype=np.int32
        )
        matrix.sum_duplicates()
        sources.append((matrix.indices + first).astype(np.int32))
        counts.append(matrix.data)
        begin.append(matrix.indptr[:-1].astype(np.int64) + start)
        end.append(matrix.indptr[1:].astype(np.int64) + start)
        start += matrix.nnz
        atoms.append(used)
        projection.append(np.full(len(used), q, np.int32))
        out_degree.append((first, np.bincount(matrix.indices, minlength=len(degree))))
    atom, of = np.concatenate([np.zeros(0, int), *atoms]), np.concatenate([np.zeros(0, np.int32), *projection])
    order = np.argsort(atom, kind="stable")
    atom_of = np.where(graph.atom_of >= 0, label[graph.atom_of], -1).astype(np.int32)
    member_order = np.argsort(atom_of, kind="stable").astype(np.int32)
    member_order = member_order[np.searchsorted(atom_of[member_order], 0) :]
    sets = graph.group + np.repeat(label[np.arange(problem.atoms)], np.diff(graph.group_ptr)).astype(np.int64) * (
        problem.groups
    )
    pair, inverse = np.unique(sets, return_inverse=True)
    population = np.zeros(clusters, np.int32)
    population[label] = graph.population
    assert projections == len(out_degree)
    coarse = Graph(
        atom_of=atom_of,
        member_ptr=np.concatenate([[0], np.cumsum(np.bincount(atom_of[atom_of >= 0], minlength=clusters))]).astype(
            np.int64
        ),
        members=member_order,
        row_ptr=_pointers(atom, clusters),
        row_projection=of[order],
        begin=np.concatenate([np.zeros(0, np.int64), *begin])[order],
        end=np.concatenate([np.zeros(0, np.int64), *end])[order],
        source=np.concatenate([np.zeros(0, np.int32), *sources]),
        synapses=np.concatenate([np.zeros(0, np.int32), *counts]).astype(np.int32),
        population=population,
        population_of=graph.population_of,
        compartments=graph.compartments,
        rate=graph.rate,
        load=np.bincount(label, weights=graph.load, minlength=clusters),
        group_ptr=np.concatenate([[0], np.cumsum(np.bincount(pair // problem.groups, minlength=clusters))]).astype(
            np.int64
        ),
        group=(pair % problem.groups).astype(np.int32),
        group_size=np.bincount(inverse.reshape(-1), weights=graph.group_size).astype(np.int32),
        shared=_shared(graph, row_atom, label, atom[order], of[order], projections),
    )
    return replace(problem, graph=coarse, out_degree=tuple(out_degree))


def _pointers(label: np.ndarray, labels: int) -> np.ndarray:
    """Where each label begins when they are sorted, int64 (labels + 1,)."""
    return np.concatenate([[0], np.cumsum(np.bincount(label, minlength=labels))]).astype(np.int64)


def _shared(
    graph: Graph, row_atom: np.ndarray, label: np.ndarray, atom: np.ndarray, projection: np.ndarray, projections: int
) -> np.ndarray:
    """Bits of shared lists of the new rows: sums of the old ones."""
    if not len(graph.shared):
        return graph.shared
    old = label[row_atom].astype(np.int64) * projections + graph.row_projection
    new = atom.astype(np.int64) * projections + projection  # ascending
    result = np.zeros((len(new), graph.shared.shape[1]), np.int64)
    np.add.at(result, np.searchsorted(new, old), graph.shared)
    return result

"""What the mapper is compared with. Frozen: these must not get better or worse with it.

METIS cuts the graph of neurons into parts of equal size, and knows none of a core's limits. Cores are placed by the FAQ
heuristic of scipy as it comes, or in order where that is better.
"""

from __future__ import annotations

import numpy as np
import pymetis
from scipy import sparse
from scipy.optimize import quadratic_assignment

from snnc import ops
from snnc.network import Network

OBJECTIVES = {"METIS cut": pymetis.ObjType.CUT, "METIS volume": pymetis.ObjType.VOL}
TOP = 1000
"""The largest weight of an edge; METIS takes whole numbers."""


def metis(network: Network, rates: np.ndarray, cores: int, objective: str) -> np.ndarray:
    """Core of each neuron, int32 (neurons,). objective: a key of :data:`OBJECTIVES`.

    The edge cut is weighted by rates. The volume is not: METIS could weigh neurons, but pymetis has no `vsize`.
    """
    cut = OBJECTIVES[objective] is pymetis.ObjType.CUT
    graph = _graph(network, rates if cut else np.ones_like(rates))
    kind = pymetis.zero_copy_dtype()
    weights = None
    if cut:
        scaled = graph.data * np.float32(TOP / graph.data.max(initial=1e-30))
        weights = np.maximum(np.rint(scaled, out=scaled), 1, out=scaled).astype(kind)
    adjacency = pymetis.CSRAdjacency(graph.indptr.astype(kind), graph.indices.astype(kind))
    del graph  # large, and no longer needed
    options = pymetis.Options(seed=0, objtype=int(OBJECTIVES[objective]))
    _, part = pymetis.part_graph(cores, adjacency, eweights=weights, recursive=False, options=options)
    # A part may be empty; cores are numbered without holes.
    return np.unique(np.asarray(part), return_inverse=True)[1].astype(np.int32)


def _graph(network: Network, rates: np.ndarray) -> sparse.csr_array:
    """Symmetric; an edge weighs what the spikes along it, in both directions, come to. No loops."""
    offsets = network.offsets
    rows, columns = [], []
    for projection in network.projections:
        matrix = ops.matrix(projection.op, network[projection.pre].shape)
        wide = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        rows.append(wide + np.int32(offsets[projection.post]))
        columns.append(matrix.indices.astype(np.int32) + np.int32(offsets[projection.pre]))
    post, pre = (np.concatenate(parts or [np.zeros(0, np.int32)]) for parts in (rows, columns))
    rows.clear()
    columns.clear()
    apart = post != pre
    post, pre = post[apart], pre[apart]
    weights = rates.astype(np.float32)[pre]
    directed = sparse.csr_array((weights, (post, pre)), shape=(network.size, network.size))
    return (directed + directed.T).tocsr()


def faq(flows: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Site of each core, int32 (cores,). flows: (cores, cores) spikes per step; distance: (sites, sites) hops."""
    cores, sites = len(flows), len(distance)
    in_order = np.arange(cores, dtype=np.int32)
    padded = np.zeros((sites, sites))
    padded[:cores, :cores] = flows
    result = quadratic_assignment(padded, distance, method="faq", options={"rng": np.random.default_rng(0)})
    assigned = result.col_ind[:cores].astype(np.int32)
    return min(in_order, assigned, key=lambda s: hops(flows, s, distance))


def hops(flows: np.ndarray, site_of: np.ndarray, distance: np.ndarray) -> float:
    """Hops per step of all spikes."""
    return float((flows * distance[np.ix_(site_of, site_of)]).sum())

"""Partitions by Mt-KaHyPar: the connectivity of a hypergraph is the multicast traffic of a mapping.

Every source is a hyperedge over the atoms of its targets and its own, weighted with its rate: the (lambda - 1)
metric of the partition is then the traffic between cores. Of the limits of a core the partitioner knows one, its
weight; what it returns is repaired by :mod:`snnc.mapping.search`. Cores are put on chips by the cut of a graph.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from scipy import sparse

# Rates become whole numbers, and their sum stays far from the partitioner's 32-bit weights.
_TOTAL = 1 << 28
# A source that never spiked in calibration still uses axons.
_SILENT = 0.01


def partition(pins: sparse.csr_array, rate: np.ndarray, weight: np.ndarray, cores: int, seed: int) -> np.ndarray:
    """Core of each atom, int32 (A,), with little traffic.

    pins: CSR (sources, A), the atoms that a source joins, its own included. rate: (sources,). weight: (A,), share
    of a core that an atom uses. Deterministic by `seed`, for any number of threads.
    """
    import mtkahypar

    several = np.flatnonzero(np.diff(pins.indptr) > 1)
    edges = pins[several]
    if not len(several) or cores == 1 or rate[several].sum() <= 0:
        return np.minimum(np.cumsum(weight) / weight.sum() * cores, cores - 1).astype(np.int32)
    rates = np.maximum(rate[several], _SILENT * rate[several].mean())
    weights = np.maximum(1, np.rint(rates / rates.sum() * _TOTAL)).astype(np.int64)
    sizes = np.maximum(1, np.rint(weight / weight.max() * 1000)).astype(np.int64)
    even = np.ceil(sizes.sum() / cores)
    slack = max(0.001, np.floor(1000 / weight.max()) / even - 1)
    mtkahypar.set_seed(seed)
    context = _library().context_from_preset(mtkahypar.PresetType.DETERMINISTIC_QUALITY)
    context.set_partitioning_parameters(cores, float(slack), mtkahypar.Objective.KM1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.hgr"  # lists of lists of Python numbers would take ten times the memory
        _write(file, edges, weights, sizes)
        graph = _library().hypergraph_from_file(str(file), context)
    return np.array(graph.partition(context).get_partition(), np.int32)


def cut(flows: sparse.csr_array, parts: int, size: int, seed: int) -> np.ndarray:
    """Part of each core, int64 (cores,), with little flow between parts of up to `size` cores.

    flows: CSR (cores, cores). Deterministic by `seed`, for any number of threads.
    """
    import mtkahypar

    both = sparse.triu(flows + flows.T, 1).tocoo()
    cores, total = flows.shape[0], both.data.sum()
    weights = np.maximum(1, np.rint(both.data / total * _TOTAL if total > 0 else both.data)).astype(np.int64)
    mtkahypar.set_seed(seed)
    context = _library().context_from_preset(mtkahypar.PresetType.DETERMINISTIC_QUALITY)
    context.set_partitioning_parameters(parts, 0.0, mtkahypar.Objective.CUT)
    context.set_individual_target_block_weights([size] * parts)
    edges = list(zip(both.row.tolist(), both.col.tolist(), strict=True))
    graph = _library().create_graph(context, cores, len(edges), edges, [1] * cores, weights.tolist())
    return np.array(graph.partition(context).get_partition(), np.int64)


_starting = Lock()


def _library() -> Any:
    """The library, which can be started once in a process; several threads may want it at the same time."""
    with _starting:
        return _started()


@cache
def _started() -> Any:
    import mtkahypar

    from snnc.processors import processors

    return mtkahypar.initialize(processors())


def _write(file: Path, edges: sparse.csr_array, weights: np.ndarray, sizes: np.ndarray) -> None:
    """The hypergraph in hMETIS's format: a line for each edge, its weight first; then the atoms' weights."""
    ends = np.cumsum(np.diff(edges.indptr) + 1)
    numbers = np.empty(ends[-1], np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    inner = np.ones(len(numbers), bool)
    inner[starts] = False
    numbers[starts], numbers[inner] = weights, edges.indices + 1
    text = numbers.astype("U").tolist()
    lines = (" ".join(text[a:b]) for a, b in zip(starts.tolist(), ends.tolist(), strict=True))
    with file.open("w") as out:
        out.write(f"{len(weights)} {edges.shape[1]} 11\n")
        out.writelines(f"{line}\n" for line in lines)
        out.writelines(f"{size}\n" for size in sizes.tolist())

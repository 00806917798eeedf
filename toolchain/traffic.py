"""Spikes between cores: who sends to whom, how far, over which links.

A spike leaves its core once for every other core that holds one of its targets
(unicast, as Loihi's out-axons do) and travels first along x, then along y. The
objective of a mapping is ``sum over neurons of rate * other cores reached``, then hops,
then the hottest link. Spikes from outside the chip have no place on the mesh; they
count as messages, never as hops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from snnc.target import Mesh


@dataclass(frozen=True, eq=False)
class Routes:
    """What one spike of each neuron costs on the network; int64 (neurons,) each.

    messages: other cores it goes to (for an input: cores). hops_x, hops_y: tile-to-tile hops, summed
    over its messages. longest: (x, y) of the longest route that exists.
    """

    messages: np.ndarray
    hops_x: np.ndarray
    hops_y: np.ndarray
    longest: tuple[int, int]


def tile_of(site_of: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of the tile in which each core sits. site_of: (cores,), tile by tile, row by row."""
    tile = site_of // mesh.cores_per_tile.value
    return tile % mesh.columns.value, tile // mesh.columns.value


def distances(site_of: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Hops along x and y between every two cores, (cores, cores) each."""
    x, y = tile_of(site_of, mesh)
    return np.abs(x[:, None] - x[None, :]), np.abs(y[:, None] - y[None, :])


def routes(reached: sparse.csr_array, core_of: np.ndarray, site_of: np.ndarray, mesh: Mesh) -> Routes:
    """Cost of one spike of every neuron. reached: CSR (neurons, cores), non-zero where it has a synapse."""
    source = np.repeat(core_of, np.diff(reached.indptr))
    neuron = np.repeat(np.arange(len(core_of)), np.diff(reached.indptr))
    away = reached.indices != source
    inside = away & (source >= 0)
    x, y = distances(site_of, mesh)
    hops = [np.where(inside, d[source, reached.indices], 0) for d in (x, y)]
    total = [np.bincount(neuron, weights=h, minlength=len(core_of)).astype(np.int64) for h in hops]
    far = int(np.argmax(hops[0] + hops[1])) if len(neuron) else None
    return Routes(
        messages=np.bincount(neuron[away], minlength=len(core_of)).astype(np.int64),
        hops_x=total[0],
        hops_y=total[1],
        longest=(0, 0) if far is None else (int(hops[0][far]), int(hops[1][far])),
    )


def flow(reached: sparse.csr_array, core_of: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Spikes per step from core to core, (cores, cores), diagonal 0. rates: (neurons,) spikes per step."""
    cores = reached.shape[1]
    source = np.repeat(core_of, np.diff(reached.indptr))
    rate = np.repeat(rates, np.diff(reached.indptr))
    inside = source >= 0
    pair = source[inside].astype(np.int64) * cores + reached.indices[inside]
    result = np.bincount(pair, weights=rate[inside], minlength=cores * cores).reshape(cores, cores)
    np.fill_diagonal(result, 0)
    return result


def link_loads(flows: np.ndarray, site_of: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Load of every link under XY routes, in the unit of `flows` (cores, cores).

    Returns (horizontal, vertical): [0] eastward / southward (to higher numbers), [1] back;
    horizontal (2, rows, columns - 1), vertical (2, rows - 1, columns).
    """
    columns, rows = mesh.columns.value, mesh.rows.value
    x, y = tile_of(site_of, mesh)
    a, b = np.nonzero(flows)
    load = flows[a, b]
    return (
        _line_loads(y[a], x[a], x[b], load, rows, columns),
        _line_loads(x[b], y[a], y[b], load, columns, rows).transpose(0, 2, 1),
    )


def _line_loads(
    line: np.ndarray, start: np.ndarray, stop: np.ndarray, load: np.ndarray, lines: int, length: int
) -> np.ndarray:
    """Load of the links of parallel lines when `load` moves from start to stop on its line, (2, lines, length - 1)."""
    result = np.zeros((2, lines, length))
    for back, forward in enumerate((start < stop, start > stop)):
        low, high = np.minimum(start, stop)[forward], np.maximum(start, stop)[forward]
        # A move from low to high loads links low .. high - 1: add at low, take away at high, sum up.
        np.add.at(result[back], (line[forward], low), load[forward])
        np.add.at(result[back], (line[forward], high), -load[forward])
    return np.cumsum(result, axis=2)[:, :, : length - 1]

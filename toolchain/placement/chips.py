"""Which cores share a chip, and which chip of the board each group gets.

Chips are bins of equally many cores, and what counts first is the traffic between bins: a hop from chip to
chip costs as much as dozens of others. Mt-KaHyPar cuts the graph of flows (deterministic preset); the cores in
order, cut into equal parts, are the other start. From both, cores are moved and swapped by the search for
placements, with a distance of one between any two chips. Then the groups are placed on the board as cores are
on a chip.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from snnc.mapping import hypergraph
from snnc.placement import PARTS
from snnc.placement.search import Search
from snnc.target import Grid

# Proposals when groups are placed, for each, and temperatures as in :mod:`snnc.passes.place`.
PROPOSALS = 20_000
HOT, COLD = 0.3, 0.005


def chips_of(flows: sparse.csr_array, grid: Grid, seed: int) -> np.ndarray:
    """Chip on the board of each core of `flows` (cores, cores), int64 (cores,); as few chips as hold them."""
    group = groups(flows, grid, seed)
    return placed(between(flows, group), grid, seed)[group]


def groups(flows: sparse.csr_array, grid: Grid, seed: int) -> np.ndarray:
    """Group of each core, int64 (cores,): little traffic between groups, none larger than a chip."""
    cores, size = flows.shape[0], grid.chip_cores
    count = -(-cores // size)
    bins = (np.repeat(np.arange(count), size), np.zeros(count * size))
    apart = (1 - np.eye(count), np.zeros((1, 1)))
    found = []
    for start in (np.arange(cores) * count // cores, hypergraph.cut(flows, count, size, seed % (1 << 31))):
        search = Search(flows, bins, apart, _slots(start, count, size))
        search.descend()
        found.append(search)
    return min(found, key=lambda search: search.cost).state.x


def between(flows: sparse.csr_array, group: np.ndarray) -> sparse.csr_array:
    """Flow between groups, CSR (groups, groups), no diagonal."""
    pairs = flows.tocoo()
    a, b = group[pairs.row], group[pairs.col]
    away = a != b
    count = int(group.max()) + 1
    return sparse.csr_array((pairs.data[away], (a[away], b[away])), shape=(count, count))


def placed(flows: sparse.csr_array, grid: Grid, seed: int) -> np.ndarray:
    """Chip of the board for each group of `flows` (groups, groups), int64 (groups,); it starts at the corner."""
    count, columns = flows.shape[0], grid.chip_columns
    chip = np.arange(grid.chips)
    # From the middle of one to the middle of the next.
    far = [PARTS * (length + grid.crossing) for length in (grid.columns, grid.rows)]
    along = [np.abs(np.subtract.outer(np.arange(n), np.arange(n))) for n in (columns, grid.chip_rows)]
    steps = (np.rint(far[0] * along[0]), np.rint(far[1] * along[1]))
    search = Search(flows, (chip % columns, chip // columns), steps, chip[:count])
    search.descend()
    search.anneal(PROPOSALS * count, HOT, COLD, seed % (1 << 63))
    search.descend()
    x, y = search.state.x, search.state.y
    return (y - y.min()) * columns + x - x.min()


def _slots(group: np.ndarray, count: int, size: int) -> np.ndarray:
    """A slot for each core in the bin of its group; what a full bin cannot hold goes to the first that can."""
    slot = np.full(len(group), -1, np.int64)
    order = np.argsort(group, kind="stable")
    place = np.arange(len(group)) - np.searchsorted(group[order], group[order])
    slot[order] = np.where(place < size, group[order] * size + place, -1)
    used = np.minimum(np.bincount(group, minlength=count), size)
    for core in np.flatnonzero(slot < 0):
        free = int(np.argmax(used < size))
        slot[core] = free * size + used[free]
        used[free] += 1
    return slot

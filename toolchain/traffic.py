"""Spikes between cores: who sends to whom, how far, over which links.

A spike travels first along x, then along y, over the tiles of all chips as one grid; the step over a
chip's border is a hop that costs more, and is counted once more, as a crossing. It leaves its core once
for every other core that holds one of its targets (unicast, as Loihi's out-axons do), or, where the mesh
multicasts, as one message that takes every link on the way to any of them once: along its row as far as
needed to both sides, and from there along the columns of its targets.

The objective of a mapping is ``sum over neurons of rate * other cores reached``, then hops, then the
hottest link. Spikes from outside the chip have no place on the mesh; they count as messages, never as hops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from snnc.target import Grid


@dataclass(frozen=True, eq=False)
class Routes:
    """What one spike of each neuron costs on the network; int64 (neurons,) each.

    messages: other cores it goes to (for an input: cores). hops_x, hops_y: tile-to-tile hops, summed over its
    messages, or, with multicast, links taken. crossings: those of them from chip to chip. longest: (x, y,
    crossings) of the longest route that exists, by crossings first.
    """

    messages: np.ndarray
    hops_x: np.ndarray
    hops_y: np.ndarray
    crossings: np.ndarray
    longest: tuple[int, int, int]


@dataclass(frozen=True)
class Link:
    """A link from tile to tile, each (column, row) on the board, and what it carries."""

    start: tuple[int, int]
    stop: tuple[int, int]
    load: float


@dataclass(frozen=True, eq=False)
class Links:
    """The links that routes take, L of them, and which spikes take them.

    start, stop: int64 (L, 2), the tiles, each (column, row) on the board. crossing: bool (L,), whether it leads to
    another chip. Spikes of neurons are turned into loads by their `marks`: a straight move adds 1 to its first link and
    takes 1 away behind its last, so that sums along a line are loads. marks: CSR (neurons, places), places of all lines
    along x, then of those along y, each for both directions. used: int64 (L,), the place of each link.
    """

    start: np.ndarray
    stop: np.ndarray
    crossing: np.ndarray
    marks: sparse.csr_array
    used: np.ndarray
    grid: Grid

    def loads(self, spikes: np.ndarray) -> np.ndarray:
        """Messages over each link, int64 (samples, L). spikes: (samples, neurons), how often each fired."""
        loads = np.zeros((len(spikes), len(self.used)), np.int64)
        block = max(1, LOADS // max(1, self.marks.shape[1]))
        for first in range(0, len(spikes), block):
            part = slice(first, first + block)
            loads[part] = _along_lines(spikes[part].astype(np.int64) @ self.marks, self.grid)[:, self.used]
        return loads


# Loads of all places, links or not, that are worked out at once.
LOADS = 1 << 22


@dataclass(frozen=True, eq=False)
class Moves:
    """Straight moves in parallel lines, int64 (moves,) each.

    who: whose it is. line: the row or column. start, stop: places on it.
    """

    who: np.ndarray
    line: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @property
    def hops(self) -> np.ndarray:
        return np.abs(self.stop - self.start)

    def crossings(self, length: int) -> np.ndarray:
        """Borders of chips of that length on the way."""
        return np.abs(self.stop // length - self.start // length)

    def loads(self, load: np.ndarray, lines: int, length: int) -> np.ndarray:
        """Sum over the links of the lines, (2, lines, length - 1): [0] to higher places, [1] back."""
        result = np.zeros((2, lines, length))
        for back, forward in enumerate((self.start < self.stop, self.start > self.stop)):
            line, weight = self.line[forward], load[self.who[forward]]
            low = np.minimum(self.start, self.stop)[forward]
            high = np.maximum(self.start, self.stop)[forward]
            # A move from low to high loads links low .. high - 1: add at low, take away at high, sum up.
            np.add.at(result[back], (line, low), weight)
            np.add.at(result[back], (line, high), -weight)
        return np.cumsum(result, axis=2)[:, :, : length - 1]

    def marks(self, count: int, lines: int, length: int) -> sparse.csr_array:
        """Ends of the moves of `count` that may move, see :class:`Links`: (count, 2 * lines * length)."""
        low, high = np.minimum(self.start, self.stop), np.maximum(self.start, self.stop)
        line = (lines * (self.start > self.stop) + self.line) * length
        moves = low < high
        who, places = np.tile(self.who[moves], 2), np.concatenate([(line + low)[moves], (line + high)[moves]])
        signs = np.repeat([1, -1], np.sum(moves))
        return sparse.csr_array((signs, (who, places)), shape=(count, 2 * lines * length), dtype=np.int64)


def chip_of(site_of: np.ndarray, grid: Grid) -> np.ndarray:
    """The chip of each core, (cores,)."""
    return site_of // grid.chip_cores


def tile_of(site_of: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, on the whole board, of the tile in which each core sits. site_of: (cores,)."""
    chip, site = np.divmod(site_of, grid.chip_cores)
    tile = site // grid.cores_per_tile
    return (
        chip % grid.chip_columns * grid.columns + tile % grid.columns,
        chip // grid.chip_columns * grid.rows + tile // grid.columns,
    )


def distances(site_of: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Hops along x and y between every two cores, (cores, cores) each."""
    x, y = tile_of(site_of, grid)
    return np.abs(x[:, None] - x[None, :]), np.abs(y[:, None] - y[None, :])


def legs(
    start: np.ndarray, stop: np.ndarray, site_of: np.ndarray, grid: Grid
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hops along x, along y, and chip borders on the way from cores `start` to cores `stop`, (messages,) each."""
    along_x, along_y = _single(np.zeros(len(start), np.int64), *tile_of(site_of, grid), start, stop)
    return along_x.hops, along_y.hops, along_x.crossings(grid.columns) + along_y.crossings(grid.rows)


def routes(reached: sparse.csr_array, core_of: np.ndarray, site_of: np.ndarray, grid: Grid) -> Routes:
    """Cost of one spike of every neuron. reached: CSR (neurons, cores), non-zero where it has a synapse."""
    neuron, goal = _away(reached, core_of)
    messages = np.bincount(neuron, minlength=len(core_of)).astype(np.int64)
    neuron, goal = _inside(neuron, goal, core_of)
    single = _single(neuron, *tile_of(site_of, grid), core_of[neuron], goal)
    along_x, along_y = _shared(*single) if grid.multicast else single

    def total(who: np.ndarray, count: np.ndarray) -> np.ndarray:
        return np.bincount(who, weights=count, minlength=len(core_of)).astype(np.int64)

    return Routes(
        messages=messages,
        hops_x=total(along_x.who, along_x.hops),
        hops_y=total(along_y.who, along_y.hops),
        crossings=total(along_x.who, along_x.crossings(grid.columns))
        + total(along_y.who, along_y.crossings(grid.rows)),
        longest=_longest(*single, grid),
    )


def links(reached: sparse.csr_array, core_of: np.ndarray, site_of: np.ndarray, grid: Grid) -> Links:
    """The links that spikes take; arguments as of :func:`routes`."""
    neuron, goal = _inside(*_away(reached, core_of), core_of)
    single = _single(neuron, *tile_of(site_of, grid), core_of[neuron], goal)
    along_x, along_y = _shared(*single) if grid.multicast else single
    size = len(core_of), grid.height, grid.width
    marks = sparse.hstack(
        [along_x.marks(*size), along_y.marks(size[0], grid.width, grid.height)], format="csr", dtype=np.int64
    )
    used = np.flatnonzero(_along_lines(np.asarray(marks.sum(axis=0))[None], grid)[0])
    vertical = used >= 2 * grid.width * grid.height
    place, length = used - vertical * 2 * grid.width * grid.height, np.where(vertical, grid.height, grid.width)
    line, at = np.divmod(place, length)
    back, line = np.divmod(line, np.where(vertical, grid.width, grid.height))
    low, high = (np.where(vertical, (line, at + k), (at + k, line)).T for k in (0, 1))
    return Links(
        start=np.where(back[:, None], high, low),
        stop=np.where(back[:, None], low, high),
        crossing=(at + 1) % np.where(vertical, grid.rows, grid.columns) == 0,
        marks=marks,
        used=used,
        grid=grid,
    )


def _along_lines(marks: np.ndarray, grid: Grid) -> np.ndarray:
    """Loads from marks, (any, places) both, see :class:`Links`."""
    half = 2 * grid.width * grid.height
    along_x = marks[:, :half].reshape(-1, 2 * grid.height, grid.width).cumsum(axis=2)
    along_y = marks[:, half:].reshape(-1, 2 * grid.width, grid.height).cumsum(axis=2)
    return np.concatenate([along_x.reshape(-1, half), along_y.reshape(-1, half)], axis=1)


def flow(reached: sparse.csr_array, core_of: np.ndarray, rates: np.ndarray) -> sparse.csr_array:
    """Spikes per step from core to core, CSR (cores, cores), no diagonal. rates: (neurons,) spikes per step."""
    inner = np.flatnonzero(core_of >= 0)
    shape = (reached.shape[1], len(core_of))
    member = sparse.csr_array((np.ones(len(inner)), (core_of[inner], inner)), shape=shape)
    rate = np.repeat(rates, np.diff(reached.indptr))
    pairs = (member @ sparse.csr_array((rate, reached.indices, reached.indptr), shape=reached.shape)).tocoo()
    away = pairs.row != pairs.col
    flows = sparse.csr_array((pairs.data[away], (pairs.row[away], pairs.col[away])), shape=pairs.shape)
    flows.sort_indices()
    return flows


def link_loads(flows: sparse.csr_array | np.ndarray, site_of: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Load of every link where each message has its own, in the unit of `flows` (cores, cores).

    Returns (horizontal, vertical): [0] eastward / southward (to higher numbers), [1] back;
    horizontal (2, height, width - 1), vertical (2, height - 1, width).
    """
    pairs = sparse.coo_array(flows)
    moves = _single(np.arange(pairs.nnz), *tile_of(site_of, grid), pairs.row, pairs.col)
    return _loads(moves, pairs.data, grid)


def multicast_loads(
    reached: sparse.csr_array, core_of: np.ndarray, rates: np.ndarray, site_of: np.ndarray, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`link_loads`, where messages of one spike share links. rates: (neurons,) spikes per step."""
    neuron, goal = _inside(*_away(reached, core_of), core_of)
    moves = _single(neuron, *tile_of(site_of, grid), core_of[neuron], goal)
    return _loads(_shared(*moves), rates, grid)


def _loads(moves: tuple[Moves, Moves], load: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    along_x, along_y = moves
    return (
        along_x.loads(load, grid.height, grid.width),
        along_y.loads(load, grid.width, grid.height).transpose(0, 2, 1),
    )


def hottest(horizontal: np.ndarray, vertical: np.ndarray) -> Link | None:
    """The link that carries most, of the loads of :func:`link_loads`; None where nothing moves."""
    links = []
    for loads, step in ((horizontal, (1, 0)), (vertical, (0, 1))):
        if loads.size and loads.max() > 0:
            back, row, column = (int(i) for i in np.unravel_index(int(loads.argmax()), loads.shape))
            ends = [(column, row), (column + step[0], row + step[1])]
            start, stop = reversed(ends) if back else ends
            links.append(Link(start, stop, float(loads[back, row, column])))
    return max(links, key=lambda link: link.load, default=None)


def _away(reached: sparse.csr_array, core_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(neuron, core) of every message: the cores that a neuron reaches besides its own, (messages,) each."""
    neuron = np.repeat(np.arange(len(core_of)), np.diff(reached.indptr))
    away = reached.indices != core_of[neuron]
    return neuron[away], reached.indices[away]


def _inside(neuron: np.ndarray, goal: np.ndarray, core_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The messages that do not come from an input."""
    inside = core_of[neuron] >= 0
    return neuron[inside], goal[inside]


def _single(who: np.ndarray, x: np.ndarray, y: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[Moves, Moves]:
    """The two moves of every message from core `start` to core `stop`: along x, then along y."""
    return Moves(who, y[start], x[start], x[stop]), Moves(who, x[stop], y[start], y[stop])


def _shared(along_x: Moves, along_y: Moves) -> tuple[Moves, Moves]:
    """The moves that cover those of each neuron, each link once: one to either side along x, then along each column."""
    trunk = _covering(along_x, along_x.who)
    width = int(along_y.line.max(initial=0)) + 1
    return trunk, _covering(along_y, along_y.who * width + along_y.line)


def _covering(moves: Moves, group: np.ndarray) -> Moves:
    """At most two moves for each group of moves that start together: to its farthest stop, up and down."""
    _, first, place = np.unique(group, return_index=True, return_inverse=True)
    who, line, start = moves.who[first], moves.line[first], moves.start[first]
    high, low = start.copy(), start.copy()
    np.maximum.at(high, place, moves.stop)
    np.minimum.at(low, place, moves.stop)
    return Moves(np.tile(who, 2), np.tile(line, 2), np.tile(start, 2), np.concatenate([high, low]))


def _longest(along_x: Moves, along_y: Moves, grid: Grid) -> tuple[int, int, int]:
    if not len(along_x.who):
        return 0, 0, 0
    crossings = along_x.crossings(grid.columns) + along_y.crossings(grid.rows)
    hops = along_x.hops + along_y.hops
    far = int(np.argmax(crossings * (grid.width + grid.height) + hops))
    return int(along_x.hops[far]), int(along_y.hops[far]), int(crossings[far])

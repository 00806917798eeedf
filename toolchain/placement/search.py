"""A placement improved core by core: descent over all moves and swaps, and annealing to leave local optima.

Cores sit in slots, slots in tiles; a distance is the sum of one along x and one along y. So what a core
costs in any tile is the sum of two numbers from tables that are kept for every core and column, and every
core and row, and the gain of any move or swap is known from a few of them. Everything is in whole numbers
(flows are rounded to about 12 digits), so that gains are exact and add up; one thread does it, so that no
number of threads changes the result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from snnc.jit import lean

# Sums of flow times distance stay below this.
LARGEST = 2.0**58
# Proposals from which the scale of temperatures is taken.
SAMPLED = 1000


class State(NamedTuple):
    """A placement and its tables; int64 arrays.

    indptr, indices, weights: CSR (cores, cores), the flow between two cores in both directions. slot_x, slot_y:
    tile of each slot. steps_x, steps_y: distance between any two columns, and any two rows. slot_of: of each core.
    core_in: of each slot, -1 where it is free. x, y: tile of each core. costs_x: (cores, columns), the sum over all
    other cores of flow times distance along x, if the core were in that column; costs_y: the same for rows.
    """

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray
    slot_x: np.ndarray
    slot_y: np.ndarray
    steps_x: np.ndarray
    steps_y: np.ndarray
    slot_of: np.ndarray
    core_in: np.ndarray
    x: np.ndarray
    y: np.ndarray
    costs_x: np.ndarray
    costs_y: np.ndarray


class Search:
    """A placement that is being improved.

    flows: CSR (cores, cores). slots: column and row of each slot, (slots,) each, the slots of one tile side by side,
    equally many in every tile. steps: distance between any two columns, and any two rows, whole numbers.
    slot_of: where the cores are, (cores,).
    """

    def __init__(
        self,
        flows: sparse.csr_array,
        slots: tuple[np.ndarray, np.ndarray],
        steps: tuple[np.ndarray, np.ndarray],
        slot_of: np.ndarray,
    ) -> None:
        both = sparse.csr_array(flows + flows.T)
        both.sort_indices()
        farthest = float(steps[0].max() + steps[1].max())
        unit = LARGEST / (max(float(both.sum()), 1e-300) * max(farthest, 1.0))
        slot_x, slot_y = (np.ascontiguousarray(s, np.int64) for s in slots)
        steps_x, steps_y = (np.ascontiguousarray(s, np.int64) for s in steps)
        slot_of = slot_of.astype(np.int64)
        core_in = np.full(len(slot_x), -1, np.int64)
        core_in[slot_of] = np.arange(len(slot_of))
        self.state = State(
            both.indptr.astype(np.int64),
            both.indices.astype(np.int64),
            np.rint(both.data * unit).astype(np.int64),
            slot_x,
            slot_y,
            steps_x,
            steps_y,
            slot_of,
            core_in,
            slot_x[slot_of],
            slot_y[slot_of],
            np.zeros((len(slot_of), len(steps_x)), np.int64),
            np.zeros((len(slot_of), len(steps_y)), np.int64),
        )
        _fill(self.state)
        tile = slot_y * len(steps_x) + slot_x
        self.per_tile = int(np.sum(tile == tile[0]))
        self.first_slot = np.full(len(steps_x) * len(steps_y), -1, np.int64)
        self.first_slot[tile[:: self.per_tile]] = np.arange(0, len(tile), self.per_tile)

    @property
    def slot_of(self) -> np.ndarray:
        return self.state.slot_of.copy()

    @property
    def cost(self) -> int:
        """Sum of flow times distance, each pair of cores counted twice, in a unit of its own."""
        s, cores = self.state, np.arange(len(self.state.x))
        return int(s.costs_x[cores, s.x].sum() + s.costs_y[cores, s.y].sum())

    def descend(self) -> None:
        """Take the best move or swap of each core in turn until none gains."""
        _descend(self.state, np.zeros(len(self.state.x), np.int64))

    def anneal(self, proposals: int, hot: float, cold: float, seed: int) -> None:
        """Propose so many moves and swaps at temperatures that fall from `hot` to `cold`.

        Both in the mean change of cost, up or down, that the first proposals would bring.
        """
        scale = _anneal(self.state, self.first_slot, self.per_tile, SAMPLED, -1.0, 1.0, seed) / SAMPLED
        if scale > 0:
            _anneal(self.state, self.first_slot, self.per_tile, proposals, hot * scale, cold * scale, seed)


@lean
def _fill(s: State) -> None:
    for a in range(len(s.x)):
        for k in range(s.indptr[a], s.indptr[a + 1]):
            b, weight = s.indices[k], s.weights[k]
            for c in range(len(s.steps_x)):
                s.costs_x[a, c] += weight * s.steps_x[c, s.x[b]]
            for r in range(len(s.steps_y)):
                s.costs_y[a, r] += weight * s.steps_y[r, s.y[b]]


@lean
def _put(s: State, a: int, slot: int) -> None:
    """Put core `a` into a slot, whatever is there, and tell its neighbours."""
    old_x, old_y, new_x, new_y = s.x[a], s.y[a], s.slot_x[slot], s.slot_y[slot]
    for k in range(s.indptr[a], s.indptr[a + 1]):
        b, weight = s.indices[k], s.weights[k]
        if new_x != old_x:
            for c in range(len(s.steps_x)):
                s.costs_x[b, c] += weight * (s.steps_x[new_x, c] - s.steps_x[old_x, c])
        if new_y != old_y:
            for r in range(len(s.steps_y)):
                s.costs_y[b, r] += weight * (s.steps_y[new_y, r] - s.steps_y[old_y, r])
    s.x[a], s.y[a], s.slot_of[a], s.core_in[slot] = new_x, new_y, slot, a


@lean
def _exchange(s: State, a: int, slot: int) -> None:
    """Move core `a` to a slot; who is there comes to its own."""
    b, old = s.core_in[slot], s.slot_of[a]
    _put(s, a, slot)
    s.core_in[old] = -1
    if b >= 0:
        _put(s, b, old)


@lean
def _gain(s: State, a: int, slot: int) -> int:
    """Change of cost by :func:`_exchange`, as if the two had no flow between them: that makes it only larger."""
    x, y, to_x, to_y = s.x[a], s.y[a], s.slot_x[slot], s.slot_y[slot]
    change = s.costs_x[a, to_x] + s.costs_y[a, to_y] - s.costs_x[a, x] - s.costs_y[a, y]
    b = s.core_in[slot]
    if b >= 0:
        change += s.costs_x[b, x] + s.costs_y[b, y] - s.costs_x[b, to_x] - s.costs_y[b, to_y]
    return change


@lean
def _mutual(s: State, a: int, slot: int, flow: int) -> int:
    """What is to be added to :func:`_gain` for the flow between the two, who stay as far apart as they are."""
    return 2 * flow * (s.steps_x[s.x[a], s.slot_x[slot]] + s.steps_y[s.y[a], s.slot_y[slot]])


@lean
def _flow(s: State, a: int, b: int) -> int:
    low, high = s.indptr[a], s.indptr[a + 1]
    while low < high:
        middle = (low + high) // 2
        if s.indices[middle] < b:
            low = middle + 1
        else:
            high = middle
    return int(s.weights[low]) if low < s.indptr[a + 1] and s.indices[low] == b else 0


@lean
def _descend(s: State, flow: np.ndarray) -> None:
    """flow: room for that of one core to all others, zero."""
    gained = True
    while gained:
        gained = False
        for a in range(len(s.x)):
            for k in range(s.indptr[a], s.indptr[a + 1]):
                flow[s.indices[k]] = s.weights[k]
            best, at = 0, -1
            for slot in range(len(s.core_in)):
                change = _gain(s, a, slot)
                if change < best:
                    b = s.core_in[slot]
                    if b >= 0:
                        change += _mutual(s, a, slot, flow[b])
                    if change < best:
                        best, at = change, slot
            for k in range(s.indptr[a], s.indptr[a + 1]):
                flow[s.indices[k]] = 0
            if at >= 0:
                _exchange(s, a, at)
                gained = True


@lean
def _next(state: np.uint64) -> np.uint64:
    """The next random number of 64 bits (xorshift)."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    return state ^ (state << np.uint64(17))


@lean
def _below(state: np.uint64, limit: int) -> int:
    return np.int64((state >> np.uint64(33)) % np.uint64(limit))  # type: ignore[return-value]


@lean
def _anneal(
    s: State, first_slot: np.ndarray, per_tile: int, proposals: int, hot: float, cold: float, seed: int
) -> float:
    """Returns the sum of the changes of cost, without their signs. Below zero, nothing is accepted."""
    columns, rows = len(s.steps_x), len(s.steps_y)
    random = np.uint64(seed) * np.uint64(2654435761) + np.uint64(88172645463325252)
    temperature, falling, changes = hot, abs(cold / hot) ** (256.0 / proposals), 0.0
    for proposal in range(proposals):
        if proposal % 256 == 255:
            temperature *= falling
        random = _next(random)
        a = _below(random, len(s.x))
        random = _next(random)
        slot = _below(random, len(s.core_in))
        near = s.indptr[a + 1] - s.indptr[a]
        if near and random & np.uint64(1):
            # To a core it talks to, or beside it.
            random = _next(random)
            b = s.indices[s.indptr[a] + _below(random, near)]
            random = _next(random)
            x, y = s.x[b] + _below(random, 3) - 1, s.y[b] + _below(random // np.uint64(3), 3) - 1
            if x < 0 or y < 0 or x >= columns or y >= rows or first_slot[y * columns + x] < 0:
                continue
            slot = first_slot[y * columns + x] + slot % per_tile
        if s.slot_x[slot] == s.x[a] and s.slot_y[slot] == s.y[a]:
            continue
        random = _next(random)
        limit = -temperature * np.log((np.float64(random >> np.uint64(11)) + 1.0) / 9007199254740993.0)
        change = _gain(s, a, slot)
        if temperature < 0:
            changes += abs(change)
        elif change < limit:
            b = s.core_in[slot]
            if b < 0 or change + _mutual(s, a, slot, _flow(s, a, b)) < limit:
                _exchange(s, a, slot)
    return changes

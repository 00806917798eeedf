"""Synapses as the kernel wants them: by source, one run of memory for each.

A fan is a set of synapses that one event visits together: those of one source neuron (Linear),
or those of one kernel position of one input channel (Conv2d), which stay the same wherever the
event is. A fan is stored as records (target, weight) of the synapses that exist or, where these
are many, as plain weights of consecutive targets, which the processor adds as vectors. Both forms
give the same sums; a zero in a plain row is not a synapse and is counted nowhere. All fans of a
Linear have one form, and lie one after the other, so that where they begin is all there is to know.

Why so: large networks are bound by memory, so a synapse takes as few bytes as it can. A record is 3
bytes where all weights of the network fit 8 bits, as they do on most chips, else 4; it addresses
2^16 targets. Larger populations are cut into blocks, each a projection of its own. Smaller blocks,
whose sums fit the first cache, were slower where the synapses fit none: their fans are short, and
memory is fast in long runs only (100,000 neurons, 1 %: 1.0e9 synapses/s in blocks of 2^14, 1.4e9 in
blocks of 2^16). A map of bits and weights that AVX-512 spreads over the targets was slower, too
(10,000 neurons, 10 %: 1.2e9 instead of 2.3e9).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from snnc.ops import Conv2d, Linear

# Columns of a fan of a Conv2d: its part of `packed` or `plain`, first target, which form; where on the input the
# kernel position lies (dilation applied), as quotient and remainder by the stride.
START, STOP, FIRST, PLAIN, SHIFT_Y, SHIFT_X, PHASE_Y, PHASE_X = range(8)
COLUMNS = 8

# Targets of a block.
BLOCK = 1 << 16

# What a sum of 16 bits holds; visits per target from which they pay, measured.
SUM_LIMIT = (1 << 15) - 1
VISITS = 1

# One synapse: 3 bytes, not aligned; or 4.
NARROW = np.dtype([("target", np.uint16), ("weight", np.int8)])
WIDE = np.dtype([("target", np.uint16), ("weight", np.int16)])

# Share of existing synapses from which a plain row is used. Measured: a table in memory gains from
# about 0.45 on, one in a cache from about 0.2; a plain row takes at most 1.25 times the memory here.
PLAIN_SHARE = 0.4


class Fans:
    """Collects the fans of all projections.

    narrow: whether all weights of all projections fit 8 bits.
    fans: int64 (fans, 8), of Conv2d. packed: NARROW or WIDE. plain: int8 or int16.
    index: int64. Per block of a Linear the first synapse of each source; per Conv2d the first fan of each input
    channel; and each time one past the last.
    """

    def __init__(self, *, narrow: bool) -> None:
        self._synapse = NARROW if narrow else WIDE
        self._fans: list[np.ndarray] = []
        self._index: list[np.ndarray] = []
        self._packed: list[np.ndarray] = []
        self._plain: list[np.ndarray] = []

    def arrays(self) -> dict[str, np.ndarray]:
        """By name."""
        return {
            "index": np.concatenate([np.zeros(0, np.int64), *self._index]),
            "fans": np.concatenate([np.zeros((0, COLUMNS), np.int64), *self._fans]),
            "packed": np.concatenate([np.zeros(0, self._synapse), *self._packed]),
            "plain": np.concatenate([np.zeros(0, self._synapse["weight"]), *self._plain]),
        }

    def add_linear(self, op: Linear, pre_order: np.ndarray, post_order: np.ndarray) -> list[list[int]]:
        """Add a fan for every source and block of targets.

        pre_order, post_order: the neuron at each place of the kernel's order. Returns for each block where in the
        index it begins, its first target, whether it is plain, and what :func:`near` says.
        """
        blocks = []
        # Of equal width: a short one would have short fans.
        width = -(-len(post_order) // -(-len(post_order) // BLOCK))
        for first in range(0, len(post_order), width):
            by_target = _rows(op.weight, post_order[first : first + width])
            by_source = _rows(by_target.T.tocsr(), pre_order)
            plain = by_source.nnz > PLAIN_SHARE * by_source.shape[0] * by_source.shape[1]
            if plain:
                ptr = np.arange(by_source.shape[0] + 1) * by_source.shape[1] + self._add_plain(by_source)
            else:
                ptr = by_source.indptr.astype(np.int64) + self._add_packed(by_source)
            blocks.append([self._add_index(ptr), first, plain, *near(by_target)])
        return blocks

    def add_conv(self, op: Conv2d) -> int:
        """Add a fan for every kernel position that holds a tap, ordered by input channel.

        Targets are output channels: the kernel keeps all channels of a place together. Returns where in the index
        the input channels begin.
        """
        out, channels, height, width = op.weight.shape
        grouped = op.weight.reshape(op.groups, out // op.groups, channels, height, width)
        rows = np.moveaxis(grouped, 1, -1).reshape(-1, out // op.groups)
        group, channel, y, x = np.indices((op.groups, channels, height, width)).reshape(4, -1)
        exists = rows.any(axis=1)
        shift_y, phase_y = np.divmod(y * op.dilation[0], op.stride[0])
        shift_x, phase_x = np.divmod(x * op.dilation[1], op.stride[1])
        source = (group * channels + channel)[exists]
        count = sum(len(f) for f in self._fans)
        first = self._add_index(count + np.searchsorted(source, np.arange(op.groups * channels + 1)))

        fans = sparse.csr_array(rows[exists])
        size = np.diff(fans.indptr)
        plain = size > PLAIN_SHARE * fans.shape[1]
        length = np.where(plain, fans.shape[1], size)
        start = np.zeros(len(size), np.int64)
        for chosen, add in ((plain, self._add_plain), (~plain, self._add_packed)):
            start[chosen] = add(fans[np.flatnonzero(chosen)]) + np.cumsum(length[chosen]) - length[chosen]
        where = [(group * (out // op.groups))[exists], plain] + [
            column[exists] for column in (shift_y, shift_x, phase_y, phase_x)
        ]
        self._fans.append(np.column_stack([start, start + length, *where]).astype(np.int64))
        return first

    def _add_index(self, entries: np.ndarray) -> int:
        """Where they begin."""
        self._index.append(entries)
        return sum(len(e) for e in self._index[:-1])

    def _add_packed(self, rows: sparse.csr_array) -> int:
        """Where they begin."""
        words = np.empty(rows.nnz, self._synapse)
        words["target"], words["weight"] = rows.indices, rows.data
        self._packed.append(words)
        return sum(len(p) for p in self._packed[:-1])

    def _add_plain(self, rows: sparse.csr_array) -> int:
        """Where they begin."""
        self._plain.append(rows.toarray().ravel().astype(self._synapse["weight"]))
        return sum(len(p) for p in self._plain[:-1])


def near(by_target: sparse.csr_array) -> tuple[int, int, int]:
    """Targets of a block, from how many events on sums of 16 bits pay, and how many events these take for sure.

    They pay where the events visit a good part of the targets, all of which are added to sums of full width afterwards.
    """
    span, sources = by_target.shape
    if by_target.nnz == 0:
        return span, sources + 1, 1
    largest = int(max(abs(int(by_target.data.min())), int(by_target.data.max())))
    most = sources if row_sums(by_target).max() <= SUM_LIMIT else SUM_LIMIT // largest
    worth = -(-VISITS * span * sources // by_target.nnz)
    return span, worth if most >= worth else sources + 1, most


def row_sums(matrix: sparse.csr_array) -> np.ndarray:
    """Sums of the positive entries of each row and of the negative ones, these without sign: int64 (2, rows)."""
    sums = np.zeros((2, matrix.shape[0]), np.int64)
    filled = np.diff(matrix.indptr) > 0
    if matrix.nnz:
        starts = matrix.indptr[:-1][filled]
        sums[0, filled] = np.add.reduceat(np.maximum(matrix.data, 0), starts, dtype=np.int64)
        sums[1, filled] = -np.add.reduceat(np.minimum(matrix.data, 0), starts, dtype=np.int64)
    return sums


def _rows(matrix: sparse.csr_array, rows: np.ndarray) -> sparse.csr_array:
    """matrix[rows], columns sorted; cheap where the rows are consecutive."""
    first, stop = rows[0], rows[-1] + 1
    chosen = matrix[first:stop] if np.array_equal(rows, np.arange(first, stop)) else matrix[rows]
    return chosen if chosen.has_sorted_indices else chosen.sorted_indices()

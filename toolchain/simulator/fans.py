"""Synapses as the kernel wants them: by source, one run of memory for each.

A fan is a set of synapses that one event visits together: those of one source neuron (Linear),
or those of one kernel position of one input channel (Conv2d), which stay the same wherever the
event is. A fan is stored as packed words (target << 16 | weight) of the synapses that exist or,
where these are many, as plain weights of consecutive targets, which the processor adds as
vectors. Both forms give the same sums; a zero in a plain row is not a synapse and is counted
nowhere.

A word addresses 2^16 targets. Larger populations are cut into blocks, each a projection of its own.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from snnc.ops import Conv2d, Linear

# Columns of a fan: its part of `packed` or `plain`, first target, which form. Conv2d only: where on
# the input the kernel position lies (dilation applied), as quotient and remainder by the stride.
START, STOP, FIRST, PLAIN, SHIFT_Y, SHIFT_X, PHASE_Y, PHASE_X = range(8)
COLUMNS = 8

BLOCK = 1 << 16

# Share of existing synapses from which a plain row is used. Measured: a table in memory gains from
# about 0.45 on, one in a cache from about 0.2; a plain row takes at most 1.25 times the memory here.
PLAIN_SHARE = 0.4


class Fans:
    """Collects the fans of all projections.

    fans: int64 (fans, 8). packed: uint32. plain: int16.
    """

    def __init__(self) -> None:
        self._fans: list[np.ndarray] = []
        self._packed: list[np.ndarray] = []
        self._plain: list[np.ndarray] = []

    @property
    def count(self) -> int:
        return sum(len(f) for f in self._fans)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(fans, packed, plain)."""
        return (
            np.concatenate([np.zeros((0, COLUMNS), np.int64), *self._fans]),
            np.concatenate([np.zeros(0, np.uint32), *self._packed]),
            np.concatenate([np.zeros(0, np.int16), *self._plain]),
        )

    def add_linear(self, op: Linear, pre_order: np.ndarray, post_order: np.ndarray) -> list[int]:
        """Add a fan for every source and block of targets; the number of the first fan of each block.

        pre_order, post_order: the neuron at each place of the kernel's order.
        """
        by_source = op.weight.T.tocsr()[pre_order].tocsc()[:, post_order]
        blocks = []
        for first in range(0, len(post_order), BLOCK):
            block = by_source[:, first : first + BLOCK].tocsr()
            block.sort_indices()
            blocks.append(self.count)
            self._add(block, np.full(block.shape[0], first), np.zeros((block.shape[0], 4)))
        return blocks

    def add_conv(self, op: Conv2d) -> np.ndarray:
        """Add a fan for every kernel position that holds a tap, ordered by input channel.

        Targets are output channels: the kernel keeps all channels of a place together. Returns the number
        of the first fan of each input channel and, last, one past all: int64 (channels + 1,).
        """
        out, channels, height, width = op.weight.shape
        grouped = op.weight.reshape(op.groups, out // op.groups, channels, height, width)
        rows = np.moveaxis(grouped, 1, -1).reshape(-1, out // op.groups)
        group, channel, y, x = np.indices((op.groups, channels, height, width)).reshape(4, -1)
        exists = rows.any(axis=1)
        shift_y, phase_y = np.divmod(y * op.dilation[0], op.stride[0])
        shift_x, phase_x = np.divmod(x * op.dilation[1], op.stride[1])
        where = np.stack([shift_y, shift_x, phase_y, phase_x], 1)[exists]
        source = (group * channels + channel)[exists]
        begin = self.count + np.searchsorted(source, np.arange(op.groups * channels + 1))
        self._add(sparse.csr_array(rows[exists]), (group * (out // op.groups))[exists], where)
        return begin

    def _add(self, rows: sparse.csr_array, first: np.ndarray, where: np.ndarray) -> None:
        """One fan per row; first: (rows,) what to add to the column. where: (rows, 4), the last columns."""
        size = np.diff(rows.indptr).astype(np.int64)
        plain = size > PLAIN_SHARE * rows.shape[1]
        keep = np.repeat(~plain, size)
        words = rows.indices[keep].astype(np.uint32) << 16 | rows.data[keep].view(np.uint16)
        length = np.where(plain, rows.shape[1], size)
        start = np.zeros(len(size), np.int64)
        for chosen, parts in ((plain, self._plain), (~plain, self._packed)):
            base = sum(len(p) for p in parts)
            start[chosen] = base + np.cumsum(length[chosen]) - length[chosen]
        self._packed.append(words)
        self._plain.append(rows[np.flatnonzero(plain)].toarray().ravel())
        self._fans.append(np.column_stack([start, start + length, first, plain, where]).astype(np.int64))

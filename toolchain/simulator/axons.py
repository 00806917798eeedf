"""Axons as the kernel wants them: what a spike adds to the counters of all cores, in rows that are added at once.

An axon is a pair of a neuron and a core that it reaches; it holds a number, such as the stored synapses that a spike
of the neuron visits there. A row holds those of one neuron in LANES cores of neighbouring numbers, zeros included.
Where the neurons of a population reach about the same cores (a window), each has a row for every LANES of them, which
are found without a look-up; else each lists the rows that it needs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import sparse

# Cores in a row: 16-bit numbers that fill 32 bytes.
LANES = 16
# The largest number that a row holds of an axon; more are listed in several rows.
MOST = (1 << 16) - 1
# Rows of a window for each row that is needed: what is listed takes about five times as long.
SPARE = 4


def whole_lanes(cores: int) -> int:
    """Cores, filled up to whole rows."""
    return -(-cores // LANES) * LANES


class Axons(NamedTuple):
    """P populations, N neurons in the kernel's order, R rows; typed for numba.

    windows: int64 (P, 3): first row of a population, rows of each neuron (0: they are listed), first core.
    ptr: int64 (N + 1,), the rows of neurons that list them. core: int32 (R,), first core of a row that is listed.
    rows: uint16 (R, LANES), what is counted.
    """

    windows: np.ndarray
    ptr: np.ndarray
    core: np.ndarray
    rows: np.ndarray


def axons(stored: sparse.csr_array, first: np.ndarray) -> Axons:
    """The axons of numbers `stored`, CSR (neurons, cores), all positive, of populations that begin at `first`.

    first: int64 (P + 1,).
    """
    windows = np.zeros((len(first) - 1, 3), np.int64)
    ptr = np.zeros(stored.shape[0] + 1, np.int64)
    cores, synapses = [np.zeros(0, np.int64)], [np.zeros((0, LANES), np.uint16)]
    done = 0
    for p, (low, high) in enumerate(pairwise(first.tolist())):
        part = stored[low:high]
        neuron = np.repeat(np.arange(high - low), np.diff(part.indptr))
        # An axon of more synapses than a row holds becomes several, of which all but the last are full.
        parts = -(-part.data // MOST)
        piece = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        neuron, core, count = (np.repeat(x, parts) for x in (neuron, part.indices, part.data))
        count = np.minimum(count - piece * MOST, MOST)
        lane, pieces = core // LANES, int(parts.max(initial=1))
        start, width = (int(lane.min()), int(np.ptp(lane)) + 1) if len(lane) else (0, 0)
        keys, row = np.unique(((neuron * width) + lane - start) * pieces + piece, return_inverse=True)
        if pieces == 1 and 0 < width * (high - low) <= SPARE * len(keys):
            windows[p] = done, width, start * LANES
            row, size = keys[row], width * (high - low)
            cores.append(np.zeros(size, np.int64))
        else:
            size = len(keys)
            ptr[low : high + 1] = done + np.searchsorted(keys // (max(1, width) * pieces), np.arange(high - low + 1))
            cores.append((keys // pieces % max(1, width) + start) * LANES)
        found = np.zeros((size, LANES), np.uint16)
        found[row, core % LANES] = count
        synapses.append(found)
        done += size
    return Axons(windows, ptr, np.concatenate(cores).astype(np.int32), np.concatenate(synapses))

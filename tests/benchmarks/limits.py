"""Bandwidth of this machine's memory, as numba's code reads it."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

ROUNDS = 5
# Bytes that are read: far beyond any cache.
TABLE = 512 << 20


@numba.njit(nogil=True)
def _sum(values: np.ndarray) -> int:
    total = np.uint64(0)
    for k in range(len(values)):
        total += values[k]
    return total


def bandwidth(threads: int) -> float:
    """Bytes per second that so many threads read, each its own part; median."""
    parts = np.array_split(np.ones(TABLE // 8, np.uint64), threads)
    taken = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(1 + ROUNDS):
            begin = time.perf_counter()
            list(pool.map(_sum, parts))
            taken.append(time.perf_counter() - begin)
    return TABLE / statistics.median(taken[1:])  # the first run compiles

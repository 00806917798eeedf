"""What happened, in rows of numbers: as many as there are, without knowing how many before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.jit import lean

# Rows that a log has at least free whenever a unit wakes.
SPARE = 64


class Log(NamedTuple):
    """rows: int64 (capacity, columns). used: int64 (1,), rows in use."""

    rows: np.ndarray
    used: np.ndarray


def blank(columns: int, capacity: int = 4096) -> Log:
    """Nothing has happened yet."""
    return Log(np.zeros((capacity, columns), np.int64), np.zeros(1, np.int64))


def enlarged(log: Log, spare: int = SPARE) -> Log:
    """The same with more room, where there is little left."""
    if not crowded(log, spare):
        return log
    return Log(np.concatenate([log.rows, np.zeros_like(log.rows)]), log.used)


def rows(log: Log) -> np.ndarray:
    """What was noted, int64 (rows, columns)."""
    return log.rows[: log.used[0]].copy()


@lean
def added(log: Log) -> int:
    """The number of a new row, to be filled in."""
    log.used[0] += 1
    return int(log.used[0] - 1)


@lean
def crowded(log: Log, spare: int = SPARE) -> bool:
    """Whether it is time for :func:`enlarged`: no more than so many rows are free."""
    return bool(len(log.rows) - log.used[0] <= spare)

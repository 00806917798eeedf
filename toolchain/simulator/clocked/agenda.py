"""Who wakes when: the units of a chip, and the clock edge that each waits for.

An edge is ``2 * cycle`` for the rising one and ``2 * cycle + 1`` for the falling one that follows. On the same edge
units wake in the order of their numbers, which is how a chip's rules say what is seen before what.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.jit import lean

NEVER = np.iinfo(np.int64).max


class Agenda(NamedTuple):
    """A heap of ``edge * units + unit``. due: int64 (units,), the edge each waits for; entries of others are void."""

    heap: np.ndarray
    size: np.ndarray
    due: np.ndarray


def idle(units: int) -> Agenda:
    """Nobody waits for anything."""
    return Agenda(np.zeros(4 * units + 16, np.int64), np.zeros(1, np.int64), np.full(units, NEVER))


@lean
def schedule(a: Agenda, unit: int, edge: int) -> None:
    """Let a unit wake at an edge, and not when it was going to."""
    a.due[unit] = edge
    if edge == NEVER:
        return
    units = len(a.due)
    if a.size[0] == len(a.heap):  # most entries are void
        a.size[0] = 0
        for other in range(units):
            if a.due[other] != NEVER and other != unit:
                _push(a, a.due[other] * units + other)
    _push(a, edge * units + unit)


@lean
def wake(a: Agenda, unit: int, edge: int) -> None:
    """Let a unit wake at an edge if it was going to wake later, or not at all."""
    if edge < a.due[unit]:
        schedule(a, unit, edge)


@lean
def earliest(a: Agenda, end: int) -> tuple[int, int]:
    """The edge that comes next, NEVER if none does before `end`, and the unit that wakes; it then waits for nothing."""
    units = len(a.due)
    while a.size[0] > 0:
        edge, unit = a.heap[0] // units, a.heap[0] % units
        waits = a.due[unit] == edge
        if waits and edge >= end:
            break
        _drop(a)
        if waits:
            a.due[unit] = NEVER
            return edge, unit
    return NEVER, 0


@lean
def _push(a: Agenda, entry: int) -> None:
    k = a.size[0]
    a.size[0] += 1
    while k > 0 and a.heap[(k - 1) // 2] > entry:
        a.heap[k] = a.heap[(k - 1) // 2]
        k = (k - 1) // 2
    a.heap[k] = entry


@lean
def _drop(a: Agenda) -> None:
    """Remove the first entry."""
    a.size[0] -= 1
    size, k = a.size[0], 0
    last = a.heap[size]
    while 2 * k + 1 < size:
        child = 2 * k + 1
        if child + 1 < size and a.heap[child + 1] < a.heap[child]:
            child += 1
        if a.heap[child] >= last:
            break
        a.heap[k] = a.heap[child]
        k = child
    a.heap[k] = last

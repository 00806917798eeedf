"""What the kernel keeps from step to step, and what it writes down of it; typed for numba.

A :class:`State` is all that a network remembers between two steps: whoever runs the first steps of a
recording, keeps the state and goes on later gets the same as who runs them all at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.simulator.tables import Tables


class State(NamedTuple):
    """Between two steps, for each of R recordings that go on at the same time.

    u, v: (R, neurons) of the tables' register type, in the kernel's order. w, rests: int64 (R, neurons that adapt, rest
    or send values), what their second compartments add in the next step, and steps for which they still rest.
    events: int32 (R, depth, neurons + 1), the neurons that spiked in the last steps, population after population; one
    place more, since the kernel writes once past the last. found: int64 (R, depth, populations), how many did. past:
    int32 (R, depth, neurons that send values), those of the last steps. Step t is in slot t % depth.
    """

    u: np.ndarray
    v: np.ndarray
    w: np.ndarray
    rests: np.ndarray
    events: np.ndarray
    found: np.ndarray
    past: np.ndarray


class Record(NamedTuple):
    """What is written down of every step; P populations.

    spikes_at, u_at, v_at: int64 (P,), first column of a population in the array of that name, or -1. spikes: uint8
    (samples, steps, columns). u: the same of the register's type, v: int32; both as they are after the step.
    """

    spikes_at: np.ndarray
    u_at: np.ndarray
    v_at: np.ndarray
    spikes: np.ndarray
    u: np.ndarray
    v: np.ndarray


def empty(tables: Tables, recordings: int) -> State:
    """Room for so many recordings; the kernel clears it where one begins."""
    neurons, populations = len(tables.order), len(tables.first) - 1
    values = int(np.diff(tables.first)[tables.values_at >= 0].sum())
    return State(
        u=np.empty((recordings, neurons), tables.register),
        v=np.empty((recordings, neurons), tables.register),
        w=np.empty((recordings, len(tables.jump)), np.int64),
        rests=np.empty((recordings, len(tables.jump)), np.int64),
        events=np.empty((recordings, tables.depth, neurons + 1), np.int32),
        found=np.empty((recordings, tables.depth, populations), np.int64),
        past=np.empty((recordings, tables.depth, values), np.int32),
    )

"""What the kernel keeps from step to step, and what it writes down of it; typed for numba.

A :class:`State` is all that a network remembers between two steps: whoever runs the first steps of a
recording, keeps the state and goes on later gets the same as who runs them all at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.simulator.axons import whole_lanes
from snnc.simulator.fans import BLOCK
from snnc.simulator.tables import Tables
from snnc.simulator.timing import TIMES, WORK


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


class Scratch(NamedTuple):
    """What the kernel works in; N neurons. It makes no array of its own, so that numba need not count references.

    a: (N,) of the tables' register type, inputs of the neurons, and near: int16 (BLOCK,), of those of a block; zeros
    between steps. fired, busy: uint8 (N,), who spikes and who is active in the step; was: who was active in the one
    before. working: int32 (cores in whole LANES), how many are active in each core. Counters of the step, zeros
    between steps: work: int32 (4, cores in whole LANES), as in :data:`snnc.simulator.timing.WORK`; times: int64
    (2, cores), as in ``TIMES`` there.
    """

    a: np.ndarray
    near: np.ndarray
    fired: np.ndarray
    busy: np.ndarray
    was: np.ndarray
    working: np.ndarray
    work: np.ndarray
    times: np.ndarray


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


def scratch(tables: Tables, cores: int) -> Scratch:
    """Room for one kernel at a time."""
    neurons, lanes = len(tables.order), whole_lanes(cores)
    return Scratch(
        a=np.zeros(neurons, tables.register),
        near=np.zeros(BLOCK, np.int16),
        fired=np.empty(neurons, np.uint8),
        busy=np.empty(neurons, np.uint8),
        was=np.empty(neurons, np.uint8),
        working=np.empty(lanes, np.int32),
        work=np.zeros((len(WORK), lanes), np.int32),
        times=np.zeros((len(TIMES), cores), np.int64),
    )

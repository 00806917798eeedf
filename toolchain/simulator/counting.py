"""What the kernel counts of the work of a step, beside the work itself."""

from __future__ import annotations

import numpy as np

from snnc.jit import lean
from snnc.simulator.axons import LANES, Axons
from snnc.simulator.instructions import add_rows, different_bytes, lowest_bit
from snnc.simulator.run import STEP_WORK
from snnc.simulator.tables import Places
from snnc.simulator.timing import (
    ACTIVE,
    ARRIVE,
    EARLIEST,
    LATEST,
    RECEIVE,
    SEND,
    SPIKES,
    SYNOPS,
    TIMES,
    TOTALS,
    WORK,
)

# Columns of the counters of a step that no axon adds to.
BUSY, FIRED = STEP_WORK.index("active"), STEP_WORK.index("spikes")
HOPS_X, HOPS_Y = STEP_WORK.index("hops_x"), STEP_WORK.index("hops_y")
LANES64 = np.uint64(LANES)


@lean
def follow(busy: np.ndarray, was: np.ndarray, core: np.ndarray, number: np.ndarray) -> None:
    """Keep the number of busy neurons of each core, given who was busy before; brings `was` up to date.

    Cores may take turns from neuron to neuron, and most neurons do as they did: only changes are looked at.
    """
    whole = len(busy) // 64 * 64
    for first in range(0, whole, 64):
        bits = different_bytes(busy, was, first)
        while bits:
            k = np.uint64(first) + lowest_bit(bits)
            bits &= bits - np.uint64(1)
            number[core[k]] += np.int32(busy[k]) - np.int32(was[k])
            was[k] = busy[k]
    for k in range(np.uint64(whole), np.uint64(len(busy))):
        number[core[k]] += np.int32(busy[k]) - np.int32(was[k])
        was[k] = busy[k]


@lean
def add_axons(events: np.ndarray, low: int, p: int, axons: Axons, counters: np.ndarray) -> None:
    """Add the axons of spikes of population p, which begins at a place `low`, to the counters of all cores."""
    number, window = np.uint64(len(events)), axons.windows[p]
    start, rows, core = np.uint64(window[0]), np.uint64(window[1]), np.uint64(window[2])
    for k in range(rows):
        add_rows(counters, core + k * LANES64, axons.rows, start + k, rows, events, number)
    if rows == 0:
        for e in range(number):
            place = np.uint64(low + events[e])
            for row in range(np.uint64(axons.ptr[place]), np.uint64(axons.ptr[place + np.uint64(1)])):
                add_rows(counters, np.uint64(axons.core[row]), axons.rows, row, np.uint64(0), events, np.uint64(1))


@lean
def count_step(
    events: np.ndarray,
    found: np.ndarray,
    first: np.ndarray,
    feed: int,
    places: Places,
    work: np.ndarray,
    times: np.ndarray,
    effects: np.ndarray,
) -> None:
    """Add what the spikes of a step visit, cause and take to the counters of that step.

    events, found: of the step, as in :class:`snnc.simulator.state.State`. work, times: as in
    :class:`snnc.simulator.state.Scratch`. effects: of the step, as `step_work` of :func:`snnc.simulator.kernels.run`.
    """
    emitted, send, arrive = work[SPIKES], times[SEND], times[ARRIVE]
    for p in range(len(first) - 1):
        low = first[p]
        here = events[low : low + found[p]]
        if p != feed:
            effects[FIRED] += len(here)
            for e in range(np.uint64(len(here))):
                place = np.uint64(low) + np.uint64(here[e])
                core = np.uint64(places.core_at[place])
                emitted[core] += np.int32(1)
                arrive[core] = max(arrive[core], send[core] + places.arrive_ps[place])
                send[core] += places.send_ps[place]
        add_axons(here, low, p, places.causes, effects)
        add_axons(here, low, p, places.visits, work[SYNOPS])
        if len(places.takes.rows):
            add_axons(here, low, p, places.takes, work[RECEIVE])


@lean
def end_step(
    places: Places, work: np.ndarray, times: np.ndarray, effects: np.ndarray, totals: np.ndarray, lengths: np.ndarray
) -> None:
    """Write how long a step took by the counters of its cores, add these to those of the sample, and clear them.

    totals, lengths: of the sample and of the step, as in :func:`snnc.simulator.kernels.run`; the rest as in
    :func:`count_step`.
    """
    rules, units = places.rules, work[RECEIVE if len(places.takes.rows) else SYNOPS]
    busiest = last = most = 0
    for core in range(np.uint64(len(rules.update))):
        active, spikes = np.int64(work[ACTIVE, core]), np.int64(work[SPIKES, core])
        receive, send, arrive = units[core] * rules.unit, times[SEND, core], times[ARRIVE, core]
        update = rules.update[core] + active * rules.active + spikes * rules.spike
        # Where a serial core finds its messages at the beginning, it handles them before it sends.
        begin = update + (receive if rules.serial and rules.buffered else 0)
        last = max(last, begin + arrive if spikes else 0)
        busiest = max(busiest, receive + update + send if rules.serial else max(receive, update + send))
        most = max(most, receive)
        for kind in range(len(TOTALS)):
            totals[kind, core] += work[kind, core]
        for kind in range(len(WORK)):
            work[kind, core] = 0
        for kind in range(len(TIMES)):
            times[kind, core] = 0
    lengths[EARLIEST] = max(busiest, last) + rules.barrier
    # A message waits for each other message at most once on every link that this one takes; and with live ones, a core
    # begins to receive, whatever it has to do before, when the last of all has arrived.
    last += rules.link * (effects[HOPS_X] + effects[HOPS_Y])
    lengths[LATEST] = max(busiest, last if rules.buffered else last + most) + rules.barrier

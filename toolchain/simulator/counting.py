"""What the kernel counts of the work of a step, beside the work itself."""

from __future__ import annotations

import numpy as np

from snnc.jit import compiled
from snnc.simulator.axons import LANES, Axons
from snnc.simulator.instructions import add_causes, add_row
from snnc.simulator.tables import CAUSES, Places
from snnc.simulator.timing import ACTIVE, ARRIVE, RECEIVE, SEND, SPIKES, SYNOPS

EFFECTS = len(CAUSES)


@compiled
def follow(busy: np.ndarray, was: np.ndarray, core: np.ndarray, number: np.ndarray) -> None:
    """Keep the number of busy neurons of each core, given who was busy before; brings `was` up to date.

    Cores may take turns from neuron to neuron, and most neurons do as they did: only changes are looked at.
    """
    words = len(busy) // 8
    now, before = busy[: 8 * words].view(np.uint64), was[: 8 * words].view(np.uint64)
    for word in range(words):
        if now[word] != before[word]:
            for k in range(np.uint64(8 * word), np.uint64(8 * word + 8)):
                number[core[k]] += np.int32(busy[k]) - np.int32(was[k])
                was[k] = busy[k]
    for k in range(np.uint64(8 * words), np.uint64(len(busy))):
        number[core[k]] += np.int32(busy[k]) - np.int32(was[k])
        was[k] = busy[k]


@compiled
def add_axons(events: np.ndarray, low: int, p: int, axons: Axons, counters: np.ndarray) -> None:
    """Add the axons of spikes of population p, which begins at a place `low`, to the counters of all cores."""
    number, window = np.uint64(len(events)), axons.windows[p]
    start, rows, core = np.uint64(window[0]), np.uint64(window[1]), np.uint64(window[2])
    for k in range(rows):
        for e in range(number):
            add_row(counters, core + k * np.uint64(LANES), axons.rows, start + k + np.uint64(events[e]) * rows)
    if rows == 0:
        for e in range(number):
            place = np.uint64(low + events[e])
            for row in range(np.uint64(axons.ptr[place]), np.uint64(axons.ptr[place + np.uint64(1)])):
                add_row(counters, np.uint64(axons.core[row]), axons.rows, row)


@compiled
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
    """Add what the spikes of a step visit, cause and take to the counters of that step, and add these up over cores.

    events, found: of the step, as in :class:`snnc.simulator.state.State`. work, times, effects: of the step, as `work`,
    `times` and `step_work` of :func:`snnc.simulator.kernels.run`; of `work` the active updates are there already.
    """
    emitted, send, arrive = work[SPIKES], times[SEND], times[ARRIVE]
    for p in range(len(first) - 1):
        low = first[p]
        here = events[low : low + found[p]]
        if p != feed:
            for event in here:
                place = low + event
                core = places.core_at[place]
                emitted[core] += np.int32(1)
                arrive[core] = max(arrive[core], send[core] + places.arrive_ps[place])
                send[core] += places.send_ps[place]
        for event in here:
            add_causes(effects, np.uint64(0), places.causes, np.uint64(low + event))
        add_axons(here, low, p, places.visits, work[SYNOPS])
        if len(places.takes.rows):
            add_axons(here, low, p, places.takes, work[RECEIVE])
    for column, kind in enumerate((SYNOPS, ACTIVE, SPIKES)):
        total = 0
        for core in range(np.uint64(times.shape[1])):
            total += work[kind, core]
        effects[EFFECTS + column] += total

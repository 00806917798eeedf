"""What the kernel counts of the work of a step, beside the work itself."""

from __future__ import annotations

import numpy as np

from snnc.jit import compiled
from snnc.simulator.axons import LANES
from snnc.simulator.lanes import add_axons, add_causes
from snnc.simulator.tables import CAUSES

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
def count_step(
    events: np.ndarray,
    found: np.ndarray,
    now: int,
    first: np.ndarray,
    feed: int,
    alone: np.ndarray,
    core_at: np.ndarray,
    causes: np.ndarray,
    windows: np.ndarray,
    axon_ptr: np.ndarray,
    axon_core: np.ndarray,
    axon_synapses: np.ndarray,
    work: np.ndarray,
    core_work: np.ndarray,
    step_work: np.ndarray,
) -> None:
    """Add what the spikes of a step visit and cause to `work` and `step_work`; add `work` up over steps and over cores.

    events, found: as the kernel keeps them, of which row `now` holds. work: (3, cores in whole LANES), step_work:
    (columns,), of the step; core_work: (3, cores), of the sample. Others as for :func:`snnc.simulator.kernels.run`.
    """
    synapses, emitted = work[0], work[2]
    for p in range(len(first) - 1):
        low, number = first[p], np.uint64(found[now, p])
        if alone[p] >= 0:
            emitted[alone[p]] += np.int32(number)
        elif p != feed:
            for e in range(number):
                emitted[core_at[low + events[now, low + e]]] += np.int32(1)
        for e in range(number):
            add_causes(step_work, np.uint64(0), causes, np.uint64(low + events[now, low + e]))
        start, rows, core = np.uint64(windows[p, 0]), np.uint64(windows[p, 1]), np.uint64(windows[p, 2])
        for k in range(rows):
            lanes, origin = core + k * np.uint64(LANES), start + k
            for e in range(number):
                add_axons(synapses, lanes, axon_synapses, origin + np.uint64(events[now, low + e]) * rows)
        if rows == 0:
            for e in range(number):
                place = np.uint64(low + events[now, low + e])
                for row in range(np.uint64(axon_ptr[place]), np.uint64(axon_ptr[place + np.uint64(1)])):
                    add_axons(synapses, np.uint64(axon_core[row]), axon_synapses, row)
    for kind in range(3):
        total = 0
        for k in range(np.uint64(core_work.shape[1])):
            total += work[kind, k]
            core_work[kind, k] += work[kind, k]
        step_work[EFFECTS + kind] += total

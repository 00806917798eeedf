"""What the kernel counts of the work of a step, beside the work itself."""

from __future__ import annotations

import numpy as np

from snnc.jit import compiled
from snnc.simulator.axons import LANES
from snnc.simulator.lanes import add_axons, add_causes


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
def count_spikes(
    events: np.ndarray,
    low: int,
    window: np.ndarray,
    axon_ptr: np.ndarray,
    axon_core: np.ndarray,
    axon_synapses: np.ndarray,
    causes: np.ndarray,
    synapses: np.ndarray,
    effects: np.ndarray,
) -> None:
    """Add what spikes of the population that begins at a place `low` visit and cause to `synapses` and `effects`."""
    number = np.uint64(len(events))
    for e in range(number):
        add_causes(effects, np.uint64(0), causes, np.uint64(low + events[e]))
    start, rows, core = np.uint64(window[0]), np.uint64(window[1]), np.uint64(window[2])
    for k in range(rows):
        for e in range(number):
            add_axons(synapses, core + k * np.uint64(LANES), axon_synapses, start + k + np.uint64(events[e]) * rows)
    if rows == 0:
        for e in range(number):
            place = np.uint64(low + events[e])
            for row in range(np.uint64(axon_ptr[place]), np.uint64(axon_ptr[place + np.uint64(1)])):
                add_axons(synapses, np.uint64(axon_core[row]), axon_synapses, row)

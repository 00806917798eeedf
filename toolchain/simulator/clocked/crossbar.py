"""One core with a crossbar, whose controller visits its neurons one after the other: what it is, and a run of it.

Events come in over AER, wait in a queue, and are worked off one by one; spikes go out over AER and, if the loop is
closed, into the queue. After tinyODIN (github.com/ChFrenkel/tinyODIN; Frenkel et al., IEEE TBioCAS 13(1), 2019), whose
RTL this reproduces cycle by cycle. What happens in a cycle is in :mod:`.crossbar_rules`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnc.errors import InputError
from snnc.simulator.clocked import crossbar_rules as rules
from snnc.simulator.clocked import log
from snnc.simulator.clocked.agenda import NEVER, idle, schedule
from snnc.simulator.clocked.checks import expect
from snnc.simulator.clocked.fifo import empty


@dataclass(frozen=True, eq=False)
class Crossbar:
    """A chip and what is loaded into it.

    weights: int64 (neurons, neurons), from row to column, 4 bits with sign. leak, threshold, potential: int64
    (neurons,); disabled: bool (neurons,). last: neurons up to this one are visited. open_loop: spikes do not come
    back. depth: events that wait.
    """

    weights: np.ndarray
    leak: np.ndarray
    threshold: np.ndarray
    potential: np.ndarray
    disabled: np.ndarray
    last: int
    open_loop: bool
    depth: int = 128

    def __post_init__(self) -> None:
        """Checked, for the rules trust all numbers. InputError where one does not fit."""
        n = len(self.leak)
        if not 1 <= n <= rules.MOST:
            raise InputError(f"the crossbar has {n} neurons; 1 to {rules.MOST} have addresses")
        expect("disabled", self.disabled, (n,), 0, 1)
        expect("leak", self.leak, (n,), 0, rules.MOST_LEAK)
        expect("threshold", self.threshold, (n,), 0, rules.MOST_THRESHOLD)
        expect("weights", self.weights, (n, n), -8, 7)
        expect("potential", self.potential, (n,), rules.LOWEST, rules.HIGHEST)
        expect("last", np.array(self.last), (), 0, n - 1)
        expect("depth", np.array(self.depth), (), 1)


@dataclass(frozen=True, eq=False)
class Trace:
    """What a crossbar did; cycles count from the first request.

    spikes: int64 (spikes, 2), cycle of the request, neuron. acknowledged: int64 (events,), cycle. done: cycle at which
    all is at rest. potential: int64 (neurons,). Accesses to memory: synapse_reads, neuron_reads, neuron_writes. lost:
    spikes that did not come back, for the queue was full. resumed: int64 (events that waited,), cycle of the request.
    """

    spikes: np.ndarray
    acknowledged: np.ndarray
    done: int
    potential: np.ndarray
    synapse_reads: int
    neuron_reads: int
    neuron_writes: int
    lost: int
    resumed: np.ndarray


# Cycles after which a loop that never comes to rest is given up, unless asked for more: seconds of simulation.
LONGEST = 1 << 28


def run(chip: Crossbar, events: np.ndarray, longest: int = LONGEST, waits: np.ndarray | None = None) -> Trace:
    """Send events to a crossbar, each as soon as the one before has been acknowledged. Deterministic.

    events: int64 (events,), of 10 bits: see :func:`snnc.simulator.clocked.crossbar_rules.kind`. waits: bool (events,),
    of those that are sent no sooner than all is at rest; None = no event waits. InputError where one
    is for a neuron that is not there, and where the chip is not at rest after the `longest` time in cycles: spikes
    that come back may excite one another for ever.
    """
    expect("events", events, (len(events),), 0, 0x3FF)
    if waits is None:
        waits = np.zeros(len(events), np.bool_)
    expect("waits", waits, (len(events),), 0, 1)
    neuron = np.where(events >= 0x200, events & 15, events & 0xFF)
    lacking = np.flatnonzero((neuron >= len(chip.leak)) & (events != 0x1FF))
    if len(lacking):
        raise InputError(f"event {lacking[0]} is for neuron {neuron[lacking[0]]} of {len(chip.leak)}")
    core = rules.Core(
        weights=np.ascontiguousarray(chip.weights, np.int64),
        leak=np.ascontiguousarray(chip.leak, np.int64),
        threshold=np.ascontiguousarray(chip.threshold, np.int64),
        disabled=np.ascontiguousarray(chip.disabled, np.bool_),
        setup=np.array([chip.last, chip.open_loop], np.int64),
    )
    agenda = idle(rules.UNITS)
    if len(events):
        schedule(agenda, rules.HOST, 0)
    state = rules.State(
        agenda=agenda,
        queue=empty(np.array([chip.depth])),
        events=np.ascontiguousarray(events, np.int64),
        waits=np.ascontiguousarray(waits, np.bool_),
        potential=np.array(chip.potential, np.int64),
        now=np.array([0, rules.NOTHING, 0, 0]),
        counts=np.zeros(4, np.int64),
        spikes=log.blank(2),
        acknowledged=log.blank(1),
    )
    resumed = [0] if len(events) and waits[0] else []
    while True:
        if not rules.clock(core, state, 2 * longest):
            state = state._replace(
                spikes=log.enlarged(state.spikes, len(chip.leak)), acknowledged=log.enlarged(state.acknowledged)
            )
        elif state.now[rules.NEXT] < len(events) and np.all(state.agenda.due == NEVER):  # the next event has waited
            resumed.append(int(state.now[rules.DONE]))
            schedule(agenda, rules.HOST, 2 * resumed[-1])
        else:
            break
    if np.any(state.agenda.due != NEVER):
        raise InputError(
            f"the crossbar is not at rest after {longest:,} cycles",
            fix="open the loop, raise thresholds, or allow more cycles",
        )
    reads, visits, writes, lost = state.counts.tolist()
    return Trace(
        spikes=log.rows(state.spikes),
        acknowledged=log.rows(state.acknowledged)[:, 0],
        done=int(state.now[rules.DONE]),
        potential=state.potential,
        synapse_reads=reads,
        neuron_reads=visits,
        neuron_writes=writes,
        lost=lost,
        resumed=np.array(resumed, np.int64),
    )

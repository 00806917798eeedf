"""What the units of a crossbar do on a clock edge: the rules of :mod:`.crossbar`.

Units: the host, which sends events over a four-phase handshake, and the controller. The controller's decisions depend
on nothing that comes while it works, but for its own spikes: so it wakes only when it is free to choose what is
next, and a visit of all neurons is worked off at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.jit import lean
from snnc.simulator.clocked.agenda import NEVER, Agenda, earliest, schedule
from snnc.simulator.clocked.fifo import Fifos, full, pop, push
from snnc.simulator.clocked.log import Log, added, crowded

UNITS = 2
HOST, CONTROLLER = range(UNITS)
# Cycles until a signal from outside is seen; from there to the acknowledgement of an event that only has to wait;
# from an acknowledgement to the controller being free, and to the next request.
SEEN, QUEUED, RELEASED, AGAIN = 2, 2, 3, 3
# Cycles of a neuron; of taking a spike from the queue; of a spike's handshake; until the host is at rest again.
VISIT, TAKEN, HANDSHAKE, REST = 2, 1, 6, 4
# Weights that lie in a word of the memory, which is read while the first of them is used.
WORD = 8
# Addresses of 8 bits.
MOST = 256
# Leaks of 7 bits, thresholds of 12.
MOST_LEAK, MOST_THRESHOLD = (1 << 7) - 1, (1 << 12) - 1
# Membranes saturate at numbers of 12 bits with sign.
LOWEST, HIGHEST = -(1 << 11), (1 << 11) - 1
# Kinds of events.
SPIKE, LEAK_ALL, LEAK_ONE, VIRTUAL = range(4)
NOTHING = -1
# Places in `State.now` and `State.counts`.
NEXT, REQUEST, FREE, DONE = range(4)
SYNAPSE_READS, NEURON_READS, NEURON_WRITES, LOST = range(4)


class Core(NamedTuple):
    """What never changes. weights: int64 (N, N); leak, threshold: (N,); disabled: bool (N,). setup: last, open_loop."""

    weights: np.ndarray
    leak: np.ndarray
    threshold: np.ndarray
    disabled: np.ndarray
    setup: np.ndarray


class State(NamedTuple):
    """What changes, and what the host does. waits: whether it sends an event only when all is at rest.

    now: the event that the host sends next; cycle of its request, NOTHING if there is none; cycle from which the
    output is free; cycle at which all that happened so far is over. counts: accesses, lost spikes.
    """

    agenda: Agenda
    queue: Fifos
    events: np.ndarray
    waits: np.ndarray
    potential: np.ndarray
    now: np.ndarray
    counts: np.ndarray
    spikes: Log
    acknowledged: Log


@lean
def clock(c: Core, s: State, end: int) -> bool:
    """Go on until nothing happens any more, or to an edge. False: some log is full; call again with more room."""
    while True:
        # A visit notes a spike of each neuron at most.
        if crowded(s.acknowledged) or crowded(s.spikes, len(c.leak)):
            return False
        edge, unit = earliest(s.agenda, end)
        if edge == NEVER:
            return True
        if unit == HOST:
            s.now[REQUEST] = edge // 2
            if s.agenda.due[CONTROLLER] == NEVER:  # else it is busy, and looks when it is free
                schedule(s.agenda, CONTROLLER, edge + 2 * SEEN)
        else:
            free = _chooses(c, s, edge // 2)
            s.now[DONE] = max(s.now[DONE], free, s.now[FREE])
            if free > edge // 2:
                schedule(s.agenda, CONTROLLER, 2 * free)
            elif s.now[REQUEST] != NOTHING:
                schedule(s.agenda, CONTROLLER, 2 * (s.now[REQUEST] + SEEN))


@lean
def kind(event: int) -> int:
    """What an event of 10 bits asks for.

    Below 0x100, a spike of that neuron; 0x1ff, a leak of all neurons; 0x100 + n, of neuron n; 0x200 + (w << 4) + n, a
    spike of weight w, 4 bits with sign, to neuron n.
    """
    if event >= 0x200:
        return VIRTUAL
    if event < 0x100:
        return SPIKE
    return LEAK_ALL if event == 0x1FF else LEAK_ONE


@lean
def _chooses(c: Core, s: State, cycle: int) -> int:
    """What a free controller does: a request goes first unless the queue is full. Returns when it is free again."""
    requested = s.now[REQUEST] != NOTHING and cycle >= s.now[REQUEST] + SEEN
    if requested and not full(s.queue, 0):
        return _takes_in(c, s, cycle)
    if s.queue.held[0] > 0:
        event = s.queue.words[s.queue.first[0] + s.queue.head[0]]
        if kind(event) == VIRTUAL:
            weight = event >> 4 & 15
            v = _added(s.potential[event & 15], weight - 16 if weight > 7 else weight)
            after = max(_visit(c, s, event & 15, cycle + 1, v, False), s.now[FREE])
        else:
            after = cycle + 1
            for neuron in range(c.setup[0] + 1):
                v = _added(s.potential[neuron], c.weights[event, neuron])
                after = _visit(c, s, neuron, after, v, True)
            after = max(after, s.now[FREE]) + TAKEN
        pop(s.queue, 0)
        return int(after)
    return cycle  # until the host asks


@lean
def _takes_in(c: Core, s: State, cycle: int) -> int:
    """Queue an event, or work it off at once if it is a leak."""
    event = s.events[s.now[NEXT]]
    what = kind(event)
    if what in (LEAK_ALL, LEAK_ONE):
        acknowledged = cycle + 1
        first = 0 if what == LEAK_ALL else event & 0xFF
        last = c.setup[0] if what == LEAK_ALL else first
        for neuron in range(first, last + 1):
            v = _leaked(s.potential[neuron], c.leak[neuron])
            acknowledged = _visit(c, s, neuron, acknowledged, v, False)
    else:
        push(s.queue, 0, event)
        acknowledged = cycle + QUEUED
    s.acknowledged.rows[added(s.acknowledged), 0] = acknowledged
    s.now[NEXT] += 1
    s.now[REQUEST] = NOTHING
    s.now[DONE] = max(s.now[DONE], acknowledged + REST)
    if s.now[NEXT] < len(s.events) and not s.waits[s.now[NEXT]]:
        schedule(s.agenda, HOST, 2 * (acknowledged + AGAIN))
    return int(max(acknowledged + RELEASED, s.now[FREE]))


@lean
def _added(v: int, weight: int) -> int:
    """A membrane after a spike."""
    return int(min(HIGHEST, max(LOWEST, v + weight)))


@lean
def _leaked(v: int, leak: int) -> int:
    """A membrane after a leak, which is towards zero."""
    return int(max(0, v - leak) if v > 0 else min(0, v + leak))


@lean
def _visit(c: Core, s: State, neuron: int, cycle: int, v: int, stored: bool) -> int:
    """Read a neuron at a cycle, or as soon as the output is free, and write what it comes to. Returns the cycle after.

    v: membrane that it comes to if it does not spike. stored: its weight is read from memory.
    """
    waits = max(0, s.now[FREE] - cycle)
    s.counts[NEURON_READS] += waits + 1
    s.counts[NEURON_WRITES] += 1
    if stored and neuron % WORD == 0:
        s.counts[SYNAPSE_READS] += waits + VISIT
    after = cycle + waits + VISIT
    if v >= 0 and v >= c.threshold[neuron]:
        v = 0
        if not c.disabled[neuron]:
            s.spikes.rows[added(s.spikes)] = after, neuron
            s.now[FREE] = after + HANDSHAKE
            if not c.setup[1]:
                if full(s.queue, 0):
                    s.counts[LOST] += 1
                else:
                    push(s.queue, 0, neuron)
    s.potential[neuron] = v
    return int(after)

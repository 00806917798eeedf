"""What the units of a grid do on a clock edge: the rules of :mod:`.grid`.

Units: the tick, the host, the cores, the merges of the routers, in this order on the same edge. Queues and cores
change on rising edges, merges decide on the falling edge that follows. A core's pass over its neurons takes a fixed
time but for the waits of neurons that spike while a queue is full; so a core wakes only for neurons that
spike, and others are brought up to date when they are asked for.

Potentials and all parameters are numbers of 9 bits with sign; sums wrap around.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnc.jit import lean
from snnc.simulator.clocked.agenda import NEVER, Agenda, earliest, schedule, wake
from snnc.simulator.clocked.fifo import Fifos, full, pop, push
from snnc.simulator.clocked.log import Log, added, crowded

# Fields of a packet, from the low end: delay, axon, dy, dx. Numbers with sign have so many bits.
WIDTH, DELAY = 9, 4
SLOTS = 16
# Merges of a router, and its queues: from the core; behind each merge.
MERGES = 5
EAST, WEST, NORTH, SOUTH, IN = range(MERGES)
QUEUES = 12
(
    Q_FROM_CORE_EAST,
    Q_FROM_CORE_WEST,
    Q_EAST,
    Q_EAST_NORTH,
    Q_EAST_SOUTH,
    Q_WEST,
    Q_WEST_NORTH,
    Q_WEST_SOUTH,
    Q_NORTH,
    Q_NORTH_IN,
    Q_SOUTH,
    Q_SOUTH_IN,
) = range(QUEUES)
TICK, HOST, CORES = range(3)
# What a core waits for: a tick; its slot; the next neuron that spikes, or the end; room for that spike; to put the
# spike into a queue; to erase its slot.
IDLE, BEGIN, PASS, ROOM, SEND, ERASE = range(6)
# What a merge does: nothing; it has asked for a word; it has one; it has said where that goes.
REST, ASK, HOLD, SEND_ON = range(4)


class Chip(NamedTuple):
    """What never changes. size: axons A, neurons N, bits of an axon's number, the port, cores C.

    by_axon: int16 (C, A, N), what a spike adds. leak, positive, negative, reset, packet: int64 (C, N). subtract,
    westward (the local queue that spikes go to): bool (C, N). sources, outputs: int64 (merges, 3), queues; reader,
    writer: int64 (queues,), merges.
    """

    size: np.ndarray
    by_axon: np.ndarray
    leak: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    reset: np.ndarray
    subtract: np.ndarray
    packet: np.ndarray
    westward: np.ndarray
    sources: np.ndarray
    outputs: np.ndarray
    reader: np.ndarray
    writer: np.ndarray


class State(NamedTuple):
    """What changes. next: int64 (2,), the tick and the host's packet that come next.

    Of cores: doing, (C,); slot, (C,), the current one; waiting: bool (C, 16, A), spikes by slot; base: (C,), cycle at
    which neuron 0 tested axon 0, later by all waits; at: (C,), first neuron whose potential is not up to date; drive:
    (C, N), what the spikes of this pass add; potential: (C, N); spiking: (C,), the neuron that spikes next, N = none;
    erased: (C,), the cycle of the last erasure.
    Of merges: does, word (it holds), to (the queue it goes to): int64 (merges,). The rest is noted in logs.
    """

    agenda: Agenda
    queues: Fifos
    ticks: np.ndarray
    packets: np.ndarray
    next: np.ndarray
    doing: np.ndarray
    slot: np.ndarray
    waiting: np.ndarray
    base: np.ndarray
    at: np.ndarray
    drive: np.ndarray
    potential: np.ndarray
    spiking: np.ndarray
    erased: np.ndarray
    does: np.ndarray
    word: np.ndarray
    to: np.ndarray
    spikes: Log
    hops: Log
    arrivals: Log
    outputs: Log
    reads: Log
    passes: Log
    refused: Log
    ended: Log


def units(cores: int) -> int:
    """How many units a grid has."""
    return CORES + cores * (1 + MERGES)


@lean
def clock(c: Chip, s: State, end: int) -> bool:
    """Go on to an edge. False: some log is full; call again once it has more room."""
    cores = c.size[4]
    while True:
        if _crowded(s):
            return False
        edge, unit = earliest(s.agenda, end)
        if edge == NEVER:
            return True
        if unit == TICK:
            _tick(c, s, edge)
        elif unit == HOST:
            _offer(c, s, edge)
        elif unit < CORES + cores:
            _core(c, s, unit - CORES, edge)
        elif edge % 2 == 0:
            _merge_rises(c, s, unit - CORES - cores, edge)
        else:
            _merge_falls(c, s, unit - CORES - cores, edge)


@lean
def stop(c: Chip, s: State, end: int) -> None:
    """Bring the potentials of unfinished passes up to date."""
    for core in range(c.size[4]):
        if s.doing[core] in (PASS, ROOM, SEND):
            _settle(c, s, core, end // 2 - 1)


@lean
def _crowded(s: State) -> bool:
    return (
        crowded(s.spikes)
        or crowded(s.hops)
        or crowded(s.arrivals)
        or crowded(s.outputs)
        or crowded(s.reads)
        or crowded(s.passes)
        or crowded(s.refused, len(s.doing))  # a tick may be refused by all
        or crowded(s.ended)
    )


@lean
def _tick(c: Chip, s: State, edge: int) -> None:
    s.next[0] += 1
    if s.next[0] < len(s.ticks):
        schedule(s.agenda, TICK, 2 * s.ticks[s.next[0]])
    for core in range(c.size[4]):
        if core == c.size[3]:
            continue
        if s.doing[core] == ERASE and s.agenda.due[CORES + core] == edge:
            _core(c, s, core, edge)
        if s.doing[core] == IDLE:
            s.doing[core] = BEGIN
            schedule(s.agenda, CORES + core, edge + 3)  # the falling edge of the next cycle
        else:
            s.refused.rows[added(s.refused)] = edge // 2, core


@lean
def _offer(c: Chip, s: State, edge: int) -> None:
    """The host's packets of this cycle join its queue."""
    queue = len(s.queues.depth) - 1
    while s.next[1] < len(s.packets) and 2 * s.packets[s.next[1], 0] <= edge:
        push(s.queues, queue, s.packets[s.next[1], 1])
        s.next[1] += 1
    if s.next[1] < len(s.packets):
        schedule(s.agenda, HOST, 2 * s.packets[s.next[1], 0])
    _pushed(c, s, queue, edge)


@lean
def _core(c: Chip, s: State, core: int, edge: int) -> None:
    neurons = c.size[1]
    doing = s.doing[core]
    if doing == BEGIN:
        s.slot[core] = (s.slot[core] + 1) % SLOTS
        s.base[core], s.at[core] = edge // 2 + 1, 0
        s.drive[core] = 0
        for axon in range(c.size[0]):
            if s.waiting[core, s.slot[core], axon]:
                for n in range(neurons):
                    s.drive[core, n] += c.by_axon[core, axon, n]
        _next(c, s, core)
    elif doing in (PASS, ROOM):
        neuron = s.spiking[core]
        if neuron == neurons:
            _settle(c, s, core, edge // 2 - 1)
            s.passes.rows[added(s.passes)] = edge // 2, core
            row = added(s.ended)
            for n in range(neurons):
                s.ended.rows[row, n] = s.potential[core, n]
            s.doing[core], s.erased[core] = ERASE, edge // 2 + 1
            schedule(s.agenda, CORES + core, edge + 2)
            return
        cycle = edge // 2
        mine = core * QUEUES
        if full(s.queues, mine + Q_FROM_CORE_EAST) or full(s.queues, mine + Q_FROM_CORE_WEST):
            s.doing[core] = ROOM  # until a queue is read
            return
        s.base[core] += cycle - _tested(c, s, core, neuron)
        s.doing[core] = SEND
        _settle(c, s, core, cycle)
        schedule(s.agenda, CORES + core, edge + 2)
    elif doing == SEND:
        neuron = s.spiking[core]
        queue = core * QUEUES + (Q_FROM_CORE_WEST if c.westward[core, neuron] else Q_FROM_CORE_EAST)
        push(s.queues, queue, c.packet[core, neuron])
        s.spikes.rows[added(s.spikes)] = edge // 2, core, neuron
        _pushed(c, s, queue, edge)
        _next(c, s, core)
    elif doing == ERASE:
        s.waiting[core, s.slot[core]] = False
        s.doing[core] = IDLE


@lean
def _tested(c: Chip, s: State, core: int, neuron: int) -> int:
    """Cycle at which a neuron's potential is compared with its thresholds."""
    axons = c.size[0]
    return int(s.base[core] + (axons + 2) * neuron + axons)


@lean
def _wrapped(v: int) -> int:
    """As a number of 9 bits with sign."""
    half = 1 << (WIDTH - 1)
    return ((v + half) & (2 * half - 1)) - half


@lean
def _next(c: Chip, s: State, core: int) -> None:
    """Find the neuron that spikes next, and wake for it, or for the end of the pass."""
    neurons = c.size[1]
    neuron = s.at[core]
    while neuron < neurons:
        v = _wrapped(s.potential[core, neuron] + s.drive[core, neuron] + c.leak[core, neuron])
        if v >= c.positive[core, neuron]:
            break
        neuron += 1
    s.spiking[core], s.doing[core] = neuron, PASS
    cycle = _tested(c, s, core, neuron) if neuron < neurons else s.base[core] + (c.size[0] + 2) * neurons
    schedule(s.agenda, CORES + core, 2 * cycle)


@lean
def _settle(c: Chip, s: State, core: int, cycle: int) -> None:
    """Bring the potentials of neurons that have been compared with their thresholds by a cycle up to date."""
    while s.at[core] < c.size[1] and _tested(c, s, core, s.at[core]) <= cycle:
        n = s.at[core]
        if s.doing[core] == ROOM and n == s.spiking[core]:
            return
        v = _wrapped(s.potential[core, n] + s.drive[core, n] + c.leak[core, n])
        if v >= c.positive[core, n]:
            v = v - c.positive[core, n] if c.subtract[core, n] else c.reset[core, n]
        elif v < c.negative[core, n]:
            v = v - c.negative[core, n] if c.subtract[core, n] else -c.reset[core, n]
        s.potential[core, n] = _wrapped(v)
        s.at[core] += 1


@lean
def _pushed(c: Chip, s: State, queue: int, edge: int) -> None:
    """Tell the reader of a queue."""
    reader = c.reader[queue]
    if reader >= 0:
        wake(s.agenda, CORES + c.size[4] + reader, edge + 1)


@lean
def _merge_rises(c: Chip, s: State, merge: int, edge: int) -> None:
    core, which = merge // MERGES, merge % MERGES
    if s.does[merge] == ASK:
        queue = s.to[merge]
        s.word[merge] = pop(s.queues, queue)
        s.does[merge] = HOLD
        if queue == len(s.queues.depth) - 1:
            s.reads.rows[added(s.reads), 0] = edge // 2
        elif c.writer[queue] >= 0:
            wake(s.agenda, CORES + c.size[4] + c.writer[queue], edge + 1)
        elif s.doing[core] == ROOM:  # the core sees what was before the edge
            wake(s.agenda, CORES + core, edge + 2)
    else:
        s.does[merge] = REST
        if which == IN:
            _arrive(c, s, core, s.word[merge], edge)
        else:
            queue, word = _routed(c, merge, s.word[merge])
            s.hops.rows[added(s.hops)] = edge // 2, core, which, s.word[merge]
            push(s.queues, queue, word)
            _pushed(c, s, queue, edge)
    wake(s.agenda, CORES + c.size[4] + merge, edge + 1)


@lean
def _merge_falls(c: Chip, s: State, merge: int, edge: int) -> None:
    for k in range(3):
        queue = c.outputs[merge, k]
        if queue >= 0 and full(s.queues, queue):
            return  # it holds back, whatever it was going to do
    unit = CORES + c.size[4] + merge
    if s.does[merge] == HOLD:
        s.does[merge] = SEND_ON
        schedule(s.agenda, unit, edge + 1)
        return
    for k in range(3):
        queue = c.sources[merge, k]
        if queue >= 0 and s.queues.held[queue] > 0:
            s.does[merge], s.to[merge] = ASK, queue
            schedule(s.agenda, unit, edge + 1)
            return


@lean
def _routed(c: Chip, merge: int, word: int) -> tuple[int, int]:
    """The queue that a packet goes to, and the packet as it goes there."""
    which = merge % MERGES
    field, low = (1 << WIDTH) - 1, c.size[2] + DELAY
    shift = low + WIDTH if which in (EAST, WEST) else low
    distance = _wrapped(word >> shift & field)
    rest = word & ((1 << shift) - 1)
    if distance != 0:
        step = -1 if which in (EAST, NORTH) else 1
        return int(c.outputs[merge, 0]), (((distance + step) & field) << shift) | rest
    if which in (NORTH, SOUTH):
        return int(c.outputs[merge, 1]), rest
    return int(c.outputs[merge, 2 if _wrapped(rest >> low & field) < 0 else 1]), rest


@lean
def _arrive(c: Chip, s: State, core: int, word: int, edge: int) -> None:
    """A packet reaches the scheduler of a core, or the host."""
    cycle = edge // 2
    delay, axon = word & ((1 << DELAY) - 1), word >> DELAY & ((1 << c.size[2]) - 1)
    if core == c.size[3]:
        s.outputs.rows[added(s.outputs)] = cycle, axon, delay
        return
    slot = (s.slot[core] + 1 + delay) % SLOTS
    lost = s.erased[core] == cycle
    s.arrivals.rows[added(s.arrivals)] = cycle, core, axon, delay, slot, int(lost)
    if lost or s.waiting[core, slot, axon]:
        return
    s.waiting[core, slot, axon] = True
    if slot == s.slot[core] and s.doing[core] in (PASS, ROOM, SEND):
        # Tests of later cycles see it.
        _settle(c, s, core, cycle)
        if s.doing[core] == ROOM:  # all tests of the neuron that waits are over, and no others'
            first = s.spiking[core] + 1
        else:
            first = s.at[core]
            while first < c.size[1] and _tested(c, s, core, first) - c.size[0] + axon <= cycle:
                first += 1
        for n in range(first, c.size[1]):
            s.drive[core, n] += c.by_axon[core, axon, n]
        if s.doing[core] == PASS:
            _next(c, s, core)

"""A grid of cores that work in ticks, on a mesh of routers with finite queues: what it is, and a run of it.

A core has axons in, a crossbar, and neurons that it visits one after the other once a tick comes; spikes wait in a
scheduler of 16 slots for theirs. A router sends packets first along x, then along y, through merges that hold
back when a queue behind them is full. After RANC (Mack et al., IEEE TCAD 40(11), 2021; github.com/UA-RCL/RANC), whose
RTL this reproduces clock edge by clock edge. What happens in a cycle is in :mod:`.grid_rules`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnc.errors import InputError
from snnc.simulator.clocked import grid_rules as rules
from snnc.simulator.clocked import log
from snnc.simulator.clocked.agenda import idle, schedule
from snnc.simulator.clocked.checks import expect
from snnc.simulator.clocked.fifo import empty


@dataclass(frozen=True, eq=False)
class Grid:
    """A chip and what is loaded into it. Cores C = columns x rows, the one at (x, y) is number x + y * columns.

    port: the core that is none: its router hands packets to the host. depth: words of each queue of a router.
    synapses: bool (C, N, A). axon_type: (C, A), 0 to 3, which weight of a neuron counts. weights: (C, N, 4). leak,
    positive, negative (thresholds), reset, potential: (C, N), 9 bits with sign. subtract: bool (C, N), whether a
    threshold that is crossed is subtracted; else the potential is reset. dx, dy: (C, N), where spikes go to, in
    cores; axon, delay: (C, N), where they arrive and in how many ticks, 0 to 15.
    """

    columns: int
    rows: int
    port: int
    depth: int
    synapses: np.ndarray
    axon_type: np.ndarray
    weights: np.ndarray
    leak: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    reset: np.ndarray
    subtract: np.ndarray
    potential: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    axon: np.ndarray
    delay: np.ndarray

    def __post_init__(self) -> None:
        """Checked, for the rules trust all numbers. InputError where one does not fit."""
        expect("columns, rows and depth", np.array([self.columns, self.rows, self.depth]), (3,), 1)
        if self.synapses.ndim != 3 or self.synapses.dtype != np.bool_:
            raise InputError("synapses must be bool of the shape (cores, neurons, axons)")
        cores, neurons, axons = self.synapses.shape
        if cores != self.columns * self.rows or min(neurons, axons) < 1:
            raise InputError(f"synapses has {self.synapses.shape} for {self.columns} x {self.rows} cores")
        half = 1 << (rules.WIDTH - 1)
        expect("port", np.array(self.port), (), 0, cores - 1)
        expect("axon_type", self.axon_type, (cores, axons), 0, 3)
        expect("weights", self.weights, (cores, neurons, 4), -half, half - 1)
        for name in ("leak", "positive", "negative", "reset", "potential", "dx", "dy"):
            expect(name, getattr(self, name), (cores, neurons), -half, half - 1)
        expect("subtract", self.subtract, (cores, neurons))
        expect("axon", self.axon, (cores, neurons), 0, (1 << int(axons - 1).bit_length()) - 1)
        expect("delay", self.delay, (cores, neurons), 0, rules.SLOTS - 1)


@dataclass(frozen=True, eq=False)
class Trace:
    """What a grid did, each int64 (events, columns), in the order of time; cycles count from 0.

    spikes: cycle, core, neuron. hops: cycle, core, direction (0 east, 1 west, 2 north, 3 south), packet, as it
    enters. arrivals: cycle, core, axon, delay, slot, lost. outputs: cycle, axon, delay. reads: cycle at which the
    host's packets were taken. passes: cycle, core, at the end of each. refused: cycle, core of ticks that came
    too early. potentials: (passes, C, N) after each pass, :data:`UNFINISHED` where a core did not end it; final:
    (C, N).
    """

    spikes: np.ndarray
    hops: np.ndarray
    arrivals: np.ndarray
    outputs: np.ndarray
    reads: np.ndarray
    passes: np.ndarray
    refused: np.ndarray
    potentials: np.ndarray
    final: np.ndarray


UNFINISHED = -999
# Cycles far beyond any run, whose edges still have numbers.
LATEST = 1 << 40


def run(grid: Grid, ticks: np.ndarray, packets: np.ndarray, end: int) -> Trace:
    """Clock a grid for `end` cycles.

    ticks: ascending cycles at which the tick input is high. packets: int64 (packets, 2), cycle at which the host
    offers it to core 0 from the west, and the packet. Deterministic. InputError where they are not in order.
    """
    expect("ticks", ticks, (len(ticks),), 0, LATEST)
    expect("packets", packets, (len(packets), 2), 0, LATEST)
    if np.any(np.diff(ticks) <= 0) or np.any(np.diff(packets[:, 0]) < 0):
        raise InputError("ticks and packets must be in the order of time")
    if len(packets) and packets[:, 1].max() >> (
        2 * rules.WIDTH + rules.DELAY + (grid.synapses.shape[2] - 1).bit_length()
    ):
        raise InputError("a packet has more bits than its fields")
    chip, state = _chip(grid), _state(grid, ticks, packets)
    while not rules.clock(chip, state, 2 * end):
        state = state._replace(
            spikes=log.enlarged(state.spikes),
            hops=log.enlarged(state.hops),
            arrivals=log.enlarged(state.arrivals),
            outputs=log.enlarged(state.outputs),
            reads=log.enlarged(state.reads),
            passes=log.enlarged(state.passes),
            refused=log.enlarged(state.refused, len(state.doing)),
            ended=log.enlarged(state.ended),
        )
    rules.stop(chip, state, 2 * end)
    done, ended = log.rows(state.passes), log.rows(state.ended)
    cores, neurons = grid.potential.shape
    number = _counted(done[:, 1])
    potentials = np.full((int(number.max(initial=-1)) + 1, cores, neurons), UNFINISHED, np.int64)
    potentials[number, done[:, 1]] = ended[:, :neurons]
    return Trace(
        spikes=log.rows(state.spikes),
        hops=log.rows(state.hops),
        arrivals=log.rows(state.arrivals),
        outputs=log.rows(state.outputs),
        reads=log.rows(state.reads),
        passes=done,
        refused=log.rows(state.refused),
        potentials=potentials,
        final=state.potential,
    )


def _counted(labels: np.ndarray) -> np.ndarray:
    """How many of the same label come before each."""
    order = np.argsort(labels, kind="stable")
    ranked = labels[order]
    first = np.searchsorted(ranked, ranked)
    count = np.empty(len(labels), np.int64)
    count[order] = np.arange(len(labels)) - first
    return count


def _chip(grid: Grid) -> rules.Chip:
    cores, neurons, axons = grid.synapses.shape
    bits = int(axons - 1).bit_length()
    field = (1 << rules.WIDTH) - 1
    packet = (((grid.dx & field) << rules.WIDTH | grid.dy & field) << bits | grid.axon) << rules.DELAY | grid.delay
    weight = np.take_along_axis(grid.weights, np.broadcast_to(grid.axon_type[:, None, :], grid.synapses.shape), axis=2)
    by_axon = np.ascontiguousarray(np.where(grid.synapses, weight, 0).transpose(0, 2, 1)).astype(np.int16)
    sources, outputs = _wires(grid.columns, grid.rows)
    reader, writer = _ends(sources, outputs)

    def numbers(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array, np.int64)

    return rules.Chip(
        size=np.array([axons, neurons, bits, grid.port, cores]),
        by_axon=by_axon,
        leak=numbers(grid.leak),
        positive=numbers(grid.positive),
        negative=numbers(grid.negative),
        reset=numbers(grid.reset),
        subtract=np.ascontiguousarray(grid.subtract, np.bool_),
        packet=numbers(packet),
        westward=grid.dx < 0,
        sources=sources,
        outputs=outputs,
        reader=reader,
        writer=writer,
    )


def _wires(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Queues that each merge reads, by priority, and those that it writes, int64 (merges, 3); -1: there is none."""
    sources = np.full((columns * rows * rules.MERGES, 3), -1)
    outputs = np.full_like(sources, -1)
    for core in range(columns * rows):
        x, y = core % columns, core // columns
        mine = core * rules.QUEUES

        def there(dx: int, dy: int, queue: int, x: int = x, y: int = y) -> int:
            if not (0 <= x + dx < columns and 0 <= y + dy < rows):
                return -1
            return (x + dx + (y + dy) * columns) * rules.QUEUES + queue

        host = columns * rows * rules.QUEUES
        merge = core * rules.MERGES
        sources[merge + rules.EAST, :2] = (
            host if core == 0 else there(-1, 0, rules.Q_EAST),
            mine + rules.Q_FROM_CORE_EAST,
        )
        sources[merge + rules.WEST, :2] = there(1, 0, rules.Q_WEST), mine + rules.Q_FROM_CORE_WEST
        sources[merge + rules.NORTH] = there(0, -1, rules.Q_NORTH), mine + rules.Q_EAST_NORTH, mine + rules.Q_WEST_NORTH
        sources[merge + rules.SOUTH] = there(0, 1, rules.Q_SOUTH), mine + rules.Q_EAST_SOUTH, mine + rules.Q_WEST_SOUTH
        sources[merge + rules.IN, :2] = mine + rules.Q_NORTH_IN, mine + rules.Q_SOUTH_IN
        outputs[merge + rules.EAST] = mine + rules.Q_EAST, mine + rules.Q_EAST_NORTH, mine + rules.Q_EAST_SOUTH
        outputs[merge + rules.WEST] = mine + rules.Q_WEST, mine + rules.Q_WEST_NORTH, mine + rules.Q_WEST_SOUTH
        outputs[merge + rules.NORTH, :2] = mine + rules.Q_NORTH, mine + rules.Q_NORTH_IN
        outputs[merge + rules.SOUTH, :2] = mine + rules.Q_SOUTH, mine + rules.Q_SOUTH_IN
    return sources, outputs


def _ends(sources: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The merge that reads each queue and the one that writes it, int64 (queues,), -1 where there is none."""
    queues = len(sources) // rules.MERGES * rules.QUEUES + 1
    reader, writer = np.full(queues, -1), np.full(queues, -1)
    for ends, wires in ((reader, sources), (writer, outputs)):
        merge, k = np.nonzero(wires >= 0)
        ends[wires[merge, k]] = merge
    return reader, writer


def _state(grid: Grid, ticks: np.ndarray, packets: np.ndarray) -> rules.State:
    cores, neurons, axons = grid.synapses.shape
    merges = cores * rules.MERGES
    depth = np.full(cores * rules.QUEUES + 1, grid.depth)
    depth[-1] = max(1, len(packets))
    agenda = idle(rules.units(cores))
    if len(ticks):
        schedule(agenda, rules.TICK, 2 * int(ticks[0]))
    if len(packets):
        schedule(agenda, rules.HOST, 2 * int(packets[0, 0]))
    return rules.State(
        agenda=agenda,
        queues=empty(depth),
        ticks=np.ascontiguousarray(ticks, np.int64),
        packets=np.ascontiguousarray(packets, np.int64),
        next=np.zeros(2, np.int64),
        doing=np.full(cores, rules.IDLE),
        slot=np.full(cores, rules.SLOTS - 1),
        waiting=np.zeros((cores, rules.SLOTS, axons), np.bool_),
        base=np.zeros(cores, np.int64),
        at=np.zeros(cores, np.int64),
        drive=np.zeros((cores, neurons), np.int64),
        potential=np.array(grid.potential, np.int64),
        spiking=np.full(cores, neurons),
        erased=np.full(cores, -1),
        does=np.zeros(merges, np.int64),
        word=np.zeros(merges, np.int64),
        to=np.zeros(merges, np.int64),
        spikes=log.blank(3),
        hops=log.blank(4),
        arrivals=log.blank(6),
        outputs=log.blank(3),
        reads=log.blank(1),
        passes=log.blank(2),
        refused=log.blank(2),
        ended=log.blank(neurons, 256),
    )

"""The specification of the timing model: a step followed event by event, slow and obvious.

By the rules of :mod:`snnc.simulator.timing`, whose bounds hold for what is found here. Where two messages come to a
link or a core at the same moment, the one that was sent first goes first, of those the one of the lower core.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from snnc import traffic
from snnc.image import Image
from snnc.resources import FORMATS
from snnc.simulator.tables import neuron_order
from snnc.simulator.timing import barrier_ps, ps, synop_ps, update_ps

Tile = tuple[int, int]


@dataclass(frozen=True)
class Message:
    """A message of a neuron. sent: when, in ps. start, goal: cores; start is -1 outside. handling: ps in the goal."""

    sent: int
    neuron: int
    start: int
    goal: int
    handling: int


def step_ps(image: Image, fired: np.ndarray, active: np.ndarray) -> int:
    """Picoseconds that one step takes.

    fired: bool (neurons,), inputs included, in the order of the network. active: int (cores,), active updates.
    """
    timing, core_of = image.target.timing, image.mapping.core_of
    cores = range(image.cores)
    here = core_of >= 0
    spikes = np.bincount(core_of[here & fired], minlength=image.cores)
    update = update_ps(timing, image.usage.neurons, active, spikes)
    handling = _handling(image, fired)
    received = [sum(v for (_, goal), v in handling.items() if goal == core) for core in cores]
    serial, buffered = timing.pipeline == "serial", timing.messages == "buffered"

    # Updating and sending: nothing makes a core wait.
    messages = [Message(0, neuron, -1, goal, v) for (neuron, goal), v in handling.items() if core_of[neuron] < 0]
    sent = [int(update[core]) + (received[core] if serial and buffered else 0) for core in cores]
    multicast = image.target.mesh.multicast
    for neuron in (n for n in neuron_order(image.network) if fired[n] and core_of[n] >= 0):
        core = int(core_of[neuron])
        sent[core] += ps(timing.spike_ns)
        goals = image.usage.stored.indices[slice(*image.usage.stored.indptr[neuron : neuron + 2])]
        if multicast and len(goals):
            sent[core] += ps(timing.message_out_ns)
        for goal in goals.tolist():
            sent[core] += 0 if multicast else ps(timing.message_out_ns)
            messages.append(Message(sent[core], neuron, core, goal, handling[neuron, goal]))

    arrivals = _travel(image, messages)
    end = max([*sent, *(received if buffered else []), *(when for when, _ in arrivals)], default=0)
    if not buffered:
        free = [sent[core] if serial else 0 for core in cores]
        for when, message in arrivals:
            free[message.goal] = max(free[message.goal], when) + message.handling
            end = max(end, free[message.goal])
    return end + barrier_ps(image)


def _handling(image: Image, fired: np.ndarray) -> dict[tuple[int, int], int]:
    """Picoseconds that a core takes to receive a spike, by (neuron, core), for all neurons that fired."""
    timing, usage, found = image.target.timing, image.usage, defaultdict[tuple[int, int], int](int)
    each = dict(zip(FORMATS, synop_ps(timing).tolist(), strict=True))
    for projection in image.network.projections:
        first = image.network.offsets[projection.pre]
        visits = usage.visits_of[projection.name].tocoo()
        for core, source, synapses in zip(visits.row.tolist(), visits.col.tolist(), visits.data.tolist(), strict=True):
            if fired[first + source]:
                stored = FORMATS[usage.formats[projection.name][core]]
                found[first + source, core] += synapses * each[stored]
    return {key: ps(timing.message_in_ns) + value for key, value in found.items()}


def _travel(image: Image, messages: list[Message]) -> list[tuple[int, Message]]:
    """When each message reaches its goal, in that order, each link held by one message after the other."""
    timing, grid = image.target.timing, image.target.grid
    columns, rows = (a.tolist() for a in traffic.tile_of(image.mapping.site_of, grid))
    tiles = list(zip(columns, rows, strict=True))
    hold = ps(timing.link_ns)
    free: dict[tuple[Tile, Tile], int] = defaultdict(int)
    taken: dict[tuple[int, Tile, Tile], int] = {}
    # (when, number of the message, where it is)
    waiting = [(m.sent, k, tiles[m.goal if m.start < 0 else m.start]) for k, m in enumerate(messages)]
    heapq.heapify(waiting)
    arrived = []
    while waiting:
        when, k, at = heapq.heappop(waiting)
        message = messages[k]
        goal = tiles[message.goal]
        if at == goal:
            arrived.append((when, message))
            continue
        following = _towards(at, goal)
        shared = (message.neuron, at, following)
        if image.target.mesh.multicast and shared in taken:
            # Another part of the same spike took this link: it travels once.
            heapq.heappush(waiting, (taken[shared], k, following))
            continue
        begin = max(when, free[at, following])
        free[at, following] = begin + hold
        chips = [(x // grid.columns, y // grid.rows) for x, y in (at, following)]
        hop = ps(timing.hop_x_ns) if at[1] == following[1] else ps(timing.hop_y_ns)
        taken[shared] = begin + hop + (ps(timing.crossing_ns) if chips[0] != chips[1] else 0)
        heapq.heappush(waiting, (taken[shared], k, following))
    return arrived


def _towards(at: Tile, goal: Tile) -> Tile:
    """The next tile on the way: first along x, then along y."""
    (x, y), (goal_x, goal_y) = at, goal
    if x != goal_x:
        return x + (1 if goal_x > x else -1), y
    return x, y + (1 if goal_y > y else -1)

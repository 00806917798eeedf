"""What is loaded into a grid of crossbars, what the host sends, and when it ticks.

Cores have the sites in the order of their numbers, without that of the port. The host's packets for a step come right
after the tick before it. A layer at offset k begins k ticks late (:mod:`.ticks`); its bias acts from the first tick, so
that its membranes begin below 0 by as much.

The period of a tick is that of a pass over all neurons and some cycles more, in which the last spike of a pass finds
its way, and which make up for the waits of a core beside the host's packets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnc.crossbars.ticks import offsets
from snnc.crossbars.tiles import Digits, Placement, axons, digits, starts
from snnc.families import GridChip
from snnc.network import Network
from snnc.simulator.clocked import grid_rules as rules
from snnc.simulator.clocked.grid import Grid

# Cycles of a core beside those of its neurons; of a packet through routers beside its hops, and of a hop.
PASS, FLIGHT, HOP = 3, 6, 2
# Cycles after a tick from which on a packet is for the next.
TAKEN = 2
# Cycles more, for packets that meet: a merge takes one every two cycles, and neurons spike much more seldom.
MEET = 64


@dataclass(frozen=True, eq=False)
class Loaded:
    """A grid with a network in it.

    channel, packet: int64 (packets,), what the host sends for a spike of an input channel, in the order of channels.
    site: int64 (cores,). core, row: int64 (neurons,), where the first copy of each neuron is, -1 of those that nobody
    needs. period: cycles between ticks. first: cycle of the first.
    """

    grid: Grid
    channel: np.ndarray
    packet: np.ndarray
    site: np.ndarray
    core: np.ndarray
    row: np.ndarray
    period: int
    first: int


def loaded(network: Network, placed: Placement, chip: GridChip) -> Loaded:
    """What is loaded into the chip."""
    mesh, made = chip.mesh, digits(network, chip)
    columns, places = mesh.columns.value, mesh.columns.value * mesh.rows.value
    site = np.delete(np.arange(places), chip.port)[: placed.cores]
    shape = (places, chip.core.neurons.value)
    core, row, neuron = site[placed.core], placed.row, placed.neuron
    listening, key = axons(made, placed)
    number = np.arange(len(key)) - np.searchsorted(listening, listening)

    axon_type = np.zeros((places, chip.core.axons.value), np.int64)
    axon_type[site[listening], number] = key % made.types
    synapses = np.zeros((*shape, chip.core.axons.value), bool)
    chosen = made.keys[neuron]
    at = np.repeat(np.arange(len(neuron)), np.diff(chosen.indptr))
    size = made.keys.shape[1]
    where = np.searchsorted(listening * size + key, placed.core[at].astype(np.int64) * size + chosen.indices)
    synapses[core[at], row[at], number[where]] = True

    fields = {
        name: np.zeros(shape, np.int64) for name in ("leak", "positive", "potential", "dx", "dy", "axon", "delay")
    }
    # Places that are not used have a threshold that nothing reaches, for nothing is added there.
    fields["positive"][:] = (1 << (chip.neuron.bits.value - 1)) - 1
    weights = np.zeros((*shape, made.types), np.int64)
    weights[core, row] = made.weights[neuron]
    subtract = np.zeros(shape, bool)
    values = _registers(network)
    for name in ("leak", "positive", "potential"):
        fields[name][core, row] = values[name][neuron]
    subtract[core, row] = values["subtract"][neuron] > 0

    order, ends = np.argsort(neuron, kind="stable"), _destinations(network, made, listening, key, number)
    to = np.where(ends[1] < 0, chip.port, site[ends[1]])
    fields["dx"][core[order], row[order]] = to % columns - core[order] % columns
    fields["dy"][core[order], row[order]] = to // columns - core[order] // columns
    fields["axon"][core[order], row[order]], fields["delay"][core[order], row[order]] = ends[2], ends[3]

    fed = made.source[key // made.types] < 0
    channel, packet = _packets(made, site[listening[fed]], key[fed], number[fed], chip)
    slack = HOP * len(packet) + FLIGHT + HOP * (columns + mesh.rows.value) + MEET
    primary = [np.full(len(made.weights), -1), np.full(len(made.weights), -1)]
    for found, value in zip(primary, (core, row), strict=True):
        found[neuron[order][::-1]] = value[order][::-1]  # the first copy is written last
    half = 1 << (chip.neuron.bits.value - 1)
    return Loaded(
        grid=Grid(
            columns=columns,
            rows=mesh.rows.value,
            port=chip.port,
            depth=mesh.queue.value,
            synapses=synapses,
            axon_type=axon_type,
            weights=weights,
            negative=np.full(shape, -half, np.int64),
            reset=np.zeros(shape, np.int64),
            subtract=subtract,
            **fields,
        ),
        channel=channel,
        packet=packet,
        site=site,
        core=primary[0],
        row=primary[1],
        period=(chip.core.axons.value + 2) * chip.core.neurons.value + PASS + slack,
        first=slack,
    )


def _registers(network: Network) -> dict[str, np.ndarray]:
    """Registers of each neuron, int64 (neurons,)."""
    late = offsets(network)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("leak", "positive", "potential", "subtract")}
    for population in network.layers:
        bias = population.params["bias"].ravel().astype(np.int64)
        found["leak"].append(bias)
        found["positive"].append(population.params["threshold"].ravel().astype(np.int64))
        found["potential"].append(-late[population.name] * bias)
        found["subtract"].append(np.full(population.size, population.semantics.reset == "subtract", np.int64))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _destinations(
    network: Network, made: Digits, listening: np.ndarray, key: np.ndarray, number: np.ndarray
) -> np.ndarray:
    """Where the copies of neurons send to, int64 (4, copies): neuron, ascending; core, -1 for the port; axon, delay."""
    column = key // made.types
    sent = made.source[column] >= 0
    parts = [np.stack([made.source[column], listening, number, made.hold[column]])[:, sent]]
    first, output = starts(network), 0
    for name in network.outputs:
        size = network[name].size
        neurons = first[name] + np.arange(size)
        parts.append(np.stack([neurons, np.full(size, -1), output + np.arange(size), np.zeros(size, np.int64)]))
        output += size
    ends = np.concatenate(parts, axis=1)
    return ends[:, np.lexsort((ends[2], ends[1], ends[0]))]


def _packets(
    made: Digits, site: np.ndarray, key: np.ndarray, number: np.ndarray, chip: GridChip
) -> tuple[np.ndarray, np.ndarray]:
    """Channels, ascending, and the packets of a spike there; the host's enter at core 0."""
    columns = chip.mesh.columns.value
    bits = (chip.core.axons.value - 1).bit_length()
    column = key // made.types
    packet = site % columns
    packet = packet << rules.WIDTH | site // columns
    packet = packet << bits | number
    packet = packet << rules.DELAY | made.hold[column]
    channel = -1 - made.source[column]
    order = np.argsort(channel, kind="stable")
    return channel[order], packet[order]


@dataclass(frozen=True, eq=False)
class Schedule:
    """ticks: int64 cycles. packets: int64 (packets, 2), cycle and word. end: cycle at which all is over."""

    ticks: np.ndarray
    packets: np.ndarray
    end: int


def schedule(load: Loaded, network: Network, spikes: np.ndarray) -> Schedule:
    """When the host ticks and what it sends for one sample, 0 or 1 (steps, *shape of the input)."""
    fed = spikes.reshape(len(spikes), -1)
    ticks = load.first + load.period * np.arange(len(fed) + max(offsets(network).values()))
    step, which = np.nonzero(fed[:, load.channel])
    # Right after the tick before, from which on a packet is for the next.
    offered = np.concatenate([[0], ticks + TAKEN])[step]
    return Schedule(ticks, np.stack([offered, load.packet[which]], axis=1), int(ticks[-1]) + load.period)

"""A grid of crossbars: which neurons share a core, how a weight is made of axons, and what is loaded.

An axon has a type, and a neuron a weight for each of the four types: so one axon can add one number to a neuron, or
nothing. A source is therefore given several axons of a core, one for each type that is needed there, and its weight is
their sum. A neuron has its different weights, or digits of two's complement (1, 2, 4 and -8; 1, 2 and -4 where these
are enough), whatever takes fewer types.

A neuron sends to one axon of one core. One whose spikes are needed at several is there several times: copies have the
same synapses, so that they do the same, and each sends to one. Copies and axons depend on each other; they are counted
until they agree. The host sends as many packets for an input spike.

Neurons that are read out have one copy more, which sends to the port.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.crossbars.integers import Widths
from snnc.crossbars.steps import Register
from snnc.crossbars.ticks import hold, offsets
from snnc.errors import DoesNotFit, Violation
from snnc.families import GridChip
from snnc.network import Network

# Rounds in which copies and axons are counted anew. Each adds copies, and stops where the cores are not enough.
ROUNDS = 64


def widths(chip: GridChip, bits: int) -> Widths:
    """What the registers hold, with weights of at most so many bits, and of one for each type of axon."""
    half = 1 << (min(bits, chip.core.types.value) - 1)
    range_ = 1 << (chip.neuron.bits.value - 1)
    weight = (-half, half - 1) if half > 1 else (-1, 1)
    return Widths(weight, (-range_, range_ - 1), range_ - 1, 0, Register(-range_, range_ - 1, wraps=True))


@dataclass(frozen=True, eq=False)
class Digits:
    """The weights of a network as sums of axons. Neurons are numbered in the order of the network, without inputs.

    weights: int64 (neurons, types). keys: bool (neurons, axons that there may be), those that a neuron listens to;
    axon k is of the type k % types and of the column k // types. source: int64 (columns,), number of the neuron it
    comes from, or -1 - channel of the input; hold: int64 (columns,), ticks that it is held back.
    """

    types: int
    weights: np.ndarray
    keys: sparse.csr_array
    source: np.ndarray
    hold: np.ndarray


def digits(network: Network, chip: GridChip) -> Digits:
    """How each weight is made of axons."""
    types, late = chip.core.types.value, offsets(network)
    first = starts(network)
    columns: dict[tuple[str, int], int] = {}
    source, held, blocks = [], [], []
    total = 0
    for projection in network.projections:
        key = projection.pre, hold(network, projection, late)
        if key not in columns:
            columns[key] = total
            size = network[projection.pre].size
            is_input = network[projection.pre].neuron == "input"
            source.append(-1 - np.arange(size) if is_input else first[projection.pre] + np.arange(size))
            held.append(np.full(size, key[1]))
            total += size
        entries = ops.matrix(projection.op, network[projection.pre].shape).tocoo()
        blocks.append((entries.row + first[projection.post], entries.col + columns[key], entries.data))
    row, column, weight = (np.concatenate([np.zeros(0, np.int64), *(b[k] for b in blocks)]) for k in range(3))
    neurons = sum(p.size for p in network.layers)
    matrix = sparse.csr_array((weight, (row, column)), shape=(neurons, max(1, total)))
    values = np.zeros((neurons, types), np.int64)
    keys = []
    for neuron in range(neurons):
        part = slice(matrix.indptr[neuron], matrix.indptr[neuron + 1])
        values[neuron], digit = _digits(matrix.data[part], types)
        synapse, kind = np.nonzero(digit)
        keys.append(np.sort(matrix.indices[part][synapse] * types + kind))
    indptr = np.cumsum([0, *map(len, keys)])
    indices = np.concatenate([np.zeros(0, np.int64), *keys])
    listens = sparse.csr_array((np.ones(len(indices), bool), indices, indptr), shape=(neurons, max(1, total) * types))
    return Digits(types, values, listens, np.concatenate([np.zeros(0, int), *source]), np.concatenate([[0], *held])[1:])


def _digits(weights: np.ndarray, types: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a neuron for each type of axon, (types,), and which of them make each synapse, (synapses, types)."""
    distinct = np.unique(weights)
    bits = int(max(weights.max(initial=0), -1 - weights.min(initial=0))).bit_length() + 1
    if len(distinct) <= bits:
        # Positive ones from the first type on, negative ones from the last back, so that neurons share axons.
        up, down = distinct[distinct > 0], distinct[distinct < 0][::-1]
        values = np.zeros(types, np.int64)
        values[: len(up)], values[types - len(down) :] = up, down[::-1]
        return values, (weights[:, None] == values) & (values != 0)
    if bits > types:  # of an image that was not made here: the compiler keeps to as many bits
        raise ValueError("weights of one source add up to more than its axons can")
    place = np.append(np.arange(bits - 1), types - 1)  # of each digit; the one with sign has the last type
    values = np.zeros(types, np.int64)
    values[place] = 1 << np.arange(bits)
    values[-1] *= -1
    digit = np.zeros((len(weights), types), bool)
    digit[:, place] = weights[:, None].astype(np.int64) >> np.arange(bits) & 1
    return values, digit


def starts(network: Network) -> dict[str, int]:
    """Number of the first neuron of each layer."""
    sizes = np.cumsum([0, *(p.size for p in network.layers)])
    return {p.name: int(k) for p, k in zip(network.layers, sizes, strict=False)}


@dataclass(frozen=True, eq=False)
class Placement:
    """Where copies of neurons are: neuron, core: int32 (copies,). Copies of a core stand in it in this order."""

    neuron: np.ndarray
    core: np.ndarray

    @cached_property
    def cores(self) -> int:
        return int(self.core.max(initial=-1)) + 1

    @cached_property
    def row(self) -> np.ndarray:
        """Place of each copy in its core, int64 (copies,)."""
        order = np.argsort(self.core, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - np.searchsorted(self.core[order], self.core[order])
        return rank


def place(network: Network, chip: GridChip) -> Placement:
    """Neurons onto cores, in the order of the network; DoesNotFit where they need more than the chip has."""
    made = digits(network, chip)
    _check(network, chip, made)
    read = _read(network)
    copies = np.maximum(read, np.isin(np.arange(len(read)), made.source[np.unique(made.keys.indices) // made.types]))
    for _ in range(ROUNDS):
        placed = _filled(made.keys, copies, chip)
        wanted = _wanted(made, placed) + read
        if placed.cores > chip.cores or np.all(wanted <= copies):
            break
        copies = np.maximum(copies, wanted)
    while np.any(wanted < copies):  # copies that nobody needs any more go, and so may others
        number = _counted(placed.neuron)
        keep = number < wanted[placed.neuron]
        placed = Placement(placed.neuron[keep], placed.core[keep])
        copies, wanted = wanted, _wanted(made, placed) + read
    if placed.cores > chip.cores or np.any(wanted > copies):
        raise DoesNotFit([_cores(network, chip, placed, wanted)])
    return placed


def _counted(labels: np.ndarray) -> np.ndarray:
    """How many of the same label come before each."""
    order = np.argsort(labels, kind="stable")
    count = np.empty(len(labels), np.int64)
    count[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return count


def _filled(keys: sparse.csr_array, copies: np.ndarray, chip: GridChip) -> Placement:
    """Core after core filled with so many copies of each neuron, until axons or places are used up."""
    most_axons, most_rows = chip.core.axons.value, chip.core.neurons.value
    has = np.zeros(keys.shape[1], bool)
    core = axons = rows = 0
    neuron_of, core_of = [], []
    for neuron in np.flatnonzero(copies):
        wanted = keys.indices[keys.indptr[neuron] : keys.indptr[neuron + 1]]
        left = int(copies[neuron])
        while left:
            new = wanted[~has[wanted]]
            if rows == most_rows or axons + len(new) > most_axons:
                core, axons, rows = core + 1, 0, 0
                has[:] = False
                continue
            has[new] = True
            axons += len(new)
            now = min(left, most_rows - rows)
            neuron_of.append(np.full(now, neuron, np.int32))
            core_of.append(np.full(now, core, np.int32))
            rows, left = rows + now, left - now
    none = np.zeros(0, np.int32)
    return Placement(np.concatenate([none, *neuron_of]), np.concatenate([none, *core_of]))


def axons(made: Digits, placed: Placement) -> tuple[np.ndarray, np.ndarray]:
    """All axons in use, int64 each: core and key, ordered by both."""
    rows = made.keys[placed.neuron]
    core = np.repeat(placed.core.astype(np.int64), np.diff(rows.indptr))
    both = np.unique(core * made.keys.shape[1] + rows.indices)
    return both // made.keys.shape[1], both % made.keys.shape[1]


def usage(network: Network, placed: Placement, chip: GridChip) -> dict[str, tuple[int, int]]:
    """What the fullest core uses of each thing that a core has, and how much it has."""
    most = np.bincount(axons(digits(network, chip), placed)[0], minlength=1).max()
    return {
        "axons": (int(most), chip.core.axons.value),
        "neurons": (int(np.bincount(placed.core, minlength=1).max()), chip.core.neurons.value),
    }


def _wanted(made: Digits, placed: Placement) -> np.ndarray:
    """Axons that listen to each neuron, and so copies of it, int64 (neurons,)."""
    source = made.source[axons(made, placed)[1] // made.types]
    return np.bincount(source[source >= 0], minlength=len(made.weights))


def check(network: Network, chip: GridChip, placed: Placement) -> None:
    """ValueError or DoesNotFit where a placement from elsewhere is not one of this network on this chip."""
    made = digits(network, chip)
    _check(network, chip, made)
    neuron, core = placed.neuron, placed.core
    if neuron.shape != core.shape or neuron.ndim != 1 or {neuron.dtype, core.dtype} != {np.dtype(np.int32)}:
        raise ValueError("the placement is not a row of numbers")
    if len(neuron) and (min(neuron.min(), core.min()) < 0 or neuron.max() >= len(made.weights)):
        raise ValueError("the placement names neurons that there are not")
    if placed.cores > chip.cores or placed.row.max(initial=-1) >= chip.core.neurons.value:
        raise ValueError("the placement needs more cores, or more of a core, than there is")
    if np.bincount(axons(made, placed)[0], minlength=1).max() > chip.core.axons.value:
        raise ValueError("a core needs more axons than it has")
    if not np.array_equal(np.bincount(neuron, minlength=len(made.weights)), _wanted(made, placed) + _read(network)):
        raise ValueError("the placement does not have the copies that the axons ask for")


def _read(network: Network) -> np.ndarray:
    """1 for each neuron that is read out, else 0, int64 (neurons,)."""
    return np.concatenate([np.full(p.size, p.name in network.outputs, np.int64) for p in network.layers])


def _check(network: Network, chip: GridChip, made: Digits) -> None:
    """DoesNotFit where a neuron needs more axons than a core has, or a start or an output has no number."""
    found, first, late = [], starts(network), offsets(network)
    need = np.diff(made.keys.indptr)
    for population in network.layers:
        here = need[first[population.name] : first[population.name] + population.size]
        where = f"layer '{population.name}'"
        if here.max() > chip.core.axons.value:
            found.append(
                Violation(
                    "axons",
                    where,
                    f"a neuron needs {here.max():,} axons, up to {made.types} for each source; a core of {chip.name} "
                    f"has {chip.core.axons.value:,}",
                    "use fewer --bits (2: at most two axons for each source), or prune the layer",
                    "core.axons",
                )
            )
        bias, waits = population.params["bias"].ravel().astype(np.int64), late[population.name]
        start = -waits * bias
        low, high = widths(chip, 1).register.low, widths(chip, 1).register.high
        threshold = population.params["threshold"].ravel()
        before = np.where(bias < 0, start + bias, low)  # the highest that is compared before the layer's first step
        if waits and (start.min() < low or start.max() > high or np.any(before >= threshold)):
            found.append(
                Violation(
                    "leak",
                    where,
                    f"its bias of up to {np.abs(bias).max()} acts in the {waits} ticks before its first step, and no "
                    "start of the membrane makes up for it",
                    "train without bias (bias=False), or with fewer layers in front",
                    "neuron.bits",
                )
            )
    outputs = sum(network[name].size for name in network.outputs)
    if outputs > chip.core.axons.value:
        found.append(
            Violation(
                "outputs",
                f"layer '{network.outputs[0]}'",
                f"it has {outputs:,} neurons that are read out; packets to the host name one of "
                f"{chip.core.axons.value:,}",
                "make it narrower",
                "core.axons",
            )
        )
    if found:
        raise DoesNotFit(found)


def _cores(network: Network, chip: GridChip, placed: Placement, wanted: np.ndarray) -> Violation:
    """What is said where there are not cores enough."""
    first = starts(network)
    rows = {p.name: int(wanted[first[p.name] : first[p.name] + p.size].sum()) for p in network.layers}
    name = max(rows, key=lambda k: rows[k])
    return Violation(
        "cores",
        f"layer '{name}'",
        f"the network needs more than the {chip.cores} cores of {chip.name}: its {network[name].size:,} neurons are "
        f"there {rows[name]:,} times, once for each axon that they send to",
        "use fewer --bits (2: at most two axons for each source), prune it, or make it narrower",
        "mesh.columns",
    )

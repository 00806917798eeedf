"""A network, and its mapping, flattened into the arrays that the kernel walks through.

Neurons have one global numbering, population after population. Within a population that
receives a convolution the kernel orders neurons by place and then channel, so that what one
event adds lies together; elsewhere it keeps the order of the network. All results are in the
order of the network.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from snnc.image import Image
from snnc.network import ADAPTIVE, GRADED, READ_OUT, Network, Population
from snnc.ops import Conv2d, Linear, matrix
from snnc.simulator.axons import Axons, axons
from snnc.simulator.common import input_of, integer_op, integer_params
from snnc.simulator.fans import BLOCK, NARROW, Fans, row_sums
from snnc.simulator.reference import RANGE, UNIT
from snnc.simulator.timing import Rules, durations, rules

# Columns of Tables.projections. INDEX: where in `index` it begins. From HEIGHT on: geometry, for Conv2d only.
PRE, LAG, CONV, INDEX, HEIGHT, WIDTH, ROWS, COLUMNS, CHANNELS, STRIDE_Y, STRIDE_X, PAD_Y, PAD_X = range(13)
# Of a block of a Linear in their place: its first target, its form, and what snnc.simulator.fans.near says.
FROM, DENSE, SPAN, WORTH, MOST = range(4, 9)

# Columns of Placement.causes: what a spike counts for on the chip, whenever it is fired.
CAUSES = (
    "effective_synops",
    "dense_synops",
    "kernel_synops",
    "messages",
    "sent",
    "received",
    "hops_x",
    "hops_y",
    "crossings",
    "input_spikes",
    "input_messages",
    "synops",
)

# What a spike does to a membrane: all of it is taken off, or the threshold, and when (snnc.network.Semantics).
TO_ZERO, NOW, NEXT, RECHECK = range(4)

# Bounds within which 32-bit registers are exact; see Tables.
NARROW_INPUT = 1 << 18
NARROW_BIAS = 1 << 24


@dataclass(frozen=True, eq=False)
class Tables:
    """What the kernel reads of a network; P populations, Q projections, N neurons (inputs included).

    register: int32 or int64, the type of a, u and v. int32 is exact where every neuron's input obeys
    |a| < 2^18 and |bias| < 2^24: then |a << 6| < 2U, so that one wrap always brings u back into its
    range, and no sum reaches 2^31. Else int64.
    feed: number of the input population. depth: steps of spikes to keep.
    first: int64 (P + 1,), first neuron of each population. order: int32 (N,), the neuron (counted within
    its population) at each place of the kernel's order.
    into: int64 (P + 1,), rows of `projections` that end in each population. projections: int64 (Q, 13),
    columns above. index, fans, packed, plain: see :class:`snnc.simulator.fans.Fans`.
    keep_u, keep_v, bias, threshold: (N,) of type `register`, in the kernel's order: 4096 - decay, and
    mantissas << 6; of a read-out a threshold that no membrane reaches.
    reads: int64 (P,), column of the first neuron of each read-out when these are laid end to end; else -1.
    rich: the same for neurons that adapt, rest or send values, of which keep_w, jump and refractory, int64 (A,), hold
    what they have more. values_at: the same for those that send values, the input of graded data included.
    resets: int64 (P,), what a spike does to the membrane, one of TO_ZERO, ... above.
    """

    register: np.dtype
    feed: int
    depth: int
    first: np.ndarray
    order: np.ndarray
    into: np.ndarray
    projections: np.ndarray
    index: np.ndarray
    fans: np.ndarray
    packed: np.ndarray
    plain: np.ndarray
    keep_u: np.ndarray
    keep_v: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray
    reads: np.ndarray
    rich: np.ndarray
    keep_w: np.ndarray
    jump: np.ndarray
    refractory: np.ndarray
    values_at: np.ndarray
    resets: np.ndarray

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The kernel's arguments in its order."""
        return tuple(getattr(self, f.name) for f in fields(self) if f.name != "register")


class Places(NamedTuple):
    """Where the kernel counts; P populations, N neurons in its order; typed for numba.

    alone: int64 (P,), the core of a population that has only one, else -1. core_at: int32 (N,), core of the neuron, -1
    for inputs. send_ps, arrive_ps: int64 (N,), see :class:`snnc.simulator.timing.Durations`; (0,) without an image, of
    which nothing per core is counted. causes: what a spike of the neuron counts for, columns as in CAUSES in place of
    cores. visits: the stored synapses that it visits in each core. takes: how long that takes, in the unit of the
    durations, where the synapses do not tell; else without rows. rules: what is made of the sums of a step.
    """

    alone: np.ndarray
    core_at: np.ndarray
    send_ps: np.ndarray
    arrive_ps: np.ndarray
    causes: Axons
    visits: Axons
    takes: Axons
    rules: Rules


@dataclass(frozen=True, eq=False)
class Placement:
    """cores: how many, at least 1. places: of neurons on them."""

    cores: int
    places: Places


def flatten(network: Network, *, graded: bool = False) -> Tables:
    """Tables of an integer network; InputError where it is not one. Costs a few passes over its synapses.

    graded: for data of other values than 0 and 1, which no bound on the weights covers.
    """
    feed = input_of(network)
    names = [p.name for p in network.populations]
    values = [p.name for p in network.populations if p.neuron == GRADED or (graded and p.name == feed.name)]
    together = {p.name: _channels(network, p) for p in network.populations}
    orders = {p.name: _order(p.size, together[p.name]) for p in network.populations}
    fans, rows, into = Fans(narrow=_narrow(network)), [], [0]
    largest = 0
    for population in network.populations:
        bound = np.zeros((2, population.size), np.int64)
        for projection in network.into(population.name):
            op, pre = integer_op(projection), network[projection.pre]
            head = [names.index(pre.name), network.lag(projection)]
            weighs = pre.name in values  # which the kernel delivers over plain fans
            if isinstance(op, Conv2d) and op.weight.shape[0] == together[population.name] and not weighs:
                start = fans.add_conv(op)
                (_, *places), (out, *extent) = op.images(pre.shape)
                rows.append([*head, 1, start, *places, *extent, out, *op.stride, *op.padding])
            else:
                expanded = Linear(matrix(op, pre.shape))
                blocks = fans.add_linear(expanded, orders[pre.name], orders[population.name])
                rows.extend([*head, 0, *block, *[0] * 4] for block in blocks)
            bound += _bound(op, pre.shape)
        largest = max(largest, int(bound.max()))
        into.append(len(rows))
    params = _params(network, orders)
    rich = [p.name for p in network.layers if p.neuron in (ADAPTIVE, GRADED) or "refractory" in p.params]
    narrow = not values and largest < NARROW_INPUT and int(np.abs(params["bias"]).max()) < NARROW_BIAS
    register = np.dtype(np.int32 if narrow else np.int64)
    projections = np.array(rows, np.int64).reshape(-1, 13)
    return Tables(
        register=register,
        feed=names.index(feed.name),
        depth=1 + int(projections[:, LAG].max(initial=0)),
        first=_first(network),
        order=np.concatenate(list(orders.values())).astype(np.int32),
        into=np.array(into, np.int64),
        projections=projections,
        **fans.arrays(),
        keep_u=(4096 - params["u_decay"]).astype(register),
        keep_v=(4096 - params["v_decay"]).astype(register),
        bias=(params["bias"] << UNIT).astype(register),
        # |v| < 2^23, so that clipping a threshold beyond changes no spike.
        threshold=np.clip(params["threshold"] << UNIT, -RANGE, RANGE).astype(register),
        reads=_columns(network, [p.name for p in network.populations if p.neuron == READ_OUT]),
        rich=_columns(network, rich),
        keep_w=4096 - _more(network, rich, orders, "w_decay"),
        jump=_more(network, rich, orders, "w_jump") << UNIT,
        refractory=_more(network, rich, orders, "refractory"),
        values_at=_columns(network, values),
        resets=np.array([reset_of(p) for p in network.populations], np.int64),
    )


def place(network: Network, tables: Tables, image: Image | None) -> Placement:
    """Placement of an image; without one, of a single core in which only updates are counted."""
    nothing = sparse.csr_array((network.size, 1), dtype=np.int64)
    if image is None:
        core_of = np.concatenate([np.full(p.size, 0 - (p.neuron == "input"), np.int32) for p in network.populations])
        stored = nothing
        causes, takes = nothing, None
    else:
        core_of, stored, causes = image.mapping.core_of.astype(np.int32), image.usage.stored, _causes(image)
        takes = durations(image)
    first = tables.first
    neuron = np.repeat(first[:-1], np.diff(first)) + tables.order
    ends = [(core_of[low:high].min(), core_of[low:high].max()) for low, high in pairwise(first.tolist())]
    places = Places(
        alone=np.array([low if low == high else -1 for low, high in ends], np.int64),
        core_at=core_of[neuron],
        send_ps=np.zeros(0, np.int64) if takes is None else takes.send[neuron],
        arrive_ps=np.zeros(0, np.int64) if takes is None else takes.arrive[neuron],
        causes=axons(causes[neuron], first),
        visits=axons(stored[neuron], first),
        takes=axons(nothing if takes is None or takes.axon is None else takes.axon[neuron], first),
        rules=Rules(0, np.zeros(1, np.int64), 0, 0, 0, 0, False, False)
        if image is None or takes is None
        else rules(image, takes.unit),
    )
    return Placement(stored.shape[1], places)


def reset_of(population: Population) -> int:
    """What a spike does to the membranes of a population, one of TO_ZERO, NOW, NEXT, RECHECK."""
    moments = {"now": NOW, "next": NEXT, "recheck": RECHECK}
    return moments[population.semantics.when] if population.subtracts else TO_ZERO


def neuron_order(network: Network) -> np.ndarray:
    """All neurons, by their number in the network, in the order in which cores work through them, int64 (N,)."""
    offsets = network.offsets
    return np.concatenate([_order(p.size, _channels(network, p)) + offsets[p.name] for p in network.populations])


def _causes(image: Image) -> sparse.csr_array:
    """What a spike of each neuron counts for, (neurons, columns of CAUSES). Those of inputs are told apart."""
    routes, outside = image.routes, image.mapping.core_of < 0
    columns = {
        "effective_synops": image.usage.effective.sum(axis=1),
        "dense_synops": image.synapses_as("dense"),
        "kernel_synops": image.synapses_as("kernel"),
        "messages": np.where(outside, 0, routes.messages),
        "hops_x": routes.hops_x,
        "hops_y": routes.hops_y,
        "crossings": routes.crossings,
        "sent": image.sends,
        "received": np.diff(image.usage.stored.indptr),
        "input_spikes": outside,
        "input_messages": np.where(outside, routes.messages, 0),
        "synops": image.usage.stored.sum(axis=1),
    }
    return sparse.csr_array(np.stack([np.asarray(columns[name], np.int64) for name in CAUSES], axis=1))


def _first(network: Network) -> np.ndarray:
    return np.array([*network.offsets.values(), network.size], np.int64)


def _channels(network: Network, population: Population) -> int:
    """Output channels of the first convolution into the population, which decides its order; 1: none."""
    for projection in network.into(population.name):
        op = integer_op(projection)
        if isinstance(op, Conv2d) and op.weight.shape[0] <= BLOCK:
            return op.weight.shape[0]
    return 1


def _order(size: int, channels: int) -> np.ndarray:
    """Neurons by place, then channel."""
    return np.arange(size).reshape(channels, -1).T.ravel()


def _columns(network: Network, names: Collection[str]) -> np.ndarray:
    """Column of the first neuron of each of these populations when they are laid end to end; -1 for others."""
    at, column = [], 0
    for population in network.populations:
        belongs = population.name in names
        at.append(column if belongs else -1)
        column += population.size * belongs
    return np.array(at, np.int64)


def _more(network: Network, names: Collection[str], orders: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A parameter of these populations, laid end to end in the kernel's order; 0 for those that do not have it."""
    parts = (integer_params(network[n]).get(name, np.zeros(network[n].size, np.int64))[orders[n]] for n in names)
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _params(network: Network, orders: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters of all neurons in the kernel's order; inputs, which have none, get zeros."""
    names = ("u_decay", "v_decay", "threshold", "bias")
    parts = [
        dict.fromkeys(names, np.zeros(p.size, np.int64))
        if p.neuron == "input"
        else {"threshold": np.full(p.size, RANGE >> UNIT), **integer_params(p)}
        for p in network.populations
    ]
    keys = [p.name for p in network.populations]
    return {
        name: np.concatenate([part[name][orders[key]] for key, part in zip(keys, parts, strict=True)]) for name in names
    }


def _narrow(network: Network) -> bool:
    """Whether all weights fit the narrow form of a synapse."""
    limit = np.iinfo(NARROW["weight"])
    weights = [op.weight.data if isinstance(op, Linear) else op.weight for op in map(integer_op, network.projections)]
    return all(w.min(initial=0) >= limit.min and w.max(initial=0) <= limit.max for w in weights)


def _bound(op: Linear | Conv2d, shape: tuple[int, ...]) -> np.ndarray:
    """Largest sums of positive weights and of negative ones that can arrive, int64 (2, targets).

    Of a convolution as if all of the kernel lay inside: an upper bound at the border.
    """
    if isinstance(op, Linear):
        return row_sums(op.weight)
    _, (_, rows, columns) = op.images(shape)
    taps = op.weight.astype(np.int64)
    sums = np.stack([np.maximum(taps, 0).sum(axis=(1, 2, 3)), -np.minimum(taps, 0).sum(axis=(1, 2, 3))])
    return np.repeat(sums, rows * columns, axis=1)

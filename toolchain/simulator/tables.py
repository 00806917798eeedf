"""A network, and its mapping, flattened into the arrays that the kernel walks through.

Neurons have one global numbering, population after population. Within a population that
receives a convolution the kernel orders neurons by place and then channel, so that what one
event adds lies together; elsewhere it keeps the order of the network. All results are in the
order of the network.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import sparse

from snnc.image import Image
from snnc.network import READ_OUT, Network, Population
from snnc.ops import Conv2d, Linear, matrix
from snnc.simulator.common import input_of, integer_op, integer_params
from snnc.simulator.fans import BLOCK, NARROW, Fans, row_sums
from snnc.simulator.reference import RANGE, UNIT

# Columns of Tables.projections. INDEX: where in `index` it begins. From HEIGHT on: geometry, for Conv2d only.
PRE, LAG, CONV, INDEX, HEIGHT, WIDTH, ROWS, COLUMNS, CHANNELS, STRIDE_Y, STRIDE_X, PAD_Y, PAD_X = range(13)
# Of a block of a Linear in their place: its first target, its form, and what snnc.simulator.fans.near says.
FROM, DENSE, SPAN, WORTH, MOST = range(4, 9)

# Bounds within which 32-bit registers are exact; see Tables.
NARROW_INPUT = 1 << 18
NARROW_BIAS = 1 << 24

# Cores between the first and the last that a neuron reaches, for each that it reaches, up to which all are listed.
FILL = 2


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

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The kernel's arguments in its order."""
        return tuple(getattr(self, f.name) for f in fields(self) if f.name != "register")


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the kernel counts; S segments, A axons (pairs of a neuron and a core that it reaches).

    cores: how many, at least 1. segments: int64 (S, 3): first place, one past the last, core; runs of
    neurons of one population in one core, in the kernel's order. segment_ptr: int64 (P + 1,), segments of
    each population (inputs have none). In the order of the network: core_of: int32 (N,), -1 for inputs;
    axon_ptr: int64 (N + 1,), axon_core: int32 (A,), ascending for each neuron, axon_synapses: int32 (A,), the stored
    synapses that a spike of the neuron visits in the core. Where few cores are missing between the first and the last
    that a neuron reaches these are there with no synapses, so that the kernel can add vectors.
    """

    cores: int
    segments: np.ndarray
    segment_ptr: np.ndarray
    core_of: np.ndarray
    axon_ptr: np.ndarray
    axon_core: np.ndarray
    axon_synapses: np.ndarray

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The kernel's arguments in its order."""
        return tuple(getattr(self, f.name) for f in fields(self) if f.name != "cores")


def flatten(network: Network, *, graded: bool = False) -> Tables:
    """Tables of an integer network; InputError where it is not one. Costs a few passes over its synapses.

    graded: for data of other values than 0 and 1, which no bound on the weights covers.
    """
    feed = input_of(network)
    names = [p.name for p in network.populations]
    together = {p.name: _channels(network, p) for p in network.populations}
    orders = {p.name: _order(p.size, together[p.name]) for p in network.populations}
    fans, rows, into = Fans(narrow=_narrow(network)), [], [0]
    largest = 0
    for population in network.populations:
        bound = np.zeros((2, population.size), np.int64)
        for projection in network.into(population.name):
            op, pre = integer_op(projection), network[projection.pre]
            head = [names.index(pre.name), network.lag(projection)]
            weighs = graded and pre.name == feed.name  # values, which the kernel delivers over plain fans
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
    narrow = not graded and largest < NARROW_INPUT and int(np.abs(params["bias"]).max()) < NARROW_BIAS
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
        reads=_reads(network),
    )


def place(network: Network, tables: Tables, image: Image | None) -> Placement:
    """Placement of an image; without one, of a single core in which only updates are counted."""
    if image is None:
        core_of = np.concatenate([np.full(p.size, 0 - (p.neuron == "input"), np.int32) for p in network.populations])
        stored = sparse.csr_array((network.size, 1), dtype=np.int64)
    else:
        core_of, stored = image.mapping.core_of.astype(np.int32), image.usage.stored
    axon_ptr, axon_core, axon_synapses = _axons(stored)
    first = tables.first
    here = core_of[np.repeat(first[:-1], np.diff(first)) + tables.order]
    # A segment begins with a population or where the core changes.
    begin = np.union1d(first[:-1], 1 + np.flatnonzero(np.diff(here)))
    segments = np.stack([begin, np.append(begin, network.size)[1:], here[begin]], 1)
    segments = segments[segments[:, 2] >= 0].astype(np.int64)
    return Placement(
        cores=stored.shape[1],
        segments=segments,
        segment_ptr=np.searchsorted(segments[:, 0], first),
        core_of=core_of,
        axon_ptr=axon_ptr,
        axon_core=axon_core,
        axon_synapses=axon_synapses,
    )


def _axons(stored: sparse.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """axon_ptr, axon_core and axon_synapses of a Placement; stored: (neurons, cores)."""
    stored = stored.sorted_indices()
    ptr, size = stored.indptr[:-1].astype(np.int64), np.diff(stored.indptr)
    reached = size > 0
    ends = np.zeros((2, len(size)), np.int64)
    ends[:, reached] = stored.indices[ptr[reached]], stored.indices[ptr[reached] + size[reached] - 1] + 1
    first, span = ends[0], ends[1] - ends[0]
    whole = span <= FILL * size
    length = np.where(whole, span, size)
    new_ptr = np.concatenate([[0], np.cumsum(length)])
    # Where in its row each entry goes: by its core where the row is whole, else by its number.
    row = np.repeat(np.arange(len(size)), size)
    at = new_ptr[row] + np.where(whole[row], stored.indices - first[row], np.arange(len(row)) - ptr[row])
    core, synapses = np.zeros((2, new_ptr[-1]), np.int32)
    target = np.repeat(np.arange(len(size)), length)
    core[:] = first[target] + np.arange(len(core)) - new_ptr[target]
    core[at] = stored.indices
    synapses[at] = stored.data
    return new_ptr, core, synapses


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


def _reads(network: Network) -> np.ndarray:
    at, column = [], 0
    for population in network.populations:
        reads = population.neuron == READ_OUT
        at.append(column if reads else -1)
        column += population.size * reads
    return np.array(at, np.int64)


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

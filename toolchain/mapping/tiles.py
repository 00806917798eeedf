"""Tiles of convolutions: neurons that stay together so that their core stores a kernel once.

Where synapses of a population, each stored by itself, would fill more cores than its neurons do, and the target
shares equal lists of synapses ("kernel"), the population is cut into boxes (channels, rows, columns) that move as
one. The box is chosen among all even cuts that fill a good part of a core: few cores, and few input axons in all,
which are messages.

Of the lists of one input channel in a box those at its rim differ from those inside, since targets beyond the rim
are elsewhere; a box of r rows under a kernel of k has up to 2 k - 1 kinds of rows. Their sizes are counted
exactly along each axis; with weights pruned they are bounds.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from snnc import ops
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d
from snnc.resources import axon_bits, other_bits, weight_bits
from snnc.target import Target

Box = tuple[int, int, int]

# Cores that a neuron's spikes reach in a layer whose neurons move one by one: a guess.
_REACH = 4.0
# Spikes of some boxes reach more cores than those of the average one.
_SAFETY = 1.25
# Smaller boxes of a large population pack better, but each has a rim, and a kernel of its own.
_LEAST = 0.2
# Cores that a core's worth of input axons is worth, for the messages alone.
_AXONS = 0.1
# Smaller boxes are better, for they leave room beside them, if they cost up to so many times as much.
_ALIKE = 1.02


def cut(network: Network, target: Target) -> dict[str, np.ndarray]:
    """The tile of each neuron, int32 (size,), for the populations that gain by it."""
    if "kernel" not in target.synapse.formats:
        return {}
    boxes: dict[str, Box] = {}
    for population in reversed(network.layers):  # cores that a neuron sends to are known once those have been cut
        reach = sum(_reach(network, p, boxes, target) for p in network.projections if p.pre == population.name)
        box = _box(network, population, target, reach)
        if box is not None:
            boxes[population.name] = box
    return {p.name: _numbers(_image(network, p), boxes[p.name]) for p in network.layers if p.name in boxes}


def _reach(network: Network, projection: Projection, boxes: dict[str, Box], target: Target) -> float:
    """Cores that a neuron in front of a projection reaches through it, on average."""
    post, op = network[projection.post], projection.op
    if not isinstance(op, Conv2d):
        cores = op.taps * _stored_bits(network, projection, target) / target.core.synapse_bits.value
        return max(1.0, cores, post.size / target.core.neurons.value)
    if post.name not in boxes:
        return min(_REACH, max(1.0, post.size / target.core.neurons.value))
    box, image = boxes[post.name], op.images(network[projection.pre].shape)[1]
    total = math.ceil(image[0] / box[0]) / (op.groups if op.groups > 1 else 1)
    for axis in (0, 1):
        size, taps = image[1 + axis], op.weight.shape[2 + axis]
        parts = math.ceil(size / box[1 + axis])
        outputs, tap = np.divmod(np.arange(size * taps), taps)
        place = outputs * op.stride[axis] + tap * op.dilation[axis]
        pairs = np.unique(np.stack([place, outputs * parts // size]), axis=1)
        total *= pairs.shape[1] / len(np.unique(place))
    return max(1.0, total)


def _box(network: Network, population: Population, target: Target, reach: float) -> Box | None:
    """Channels, rows and columns of a tile; None where neurons do better one by one. reach: cores a spike goes to."""
    into = network.into(population.name)
    convs = [p for p in into if isinstance(p.op, Conv2d)]
    if not convs or len(convs) != len(into) or population.compartments > 1:
        return None
    shape = _image(network, population)
    if any(_conv(p).images(network[p.pre].shape)[1] != shape for p in convs):
        return None
    core, synapse = target.core, target.synapse
    alone = sum(ops.synapses(_conv(p), network[p.pre].shape) * _stored_bits(network, p, target) for p in convs)
    sends = population.size * max(1 / core.neurons.value, _SAFETY * reach / core.out_axons.value)
    if alone / core.synapse_bits.value <= sends:
        return None
    found: list[tuple[float, Box]] = []
    sizes = [_even_sizes(n) for n in shape]
    rims = {(axis, n): [_lists(_conv(p), n, axis) for p in convs] for axis in (0, 1) for n in sizes[1 + axis]}
    for channels, rows, columns in itertools.product(*sizes):
        neurons = channels * rows * columns
        if neurons > core.neurons.value:
            continue
        axons, bits = 0, 0
        for k, p in enumerate(convs):
            inputs = _input_channels(_conv(p), channels)
            extent_y, kinds_y = rims[0, rows][k]
            extent_x, kinds_x = rims[1, columns][k]
            _, height, width = _conv(p).images(network[p.pre].shape)[0]
            axons += inputs * min(extent_y, height) * min(extent_x, width)
            each = channels if _conv(p).groups == 1 else math.ceil(channels / _conv(p).groups)
            bits += inputs * int(
                axon_bits(each * np.outer(kinds_y, kinds_x), _stored_bits(network, p, target), synapse).sum()
            )
        shares = (
            neurons / core.neurons.value,
            axons / core.in_axons.value,
            bits / core.synapse_bits.value,
            _SAFETY * neurons * reach / core.out_axons.value,
        )
        count = math.prod(math.ceil(n / m) for n, m in zip(shape, (channels, rows, columns), strict=True))
        if max(shares) > 1 or (max(shares) < _LEAST and count > 1):
            continue
        # The neurons in front need more cores where all of them would not have axons enough.
        sent = count * axons / core.out_axons.value
        front = sum(network[p.pre].size for p in convs) / core.neurons.value
        cost = count / math.floor(1 / max(shares)) + max(0.0, sent - front) + _AXONS * sent
        found.append((cost, (channels, rows, columns)))
    most = _ALIKE * min((cost for cost, _ in found), default=0.0)
    return min((f for f in found if f[0] <= most), key=lambda f: (math.prod(f[1]), f), default=(0.0, None))[1]


def _conv(projection: Projection) -> Conv2d:
    op = projection.op
    assert isinstance(op, Conv2d)
    return op


def _image(network: Network, population: Population) -> Box:
    """A population as (channels, rows, columns), by the first convolution that leads into it."""
    first = next(p for p in network.into(population.name) if isinstance(p.op, Conv2d))
    return _conv(first).images(network[first.pre].shape)[1]


def _stored_bits(network: Network, projection: Projection, target: Target) -> int:
    """Of a synapse with the index of a full core."""
    synapse = target.synapse
    index = synapse.index_bits.holding((target.core.neurons.value - 1).bit_length())
    return weight_bits(projection, synapse) + other_bits(network, projection, synapse) + index


def _even_sizes(n: int) -> list[int]:
    """The sizes of parts when n is cut evenly into 1, 2, 3, ... parts."""
    return sorted({math.ceil(n / parts) for parts in range(1, n + 1)})


def _input_channels(op: Conv2d, channels: int) -> int:
    """Input channels that reach so many neighbouring output channels, at most."""
    out, per_group = op.weight.shape[:2]
    if op.groups == 1:
        return per_group
    return min(op.groups, math.ceil(channels / (out // op.groups)) + 1) * per_group


def _lists(op: Conv2d, size: int, axis: int) -> tuple[int, np.ndarray]:
    """Along one axis of a box of `size` outputs: inputs that reach it, and targets of each distinct list of them."""
    taps, stride, dilation = op.weight.shape[2 + axis], op.stride[axis], op.dilation[axis]
    outputs, tap = np.divmod(np.arange(size * taps), taps)
    reached = outputs * stride + tap * dilation
    kinds = set()
    for place in np.unique(reached):
        chosen = reached == place
        kinds.add((*(outputs[chosen] - outputs[chosen][0]), *tap[chosen]))
    return len(np.unique(reached)), np.array([len(kind) // 2 for kind in kinds])


def _numbers(shape: Box, box: Box) -> np.ndarray:
    """Tiles counted row by row and column by column, those of one place one after the other."""
    parts = [math.ceil(n / m) for n, m in zip(shape, box, strict=True)]
    channel, row, column = (np.arange(n) * count // n for n, count in zip(shape, parts, strict=True))
    tile = (row[None, :, None] * parts[2] + column[None, None, :]) * parts[0] + channel[:, None, None]
    return tile.astype(np.int32).ravel()

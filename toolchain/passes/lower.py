"""Lower: every projection becomes one Linear or one Conv2d.

Pooling becomes a depthwise convolution, and a one-dimensional convolution one on images of one row, so that kernels
stay shared. Two convolutions become one where that is exact, and so does one with a scale in front or behind; a flatten
is an index map that C order makes free. No neuron is added, so the function of the network does not change. A chain
that is no single convolution becomes the product of its matrices, if that is not too large
(:data:`snnc.ops.LARGEST`). A delay within a chain becomes the delay of the projection, or of several where its
elements differ. What only adds a layer to one of the same shape, as residual connections do, is a kernel of one tap
where convolutions lead there, too: they store it once.

A neuron that resets to v_reset and starts there becomes one that resets to 0: its potentials are
counted from v_reset.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from snnc import ops
from snnc.compilation import Compilation
from snnc.errors import InputError
from snnc.network import Network, Population, Projection
from snnc.ops import Conv1d, Conv2d, Delay, Flatten, Image, Linear, Op, Pair, Pool2d, Scale, Shape, Stateless, Weighted
from snnc.passes.dissolve import bias_alone

# Different delays of the elements of one projection, each of which becomes a projection.
DELAYS = 1 << 8


def run(c: Compilation) -> Compilation:
    """Lower the network of `c`."""
    network = lower(c.network)
    kinds = {p.name: type(p.op).__name__ for p in network.projections}
    return replace(c, network=network).found(lower={"operations": kinds})


def lower(network: Network) -> Network:
    """The same network with exactly one operation per projection, weights in float64."""
    pieces = [piece for p in network.projections for piece in _split(network, p)]
    projections = [_lower(network, p) for p in pieces]
    images = {p.post for p in projections if isinstance(p.op, Conv2d)}
    return replace(
        network,
        populations=tuple(map(_from_reset, network.populations)),
        projections=tuple(_shared(network, p) if p.post in images else p for p in projections),
    )


def _from_reset(population: Population) -> Population:
    """The population with its potentials counted from v_reset, where that is exact."""
    how, p = population.semantics, population.params
    if how.reset != "value" or how.start != "reset":
        return population
    params = {k: v - p["v_reset"] if k.startswith("v_") else v for k, v in p.items()}
    return replace(population, params=params, semantics=replace(how, reset="zero", start="zero"))


def _split(network: Network, projection: Projection) -> Iterator[Projection]:
    """The projection without delays in its chain: a projection for every delay that its elements have."""
    at = next((k for k, op in enumerate(projection.ops) if isinstance(op, Delay)), None)
    if at is None:
        yield projection
        return
    before, delay, after = projection.ops[:at], projection.ops[at], projection.ops[at + 1 :]
    assert isinstance(delay, Delay)
    if any(map(ops.biased, projection.ops)) and any(isinstance(op, Delay) for op in after):
        raise InputError(
            "biases among several delays are not lowered",
            where=f"projection '{projection.name}'",
            fix="leave out the biases, or all delays but one",
        )
    numbers = np.unique(delay.steps)
    if len(numbers) > DELAYS:
        raise InputError(
            f"its elements have {len(numbers):,} different delays; at most {DELAYS} are lowered",
            where=f"projection '{projection.name}'",
            fix="round the delays",
        )
    shape = network[projection.pre].shape
    earlier = ops.constant(before, shape) if any(map(ops.biased, before)) else None
    for number in numbers:
        late = Scale((delay.steps == number).astype(np.float64))
        rest = (late, *map(ops.unbiased, after))
        name = f"{projection.name}@{number}"
        chain = (*map(ops.unbiased, before), *rest)
        yield from _split(network, replace(projection, name=name, ops=chain, delay=projection.delay + int(number)))
        if earlier is not None:  # what comes before the delay is late, its biases, too
            bias = earlier
            inner = delay.steps.shape
            for op in rest:
                assert not isinstance(op, Delay)
                bias, inner = ops.matrix(op, inner) @ bias, op.output_shape(inner)
            like = replace(projection, name=f"{name}+bias", bias_start=projection.bias_start + int(number))
            yield bias_alone(projection.pre, math.prod(shape), like, bias)
    if any(map(ops.biased, after)):
        bias = ops.constant(after, delay.steps.shape)
        like = replace(projection, name=f"{projection.name}+bias")
        yield bias_alone(projection.pre, math.prod(shape), like, bias)


def _lower(network: Network, projection: Projection) -> Projection:
    shape = network[projection.pre].shape
    scale = np.ones(math.prod(shape))  # in front of the operation
    op: Weighted | None = None  # the operation so far
    read = shape  # what it reads
    try:
        for following in map(_stateless, projection.ops):
            if op is not None and not isinstance(following, Flatten):
                op = _fuse(op, read, following, shape)
            elif isinstance(following, Scale):
                scale = scale * following.scale.ravel()
            elif not isinstance(following, Flatten):
                op = _weighted(following, shape)
                if np.any(scale != 1):
                    op = _scaled_before(op, shape, scale)
            shape = following.output_shape(shape)
    except InputError as error:
        raise InputError(error.message, where=f"projection '{projection.name}'", fix=error.fix) from None
    if op is None:  # nothing but scales and index maps
        op = Linear(ops.matrix(Scale(scale), shape))
    return replace(projection, ops=(_as_float64(op),))


def _shared(network: Network, projection: Projection) -> Projection:
    """A projection from a layer to one of the same shape, place by place, as a kernel of one tap for each channel."""
    op, shape = projection.op, network[projection.pre].shape
    if not isinstance(op, Linear) or len(shape) not in (2, 3) or network[projection.post].shape != shape:
        return projection
    places = np.arange(op.weight.shape[0] + 1)
    if op.bias is not None or op.weight.nnz < len(places) - 1 or not np.array_equal(op.weight.indptr, places):
        return projection
    each = _per_channel(op.weight.data, shape[0])
    if each is None or not np.array_equal(op.weight.indices, places[:-1]):
        return projection
    kernel = Conv2d(each[:, None, None, None], groups=shape[0], line=len(shape) == 2)
    return replace(projection, ops=(kernel,))


def _stateless(op: Op) -> Stateless:
    assert not isinstance(op, Delay), "delays are split off first"
    return op


def _weighted(op: Stateless, shape: Shape) -> Weighted:
    """The operation as a Linear or a Conv2d."""
    match op:
        case Pool2d():
            return op.as_conv(shape[0])
        case Conv1d():
            return op.as_conv2d()
        case Scale() | Flatten():
            return Linear(ops.canonical(ops.matrix(op, shape)))
        case Linear(weight, bias):
            return Linear(weight, bias)
        case Conv2d():
            return op


def _fuse(first: Weighted, shape: Shape, second: Stateless, between: Shape) -> Weighted:
    """One operation equal to `second` after `first`, which reads `shape` and is seen as `between`."""
    if isinstance(first, Conv2d) and isinstance(second, Scale):
        scaled = _scaled(first, second.scale)
        if scaled is not None:
            return scaled
    weighted = _weighted(second, between)
    if isinstance(first, Conv2d) and isinstance(weighted, Conv2d):
        fused = _fuse_convolutions(first, shape, weighted, between)
        if fused is not None:
            return fused
    after = ops.small_matrix(weighted, between)
    bias = ops.bias_of(weighted, between)
    carried = ops.bias_of(first, shape)
    if carried is not None:
        through = after @ carried
        bias = through if bias is None else bias + through
    return Linear(ops.product(after, ops.small_matrix(first, shape)), bias)


def _per_channel(scale: np.ndarray, channels: int) -> np.ndarray | None:
    """The factor of each channel, (channels,), if it is the same all over the channel."""
    places = scale.reshape(channels, -1)
    return places[:, 0] if np.all(places == places[:, :1]) else None


def _scaled(op: Conv2d, scale: np.ndarray) -> Conv2d | None:
    """The convolution with a scale behind it, if that is one of channels."""
    each = _per_channel(scale, op.weight.shape[0])
    if each is None:
        return None
    bias = None if op.bias is None else op.bias * each
    return replace(op, weight=op.weight * each[:, None, None, None], bias=bias)


def _scaled_before(op: Weighted, shape: Shape, scale: np.ndarray) -> Weighted:
    """The operation, which reads `shape`, with a scale in front of it."""
    each = _per_channel(scale, shape[0]) if isinstance(op, Conv2d) else None
    if isinstance(op, Conv2d) and each is not None:
        return replace(op, weight=op.weight * each[ops.input_channels(op)][:, :, None, None])
    weight = ops.product(ops.small_matrix(op, shape), ops.matrix(Scale(scale), scale.shape))
    return Linear(weight, ops.bias_of(op, shape))


def _fuse_convolutions(first: Conv2d, shape: Shape, second: Conv2d, between: Shape) -> Conv2d | None:
    """Two convolutions as one; None where no single one is equal, or its kernel would be too large."""
    if any(second.padding) and not _padding_is_outside(first, *first.images(shape), second.padding):
        return None
    composed = _composed(first, second)
    if composed is None:
        return None
    weight, groups = composed
    bias = second.bias
    if first.bias is not None:  # and no padding, so that it arrives everywhere alike
        inner = first.bias[ops.input_channels(second)]
        through = (second.weight.sum(axis=(2, 3)) * inner).sum(axis=1)
        bias = through if bias is None else bias + through
    stride = (second.stride[0] * first.stride[0], second.stride[1] * first.stride[1])
    padding = (
        first.padding[0] + second.padding[0] * first.stride[0],
        first.padding[1] + second.padding[1] * first.stride[1],
    )
    fused = Conv2d(weight, bias, stride, padding, (1, 1), groups, first.line)
    return fused if fused.output_shape(shape) == second.output_shape(between) else None


def _padding_is_outside(first: Conv2d, shape: Image, between: Image, padding: Pair) -> bool:
    """Whether zeros around what `first` puts out are what it would put out beyond the edges of its input.

    None of its windows may then begin in rows that it left over. (Where windows overlap, some always do.)
    """
    if first.bias is not None or any(first.padding) or first.dilation != (1, 1):
        return False
    return all(not padding[a] or between[1 + a] * first.stride[a] >= shape[1 + a] for a in (0, 1))


def _composed(first: Conv2d, second: Conv2d) -> tuple[np.ndarray, int] | None:
    """Kernel and groups of `second` after `first`, where one of them is depthwise, or neither is in groups."""
    by_first = first.groups == first.weight.shape[0] and first.weight.shape[1] == 1
    by_second = second.groups == second.weight.shape[0] and second.weight.shape[1] == 1
    general = not (by_first or by_second)
    if general and not first.groups == second.groups == 1:
        return None
    step = second.dilation[0] * first.stride[0], second.dilation[1] * first.stride[1]
    apart = first.dilation
    kernels = first.weight.shape[2:], second.weight.shape[2:]
    size = [(kernels[0][a] - 1) * apart[a] + (kernels[1][a] - 1) * step[a] + 1 for a in (0, 1)]
    pairs = math.prod((second if by_first else first).weight.shape[:2])
    through = 1  # channels between the two that each pair of channels has
    if general:
        pairs, through = second.weight.shape[0] * first.weight.shape[1], second.weight.shape[1]
    work = pairs * through * math.prod(map(math.prod, kernels))
    if pairs * math.prod(size) > ops.LARGEST or work > 8 * ops.LARGEST:
        return None  # windows as large as images: a matrix knows where these end
    if general:
        weight = np.zeros((second.weight.shape[0], first.weight.shape[1], *size))
        reach = [(kernels[0][a] - 1) * apart[a] + 1 for a in (0, 1)]
        for i, j in np.ndindex(kernels[1]):
            y, x = i * step[0], j * step[1]
            place = weight[:, :, y : y + reach[0] : apart[0], x : x + reach[1] : apart[1]]
            place += np.tensordot(second.weight[:, :, i, j], first.weight, 1)
        return weight, 1
    # Both as (out, channels, *kernel); a depthwise second has one channel, which stands for all.
    windows, groups = first.weight, first.groups
    if by_first:
        windows, groups = first.weight[ops.input_channels(second), 0], second.groups
    taps = second.weight
    weight = np.zeros((*windows.shape[:2], *size))
    # Go through the smaller kernel, and add the larger one at once.
    (small, near), (large, far) = (windows, apart), (taps, step)
    if math.prod(kernels[0]) > math.prod(kernels[1]):
        (small, near), (large, far) = (large, far), (small, near)
    reach = [(large.shape[2 + a] - 1) * far[a] + 1 for a in (0, 1)]
    for i, j in np.ndindex(small.shape[2:]):
        y, x = i * near[0], j * near[1]
        place = weight[:, :, y : y + reach[0] : far[0], x : x + reach[1] : far[1]]
        place += small[:, :, i, j, None, None] * large
    return weight, groups


def _as_float64(op: Weighted) -> Weighted:
    bias = None if op.bias is None else op.bias.astype(np.float64, copy=False)
    return replace(op, weight=op.weight.astype(np.float64, copy=False), bias=bias)

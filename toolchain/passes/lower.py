"""Lower: every projection becomes one Linear or one Conv2d.

Pooling becomes a depthwise convolution; two convolutions, one of them depthwise, become one where that is
exact, and so does one with a scale behind it; a flatten is an index map that C order makes free. No neuron is
added, so the function of the network does not change. A chain that is no single convolution becomes the product
of its matrices, if that is not too large (:data:`snnc.ops.LARGEST`). A delay within a chain becomes the delay of the
projection, or of several where its elements differ.

A neuron that resets to v_reset and starts there becomes one that resets to 0: its potentials are
counted from v_reset.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.compilation import Compilation
from snnc.errors import InputError
from snnc.network import Network, Population, Projection
from snnc.ops import Conv1d, Conv2d, Delay, Flatten, Linear, Op, Pool2d, Scale, Shape, Stateless, Weighted
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
    return replace(
        network,
        populations=tuple(map(_from_reset, network.populations)),
        projections=tuple(_lower(network, p) for p in pieces),
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
    op: Weighted | None = None  # the operation so far
    read = shape  # what it reads
    try:
        for following in map(_stateless, projection.ops):
            if isinstance(following, Flatten):
                shape = following.output_shape(shape)
                continue
            op = _weighted(following, shape) if op is None else _fuse(op, read, following, shape)
            shape = following.output_shape(shape)
    except InputError as error:
        raise InputError(error.message, where=f"projection '{projection.name}'", fix=error.fix) from None
    if op is None:  # nothing but index maps
        op = Linear(sparse.eye_array(math.prod(shape), format="csr"))
    return replace(projection, ops=(_as_float64(op),))


def _stateless(op: Op) -> Stateless:
    assert not isinstance(op, Delay), "delays are split off first"
    return op


def _weighted(op: Stateless, shape: Shape) -> Weighted:
    """The operation as a Linear or a Conv2d."""
    match op:
        case Pool2d():
            return op.as_conv(shape[0])
        case Conv1d() | Scale() | Flatten():
            return Linear(ops.canonical(ops.matrix(op, shape)), ops.bias_of(op, shape))
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


def _scaled(op: Conv2d, scale: np.ndarray) -> Conv2d | None:
    """The convolution with a scale behind it, if that is the same all over each channel."""
    channels = scale.reshape(op.weight.shape[0], -1)
    if not np.all(channels == channels[:, :1]):
        return None
    each = channels[:, 0]
    bias = None if op.bias is None else op.bias * each
    return replace(op, weight=op.weight * each[:, None, None, None], bias=bias)


def _fuse_convolutions(first: Conv2d, shape: Shape, second: Conv2d, between: Shape) -> Conv2d | None:
    """Two convolutions, one of them depthwise, as one; None where no single one is equal."""
    if any(second.padding) and not _padding_is_outside(first, shape, between, second.padding):
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
    fused = Conv2d(weight, bias, stride, padding, (1, 1), groups)
    return fused if fused.output_shape(shape) == second.output_shape(between) else None


def _padding_is_outside(first: Conv2d, shape: Shape, between: Shape, padding: tuple[int, int]) -> bool:
    """Whether zeros around what `first` puts out are what it would put out beyond the edges of its input.

    None of its windows may then begin in rows that it left over. (Where windows overlap, some always do.)
    """
    if first.bias is not None or any(first.padding) or first.dilation != (1, 1):
        return False
    return all(not padding[a] or between[1 + a] * first.stride[a] >= shape[1 + a] for a in (0, 1))


def _composed(first: Conv2d, second: Conv2d) -> tuple[np.ndarray, int] | None:
    """Kernel and groups of `second` after `first`, where one of them is depthwise."""
    by_first = first.groups == first.weight.shape[0] and first.weight.shape[1] == 1
    if not by_first and not (second.groups == second.weight.shape[0] and second.weight.shape[1] == 1):
        return None
    step = second.dilation[0] * first.stride[0], second.dilation[1] * first.stride[1]
    apart = first.dilation
    kernels = first.weight.shape[2:], second.weight.shape[2:]
    size = [(kernels[0][a] - 1) * apart[a] + (kernels[1][a] - 1) * step[a] + 1 for a in (0, 1)]
    pairs = math.prod((second if by_first else first).weight.shape[:2])
    if pairs * math.prod(size) > ops.LARGEST or pairs * math.prod(map(math.prod, kernels)) > 8 * ops.LARGEST:
        return None  # windows as large as images: a matrix knows where these end
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

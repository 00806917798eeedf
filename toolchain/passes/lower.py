"""Lower: every projection becomes one Linear or one Conv2d.

Pooling becomes a depthwise convolution and is fused with the operation that follows it,
exactly; a flatten is an index map that C order makes free. No neuron is added, so the
function of the network does not change. A chain that is no single convolution becomes
the product of its matrices. A delay within a chain becomes the delay of the projection, or
of several where its elements differ.

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
    shape = network[projection.pre].shape
    earlier = ops.constant(before, shape) if any(map(ops.biased, before)) else None
    for number in np.unique(delay.steps):
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
    for following in map(_stateless, projection.ops):
        if isinstance(following, Flatten):
            shape = following.output_shape(shape)
            continue
        weighted = _weighted(following, shape)
        op = weighted if op is None else _fuse(op, read, weighted, shape)
        shape = following.output_shape(shape)
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


def _fuse(first: Weighted, shape: Shape, second: Weighted, between: Shape) -> Weighted:
    """One operation equal to `second` after `first`, which reads `shape` and is seen as `between`."""
    if isinstance(first, Conv2d) and isinstance(second, Conv2d):
        fused = _fuse_convolutions(first, shape, second)
        if fused is not None:
            return fused
    weight = ops.canonical(ops.matrix(second, between) @ ops.matrix(first, shape))
    bias = ops.bias_of(second, between)
    carried = ops.bias_of(first, shape)
    if carried is not None:
        through = ops.matrix(second, between) @ carried
        bias = through if bias is None else bias + through
    return Linear(weight, bias)


def _fuse_convolutions(first: Conv2d, shape: Shape, second: Conv2d) -> Conv2d | None:
    """A depthwise `first` (pooling) and `second` as one convolution; None where no single one is equal."""
    depthwise = first.groups == first.weight.shape[0] == shape[0] and first.bias is None
    if not depthwise or first.padding != (0, 0) or first.dilation != (1, 1):
        return None
    between = first.output_shape(shape)
    kernel = first.weight.shape[2:]
    for axis in (0, 1):
        # Padding of `second` stands for windows outside the input, which must really lie outside: none may
        # begin in rows that `first` left over. (Where windows overlap, some always do.)
        covered = between[1 + axis] * first.stride[axis] >= shape[1 + axis]
        if second.padding[axis] and not covered:
            return None
    step = [second.dilation[a] * first.stride[a] for a in (0, 1)]
    rows, columns = second.weight.shape[2:]
    weight = np.zeros((*second.weight.shape[:2], (rows - 1) * step[0] + kernel[0], (columns - 1) * step[1] + kernel[1]))
    # Input channel j of output channel o is channel j + group(o) * channels of `first`.
    channels = second.weight.shape[1]
    group = np.arange(second.weight.shape[0]) // (second.weight.shape[0] // second.groups)
    windows = first.weight[group[:, None] * channels + np.arange(channels), 0]  # (out, channels, *kernel)
    for i in range(rows):
        for j in range(columns):
            y, x = i * step[0], j * step[1]
            weight[:, :, y : y + kernel[0], x : x + kernel[1]] += second.weight[:, :, i, j, None, None] * windows
    stride = (second.stride[0] * first.stride[0], second.stride[1] * first.stride[1])
    padding = (second.padding[0] * first.stride[0], second.padding[1] * first.stride[1])
    fused = Conv2d(weight, second.bias, stride, padding, (1, 1), second.groups)
    return fused if fused.output_shape(shape) == second.output_shape(between) else None


def _as_float64(op: Weighted) -> Weighted:
    bias = None if op.bias is None else op.bias.astype(np.float64)
    return replace(op, weight=op.weight.astype(np.float64), bias=bias)

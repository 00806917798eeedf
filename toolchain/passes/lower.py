"""Lower: every projection becomes one Linear or one Conv2d.

Pooling becomes a depthwise convolution and is fused with the operation that follows it,
exactly; a flatten is an index map that C order makes free. No neuron is added, so the
function of the network does not change. A chain that is no single convolution becomes
the product of its matrices.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import sparse

from snnc import ops
from snnc.compilation import Compilation
from snnc.network import Network, Projection
from snnc.ops import Conv2d, Flatten, Linear, Pool2d, Shape, Weighted


def run(c: Compilation) -> Compilation:
    """Lower the network of `c`."""
    network = lower(c.network)
    kinds = {p.name: type(p.op).__name__ for p in network.projections}
    return replace(c, network=network).found(lower={"operations": kinds})


def lower(network: Network) -> Network:
    """The same network with exactly one operation per projection, weights in float64."""
    return replace(network, projections=tuple(_lower(network, p) for p in network.projections))


def _lower(network: Network, projection: Projection) -> Projection:
    shape = network[projection.pre].shape
    op: Weighted | None = None  # the operation so far
    read = shape  # what it reads
    for following in projection.ops:
        if isinstance(following, Flatten):
            shape = following.output_shape(shape)
            continue
        if isinstance(following, Pool2d):
            following = following.as_conv(shape[0])
        op = following if op is None else _fuse(op, read, following, shape)
        shape = following.output_shape(shape)
    if op is None:  # nothing but index maps
        op = Linear(sparse.eye_array(math.prod(shape), format="csr"))
    return replace(projection, ops=(_as_float64(op),))


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

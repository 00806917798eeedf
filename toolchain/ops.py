"""The linear operations between two populations, and their algebra.

An operation knows its output shape and its exact matrix. A weight of zero is an
absent synapse everywhere: a :class:`Linear` holds a canonical CSR matrix without
stored zeros, a convolution kernel holds zeros where taps were pruned.

Shapes have neither batch nor time axis; a flattened tensor is in C order
(channel, row, column), as in torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from snnc.errors import InputError

Shape = tuple[int, ...]
Pair = tuple[int, int]


def canonical(weight: Any) -> sparse.csr_array:
    """CSR copy of a 2-D array: sorted indices, no duplicates, no stored zeros, dtype kept."""
    matrix = sparse.csr_array(weight, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


@dataclass(frozen=True, eq=False)
class Linear:
    """y = W x + b.

    weight: CSR, (outputs, inputs). bias: (outputs,) or None.
    """

    weight: sparse.csr_array
    bias: np.ndarray | None = None

    def output_shape(self, shape: Shape) -> Shape:
        if math.prod(shape) != self.weight.shape[1]:
            raise InputError(
                f"a linear layer of {self.weight.shape[1]:,} inputs receives "
                f"{math.prod(shape):,} values (shape {shape})"
            )
        return (self.weight.shape[0],)

    @property
    def taps(self) -> int:
        """Weights that exist."""
        return int(self.weight.nnz)


@dataclass(frozen=True, eq=False)
class Conv2d:
    """Cross-correlation as in torch.nn.Conv2d, zero padding.

    weight: (out channels, in channels / groups, rows, columns). bias: (out channels,) or None.
    stride, padding, dilation: (rows, columns).
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def output_shape(self, shape: Shape) -> Shape:
        channels = self.weight.shape[1] * self.groups
        if len(shape) != 3 or shape[0] != channels:
            raise InputError(
                f"a convolution over {channels} channels needs input (channels, rows, columns), got {shape}"
            )
        span = [self.dilation[a] * (self.weight.shape[2 + a] - 1) + 1 for a in (0, 1)]
        return (self.weight.shape[0], *_positions(shape[1:], span, self.stride, self.padding))

    @property
    def taps(self) -> int:
        """Weights that exist, before they are shared over positions."""
        return int(np.count_nonzero(self.weight))


@dataclass(frozen=True, eq=False)
class Pool2d:
    """Sum or mean over windows (torch.nn.AvgPool2d with count_include_pad, no ceil mode).

    kind: "sum" or "average". kernel, stride, padding: (rows, columns).
    """

    kind: str
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def as_conv(self, channels: int) -> Conv2d:
        """The same operation as a depthwise convolution."""
        value = 1.0 if self.kind == "sum" else 1.0 / (self.kernel[0] * self.kernel[1])
        weight = np.full((channels, 1, *self.kernel), value)
        return Conv2d(weight, None, self.stride, self.padding, (1, 1), channels)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise InputError(f"pooling needs input (channels, rows, columns), got {shape}")
        return (shape[0], *_positions(shape[1:], self.kernel, self.stride, self.padding))


@dataclass(frozen=True, eq=False)
class Flatten:
    """Join axes start..end (inclusive, negative counts from the end) into one, C order."""

    start: int = 0
    end: int = -1

    def output_shape(self, shape: Shape) -> Shape:
        rank = len(shape)
        if not -rank <= self.start < rank or not -rank <= self.end < rank:
            raise InputError(f"axes {self.start}..{self.end} cannot be joined in shape {shape}")
        start, end = self.start % rank, self.end % rank
        return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


def _positions(size: Sequence[int], span: Sequence[int], stride: Pair, padding: Pair) -> Pair:
    """Rows and columns of output when a window of `span` moves over a padded image of `size`."""
    rows, columns = ((size[a] + 2 * padding[a] - span[a]) // stride[a] + 1 for a in (0, 1))
    if rows < 1 or columns < 1:
        raise InputError(f"a kernel that spans {span[0]}x{span[1]} does not fit into {size[0]}x{size[1]}")
    return rows, columns


Weighted = Linear | Conv2d
Op = Weighted | Pool2d | Flatten


def output_shape(ops: tuple[Op, ...], shape: Shape) -> Shape:
    """Shape after the chain `ops`, or InputError where two neighbours do not match."""
    for op in ops:
        shape = op.output_shape(shape)
    return shape


def matrix(op: Op, shape: Shape) -> sparse.csr_array:
    """The exact matrix of one op on an input of `shape`: CSR, (outputs, inputs), dtype of the weight."""
    if isinstance(op, Linear):
        return op.weight
    if isinstance(op, Flatten):
        return sparse.eye_array(math.prod(shape), format="csr")
    if isinstance(op, Pool2d):
        op = op.as_conv(shape[0])
    return _conv_matrix(op, shape)


def bias_of(op: Op, shape: Shape) -> np.ndarray | None:
    """What the op adds to each of its outputs, (outputs,), or None; `shape` is the input's."""
    if isinstance(op, (Flatten, Pool2d)) or op.bias is None:
        return None
    if isinstance(op, Linear):
        return op.bias
    _, rows, columns = op.output_shape(shape)
    return np.repeat(op.bias, rows * columns)


def _conv_matrix(op: Conv2d, shape: Shape) -> sparse.csr_array:
    channels, height, width = shape
    out, rows, columns = op.output_shape(shape)
    o, c, i, j = np.nonzero(op.weight)  # the taps that exist
    values = op.weight[o, c, i, j]
    c = c + (o // (out // op.groups)) * op.weight.shape[1]
    # One row of positions per tap: where each output row (column) reads, and whether that is inside.
    y = np.arange(rows)[None, :] * op.stride[0] - op.padding[0] + (i * op.dilation[0])[:, None]
    x = np.arange(columns)[None, :] * op.stride[1] - op.padding[1] + (j * op.dilation[1])[:, None]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    tap, row, column = np.nonzero(inside)
    post = (o[tap] * rows + row) * columns + column
    pre = (c[tap] * height + y[tap, row]) * width + x[tap, column]
    size = (out * rows * columns, channels * height * width)
    result = sparse.csr_array((values[tap], (post, pre)), shape=size)
    result.sort_indices()
    return result

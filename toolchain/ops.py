"""The linear operations between two populations, and their algebra.

An operation knows its output shape and its exact matrix; a :class:`Delay` alone looks
back in time. A weight of zero is an absent synapse everywhere: a :class:`Linear` holds a
canonical CSR matrix without stored zeros, a convolution kernel holds zeros where taps
were pruned.

Shapes have neither batch nor time axis; a flattened tensor is in C order
(channel, row, column), as in torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from snnc.errors import InputError

Shape = tuple[int, ...]
Pair = tuple[int, int]
Image = tuple[int, int, int]


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

    weight: CSR, (outputs, inputs). bias: (outputs,) or None. lead: leading axes of input and output, each
    place of which has a matrix of its own; the weight is then block diagonal.
    """

    weight: sparse.csr_array
    bias: np.ndarray | None = None
    lead: Shape = ()

    def output_shape(self, shape: Shape) -> Shape:
        if math.prod(shape) != self.weight.shape[1] or shape[: len(self.lead)] != self.lead:
            raise InputError(
                f"a linear layer of {self.weight.shape[1]:,} inputs receives "
                f"{math.prod(shape):,} values (shape {shape})"
            )
        return (*self.lead, self.weight.shape[0] // math.prod(self.lead))

    @property
    def taps(self) -> int:
        """Weights that exist."""
        return int(self.weight.nnz)


@dataclass(frozen=True, eq=False)
class Conv2d:
    """Cross-correlation as in torch.nn.Conv2d, zero padding.

    weight: (out channels, in channels / groups, rows, columns). bias: (out channels,) or None.
    stride, padding, dilation: (rows, columns). line: input and output are (channels, columns), images of one row: the
    form in which a one-dimensional convolution keeps its kernel.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    line: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        channels = self.weight.shape[1] * self.groups
        if len(shape) != (2 if self.line else 3) or shape[0] != channels:
            wanted = "(channels, positions)" if self.line else "(channels, rows, columns)"
            raise InputError(f"a convolution over {channels} channels needs input {wanted}, got {shape}")
        image = self.images(shape)[1]
        return (image[0], image[2]) if self.line else image

    def images(self, shape: Shape) -> tuple[Image, Image]:
        """Input and output as (channels, rows, columns)."""
        rows, columns = (1, *shape[1:])[-2:]
        span = [self.dilation[a] * (self.weight.shape[2 + a] - 1) + 1 for a in (0, 1)]
        places = _positions((rows, columns), span, self.stride, self.padding)
        return (shape[0], rows, columns), (self.weight.shape[0], *places)

    @property
    def taps(self) -> int:
        """Weights that exist, before they are shared over positions."""
        return int(np.count_nonzero(self.weight))


@dataclass(frozen=True, eq=False)
class Conv1d:
    """Cross-correlation as in torch.nn.Conv1d, zero padding.

    weight: (out channels, in channels / groups, positions). bias: (out channels,) or None.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    def as_conv2d(self) -> Conv2d:
        """The same operation on images of one row."""
        weight = self.weight[:, :, None, :]
        return Conv2d(
            weight, self.bias, (1, self.stride), (0, self.padding), (1, self.dilation), self.groups, line=True
        )

    def output_shape(self, shape: Shape) -> Shape:
        return self.as_conv2d().output_shape(shape)

    @property
    def taps(self) -> int:
        """Weights that exist, before they are shared over positions."""
        return int(np.count_nonzero(self.weight))


@dataclass(frozen=True, eq=False)
class Scale:
    """y = x * scale, element by element. scale: of the shape of x."""

    scale: np.ndarray

    def output_shape(self, shape: Shape) -> Shape:
        if shape != self.scale.shape:
            raise InputError(f"a scale of shape {self.scale.shape} receives values of shape {shape}")
        return shape


@dataclass(frozen=True, eq=False)
class Delay:
    """y[t] = x[t - steps], element by element; 0 before the first step. steps: int64, of the shape of x."""

    steps: np.ndarray

    def output_shape(self, shape: Shape) -> Shape:
        if shape != self.steps.shape:
            raise InputError(f"a delay of shape {self.steps.shape} receives values of shape {shape}")
        return shape


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


def same_padding(
    weight: np.ndarray, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[np.ndarray, list[int], list[int]]:
    """Kernel, padding and dilation per axis for padding 'same' as in torch, which keeps the size of the input.

    weight: (out, in, *kernel). Where the kernel spans an even number of places torch pads one more at the end; a
    place without a tap in front makes that symmetric. InputError for strides.
    """
    if any(s != 1 for s in stride):
        raise InputError("padding 'same' is defined for stride 1 only", fix="give the padding as numbers")
    padding, dilated = [], list(dilation)
    for axis, step in enumerate(dilation, start=2):
        span = step * (weight.shape[axis] - 1)
        padding.append((span + 1) // 2)
        if span % 2:
            # Places between the taps become taps of zero, for else the one in front would be `step` places away.
            spread = np.zeros((*weight.shape[:axis], span + 2, *weight.shape[axis + 1 :]), weight.dtype)
            spread[(slice(None),) * axis + (slice(1, None, step),)] = weight
            weight, dilated[axis - 2] = spread, 1
    return weight, padding, dilated


def _positions(size: Sequence[int], span: Sequence[int], stride: Pair, padding: Pair) -> Pair:
    """Rows and columns of output when a window of `span` moves over a padded image of `size`."""
    rows, columns = ((size[a] + 2 * padding[a] - span[a]) // stride[a] + 1 for a in (0, 1))
    if rows < 1 or columns < 1:
        raise InputError(f"a kernel that spans {span[0]}x{span[1]} does not fit into {size[0]}x{size[1]}")
    return rows, columns


Weighted = Linear | Conv2d
Stateless = Weighted | Conv1d | Scale | Pool2d | Flatten
Op = Stateless | Delay


def output_shape(ops: tuple[Op, ...], shape: Shape) -> Shape:
    """Shape after the chain `ops`, or InputError where two neighbours do not match."""
    for op in ops:
        shape = op.output_shape(shape)
    return shape


def matrix(op: Stateless, shape: Shape) -> sparse.csr_array:
    """The exact matrix of one op on an input of `shape`: CSR, (outputs, inputs), dtype of the weight."""
    match op:
        case Linear():
            return op.weight
        case Flatten():
            return sparse.eye_array(math.prod(shape), format="csr")
        case Scale():
            values = op.scale.ravel()
            kept = np.flatnonzero(values)
            ends = np.concatenate([[0], np.cumsum(values != 0)])
            return sparse.csr_array((values[kept], kept, ends), shape=(values.size, values.size))
        case Pool2d():
            return _conv_matrix(op.as_conv(shape[0]), shape)
        case Conv1d():
            return _conv_matrix(op.as_conv2d(), shape)
        case Conv2d():
            return _conv_matrix(op, shape)


def bias_of(op: Op, shape: Shape) -> np.ndarray | None:
    """What the op adds to each of its outputs, (outputs,), or None; `shape` is the input's."""
    bias: np.ndarray | None = getattr(op, "bias", None)
    if bias is None or isinstance(op, Linear):
        return bias
    # One per channel of a convolution.
    return np.repeat(bias, math.prod(op.output_shape(shape)[1:]))


def biased(op: Op) -> bool:
    """Whether the operation adds something."""
    return isinstance(op, Linear | Conv1d | Conv2d) and op.bias is not None


def unbiased(op: Op) -> Op:
    """The operation without what it adds."""
    return replace(op, bias=None) if isinstance(op, Linear | Conv1d | Conv2d) else op


def constant(chain: Sequence[Op], shape: Shape) -> np.ndarray:
    """What the chain puts out for an input of zeros that has lasted: its biases, carried through. (outputs,)."""
    total = np.zeros(math.prod(shape))
    for op in chain:
        if not isinstance(op, Delay):
            # Nothing stays nothing: most chains need no matrix here.
            total = small_matrix(op, shape) @ total if total.any() else np.zeros(math.prod(op.output_shape(shape)))
            bias = bias_of(op, shape)
            total = total if bias is None else total + bias
        shape = op.output_shape(shape)
    return total


# Synapses that several operations become together: more than a chip of 128 cores holds.
LARGEST = 1 << 25


def synapses(op: Conv2d, shape: Shape) -> int:
    """At most so many weights has the matrix of a convolution on an input of `shape`."""
    return op.taps * math.prod(op.output_shape(shape)[1:])


def count(op: Weighted | Conv1d, shape: Shape) -> int:
    """Entries of the matrix of an operation on an input of `shape`, without making it."""
    if isinstance(op, Linear):
        return op.taps
    if isinstance(op, Conv1d):
        return count(op.as_conv2d(), shape)
    inside = []
    before, after = op.images(shape)
    for axis in (1, 2):
        tap = np.arange(op.weight.shape[1 + axis])[:, None] * op.dilation[axis - 1] - op.padding[axis - 1]
        reads = tap + np.arange(after[axis])[None, :] * op.stride[axis - 1]
        inside.append(np.sum((reads >= 0) & (reads < before[axis]), axis=1))
    return int(inside[0] @ np.count_nonzero(op.weight, axis=(0, 1)) @ inside[1])


def input_channels(op: Conv2d) -> np.ndarray:
    """Which input channels each output channel reads, (out, in channels / groups)."""
    channels = op.weight.shape[1]
    group = np.arange(op.weight.shape[0]) // (op.weight.shape[0] // op.groups)
    return group[:, None] * channels + np.arange(channels)


def apply(op: Weighted, x: np.ndarray, shape: Shape) -> np.ndarray:
    """What the op makes of one input (inputs,) of `shape`, without its bias: (outputs,), of the common type."""
    if isinstance(op, Linear):
        return np.asarray(op.weight @ x)
    before, (out, rows, columns) = op.images(shape)
    (top, left), (down, across), (far_down, far_across) = op.padding, op.stride, op.dilation
    image = np.pad(x.reshape(before), ((0, 0), (top, top), (left, left)))
    weight = op.weight.reshape(op.groups, out // op.groups, *op.weight.shape[1:])
    y = np.zeros((op.groups, out // op.groups, rows * columns), np.result_type(weight, image))
    for i, j in np.ndindex(weight.shape[3:]):
        i0, j0 = i * far_down, j * far_across
        seen = image[:, i0 : i0 + (rows - 1) * down + 1 : down, j0 : j0 + (columns - 1) * across + 1 : across]
        y += weight[..., i, j] @ seen.reshape(op.groups, -1, rows * columns)
    return y.ravel()


def small_matrix(op: Stateless, shape: Shape) -> sparse.csr_array:
    """The matrix of an operation that is to be joined with others; InputError where a kernel has too large a one."""
    count = 0
    match op:
        case Conv2d():
            count = synapses(op, shape)
        case Conv1d():
            count = synapses(op.as_conv2d(), shape)
        case Pool2d():
            count = synapses(op.as_conv(shape[0]), shape)
    if count > LARGEST:
        raise _too_many(count)
    return matrix(op, shape)


def product(second: sparse.csr_array, first: sparse.csr_array) -> sparse.csr_array:
    """The matrix of `second` after `first`, canonical; InputError where it may be large."""
    work = int(np.diff(first.indptr)[second.indices].sum())  # products; the result has no more weights
    if work > LARGEST:
        raise _too_many(work)
    return canonical(second @ first)


def _too_many(count: int) -> InputError:
    return InputError(
        f"it takes {count:,} synapses to join its operations into one; at most {LARGEST:,} are joined",
        fix="put neurons between the operations",
    )


# Of the rows of a matrix that are made at once: 70 bytes are needed for each synapse until they are in order.
_AT_ONCE = 1 << 20


def _conv_matrix(op: Conv2d, shape: Shape) -> sparse.csr_array:
    out = op.weight.shape[0]
    blocks = min(out, -(-synapses(op, shape) // _AT_ONCE)) or 1
    ends = np.linspace(0, out, blocks + 1).astype(int)
    parts = [_conv_rows(op, shape, slice(a, b)) for a, b in pairwise(ends.tolist())]
    return parts[0] if len(parts) == 1 else sparse.vstack(parts, format="csr")


def _conv_rows(op: Conv2d, shape: Shape, chosen: slice) -> sparse.csr_array:
    """The rows of the matrix that belong to some of the output channels."""
    (channels, height, width), (out, rows, columns) = op.images(shape)
    o, c, i, j = np.nonzero(op.weight[chosen])  # the taps that exist
    values = op.weight[chosen][o, c, i, j]
    c = c + ((o + chosen.start) // (out // op.groups)) * op.weight.shape[1]
    # One row of positions per tap: where each output row (column) reads, and whether that is inside.
    y = np.arange(rows)[None, :] * op.stride[0] - op.padding[0] + (i * op.dilation[0])[:, None]
    x = np.arange(columns)[None, :] * op.stride[1] - op.padding[1] + (j * op.dilation[1])[:, None]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    tap, row, column = np.nonzero(inside)
    post = (o[tap] * rows + row) * columns + column
    pre = (c[tap] * height + y[tap, row]) * width + x[tap, column]
    size = ((chosen.stop - chosen.start) * rows * columns, channels * height * width)
    result = sparse.csr_array((values[tap], (post, pre)), shape=size)
    result.sort_indices()
    return result

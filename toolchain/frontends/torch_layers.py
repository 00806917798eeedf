"""Layers of torch without memory -> operations, exactly as in evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse
from torch import Tensor, nn

from snnc.errors import InputError
from snnc.ops import Conv1d, Conv2d, Flatten, Linear, Op, Pair, Pool2d, Scale, Shape, canonical, same_padding

# Layers that do nothing in evaluation mode.
NOTHING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
LAYERS = "Linear, Conv1d, Conv2d, BatchNorm1d, BatchNorm2d, Dropout, AvgPool2d, Flatten and neurons of snntorch"


def append(ops: tuple[Op, ...], shape: Shape, layer: nn.Module, where: str) -> tuple[Op, ...]:
    """The chain `ops`, whose output has `shape`, with one more layer; InputError naming `where` for others.

    Batch normalisation is folded into a linear or convolutional layer in front of it, in float64.
    """
    if isinstance(layer, NOTHING):
        return ops
    if isinstance(layer, NORMS):
        if ops and isinstance(ops[-1], Linear | Conv1d | Conv2d):
            return (*ops[:-1], folded(ops[-1], layer, where))
        return (*ops, *normalised(layer, shape, where))
    op = operation(layer, shape, where)
    try:
        op.output_shape(shape)
    except InputError as error:
        raise InputError(error.message, where=where) from None
    return (*ops, op)


def operation(layer: nn.Module, shape: Shape, where: str) -> Op:
    """The operation of a layer with weights, of pooling or of a flatten on values of `shape`."""
    if isinstance(layer, nn.Linear):
        if len(shape) != 1:
            raise InputError(f"it receives the shape {shape}", where=where, fix="put nn.Flatten() in front of it")
        return Linear(canonical(array(layer.weight)), bias_of(layer.bias))
    if isinstance(layer, nn.Conv2d):
        weight, around, apart = _padding(layer, where)
        return Conv2d(weight, bias_of(layer.bias), pair(layer.stride), pair(around), pair(apart), layer.groups)
    if isinstance(layer, nn.Conv1d):
        weight, (padding,), (dilation,) = _padding(layer, where)
        return Conv1d(weight, bias_of(layer.bias), layer.stride[0], padding, dilation, layer.groups)
    if isinstance(layer, nn.AvgPool2d):
        kernel, stride, edge = pair(layer.kernel_size), pair(layer.stride), pair(layer.padding)
        if layer.ceil_mode or layer.divisor_override or (not layer.count_include_pad and edge != (0, 0)):
            raise InputError("only plain average pooling is supported", where=where, fix="leave the options at default")
        return Pool2d("average", kernel, stride, edge)
    if isinstance(layer, nn.Flatten):
        return flattened(layer.start_dim, layer.end_dim, shape, where)
    raise InputError(
        f"layers of type {type(layer).__name__} are not supported",
        where=where,
        fix=f"use {LAYERS}, and neurons of snntorch",
    )


def flattened(start_dim: int, end_dim: int, shape: Shape, where: str) -> Flatten:
    """torch.flatten of a batch of values of `shape`: torch counts the batch as axis 0, a network has none."""
    start, end = (axis % (len(shape) + 1) - 1 for axis in (start_dim, end_dim))
    if not 0 <= start <= end:
        raise InputError("it would flatten the batch", where=where, fix="use start_dim=1 or more")
    return Flatten(start, end)


def folded(op: Linear | Conv1d | Conv2d, norm: nn.BatchNorm1d | nn.BatchNorm2d, where: str) -> Linear | Conv1d | Conv2d:
    """`op` followed by `norm`: y = gamma (W x + b - mean) / sqrt(var + eps) + beta."""
    scale, shift, mean = _statistics(norm, where)
    if len(mean) != op.weight.shape[0]:
        raise InputError(f"it normalises {len(mean)} channels of {op.weight.shape[0]}", where=where)
    bias = ((0.0 if op.bias is None else op.bias.astype(np.float64)) - mean) * scale + shift
    if not isinstance(op, Linear):
        wide = scale.reshape(-1, *[1] * (op.weight.ndim - 1))
        return replace(op, weight=op.weight * wide, bias=bias)
    weight = op.weight.astype(np.float64)
    weight.data *= np.repeat(scale, np.diff(weight.indptr))
    return Linear(canonical(weight), bias)


def normalised(norm: nn.BatchNorm1d | nn.BatchNorm2d, shape: Shape, where: str) -> tuple[Op, ...]:
    """`norm` where no weights stand in front of it: a scale per channel, and a shift."""
    scale, shift, mean = _statistics(norm, where)
    if not shape or shape[0] != len(mean):
        raise InputError(f"it normalises {len(mean)} channels of values of shape {shape}", where=where)
    bias = shift - mean * scale
    if len(shape) == 1:
        return (Linear(canonical(sparse.diags_array(scale)), bias),)
    if len(shape) == 2:
        return (Conv1d(scale[:, None, None], bias, groups=len(scale)),)
    return (Conv2d(scale[:, None, None, None], bias, groups=len(scale)),)


def _statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gamma / sqrt(var + eps), beta, mean) of each channel, float64."""
    if norm.running_mean is None or norm.running_var is None:
        raise InputError("it keeps no running statistics to fold", where=where, fix="use track_running_stats=True")
    mean, var = (array(t).astype(np.float64) for t in (norm.running_mean, norm.running_var))
    gamma = np.ones(len(mean)) if norm.weight is None else array(norm.weight).astype(np.float64)
    beta = np.zeros(len(mean)) if norm.bias is None else array(norm.bias).astype(np.float64)
    return gamma / np.sqrt(var + norm.eps), beta, mean


def _padding(layer: nn.Conv1d | nn.Conv2d, where: str) -> tuple[np.ndarray, list[int], list[int]]:
    """Weight, padding and dilation per axis."""
    if layer.padding_mode != "zeros":
        raise InputError(f"padding by '{layer.padding_mode}' is not supported", where=where, fix="pad with zeros")
    weight = array(layer.weight).copy()
    if layer.padding == "same":
        return same_padding(weight, layer.stride, layer.dilation)
    if layer.padding == "valid":
        return weight, [0] * (weight.ndim - 2), list(layer.dilation)
    assert not isinstance(layer.padding, str)
    return weight, [int(p) for p in layer.padding], list(layer.dilation)


def scaled(scale: Any, shape: Shape, where: str) -> Scale:
    """A product with a number or tensor that broadcasts to a batch of values of `shape`."""
    value = array(scale) if isinstance(scale, Tensor) else np.asarray(scale, np.float64)
    value = value.reshape(value.shape[1:]) if value.ndim > len(shape) and value.shape[0] == 1 else value
    try:
        return Scale(np.broadcast_to(value.astype(np.float64), shape).copy())
    except ValueError:
        raise InputError(f"a factor of shape {value.shape} meets values of shape {shape}", where=where) from None


def array(tensor: Tensor) -> np.ndarray:
    """The tensor's values; InputError-free, since every use is checked where the network is made."""
    return tensor.detach().cpu().numpy()


def bias_of(bias: Tensor | None) -> np.ndarray | None:
    """The bias as an array of its own, or None."""
    return None if bias is None else array(bias).copy()


def pair(value: Any) -> Pair:
    """(rows, columns); one number stands for both."""
    both: Sequence[int] = (value, value) if isinstance(value, int) else value
    return int(both[0]), int(both[1])

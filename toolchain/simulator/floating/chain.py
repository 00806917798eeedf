"""The operations of a projection on what its source puts out, for all steps at once or step by step.

Work is per event: a value that is not zero adds its weights to its targets, so that quiet layers cost
little and convolutions need no matrix. A sum is taken in the order of the sources.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np

from snnc.network import Projection
from snnc.ops import Conv1d, Conv2d, Delay, Flatten, Linear, Op, Pool2d, Scale, Shape, bias_of
from snnc.simulator.floating.watch import Watch


class Chain:
    """The operations of `projection`, whose source has `shape`.

    run: (steps, samples, source size) -> (steps, samples, target size). step: the same of one step, (samples,
    ...), called for steps 0, 1, 2, ... in turn. watch: told what goes into operations with weights.
    """

    def __init__(self, projection: Projection, shape: Shape, watch: Watch | None = None) -> None:
        self._stages: list[_Stage] = []
        for index, op in enumerate(projection.ops):
            if watch is not None and isinstance(op, Linear | Conv1d | Conv2d):
                self._stages.append(_Watched(watch, projection.name, index))
            self._stages.append(_stage(op, shape))
            bias = bias_of(op, shape)
            if bias is not None and bias.any():
                self._stages.append(_Bias(bias.astype(np.float64), projection.bias_start))
            shape = op.output_shape(shape)

    def run(self, x: np.ndarray) -> np.ndarray:
        for stage in self._stages:
            x = stage.run(x)
        return x

    def step(self, x: np.ndarray, t: int) -> np.ndarray:
        for stage in self._stages:
            x = stage.step(x, t)
        return x


class _Stage(Protocol):
    """One operation, as in :class:`Chain`."""

    def run(self, x: np.ndarray) -> np.ndarray: ...

    def step(self, x: np.ndarray, t: int) -> np.ndarray: ...


def _stage(op: Op, shape: Shape) -> _Stage:
    match op:
        case Linear():
            return _Matrix(op)
        case Conv2d():
            return _Convolution(op, shape)
        case Conv1d():
            return _Convolution(op.as_conv2d(), shape)
        case Pool2d():
            return _Convolution(op.as_conv(shape[0]), shape)
        case Scale(scale):
            return _Scaled(scale)
        case Delay(steps):
            return _Delayed(steps)
        case Flatten():
            return _Unchanged()


class _Instant:
    """An operation that treats every step alike."""

    def apply(self, x: np.ndarray) -> np.ndarray:
        """(rows, inputs) -> (rows, outputs)."""
        raise NotImplementedError

    def run(self, x: np.ndarray) -> np.ndarray:
        y = self.apply(x.reshape(-1, x.shape[-1]))
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def step(self, x: np.ndarray, t: int) -> np.ndarray:
        return self.apply(x)


class _Unchanged(_Instant):
    def apply(self, x: np.ndarray) -> np.ndarray:
        return x


class _Scaled(_Instant):
    def __init__(self, scale: np.ndarray) -> None:
        self._scale = scale.astype(np.float64).ravel()

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x * self._scale


class _Matrix(_Instant):
    def __init__(self, op: Linear) -> None:
        self._outputs = op.weight.shape[0]
        by_source = op.weight.T.tocsr().astype(np.float64)
        by_source.sort_indices()
        self._arrays = by_source.indptr.astype(np.int64), by_source.indices.astype(np.int32), by_source.data

    def apply(self, x: np.ndarray) -> np.ndarray:
        from snnc.simulator.floating import kernels  # numba: seconds to import, and no one else needs it

        y = np.zeros((len(x), self._outputs))
        kernels.spread(_countable(x), *self._arrays, y)
        return y


class _Convolution(_Instant):
    def __init__(self, op: Conv2d, shape: Shape) -> None:
        image, (out, rows, columns) = op.images(shape)
        # Input channels of all groups in a row, then kernel positions, then the group's output channels.
        weight = op.weight.astype(np.float64).reshape(op.groups, out // op.groups, *op.weight.shape[1:])
        self._weight = np.ascontiguousarray(np.moveaxis(weight, 1, -1)).reshape(
            image[0], *op.weight.shape[2:], out // op.groups
        )
        self._geometry = np.array(
            [*image, op.weight.shape[1], rows, columns, *op.stride, *op.padding, *op.dilation], np.int64
        )
        self._places, self._channels = rows * columns, out

    def apply(self, x: np.ndarray) -> np.ndarray:
        from snnc.simulator.floating import kernels

        y = np.zeros((len(x), self._places, self._channels))
        kernels.spread_conv(_countable(x), self._weight, self._geometry, y)
        return np.ascontiguousarray(y.swapaxes(1, 2)).reshape(len(x), -1)


def _countable(x: np.ndarray) -> np.ndarray:
    """Spikes as they are, anything else in float64: two forms, for which the kernels are compiled."""
    return np.ascontiguousarray(x if x.dtype == np.uint8 else x.astype(np.float64, copy=False))


class _Watched:
    """No operation: shows what passes by."""

    def __init__(self, watch: Watch, projection: str, index: int) -> None:
        self._watch, self._projection, self._index = watch, projection, index

    def run(self, x: np.ndarray) -> np.ndarray:
        self._watch.operation(self._projection, self._index, 0, _countable(x))
        return x

    def step(self, x: np.ndarray, t: int) -> np.ndarray:
        self._watch.operation(self._projection, self._index, t, _countable(x)[None])
        return x


class _Bias:
    def __init__(self, bias: np.ndarray, start: int) -> None:
        self._bias, self._start = bias, start

    def run(self, x: np.ndarray) -> np.ndarray:
        x[self._start :] += self._bias
        return x

    def step(self, x: np.ndarray, t: int) -> np.ndarray:
        return x + self._bias if t >= self._start else x


class _Delayed:
    """Each element a number of steps of its own late."""

    def __init__(self, steps: np.ndarray) -> None:
        self._steps = steps.ravel()
        depth = int(self._steps.max(initial=0)) + 1
        self._past: deque[np.ndarray] = deque(maxlen=depth)

    def run(self, x: np.ndarray) -> np.ndarray:
        y = np.zeros_like(x)
        for steps in np.unique(self._steps):
            late = self._steps == steps
            y[steps:, :, late] = x[: max(0, len(x) - steps), :, late]
        return y

    def step(self, x: np.ndarray, t: int) -> np.ndarray:
        self._past.appendleft(x)
        y = np.zeros_like(x)
        for steps in np.unique(self._steps[self._steps < len(self._past)]):
            late = self._steps == steps
            y[:, late] = self._past[steps][:, late]
        return y

"""The loops of the float executor over events, compiled by numba on first use."""

from __future__ import annotations

import numpy as np

from snnc.jit import compiled


@compiled
def spread(x: np.ndarray, indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, y: np.ndarray) -> None:
    """y += x W^T for W^T as CSR by source. x: (rows, inputs), uint8 or float64. y: float64 (rows, outputs)."""
    for row in range(x.shape[0]):
        for source in range(x.shape[1]):
            value = x[row, source]
            if value != 0:
                for k in range(indptr[source], indptr[source + 1]):
                    y[row, indices[k]] += value * data[k]


@compiled
def spread_conv(x: np.ndarray, weight: np.ndarray, geometry: np.ndarray, y: np.ndarray) -> None:
    """y += the convolution of x.

    x: (rows, channels * height * width). weight: (channels, kernel rows, kernel columns, output channels of the
    channel's group). geometry: channels, height, width, channels per group, output rows, output columns, and
    stride, padding, dilation as (rows, columns). y: (rows, output rows * output columns, output channels).
    """
    channels, height, width, per_group, rows, columns = geometry[:6]
    stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x = geometry[6:]
    _, kernel_rows, kernel_columns, together = weight.shape
    for row in range(x.shape[0]):
        source = 0
        for channel in range(channels):
            first = (channel // per_group) * together
            for top in range(height):
                for left in range(width):
                    value = x[row, source]
                    source += 1
                    if value == 0:
                        continue
                    for i in range(kernel_rows):
                        down = top + pad_y - i * dilation_y
                        if down < 0 or down % stride_y or down // stride_y >= rows:
                            continue
                        for j in range(kernel_columns):
                            across = left + pad_x - j * dilation_x
                            if across < 0 or across % stride_x or across // stride_x >= columns:
                                continue
                            place = (down // stride_y) * columns + across // stride_x
                            for k in range(together):
                                y[row, place, first + k] += value * weight[channel, i, j, k]


@compiled
def visit(x: np.ndarray, fan_out: np.ndarray, visits: np.ndarray, binary: np.ndarray) -> None:
    """Per row of x: the sum of the fan-outs of values that are not 0, and whether all values are 0, 1 or -1.

    x: (rows, inputs), uint8 or float64. fan_out: int64 (inputs,). visits: int64 (rows,). binary: bool (rows,).
    """
    for row in range(x.shape[0]):
        total, others = 0, 0
        for source in range(x.shape[1]):
            value = x[row, source]
            total += fan_out[source] * (value != 0)
            others += (value != 0) & (value != 1) & (value != -1)
        visits[row] = total
        binary[row] = others == 0

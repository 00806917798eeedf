"""The two loops over events of the float executor, compiled by numba on first use."""

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

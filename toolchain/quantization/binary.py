"""Layers whose weights are of one magnitude are exact in integers, whatever the width that was asked for.

With S = 2**e / magnitude all weights of the layer, or of an output channel, become -2**e or 2**e, which is a sign to
store. What is left to round are thresholds, to a whole number each, and biases; so e is the largest that the chip
allows. Channels whose magnitudes differ have thresholds of their own, of which a core holds few.
"""

from __future__ import annotations

import numpy as np

from snnc.quantization.grid import Layer, Limits, Scale, registers, values

# Magnitudes that differ by less are equal: they were trained in float32.
EQUAL = 1e-6


def exact(layer: Layer, signs: Limits, model: str, groups: int) -> Scale | None:
    """The scale at which all weights are on the grid of signs; None where there is none.

    signs: the limits of weights of 1 bit. groups: different sets of parameters that the layer may have.
    """
    smallest, largest = _magnitudes(layer)
    weighted = largest > 0
    if not weighted.any() or np.any(largest - smallest > EQUAL * largest, where=weighted):
        return None
    if np.ptp(largest[weighted]) <= EQUAL * largest.max():
        largest[:] = largest.max()
    largest[~weighted] = largest.max()  # no weights: any scale will do
    factor = (1 / largest)[layer.channels]
    for exponent in range(signs.exponent, -1, -1):
        scale = Scale(factor, exponent, exact=True)
        fits = np.all(layer.threshold * scale.unit <= signs.threshold)
        if fits and np.all(np.abs(layer.bias) * scale.unit <= signs.bias):
            same = np.ptp(factor) == 0
            return scale if same or _sets(layer, scale, signs, model) <= groups else None
    return None


def _magnitudes(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest of the weights that exist, of each channel; 0 and 0 where none does."""
    channels = int(layer.channels[-1]) + 1
    smallest, largest = np.full(channels, np.inf), np.zeros(channels)
    for projection in layer.incoming:
        size = np.abs(values(projection))
        exists = size > 0
        channel = layer.channels[layer.neurons(projection)][exists]
        np.minimum.at(smallest, channel, size[exists])
        np.maximum.at(largest, channel, size[exists])
    smallest[largest == 0] = 0
    return smallest, largest


def _sets(layer: Layer, scale: Scale, limits: Limits, model: str) -> int:
    params = registers(layer, scale, limits, model).params
    return np.unique(np.stack([v.ravel() for k, v in params.items() if k != "bias"]), axis=1).shape[1]

"""Scales that a layer can have: the plain one, and others around it.

The exponent is the largest that the chip allows for weights of that width and whose threshold and bias fit their
registers: it costs no memory and lets thresholds and biases be finer than weights, which trained networks need,
as their weights are often ten times the threshold.
"""

from __future__ import annotations

import numpy as np

from snnc.quantization.grid import Layer, Limits, Scale, values

# Scales are tried between half the plain one, and the one at which three quarters of the weights are cut to the grid.
DOWN, UP = 0.5, 0.25
# Each larger than the one before by at least this factor; not more than so many.
STEP, TRIED = 2**0.25, 24
# Weights by which the share that is cut is estimated.
_SEEN = 1 << 18


def plain(layer: Layer, limits: Limits) -> Scale:
    """The largest scale at which the largest weight still fits the grid, and threshold and bias their registers.

    It is made smaller until the (largest) threshold is a whole number: an error there would move every spike.
    """
    if layer.largest:
        found = fitting(layer, limits.weight / layer.largest, limits)
        if found is not None:
            return found
    return _uniform(layer, _whole(layer, _most(layer, limits)), 0)


def around(layer: Layer, limits: Limits) -> list[Scale]:
    """The plain scale, and others that are smaller or, where weights are cut to the grid, larger."""
    found = [plain(layer, limits)]
    if not layer.largest:
        return found
    low, high = DOWN * limits.weight / layer.largest, limits.weight / float(np.quantile(magnitudes(layer), UP))
    count = min(TRIED, 2 + int(np.log(high / low) / np.log(STEP)))
    for factor in np.geomspace(low, high, count):
        scale = fitting(layer, float(factor), limits)
        if scale is not None and all(scale.unit[0] != other.unit[0] for other in found):
            found.append(scale)
    return found


def magnitudes(layer: Layer) -> np.ndarray:
    """Of the weights of a layer, or of a share of them where they are many; those of a kernel count once."""
    data = [values(p) for p in layer.incoming]
    stride = 1 + sum(map(len, data)) // _SEEN
    found = np.abs(np.concatenate([d[::stride] for d in data]))
    found = found[found > 0]
    return found if len(found) else np.array([layer.largest])


def fitting(layer: Layer, factor: float, limits: Limits) -> Scale | None:
    """The scale with that factor, or one a little smaller; None where not even an exponent of 0 fits."""
    most = _most(layer, limits)
    for exponent in range(limits.exponent, -1, -1):
        unit = factor * 2.0**exponent
        if unit <= most:
            return _uniform(layer, _whole(layer, unit) / 2.0**exponent, exponent)
    return None


def _most(layer: Layer, limits: Limits) -> float:
    """The largest S at which thresholds and biases fit their registers."""
    bounds = [limits.threshold / float(layer.threshold.max())]
    if np.any(layer.bias != 0):
        bounds.append(limits.bias / float(np.abs(layer.bias).max()))
    return min(bounds)


def _uniform(layer: Layer, factor: float, exponent: int) -> Scale:
    return Scale(np.full(layer.size, factor), exponent)


def _whole(layer: Layer, unit: float) -> float:
    """The unit, so much smaller that the largest threshold is a whole number of it, if it is 1 or more."""
    top = float(layer.threshold.max())
    return float(np.floor(unit * top) / top) if unit * top >= 1 else unit

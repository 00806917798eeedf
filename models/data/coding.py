"""How a brightness becomes spikes: by their rate, by their time, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnc.recordings import coded
from snnc.samples import held

# Images that are coded at once; bounds memory, does not change results.
_BATCH = 1024


def rate(values: np.ndarray, steps: int, generator: np.random.Generator) -> np.ndarray:
    """Spikes of one integrate-and-fire neuron per value, uint8 (samples, steps, *rest).

    values: (samples, *rest) in 0..1, added to the neuron's potential each step; at 1 it spikes and
    1 is subtracted. Each potential starts at a random phase in [0, 1), so that equal values do not
    spike in step; over T steps a value x gives floor(xT) or ceil(xT) spikes, xT on average.
    """
    return coded(values, generator.random(values.shape), 0, steps)


def latency(values: np.ndarray, steps: int, generator: np.random.Generator) -> np.ndarray:
    """One spike per value, the earlier the larger, uint8 (samples, steps, *rest).

    values: (samples, *rest) in 0..1. Value x spikes at (1 - x)(steps - 1), which is rounded up or
    down at random with its fraction as the probability; 0 never spikes.
    """
    time = np.floor((1 - values) * (steps - 1) + generator.random(values.shape))
    spikes = [(time == step) & (values > 0) for step in range(steps)]
    return np.stack(spikes, axis=1).astype(np.uint8)


SPIKING: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {"rate": rate, "latency": latency}


def direct(values: np.ndarray, steps: int) -> np.ndarray:
    """The values themselves in each step, float32 (samples, steps, *rest), of which memory holds one step.

    The first layer then is what codes them, as in Kim et al., "Exploring Lottery Ticket Hypothesis in Spiking Neural
    Networks" (ECCV 2022). Such data feeds networks in torch; a chip takes spikes.
    """
    return held(values.astype(np.float32, copy=False), steps)


def of_images(pixels: np.ndarray, encoding: str, steps: int, generator: np.random.Generator) -> np.ndarray:
    """Images as input, (samples, steps, *rest). pixels: uint8 (samples, *rest), 255 is full brightness."""
    if encoding == "direct":
        return direct(pixels / np.float32(255), steps)
    spikes = np.empty((len(pixels), steps, *pixels.shape[1:]), np.uint8)
    for first in range(0, len(pixels), _BATCH):
        batch = slice(first, first + _BATCH)
        spikes[batch] = SPIKING[encoding](pixels[batch] / 255, steps, generator)
    return spikes

"""Who may look on while a float network runs."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Watch(Protocol):
    """Told what a run does, as it does it; arrays are not to be changed, and hold only until the call returns."""

    def operation(self, projection: str, index: int, first: int, x: np.ndarray) -> None:
        """What goes into an operation with weights, `index` among those of its projection, from step `first` on.

        x: uint8 (spikes) or float64, (steps, samples, size).
        """

    def membranes(self, population: str, v: np.ndarray) -> None:
        """The membranes of spiking neurons after a step, step by step; see :attr:`.neurons.Neurons.membrane`.

        v: (samples, size).
        """

"""What the float network does on calibration data, and how much of the data a layer is tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from snnc import ops
from snnc.network import Network
from snnc.ops import Conv2d
from snnc.quantization.grid import Layer, Rounded
from snnc.quantization.trial import Trial
from snnc.samples import Samples
from snnc.simulator import floating

# Samples, and steps of neurons of all of them, of which the float network's spikes are kept.
SAMPLES, KEPT = 128, 1 << 26
# Updates of neurons and synapses of one layer in one trial, some hundredths of a second.
WORK = 1 << 23


@dataclass(frozen=True, eq=False)
class Calibration:
    """Spikes of a lowered float network, and what its integer layers do.

    network: lowered. wanted: name -> (samples, steps, *shape), what the float network puts out; of an input its data.
    actual: the same of the integer layers that there are so far, each fed by those in front of it.
    """

    network: Network
    wanted: Mapping[str, np.ndarray]
    actual: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, samples: Samples) -> Calibration:
        """The float network on the first samples."""
        count = max(1, min(SAMPLES, len(samples), KEPT // (samples.steps * network.size)))
        data = samples.first(count).spikes
        wanted = floating.simulate(network, data)
        name = network.inputs[0].name
        return cls(network, {**wanted, name: data}, {name: data})

    @property
    def samples(self) -> int:
        """How many are used."""
        return len(self.wanted[self.network.inputs[0].name])

    def alone(self, layer: Layer) -> Trial:
        """The layer fed by the float network; of a large one some neurons, evenly spaced."""
        steps = self.wanted[layer.name].shape[1]
        one = steps * (layer.size + self._events(layer))  # work for a sample
        wanted = self._flat(layer)
        if one > WORK and not any(isinstance(p.op, Conv2d) for p in layer.incoming):
            chosen = np.linspace(0, layer.size - 1, max(1, int(layer.size * WORK / one))).astype(int)
            return self._trial(layer.part(chosen), self.wanted, wanted[:, :, chosen], 1)
        return self._trial(layer, self.wanted, wanted, max(1, int(WORK // one)))

    def behind(self, layer: Layer) -> Trial:
        """The layer fed by the integer layers in front of it; by float ones where they come later."""
        return self._trial(layer, {**self.wanted, **self.actual}, self._flat(layer), len(self._flat(layer)))

    def add(self, trial: Trial, rounded: Rounded) -> None:
        """Remember what a layer does as it is now."""
        name = rounded.population.name
        self.actual[name] = trial.spikes(rounded).reshape(self.wanted[name].shape)

    def _flat(self, layer: Layer) -> np.ndarray:
        raster = self.wanted[layer.name]
        return raster.reshape(*raster.shape[:2], -1).astype(bool, copy=False)

    def _trial(self, layer: Layer, fed: Mapping[str, np.ndarray], wanted: np.ndarray, samples: int) -> Trial:
        few = {p.pre: fed[p.pre][:samples] for p in layer.incoming}
        return Trial(self.network, layer, few, wanted[:samples])

    def _events(self, layer: Layer) -> float:
        """Synapses that the spikes of its sources visit in a step."""
        total = 0.0
        for projection in layer.incoming:
            pre = self.network[projection.pre]
            op = projection.op
            synapses = ops.synapses(op, pre.shape) if isinstance(op, Conv2d) else op.taps
            total += synapses * float(np.mean(self.wanted[pre.name] != 0))
        return total

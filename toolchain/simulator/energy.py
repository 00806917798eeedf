"""What a sample costs in energy and time, and where every constant comes from.

    energy = synops * synop_pj + active * neuron_active_pj + inactive * neuron_inactive_pj
             + spikes * spike_pj + hops_x * hop_x_pj + hops_y * hop_y_pj + crossings * crossing_pj

per sample, with counts of :mod:`snnc.simulator.accounting`; the time is the sum of the step
lengths of :mod:`snnc.simulator.timing`. Static energy is given only where the target has a
published static power of a chip, as power times chips times time (1 mW ns = 1 pJ).

Counted are events on the chip. Feeding it costs nothing here: input spikes cost their synapses,
but neither a spike nor hops. `spike_pj` is taken once per spike fired, whatever it reaches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from snnc.image import Image
from snnc.simulator import accounting
from snnc.simulator.run import Run
from snnc.target import Kind, Quantity

BETWEEN_CHIPS = ("energy.crossing_pj", "timing.crossing_ns", "timing.barrier_doubling_ns")


@dataclass(frozen=True)
class Constant:
    """A number of the target. source: full citation. kind: published, measured or assumed."""

    name: str
    value: float
    unit: str
    kind: Kind
    source: str
    note: str


@dataclass(frozen=True, eq=False)
class Kinds:
    """Dynamic energy by kind, in pJ; float64, of the shape of the counts that it is made of."""

    synapse_pj: np.ndarray
    neuron_pj: np.ndarray
    spike_pj: np.ndarray
    hop_pj: np.ndarray
    crossing_pj: np.ndarray

    @property
    def total_pj(self) -> np.ndarray:
        return self.synapse_pj + self.neuron_pj + self.spike_pj + self.hop_pj + self.crossing_pj


class Counts(Protocol):
    """What takes energy: counts by layer, by core, by step or in all, of any shape."""

    @property
    def synops(self) -> np.ndarray: ...
    @property
    def active(self) -> np.ndarray: ...
    @property
    def inactive(self) -> np.ndarray: ...
    @property
    def spikes(self) -> np.ndarray: ...
    @property
    def hops_x(self) -> np.ndarray: ...
    @property
    def hops_y(self) -> np.ndarray: ...
    @property
    def crossings(self) -> np.ndarray: ...


def kinds(image: Image, counts: Counts) -> Kinds:
    """Energy of counts of :mod:`snnc.simulator.accounting`: of a layer, that of the synapses that lead into it; of a
    core, that of its own memory, neurons and spikes and of the hops of what it sends. Spikes of inputs are not counted
    among those of a core or step; among those of a layer they are (:func:`on_chip`).
    """
    energy = image.target.energy
    return Kinds(
        synapse_pj=counts.synops * energy.synop_pj.value,
        neuron_pj=counts.active * energy.neuron_active_pj.value + counts.inactive * energy.neuron_inactive_pj.value,
        spike_pj=counts.spikes * energy.spike_pj.value,
        hop_pj=counts.hops_x * energy.hop_x_pj.value + counts.hops_y * energy.hop_y_pj.value,
        crossing_pj=counts.crossings * (0.0 if energy.crossing_pj is None else energy.crossing_pj.value),
    )


def on_chip(image: Image, layers: accounting.Layers) -> accounting.Layers:
    """The same without the spikes of inputs, which cost nothing."""
    inside = np.array([p.neuron != "input" for p in image.network.populations])
    return replace(layers, spikes=layers.spikes * inside)


@dataclass(frozen=True)
class LayerEnergy:
    """Share of one population, pJ per sample: synapses that lead into it, updates, spikes, their hops and crossings."""

    name: str
    synapse_pj: float
    neuron_pj: float
    spike_pj: float
    hop_pj: float
    crossing_pj: float

    @property
    def total_pj(self) -> float:
        return self.synapse_pj + self.neuron_pj + self.spike_pj + self.hop_pj + self.crossing_pj


@dataclass(frozen=True)
class Estimate:
    """Mean per sample over all samples of a run; plain data.

    time_ns: length of all steps. synapse_pj, neuron_pj, spike_pj, hop_pj: dynamic energy; crossing_pj: of hops
    from chip to chip, what they cost beyond hop_pj. static_pj: of all chips in use, None where the target gives no
    static power. layers: in network order, inputs included. constants: all that went in.
    """

    samples: int
    steps: int
    time_ns: float
    synapse_pj: float
    neuron_pj: float
    spike_pj: float
    hop_pj: float
    crossing_pj: float
    static_pj: float | None
    layers: tuple[LayerEnergy, ...]
    constants: tuple[Constant, ...]

    @property
    def dynamic_pj(self) -> float:
        return self.synapse_pj + self.neuron_pj + self.spike_pj + self.hop_pj + self.crossing_pj


def estimate(image: Image, run: Run, account: accounting.Account | None = None) -> Estimate:
    """Energy and time of a run of this image (with mapping, see :func:`snnc.simulator.simulate`).

    account: that of the run, where it has been drawn up already.
    """
    account = account or accounting.account(image, run)
    energy = image.target.energy
    time_ns = float(run.step_ns.sum(axis=1).mean())
    total, by_layer = kinds(image, account.totals), kinds(image, on_chip(image, account.layers))
    return Estimate(
        samples=run.samples,
        steps=run.steps,
        time_ns=time_ns,
        **{name: float(value.mean()) for name, value in vars(total).items()},
        static_pj=None if energy.static_mw is None else energy.static_mw.value * image.chips * time_ns,
        layers=tuple(
            LayerEnergy(name, **{kind: float(value[:, k].mean()) for kind, value in vars(by_layer).items()})
            for k, name in enumerate(account.layers.names)
        ),
        constants=_constants(image),
    )


def _constants(image: Image) -> tuple[Constant, ...]:
    """The numbers of the target's energy and timing tables; the unit is the end of a number's name.

    Those of traffic between chips are left out where there is one.
    """
    return tuple(
        Constant(
            name=name,
            value=number.value,
            unit=name.rpartition("_")[2],
            kind=number.kind,
            source=image.target.sources[number.source],
            note=number.note,
        )
        for name, number in image.target.numbers()
        if isinstance(number, Quantity) and (image.chips > 1 or name not in BETWEEN_CHIPS)
    )

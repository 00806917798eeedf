"""What a sample costs in energy and time, and where every constant comes from.

    energy = synops * synop_pj + active * neuron_active_pj + inactive * neuron_inactive_pj
             + spikes * spike_pj + sent * message_out_pj + received * message_in_pj
             + hops_x * hop_x_pj + hops_y * hop_y_pj + crossings * crossing_pj

per sample, with counts of :mod:`snnc.simulator.accounting`; the time is the sum of the step
lengths of :mod:`snnc.simulator.timing`. Static energy is given only where the target has a
published static power of a chip, as power times chips times time (1 mW ns = 1 pJ).

Counted are events on the chip. Feeding it costs nothing here: input spikes cost their synapses,
but neither a spike nor hops. `spike_pj` is taken once per spike fired, whatever it reaches; messages are counted for
each core that a spike reaches, its own included. Which updates are active is a reading of the target's source
(`updates`); where that is "changing", the energy without any active update is told, too, as the lower end of a range.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from snnc.image import Image
from snnc.quantities import Kind, Quantity
from snnc.simulator import accounting
from snnc.simulator.run import Run

# Numbers that matter only where several chips are in use.
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
    message_pj: np.ndarray
    hop_pj: np.ndarray
    crossing_pj: np.ndarray

    @property
    def total_pj(self) -> np.ndarray:
        return self.synapse_pj + self.neuron_pj + self.spike_pj + self.message_pj + self.hop_pj + self.crossing_pj


def kinds(image: Image, counts: accounting.Counts) -> Kinds:
    """Energy of counts of :mod:`snnc.simulator.accounting`: of a layer, that of the synapses that lead into it and of
    what becomes of its messages; of a core, that of its own memory, neurons and spikes, of what it receives, and of the
    hops of what it sends. Spikes of inputs are not counted among those of a core or step; among those of a layer they
    are (:func:`on_chip`).
    """
    energy = image.target.energy
    synop = _pj(energy.synop_pj)
    dense, kernel = (_pj(q or energy.synop_pj) for q in (energy.synop_dense_pj, energy.synop_kernel_pj))
    updates = counts.active + counts.inactive
    active = {"changing": counts.active, "spiking": counts.spikes, "every": updates}[energy.updates]
    more = _pj(energy.neuron_active_pj) - _pj(energy.neuron_inactive_pj)
    return Kinds(
        synapse_pj=(counts.synops - counts.dense_synops - counts.kernel_synops) * synop
        + counts.dense_synops * dense
        + counts.kernel_synops * kernel,
        neuron_pj=updates * _pj(energy.neuron_inactive_pj) + active * more,
        spike_pj=counts.spikes * _pj(energy.spike_pj),
        message_pj=counts.sent * _pj(energy.message_out_pj) + counts.received * _pj(energy.message_in_pj),
        hop_pj=counts.hops_x * _pj(energy.hop_x_pj) + counts.hops_y * _pj(energy.hop_y_pj),
        crossing_pj=counts.crossings * _pj(energy.crossing_pj),
    )


def on_chip(image: Image, layers: accounting.Layers) -> accounting.Layers:
    """The same without the spikes of inputs, which cost nothing."""
    inside = np.array([p.neuron != "input" for p in image.network.populations])
    return replace(layers, spikes=layers.spikes * inside)


@dataclass(frozen=True)
class LayerEnergy:
    """Share of one population, pJ per sample: synapses that lead into it, updates, spikes, and what its messages cost:
    to send and receive them, their hops and crossings.
    """

    name: str
    synapse_pj: float
    neuron_pj: float
    spike_pj: float
    message_pj: float
    hop_pj: float
    crossing_pj: float

    @property
    def total_pj(self) -> float:
        return self.synapse_pj + self.neuron_pj + self.spike_pj + self.message_pj + self.hop_pj + self.crossing_pj


@dataclass(frozen=True)
class Estimate:
    """Mean per sample over all samples of a run; plain data.

    timing: name of the set of constants. time_ns: length of all steps if no message waits for another; latest_ns: at
    most. synapse_pj, neuron_pj, spike_pj, message_pj, hop_pj: dynamic energy; crossing_pj: of hops from chip to chip,
    what they cost beyond hop_pj. least_neuron_pj: neuron_pj if all updates were inactive ones. static_pj: of all chips
    in use, None where the target gives no static power. layers: in network order, inputs included. constants: all that
    went in.
    """

    samples: int
    steps: int
    timing: str
    time_ns: float
    latest_ns: float
    synapse_pj: float
    neuron_pj: float
    least_neuron_pj: float
    spike_pj: float
    message_pj: float
    hop_pj: float
    crossing_pj: float
    static_pj: float | None
    layers: tuple[LayerEnergy, ...]
    constants: tuple[Constant, ...]

    @property
    def dynamic_pj(self) -> float:
        return self.synapse_pj + self.neuron_pj + self.spike_pj + self.message_pj + self.hop_pj + self.crossing_pj

    @property
    def least_pj(self) -> float:
        """Dynamic energy if all updates of neurons were inactive ones."""
        return self.dynamic_pj - self.neuron_pj + self.least_neuron_pj


def estimate(image: Image, run: Run, account: accounting.Account | None = None) -> Estimate:
    """Energy and time of a run of this image (with mapping, see :func:`snnc.simulator.simulate`).

    account: that of the run, where it has been drawn up already.
    """
    account = account or accounting.account(image, run)
    energy = image.target.energy
    time_ns = float(run.time_ps.mean()) / 1000
    total, by_layer = kinds(image, account.totals), kinds(image, on_chip(image, account.layers))
    means = {name: float(value.mean()) for name, value in vars(total).items()}
    idle = float((account.totals.active + account.totals.inactive).mean()) * _pj(energy.neuron_inactive_pj)
    return Estimate(
        samples=run.samples,
        steps=run.steps,
        timing=image.target.default,
        time_ns=time_ns,
        latest_ns=float(run.latest_ps.mean()) / 1000,
        **means,
        least_neuron_pj=idle if energy.updates == "changing" else means["neuron_pj"],
        static_pj=None if energy.static_mw is None else energy.static_mw.value * image.chips * time_ns,
        layers=tuple(
            LayerEnergy(name, **{kind: float(value[:, k].mean()) for kind, value in vars(by_layer).items()})
            for k, name in enumerate(account.layers.names)
        ),
        constants=_constants(image),
    )


def _pj(quantity: Quantity | None) -> float:
    return 0.0 if quantity is None else quantity.value


def _constants(image: Image) -> tuple[Constant, ...]:
    """The constants in use; the unit is the end of a number's name.

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
        for name, number in image.target.costs[image.target.default].numbers()
        if image.chips > 1 or name not in BETWEEN_CHIPS
    )

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

from dataclasses import dataclass

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


@dataclass(frozen=True)
class LayerEnergy:
    """Share of one population, pJ per sample: synapses that lead into it, its spikes, their hops and crossings."""

    name: str
    synapse_pj: float
    spike_pj: float
    hop_pj: float
    crossing_pj: float


@dataclass(frozen=True)
class Estimate:
    """Mean per sample over all samples of a run; plain data.

    time_ns: length of all steps. synapse_pj, neuron_pj, spike_pj, hop_pj: dynamic energy; crossing_pj: of hops
    from chip to chip, what they cost beyond hop_pj. static_pj: of all chips in use, None where the target gives no
    static power. layers: in network order, inputs included; updates of neurons are counted per core and are not in
    it. constants: all that went in.
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
    by_layer, total = account.layers, account.totals
    energy = image.target.energy
    crossing_pj = 0.0 if energy.crossing_pj is None else energy.crossing_pj.value
    time_ns = float(run.time_ns.mean())
    shares = tuple(
        LayerEnergy(
            name=population.name,
            synapse_pj=float(by_layer.synops[:, k].mean()) * energy.synop_pj.value,
            spike_pj=float(by_layer.spikes[:, k].mean()) * energy.spike_pj.value * (population.neuron != "input"),
            hop_pj=float(by_layer.hops_x[:, k].mean()) * energy.hop_x_pj.value
            + float(by_layer.hops_y[:, k].mean()) * energy.hop_y_pj.value,
            crossing_pj=float(by_layer.crossings[:, k].mean()) * crossing_pj,
        )
        for k, population in enumerate(image.network.populations)
    )
    return Estimate(
        samples=run.samples,
        steps=run.steps,
        time_ns=time_ns,
        synapse_pj=float(total.synops.mean()) * energy.synop_pj.value,
        neuron_pj=float(total.active.mean()) * energy.neuron_active_pj.value
        + float(total.inactive.mean()) * energy.neuron_inactive_pj.value,
        spike_pj=float(total.spikes.mean()) * energy.spike_pj.value,
        hop_pj=float(total.hops_x.mean()) * energy.hop_x_pj.value + float(total.hops_y.mean()) * energy.hop_y_pj.value,
        crossing_pj=float(total.crossings.mean()) * crossing_pj,
        static_pj=None if energy.static_mw is None else energy.static_mw.value * image.chips * time_ns,
        layers=shares,
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

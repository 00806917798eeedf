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

from dataclasses import dataclass

import numpy as np

from snnc.costs import Energy
from snnc.image import Image
from snnc.network import Projection
from snnc.quantities import Kind, Quantity
from snnc.resources import FORMATS
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


@dataclass(frozen=True)
class LayerEnergy:
    """Share of one population, pJ per sample: synapses that lead into it, its spikes, their messages, hops, crossings.

    Messages are received and sent.
    """

    name: str
    synapse_pj: float
    spike_pj: float
    message_pj: float
    hop_pj: float
    crossing_pj: float


@dataclass(frozen=True)
class Estimate:
    """Mean per sample over all samples of a run; plain data.

    timing: name of the set of constants. time_ns: length of all steps if no message waits for another; latest_ns: at
    most. synapse_pj, neuron_pj, spike_pj, message_pj, hop_pj: dynamic energy; crossing_pj: of hops from chip to chip,
    what they cost beyond hop_pj. least_neuron_pj: neuron_pj if all updates were inactive ones. static_pj: of all chips
    in use, None where the target gives no static power. layers: in network order, inputs included; updates of neurons
    are counted per core and are not in it. constants: all that went in.
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
    by_layer, total = account.layers, account.totals
    energy = image.target.energy
    hop_x, hop_y, crossing = (_pj(q) for q in (energy.hop_x_pj, energy.hop_y_pj, energy.crossing_pj))
    time_ns = float(run.time_ps.mean()) / 1000
    shares = tuple(
        LayerEnergy(
            name=population.name,
            synapse_pj=_synapses(image, run, population.name),
            spike_pj=float(by_layer.spikes[:, k].mean()) * _pj(energy.spike_pj) * (population.neuron != "input"),
            message_pj=_messages(image, run, population.name),
            hop_pj=float(by_layer.hops_x[:, k].mean()) * hop_x + float(by_layer.hops_y[:, k].mean()) * hop_y,
            crossing_pj=float(by_layer.crossings[:, k].mean()) * crossing,
        )
        for k, population in enumerate(image.network.populations)
    )
    updates = float((total.active + total.inactive).mean())
    active = {"changing": float(total.active.mean()), "spiking": float(total.spikes.mean()), "every": updates}
    more = _pj(energy.neuron_active_pj) - _pj(energy.neuron_inactive_pj)
    least = updates * _pj(energy.neuron_inactive_pj)
    return Estimate(
        samples=run.samples,
        steps=run.steps,
        timing=image.target.default,
        time_ns=time_ns,
        latest_ns=float(run.latest_ps.mean()) / 1000,
        synapse_pj=sum(share.synapse_pj for share in shares),
        neuron_pj=least + active[energy.updates] * more,
        least_neuron_pj=least if energy.updates == "changing" else least + active[energy.updates] * more,
        spike_pj=float(total.spikes.mean()) * _pj(energy.spike_pj),
        message_pj=sum(share.message_pj for share in shares),
        hop_pj=float(total.hops_x.mean()) * hop_x + float(total.hops_y.mean()) * hop_y,
        crossing_pj=float(total.crossings.mean()) * crossing,
        static_pj=None if energy.static_mw is None else energy.static_mw.value * image.chips * time_ns,
        layers=shares,
        constants=_constants(image),
    )


def _pj(quantity: Quantity | None) -> float:
    return 0.0 if quantity is None else quantity.value


def _fired(image: Image, run: Run, name: str) -> np.ndarray:
    """Spikes of each neuron of a population, mean over samples, float64 (size,)."""
    start = image.network.offsets[name]
    return run.spikes[:, start : start + image.network[name].size].mean(axis=0, dtype=np.float64)


def _synapses(image: Image, run: Run, name: str) -> float:
    """What visiting the synapses costs that lead into a population, each core's in the format that it is stored in."""
    return sum(
        float(_fired(image, run, p.pre) @ (_prices(image, p) @ image.usage.visits_of[p.name]))
        for p in image.network.into(name)
    )


def _prices(image: Image, projection: Projection) -> np.ndarray:
    """Picojoule of a synapse of a projection in each core, float64 (cores,)."""
    energy: Energy = image.target.energy
    known = np.array([_pj(getattr(energy, f"synop_{name}_pj", None) or energy.synop_pj) for name in FORMATS])
    formats = image.usage.formats[projection.name]
    return np.where(formats >= 0, known[formats], 0.0)


def _messages(image: Image, run: Run, name: str) -> float:
    """What the messages of a population cost: sent, unless it is outside, and received."""
    start, population = image.network.offsets[name], image.network[name]
    reached = np.diff(image.usage.stored.indptr)[start : start + population.size]
    sent = np.minimum(reached, 1) if image.target.mesh.multicast else reached
    energy = image.target.energy
    each = reached * _pj(energy.message_in_pj)
    if population.neuron != "input":
        each = each + sent * _pj(energy.message_out_pj)
    return float(_fired(image, run, name) @ each)


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

"""What a run did on the chip: per layer, per core, per sample. Pure functions of (image, run).

The simulation counts spikes per neuron; what a spike causes is known from the image. So all
figures are products of counts and sparse matrices, exact integers. What depends on the state
of the step (active or inactive updates) is taken from the run's counts per core.

A SynOp is a stored synapse that a spike visits, zeros of a dense format included: this costs
time and energy. An effective SynOp visits a weight that is not zero: this is what other tools
report (NeuroBench's "Effective_ACs").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from snnc.image import Image
from snnc.simulator.run import Run


@dataclass(frozen=True, eq=False)
class Layers:
    """Per population, inputs included, in network order; int64 (samples, layers) unless said otherwise.

    spikes: fired. synops, effective_synops: in the synapses that lead into the layer. updates: neuron
    updates per sample, (layers,). messages: spikes of the layer times cores reached besides their own
    (inputs: cores). hops_x, hops_y: of these messages on the mesh. crossings: those hops that lead to another chip.
    """

    names: tuple[str, ...]
    spikes: np.ndarray
    synops: np.ndarray
    effective_synops: np.ndarray
    updates: np.ndarray
    messages: np.ndarray
    hops_x: np.ndarray
    hops_y: np.ndarray
    crossings: np.ndarray


@dataclass(frozen=True, eq=False)
class Cores:
    """Per core; int64 (samples, cores).

    spikes: fired. synops, effective_synops: in its memory. active, inactive: neuron updates. messages: sent
    to other cores.
    """

    spikes: np.ndarray
    synops: np.ndarray
    effective_synops: np.ndarray
    active: np.ndarray
    inactive: np.ndarray
    messages: np.ndarray


@dataclass(frozen=True, eq=False)
class Totals:
    """Per sample; int64 (samples,). spikes and messages are those of the chips, input_* those sent to them."""

    spikes: np.ndarray
    synops: np.ndarray
    effective_synops: np.ndarray
    active: np.ndarray
    inactive: np.ndarray
    messages: np.ndarray
    hops_x: np.ndarray
    hops_y: np.ndarray
    crossings: np.ndarray
    input_spikes: np.ndarray
    input_messages: np.ndarray


def layers(image: Image, run: Run) -> Layers:
    """Figures per population."""
    network, spikes = image.network, run.spikes.astype(np.int64)
    starts = list(network.offsets.values())
    names = [p.name for p in network.populations]
    synops, effective = np.zeros((2, len(spikes), len(names)), np.int64)
    for projection in network.projections:
        start = network.offsets[projection.pre]
        fired = spikes[:, start : start + network[projection.pre].size]
        usage, post = image.usage, names.index(projection.post)
        synops[:, post] += fired @ usage.visits_of[projection.name].sum(axis=0, dtype=np.int64)
        effective[:, post] += fired @ usage.existing_of[projection.name].sum(axis=0, dtype=np.int64)

    def by_layer(cost: np.ndarray) -> np.ndarray:
        return np.add.reduceat(spikes * cost, starts, axis=1)

    return Layers(
        names=tuple(names),
        spikes=by_layer(np.ones(network.size, np.int64)),
        synops=synops,
        effective_synops=effective,
        updates=np.array(
            [0 if p.neuron == "input" else p.size * p.compartments * run.steps for p in network.populations]
        ),
        messages=by_layer(image.routes.messages),
        hops_x=by_layer(image.routes.hops_x),
        hops_y=by_layer(image.routes.hops_y),
        crossings=by_layer(image.routes.crossings),
    )


def cores(image: Image, run: Run) -> Cores:
    """Figures per core."""
    spikes = run.spikes.astype(np.int64)
    core_of = image.mapping.core_of
    inside = np.flatnonzero(core_of >= 0)
    sent = sparse.csr_array(
        (image.routes.messages[inside], (inside, core_of[inside])), shape=(len(core_of), image.usage.cores)
    )
    return Cores(
        spikes=run.core_spikes,
        synops=run.core_synops,
        effective_synops=spikes @ image.usage.effective,
        active=run.core_active,
        inactive=image.usage.neurons * run.steps - run.core_active,
        messages=spikes @ sent,
    )


@dataclass(frozen=True, eq=False)
class Account:
    """A run by layer, by core and in all."""

    layers: Layers
    cores: Cores
    totals: Totals


def account(image: Image, run: Run) -> Account:
    """All figures of a run."""
    by_layer, by_core = layers(image, run), cores(image, run)
    return Account(by_layer, by_core, _totals(image, by_layer, by_core))


def _totals(image: Image, by_layer: Layers, by_core: Cores) -> Totals:
    outside = np.array([p.neuron == "input" for p in image.network.populations])
    return Totals(
        spikes=by_core.spikes.sum(axis=1),
        synops=by_core.synops.sum(axis=1),
        effective_synops=by_core.effective_synops.sum(axis=1),
        active=by_core.active.sum(axis=1),
        inactive=by_core.inactive.sum(axis=1),
        messages=by_core.messages.sum(axis=1),
        hops_x=by_layer.hops_x.sum(axis=1),
        hops_y=by_layer.hops_y.sum(axis=1),
        crossings=by_layer.crossings.sum(axis=1),
        input_spikes=by_layer.spikes[:, outside].sum(axis=1),
        input_messages=by_layer.messages[:, outside].sum(axis=1),
    )

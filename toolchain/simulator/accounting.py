"""What a run did on the chip: per layer, core, link, step and sample. Pure functions of (image, run).

The simulation counts spikes per neuron; what a spike causes is known from the image. So all
figures are products of counts and sparse matrices, exact integers. What depends on the state
of the step (active or inactive updates), and what is told step by step, is taken from the run.

A SynOp is a stored synapse that a spike visits, zeros of a dense format included: this costs
time and energy. An effective SynOp visits a weight that is not zero: this is what other tools
report (NeuroBench's "Effective_ACs").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from snnc.image import Image
from snnc.resources import FORMATS
from snnc.simulator.run import STEP_WORK, Run


@dataclass(frozen=True, eq=False)
class Counts:
    """What happened, by layer, core, step or in all; int64 (samples, ...).

    spikes: fired. synops, effective_synops: stored synapses visited, and those without zeros; dense_synops,
    kernel_synops: of synops those stored in that format. active, inactive: neuron updates. messages: spikes times cores
    reached besides their own (inputs: cores). sent, received: messages that cores send out and take in, own cores
    included; those of inputs are only received. hops_x, hops_y: of messages on the mesh. crossings: those hops that
    lead to another chip.
    """

    spikes: np.ndarray
    synops: np.ndarray
    effective_synops: np.ndarray
    dense_synops: np.ndarray
    kernel_synops: np.ndarray
    active: np.ndarray
    inactive: np.ndarray
    messages: np.ndarray
    sent: np.ndarray
    received: np.ndarray
    hops_x: np.ndarray
    hops_y: np.ndarray
    crossings: np.ndarray


@dataclass(frozen=True, eq=False)
class Layers(Counts):
    """Per population, inputs included, in network order, (samples, layers); messages are those of its spikes, synapses
    those that lead into it. updates: all of them per sample, (layers,).
    """

    names: tuple[str, ...]
    updates: np.ndarray


@dataclass(frozen=True, eq=False)
class Cores(Counts):
    """Per core, (samples, cores): of its memory and neurons; hops and crossings are of the messages that it sends."""


@dataclass(frozen=True, eq=False)
class Totals(Counts):
    """Per sample, (samples,). spikes and messages are those of the chips, input_* those sent to them."""

    input_spikes: np.ndarray
    input_messages: np.ndarray


@dataclass(frozen=True, eq=False)
class Steps(Totals):
    """Per step, over all cores, (samples, steps). A spike and all that it causes count in the step it fired in.

    time_ns: float64, length of the step.
    """

    time_ns: np.ndarray


@dataclass(frozen=True, eq=False)
class Links:
    """Per link from tile to tile that any route takes, those from chip to chip included; L links.

    start, stop: int64 (L, 2), its ends as (column, row) on the board. crossing: bool (L,), from chip to chip. messages:
    int64 (samples, L), carried; a multicast message counts once on each link. Their sum over the links is the number of
    hops.
    """

    start: np.ndarray
    stop: np.ndarray
    crossing: np.ndarray
    messages: np.ndarray

    @property
    def busiest(self) -> int | None:
        """The link that carries most in all samples together, the first of several; None where there is no link."""
        return int(self.messages.sum(axis=0).argmax()) if self.messages.shape[1] else None


def layers(image: Image, run: Run) -> Layers:
    """Figures per population."""
    network, spikes = image.network, run.spikes.astype(np.int64)
    starts = list(network.offsets.values())
    names = [p.name for p in network.populations]
    synops, effective, dense, kernel = np.zeros((4, len(spikes), len(names)), np.int64)
    for projection in network.projections:
        start = network.offsets[projection.pre]
        fired = spikes[:, start : start + network[projection.pre].size]
        usage, post = image.usage, names.index(projection.post)
        visits, formats = usage.visits_of[projection.name], usage.formats[projection.name]
        synops[:, post] += fired @ visits.sum(axis=0, dtype=np.int64)
        effective[:, post] += fired @ usage.existing_of[projection.name].sum(axis=0, dtype=np.int64)
        for total, form in ((dense, "dense"), (kernel, "kernel")):
            total[:, post] += fired @ (visits.T @ (formats == FORMATS.index(form)).astype(np.int64))

    def by_layer(cost: np.ndarray) -> np.ndarray:
        return np.add.reduceat(spikes * cost, starts, axis=1)

    updates = np.array([0 if p.neuron == "input" else p.size * p.compartments * run.steps for p in network.populations])
    return Layers(
        names=tuple(names),
        spikes=by_layer(np.ones(network.size, np.int64)),
        synops=synops,
        effective_synops=effective,
        dense_synops=dense,
        kernel_synops=kernel,
        active=run.layer_active,
        inactive=updates - run.layer_active,
        updates=updates,
        messages=by_layer(image.routes.messages),
        sent=by_layer(image.sends),
        received=by_layer(np.diff(image.usage.stored.indptr)),
        hops_x=by_layer(image.routes.hops_x),
        hops_y=by_layer(image.routes.hops_y),
        crossings=by_layer(image.routes.crossings),
    )


def cores(image: Image, run: Run) -> Cores:
    """Figures per core."""
    spikes = run.spikes.astype(np.int64)
    core_of = image.mapping.core_of
    inside = np.flatnonzero(core_of >= 0)
    home = sparse.csr_array(
        (np.ones(len(inside), np.int64), (inside, core_of[inside])), shape=(len(core_of), image.usage.cores)
    )

    def sent(cost: np.ndarray) -> np.ndarray:
        return (spikes * cost) @ home

    routes = image.routes
    return Cores(
        spikes=run.core_spikes,
        synops=run.core_synops,
        effective_synops=spikes @ image.usage.effective,
        dense_synops=spikes @ image.stored_as("dense"),
        kernel_synops=spikes @ image.stored_as("kernel"),
        active=run.core_active,
        inactive=image.usage.neurons * run.steps - run.core_active,
        messages=sent(routes.messages),
        sent=sent(image.sends),
        received=spikes @ (image.usage.stored > 0).astype(np.int64),
        hops_x=sent(routes.hops_x),
        hops_y=sent(routes.hops_y),
        crossings=sent(routes.crossings),
    )


def steps(image: Image, run: Run) -> Steps:
    """Figures per step."""
    counted = {name: run.step_work[:, :, k] for k, name in enumerate(STEP_WORK)}
    return Steps(**counted, inactive=int(image.usage.neurons.sum()) - counted["active"], time_ns=run.step_ns)


def links(image: Image, run: Run) -> Links:
    """Figures per link."""
    found = image.links
    return Links(found.start, found.stop, found.crossing, found.loads(run.spikes))


def memory(image: Image) -> dict[str, tuple[np.ndarray, int]]:
    """Use of each kind of memory of a core: name -> (used, int64 (cores,); the most that a core has)."""
    limits = image.target.core
    return {name: (getattr(image.usage, name), getattr(limits, name).value) for name in limits.__struct_fields__}


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
        dense_synops=by_core.dense_synops.sum(axis=1),
        kernel_synops=by_core.kernel_synops.sum(axis=1),
        active=by_core.active.sum(axis=1),
        inactive=by_core.inactive.sum(axis=1),
        messages=by_core.messages.sum(axis=1),
        sent=by_core.sent.sum(axis=1),
        received=by_core.received.sum(axis=1),
        hops_x=by_layer.hops_x.sum(axis=1),
        hops_y=by_layer.hops_y.sum(axis=1),
        crossings=by_layer.crossings.sum(axis=1),
        input_spikes=by_layer.spikes[:, outside].sum(axis=1),
        input_messages=by_layer.messages[:, outside].sum(axis=1),
    )

"""Samples through the clocked simulator, and how far the chip is from the network step by step.

Memories are loaded anew for every sample, and the cycles of that are not counted. On a grid, both agree but where a
membrane wraps around. On a single crossbar they need not: a neuron fires in the middle of a step, as soon as an event
takes it to its threshold. What arrives later in the step then counts from 0, it may fire again, and what would have
inhibited it may come too late. Spikes that lead back arrive in the step in which they are fired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from snnc.crossbars import core, packets, steps, tiles
from snnc.crossbars.image import Image
from snnc.crossbars.ticks import offsets
from snnc.errors import InputError, UsageError
from snnc.families import CrossbarChip
from snnc.processors import processors
from snnc.samples import Samples, accuracy
from snnc.simulator.clocked import crossbar, grid
from snnc.simulator.clocked.crossbar import Crossbar


@dataclass(frozen=True, eq=False)
class Run:
    """What a chip did.

    spikes: layer -> uint16 (samples, steps, neurons), how many in each step; of neurons that nobody needs, which have
    no place on a grid, none. outputs: int64 (samples, outputs), spikes that left the chip by neuron that is read out.
    cycles: int64 (samples, steps). total: int64 (samples,), cycles until all is at rest. counts: what was counted ->
    int64 (samples,). potential: int64 (samples, neurons), after all, of neurons in the order of the network.
    """

    spikes: Mapping[str, np.ndarray]
    outputs: np.ndarray
    cycles: np.ndarray
    total: np.ndarray
    counts: Mapping[str, np.ndarray]
    potential: np.ndarray
    labels: np.ndarray | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of samples whose neuron with most output spikes is the label; None without labels."""
        return None if self.labels is None else accuracy(self.outputs, self.labels)


@dataclass(frozen=True, eq=False)
class _Sample:
    """The same of one sample; spikes: uint16 (steps, neurons)."""

    spikes: np.ndarray
    outputs: np.ndarray
    cycles: np.ndarray
    total: int
    counts: dict[str, int]
    potential: np.ndarray


def run(
    image: Image,
    samples: Samples,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run samples, cycle by cycle; the same on any number of threads. InputError where the data do not fit."""
    if threads is not None and threads < 1:
        raise UsageError(f"at least one thread is needed, got {threads}")
    samples.expect(image.network.inputs[0].shape)
    samples.require_integers()
    if isinstance(image.chip, CrossbarChip):
        one = _on_crossbar
        if samples.spikes.min() < 0:
            raise InputError("an input of less than 0 is no number of spikes", where=samples.name)
    else:
        one = _on_grid
        samples.require_spikes()
    _ = image.loaded  # made once, before there are threads
    done: list[_Sample] = []
    with ThreadPoolExecutor(threads or processors()) as pool:
        try:
            for sample in pool.map(lambda spikes: one(image, spikes), samples.spikes):
                done.append(sample)
                if progress is not None:
                    progress(len(done), len(samples))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    spikes = np.stack([d.spikes for d in done])
    return Run(
        spikes={name: spikes[:, :, here] for name, here in _places(image)},
        outputs=np.stack([d.outputs for d in done]),
        cycles=np.stack([d.cycles for d in done]),
        total=np.array([d.total for d in done]),
        counts={name: np.array([d.counts[name] for d in done]) for name in done[0].counts},
        potential=np.stack([d.potential for d in done]),
        labels=samples.labels,
    )


def _places(image: Image) -> Iterator[tuple[str, slice]]:
    """Layers and their neurons."""
    first = tiles.starts(image.network)
    return ((p.name, slice(first[p.name], first[p.name] + p.size)) for p in image.network.layers)


def _on_crossbar(image: Image, spikes: np.ndarray) -> _Sample:
    chip = image.loaded
    assert isinstance(chip, Crossbar)
    sent, neurons = core.events(image.network, spikes), chip.last + 1
    trace = crossbar.run(chip, sent.events, waits=sent.waits)
    cycle, neuron = trace.spikes.T
    step = sent.steps[np.searchsorted(trace.resumed, cycle, side="right") - 1] if len(cycle) else cycle
    fired = np.bincount(step * neurons + neuron, minlength=len(spikes) * neurons).reshape(len(spikes), neurons)
    begun = np.full(len(spikes) + 1, trace.done)
    first = np.flatnonzero(np.diff(sent.steps, prepend=-1))
    begun[sent.steps[first]] = trace.resumed[first]
    begun = np.minimum.accumulate(begun[::-1])[::-1]  # a step without events ends as it begins
    read = np.concatenate([np.arange(s.start, s.stop) for name, s in _places(image) if name in image.network.outputs])
    return _Sample(
        spikes=fired.astype(np.uint16),
        outputs=fired[:, read].sum(axis=0),
        cycles=np.diff(begun),
        total=trace.done,
        counts={
            "events": len(sent.events),
            "spikes": len(cycle),
            "synapse_reads": trace.synapse_reads,
            "neuron_reads": trace.neuron_reads,
            "neuron_writes": trace.neuron_writes,
            "lost": trace.lost,
        },
        potential=trace.potential[:neurons],
    )


def _on_grid(image: Image, spikes: np.ndarray) -> _Sample:
    load, network = image.loaded, image.network
    assert isinstance(load, packets.Loaded)
    plan = packets.schedule(load, network, spikes)
    trace = grid.run(load.grid, plan.ticks, plan.packets, plan.end)
    late, count, neurons = offsets(network), len(spikes), len(load.core)
    # Neurons by place; a spike belongs to the tick in whose pass it was sent.
    at = np.full(load.grid.potential.shape, -1)
    here = load.core >= 0
    at[load.core[here], load.row[here]] = np.flatnonzero(here)
    lag = np.concatenate([np.full(p.size, late[p.name]) for p in network.layers])
    cycle, where, row = trace.spikes.T
    neuron = at[where, row]
    step = np.searchsorted(plan.ticks, cycle, side="right") - 1 - lag[neuron]
    known = (neuron >= 0) & (step >= 0) & (step < count)
    fired = np.bincount(step[known] * neurons + neuron[known], minlength=count * neurons).reshape(count, neurons)
    left = np.searchsorted(plan.ticks, trace.outputs[:, 0], side="right") - 1
    left -= np.concatenate([np.full(network[name].size, late[name]) for name in network.outputs])[trace.outputs[:, 1]]
    told = trace.outputs[(left >= 0) & (left < count), 1]
    return _Sample(
        spikes=fired.astype(np.uint16),
        outputs=np.bincount(told, minlength=sum(network[name].size for name in network.outputs)),
        cycles=np.full(count, load.period),
        total=plan.end,
        counts={
            "packets_in": len(plan.packets),
            "packets_out": len(trace.outputs),
            "spikes": len(cycle),
            "hops": len(trace.hops),
            "arrivals": len(trace.arrivals),
            "ticks": len(plan.ticks),
            "refused": len(trace.refused),
            "lost": int(trace.arrivals[:, 5].sum()) + len(plan.packets) - len(trace.reads),
        },
        potential=np.where(here, trace.final[load.core, load.row], 0),
    )


@dataclass(frozen=True)
class Agreement:
    """A layer of the chip beside the same step by step. differing: pairs of step and neuron with other spikes."""

    layer: str
    chip: int
    steps: int
    differing: int


def agreement(image: Image, ran: Run, samples: Samples) -> tuple[list[Agreement], float | None]:
    """How far a run is from the network step by step, and the accuracy of that, None without labels."""
    wanted = steps.simulate(image.network, samples.spikes, image.register).spikes
    placed = np.ones(ran.potential.shape[1], bool)
    if isinstance(image.loaded, packets.Loaded):
        placed = image.loaded.core >= 0
    found = []
    for name, here in _places(image):
        theirs = wanted[name][:, :, placed[here]]
        ours = ran.spikes[name][:, :, placed[here]]
        found.append(Agreement(name, int(ours.sum()), int(theirs.sum()), int(np.count_nonzero(ours != theirs))))
    if samples.labels is None:
        return found, None
    totals = np.concatenate([wanted[name].sum(axis=1, dtype=np.int64) for name in image.network.outputs], axis=1)
    return found, accuracy(totals, samples.labels)

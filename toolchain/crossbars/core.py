"""One crossbar: which row belongs to whom, what is loaded, and which events a sample is.

An event of address k visits all neurons with the weights of row k. Rows are shared: a neuron that spikes makes an event
of its own address, and an input spike must be an event of some address, too. So neurons have the addresses from 0, and
where they lead to each other, inputs have those behind them; then comes one for biases, if there are any, which the
host sends in every step. Where neurons lead nowhere, the loop is open: their spikes make no events, and the inputs have
the addresses from 0 as well.

A step is: the events of bias and input spikes, in the order of their addresses, an input of k being k events; the host
waits until all is at rest, so that spikes that come back are worked off in the step in which they are fired; then, if
any neuron leaks, a time reference of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnc.crossbars.integers import Widths
from snnc.crossbars.steps import Register
from snnc.errors import Violation
from snnc.families import CrossbarChip
from snnc.network import Network
from snnc.ops import matrix
from snnc.simulator.clocked.crossbar import Crossbar

LEAK_ALL = 0x1FF
"""The event that is a time reference of all neurons."""


def widths(chip: CrossbarChip, bits: int) -> Widths:
    """What the registers hold, with weights of at most so many bits."""
    half = 1 << (min(bits, chip.synapse.weight_bits.value) - 1)
    weight = (-half, half - 1) if half > 1 else (-1, 1)
    range_ = 1 << (chip.neuron.potential_bits.value - 1)
    threshold = min((1 << chip.neuron.threshold_bits.value) - 1, range_ - 1)
    leak = (1 << chip.neuron.leak_bits.value) - 1
    return Widths(weight, weight, threshold, leak, Register(-range_, range_ - 1, wraps=False))


@dataclass(frozen=True)
class Rows:
    """Addresses of a network: how many neurons, from 0; of the first input; of the bias, or -1; of the end."""

    neurons: int
    inputs: int
    bias: int
    used: int

    @property
    def open_loop(self) -> bool:
        return self.inputs == 0


def rows(network: Network) -> Rows:
    """Who has which address."""
    neurons = sum(p.size for p in network.layers)
    (feed,) = network.inputs
    loop = any(p.pre != feed.name for p in network.projections)
    biased = any(np.any(p.params["bias"]) for p in network.layers)
    inputs = neurons if loop else 0
    bias = inputs + feed.size if biased else -1
    return Rows(neurons, inputs, bias, max(neurons, inputs + feed.size + biased))


def violations(network: Network, chip: CrossbarChip) -> list[Violation]:
    """Whether there are too few addresses."""
    found, limit = rows(network), chip.core.neurons.value
    if found.used <= limit:
        return []
    parts = [f"{p.size:,} of layer '{p.name}'" for p in network.layers]
    (feed,) = network.inputs
    if found.inputs or feed.size >= found.neurons:
        parts = [f"{feed.size:,} of the input", *(parts if found.inputs else [])]
    parts += ["1 of the biases"] if found.bias >= 0 else []
    largest = max(network.layers, key=lambda p: p.size)
    return [
        Violation(
            "addresses",
            f"layer '{largest.name}'" if largest.size > feed.size else f"input '{feed.name}'",
            f"the network needs {found.used:,} addresses ({', '.join(parts)}); {chip.name} has {limit:,}",
            f"make it narrower by {found.used - limit:,}, or take a larger chip (snnc targets)",
            "core.neurons",
        )
    ]


def loaded(network: Network, chip: CrossbarChip) -> Crossbar:
    """What is loaded into the chip."""
    at, size = rows(network), chip.core.neurons.value
    weights = np.zeros((size, size), np.int64)
    registers = {name: np.zeros(size, np.int64) for name in ("leak", "threshold")}
    first = _firsts(network, at)
    for population in network.layers:
        here = slice(first[population.name], first[population.name] + population.size)
        for name, values in registers.items():
            values[here] = population.params[name].ravel()
        if at.bias >= 0:
            weights[at.bias, here] = population.params["bias"].ravel()
        for projection in network.into(population.name):
            source = slice(first[projection.pre], first[projection.pre] + network[projection.pre].size)
            weights[source, here] += matrix(projection.op, network[projection.pre].shape).toarray().T
    return Crossbar(
        weights=weights,
        leak=registers["leak"],
        threshold=registers["threshold"],
        potential=np.zeros(size, np.int64),
        disabled=np.arange(size) >= at.neurons,
        last=at.neurons - 1,
        open_loop=at.open_loop,
        depth=chip.core.queue.value,
    )


def _firsts(network: Network, at: Rows) -> dict[str, int]:
    """Address of the first neuron of each population."""
    sizes = np.cumsum([0, *(p.size for p in network.layers)])
    first = {p.name: int(k) for p, k in zip(network.layers, sizes, strict=False)}
    return {**first, network.inputs[0].name: at.inputs}


@dataclass(frozen=True, eq=False)
class Events:
    """What the host sends. events, waits: as :func:`snnc.simulator.clocked.crossbar.run` takes them. steps: int64, the
    step in which each event that waits is sent."""

    events: np.ndarray
    waits: np.ndarray
    steps: np.ndarray


def events(network: Network, spikes: np.ndarray) -> Events:
    """The events of one sample. spikes: whole numbers, none below 0, (steps, *shape of the input)."""
    at = rows(network)
    fed = spikes.reshape(len(spikes), -1).astype(np.int64)
    leaks = any(np.any(p.params["leak"]) for p in network.layers)
    step, channel = np.nonzero(fed)
    counts = fed[step, channel]
    # Keys order what is sent: by step, in it the bias, then inputs by address, then the leak.
    parts = [np.stack([np.repeat(step, counts), np.repeat(channel + at.inputs, counts), np.ones(counts.sum(), int)])]
    every = np.arange(len(fed))
    if at.bias >= 0:
        parts.append(np.stack([every, np.full(len(fed), at.bias), np.zeros(len(fed), int)]))
    if leaks:
        parts.append(np.stack([every, np.full(len(fed), LEAK_ALL), np.full(len(fed), 2)]))
    sent = np.concatenate(parts, axis=1)
    step, event, kind = sent[:, np.lexsort((sent[1], sent[2], sent[0]))]
    waits = (kind == 2) | (np.diff(step, prepend=-1) > 0)
    return Events(event, waits, step[waits])

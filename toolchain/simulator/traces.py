"""Traces: spikes and registers of a layer, written down step by step.

A trace is (kind, layer): ``spikes`` (bool), ``u`` or ``v``, the registers as they are after the step, so that v is what
a reset has left where the neuron has just spiked. v is int32; u is int32, or int64 where the network's inputs can carry
it beyond (:class:`snnc.simulator.tables.Tables`). Traces go to sinks, piece by piece, from the threads that make them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from snnc.errors import UsageError
from snnc.network import READ_OUT, Network
from snnc.ops import Shape
from snnc.simulator.state import Record
from snnc.simulator.tables import Tables

KINDS = ("spikes", "u", "v")
Trace = tuple[str, str]
# Of a trace: type, and shape of one step of one sample.
Form = tuple[np.dtype, Shape]


class Sink(Protocol):
    """Takes traces. Every step of every sample comes once, the steps of a sample in order."""

    def open(self, forms: Mapping[Trace, Form], samples: int, steps: int) -> None:
        """What will come."""

    def write(self, trace: Trace, samples: slice, first: int, values: np.ndarray) -> None:
        """Values of steps from `first` on, (samples, steps, *shape); may be called from several threads."""


class Memory:
    """A sink that keeps everything: arrays, by trace, (samples, steps, *shape)."""

    def __init__(self) -> None:
        self.arrays: dict[Trace, np.ndarray] = {}

    def open(self, forms: Mapping[Trace, Form], samples: int, steps: int) -> None:
        """Make room."""
        for trace, (kind, shape) in forms.items():
            self.arrays[trace] = np.zeros((samples, steps, *shape), kind)

    def write(self, trace: Trace, samples: slice, first: int, values: np.ndarray) -> None:
        """Keep them."""
        self.arrays[trace][samples, first : first + values.shape[1]] = values


def check(network: Network, traces: Collection[Trace]) -> list[Trace]:
    """The traces without repetitions; UsageError for what the network cannot show."""
    names = [p.name for p in network.populations]
    for kind, layer in traces:
        if kind not in KINDS:
            raise UsageError(f"there is no trace '{kind}'", where=network.name, fix=f"known: {', '.join(KINDS)}")
        if layer not in names:
            raise UsageError(f"there is no layer '{layer}'", where=network.name, fix=f"known: {', '.join(names)}")
        if network[layer].neuron == "input" and kind != "spikes":
            raise UsageError(f"layer '{layer}' is an input, it has no {kind}", where=network.name, fix="trace spikes")
        if network[layer].neuron == READ_OUT and kind == "spikes":
            raise UsageError(f"layer '{layer}' is read out and never spikes", where=network.name, fix="trace v")
    return list(dict.fromkeys(traces))


class Columns:
    """Where the kernel writes each trace, and to which sinks it goes on."""

    def __init__(self, network: Network, tables: Tables, sinks: Sequence[tuple[Sink, Sequence[Trace]]]) -> None:
        self._types: dict[str, np.dtype] = {"spikes": np.dtype(np.uint8), "u": tables.register, "v": np.dtype(np.int32)}
        self._sinks, self._network = sinks, network
        self._at = {kind: np.full(len(network.populations), -1, np.int64) for kind in KINDS}
        self._width = dict.fromkeys(KINDS, 0)
        wanted = {trace for _, traces in sinks for trace in traces}
        for k, population in enumerate(network.populations):
            for kind in KINDS:
                if (kind, population.name) in wanted:
                    self._at[kind][k] = self._width[kind]
                    self._width[kind] += population.size

    @property
    def bytes(self) -> int:
        """Of one step of one sample."""
        return sum(self._width[kind] * self._types[kind].itemsize for kind in KINDS)

    def open(self, samples: int, steps: int) -> None:
        """Tell the sinks what will come."""
        for sink, traces in self._sinks:
            forms: dict[Trace, Form] = {
                (kind, name): (np.dtype(bool) if kind == "spikes" else self._types[kind], self._network[name].shape)
                for kind, name in traces
            }
            sink.open(forms, samples, steps)

    def record(self, samples: int, steps: int) -> Record:
        """Room for a piece."""
        room = (np.zeros((samples, steps, self._width[kind]), self._types[kind]) for kind in KINDS)
        return Record(*self._at.values(), *room)

    def write(self, record: Record, samples: slice, first: int) -> None:
        """Hand a piece on."""
        arrays = dict(zip(KINDS, (record.spikes, record.u, record.v), strict=True))
        for sink, traces in self._sinks:
            for kind, name in traces:
                at, population = self._at[kind][self._network.rank[name]], self._network[name]
                values = arrays[kind][:, :, at : at + population.size].reshape(
                    *arrays[kind].shape[:2], *population.shape
                )
                sink.write((kind, name), samples, first, values.view(bool) if kind == "spikes" else values)

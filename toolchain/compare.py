"""Spike for spike, and register for register: do two executors of one network agree, and if not, where do they part?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snnc.errors import InputError

Traces = Mapping[tuple[str, str], np.ndarray]
"""(kind, layer) -> (samples, steps, *shape), kind "spikes", "u" or "v", as it is after the step."""

ORDER = ("u", "spikes", "v")
"""What a neuron computes in a step, in this order: v is compared as the spike leaves it."""


@dataclass(frozen=True)
class Difference:
    """One neuron in one step in which two executors differ.

    neuron: index along each axis of the layer. ours, theirs: whether it spiked, or its register. kind: "spikes", "u" or
    "v".
    """

    layer: str
    sample: int
    step: int
    neuron: tuple[int, ...]
    ours: int
    theirs: int
    kind: str = "spikes"

    @property
    def place(self) -> str:
        neuron = ", ".join(map(str, self.neuron))
        return f"layer '{self.layer}', neuron ({neuron}), sample {self.sample}, step {self.step}"

    def __str__(self) -> str:
        if self.kind != "spikes":
            return f"{self.place}: {self.kind} is {self.ours:,} here, {self.theirs:,} there"
        ours, theirs = (("is silent", "spikes")[value] for value in (self.ours, self.theirs))
        return f"{self.place}: {ours} here, {theirs} there"


@dataclass(frozen=True)
class State:
    """One neuron after one step. spiked: None of a read-out."""

    u: int
    v: int
    spiked: bool | None


@dataclass(frozen=True)
class Explanation:
    """Both sides of the neuron in which two executors part, in that step and the one before.

    first: what differs there. ours, theirs: its states; that of the step before is None in the first step. threshold:
    above which v it spikes, or None of a read-out. alone: whether the sample differs when it is run alone; else only
    behind those that were run before it.
    """

    first: Difference
    ours: tuple[State | None, State]
    theirs: tuple[State | None, State]
    threshold: int | None
    alone: bool = True

    def __str__(self) -> str:
        rows = [f"they part in {self.first.place}:", f"{'':10}{'here':^31}   {'there':^31}".rstrip()]
        rows.append(f"{'':10}" + "   ".join([f"{'u':>11}{'v':>11}{'spikes':>9}"] * 2))
        for step, sides in zip((-1, 0), zip(self.ours, self.theirs, strict=True), strict=True):
            if sides[0] is not None:
                rows.append(f"step {self.first.step + step:<5}" + "   ".join(_cells(side) for side in sides))
        rows.append(
            "it is read out and never spikes"
            if self.threshold is None
            else f"here a spike takes v above {self.threshold:,}; v is shown as the spike leaves it"
        )
        rows.append(
            {
                "u": "all that feeds it agrees until then: its synapses, their delays or its u_decay are not the same",
                "spikes": "all that feeds it and u agree until then: its v_decay, bias or threshold is not the same",
                "v": "all that feeds it and u agree until then: its v_decay, bias or reset is not the same",
            }[self.first.kind]
        )
        if not self.alone:
            rows.append("run alone the sample does not differ: something is left of the samples before it")
        return "\n".join(rows)


def _cells(state: State | None) -> str:
    assert state is not None
    spiked = "-" if state.spiked is None else "yes" if state.spiked else "no"
    return f"{state.u:>11,}{state.v:>11,}{spiked:>9}"


@dataclass(frozen=True)
class Comparison:
    """Outcome of :func:`compare`.

    samples, steps: of each raster. compared: pairs of values looked at; registers: those of u and v among them. spikes:
    layer -> spikes of ours (of a read-out: values of v that are not 0), which tell whether there was anything to
    compare. differing: layer -> pairs that differ.
    first: the earliest difference, or None. explanation: of it, where somebody asked.
    """

    samples: int
    steps: int
    compared: int
    spikes: dict[str, int]
    differing: dict[str, int]
    first: Difference | None
    registers: int = 0
    explanation: Explanation | None = None

    @property
    def equal(self) -> bool:
        return self.first is None


def compare(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> Comparison:
    """Compare the rasters of all layers that both executors report.

    ours, theirs: name -> bool (samples, steps, *shape), or membranes of a read-out. Else as :func:`compare_traces`.
    """
    kinds = {name: "spikes" if raster.dtype == bool else "v" for name, raster in ours.items()}
    return compare_traces(
        {(kinds[name], name): raster for name, raster in ours.items()},
        {(kinds[name], name): raster for name, raster in theirs.items() if name in kinds},
    )


def compare_traces(ours: Traces, theirs: Traces) -> Comparison:
    """Compare all that both executors recorded.

    ours: in the order in which spikes flow.
    The first difference is that of the lowest sample, in it the earliest step, in it the first
    layer, in it the first of :data:`ORDER`: the one that caused all later ones of that sample, where registers are
    compared. Raises InputError where there is nothing in common or two arrays differ in shape.
    """
    common = [trace for trace in ours if trace in theirs]
    if not common:
        raise InputError("the two runs have no layer in common", fix="compare runs of the same network")
    for trace in common:
        if ours[trace].shape != theirs[trace].shape or ours[trace].shape[:2] != ours[common[0]].shape[:2]:
            raise InputError(
                f"the rasters have shapes {ours[trace].shape} and {theirs[trace].shape}",
                where=f"layer '{trace[1]}'",
                fix="compare runs of the same network on the same samples",
            )
    samples, steps = (int(n) for n in ours[common[0]].shape[:2])
    names = list(dict.fromkeys(name for _, name in common))
    # Of equal steps min keeps the first, so what is first here is looked at first.
    ordered = [(kind, name) for name in names for kind in ORDER if (kind, name) in common]
    differing, found = dict.fromkeys(names, 0), []
    for trace in ordered:
        unequal = ours[trace] != theirs[trace]
        if count := int(np.count_nonzero(unequal)):
            differing[trace[1]] += count
            found.append(_first(trace, ours[trace], theirs[trace], unequal))
    return Comparison(
        samples=samples,
        steps=steps,
        compared=sum(ours[trace].size for trace in common),
        spikes={name: _count(ours, name) for name in names},
        differing=differing,
        first=min(found, key=lambda d: (d.sample, d.step), default=None),
        registers=sum(ours[trace].size for trace in common if trace[0] != "spikes"),
    )


def joined(parts: Sequence[Comparison]) -> Comparison:
    """Comparisons of consecutive samples as one."""
    first, before = None, 0
    for part in parts:
        if first is None and part.first is not None:
            first = replace(part.first, sample=before + part.first.sample)
        before += part.samples
    names = parts[0].spikes
    return Comparison(
        samples=before,
        steps=parts[0].steps,
        compared=sum(part.compared for part in parts),
        spikes={name: sum(part.spikes[name] for part in parts) for name in names},
        differing={name: sum(part.differing[name] for part in parts) for name in names},
        first=first,
        registers=sum(part.registers for part in parts),
    )


def explain(ours: Traces, theirs: Traces, *, threshold: Mapping[str, np.ndarray]) -> Explanation | None:
    """Where two executors part, of which u, v and, but for read-outs, spikes of all layers were recorded.

    threshold: layer -> of its shape, above which v its neurons spike; read-outs are left out. None where nothing
    differs.
    """
    first = compare_traces(ours, theirs).first
    if first is None:
        return None

    def state(traces: Traces, step: int) -> State | None:
        if step < 0:
            return None
        at = (first.sample, step, *first.neuron)
        spiked = traces.get(("spikes", first.layer))
        u, v = (int(traces[kind, first.layer][at]) for kind in ("u", "v"))
        return State(u, v, None if spiked is None else bool(spiked[at]))

    def states(traces: Traces) -> tuple[State | None, State]:
        now = state(traces, first.step)
        assert now is not None
        return state(traces, first.step - 1), now

    limit = threshold.get(first.layer)
    return Explanation(first, states(ours), states(theirs), None if limit is None else int(limit[first.neuron]))


def _count(traces: Traces, name: str) -> int:
    """Spikes of a layer, or of a read-out the values of v that are not 0."""
    shown = traces.get(("spikes", name), traces.get(("v", name)))
    return 0 if shown is None else int(np.count_nonzero(shown))


def _first(trace: tuple[str, str], ours: np.ndarray, theirs: np.ndarray, unequal: np.ndarray) -> Difference:
    first = np.unravel_index(int(unequal.argmax()), unequal.shape)  # argmax: the first True in C order
    at = tuple(int(k) for k in first)
    return Difference(trace[1], at[0], at[1], at[2:], ours[at].item(), theirs[at].item(), trace[0])

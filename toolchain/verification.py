"""Run the same samples on two executors and compare every spike of every layer, and if asked every register."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from snnc.compare import Comparison, Difference, Explanation, Traces, compare_traces, explain, joined
from snnc.errors import UsageError
from snnc.image import Image
from snnc.network import GRADED, READ_OUT, Network
from snnc.samples import Recording, Samples
from snnc.simulator import reference, simulate

if TYPE_CHECKING:
    from snnc.targets.lava.session import Through

Progress = Callable[[int, int, str], None]
EXECUTORS = ("reference", "lava")

REFERENCE_SAMPLES = 16
"""Samples that the reference runs at once."""

Play = Callable[[Network, Recording, bool, Progress | None], Generator[tuple[slice, Traces]]]
"""Runs samples, with registers or without: some consecutive ones, and what they did."""


def verify(
    compiled: Image | Network,
    recording: Recording,
    *,
    on: str = "reference",
    through: Through | None = None,
    registers: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compare the engine with `on`, one of EXECUTORS.

    "reference" is the slow integer specification, "lava" is Intel's Lava on the CPU (fixed_pt models) in
    a process of its own. through: how the network comes into Lava; what :func:`snnc.targets.lava.session.route` says,
    if not given. registers: compare u and v, too.
    Samples are run and compared some at a time, so that any number of them takes little memory, and no more are once
    something differs. The first difference then is explained: its sample is run again, and all registers recorded.
    Raises UsageError for another name or where Lava is not set up, InputError for a network that Lava does not run.
    """
    if on not in EXECUTORS:
        raise UsageError(f"there is no executor '{on}'", fix=f"choose one of {', '.join(EXECUTORS)}")
    network = compiled.network if isinstance(compiled, Image) else compiled
    play: Play
    if on == "lava":
        from snnc.targets.lava import session

        play = partial(_lava, through or session.route(network, values=recording.kind != np.uint8))
    elif through is not None:
        raise UsageError(f"a network comes into {on} as it is", fix="leave out --through, or verify on lava")
    else:
        play = _reference
    parts: list[Comparison] = []
    with closing(play(network, recording, registers, progress)) as played:
        for block, theirs in played:
            ours = simulate(network, _part(recording, block), traces=list(theirs)).traces
            parts.append(compare_traces(ours, theirs))
            if parts[-1].first is not None:
                break
    result = joined(parts)
    if result.first is None:
        return result
    return replace(result, explanation=_explained(network, recording, play, block, result.first))


def _reference(
    network: Network, recording: Recording, registers: bool, progress: Progress | None
) -> Generator[tuple[slice, Traces]]:
    for start in range(0, len(recording), REFERENCE_SAMPLES):
        block = slice(start, min(start + REFERENCE_SAMPLES, len(recording)))
        found = reference.trace(network, recording.piece(block, 0, recording.steps))
        shown = {(shown_by(network, p.name), p.name) for p in network.layers}
        layers = {p.name for p in network.layers}
        yield block, {t: values for t, values in found.items() if t in shown or (registers and t[1] in layers)}
        if progress is not None:
            progress(block.stop, len(recording), "samples")


def _lava(
    through: Through, network: Network, recording: Recording, registers: bool, progress: Progress | None
) -> Generator[tuple[slice, Traces]]:
    from snnc.targets.lava import session

    def move(done: int, every: int) -> None:
        if progress is not None:
            progress(done, every, "steps")

    return session.play(network, recording, through=through, registers=registers, progress=move)


def _explained(
    network: Network, recording: Recording, play: Play, block: slice, first: Difference
) -> Explanation | None:
    """Where the executors part in the sample of the first difference; None where a second run shows none.

    block: the samples that were run together with it.
    """
    # Values are compared in units of 2^UNIT, membranes exactly.
    thresholds = {
        p.name: (p.params["threshold"].astype(np.int64) + (p.neuron == GRADED) << reference.UNIT) - (p.neuron == GRADED)
        for p in network.layers
        if p.neuron != READ_OUT
    }
    # Should it take the samples before it, a state went over from one sample to the next.
    for start in dict.fromkeys((first.sample, block.start)):
        samples = _part(recording, slice(start, first.sample + 1))
        parts = list(play(network, samples, True, None))
        theirs = {trace: np.concatenate([part[trace] for _, part in parts]) for trace in parts[0][1]}
        ours = simulate(network, samples, traces=list(theirs)).traces
        if found := explain(ours, theirs, threshold=thresholds):
            there = replace(found.first, sample=start + found.first.sample)
            return replace(found, first=there, alone=start == first.sample)
    return None


def _part(recording: Recording, samples: slice) -> Samples:
    return Samples(recording.piece(samples, 0, recording.steps), None, recording.name)


def shown_by(network: Network, name: str) -> str:
    """Which trace is what a layer puts out: membranes of a read-out, else spikes."""
    return "v" if network[name].neuron == READ_OUT else "spikes"

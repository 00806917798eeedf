"""Run: what one simulation counted. Plain arrays; every figure of cost is computed from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from snnc.samples import accuracy
from snnc.simulator.tables import CAUSES

STEP_WORK = (*CAUSES, "active", "spikes")
"""Columns of :attr:`Run.step_work`."""


@dataclass(frozen=True, eq=False)
class Run:
    """Counts of a simulation of `samples` recordings of `steps` steps.

    spikes: int32 (samples, neurons), spikes of each neuron, inputs included, in the order of the network.
    outputs: int64 (samples, outputs), the same for the populations that are read out, in that order; of a read-out
    without spikes the sum of its membranes over the steps, as of the float network's.
    core_synops: int64 (samples, cores), stored synapses visited: every spike visits all that its axon
    holds in a core, in the step in which it is fired, whatever the delay of its delivery.
    core_active: int64 (samples, cores), updates of active neurons. A neuron is active in a step in which u (if any of
    it is kept), v, its bias or its input is not zero: our reading of the "active" and "inactive" of Davies et al.,
    IEEE Micro 38(1), 2018, who do not define them.
    core_spikes: int64 (samples, cores), spikes fired.
    time_ps: int64 (samples,), picoseconds that all steps take on the chip if no message waits for another one;
    latest_ps: at most so many (:mod:`snnc.simulator.timing`). step_ns, latest_ns: float64 (samples, steps), the same of
    each step, in nanoseconds; of a run as a stream, which keeps nothing per step, without steps.
    rasters: the populations asked for, name -> bool (samples, steps, *shape); of a read-out its membranes, int32.
    traces: those asked for, (kind, layer) -> (samples, steps, *shape), see :mod:`snnc.simulator.traces`.
    labels: int64 (samples,), or None.
    warmup: steps that were run before these and are counted nowhere. graded: whether the data were other than spikes.
    step_work: int64 (samples, steps, columns), the same counts over all cores but step by step, and what the spikes of
    the step cause; columns as in STEP_WORK. layer_active: int64 (samples, populations), as core_active.
    Of a network without mapping, core_* have no cores, step_* no steps and time_ps is 0.
    """

    network_name: str
    steps: int
    spikes: np.ndarray
    outputs: np.ndarray
    core_synops: np.ndarray
    core_active: np.ndarray
    core_spikes: np.ndarray
    time_ps: np.ndarray
    latest_ps: np.ndarray
    step_ns: np.ndarray
    latest_ns: np.ndarray
    rasters: Mapping[str, np.ndarray]
    traces: Mapping[tuple[str, str], np.ndarray]
    labels: np.ndarray | None = None
    warmup: int = 0
    graded: bool = False
    step_work: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, len(STEP_WORK)), np.int64))
    layer_active: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    @property
    def samples(self) -> int:
        return len(self.spikes)

    @property
    def accuracy(self) -> float | None:
        """Share of samples whose largest output is the label; None without labels."""
        return None if self.labels is None else accuracy(self.outputs, self.labels)

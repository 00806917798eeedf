"""What is wrong with an integer network, by name: saturation, layers that fell silent, layers that always fire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnc import ops
from snnc.network import READ_OUT, Network
from snnc.simulator.common import integer_params
from snnc.simulator.reference import RANGE, UNIT, shift_to_zero, step

# Share of a layer's weights that may be cut to the grid without a word: a search cuts some on purpose.
CUT = 0.25
# Spikes per neuron and step from which a layer always fires.
ALWAYS = 0.99


@dataclass(frozen=True)
class Diagnosis:
    """kind: kebab-case word. text: what is so, of the layer, in a sentence without subject."""

    kind: str
    layer: str
    text: str

    def __str__(self) -> str:
        return f"layer '{self.layer}' {self.text}"


def of_weights(notes: list[dict[str, Any]], limit: int) -> Iterator[Diagnosis]:
    """Of what quantisation did to each layer (:mod:`snnc.passes.quantize`). limit: the largest threshold."""
    for note in notes:
        weights = note["weights"] + note["rounded_to_zero"]
        if note["clipped"] > CUT * weights:
            text = f"is saturated: {note['clipped'] / weights:.0%} of its weights are larger than the grid and were cut"
            yield Diagnosis("weights-cut", note["layer"], f"{text}; use more --bits")
        if note["threshold"] and note["threshold"][1] >= limit:
            text = "is saturated: its threshold is as large as the register holds, and its weights are coarse for that"
            yield Diagnosis("threshold-limit", note["layer"], text)
        if note["rounded_to_zero"] and not note["weights"]:
            yield Diagnosis("no-weights", note["layer"], "has no weights left, all round to zero: use more --bits")


def of_registers(network: Network, rasters: Mapping[str, np.ndarray]) -> Iterator[Diagnosis]:
    """Of registers that reach the end of their range. rasters: what the integer network did, of every population."""
    for population in network.layers:
        wraps, clips, updates = saturated(network, population.name, rasters)
        if wraps:
            text = f"is saturated: its currents wrap around in {wraps:,} of {updates:,} updates; use fewer --bits"
            yield Diagnosis("current-limit", population.name, text)
        if clips:
            both = population.neuron == READ_OUT or population.subtracts
            end = "an" if both else "the lower"
            text = f"is saturated: its membranes reach {end} end of their range in {clips:,} of {updates:,} updates"
            yield Diagnosis("membrane-limit", population.name, text)


def of_rates(
    network: Network, rates: Mapping[str, float], wanted: Mapping[str, float], judged: bool
) -> Iterator[Diagnosis]:
    """Of layers that do not spike and should, or spike all the time.

    rates: spikes per neuron and step of each layer in integers. wanted: the same in floats, where it is known. judged:
    whether that is on data, and not on spikes at random.
    """
    for population in network.layers:
        name = population.name
        if population.neuron == READ_OUT:
            continue
        if rates[name] == 0 and wanted.get(name, 0) > 0:
            text = f"is silent: it never spikes, the float network {wanted[name]:.3g} times per neuron and step"
            yield Diagnosis("silent", name, text)
        # What has no synapses is driven by its bias alone, and meant to be constant.
        if judged and rates[name] >= ALWAYS and any(p.op.taps for p in network.into(name)):
            known = f"; in floats {wanted[name]:.1%}" if name in wanted else ""
            text = f"fires always: {rates[name]:.1%} of its neurons in every step{known}"
            yield Diagnosis("always-firing", name, text)


def saturated(network: Network, name: str, rasters: Mapping[str, np.ndarray]) -> tuple[int, int, int]:
    """How often currents of a layer wrap, and membranes are held at the lower end; and updates in all.

    At the upper end a membrane spikes, whose value is then of no consequence, unless it is read out, or the threshold
    is subtracted from it.
    """
    population = network[name]
    samples, steps = rasters[name].shape[:2]
    updates = samples * steps * population.size
    params = integer_params(population)
    matrices = [(p, ops.matrix(p.op, network[p.pre].shape)) for p in network.into(name)]
    if _cannot(params, [m for _, m in matrices]):
        return 0, 0, updates
    drive = np.zeros((samples, steps, population.size), np.int64)
    for projection, matrix in matrices:
        lag = network.lag(projection)
        fed = rasters[projection.pre].reshape(samples, steps, -1)[:, : max(0, steps - lag)].astype(np.int64)
        flat = matrix.astype(np.int64) @ fed.reshape(-1, fed.shape[2]).T
        drive[:, lag:] += flat.T.reshape(samples, -1, population.size)
    u = v = np.zeros((samples, population.size), np.int64)
    how, threshold = population.semantics, params.get("threshold", np.int64(0)) << UNIT
    wraps = clips = 0
    for t in range(steps):
        current = shift_to_zero(u * (4096 - params["u_decay"]), 12) + (drive[:, t] << UNIT)
        wraps += int(np.count_nonzero((current > RANGE) | (current <= -RANGE)))
        again = v > threshold
        u, v, spikes = step(params, u, v, drive[:, t], how=how)
        clips += int(np.count_nonzero(v <= -RANGE + 1))
        if population.neuron == READ_OUT:
            clips += int(np.count_nonzero(v >= RANGE - 1))
        elif population.subtracts:
            taken = spikes & ~again if how.when == "recheck" else spikes & (how.when == "now")
            clips += int(np.count_nonzero(v + taken * threshold >= RANGE - 1))
    return wraps, clips, updates


def _cannot(params: Mapping[str, np.ndarray], matrices: list[Any]) -> bool:
    """Whether no input at all can bring a register of the layer to the end of its range."""
    arrives = np.zeros(len(params["bias"]), np.int64)
    for matrix in matrices:
        arrives += np.asarray(abs(matrix).astype(np.int64).sum(axis=1)).ravel()
    u = _bound(arrives << UNIT, params["u_decay"])
    return bool(np.all(_bound(u + (np.abs(params["bias"]) << UNIT), params["v_decay"]) < RANGE - 1))


def _bound(added: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """What a register stays below that at most `added` is added to in each step; infinite where it never decays."""
    lasting = np.where(added == 0, 0.0, np.inf)
    return np.where(decay == 0, lasting, added * 4096 / np.maximum(decay, 1))

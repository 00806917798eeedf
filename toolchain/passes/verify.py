"""Verify: the compiled network against its specification and against the float network.

The fast engine must equal the slow reference in every spike of every layer, and the image must spike as the network
did before it was mapped; a difference would be a bug of ours. Spikes of each layer and the accuracy are compared with
those of the float network as it was read, which covers lowering and quantisation together. Where the user asked for
approximations, spikes are compared with the float network that has them, and that one with the one without: the drift
of each layer's spikes, and of the accuracy. Neurons that were trimmed are left out of that. What is wrong with a layer
is said by name (:mod:`snnc.quantization.diagnosis`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from snnc.compare import compare
from snnc.compilation import Compilation
from snnc.errors import VerificationError
from snnc.image import Image
from snnc.image import Mapping as Cores
from snnc.network import READ_OUT, Network
from snnc.passes.profile import random_samples
from snnc.quantization import diagnosis
from snnc.samples import Samples, accuracy
from snnc.simulator import floating, reference, simulate
from snnc.simulator.floating.batches import counts

# The reference is slow; equality on this many samples of every layer is checked at each compilation.
EXACT_SAMPLES = 16

_logger = logging.getLogger(__name__)

Counts = Mapping[str, np.ndarray]


def run(c: Compilation) -> Compilation:
    """Raise VerificationError where executors disagree or accuracy falls by more than `max_drop`."""
    samples = c.samples or random_samples(c)
    exact = samples.first(EXACT_SAMPLES)
    names = [p.name for p in c.network.populations]
    ours = simulate(c.network, exact, rasters=names).rasters
    result = compare(ours, reference.simulate(c.network, exact.spikes))
    if result.first is not None:
        raise VerificationError(f"the engine differs from the reference: {result.first}")
    found: dict[str, Any] = {"samples": len(exact), "compared": result.compared, "spikes": sum(result.spikes.values())}
    found["mapped"] = _mapped(c, samples)
    read = nearest = None
    if not c.source.integer:
        read = _counts(c, samples, lowered=False)
        changed = bool(c.log["approximate"]["layers"])
        nearest = _counts(c, samples, lowered=True) if changed else read
        found["layers"] = _layers(c, nearest, exact, ours)
        if changed:
            found["drift"] = _drift(c, samples, read, nearest)
    if c.samples is not None and c.samples.labels is not None:
        found |= _accuracy(c, c.samples, c.samples.labels, read)
    diagnoses = _diagnoses(c, ours, nearest)
    for entry in diagnoses:
        _logger.warning("%s", entry)
    return c.found(verify={**found, "diagnoses": [asdict(d) for d in diagnoses]})


def _mapped(c: Compilation, samples: Samples) -> dict[str, Any]:
    """The image on the samples: it spikes as the network without mapping, or there is a bug."""
    assert c.run is not None
    assert c.core_of is not None
    assert c.site_of is not None
    run = simulate(Image(c.network, Cores(c.core_of, c.site_of), c.target), samples)
    if not (np.array_equal(run.spikes, c.run.spikes) and np.array_equal(run.outputs, c.run.outputs)):
        raise VerificationError("mapping changed spikes", fix="this is a bug of snnc: please report it with the file")
    return {"samples": len(samples), "spikes": int(run.spikes.sum()), "accuracy": run.accuracy}


def _own(c: Compilation) -> list[str]:
    """Layers that the network had as it was read: some of the lowered ones are ours, and some of these were sums."""
    return [p.name for p in c.source.layers if p.name in c.network.rank]


def _counts(c: Compilation, samples: Samples, *, lowered: bool) -> Counts:
    """Spikes in floats, as they were read or as they were lowered, of the neurons that are left in the network."""
    network = c.lowered if lowered and c.lowered is not None else c.source
    found = counts(network, fed(network, samples), _own(c))
    return {name: counted[:, c.places(name, lowered=lowered)] for name, counted in found.items()}


def _accuracy(c: Compilation, samples: Samples, labels: np.ndarray, read: Counts | None) -> dict[str, Any]:
    assert c.run is not None
    outputs = c.run.outputs
    integer = accuracy(outputs, labels)
    found: dict[str, Any] = {
        "data": samples.name,
        "accuracy_samples": len(samples),
        "accuracy_integer": integer,
    }
    if read is None:
        return found
    expected = read[c.source.outputs[0]]
    exact = accuracy(expected, labels)
    drop = 100 * (exact - integer)
    if c.options.max_drop is not None and drop > c.options.max_drop:
        raise VerificationError(
            f"accuracy falls from {exact:.2%} to {integer:.2%}, by {drop:.2f} points; {c.options.max_drop} are allowed",
            where=f"{len(samples)} samples of {samples.name}",
            fix=f"use more --bits, {'--finetune a checkpoint, ' if c.tune is None else ''}or allow a larger --max-drop",
        )
    agree = float(np.mean(expected.argmax(axis=1) == outputs.argmax(axis=1)))
    return {**found, "accuracy_float": exact, "same_prediction": agree}


def _layers(c: Compilation, wanted: Counts, exact: Samples, ours: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Of each layer: spikes per neuron and step in floats and in integers, and how many are misplaced.

    The share of misplaced spikes is that of the first samples: steps in which a neuron spikes in one network and not
    in the other, over the spikes of the float one.
    """
    assert c.run is not None
    assert c.lowered is not None
    rasters = floating.simulate(c.lowered, fed(c.lowered, exact), keep=_own(c))
    found = {}
    for name, counted in wanted.items():
        if c.network[name].neuron == READ_OUT:
            continue
        updates = counted.size * c.run.steps
        integer = int(c.run.spikes[:, _places(c.network, name)].sum())
        raster = rasters[name].astype(bool, copy=False)
        raster = raster.reshape(*raster.shape[:2], -1)[:, :, c.places(name, lowered=True)]
        spikes = int(raster.sum())
        found[name] = {
            "rate_float": float(counted.sum()) / updates,
            "rate": integer / updates,
            "rate_error": float(integer / counted.sum() - 1) if counted.any() else None,
            "misplaced": float(np.count_nonzero(raster ^ ours[name].reshape(raster.shape)) / spikes)
            if spikes
            else None,
        }
    return found


def _places(network: Network, name: str) -> slice:
    start = network.offsets[name]
    return slice(start, start + network[name].size)


def _diagnoses(c: Compilation, ours: Mapping[str, np.ndarray], wanted: Counts | None) -> list[diagnosis.Diagnosis]:
    assert c.run is not None
    steps = c.run.steps
    rates = {p.name: float(c.run.spikes[:, _places(c.network, p.name)].mean()) / steps for p in c.network.layers}
    known = {name: float(counted.mean()) / steps for name, counted in (wanted or {}).items()}
    limit = 2**c.target.neuron.threshold_bits.value - 1
    return [
        *diagnosis.of_weights(c.log["quantize"]["layers"], limit),
        *diagnosis.of_registers(c.network, ours),
        *diagnosis.of_rates(c.network, rates, known, c.samples is not None),
    ]


def _drift(c: Compilation, samples: Samples, exact: Counts, nearest: Counts) -> dict[str, Any]:
    """What the approximations alone did to the float network: spikes of each layer, and accuracy."""
    (output,) = c.source.outputs
    found: dict[str, Any] = {
        "samples": len(samples),
        "layers": {
            name: {"spikes_exact": int(exact[name].sum()), "spikes_approximated": int(nearest[name].sum())}
            for name in exact
            if c.network[name].neuron != READ_OUT
        },
        "same_prediction": float(np.mean(exact[output].argmax(axis=1) == nearest[output].argmax(axis=1))),
    }
    if samples.labels is not None:
        found["accuracy_exact"] = accuracy(exact[output], samples.labels)
        found["accuracy_approximated"] = accuracy(nearest[output], samples.labels)
    return found


def fed(network: Network, samples: Samples) -> dict[str, np.ndarray]:
    """The samples as data of the one input."""
    return {network.inputs[0].name: samples.spikes}

"""Verify: the compiled network against its specification and against the float network.

The fast engine must equal the slow reference in every spike of every layer; a difference
would be a bug of ours. The accuracy of the integer network is compared with that of the
float network as it was read, which covers lowering and quantisation together. Where the
user asked for approximations, the float network with them is compared with the one without:
the drift of each layer's spikes, and of the accuracy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnc.compare import compare
from snnc.compilation import Compilation
from snnc.errors import VerificationError
from snnc.network import Network
from snnc.passes.profile import random_samples
from snnc.samples import Samples, accuracy
from snnc.simulator import reference, simulate
from snnc.simulator.floating.batches import counts

# The reference is slow; equality on this many samples of every layer is checked at each compilation.
EXACT_SAMPLES = 16


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
    if c.samples is not None and c.samples.labels is not None:
        found |= _accuracy(c, c.samples, c.samples.labels)
    if c.log["approximate"]["layers"]:
        found["drift"] = _drift(c, samples)
    return c.found(verify=found)


def _accuracy(c: Compilation, samples: Samples, labels: np.ndarray) -> dict[str, Any]:
    assert c.run is not None
    outputs = c.run.outputs
    integer = accuracy(outputs, labels)
    found: dict[str, Any] = {
        "data": samples.name,
        "accuracy_samples": len(samples),
        "accuracy_integer": integer,
    }
    if c.source.integer:
        return found
    expected = float_counts(c.source, samples)
    exact = accuracy(expected, labels)
    drop = 100 * (exact - integer)
    if c.options.max_drop is not None and drop > c.options.max_drop:
        raise VerificationError(
            f"accuracy falls from {exact:.2%} to {integer:.2%}, by {drop:.2f} points; {c.options.max_drop} are allowed",
            where=f"{len(samples)} samples of {samples.name}",
            fix="use more --bits, or allow a larger --max-drop",
        )
    agree = float(np.mean(expected.argmax(axis=1) == outputs.argmax(axis=1)))
    return {**found, "accuracy_float": exact, "same_prediction": agree}


def _drift(c: Compilation, samples: Samples) -> dict[str, Any]:
    """What the approximations alone did to the float network: spikes of each layer, and accuracy."""
    assert c.lowered is not None
    own = {p.name for p in c.source.layers}  # some of the lowered ones are ours, and some of these were sums
    layers = [p.name for p in c.lowered.layers if p.name in own]
    exact, nearest = (counts(network, fed(network, samples), layers) for network in (c.source, c.lowered))
    (output,) = c.source.outputs
    found: dict[str, Any] = {
        "samples": len(samples),
        "layers": {
            name: {"spikes_exact": int(exact[name].sum()), "spikes_approximated": int(nearest[name].sum())}
            for name in layers
        },
        "same_prediction": float(np.mean(exact[output].argmax(axis=1) == nearest[output].argmax(axis=1))),
    }
    if samples.labels is not None:
        found["accuracy_exact"] = accuracy(exact[output], samples.labels)
        found["accuracy_approximated"] = accuracy(nearest[output], samples.labels)
    return found


def float_counts(network: Network, samples: Samples) -> np.ndarray:
    """Output spike counts of the float network, (samples, outputs)."""
    (output,) = network.outputs
    return counts(network, fed(network, samples), [output])[output]


def fed(network: Network, samples: Samples) -> dict[str, np.ndarray]:
    """The samples as data of the one input."""
    return {network.inputs[0].name: samples.spikes}

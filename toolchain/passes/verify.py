"""Verify: the compiled network against its specification and against the float network.

The fast engine must equal the slow reference in every spike of every layer; a difference
would be a bug of ours. The accuracy of the integer network is compared with that of the
float network as it was read, which covers lowering and quantisation together.
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
from snnc.simulator import floating, reference, simulate

# The reference is slow; equality on this many samples of every layer is checked at each compilation.
EXACT_SAMPLES = 16
# The float reference holds every layer's spikes; this many samples at a time bound its memory.
CHUNK = 64


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
    return c.found(verify=found)


def _accuracy(c: Compilation, samples: Samples, labels: np.ndarray) -> dict[str, Any]:
    assert c.run is not None
    expected, outputs = float_counts(c.source, samples), c.run.outputs
    exact, integer = accuracy(expected, labels), accuracy(outputs, labels)
    drop = 100 * (exact - integer)
    if c.options.max_drop is not None and drop > c.options.max_drop:
        raise VerificationError(
            f"accuracy falls from {exact:.2%} to {integer:.2%}, by {drop:.2f} points; {c.options.max_drop} are allowed",
            where=f"{len(samples)} samples of {samples.name}",
            fix="use more --bits, or allow a larger --max-drop",
        )
    agree = float(np.mean(expected.argmax(axis=1) == outputs.argmax(axis=1)))
    return {
        "data": samples.name,
        "accuracy_samples": len(samples),
        "accuracy_float": exact,
        "accuracy_integer": integer,
        "same_prediction": agree,
    }


def float_counts(network: Network, samples: Samples) -> np.ndarray:
    """Output spike counts of the float network, (samples, outputs)."""
    (output,) = network.outputs
    chunks = []
    for start in range(0, len(samples), CHUNK):
        rasters = floating.simulate(network, samples.spikes[start : start + CHUNK])
        chunks.append(rasters[output].sum(axis=1).reshape(-1, network[output].size))
    return np.concatenate(chunks)

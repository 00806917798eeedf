"""The float executor against sinabs on a graph that sinabs exported: ``python -m tests.benchmarks.floats FILE DATA``.

FILE is a NIR file, DATA a spec as for ``snnc simulate``. sinabs computes in float32, snnc in float64.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import nir
import numpy as np
import torch

import snnc
from snnc.frontends.reading import Reading
from snnc.samples import Samples
from snnc.simulator.floating.batches import counts
from tests.benchmarks.timing import Timing, in_turn, table
from tests.differential.peers import peer

UNIT = "snnc"
# Frames that sinabs takes at once: larger batches are slower on a CPU, their records leave the cache.
BATCH = 4


def measure(path: Path, samples: Samples) -> tuple[list[Timing], float]:
    """Time one thread of both on `samples`, a multiple of BATCH; and the share of output counts that are equal."""
    network = snnc.load(path, **vars(Reading(dt=1e-3, semantics="sinabs")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations among its own parts
        model = peer("sinabs.nir").from_nir(nir.read(path), batch_size=BATCH)
    (output,) = network.outputs
    frames = torch.from_numpy(samples.spikes).float().split(BATCH)

    def ours() -> np.ndarray:
        return counts(network, {network.inputs[0].name: samples.spikes}, [output], threads=1)[output]

    def theirs() -> np.ndarray:
        found = []
        with torch.no_grad():
            for batch in frames:
                for module in model.modules():
                    if hasattr(module, "reset_states"):
                        module.reset_states()
                spikes = model(batch.flatten(0, 1))
                spikes = spikes[0] if isinstance(spikes, tuple) else spikes
                found.append(spikes.reshape(BATCH, samples.steps, -1).sum(1).numpy())
        return np.concatenate(found)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        same = float(np.mean(ours() == theirs()))
        return in_turn({"snnc, float64, 1 thread": ours, "sinabs, float32, 1 thread": theirs}), same
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    data = snnc.data(sys.argv[2], "all").first(16)
    timings, same = measure(Path(sys.argv[1]), data)
    print("\n".join([*table(timings, UNIT), f"\n{same:.1%} of the output counts are equal."]))

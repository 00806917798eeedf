"""The nets of the contest between simulators, as files that every contender can read.

Random nets of one layer, where all work is caused by the input: so contenders whose neurons differ in the last bit
still do the same, and a synaptic operation is the same for all, a stored synapse that a spike visits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

# Share of the inputs that spike in a step.
ACTIVITY = 0.05
# Samples: enough for two threads to share them evenly.
SAMPLES = 4


@dataclass(frozen=True)
class Spec:
    """A chain of layers: neurons of each, the input first; share of the synapses that exist; steps of a sample."""

    name: str
    sizes: tuple[int, ...]
    density: float
    steps: int
    samples: int = SAMPLES

    @property
    def synapses(self) -> float:
        """Expected."""
        return self.density * sum(a * b for a, b in pairwise(self.sizes))


def random_net(neurons: int, density: float) -> Spec:
    """N -> N; about 4e8 synaptic operations in all, half a second's work for the fastest."""
    each = ACTIVITY * density * neurons**2
    steps = int(min(2500, 4e8 / each / SAMPLES))
    return Spec(f"{neurons // 1000}k, {density:.0%}", (neurons, neurons), density, steps)


RANDOM = [random_net(n, d) for n, d in [(k, d) for k in (1000, 10_000) for d in (0.1, 0.05, 0.01)] + [(100_000, 0.01)]]
LAYERED = Spec("784-256-10", (784, 256, 10), 1.0, steps=100, samples=100)


def store(spec: Spec, folder: Path) -> Path:
    """Draw the net, write it into `folder` and return that: see :class:`tests.benchmarks.contenders.child.Net`."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for k, (before, size) in enumerate(pairwise(spec.sizes)):
        ptr, targets = _synapses(rng, before, size, spec.density)
        weights = rng.integers(1, 128, len(targets), np.int8)
        weights[rng.random(len(targets), np.float32) < 0.5] *= -1
        for name, array in (("ptr", ptr), ("targets", targets), ("weights", weights)):
            np.save(folder / f"{name}{k}.npy", array)
    spikes = rng.random((spec.samples, spec.steps, spec.sizes[0]), np.float32) < ACTIVITY
    np.save(folder / "spikes.npy", spikes.astype(np.uint8))
    # A membrane collects about 20 steps of random signs; its spread is some 30 % of the threshold.
    spread = 73 * np.sqrt(ACTIVITY * spec.density * spec.sizes[0] * 20)
    about = {"sizes": spec.sizes, "u_decay": 2048, "v_decay": 205, "threshold": round(3 * spread)}
    (folder / "net.json").write_text(json.dumps(about))
    return folder


def _synapses(rng: np.random.Generator, sources: int, targets: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Row pointers int64 (sources + 1,) and sorted targets int32 (synapses,)."""
    if density == 1:
        return np.arange(sources + 1) * targets, np.tile(np.arange(targets, dtype=np.int32), sources)
    rows = [np.flatnonzero(rng.random(targets, np.float32) < density).astype(np.int32) for _ in range(sources)]
    return np.concatenate([[0], np.cumsum([len(r) for r in rows])]), np.concatenate(rows)

"""What counting costs the engine: ``python -m tests.benchmarks.counting``.

The same kernel runs the same networks on the same data, once with an image and once without. A network without an
image has one core, no axons and no routes: spikes per neuron and active updates are counted, and nothing else. So the
difference is what all other figures cost: those per core, axon, route and step, and the length of each step, which the
kernel makes of them. Runs alternate on one thread; taken is the processor's
time. Shares are of the shortest runs, which other work on the machine disturbs least.
"""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
from scipy import sparse

from snnc import target
from snnc.image import Image, Mapping
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Linear
from snnc.samples import Samples
from snnc.simulator import prepare, simulate
from tests.benchmarks.timing import Timing, in_turn, table

UNIT = "spikes only"
STEPS, RATE = 50, 0.05
ROUNDS = 30


def neurons(name: str, shape: tuple[int, ...], threshold: int) -> Population:
    values = {"u_decay": 4096, "v_decay": 400, "threshold": threshold, "bias": 0}
    return Population(name, shape, "cuba_fixed", {k: np.full(shape, v, np.int32) for k, v in values.items()})


def layer(rng: np.random.Generator, size: int, density: float) -> Network:
    """Inputs and as many neurons, each with density * size synapses."""
    weight = sparse.random_array((size, size), density=density, format="csr", rng=rng, dtype=np.float64)
    weight.data = rng.integers(1, 128, weight.nnz) * rng.choice([-1, 1], weight.nnz)
    populations = (Population("in", (size,), "input"), neurons("out", (size,), 1000))
    forward = Projection("forward", "in", "out", (Linear(sparse.csr_array(weight.astype(np.int16))),))
    return Network(populations, (forward,), ("out",), 1e-3, f"{size:,} neurons, {density:.0%}")


def chain(rng: np.random.Generator, *sizes: int) -> Network:
    """Fully connected layers, which spike about as much as the input."""
    populations = [Population("l0", (sizes[0],), "input")]
    projections = []
    for k, (before, after) in enumerate(pairwise(sizes), 1):
        weight = rng.integers(1, 128, (after, before)) * rng.choice([-1, 1], (after, before))
        populations.append(neurons(f"l{k}", (after,), 1500))
        projections.append(
            Projection(f"p{k}", f"l{k - 1}", f"l{k}", (Linear(sparse.csr_array(weight.astype(np.int16))),))
        )
    return Network(tuple(populations), tuple(projections), (f"l{len(sizes) - 1}",), 1e-3, "-".join(map(str, sizes)))


def convolutions(rng: np.random.Generator) -> Network:
    """2 channels of 34 x 34 (N-MNIST), two convolutions with strides, a fully connected layer."""
    one, two = ((rng.integers(-127, 128, s)).astype(np.int16) for s in ((16, 2, 3, 3), (32, 16, 3, 3)))
    last = rng.integers(-127, 128, (10, 32 * 9 * 9)).astype(np.int16)
    populations = (
        Population("in", (2, 34, 34), "input"),
        neurons("c1", (16, 17, 17), 400),
        neurons("c2", (32, 9, 9), 900),
        neurons("fc", (10,), 1500),
    )
    projections = (
        Projection("p1", "in", "c1", (Conv2d(one, None, (2, 2), (1, 1)),)),
        Projection("p2", "c1", "c2", (Conv2d(two, None, (2, 2), (1, 1)),)),
        Projection("p3", "c2", "fc", (Linear(sparse.csr_array(last)),)),
    )
    return Network(populations, projections, ("fc",), 1e-3, "convolutions")


def placed(network: Network, cores: int) -> Image:
    """The network in layer order on equal cores, at sites over all of the chip."""
    chip = target.load("loihi")
    core_of = np.full(network.size, -1, np.int32)
    inner = np.flatnonzero(np.concatenate([np.full(p.size, p.neuron != "input") for p in network.populations]))
    core_of[inner] = np.arange(len(inner)) * cores // len(inner)
    sites = np.random.default_rng(0).permutation(chip.grid.chip_cores)[:cores].astype(np.int32)
    return Image(network, Mapping(core_of, sites), chip)


def measure(network: Network, samples: int, cores: int) -> tuple[list[Timing], float]:
    """Times without and with counts, and spikes per neuron and step behind the input."""
    rng = np.random.default_rng(1)
    data = Samples((rng.random((samples, STEPS, *network.inputs[0].shape)) < RATE).astype(np.uint8))
    bare, full = prepare(network), prepare(placed(network, cores))
    spikes = simulate(bare, data, threads=1).spikes[:, network.inputs[0].size :]

    executors = {
        "spikes only": lambda: simulate(bare, data, threads=1),
        "all counts": lambda: simulate(full, data, threads=1),
    }
    return in_turn(executors, ROUNDS, time.process_time), float(spikes.mean()) / STEPS


def share(less: Timing, more: Timing) -> float:
    """Of the time of `more`, what it does beyond `less`."""
    return 1 - min(less.seconds) / min(more.seconds)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    for network, samples, cores in (
        (layer(rng, 1_000, 0.1), 100, 8),
        (layer(rng, 1_000, 0.01), 100, 8),
        (layer(rng, 10_000, 0.05), 2, 40),
        (layer(rng, 10_000, 0.01), 4, 40),
        (chain(rng, 784, 256, 10), 200, 2),
        (convolutions(rng), 40, 12),
    ):
        timings, rate = measure(network, samples, cores)
        print(f"{network.name}, {samples} samples x {STEPS} steps, {cores} cores, rate {rate:.3f}")
        print("\n".join(table(timings, UNIT)))
        print(f"of the run time counting takes {share(*timings):.1%}\n")

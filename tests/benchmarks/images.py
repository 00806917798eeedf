"""Networks of the contest as images of snnc: mapped in layer order, onto a Loihi with as many cores as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

import snnc
from snnc.image import Image, Mapping
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Linear, Op, Shape
from snnc.target import Target
from tests import lava_wheel
from tests.small_chips import few

# Neurons of a core at most, as on Loihi. Its memory and axons are no limit here: the contest is about time.
NEURONS_PER_CORE = 1024
NO_LIMITS = dict.fromkeys(("in_axons", "out_axons", "synapse_bits", "neuron_groups"), 1 << 40)

PILOTNET_STEPS = 16


def chain(shape: Shape, ops: Sequence[Op], params: Sequence[dict[str, int]]) -> Image:
    """Layers one after the other: of each its operation and the parameters of its neurons. shape: of the input."""
    populations, projections = [Population("input", shape, "input")], []
    for k, (op, values) in enumerate(zip(ops, params, strict=True)):
        before = populations[-1]
        after = op.output_shape(before.shape)
        full = {name: np.full(after, value, np.int32) for name, value in {"bias": 0, **values}.items()}
        populations.append(Population(f"layer{k}", after, "cuba_fixed", full))
        projections.append(Projection(f"synapses{k}", before.name, f"layer{k}", (op,)))
    return mapped(Network(tuple(populations), tuple(projections), (populations[-1].name,), 1e-3, "contest"))


def linear(ptr: np.ndarray, targets: np.ndarray, weights: np.ndarray, size: int) -> Linear:
    """Of rows that are sources."""
    rows = sparse.csr_array((weights.astype(np.int16), targets, ptr), shape=(len(ptr) - 1, size))
    return Linear(rows.T.tocsr())


def mapped(network: Network, most: int = NEURONS_PER_CORE, target: Target | None = None) -> Image:
    """On cores in layer order; a core holds at most so many neurons, of one layer."""
    core_of, cores = np.full(network.size, -1, np.int32), 0
    for population in network.populations:
        if population.neuron != "input":
            start = network.offsets[population.name]
            core_of[start : start + population.size] = cores + np.arange(population.size) // most
            cores += -(-population.size // most)
    return Image(network, Mapping(core_of, np.arange(cores, dtype=np.int32)), target or few(cores, **NO_LIMITS))


def store(image: Image, spikes: np.ndarray, folder: Path) -> Path:
    """Write an image and its data, uint8 or int32 (samples, steps, *shape); returns the folder."""
    folder.mkdir()
    image.save(folder / "image.snnc")
    np.save(folder / "spikes.npy", spikes)
    return folder


def nmnist(folder: Path) -> Path:
    """Three convolutions and a linear layer on 2 x 34 x 34, of the size that N-MNIST is read with.

    16 recordings of 300 steps; 1 % of the pixels spike in a step, as in N-MNIST at 1 ms.
    """
    rng = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape).astype(np.int16)

    ops = [
        Conv2d(draw(16, 2, 5, 5), None, (2, 2), (1, 1)),
        Conv2d(draw(32, 16, 3, 3), None, (2, 2), (1, 1)),
        Conv2d(draw(64, 32, 3, 3), None, (2, 2), (1, 1)),
        Linear(sparse.csr_array(draw(10, 64 * 4 * 4))),
    ]
    params = [{"u_decay": 2048, "v_decay": 205, "threshold": threshold} for threshold in (300, 1000, 1500, 2500)]
    spikes = rng.random((16, 300, 2, 34, 34), np.float32) < 0.01
    return store(chain((2, 34, 34), ops, params), spikes.astype(np.uint8), folder)


def pilotnet(folder: Path) -> Path:
    """PilotNet-LIF of lava-dl's tutorial on one image of a camera, 16 steps; UnavailableError without its wheel."""
    network, frames = pilotnet_lif()
    return store(mapped(network), frames, folder)


def pilotnet_lif() -> tuple[Network, np.ndarray]:
    """The network and its data, int32 (1, 16, *shape); UnavailableError without lava-dl's wheel."""
    source = lava_wheel.folder() / "gts/pilotnet_lif"
    camera = np.load(source / "image.npy").T
    frames = np.broadcast_to(camera, (1, PILOTNET_STEPS, *camera.shape)).astype(np.int32)
    return snnc.load(source / "network.net"), frames

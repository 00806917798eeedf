"""The bundled instances of the mapping problem: networks of integer neurons, and how often each neuron spikes.

All neurons live on cores, those of the first layer too, which are neurons without synapses into them. Seeds are
fixed; spike rates are drawn from an exponential distribution, those of tickets are measured on their data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import sparse

from snnc import datasets, frontends, models, tickets
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Linear, Op, Pair, Shape, canonical
from snnc.passes.lower import lower
from snnc.simulator.floating.batches import counts
from snnc.version import VERSION

TICKETS = Path("build/instances")
"""Where tickets are kept once they are found, if the caller names no other folder."""

MEAN_RATE = 0.1
LARGEST_WEIGHT = 127
AT_ONCE = 1 << 14
"""Neurons whose synapses are drawn at once, where all of them would take too much memory."""

SMALL = 8192
"""Networks of up to so many neurons are mapped to `FEW` cores, larger ones to as many as they need."""
FEW = 16


@dataclass(frozen=True, eq=False)
class Instance:
    """A network to be mapped.

    rates: spikes per step of each neuron, float64 (neurons,). cores: how many it is for, None = as many as it needs.
    """

    name: str
    network: Network
    rates: np.ndarray
    cores: int | None


def build(name: str, folder: Path = TICKETS) -> Instance:
    """The bundled instance of that name, a key of :data:`INSTANCES`. folder: of found tickets."""
    network, rates = INSTANCES[name](folder)
    return Instance(name, network, rates, cores(network.size))


def cores(neurons: int) -> int | None:
    """How many cores a network is for unless somebody says otherwise."""
    return FEW if neurons <= SMALL else None


def neurons(name: str, shape: Shape) -> Population:
    """Integer neurons that all have the same parameters."""
    values = {"u_decay": 4096, "v_decay": 410, "threshold": 6400, "bias": 0}
    return Population(name, shape, "cuba_fixed", {k: np.full(shape, v, np.int32) for k, v in values.items()})


def join(name: str, shapes: Iterable[Shape], ops: Iterable[Op]) -> Network:
    """Layers in a row, layer0 first, an operation between each two."""
    populations = tuple(neurons(f"layer{k}", shape) for k, shape in enumerate(shapes))
    projections = tuple(Projection(f"synapses{k}", f"layer{k}", f"layer{k + 1}", (op,)) for k, op in enumerate(ops))
    return Network(populations, projections, (populations[-1].name,), 1e-3, name)


def _rates(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.minimum(rng.exponential(MEAN_RATE, count), 1)


def _weights(rng: np.random.Generator, exists: np.ndarray | sparse.sparray) -> sparse.csr_array:
    """Random weights, never 0, where `exists` says so."""
    matrix = canonical(exists)
    signs = rng.choice(np.array([-1, 1], np.int16), matrix.nnz)
    values = signs * rng.integers(1, LARGEST_WEIGHT + 1, matrix.nnz, np.int16)
    return sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


PERCEPTRON = (784, 512, 512, 10)


def _local(_: Path) -> tuple[Network, np.ndarray]:
    """Layers along a line, 5 % of all synapses: each neuron has half of those to the tenth of a layer next to it."""
    rng = np.random.default_rng(1)
    ops = []
    for before, after in pairwise(PERCEPTRON):
        place = [(np.arange(n) + 0.5) / n for n in (after, before)]
        near = np.abs(place[0][:, None] - place[1][None, :]) < 0.05
        ops.append(Linear(_weights(rng, near & (rng.random(near.shape) < 0.5))))
    network = join("local", [(n,) for n in PERCEPTRON], ops)
    return network, _rates(rng, network.size)


def _random(_: Path) -> tuple[Network, np.ndarray]:
    """5 % of all synapses, anywhere."""
    rng = np.random.default_rng(2)
    ops = [Linear(_weights(rng, rng.random((b, a)) < 0.05)) for a, b in pairwise(PERCEPTRON)]
    network = join("random", [(n,) for n in PERCEPTRON], ops)
    return network, _rates(rng, network.size)


def _recurrent(_: Path) -> tuple[Network, np.ndarray]:
    """A sheet of 40 x 40 neurons that are the likelier connected the closer they are, between inputs and read-out."""
    rng = np.random.default_rng(3)
    side, inputs, outputs = 40, 128, 20
    y, x = np.divmod(np.arange(side * side), side)
    square = (y[:, None] - y[None, :]) ** 2 + (x[:, None] - x[None, :]) ** 2
    close = rng.random(square.shape) < 0.6 * np.exp(-square / 18)
    np.fill_diagonal(close, False)
    populations = (neurons("input", (inputs,)), neurons("sheet", (side, side)), neurons("readout", (outputs,)))
    parts = {
        ("input", "sheet"): rng.random((side * side, inputs)) < 0.02,
        ("sheet", "sheet"): close,
        ("sheet", "readout"): rng.random((outputs, side * side)) < 0.1,
    }
    projections = tuple(
        Projection(f"{pre} to {post}", pre, post, (Linear(_weights(rng, exists)),))
        for (pre, post), exists in parts.items()
    )
    network = Network(populations, projections, ("readout",), 1e-3, "recurrent")
    # Neurons have numbers that say nothing about where they are.
    shuffled = _shuffled(network, "sheet", rng.permutation(side * side))
    return shuffled, _rates(rng, network.size)


def _shuffled(network: Network, name: str, order: np.ndarray) -> Network:
    """The same network with the neurons of one population, which are all alike, in another order."""
    projections = []
    for p in network.projections:
        weight = p.op.weight
        weight = weight[order] if p.post == name else weight
        weight = weight[:, order] if p.pre == name else weight
        projections.append(replace(p, ops=(Linear(canonical(weight)),)))
    return replace(network, projections=tuple(projections))


def _ticket(sparsity: float) -> Callable[[Path], tuple[Network, np.ndarray]]:
    """A lottery ticket of the demo, with the rates of its float network on its data.

    Its weights are rounded here and not by the compiler, so that the instance stays the same when that changes.
    """

    def make(folder: Path) -> tuple[Network, np.ndarray]:
        recipe = models.recipe("mlp")
        mark = hashlib.sha256(f"{VERSION} {recipe} {sparsity}".encode()).hexdigest()[:8]
        path = folder / f"ticket-{sparsity:.0%}-{mark}.pt".replace("%", "")
        if not path.exists():
            tickets.find(recipe, sparsity=sparsity, data="digits", seed=0, out=path)
        network = lower(frontends.load(path)[0])
        data = datasets.samples("digits", "validation")
        found = counts(network, {network.inputs[0].name: data.spikes})
        rates = [found[p.name].mean(axis=0) / data.steps for p in network.populations]
        ops = [Linear(_rounded(p.op.weight)) for p in network.projections]
        return join(f"lottery-{100 * sparsity:.0f}", [p.shape for p in network.populations], ops), np.concatenate(rates)

    return make


def _rounded(weight: sparse.csr_array) -> sparse.csr_array:
    """The same synapses with whole weights, none of which becomes 0."""
    steps = np.rint(np.abs(weight.data) * (LARGEST_WEIGHT / np.abs(weight.data).max()))
    values = (np.sign(weight.data) * np.maximum(steps, 1)).astype(np.int16)
    return sparse.csr_array((values, weight.indices, weight.indptr), shape=weight.shape)


def _kernel(
    rng: np.random.Generator,
    channels: int,
    before: int,
    side: int,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    density: float = 1,
) -> Conv2d:
    size = (channels, before, side, side)
    weight = rng.integers(1, LARGEST_WEIGHT + 1, size, np.int16) * rng.choice(np.array([-1, 1], np.int16), size)
    return Conv2d(weight * (rng.random(size) < density), None, stride, padding)


def _stack(name: str, rng: np.random.Generator, shape: Shape, ops: list[Op]) -> tuple[Network, np.ndarray]:
    shapes = [shape]
    for op in ops:
        before = shapes[-1]
        shapes.append(op.output_shape((int(np.prod(before)),) if isinstance(op, Linear) else before))
    network = join(name, shapes, ops)
    return network, _rates(rng, network.size)


def _full(rng: np.random.Generator, after: int, before: int, density: float = 1) -> Linear:
    return Linear(_weights(rng, rng.random((after, before)) < density))


def _conv_fc(_: Path) -> tuple[Network, np.ndarray]:
    """Two pruned convolutions 3 x 3 and two pruned linear layers behind an image of 28 x 28."""
    rng = np.random.default_rng(4)
    ops: list[Op] = [
        _kernel(rng, 8, 1, 3, (2, 2), (1, 1), 0.5),
        _kernel(rng, 16, 8, 3, (2, 2), (1, 1), 0.15),
        _full(rng, 512, 784, 0.05),
        _full(rng, 10, 512, 0.2),
    ]
    return _stack("conv-fc", rng, (1, 28, 28), ops)


def _vgg(_: Path) -> tuple[Network, np.ndarray]:
    """Five convolutions 3 x 3, of which three halve the image, and two linear layers, behind an image of CIFAR."""
    rng = np.random.default_rng(5)
    ops: list[Op] = [
        _kernel(rng, 16, 3, 3, (1, 1), (1, 1)),
        _kernel(rng, 16, 16, 3, (1, 1), (1, 1)),
        _kernel(rng, 32, 16, 3, (2, 2), (1, 1)),
        _kernel(rng, 64, 32, 3, (2, 2), (1, 1)),
        _kernel(rng, 64, 64, 3, (2, 2), (1, 1)),
        _full(rng, 256, 1024),
        _full(rng, 10, 256),
    ]
    return _stack("vgg", rng, (3, 32, 32), ops)


def _pilotnet(_: Path) -> tuple[Network, np.ndarray]:
    """PilotNet of Bojarski et al., 2016, with a padded first layer: five convolutions, four linear layers."""
    rng = np.random.default_rng(6)
    ops: list[Op] = [
        _kernel(rng, 24, 3, 5, (2, 2), (2, 2)),
        _kernel(rng, 36, 24, 5, (2, 2)),
        _kernel(rng, 48, 36, 5, (2, 2)),
        _kernel(rng, 64, 48, 3),
        _kernel(rng, 64, 64, 3),
        _full(rng, 100, 2304),
        _full(rng, 50, 100),
        _full(rng, 10, 50),
        _full(rng, 1, 10),
    ]
    return _stack("pilotnet", rng, (3, 66, 200), ops)


def _million(_: Path) -> tuple[Network, np.ndarray]:
    """Ten sheets of 784 x 128 neurons, each neuron with a random quarter of the window of 21 x 21 before it."""
    rng = np.random.default_rng(7)
    shape, layers = (784, 128), 10
    ops = [Linear(_window(rng, shape, 10, 0.2636)) for _ in range(layers - 1)]
    network = join("million", [shape] * layers, ops)
    return network, _rates(rng, network.size)


def _window(rng: np.random.Generator, shape: Pair, reach: int, density: float) -> sparse.csr_array:
    """Random synapses between two sheets at most `reach` apart, made in blocks of rows."""
    size = shape[0] * shape[1]
    dy, dx = (d.ravel() for d in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    lengths, columns, values = [], [], []
    for start in range(0, size, AT_ONCE):
        y, x = np.divmod(np.arange(start, min(start + AT_ONCE, size), dtype=np.int32), shape[1])
        y, x = y[:, None] + dy.astype(np.int32), x[:, None] + dx.astype(np.int32)
        exists = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        exists &= rng.random(exists.shape, np.float32) < density
        lengths.append(exists.sum(axis=1))
        columns.append((y * shape[1] + x)[exists])
        weights = rng.integers(1, LARGEST_WEIGHT + 1, len(columns[-1]), np.int16)
        values.append(np.where(rng.random(len(weights), np.float32) < 0.5, weights, -weights))
    ends = np.cumsum([0, *np.concatenate(lengths)]).astype(np.int32)
    return sparse.csr_array((np.concatenate(values), np.concatenate(columns), ends), shape=(size, size))


INSTANCES: dict[str, Callable[[Path], tuple[Network, np.ndarray]]] = {
    "local": _local,
    "lottery-90": _ticket(0.9),
    "lottery-98": _ticket(0.98),
    "random": _random,
    "conv-fc": _conv_fc,
    "recurrent": _recurrent,
    "vgg": _vgg,
    "pilotnet": _pilotnet,
    "million": _million,
}
"""Name -> function of the folder of found tickets, which returns a network and its rates."""

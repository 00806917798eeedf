"""Small mapped networks that SANA-FE and we can both run, of every kind: see :data:`IMAGES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from integer_networks import linear, place, population
from sanafe_net import stepwise

from snnc.image import Image
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d, Linear, canonical
from snnc.resources import is_input

Rng = np.random.Generator


def network(layers: list[Population], links: list[Projection]) -> Network:
    return stepwise(Network(tuple(layers), tuple(links), (layers[-1].name,), 1e-3))


def source(*shape: int) -> Population:
    return Population("in", shape, "input")


def neurons(rng: Rng, name: str, *shape: int, threshold: int = 200, bias: int = 0) -> Population:
    """Each with its own decay, threshold and bias; a bias of 0 leaves those idle that nothing reaches."""
    return population(
        name,
        shape,
        v_decay=rng.integers(0, 4097, shape),
        threshold=rng.integers(threshold // 2, 2 * threshold, shape),
        bias=rng.integers(1, bias, shape) if bias else 0,
    )


def joined(rng: Rng, pre: Population, post: Population, density: float, *, signs: bool | None = None) -> Projection:
    """Weights of both signs if the targets have a bias, or as `signs` says; else positive, so that none cancel."""
    op = linear(rng, post.size, pre.size, 127, density)
    if not (post.params["bias"].any() if signs is None else signs):
        op = replace(op, weight=abs(op.weight))
    return Projection(f"{pre.name} to {post.name}", pre.name, post.name, (op,))


def spread(net: Network, rng: Rng, cores: int, sites: np.ndarray) -> Image:
    """Neurons at random on so many cores."""
    core_of = np.full(net.size, -1, np.int32)
    inside = np.flatnonzero(~is_input(net))
    core_of[inside] = rng.permutation(np.arange(len(inside)) % cores)
    return place(net, core_of, sites[:cores])


def in_rows(net: Network, cores: int, sites: np.ndarray) -> Image:
    """Each core holds neighbours of each layer, so that the lists of a convolution are shared."""
    core_of = [
        np.sort(np.arange(p.size) % cores) if p.neuron != "input" else np.full(p.size, -1) for p in net.populations
    ]
    return place(net, np.concatenate(core_of), sites[:cores])


def one_core(rng: Rng) -> Image:
    a, b, c = source(30), neurons(rng, "b", 40, threshold=600), neurons(rng, "c", 10)
    return spread(network([a, b, c], [joined(rng, a, b, 0.5), joined(rng, b, c, 0.3)]), rng, 1, np.array([77]))


def several_cores(rng: Rng) -> Image:
    a, b, c = source(50), neurons(rng, "b", 90, bias=40), neurons(rng, "c", 60, bias=20)
    return spread(network([a, b, c], [joined(rng, a, b, 0.5), joined(rng, b, c, 0.2)]), rng, 7, rng.permutation(128))


def conv(rng: Rng) -> Image:
    """With stride, padding and taps that are not there; its output is read by a dense layer."""
    kernel = rng.integers(1, 128, (6, 2, 3, 3)).astype(np.int16)
    kernel[rng.random(kernel.shape) < 0.2] = 0
    op = Conv2d(kernel, None, (2, 1), (1, 1))
    a, b = source(2, 9, 8), neurons(rng, "b", *op.output_shape((2, 9, 8)), threshold=600)
    c = neurons(rng, "c", 12, bias=40)
    links = [Projection("conv", "in", "b", (op,)), joined(rng, b, c, 0.9)]
    return in_rows(network([a, b, c], links), 4, rng.permutation(128))


def conv_in_conv(rng: Rng) -> Image:
    """Both between layers on the chip, the second in groups and of both signs."""
    first = Conv2d(rng.integers(1, 128, (4, 1, 3, 3)).astype(np.int16), None, (1, 1), (1, 1))
    second = Conv2d(rng.integers(-90, 128, (6, 2, 2, 2)).astype(np.int16), None, (1, 1), (0, 0), (1, 1), 2)
    a, b = source(1, 7, 7), neurons(rng, "b", 4, 7, 7, threshold=400)
    c = neurons(rng, "c", *second.output_shape((4, 7, 7)), bias=20)
    links = [Projection("one", "in", "b", (first,)), Projection("two", "b", "c", (second,))]
    return in_rows(network([a, b, c], links), 5, rng.permutation(128))


def recurrent(rng: Rng) -> Image:
    """With itself, back over a layer, and past one."""
    a, b, c = source(30), neurons(rng, "b", 60, bias=20), neurons(rng, "c", 30, bias=20)
    d = neurons(rng, "d", 20, bias=30)
    links = [joined(rng, a, b, 0.5), joined(rng, b, b, 0.1), joined(rng, b, c, 0.4), joined(rng, c, d, 0.5)]
    links += [joined(rng, d, b, 0.3), joined(rng, b, d, 0.1), joined(rng, d, d, 1.0)]
    return spread(network([a, b, c, d], links), rng, 5, rng.permutation(128))


def dense(rng: Rng) -> Image:
    """All synapses of one layer exist; of the other a tenth are stored zeros."""
    a, b, c = source(40), neurons(rng, "b", 70, threshold=1500), neurons(rng, "c", 50, bias=30)
    return spread(network([a, b, c], [joined(rng, a, b, 1.0), joined(rng, b, c, 0.9)]), rng, 3, rng.permutation(128))


def sparse_layers(rng: Rng) -> Image:
    a, b, c = source(150), neurons(rng, "b", 200), neurons(rng, "c", 150, threshold=150)
    return spread(network([a, b, c], [joined(rng, a, b, 0.03), joined(rng, b, c, 0.02)]), rng, 6, rng.permutation(128))


def mixed(rng: Rng) -> Image:
    """Two projections between the same layers, one sparse and one dense, meet in the axons of a core."""
    a, b, c = source(30), neurons(rng, "b", 40, threshold=900), neurons(rng, "c", 30, bias=40)
    thin = replace(joined(rng, b, c, 0.05), name="thin")
    links = [joined(rng, a, b, 1.0), joined(rng, b, c, 1.0), thin, joined(rng, a, c, 0.2)]
    return spread(network([a, b, c], links), rng, 3, rng.permutation(128))


def whole_chip(rng: Rng) -> Image:
    """A core in each of 30 tiles."""
    a, b, c = source(30), neurons(rng, "b", 90, bias=60), neurons(rng, "c", 60, bias=20)
    sites = 4 * rng.permutation(32)[:30] + rng.integers(0, 4, 30)
    return spread(network([a, b, c], [joined(rng, a, b, 0.3), joined(rng, b, c, 0.1)]), rng, 30, sites)


def every_format(rng: Rng) -> Image:
    """A kernel, a dense and a sparse layer, the last recurrent; one neuron is alone on its core."""
    op = Conv2d(rng.integers(1, 128, (3, 1, 3, 3)).astype(np.int16), None, (1, 1), (1, 1))
    a, b = source(1, 6, 6), neurons(rng, "b", 3, 6, 6, threshold=400)
    c, d = neurons(rng, "c", 40, threshold=1500), neurons(rng, "d", 30, bias=30)
    alone = population("alone", (1,), v_decay=300, threshold=400, bias=150)
    links = [Projection("kernel", "in", "b", (op,)), joined(rng, b, c, 1.0), joined(rng, c, d, 0.1)]
    links += [joined(rng, d, d, 0.05), joined(rng, alone, d, 1.0)]
    net = network([a, b, c, alone, d], links)
    image = spread(net, rng, 7, rng.permutation(128))
    core_of, site_of = image.mapping.core_of.copy(), image.mapping.site_of
    core_of[net.offsets["b"] : net.offsets["c"]] = np.arange(b.size) // 54
    core_of[net.offsets["alone"]] = 7
    return place(net, core_of, [*site_of, np.setdiff1d(np.arange(128), site_of)[0]])


def cancelling(rng: Rng) -> Image:
    """Weights of both signs and stored zeros, and no bias: see :func:`sanafe_ours.updated`."""
    a, b, c = source(20), neurons(rng, "b", 60), neurons(rng, "c", 60)
    op = Linear(canonical(rng.choice([-120, 120], (60, 20)).astype(np.int16)))
    links = [Projection("cancels", "in", "b", (op,)), joined(rng, b, c, 0.7, signs=True)]
    return spread(network([a, b, c], links), rng, 4, rng.permutation(128))


IMAGES: dict[str, Callable[[Rng], Image]] = {
    make.__name__: make
    for make in (
        one_core,
        several_cores,
        conv,
        conv_in_conv,
        recurrent,
        dense,
        sparse_layers,
        mixed,
        whole_chip,
        every_format,
        cancelling,
    )
}

"""Small mapped networks that SANA-FE and we can both run, of every kind: see :data:`IMAGES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from integer_networks import linear, place, population
from sanafe_net import stepwise

from snnc.image import Image
from snnc.network import Network, Population, Projection
from snnc.ops import Conv2d

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


def joined(rng: Rng, pre: Population, post: Population, density: float, limit: int = 127) -> Projection:
    name = f"{pre.name} to {post.name}"
    return Projection(name, pre.name, post.name, (linear(rng, post.size, pre.size, limit, density),))


def spread(net: Network, rng: Rng, cores: int, sites: np.ndarray) -> Image:
    """Neurons at random on so many cores."""
    core_of = np.full(net.size, -1, np.int32)
    inside = np.flatnonzero(np.concatenate([np.full(p.size, p.neuron != "input") for p in net.populations]))
    core_of[inside] = rng.permutation(np.arange(len(inside)) % cores)
    return place(net, core_of, sites[:cores])


def one_core(rng: Rng) -> Image:
    a, b, c = source(30), neurons(rng, "b", 40), neurons(rng, "c", 10)
    return spread(network([a, b, c], [joined(rng, a, b, 0.6), joined(rng, b, c, 0.3)]), rng, 1, np.array([77]))


def several_cores(rng: Rng) -> Image:
    a, b, c = source(50), neurons(rng, "b", 90, bias=40), neurons(rng, "c", 60)
    return spread(network([a, b, c], [joined(rng, a, b, 0.5), joined(rng, b, c, 0.2)]), rng, 7, rng.permutation(128))


def conv(rng: Rng) -> Image:
    kernel = rng.integers(-90, 128, (6, 2, 3, 3)).astype(np.int16)
    kernel[rng.random(kernel.shape) < 0.2] = 0
    op = Conv2d(kernel, None, (2, 1), (1, 1))
    a, b, c = source(2, 9, 8), neurons(rng, "b", *op.output_shape((2, 9, 8))), neurons(rng, "c", 12)
    links = [Projection("conv", "in", "b", (op,)), joined(rng, b, c, 0.9)]
    return spread(network([a, b, c], links), rng, 4, rng.permutation(128))


def conv_in_conv(rng: Rng) -> Image:
    """A convolution between layers on the chip, with groups; cores hold neighbours, whose lists are shared."""
    first = Conv2d(rng.integers(-60, 128, (4, 1, 3, 3)).astype(np.int16), None, (1, 1), (1, 1))
    second = Conv2d(rng.integers(-60, 128, (6, 2, 2, 2)).astype(np.int16), None, (1, 1), (0, 0), (1, 1), 2)
    a, b = source(1, 7, 7), neurons(rng, "b", 4, 7, 7)
    c = neurons(rng, "c", *second.output_shape((4, 7, 7)))
    links = [Projection("one", "in", "b", (first,)), Projection("two", "b", "c", (second,))]
    net = network([a, b, c], links)
    core_of = np.full(net.size, -1, np.int32)
    core_of[a.size :] = np.sort(np.arange(b.size + c.size) % 5)
    return place(net, core_of, rng.permutation(128)[:5])


def recurrent(rng: Rng) -> Image:
    """With itself, back over a layer, and past one."""
    a, b, c, d = source(30), neurons(rng, "b", 60), neurons(rng, "c", 30, bias=20), neurons(rng, "d", 20)
    links = [joined(rng, a, b, 0.5), joined(rng, b, b, 0.1), joined(rng, b, c, 0.4), joined(rng, c, d, 0.5)]
    links += [joined(rng, d, b, 0.3), joined(rng, b, d, 0.1), joined(rng, d, d, 1.0)]
    return spread(network([a, b, c, d], links), rng, 5, rng.permutation(128))


def dense(rng: Rng) -> Image:
    """All synapses of one layer exist; of the other a tenth are stored zeros."""
    a, b, c = source(40), neurons(rng, "b", 70), neurons(rng, "c", 50)
    return spread(network([a, b, c], [joined(rng, a, b, 1.0), joined(rng, b, c, 0.9)]), rng, 3, rng.permutation(128))


def sparse_layers(rng: Rng) -> Image:
    a, b, c = source(150), neurons(rng, "b", 200, threshold=60), neurons(rng, "c", 150, threshold=60)
    return spread(network([a, b, c], [joined(rng, a, b, 0.03), joined(rng, b, c, 0.02)]), rng, 6, rng.permutation(128))


def mixed(rng: Rng) -> Image:
    """Two projections between the same layers, one sparse and one dense, meet in the axons of a core."""
    a, b, c = source(30), neurons(rng, "b", 40), neurons(rng, "c", 30)
    thin = replace(joined(rng, b, c, 0.05), name="thin")
    links = [joined(rng, a, b, 0.5), joined(rng, b, c, 1.0), thin, joined(rng, a, c, 0.2)]
    return spread(network([a, b, c], links), rng, 3, rng.permutation(128))


def whole_chip(rng: Rng) -> Image:
    """A core in each of 30 tiles."""
    a, b, c = source(30), neurons(rng, "b", 90, bias=60), neurons(rng, "c", 60)
    sites = 4 * rng.permutation(32)[:30] + rng.integers(0, 4, 30)
    return spread(network([a, b, c], [joined(rng, a, b, 0.3), joined(rng, b, c, 0.1)]), rng, 30, sites)


def every_format(rng: Rng) -> Image:
    """A kernel, a dense and a sparse layer, one of them recurrent; a neuron of its own core that spikes to seven."""
    op = Conv2d(rng.integers(-40, 128, (3, 1, 3, 3)).astype(np.int16), None, (1, 1), (1, 1))
    a, b = source(1, 6, 6), neurons(rng, "b", 3, 6, 6)
    c, d = neurons(rng, "c", 40), neurons(rng, "d", 30, threshold=90)
    alone = population("alone", (1,), v_decay=300, threshold=400, bias=150)
    links = [Projection("kernel", "in", "b", (op,)), joined(rng, b, c, 1.0), joined(rng, c, d, 0.1)]
    links += [joined(rng, d, d, 0.05), joined(rng, alone, d, 1.0, 5)]
    net = network([a, b, c, alone, d], links)
    image = spread(net, rng, 7, rng.permutation(128))
    core_of, site_of = image.mapping.core_of.copy(), image.mapping.site_of
    core_of[net.offsets["b"] : net.offsets["c"]] = np.arange(b.size) // 54
    core_of[net.offsets["alone"]] = 7
    return place(net, core_of, [*site_of, np.setdiff1d(np.arange(128), site_of)[0]])


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
    )
}

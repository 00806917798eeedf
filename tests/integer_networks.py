"""Random integer networks, data and images for tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from snnc import target as targets
from snnc.image import Image, Mapping
from snnc.network import NEURONS, SUBTRACTING, USUAL, Network, Population, Projection
from snnc.ops import Conv2d, Linear, Op, Shape, canonical


def population(name: str, shape: Shape, **params: Any) -> Population:
    values = {"u_decay": 4096, "v_decay": 0, "threshold": 100, "bias": 0} | params
    full = {k: np.broadcast_to(np.asarray(v, np.int32), shape).copy() for k, v in values.items()}
    return Population(name, shape, "cuba_fixed", full)


def adaptive(name: str, shape: Shape, **params: Any) -> Population:
    """Neurons with a second compartment."""
    values = {"u_decay": 4096, "v_decay": 0, "w_decay": 0, "threshold": 100, "bias": 0, "w_jump": 10} | params
    full = {k: np.broadcast_to(np.asarray(v, np.int32), shape).copy() for k, v in values.items()}
    return Population(name, shape, "alif_fixed", full)


def read_out(name: str, shape: Shape, **params: Any) -> Population:
    """A population that never spikes."""
    return _read_out(population(name, shape, **params))


def linear(rng: np.random.Generator, out: int, size: int, limit: int = 127, density: float = 0.5) -> Linear:
    weight = rng.integers(1, limit + 1, (out, size)) * rng.choice([-1, 1], (out, size))
    weight *= rng.random((out, size)) < density
    return Linear(canonical(weight.astype(np.int16)))


def chain(*sizes: int, seed: int = 0, threshold: int = 100, density: float = 1) -> Network:
    """Linear layers of random weights, named l0 (the input), l1, ..."""
    rng = np.random.default_rng(seed)
    layers = [population(f"l{k}", (n,), threshold=threshold, v_decay=400) for k, n in enumerate(sizes)]
    projections = [
        Projection(f"p{k}", f"l{k - 1}", f"l{k}", (linear(rng, sizes[k], sizes[k - 1], density=density),))
        for k in range(1, len(sizes))
    ]
    return Network((Population("l0", (sizes[0],), "input"), *layers[1:]), tuple(projections), (layers[-1].name,), 1e-3)


@st.composite
def networks(draw: st.DrawFn, limits: Sequence[int] = (1, 20, 127, 256, 4000, 32767)) -> Network:
    """Two or three layers, linear or convolutional, with any of: branches, recurrence, feedback, delays.

    limits: largest weights, of which a network has one. They reach from one bit to the whole of int16, so that
    currents wrap and membranes saturate.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    limit = draw(st.sampled_from(limits))
    shape = draw(st.sampled_from([(5,), (1,), (2, 6, 5), (4, 4, 7), (2, 9)]))
    populations, projections = [Population("in", shape, "input")], []
    for k in range(draw(st.integers(1, 3))):
        pre = populations[-1]
        op = draw(operations(pre.shape, rng, limit))
        post = _random_population(draw, rng, f"layer{k}", op.output_shape(pre.shape), limit)
        populations.append(post)
        projections.append(
            Projection(f"forward{k}", pre.name, post.name, (op,), draw(st.sampled_from([0, 0, 0, 1, 3])))
        )
    spiking = len(populations)
    if draw(st.booleans()):  # a read-out, fed by one, and perhaps by others
        pre, shape = populations[-1], draw(st.sampled_from([(3,), (2, 2, 2)]))
        populations.append(_read_out(_random_population(draw, rng, "read", shape, limit)))
        projections.append(Projection("read", pre.name, "read", (linear(rng, math.prod(shape), pre.size, limit),)))
    for k in range(draw(st.integers(0, 3))):
        # Any pair: a branch, a second path, the population itself, or back.
        pre, post = draw(st.sampled_from(populations[:spiking])), draw(st.sampled_from(populations[1:]))
        op = linear(rng, post.size, pre.size, limit, draw(st.sampled_from([0.1, 0.9])))
        projections.append(Projection(f"extra{k}", pre.name, post.name, (op,), draw(st.sampled_from([0, 0, 2]))))
    names = [p.name for p in populations]
    outputs = draw(st.sampled_from([(names[-1],), tuple(names[1:]), (names[1], names[0])]))
    values = [p.name for p in populations if p.neuron == "graded_fixed"]  # of which there is no count
    outputs = tuple(n for n in outputs if n not in values) or ("in",)
    return Network(tuple(populations), tuple(projections), outputs, 1e-3)


def _read_out(population: Population) -> Population:
    """The same without threshold: its membranes are read."""
    params = {name: population.params[name] for name in NEURONS["cuba_li_fixed"]}
    return Population(population.name, population.shape, "cuba_li_fixed", params)


@st.composite
def operations(draw: st.DrawFn, shape: Shape, rng: np.random.Generator, limit: int) -> Op:
    """A matrix or, on images, a convolution, of any density from none to all."""
    if len(shape) == 1 or draw(st.booleans()):
        return linear(
            rng, draw(st.integers(1, 12)), int(np.prod(shape)), limit, draw(st.sampled_from([0, 0.1, 0.5, 1]))
        )
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if shape[0] % g == 0]))
    line = len(shape) == 2
    kernel = (1 if line else draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    size = (groups * draw(st.integers(1, 2)), shape[0] // groups, *kernel)
    weight = rng.integers(-limit, limit + 1, size) * (rng.random(size) < draw(st.sampled_from([0, 0.3, 1])))
    # A dilation of 2 spans 5 at most, a padding of 1 makes room for it in 4 rows.
    spread = draw(st.sampled_from([(1, 1), (2, 1), (1, 2)]))
    padding = (
        (max(1, draw(st.integers(0, 2))), max(1, draw(st.integers(0, 2))))
        if spread != (1, 1)
        else (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    )
    if line:
        padding = (0, padding[1])
    stride = draw(st.sampled_from([(1, 1), (2, 1), (3, 2)]))
    op = Conv2d(weight.astype(np.int16), None, stride, padding, spread, groups, line)
    image = op.images(shape)[0] if line else shape
    fits = all(image[1 + a] + 2 * padding[a] >= spread[a] * (kernel[a] - 1) + 1 for a in (0, 1))
    return op if fits else Conv2d(op.weight[:, :, :1, :1], None, groups=groups, line=line)


def _random_population(draw: st.DrawFn, rng: np.random.Generator, name: str, shape: Shape, limit: int) -> Population:
    decay = st.sampled_from([0, 1, 300, 4095, 4096])
    threshold = draw(st.sampled_from([0, limit, 10 * limit, (1 << 17) - 1]))
    bias = draw(st.sampled_from([0, limit // 3, 4095, 1 << 25]))
    plain = population(
        name,
        shape,
        u_decay=rng.integers(0, 4097, shape) if draw(st.booleans()) else draw(decay),
        v_decay=rng.integers(0, 4097, shape) if draw(st.booleans()) else draw(decay),
        threshold=rng.integers(0, threshold + 1, shape),
        bias=rng.integers(-bias, bias + 1, shape),
    )
    kind = draw(st.integers(0, 9))
    how = draw(st.sampled_from([USUAL, USUAL, USUAL, *SUBTRACTING]))
    if kind < 6:
        return replace(plain, semantics=how)
    if kind == 6:
        return Population(name, shape, "graded_fixed", plain.params)
    if kind == 7:
        rest = rng.integers(0, draw(st.sampled_from([1, 3, 63])) + 1, shape).astype(np.int32)
        return Population(name, shape, "cuba_fixed", {**plain.params, "refractory": rest}, how)
    jump = rng.integers(0, draw(st.sampled_from([1, limit, 1 << 17])) + 1, shape)
    second = {"w_decay": rng.integers(0, 4097, shape), "w_jump": np.minimum(jump, (1 << 17) - 1)}
    return adaptive(name, shape, **plain.params, **second)


@st.composite
def recordings(draw: st.DrawFn, shape: Shape) -> np.ndarray:
    """uint8 (samples, steps, *shape), from silence to every input in every step."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = (draw(st.integers(1, 5)), draw(st.integers(1, 12)), *shape)
    return (rng.random(size) < draw(st.sampled_from([0, 0.1, 0.5, 1]))).astype(np.uint8)


@st.composite
def images(draw: st.DrawFn, network: Network, target: str = "loihi") -> Image:
    """The network on random cores, of which none is empty, at random sites."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    neurons = np.concatenate([np.full(p.size, p.neuron != "input") for p in network.populations])
    cores = draw(st.integers(1, min(7, int(neurons.sum()))))
    core_of = np.full(network.size, -1, np.int32)
    core_of[neurons] = rng.permutation(np.arange(neurons.sum()) % cores)
    if draw(st.booleans()):
        core_of[neurons] = np.sort(core_of[neurons])
    return place(network, core_of, rng.permutation(128)[:cores], target)


def place(network: Network, core_of: Any, site_of: Any, target: str = "loihi") -> Image:
    mapping = Mapping(np.asarray(core_of, np.int32), np.asarray(site_of, np.int32))
    return Image(network, mapping, targets.load(target))

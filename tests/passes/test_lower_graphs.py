"""All that networks are made of, at random, and lowered: every neuron spikes as before.

Weights are multiples of 1/8, so that sums are exact in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from float_networks import DT, chain, cuba, lif
from hypothesis import given, settings
from hypothesis import strategies as st

import snnc
from snnc.image import Image
from snnc.network import Network, Population, Projection
from snnc.ops import Conv1d, Conv2d, Delay, Flatten, InputError, Linear, Op, Pool2d, Scale, Shape, canonical
from snnc.passes.dissolve import dissolve
from snnc.passes.lower import lower
from snnc.passes.trim import trim
from snnc.samples import Samples
from snnc.simulator import floating, reference, simulate

Rng = np.random.Generator
Make = Callable[[Rng, Shape], Op]


def eighths(rng: Rng, *shape: int) -> np.ndarray:
    return rng.integers(-3, 7, shape) * (rng.random(shape) < 0.7) / 8


def linear(rng: Rng, shape: Shape) -> Op:
    out = int(rng.integers(2, 12))
    bias = eighths(rng, out) / 4 if rng.random() < 0.5 else None
    return Linear(canonical(eighths(rng, out, math.prod(shape))), bias)


def convolution(rng: Rng, shape: Shape) -> Op:
    groups = int(rng.choice([g for g in (1, 1, 2, 3, 4) if shape[0] % g == 0]))
    out = groups * int(rng.integers(1, 4))
    rank = len(shape) - 1
    weight = eighths(rng, out, shape[0] // groups, *rng.integers(1, 4, rank))
    bias = eighths(rng, out) / 4 if rng.random() < 0.5 else None
    stride, dilation = rng.integers(1, 3, (2, rank)).tolist()
    padding = rng.integers(0, 3, rank).tolist()
    if rank == 1:
        return Conv1d(weight, bias, stride[0], padding[0], dilation[0], groups)
    return Conv2d(weight, bias, tuple(stride), tuple(padding), tuple(dilation), groups)


def pooling(rng: Rng, shape: Shape) -> Op:
    kernel, stride = (tuple(rng.choice([1, 2], 2).tolist()) for _ in range(2))
    padding = tuple((rng.integers(0, 2, 2) * (np.array(kernel) > 1)).tolist())
    return Pool2d(str(rng.choice(["sum", "average"])), kernel, stride, padding)


def scale(rng: Rng, shape: Shape) -> Op:
    values = rng.integers(1, 9, (shape[0],) + (1,) * (len(shape) - 1)) / 8
    return Scale(np.broadcast_to(values, shape) if rng.random() < 0.6 else rng.integers(1, 9, shape) / 8)


def delay(rng: Rng, shape: Shape) -> Op:
    return Delay(np.full(shape, int(rng.integers(1, 4))) if rng.random() < 0.5 else rng.integers(0, 3, shape))


def operations(draw: st.DrawFn, rng: Rng, shape: Shape) -> tuple[Op, ...]:
    """Up to four operations that fit together, without neurons between them."""
    chain_: list[Op] = []
    for _ in range(draw(st.integers(0, 4))):
        makers: list[Make] = [linear, scale]
        if not any(isinstance(op, Delay) for op in chain_):  # biases around several delays are refused
            makers.append(delay)
        if len(shape) > 1:
            makers += [convolution] * 3 + [lambda rng, shape: Flatten()]
        if len(shape) == 3:
            makers.append(pooling)
        op = draw(st.sampled_from(makers))(rng, shape)
        try:
            shape = op.output_shape(shape)
        except InputError:
            continue  # the kernel is larger than what is left
        chain_.append(op)
    return tuple(chain_)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Images, lines, or plain numbers; residual additions, and loops."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    populations = [Population("input", draw(st.sampled_from([(2, 7, 6), (4, 5, 5), (3, 11), (2, 8), (7,)])), "input")]
    projections: list[Projection] = []

    def join(pre: Population, post: str, ops: tuple[Op, ...], late: int = 0) -> None:
        projections.append(Projection(f"{len(projections)}: {pre.name}-{post}", pre.name, post, ops, late))

    def neurons(name: str, shape: Shape) -> Population:
        return draw(st.sampled_from([lambda: lif(name, shape, beta=0.75), lambda: cuba(name, shape, 0.5, 0.75)]))()

    for k in range(draw(st.integers(1, 3))):
        before = populations[-1]
        ops = operations(draw, rng, before.shape)
        shape = before.shape
        for op in ops:
            shape = op.output_shape(shape)
        earlier = [p for p in populations if p.shape == shape]
        name = f"layer{k}"
        if earlier and draw(st.booleans()):  # a residual: it is added to what an earlier layer of that shape puts out
            other = draw(st.sampled_from(earlier))
            populations.append(Population(f"sum{k}", shape, "sum"))
            join(before, f"sum{k}", ops)
            join(other, f"sum{k}", draw(st.sampled_from([(), (scale(rng, shape),)])))
            join(populations[-1], name, ())
        else:
            join(before, name, ops)
        populations.append(neurons(name, shape))
        if draw(st.booleans()):
            size = populations[-1].size
            join(populations[-1], name, (Linear(canonical(eighths(rng, size, size) / 4)),), draw(st.integers(0, 1)))
    return Network(tuple(populations), tuple(projections), (populations[-1].name,), DT, "random")


@settings(deadline=None, max_examples=150)
@given(network=networks(), seed=st.integers(0, 99))
def test_lowering_moves_no_spike(network: Network, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = (rng.random((2, 12, *network.inputs[0].shape)) < 0.5).astype(np.uint8)
    lowered = lower(dissolve(network))
    assert all(isinstance(p.op, Linear | Conv2d) for p in lowered.projections)
    assert not any(p.neuron == "sum" for p in lowered.populations)
    before, after = floating.simulate(network, data), floating.simulate(lowered, data)
    for name, raster in after.items():
        np.testing.assert_array_equal(raster, before[name], err_msg=name)


def one(shape: Shape, *ops: Op) -> Network:
    """An input, the operations, neurons."""
    out = shape
    for op in ops:
        out = op.output_shape(out)
    return chain([Population("input", shape, "input"), lif("out", out, beta=0.5)], [ops])


def lowered(shape: Shape, *ops: Op) -> Linear | Conv2d:
    return lower(one(shape, *ops)).projections[0].op


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "ops", "size"),
    [
        # A kernel each: these are stored once, wherever they are used.
        ((3, 11), (Conv1d(eighths(RNG, 4, 3, 5), None, 2, 1, 2),), (4, 3, 1, 5)),
        ((4, 11), (Conv1d(eighths(RNG, 4, 1, 3), groups=4), Conv1d(eighths(RNG, 6, 4, 2))), (6, 4, 1, 4)),
        ((3, 11), (Scale(np.full((3, 11), 0.5)), Conv1d(eighths(RNG, 4, 3, 5))), (4, 3, 1, 5)),
        ((2, 9, 9), (Scale(np.full((2, 9, 9), 0.5)), Conv2d(eighths(RNG, 4, 2, 3, 3), padding=(1, 1))), (4, 2, 3, 3)),
        ((2, 9, 9), (Conv2d(eighths(RNG, 4, 2, 3, 3)), Conv2d(eighths(RNG, 5, 4, 3, 3))), (5, 4 - 2, 5, 5)),
        (
            (2, 9, 9),
            (Conv2d(eighths(RNG, 4, 2, 2, 2), stride=(2, 2)), Conv2d(eighths(RNG, 5, 4, 3, 3), dilation=(1, 1))),
            (5, 2, 6, 6),
        ),
        ((2, 8, 8), (Pool2d("average", (2, 2), (2, 2)), Conv2d(eighths(RNG, 4, 2, 3, 3))), (4, 2, 6, 6)),
    ],
)
def test_what_stays_a_kernel(shape: Shape, ops: tuple[Op, ...], size: tuple[int, ...]) -> None:
    op = lowered(shape, *ops)
    assert isinstance(op, Conv2d)
    assert op.weight.shape == size


def test_a_residual_into_a_convolution_is_a_kernel_of_one_tap() -> None:
    rng = np.random.default_rng(0)
    layers = [Population("input", (3, 6, 6), "input"), lif("a", (4, 6, 6)), lif("b", (4, 6, 6))]
    links: list[tuple[Op, ...]] = [
        (Conv2d(eighths(rng, 4, 3, 3, 3), padding=(1, 1)),),
        (Conv2d(eighths(rng, 4, 4, 3, 3), padding=(1, 1)),),
    ]
    made = chain(layers, links)
    for ops, weight in (((), 1.0), ((Scale(np.full((4, 6, 6), 0.5)),), 0.5)):
        skip = Projection("skip", "a", "b", ops)
        op = lower(replace(made, projections=(*made.projections, skip))).projections[2].op
        assert isinstance(op, Conv2d)
        assert (op.groups, op.weight.ravel().tolist()) == (4, [weight] * 4)
    uneven = Projection("skip", "a", "b", (Scale(rng.random((4, 6, 6))),))
    assert isinstance(lower(replace(made, projections=(*made.projections, uneven))).projections[2].op, Linear)
    # Nothing but neurons on both sides: single ones may go (snnc.passes.trim), so they are not tied together.
    assert isinstance(lowered((3, 6, 6)), Linear)


def line() -> Network:
    """Two convolutions in one dimension, of whose channels some are dead, and a read-out."""
    rng = np.random.default_rng(1)
    first, second = np.abs(eighths(rng, 6, 3, 5)), np.abs(eighths(rng, 4, 6, 3))
    first[2] = 0
    second[:, 4] = 0
    layers = [Population("input", (3, 20), "input"), lif("a", (6, 20)), lif("b", (4, 9)), lif("out", (5,))]
    links: list[tuple[Op, ...]] = [
        (Conv1d(first, padding=2),),
        (Conv1d(second, stride=2),),
        (Flatten(), Linear(canonical(eighths(rng, 5, 36)))),
    ]
    return chain(layers, links, "line")


def test_a_convolution_of_one_dimension_stays_one_to_the_end(tmp_path: object) -> None:
    network = line()
    data = (np.random.default_rng(0).random((4, 15, 3, 20)) < 0.4).astype(np.uint8)
    image = snnc.compile(network, data=Samples(data))
    assert [p.shape for p in image.network.populations] == [(3, 20), (4, 20), (4, 9), (5,)]
    ops = [p.op for p in image.network.projections]
    assert [type(op) for op in ops] == [Conv2d, Conv2d, Linear]
    assert [op.line for op in ops[:2]] == [True, True]
    image.save(tmp_path / "image.snnc")
    again = Image.load(tmp_path / "image.snnc")
    expected = reference.simulate(image.network, data)
    run = simulate(again, Samples(data), rasters=list(expected))
    for name, raster in expected.items():
        assert raster.any()
        np.testing.assert_array_equal(run.rasters[name], raster)
    assert not trim(image.network).kept

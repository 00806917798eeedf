"""Lowering must not change what a network computes: matrices are compared, exactly where possible."""

from __future__ import annotations

import numpy as np
import pytest
from float_networks import chain, conv, lif, linear, mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from snnc import ops
from snnc.network import Network, Population
from snnc.ops import Conv2d, Delay, Flatten, Linear, Pool2d, Scale
from snnc.passes.lower import lower


def total(network: Network) -> list[tuple[sparse.csr_array, np.ndarray]]:
    """Matrix and bias of each whole chain of operations."""
    found = []
    for projection in network.projections:
        shape = network[projection.pre].shape
        size = int(np.prod(shape))
        matrix, bias = sparse.eye_array(size, format="csr"), np.zeros(size)
        for op in projection.ops:
            step = ops.matrix(op, shape)
            added = ops.bias_of(op, shape)
            matrix, bias = step @ matrix, step @ bias + (0 if added is None else added)
            shape = op.output_shape(shape)
        found.append((matrix, bias))
    return found


def assert_same_function(network: Network) -> Network:
    lowered = lower(network)
    for (a, b), (c, d) in zip(total(network), total(lowered), strict=True):
        # Sums of at most a few hundred products of order 1, in another order: 1e-12 is far above rounding.
        assert abs(a - c).max() < 1e-12
        np.testing.assert_allclose(b, d, atol=1e-12)
    return lowered


def test_every_projection_becomes_one_operation() -> None:
    lowered = assert_same_function(conv())
    assert [type(p.ops[0]) for p in lowered.projections] == [Conv2d, Conv2d, Linear]
    assert all(len(p.ops) == 1 for p in lowered.projections)


def test_pool_and_conv_become_one_strided_convolution() -> None:
    op = lower(conv()).projections[1].ops[0]
    assert isinstance(op, Conv2d)
    assert op.weight.shape == (6, 4, 6, 6)
    assert (op.stride, op.padding) == ((2, 2), (2, 2))


def test_mlp_is_left_alone() -> None:
    network = mlp(bias=True)
    assert_same_function(network)


def test_bias_passes_through_a_following_operation() -> None:
    rng = np.random.default_rng(0)
    populations = [Population("input", (2, 6, 6), "input"), lif("fc", (3,))]
    links = [(Conv2d(rng.normal(size=(2, 2, 3, 3)), rng.normal(size=2)), Flatten(), linear(rng, 3, 32, bias=True))]
    lowered = assert_same_function(chain(populations, links))
    assert lowered.projections[0].ops[0].bias is not None


def test_flatten_alone_is_the_identity() -> None:
    populations = [Population("input", (2, 3, 3), "input"), lif("out", (18,))]
    lowered = assert_same_function(chain(populations, [(Flatten(),)]))
    assert lowered.projections[0].ops[0].taps == 18


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    pool=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    pool_padding=st.integers(0, 1),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 1), st.integers(0, 2)),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    kind=st.sampled_from(["sum", "average"]),
    seed=st.integers(0, 99),
)
def test_any_pool_and_conv(size, pool, pool_padding, kernel, stride, padding, dilation, groups, kind, seed) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, *size)
    first = Pool2d(kind, pool[:2], pool[2:], (pool_padding * (pool[0] > 1), 0))
    second = Conv2d(
        rng.normal(size=(6, 4 // groups, *kernel)), rng.normal(size=6), stride, padding, (dilation, 1), groups
    )
    try:
        out = second.output_shape(first.output_shape(shape))
    except ops.InputError:
        return  # the kernel is larger than what pooling left: no such network
    assert_same_function(chain([Population("input", shape, "input"), lif("out", out)], [(first, second)]))


@pytest.mark.parametrize("remainder", [0, 1])
def test_padding_over_a_remainder_is_not_fused_into_a_wrong_convolution(remainder: int) -> None:
    """Rows that pooling drops must not come back through the padding of the fused kernel."""
    rng = np.random.default_rng(0)
    populations = [Population("input", (1, 4 + remainder, 4), "input"), lif("out", (1, 2, 2))]
    links = [(Pool2d("sum", (2, 2), (2, 2)), Conv2d(rng.normal(size=(1, 1, 3, 3)), padding=(1, 1)))]
    lowered = assert_same_function(chain(populations, links))
    assert isinstance(lowered.projections[0].ops[0], Linear if remainder else Conv2d)


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    depthwise=st.booleans(),
    kernels=st.tuples(*[st.integers(1, 3)] * 4),
    strides=st.tuples(*[st.integers(1, 2)] * 4),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 1)),
    dilations=st.tuples(*[st.integers(1, 2)] * 4),
    groups=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_a_convolution_beside_a_depthwise_one(
    size, depthwise, kernels, strides, padding, dilations, groups, seed
) -> None:
    """In either order, with biases; the second without padding, so that one convolution is equal."""
    rng = np.random.default_rng(seed)

    def convolution(out: int, channels: int, k: int, padding: tuple[int, int], groups: int) -> Conv2d:
        weight = rng.normal(size=(out, channels // groups, *kernels[k : k + 2]))
        return Conv2d(weight, rng.normal(size=out), strides[k : k + 2], padding, dilations[k : k + 2], groups)

    if depthwise:
        first, second = convolution(4, 4, 0, padding, 4), convolution(6, 4, 2, (0, 0), groups)
    else:
        first, second = convolution(6, 4, 0, padding, groups), convolution(6, 6, 2, (0, 0), 6)
    shape = (4, *size)
    try:
        out = second.output_shape(first.output_shape(shape))
    except ops.InputError:
        return  # the kernel is larger than what the first left: no such network
    lowered = assert_same_function(chain([Population("input", shape, "input"), lif("out", out)], [(first, second)]))
    assert isinstance(lowered.projections[0].op, Conv2d)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("uniform", [False, True])
def test_a_scale_behind_a_convolution(flat: bool, uniform: bool) -> None:
    """It stays a convolution if each channel has one factor."""
    rng = np.random.default_rng(0)
    scale = np.broadcast_to(rng.normal(size=(3, 1, 1)), (3, 4, 4)) if uniform else rng.normal(size=(3, 4, 4))
    op = Conv2d(rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3))
    links = [(op, Flatten(), Scale(scale.ravel())) if flat else (op, Scale(scale))]
    out = (48,) if flat else (3, 4, 4)
    lowered = assert_same_function(chain([Population("input", (2, 6, 6), "input"), lif("out", out)], links))
    assert isinstance(lowered.projections[0].op, Conv2d if uniform else Linear)


def test_what_would_be_too_large_is_refused_before_it_is_made() -> None:
    """A matrix of 2.3 billion synapses; and a product of small matrices that is larger than both."""
    kernel = Conv2d(np.ones((256, 256, 3, 3), np.float32))
    row = Linear(sparse.csr_array(np.ones((1, 256 * 62 * 62), np.float32)))
    narrow, wide = (Linear(sparse.csr_array(np.ones(shape))) for shape in ((1, 1 << 14), (1 << 14, 1)))
    for shape, out, link in (((256, 64, 64), 1, (kernel, Flatten(), row)), ((1 << 14,), 1 << 14, (narrow, wide))):
        network = chain([Population("input", shape, "input"), lif("out", (out,))], [link])
        with pytest.raises(ops.InputError, match=r"synapses to join its operations") as caught:
            lower(network)
        assert network.projections[0].name in caught.value.where


def test_too_many_different_delays() -> None:
    delays = [Delay(np.arange(300))]
    network = chain([Population("input", (300,), "input"), lif("out", (300,))], [tuple(delays)])
    with pytest.raises(ops.InputError, match="300 different delays"):
        lower(network)

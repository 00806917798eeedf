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
from snnc.ops import Conv2d, Flatten, Linear, Pool2d
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

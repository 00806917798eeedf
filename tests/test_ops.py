"""The algebra of operations, against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from snnc import ops
from snnc.errors import InputError
from snnc.network import identical
from snnc.ops import Conv2d, Flatten, Linear, Pool2d, bias_of, canonical, matrix


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_convolution_equals_torch(size, kernel, stride, padding, dilation, groups, seed) -> None:
    rng = np.random.default_rng(seed)
    # Integers, so that sums are exact and the comparison needs no tolerance; half of the taps are pruned.
    weight = rng.integers(-9, 10, (8, 4 // groups, *kernel)) * (rng.random((8, 4 // groups, *kernel)) < 0.5)
    op = Conv2d(weight, rng.integers(-9, 10, 8), stride, padding, dilation, groups)
    x = rng.integers(-9, 10, (4, *size))
    try:
        shape = op.output_shape(x.shape)
    except InputError:
        with pytest.raises(RuntimeError):
            _torch(op, x)
        return
    expected = _torch(op, x)
    assert expected.shape == shape
    assert np.array_equal(matrix(op, x.shape) @ x.ravel() + bias_of(op, x.shape), expected.ravel())
    assert ops.count(op, x.shape) == matrix(op, x.shape).nnz


def _torch(op: Conv2d, x: np.ndarray) -> np.ndarray:
    weight, bias, data = (torch.from_numpy(a).double() for a in (op.weight, op.bias, x))
    return functional.conv2d(data[None], weight, bias, op.stride, op.padding, op.dilation, op.groups)[0].numpy()


@pytest.mark.parametrize("kind", ["sum", "average"])
@pytest.mark.parametrize("padding", [(0, 0), (1, 0)])
def test_pooling_equals_torch(kind: str, padding: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 9, (3, 7, 8))
    op = Pool2d(kind, (2, 4), (2, 3), padding)
    expected = functional.avg_pool2d(torch.from_numpy(x).double()[None], (2, 4), (2, 3), padding)[0].numpy()
    factor = 8 if kind == "sum" else 1
    assert op.output_shape(x.shape) == expected.shape
    # Eighths of small integers are exact in binary.
    assert np.array_equal(matrix(op, x.shape) @ x.ravel(), factor * expected.ravel())


def test_flatten_joins_the_axes_named() -> None:
    assert Flatten().output_shape((2, 3, 4)) == (24,)
    assert Flatten(1).output_shape((2, 3, 4)) == (2, 12)
    assert Flatten(0, 1).output_shape((2, 3, 4)) == (6, 4)


def test_canonical_drops_stored_zeros() -> None:
    weight = canonical(np.array([[0.0, 1.0], [0.0, 0.0]]))
    assert Linear(weight).taps == 1


@pytest.mark.parametrize(
    ("op", "shape", "says"),
    [
        (Linear(canonical(np.ones((2, 5)))), (4,), "5 inputs receives 4"),
        (Conv2d(np.ones((1, 2, 3, 3))), (3, 9, 9), "over 2 channels"),
        (Conv2d(np.ones((1, 2, 3, 3))), (2, 2, 9), "does not fit into 2x9"),
        (Pool2d("sum", (2, 2), (2, 2)), (4,), "pooling needs"),
        (Pool2d("sum", (5, 2), (2, 2)), (1, 4, 4), "spans 5x2 does not fit into 4x4"),
        (Flatten(0, 3), (2, 3), "cannot be joined"),
        (Flatten(), (), "cannot be joined"),
    ],
)
def test_shapes_that_do_not_match_are_named(op, shape, says) -> None:
    with pytest.raises(InputError, match=says):
        op.output_shape(shape)


@pytest.mark.parametrize("at_once", [1, 50, 1 << 20])
def test_a_matrix_does_not_depend_on_how_many_rows_are_made_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    op = Conv2d(rng.integers(-9, 10, (6, 2, 3, 3)), None, (2, 1), (1, 1), (1, 1), 2)
    expected = matrix(op, (4, 5, 6))
    monkeypatch.setattr(ops, "_AT_ONCE", at_once)
    assert identical(matrix(op, (4, 5, 6)), expected)


# Torch tells that it will do what padding="same" asks for.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 99),
)
def test_same_padding_equals_torch(kernel, dilation, seed) -> None:
    """Uneven where the kernel spans an even number of places, with dilation, too."""
    rng = np.random.default_rng(seed)
    weight, x = rng.integers(-9, 10, (3, 2, *kernel)), rng.integers(-9, 10, (2, 6, 7))
    padded, padding, dilated = ops.same_padding(weight, (1, 1), dilation)
    op = Conv2d(padded, None, (1, 1), tuple(padding), tuple(dilated))
    found = (matrix(op, x.shape) @ x.ravel()).reshape(op.output_shape(x.shape))
    expected = functional.conv2d(torch.tensor(x), torch.tensor(weight), padding="same", dilation=dilation)
    np.testing.assert_array_equal(found, expected.numpy())
    assert op.taps == np.count_nonzero(weight)


def test_same_padding_needs_a_stride_of_one() -> None:
    with pytest.raises(InputError, match="stride 1 only"):
        ops.same_padding(np.ones((1, 1, 3, 3)), (1, 2), (1, 1))

"""The comparison of two executors finds what differs, and the first of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnc.compare import Difference, compare
from snnc.errors import InputError


def rasters(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"conv": rng.random((3, 5, 2, 4, 4)) < 0.3, "fc": rng.random((3, 5, 7)) < 0.3}


def test_equal_rasters() -> None:
    result = compare(rasters(), rasters())
    assert result.equal
    assert result.first is None
    assert result.differing == {"conv": 0, "fc": 0}
    assert (result.samples, result.steps, result.compared) == (3, 5, 3 * 5 * (32 + 7))
    assert result.spikes == {name: raster.sum() for name, raster in rasters().items()}


@given(
    flips=st.lists(
        st.tuples(st.sampled_from(["conv", "fc"]), st.integers(0, 2), st.integers(0, 4), st.integers(0, 6)),
        min_size=1,
        unique=True,
    )
)
def test_the_first_difference_is_the_cause(flips: list[tuple[str, int, int, int]]) -> None:
    ours, theirs = rasters(), rasters()
    for name, sample, step, neuron in flips:
        flat = theirs[name].reshape(3, 5, -1)
        flat[sample, step, neuron] = ~flat[sample, step, neuron]
    result = compare(ours, theirs)
    name, sample, step, neuron = min(flips, key=lambda f: (f[1], f[2], f[0], f[3]))  # "conv" < "fc"
    at = tuple(int(k) for k in np.unravel_index(neuron, ours[name].shape[2:]))
    value = bool(ours[name][(sample, step, *at)])
    assert result.first == Difference(name, sample, step, at, value, not value)
    assert sum(result.differing.values()) == len(flips)
    assert not result.equal


def test_a_difference_reads_as_a_sentence() -> None:
    text = str(Difference("conv", 1, 2, (0, 3, 1), ours=True, theirs=False))
    assert text == "layer 'conv', neuron (0, 3, 1), sample 1, step 2: spikes here, is silent there"


def test_layers_of_one_side_only_are_left_out() -> None:
    theirs = rasters()
    del theirs["conv"]
    assert compare(rasters(), theirs).differing == {"fc": 0}


@pytest.mark.parametrize("theirs", [{}, {"other": np.zeros((3, 5, 7), bool)}, {"fc": np.zeros((3, 4, 7), bool)}])
def test_what_cannot_be_compared_is_refused(theirs: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError):
        compare(rasters(), theirs)

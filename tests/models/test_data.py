"""Data by name: every way to ask wrongly; the splits and encodings of the digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from splits import labels_of, parts, same

from snnc.errors import UsageError
from snnc.models.data import latency, load, rate

# --- specifications ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message", "fix"),
    [
        ("digit", "no data set 'digit'", "did you mean 'digits'?"),
        ("N-MNIST", "no data set 'N-MNIST'", "data: digits, nmnist"),
        ("", "no data set ''", "data: digits, nmnist"),
        ("digits:step=4", "no option 'step'", "did you mean 'steps'?"),
        ("digits:window=4", "no option 'window'", "options: steps, encoding, seed"),
        ("digits:steps", "not name[=FOLDER][:key=value,...]", "for instance digits:steps=8,encoding=rate,seed=0"),
        ("digits:steps=4,", "not name[=FOLDER][:key=value,...]", "for instance digits:steps=8"),
        ("digits=folder", "cannot be read from the folder 'folder'", "digits:steps=8"),
        ("idx", "'idx' is read from a folder", "idx=FOLDER:steps=4"),
        ("cifar10:steps=2", "'cifar10' is read from a folder", "cifar10=FOLDER:steps=4"),
        ("cifar=folder", "no data set 'cifar'", "did you mean 'cifar10'?"),
        ("idx=folder:sample=3", "no option 'sample'", "did you mean 'samples'?"),
        ("idx=folder:augment=crop", "augment must be one of none, shift, crop-flip", "did you mean 'crop-flip'?"),
        ("idx=folder:encoding=latncy", "encoding must be one of", "did you mean 'latency'?"),
        ("idx=folder:validation=0", "validation must be a whole number from 1 to 50; got '0'", ""),
        ("idx=folder:validation=51", "validation must be a whole number from 1 to 50; got '51'", ""),
        ("nmnist=", "cannot be read from the folder ''", "nmnist=FOLDER:steps="),
        ("digits:steps=0", "steps must be a whole number of at least 1; got '0'", ""),
        ("digits:steps=-3", "steps must be a whole number of at least 1; got '-3'", ""),
        ("digits:steps=1e3", "steps must be a whole number of at least 1; got '1e3'", ""),
        ("digits:steps=", "steps must be a whole number of at least 1; got ''", ""),
        ("digits:steps=99999999999", "steps must be a whole number of at least 1", ""),
        ("digits:seed=x", "seed must be a whole number of at least 0; got 'x'", ""),
        ("digits:encoding=phase", "encoding must be one of rate, latency, direct; got 'phase'", ""),
    ],
)
def test_a_wrong_specification_is_refused_with_its_cure(spec: str, message: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(spec)
    assert message in caught.value.message
    assert caught.value.where == spec
    assert caught.value.fix.startswith(fix)
    assert bool(caught.value.fix) == bool(fix)


# --- digits --------------------------------------------------------------------------------------


def rows(images: np.ndarray, labels: np.ndarray) -> list[tuple[int, ...]]:
    """Each image with its label as a tuple, sorted."""
    return sorted(tuple(row) for row in np.column_stack([images.reshape(len(images), -1), labels]).astype(int).tolist())


def test_every_digit_is_in_exactly_one_split() -> None:
    """Over 16 steps the rate code of a grey level k/16 is k spikes: the images can be read back and compared."""
    data = load("digits:steps=16")
    seen = [row for part in parts(data) for row in rows(part.spikes.sum(axis=1), labels_of(part))]
    assert sorted(seen) == rows(*load_digits(return_X_y=True))
    assert [len(part) for part in parts(data)] == [1197, 150, 450]
    assert data.classes == 10
    assert data.shape == (1, 8, 8)


def test_each_split_has_the_classes_in_proportion() -> None:
    data = load("digits")
    whole = sum(np.bincount(labels_of(part)) for part in parts(data))
    for part in parts(data):
        # Rounding in each class, and in the place where the split ends.
        assert np.abs(np.bincount(labels_of(part)) - whole * len(part) / 1797).max() < 2
        # In random order: with sorted or interleaved classes a batch would not look like the set.
        assert len(set(np.bincount(labels_of(part)[:50], minlength=10))) > 3


@pytest.mark.parametrize("encoding", ["rate", "latency"])
def test_the_same_specification_gives_the_same_digits(encoding: str) -> None:
    data = load(f"digits:seed=3,encoding={encoding},steps=5")
    assert data.spec == f"digits:steps=5,encoding={encoding},seed=3"
    assert same(load(data.spec), data)
    assert data.train.spikes.shape == (1197, 5, 1, 8, 8)
    other = load(f"digits:seed=4,encoding={encoding},steps=5")
    assert not np.array_equal(labels_of(other.train), labels_of(data.train))


def test_the_defaults_are_written_into_the_specification() -> None:
    assert load("digits").spec == "digits:steps=8,encoding=rate,seed=0"


@given(values=st.lists(st.integers(0, 16), min_size=1, max_size=20), steps=st.integers(1, 40), seed=st.integers(0, 99))
def test_rate_counts_are_brightness_within_one_spike(values: list[int], steps: int, seed: int) -> None:
    levels = np.array(values)
    spikes = rate(levels[None] / 16, steps, np.random.default_rng(seed))
    assert spikes.shape == (1, steps, len(values))
    counts = spikes[0].sum(axis=0)
    assert np.all((counts == levels * steps // 16) | (counts == -(-levels * steps // 16)))


def test_rate_is_unbiased_and_equal_values_do_not_spike_in_step() -> None:
    spikes = rate(np.full((1, 4000), 0.3), 5, np.random.default_rng(0))[0]
    # Five standard deviations of the mean of 4,000 coins of 0.3.
    tolerance = 5 * math.sqrt(0.3 * 0.7 / 4000)
    assert np.abs(spikes.mean(axis=1) - 0.3).max() < tolerance


def test_latency_is_one_spike_and_the_brighter_the_earlier() -> None:
    levels = np.repeat(np.arange(17), 2000)
    spikes = latency(levels[None] / 16, 9, np.random.default_rng(0))[0]
    assert np.array_equal(spikes.sum(axis=0), levels > 0)
    times = spikes.argmax(axis=0)[levels > 0].reshape(16, 2000)
    exact = (1 - np.arange(1, 17) / 16) * 8
    assert np.abs(times - exact[:, None]).max() < 1
    # Rounded at random: right on average, within five standard deviations of the mean of 2,000 coins.
    assert np.abs(times.mean(axis=1) - exact).max() < 5 * 0.5 / math.sqrt(2000)


def test_one_step_of_latency_is_the_lit_pixels() -> None:
    values = np.array([[0.0, 0.1, 1.0]])
    assert latency(values, 1, np.random.default_rng(0)).tolist() == [[[0, 1, 1]]]

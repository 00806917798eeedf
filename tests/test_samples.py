"""Spike data: what is accepted, and how outputs are decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snnc.errors import InputError
from snnc.samples import Samples, accuracy, held, load_inputs, load_npy, load_npz

SPIKES = np.zeros((3, 4, 2), np.uint8)


def test_round_trip_through_npz(tmp_path: Path) -> None:
    spikes = np.random.default_rng(0).integers(0, 2, (5, 6, 2, 3))
    np.savez(tmp_path / "a.npz", spikes=spikes, labels=np.arange(5))
    samples = load_npz(tmp_path / "a.npz")
    assert samples.spikes.dtype == np.uint8
    assert np.array_equal(samples.spikes, spikes)
    assert (len(samples), samples.steps, samples.shape) == (5, 6, (2, 3))
    assert len(samples.first(2)) == 2


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"labels": np.arange(3)}, "no array 'spikes'"),
        ({"spikes": np.full((1, 1, 1), np.nan)}, "finite numbers"),
        ({"spikes": np.full((1, 1, 1), 1j)}, "finite numbers"),
        ({"spikes": SPIKES[0]}, "samples, steps"),
        ({"spikes": SPIKES[:0]}, "not empty"),
        ({"spikes": SPIKES, "labels": np.arange(2)}, "3 integers"),
        ({"spikes": SPIKES, "labels": np.zeros(3)}, "3 integers"),
        ({"spikes": np.array([[["a"]]])}, "finite numbers"),
    ],
)
def test_what_is_no_spike_data_is_refused(tmp_path: Path, arrays: dict, says: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=says):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"\x80\x04."])
def test_what_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"readable|empty"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1], np.uint8),
        ([0.0, 1.0], np.uint8),
        ([True, False], np.uint8),
        ([0, 2], np.int32),
        ([-1.0, 3.0], np.int32),
        ([0.5, 1.0], np.float64),
        ([0.0, 1e12], np.float64),
    ],
)
def test_values_are_kept_in_the_tightest_type(values: list, kind: type) -> None:
    samples = Samples(np.array(values).reshape(1, 1, 2))
    assert samples.spikes.dtype == kind
    assert samples.spikes.ravel().tolist() == values
    for require, kinds in ((samples.require_spikes, (np.uint8,)), (samples.require_integers, (np.uint8, np.int32))):
        if kind in kinds:
            require()
        else:
            with pytest.raises(InputError, match=r"zeros and ones|whole numbers"):
                require()


def test_an_npy_holds_one_sample_or_several(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", SPIKES[0])
    np.save(tmp_path / "all.npy", SPIKES)
    assert load_npy(tmp_path / "one.npy", (2,)).spikes.shape == (1, 4, 2)
    assert load_npy(tmp_path / "all.npy", (2,)).spikes.shape == (3, 4, 2)
    np.save(tmp_path / "objects.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match="readable"):
        load_npy(tmp_path / "objects.npy", (2,))


def test_several_inputs_come_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=SPIKES, right=SPIKES + 3, labels=np.arange(3))
    found = load_inputs(tmp_path / "a.npz", ["left", "right"])
    assert found["right"].spikes.max() == 3
    assert found["left"].labels is not None
    with pytest.raises(InputError, match="no array 'up'"):
        load_inputs(tmp_path / "a.npz", ["left", "up"])


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", spikes=np.array([object()], dtype=object))
    with pytest.raises(InputError):
        load_npz(tmp_path / "a.npz")


def test_ties_go_to_the_lowest_index() -> None:
    counts = np.array([[2, 2, 0], [0, 1, 3], [0, 0, 0]])
    assert accuracy(counts, np.array([0, 2, 0])) == 1.0
    assert accuracy(counts, np.array([1, 2, 0])) == pytest.approx(2 / 3)


def test_the_wrong_shape_is_named() -> None:
    with pytest.raises(InputError, match=r"\(2,\).*\(64,\)"):
        Samples(SPIKES).expect((64,))


def test_held_steps_stay_one_array() -> None:
    values = np.random.default_rng(0).random((6, 2, 3), np.float32)
    samples = Samples(held(values, 1000), np.arange(6))
    for part in (samples, samples.first(4), samples.cut(20), samples.first(2).cut(3)):
        assert part.still
        assert part.spikes.dtype == np.float32
        assert np.array_equal(part.spikes[:, -1], values[: len(part)])
    assert np.array_equal(samples.piece(slice(1, 3), 5, 7), np.stack([values[1:3]] * 2, axis=1))
    assert Samples(held(np.eye(3), 4)).spikes.dtype == np.uint8
    # One step, or steps that are copies, are an array like any other.
    assert not samples.cut(1).still
    assert not Samples(np.array(samples.cut(5).spikes)).still


@pytest.mark.parametrize(
    ("given", "kept"),
    [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)],
)
def test_other_values_are_no_wider_than_they_were(given: type, kept: type) -> None:
    assert Samples(np.full((1, 2, 3), 0.5, given)).kind == kept
    with pytest.raises(InputError, match="takes spikes or whole numbers"):
        Samples(np.full((1, 2, 3), 0.5, given)).require_integers()


def test_whole_numbers_too_large_for_graded_spikes_lose_nothing() -> None:
    large = np.full((1, 2, 3), (1 << 32) - 1, np.uint32)
    assert np.array_equal(Samples(large).spikes, large)

"""Recordings made piece by piece: the same in any pieces, and nothing that is no recording is accepted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnc.errors import InputError, UsageError
from snnc.models.data import rate
from snnc.recordings import Events, Frames, Rates, Track, coded, cut, size_in_bytes, whole
from snnc.samples import Recording, Samples

EVERYTHING = slice(None)


def in_pieces(recording: Recording, ends: list[int]) -> np.ndarray:
    """All steps, asked for piece by piece."""
    parts = [recording.piece(EVERYTHING, a, b) for a, b in zip([0, *ends], [*ends, recording.steps], strict=True)]
    return np.concatenate(parts, axis=1)


def events(times: list, places: list[tuple], shape: tuple, steps: int, **options) -> Events:
    """Events of one sample, a step a unit of time."""
    columns = tuple(np.array(column, np.int64) for column in zip(*places, strict=True))
    track = Track(np.array(times), columns, 0, 1, tuple("abc"[: len(shape)]), options.pop("values", None))
    return Events((track,), steps, shape, np.dtype(options.pop("kind", np.uint8)), **options)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_pieces_are_the_whole(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    steps = data.draw(st.integers(1, 30))
    kind = data.draw(st.sampled_from(["rates", "frames", "events", "values"]))
    recording: Recording
    if kind == "rates":
        recording = Rates.of(rng.random((3, 2, 4)), steps, 7, None, "r")
    elif kind == "frames":
        recording = Frames.of(rng.integers(-3, 4, (3, steps, 2, 4)), "f")
    else:
        count = data.draw(st.integers(1, 50))
        at = np.sort(rng.choice(steps * 8, min(count, steps * 8), replace=False))
        columns = np.unravel_index(at, (steps, 2, 4))
        values = None if kind == "events" else rng.integers(1, 9, len(at))
        track = Track(columns[0], columns[1:], 0, 1, ("p", "x"), values)
        recording = Events((track, track), steps, (2, 4), np.dtype(np.uint8 if values is None else np.int32))
    ends = sorted(data.draw(st.sets(st.integers(1, steps - 1)))) if steps > 1 else []
    everything = in_pieces(recording, [])
    assert everything.dtype == recording.kind
    np.testing.assert_array_equal(in_pieces(recording, ends), everything)
    np.testing.assert_array_equal(whole(recording).spikes, everything)
    few = data.draw(st.integers(1, steps))
    np.testing.assert_array_equal(whole(cut(recording, few)).spikes, everything[:, :few])
    np.testing.assert_array_equal(whole(recording.first(1)).spikes, everything[:1])
    assert size_in_bytes(recording) == everything.nbytes


def test_rates_are_coded_as_the_digits_are() -> None:
    values = np.random.default_rng(1).random((5, 1, 8, 8))
    expected = rate(values, 40, np.random.default_rng(3))
    np.testing.assert_array_equal(whole(Rates.of(values, 40, 3, None, "r")).spikes, expected)
    # floor(xT) or ceil(xT) spikes each, from the first step on and from any later one.
    for first in (0, 1000):
        phase = np.random.default_rng(3).random(values.shape)
        counts = coded(values, phase, first, first + 40).sum(axis=1)
        assert np.all((counts == np.floor(values * 40)) | (counts == np.ceil(values * 40)))
    extremes = whole(Rates.of(np.array([[0.0, 1.0]]), 9, 0, None, "r")).spikes
    assert extremes.sum(axis=1).tolist() == [[0, 9]]


def test_a_seed_decides_the_spikes_and_labels_come_along() -> None:
    values = np.random.default_rng(1).random((5, 6))
    a, b, c = (Rates.of(values, 40, seed, np.arange(5), "r") for seed in (0, 0, 1))
    assert np.array_equal(whole(a).spikes, whole(b).spikes)
    assert not np.array_equal(whole(a).spikes, whole(c).spikes)
    labels = whole(a.first(2)).labels
    assert labels is not None
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        (np.array([[0.5, np.nan]]), r"rates\[0, 1\] is nan"),
        (np.array([[0.5, 0.1], [np.inf, 0]]), r"rates\[1, 0\] is inf"),
        (np.array([[1.01]]), r"is 1.01; .* 0 to 1"),
        (np.array([[-0.25]]), "is -0.25"),
        (np.array([[2]]), "is 2"),
        (np.zeros((0, 4)), "not empty"),
        (np.zeros(4), "samples"),
        (np.array([["a"]]), "must be numbers"),
    ],
)
def test_what_are_no_rates_is_refused(rates: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Rates.of(rates, 5, 0, None, "rates.npz")
    assert caught.value.where == "rates.npz"


def test_wrong_labels_of_rates_are_refused() -> None:
    with pytest.raises(InputError, match="labels must be 2 integers"):
        Rates.of(np.zeros((2, 3)), 5, 0, np.zeros(3, int), "r")


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps: int) -> None:
    with pytest.raises(UsageError, match="are none"):
        Rates.of(np.zeros((1, 3)), steps, 0, None, "r")
    with pytest.raises(UsageError, match="the samples have 4") as caught:
        cut(Samples(np.zeros((1, 4, 3))), steps)
    assert "1 to 4" in caught.value.fix


def test_more_steps_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="5 steps were asked for, the samples have 4"):
        cut(Samples(np.zeros((1, 4, 3))), 5)


def test_an_array_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(UsageError, match="MiB at once") as caught:
        whole(Rates.of(np.zeros((1, 1000)), 1 << 40, 0, None, "r"))
    assert "--stream" in caught.value.fix


def test_frames_in_a_file_take_the_tightest_type(tmp_path: Path) -> None:
    for values, kind in (([0, 1], np.uint8), ([0, 7], np.int32), ([0.0, 0.5], np.float64)):
        np.save(tmp_path / "f.npy", np.array(values).reshape(1, 2, 1))
        mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
        assert Frames.of(mapped, "f").kind == kind
    with pytest.raises(InputError, match="finite"):
        Frames.of(np.full((1, 2, 1), np.nan), "f")
    with pytest.raises(InputError, match="not empty"):
        Frames.of(np.zeros((1, 0, 1)), "f")


def test_events_mark_their_steps_however_many() -> None:
    found = events([0, 0, 2, 2], [(1,), (1,), (0,), (2,)], (3,), 4).piece(EVERYTHING, 0, 4)
    assert found[0].tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]]


def test_two_values_in_one_step_are_refused() -> None:
    twice = events([0, 5, 5], [(1,), (2,), (2,)], (3,), 9, values=np.array([1, 2, 3]), kind=np.int32)
    with pytest.raises(InputError, match="neuron 2 has several values in step 5"):
        twice.piece(EVERYTHING, 3, 9)


def test_a_time_computed_from_steps_falls_into_its_step() -> None:
    """k * dt / dt is below k for many k; floor alone would put these events a step early."""
    dt = 0.1
    times = np.arange(1000) * dt
    assert np.any(np.floor(times / dt) != np.arange(1000)) or np.any(times // dt != np.arange(1000))
    for shift in (0, 0.5 * dt, 0.999 * dt):
        track = Track(times + shift, (np.zeros(1000, int),), 0, dt, ("x",))
        np.testing.assert_array_equal(track.steps(slice(None)), np.arange(1000))


def test_whole_numbers_are_divided_exactly() -> None:
    """A microsecond before a step of 10 s begins is not in it."""
    track = Track(np.array([10**7 - 1, 10**7]), (np.zeros(2, int),), 0, 10**7, ("x",))
    assert track.steps(slice(None)).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("times", "places", "says"),
    [
        ([], [], "no events"),
        ([0, 5, 4], [0, 0, 0], "event 2 is at time 4; the one before it comes later"),
        ([-1, 2], [0, 0], "event 0 is at time -1"),
        ([0.0, np.nan], [0, 0], "event 1 is at time nan"),
        ([0.0, np.inf], [0, 0], "event 1 is at time inf"),
        ([0, 9], [0, 0], "event 1 is at time 9; the recording ends at 9"),
        ([0, 1], [0, 3], "event 1 has row 3; .* 0 to 2"),
        ([0, 1], [-1, 0], "event 0 has row -1"),
    ],
)
def test_what_are_no_events_is_refused(times: list, places: list, says: str) -> None:
    track = Track(np.array(times), (np.array(places, int),), 0, 1, ("row",))
    with pytest.raises(InputError, match=says) as caught:
        track.check((3,), 9, "file")
    assert caught.value.where == "file"
    assert caught.value.fix


def test_order_is_checked_from_one_look_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    from snnc import recordings

    monkeypatch.setattr(recordings, "_LOOK", 2)
    track = Track(np.array([0, 5, 4]), (np.zeros(3, int),), 0, 1, ("row",))
    with pytest.raises(InputError, match="event 2 is at time 4"):
        track.check((3,), None, "file")

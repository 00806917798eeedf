"""Recordings that are made piece by piece, so that hours of them take no memory: events, rates, frames in a file.

Each is a :class:`snnc.samples.Recording`; :func:`whole` makes :class:`~snnc.samples.Samples` of any of them. All is
checked when a recording is made, in passes that take little memory themselves.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from snnc.errors import InputError, UsageError
from snnc.ops import Shape
from snnc.samples import Recording, Samples, tightest

# Larger ones are run as streams.
LARGE_BYTES = 256 << 20
# More is never made one array.
MOST_BYTES = 8 << 30
# What one look at an array in a file takes.
_LOOK = 1 << 20
# Shares of a step by which a time that is no whole number may come early. Times that were computed as k steps are
# rounded, and k * dt / dt is below k for one k in ten.
EARLY = 1e-6


def size_in_bytes(recording: Recording) -> int:
    """What the recording takes as one array."""
    return len(recording) * recording.steps * math.prod(recording.shape) * recording.kind.itemsize


def whole(recording: Recording) -> Samples:
    """All of a recording in memory; UsageError where that is too much."""
    if isinstance(recording, Samples):
        return recording
    if (size := size_in_bytes(recording)) > MOST_BYTES:
        raise UsageError(
            f"{len(recording):,} samples of {recording.steps:,} steps take {size >> 20:,} MiB at once",
            where=recording.name,
            fix="run fewer --steps or --samples; only snnc simulate --stream runs recordings of any length",
        )
    return Samples(recording.piece(slice(None), 0, recording.steps), recording.labels, recording.name)


def cut(recording: Recording, steps: int | None) -> Recording:
    """The first so many steps of each sample (all, if None); UsageError where there are fewer."""
    if steps is None:
        return recording
    if not 1 <= steps <= recording.steps:
        raise UsageError(
            f"{steps:,} steps were asked for, the samples have {recording.steps:,}",
            where=recording.name,
            fix=f"choose --steps 1 to {recording.steps}",
        )
    return recording.cut(steps)


def coded(values: np.ndarray, phase: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Spikes of one integrate-and-fire neuron per value, uint8 (samples, stop - first, *rest).

    values, phase: (samples, *rest) in 0..1. A value is added to the neuron's potential each step; at 1 it spikes and 1
    is subtracted. The potential starts at the phase. Without resets it passes a whole number at each spike, so that
    any step can be told alone: ``floor(phase + value * (step + 1)) - floor(phase + value * step)``.
    """
    spikes = np.empty((len(values), stop - first, *values.shape[1:]), np.uint8)
    before = np.floor(phase + values * first)
    for step in range(first, stop):
        after = np.floor(phase + values * (step + 1))
        spikes[:, step - first] = after - before
        before = after
    return spikes


@dataclass(frozen=True, eq=False)
class Rates:
    """Spikes at given rates, coded by :func:`coded` from phases that a seed decides.

    rates: (samples, *shape), spikes per step, 0 to 1; InputError for anything else.
    """

    rates: np.ndarray
    steps: int
    phase: np.ndarray
    labels: np.ndarray | None = None
    name: str = "rates"
    kind = np.dtype(np.uint8)

    @classmethod
    def of(cls, rates: np.ndarray, steps: int, seed: int, labels: np.ndarray | None, name: str) -> Rates:
        """With a random phase for each rate, from numpy's default generator. labels: as of Samples."""
        if rates.ndim < 2 or 0 in rates.shape or rates.dtype.kind not in "buif":
            raise InputError(
                f"rates must be numbers (samples, *shape) and not empty, got {rates.dtype} {rates.shape}", where=name
            )
        wide = rates.astype(np.float64)
        wrong = ~((wide >= 0) & (wide <= 1))
        if wrong.any():
            at = tuple(int(k) for k in np.argwhere(wrong)[0])
            raise InputError(
                f"rates{list(at)} is {wide[at]:g}; a rate is a number of spikes per step, 0 to 1",
                where=name,
                fix="scale the rates to 0..1" if np.isfinite(wide).all() else "remove what is not a number",
            )
        if steps < 1:
            raise UsageError(f"{steps} steps are none", where=name, fix="choose --steps 1 or more")
        checked = Samples(np.zeros((len(wide), 1, 1), np.uint8), labels, name)
        return cls(wide, steps, np.random.default_rng(seed).random(wide.shape), checked.labels, name)

    def __len__(self) -> int:
        return len(self.rates)

    @property
    def shape(self) -> Shape:
        return tuple(int(n) for n in self.rates.shape[1:])

    def piece(self, samples: slice, first: int, stop: int) -> np.ndarray:
        return coded(self.rates[samples], self.phase[samples], first, stop)

    def first(self, count: int | None) -> Rates:
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, rates=self.rates[:count], phase=self.phase[:count], labels=labels)

    def cut(self, steps: int) -> Rates:
        return replace(self, steps=steps)


@dataclass(frozen=True, eq=False)
class Frames:
    """An array in a file, (samples, steps, *shape), of which each piece is read when it is asked for."""

    frames: np.ndarray
    kind: np.dtype
    name: str = "frames"
    labels: np.ndarray | None = None

    @classmethod
    def of(cls, frames: np.ndarray, name: str) -> Frames:
        """frames: a memory map; InputError where it holds no numbers."""
        if frames.ndim < 3 or 0 in frames.shape:
            raise InputError(f"spikes must be (samples, steps, *shape) and not empty, got {frames.shape}", where=name)
        kinds = tuple(map(np.dtype, (np.uint8, np.int32, np.float32, np.float64)))
        found = 0
        at_once = max(1, _LOOK // math.prod(frames.shape[2:]))
        for sample in frames:
            for first in range(0, len(sample), at_once):
                found = max(found, kinds.index(tightest(sample[first : first + at_once], name).dtype))
        return cls(frames, kinds[found], name)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def steps(self) -> int:
        return int(self.frames.shape[1])

    @property
    def shape(self) -> Shape:
        return tuple(int(n) for n in self.frames.shape[2:])

    def piece(self, samples: slice, first: int, stop: int) -> np.ndarray:
        return self.frames[samples, first:stop].astype(self.kind)

    def first(self, count: int | None) -> Frames:
        return replace(self, frames=self.frames[:count])

    def cut(self, steps: int) -> Frames:
        return replace(self, frames=self.frames[:, :steps])


@dataclass(frozen=True, eq=False)
class Bits:
    """Some bits of each number in an array, taken when they are asked for. last: counted from there down, if given."""

    words: np.ndarray
    shift: int
    width: int
    last: int | None = None

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, part: slice) -> np.ndarray:
        found: np.ndarray = ((self.words[part] >> self.shift) & ((1 << self.width) - 1)).astype(np.int64)
        return found if self.last is None else self.last - found


@dataclass(frozen=True, eq=False)
class Track:
    """The events of one sample, in the order of their times. Arrays may be maps of a file.

    times: (events,), numbers; from `origin` on, `per_step` make a step. places: for each axis of the input its
    coordinate of each event. values: (events,), what an event delivers; None = 1. names: of the axes, for the user.
    """

    times: np.ndarray
    places: tuple[np.ndarray | Bits, ...]
    origin: float
    per_step: float
    names: tuple[str, ...]
    values: np.ndarray | None = None

    def steps(self, part: slice) -> np.ndarray:
        """The step of each of some events, int64: exact where times and the length of a step are whole numbers."""
        times = np.asarray(self.times[part])
        if times.dtype.kind in "ui" and float(self.per_step).is_integer() and float(self.origin).is_integer():
            return (times.astype(np.int64) - int(self.origin)) // int(self.per_step)
        elapsed: np.ndarray = np.floor((times.astype(np.float64) - self.origin) / self.per_step + EARLY)
        return elapsed.astype(np.int64)

    def before(self, step: int) -> int:
        """How many events come before a step. Looks at few of them, wherever they are."""
        return bisect_left(range(len(self.times)), step, key=lambda k: int(self.steps(slice(k, k + 1))[0]))

    def looks(self) -> Iterator[slice]:
        """All events, some at a time."""
        for first in range(0, len(self.times), _LOOK):
            yield slice(first, first + _LOOK)

    def check(self, shape: Shape, end: float | None, where: str) -> None:
        """InputError unless times ascend from 0 (and stay below `end`) and every event lies in the shape."""
        if not len(self.times):
            raise InputError("it holds no events", where=where, fix="leave it out, or give silence as frames of zeros")
        last = 0.0
        for part in self.looks():
            times = np.asarray(self.times[part])
            previous = np.concatenate([[last], times[:-1]])
            for wrong, says, fix in (
                (~np.isfinite(times) | (times < 0), "times are numbers from 0 on", "remove the event, or shift all"),
                (times < previous, "the one before it comes later", "sort the events by time"),
                (times >= (np.inf if end is None else end), f"the recording ends at {end}", "make it longer (t_max)"),
            ):
                if wrong.any():
                    k = int(wrong.argmax())
                    raise InputError(f"event {part.start + k:,} is at time {times[k]:g}; {says}", where=where, fix=fix)
            last = times[-1]
            for name, place, size in zip(self.names, self.places, shape, strict=True):
                values = np.asarray(place[part])
                wrong = (values < 0) | (values >= size)
                if wrong.any():
                    k = int(wrong.argmax())
                    raise InputError(
                        f"event {part.start + k:,} has {name} {int(values[k])}; the network's input, of shape "
                        f"{shape}, has 0 to {size - 1}",
                        where=where,
                        fix="crop or rescale the recording, or use a network for such recordings",
                    )


@dataclass(frozen=True, eq=False)
class Events:
    """Events as spikes: a neuron spikes in a step in which it has events, however many.

    Events with values are values instead; two for a neuron in a step are an InputError.
    """

    tracks: tuple[Track, ...]
    steps: int
    shape: Shape
    kind: np.dtype
    name: str = "events"
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tracks)

    def piece(self, samples: slice, first: int, stop: int) -> np.ndarray:
        chosen = self.tracks[samples]
        frames = np.zeros((len(chosen), (stop - first) * math.prod(self.shape)), self.kind)
        for frame, track in zip(frames, chosen, strict=True):
            part = slice(track.before(first), track.before(stop))
            steps = track.steps(part) - first
            at = np.ravel_multi_index((steps, *(p[part] for p in track.places)), (stop - first, *self.shape))
            if track.values is None:
                frame[at] = 1
                continue
            found, counts = np.unique(at, return_counts=True)
            if counts.max(initial=0) > 1:
                step, place = divmod(int(found[counts.argmax()]), math.prod(self.shape))
                raise InputError(
                    f"neuron {place} has several values in step {first + step}",
                    where=self.name,
                    fix="make steps shorter (--dt), or add the values up",
                )
            frame[at] = track.values[part]
        return frames.reshape(len(chosen), stop - first, *self.shape)

    def first(self, count: int | None) -> Events:
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, tracks=self.tracks[:count], labels=labels)

    def cut(self, steps: int) -> Events:
        return replace(self, steps=steps)

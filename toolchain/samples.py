"""Data: what goes into a network and, where known, what should come out.

An ``.npz`` holds ``spikes`` (samples, steps, *shape) and optionally ``labels`` (samples,), integers.
An ``.npy`` holds the spikes alone, of several samples or of one.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from snnc.errors import InputError
from snnc.files import sniff
from snnc.ops import Shape


class Recording(Protocol):
    """What can be run: a batch of recordings of equal length, piece by piece.

    :class:`Samples` holds all of it; others make each piece when it is asked for (:mod:`snnc.recordings`).
    labels: int64 (samples,), or None. name: shown to the user.
    """

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> np.ndarray | None: ...

    def __len__(self) -> int: ...

    @property
    def steps(self) -> int: ...

    @property
    def shape(self) -> Shape:
        """Of one step of one sample."""

    @property
    def kind(self) -> np.dtype:
        """Type of the pieces: uint8 for zeros and ones, int32 for whole numbers, float32 or float64 for others."""

    def piece(self, samples: slice, first: int, stop: int) -> np.ndarray:
        """Steps `first` to `stop` of some samples, (samples, stop - first, *shape).

        Of each sample every step is asked for once, in order; InputError where it is not what was promised.
        """

    def first(self, count: int | None) -> Recording:
        """The first `count` samples (all, if None or more than there are)."""

    def cut(self, steps: int) -> Recording:
        """The first `steps` steps of each sample, of which it has as many."""


def require_integers(recording: Recording) -> None:
    """Raise InputError unless all values are whole numbers."""
    if recording.kind.kind == "f":
        raise InputError(
            "an integer network takes spikes or whole numbers, the data holds others",
            where=recording.name,
            fix="threshold or round the data first; of a data set, take encoding=rate",
        )


def expect(recording: Recording, shape: Shape) -> None:
    """Raise InputError unless the recording feeds an input population of `shape`."""
    if recording.shape != shape:
        raise InputError(
            f"the data has shape {recording.shape} per step, the network's input {shape}",
            where=recording.name,
            fix=f"give spikes of shape (samples, steps, {', '.join(map(str, shape))})",
        )


@dataclass(frozen=True, eq=False)
class Samples:
    """A batch of recordings of equal length.

    spikes: (samples, steps, *shape of the input population): uint8 for zeros and ones, int32 for whole numbers
    (graded spikes), float32 or float64 for other values. Where all steps are one array in memory (:func:`held`), they
    stay so. labels: int64 (samples,), or None. name: shown to the user. Raises InputError for anything else.
    """

    spikes: np.ndarray
    labels: np.ndarray | None = None
    name: str = "data"

    def __post_init__(self) -> None:
        if self.spikes.ndim < 3 or 0 in self.spikes.shape:
            raise InputError(
                f"spikes must be (samples, steps, *shape) and not empty, got {self.spikes.shape}", where=self.name
            )
        if self.still:
            spikes = held(tightest(self.spikes[:, 0], self.name), self.steps)
        else:
            spikes = tightest(self.spikes, self.name)
        object.__setattr__(self, "spikes", spikes)
        if self.labels is not None:
            labels = np.asarray(self.labels)
            if labels.shape != (len(self.spikes),) or labels.dtype.kind not in "ui":
                raise InputError(
                    f"labels must be {len(self.spikes)} integers, got {labels.dtype} {labels.shape}", where=self.name
                )
            object.__setattr__(self, "labels", labels.astype(np.int64))

    def __len__(self) -> int:
        return len(self.spikes)

    @property
    def steps(self) -> int:
        return int(self.spikes.shape[1])

    @property
    def shape(self) -> Shape:
        return tuple(int(n) for n in self.spikes.shape[2:])

    @property
    def kind(self) -> np.dtype:
        return self.spikes.dtype

    @property
    def still(self) -> bool:
        """Whether all steps are one array in memory."""
        return self.steps > 1 and self.spikes.strides[1] == 0

    def piece(self, samples: slice, first: int, stop: int) -> np.ndarray:
        return self.spikes[samples, first:stop]

    def first(self, count: int | None) -> Samples:
        """The first `count` samples (all, if None or more than there are)."""
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, spikes=self.spikes[:count], labels=labels)

    def cut(self, steps: int) -> Samples:
        """The first `steps` steps of each sample."""
        return replace(self, spikes=self.spikes[:, :steps])

    def require_spikes(self) -> None:
        """Raise InputError unless all values are zeros and ones."""
        if self.spikes.dtype != np.uint8:
            raise InputError("spikes must be zeros and ones here", where=self.name, fix="threshold the data first")

    def require_integers(self) -> None:
        """Raise InputError unless all values are whole numbers."""
        require_integers(self)

    def expect(self, shape: Shape) -> None:
        """Raise InputError unless the samples feed an input population of `shape`."""
        expect(self, shape)


def held(values: np.ndarray, steps: int) -> np.ndarray:
    """The same values (samples, *rest) in each of so many steps, (samples, steps, *rest), which memory holds once."""
    strides = (values.strides[0], 0, *values.strides[1:])
    return np.lib.stride_tricks.as_strided(values, (len(values), steps, *values.shape[1:]), strides)


def tightest(values: np.ndarray, name: str) -> np.ndarray:
    """The values in the smallest type that holds them: uint8, int32, or a float type, which stays what it is from 32
    bits on. InputError where they are no numbers.
    """
    if values.dtype.kind not in "buif" or not np.all(np.isfinite(values)):
        raise InputError("spikes must be finite numbers", where=name)
    if values.dtype != np.uint8 or values.max() > 1:
        kind: type = np.uint8
        if values.min() < 0 or values.max() > 1 or np.any(values != np.rint(values)):
            whole = np.array_equal(values, np.rint(values)) and np.abs(values).max() < 1 << 31
            short = values.dtype.kind == "f" and values.dtype.itemsize <= 4
            kind = np.int32 if whole else np.float32 if short else np.float64
        values = values.astype(kind, copy=False)
    return np.ascontiguousarray(values)


def accuracy(counts: np.ndarray, labels: np.ndarray) -> float:
    """Share of samples whose largest output is the label; ties go to the lowest index.

    counts: (samples, outputs), summed over the steps: spikes or, of a read-out that has none, what it puts out. labels:
    (samples,).
    """
    return float(np.mean(counts.argmax(axis=1) == labels))


def load_npz(path: Path) -> Samples:
    """Read an ``.npz`` of spikes; raises InputError naming file and field."""
    return check_npz(load_arrays(path), path)


def check_npz(arrays: dict[str, np.ndarray], path: Path) -> Samples:
    """The same of its arrays."""
    if "spikes" not in arrays:
        raise InputError("it has no array 'spikes'", where=str(path), fix="np.savez(path, spikes=..., labels=...)")
    if "rates" in arrays:
        raise InputError("it holds 'spikes' and 'rates'", where=str(path), fix="store one of them")
    return Samples(arrays["spikes"], arrays.get("labels"), path.name)


def load_inputs(path: Path, names: Sequence[str]) -> dict[str, Samples]:
    """Read an ``.npz`` that holds an array for each input of a network, by name, and optionally labels.

    Raises InputError naming file and field.
    """
    arrays = load_arrays(path)
    for name in names:
        if name not in arrays:
            raise InputError(
                f"it has no array '{name}' for the input of that name",
                where=str(path),
                fix=f"np.savez(path, {', '.join(f'**{{{n!r}: ...}}' for n in names)}, labels=...)",
            )
    return {name: Samples(arrays[name], arrays.get("labels"), f"{path.name}, '{name}'") for name in names}


def load_npy(path: Path, shape: Shape) -> Samples:
    """Read an ``.npy`` of spikes, (samples, steps, *shape) or, of one sample, (steps, *shape)."""
    sniff(path)
    try:
        with path.open("rb") as raw:
            spikes = np.lib.format.read_array(raw, allow_pickle=False)
    except _UNREADABLE as error:
        raise InputError(f"this is not a readable .npy: {error}", where=str(path)) from None
    return Samples(spikes[None] if spikes.ndim == 1 + len(shape) else spikes, None, path.name)


def map_npy(path: Path) -> np.ndarray:
    """The array in an ``.npy`` as a map of the file, of which nothing is read yet; InputError naming the file."""
    sniff(path)
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except _UNREADABLE as error:
        raise InputError(f"this is not a readable .npy: {error}", where=str(path)) from None
    return found


_UNREADABLE = (OSError, ValueError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error, EOFError)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays in an ``.npz``, nothing of it executed; InputError naming the file."""
    sniff(path)
    try:
        # Opened here: numpy leaves a file open that it cannot read.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _UNREADABLE as error:
        raise InputError(f"this is not a readable .npz: {error}", where=str(path)) from None

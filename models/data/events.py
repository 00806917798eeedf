"""Recordings of events, which tonic reads, as frames of zeros and ones."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnc.errors import InputError, UsageError
from snnc.files import sniff
from snnc.models.data import cache, folders
from snnc.models.data.augment import AUGMENTATIONS
from snnc.models.data.dataset import Dataset, divide
from snnc.ops import Shape
from snnc.samples import Samples

EVENT_BYTES = 5  # of N-MNIST: x, y, polarity and time in 40 bits
TONIC_CURE = "pip install 'snnc[events]'"
# Of one event: column, row, time in microseconds, polarity.
FIELDS = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])


def tonic() -> Any:
    """The package; UsageError with the cure where it is missing."""
    try:
        import tonic
    except ImportError:
        raise UsageError("reading event recordings needs the package tonic", fix=TONIC_CURE) from None
    return tonic


def camera(path: Path) -> np.ndarray:
    """Events of a ``.bin`` or ``.aedat4`` file: a structured array of x, y, t in microseconds, p.

    UsageError where a package is missing, InputError where the file is damaged.
    """
    reader = tonic()
    sniff(path)
    if path.suffix == ".bin":
        if path.stat().st_size % EVENT_BYTES:
            raise InputError(f"this is not an N-MNIST recording: events take {EVENT_BYTES} bytes each", where=str(path))
        events: np.ndarray = reader.io.read_mnist_file(str(path), dtype=reader.datasets.NMNIST.dtype)
        return events
    try:
        found: np.ndarray = reader.io.read_aedat4(str(path))
    except ImportError:
        raise UsageError("reading .aedat4 needs the package aedat", where=str(path), fix="pip install aedat") from None
    except Exception as error:  # which tonic raises for a file without events; on damage others come
        raise InputError(f"this is not a readable .aedat4: {error}", where=str(path)) from None
    return found


@dataclass(frozen=True)
class Recordings:
    """A set of recordings, of which each is read when it is asked for.

    labels: (recordings,), integers. files: that each is in. read: gives the events of one by its index, FIELDS.
    """

    labels: np.ndarray
    files: Sequence[Path]
    read: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Grid:
    """Frames of a sensor: how many, how long, how large.

    sensor: columns, rows, polarities. steps: frames of a recording. window: milliseconds of each, what does not fit is
    cut off and what is missing is silent; 0: a recording is divided evenly. columns, rows: of a frame; several of the
    sensor's make one of them. flat: a frame is one row, of one polarity, and has the shape (columns,).
    """

    sensor: tuple[int, int, int]
    steps: int
    window: int
    columns: int
    rows: int
    flat: bool = False

    @property
    def shape(self) -> Shape:
        """Of all frames of a recording."""
        return (self.steps, self.columns) if self.flat else (self.steps, self.sensor[2], self.rows, self.columns)

    def frames(self, events: np.ndarray, where: str) -> np.ndarray:
        """The frames of one recording, bool: whether there was an event. InputError where that cannot be."""
        columns, rows, polarities = self.sensor
        fits = [(events[k] >= 0) & (events[k] < n) for k, n in zip("xyp", self.sensor, strict=True)]
        if not len(events) or not np.all(fits):
            raise InputError(f"there are no events in this recording, or some outside {columns}x{rows}", where=where)
        times = events["t"]
        if np.any(times[1:] < times[:-1]):
            raise InputError("this recording is damaged: its times go backwards", where=where)
        if not self.window and times[-1] - times[0] < self.steps:
            raise InputError(
                f"it is too short to be divided into {self.steps} steps of whole microseconds", where=where
            )
        # The frames of tonic's ToFrame, except that this one keeps a last event that begins a window.
        step = (times - times[0]) // (1000 * self.window or (times[-1] - times[0]) // self.steps)
        seen = events[step < self.steps]
        found = np.zeros((self.steps, polarities, self.rows, self.columns), bool)
        at = seen["p"], seen["y"] * self.rows // rows, seen["x"] * self.columns // columns
        found[(step[step < self.steps], *at)] = True
        return found.reshape(self.shape)


@dataclass(frozen=True)
class Frames:
    """Frames of some recordings, eight to a byte.

    packed: uint8 (recordings, bytes). order: indices of the recordings, ascending. shape: of all frames of one.
    """

    packed: np.ndarray
    order: np.ndarray
    shape: Shape

    @classmethod
    def of(cls, recordings: Recordings, chosen: np.ndarray, grid: Grid) -> Frames:
        """Of the recordings with these indices, from the cache if they were made before."""
        order = np.sort(chosen)

        def make() -> np.ndarray:
            packed = np.empty((len(order), -(-math.prod(grid.shape) // 8)), np.uint8)
            for row, k in zip(packed, order, strict=True):
                row[:] = np.packbits(grid.frames(recordings.read(int(k)), str(recordings.files[k])))
            return packed

        files = list(dict.fromkeys(recordings.files[k] for k in order))  # each once: one file may hold all
        return cls(cache.kept({"recordings": order.tolist(), **vars(grid)}, files, make), order, grid.shape)

    def __getitem__(self, part: np.ndarray) -> np.ndarray:
        """Of the recordings with these indices, zeros and ones, uint8 (recordings, steps, *shape)."""
        packed = self.packed[np.searchsorted(self.order, part)]
        return np.unpackbits(packed, axis=1, count=math.prod(self.shape)).reshape(-1, *self.shape)


def dataset(
    learning: Recordings, test: Recordings, grid: Grid, classes: int, spec: str, options: dict[str, Any]
) -> Dataset:
    """Training, validation and test frames of two sets of recordings."""
    name = spec.partition("=")[0].partition(":")[0]
    train, validation, testing = divide(
        learning.labels,
        test.labels,
        samples=options["samples"],
        validation=options["validation"],
        generator=np.random.default_rng(options["seed"]),
        where=spec,
    )
    frames = Frames.of(learning, np.concatenate([train, validation]), grid)
    return Dataset(
        Samples(frames[train], learning.labels[train], name),
        Samples(frames[validation], learning.labels[validation], name),
        Samples(Frames.of(test, testing, grid)[testing], test.labels[testing], name),
        classes,
        spec,
        AUGMENTATIONS[options.get("augment", "none")],
    )


def sets(name: str, folder: Path | None, *how: dict[str, Any], fix: str = "") -> list[Any]:
    """Data sets of tonic, one for each `how` of its arguments, in a folder or in the user's cache.

    What is not there is downloaded; InputError, with `fix`, where that fails.
    """
    if folder and not (folders.require(folder) / name).is_dir():
        below = next((p for p in sorted(folder.iterdir()) if (p / name).is_dir()), None)
        meant = folder.parent if folder.name == name else below
        if meant:
            raise InputError(f"there is no folder {name} in it", where=str(folder), fix=f"did you mean {meant}?")
    place = folder or cache.root()
    kind = getattr(tonic().datasets, name)
    try:
        # Tonic tells of its download on stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            return [kind(save_to=str(place), **arguments) for arguments in how]
    except (OSError, RuntimeError) as error:  # no network, a refused or damaged download
        raise InputError(
            f"tonic found no complete {name} and could not download it: {error}",
            where=str(place),
            fix=fix or f"name the folder that holds the folder {name} of tonic",
        ) from None
